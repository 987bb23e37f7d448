"""Points of a time series database, and the line protocol that carries them (docs.influxdata.com, "Line protocol")."""

import re
from dataclasses import dataclass

# A number without `i` is a float, which is the only kind of number that the appliance writes.
Value = float | bool | str


@dataclass
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    ns: int

    def line(self) -> str:
        name = lambda it: re.sub(r"([,= ])", r"\\\1", it)
        head = ",".join([name(self.measurement), *(f"{name(k)}={name(v)}" for k, v in sorted(self.tags.items()))])
        fields = ",".join(f"{name(k)}={written(v)}" for k, v in self.fields.items())
        return f"{head} {fields} {self.ns}\n"


def written(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case _:
            return repr(float(value))


def split(text: str, at: str) -> list[str]:
    """Splits at a character that is neither behind a backslash nor in quotes."""
    parts, quoted, hidden = [""], False, False
    for c in text:
        if c == at and not quoted and not hidden:
            parts.append("")
            continue
        quoted ^= c == '"' and not hidden
        hidden = c == "\\" and not hidden
        parts[-1] += c
    return parts


def read(text: str) -> list[Point]:
    """Every line of `text`."""
    return [read_line(line) for line in text.splitlines() if line]


def read_line(line: str) -> Point:
    head, fields, ns = split(line, " ")
    plain = lambda it: re.sub(r"\\([,= ])", r"\1", it)
    measurement, *tags = split(head, ",")
    pair = lambda it: split(it, "=")
    return Point(
        plain(measurement),
        {plain(k): plain(v) for k, v in map(pair, tags)},
        {plain(k): value(v) for k, v in map(pair, split(fields, ","))},
        int(ns),
    )


def value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return float(text)


def merged(points: list[Point]) -> list[Point]:
    """As a database keeps them: one point per series and time, later fields over earlier ones. In the order of time."""
    kept: dict[tuple, Point] = {}
    for it in points:
        key = (it.measurement, tuple(sorted(it.tags.items())), it.ns)
        before = kept.get(key)
        fields = (before.fields if before else {}) | it.fields
        kept[key] = Point(it.measurement, it.tags, fields, it.ns)
    return sorted(kept.values(), key=lambda it: it.ns)
