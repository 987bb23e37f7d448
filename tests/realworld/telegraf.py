"""What Telegraf does with config/telegraf.conf, written after its documentation, because no registry has the program.

plugins/inputs/mqtt_consumer, plugins/outputs/influxdb, plugins/parsers/json, docs/CONFIGURATION.md of influxdata/telegraf.
A key that is not handled here is refused: so every key of the file is one that somebody looked up.
"""

import json
import re
import tomllib
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

import points
from peers import Failure, check
from points import Point

OUTPUT = {"namepass": list, "urls": list, "username": str, "password": str}
# What each version of InfluxDB wants beside that.
OUTPUTS = {"influxdb": OUTPUT | {"database": str}, "influxdb_v2": OUTPUT | {"token": str, "organization": str, "bucket": str}}
INPUT = {
    "servers": list, "topics": list, "topic_tag": str, "qos": int, "persistent_session": bool, "client_id": str,
    "username": str, "password": str, "data_format": str, "topic_parsing": list, "name_prefix": str,
    "name_override": str, "tagexclude": list,
}  # fmt: skip
# Only with data_format = "json".
JSON = {"json_string_fields": list, "tag_keys": list, "json_time_key": str, "json_time_format": str}
PARSING = {"topic": str, "measurement": str, "tags": str, "fields": str, "types": dict}
# RFC 3339 as Go writes a layout; when it parses, it takes a fraction of a second that the layout does not have.
RFC3339 = "2006-01-02T15:04:05Z07:00"


def known(table: dict, keys: dict, where: str) -> None:
    for key, value in table.items():
        check(key in keys, f"{where}: Telegraf's documentation has no key `{key}` that this test knows")
        check(isinstance(value, keys[key]), f"{where}: `{key}` must be a {keys[key].__name__}")


def load(path: Path) -> tuple[list["Input"], dict]:
    """The inputs, and the output that is in force. What stands in comments as a suggestion is checked as well."""
    text = path.read_text()
    file = tomllib.loads(text)
    # A table [agent] would be that of everything else that this Telegraf does.
    check(set(file) == {"inputs", "outputs"}, f"{path.name}: tables {sorted(file)}")
    check(set(file["inputs"]) == {"mqtt_consumer"} and set(file["outputs"]) == {"influxdb"}, "other plugins")
    (output,) = file["outputs"]["influxdb"]
    known(output, OUTPUTS["influxdb"], "outputs.influxdb")
    suggested = tomllib.loads("\n".join(re.findall(r"^# ?(\[\[outputs\..*|  \w+ = .*)$", text, re.M)))
    (other,) = suggested["outputs"]["influxdb_v2"]
    known(other, OUTPUTS["influxdb_v2"], "outputs.influxdb_v2")
    check(other["namepass"] == output["namepass"], "the outputs take different metrics")
    inputs = [Input(it) for it in file["inputs"]["mqtt_consumer"]]
    check(all(it.table["tagexclude"] == ["host"] for it in inputs), "the tag of Telegraf's host would be written")
    return inputs, output


def passes(output: dict, point: Point) -> bool:
    """An output takes what its `namepass` names."""
    return any(fnmatchcase(point.measurement, it) for it in output.get("namepass", ["*"]))


def matches(topic: str, pattern: str) -> bool:
    """MQTT 3.1.1, section 4.7; `#` is not used here."""
    parts, wanted = topic.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(b in ("+", a) for a, b in zip(parts, wanted))


class Input:
    """One [[inputs.mqtt_consumer]]."""

    def __init__(self, table: dict) -> None:
        self.table = table
        keys = INPUT | (JSON if table["data_format"] == "json" else {})
        known(table, keys, "inputs.mqtt_consumer")
        check(table["data_format"] in ("json", "influx"), f"data_format {table['data_format']}")
        check(table.get("qos", 0) in (0, 1, 2), "qos")
        check(not table.get("persistent_session") or table.get("client_id"), "persistent_session requires client_id")
        check(table.get("json_time_format", RFC3339) == RFC3339, "another time layout than this test knows")
        check(("json_time_key" in table) == ("json_time_format" in table), "json_time_key requires json_time_format")
        for rule in table.get("topic_parsing", []):
            known(rule, PARSING, "topic_parsing")
            for key in ("measurement", "tags"):
                length = len(rule[key].split("/"))
                check(length == len(rule["topic"].split("/")), f"{key} length does not equal topic length")

    def takes(self, topic: str) -> bool:
        return any(matches(topic, it) for it in self.table["topics"])

    def points(self, topic: str, payload: str) -> list[Point]:
        """What one message becomes; a message that Telegraf would only log an error for is a Failure."""
        found = points.read(payload) if self.table["data_format"] == "influx" else [self.json(payload)]
        for point in found:
            if tag := self.table.get("topic_tag", "topic"):
                point.tags[tag] = topic
            for rule in self.table.get("topic_parsing", []):
                if matches(topic, rule["topic"]):
                    self.parse_topic(point, topic, rule)
            if name := self.table.get("name_override"):
                point.measurement = name
            point.measurement = self.table.get("name_prefix", "") + point.measurement
            # Every metric gets it; filters apply afterwards, to tags of the agent as well.
            point.tags["host"] = "the machine of Telegraf"
            excluded = self.table.get("tagexclude", [])
            point.tags = {k: v for k, v in point.tags.items() if not any(fnmatchcase(k, it) for it in excluded)}
        # A metric without fields is written by no output.
        return [it for it in found if it.fields]

    def json(self, payload: str) -> Point:
        fields = json.loads(payload)
        check(all(not isinstance(it, dict | list) for it in fields.values()), "this test knows flat objects only")
        fields = {key: value for key, value in fields.items() if value is not None}
        key, time = self.table.get("json_time_key"), None
        if key:
            if key not in fields:
                raise Failure("JSON time key could not be found")
            time = datetime.fromisoformat(fields.pop(key))
        tags = {}
        for pattern in self.table.get("tag_keys", []):
            for name in [it for it in fields if fnmatchcase(it, pattern)]:
                tags[name] = str(fields.pop(name))
        kept = self.table.get("json_string_fields", [])
        text = lambda it: isinstance(it, str | bool)
        wanted = lambda name: any(fnmatchcase(name, it) for it in kept)
        fields = {name: it if text(it) else float(it) for name, it in fields.items() if not text(it) or wanted(name)}
        check(time is not None, "this test knows messages with a time only")
        return Point("mqtt_consumer", tags, fields, round(time.timestamp() * 1000) * 1_000_000)

    @staticmethod
    def parse_topic(point: Point, topic: str, rule: dict) -> None:
        parts = topic.split("/")
        for name, part in zip(rule["measurement"].split("/"), parts):
            if name not in ("_", ""):
                point.measurement = part
        for name, part in zip(rule["tags"].split("/"), parts):
            if name not in ("_", ""):
                point.tags[name] = part
