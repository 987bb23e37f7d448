"""The queries of config/grafana-dashboard.json as Grafana sends them, and what each must answer, given the points."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from peers import ROOT, check
from points import Point

FILE: Path = ROOT / "config" / "grafana-dashboard.json"
ZONE = "Europe/Amsterdam"
VOLTAGE = 230
EVENT_COLUMNS = ("event_type", "subject", "detail")

# Cells of an answer: by id of the device (None where a query does not tell them apart), column, and time in ms.
Cells = dict[tuple[str | None, str, int], object]


@dataclass
class Scope:
    """What a person has chosen above the panels. Times in ms."""

    begin: int
    end: int
    step_s: int
    meter: str
    chargers: list[str]


def queries() -> list[tuple[str, str, str]]:
    """Every query of the dashboard: title of its panel, letter, text."""
    dashboard = json.loads(FILE.read_text())
    found = [(panel["title"], it["refId"], it["query"]) for panel in dashboard["panels"] for it in panel["targets"]]
    found += [(f"mark {it['name']}", "A", it["query"]) for it in dashboard["annotations"]["list"]]
    variables = [it for it in dashboard["templating"]["list"] if it["type"] == "query"]
    return found + [(f"variable {it['name']}", "A", it["query"]) for it in variables]


def data_sources_are_chosen() -> None:
    """Nothing names a data source of its own; each names the one of the variable."""
    dashboard = json.loads(FILE.read_text())
    lists = [dashboard["panels"], dashboard["annotations"]["list"]]
    lists += [it["targets"] for it in dashboard["panels"]]
    lists += [[it for it in dashboard["templating"]["list"] if it["type"] == "query"]]
    for it in [it for each in lists for it in each]:
        check(it["datasource"] == {"type": "influxdb", "uid": "${datasource}"}, f"data source of {it}")
    check(dashboard["templating"]["list"][0]["type"] == "datasource", "the first variable chooses the data source")
    ids = [it["id"] for it in dashboard["panels"]]
    check(len(set(ids)) == len(ids) and dashboard["id"] is None, "ids of panels")
    # What stands as a single figure is the present; an older one is none, whatever range is chosen above.
    old = [it["title"] for it in dashboard["panels"] if it["type"] == "stat" and it.get("timeFrom") != "2m"]
    check(not old, f"these show the last of the range as if it were now: {old}")


def filled_in(query: str, scope: Scope) -> str:
    """With Grafana's macros and the variables of the dashboard replaced, as its documentation says."""
    values = {
        "$__interval": f"{scope.step_s}s",
        "$timeFilter": f"time >= {scope.begin}ms and time <= {scope.end}ms",
        "$meter": scope.meter,
        "$charger": f"({'|'.join(scope.chargers)})",
        "$voltage": str(VOLTAGE),
        "$timezone": ZONE,
    }
    for name, value in values.items():
        query = query.replace(name, value)
    check(not re.search(r"\$\w", query), f"a variable is left in {query}")
    return query


def expected(title: str, letter: str, points: list[Point], scope: Scope) -> Cells:
    """What the query of this panel must answer."""
    # SHOW TAG VALUES knows no range: a gas meter's reading may be older.
    anytime = title.startswith("variable")
    within = [it for it in points if anytime or scope.begin <= it.ns // 1_000_000 <= scope.end]
    check((title, letter) in EXPECTED, f"nobody has written down what {title} {letter} must answer")
    return EXPECTED[title, letter](within, scope)


def answered(answer: dict) -> Cells:
    """The cells of an InfluxQL answer that are not null."""
    cells: Cells = {}
    for series in answer.get("series", []):
        device = series.get("tags", {}).get("id")
        for time, *values in series["values"]:
            for column, value in zip(series["columns"][1:], values):
                if value is not None:
                    cells[device, column, time] = value
    return cells


def compare(what: str, found: Cells, wanted: Cells) -> None:
    same = lambda a, b: math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6) if number(a) and number(b) else a == b
    missing = [key for key in wanted if key not in found]
    more = [key for key in found if key not in wanted]
    wrong = [(key, found[key], wanted[key]) for key in wanted if key in found and not same(found[key], wanted[key])]
    check(not (missing or more or wrong), f"{what}: missing {missing[:3]}, too many {more[:3]}, wrong {wrong[:3]}")


def number(it: object) -> bool:
    return isinstance(it, int | float) and not isinstance(it, bool)


# --- what InfluxQL's functions do (docs.influxdata.com, "InfluxQL functions")

Bucket = Callable[[int], int]
Aggregate = Callable[[list], object]
LAST: Aggregate = lambda values: values[-1]
MEAN: Aggregate = lambda values: sum(values) / len(values)


def every(seconds: int) -> Bucket:
    return lambda ms: ms // (seconds * 1000) * seconds * 1000


def day(ms: int) -> int:
    """Midnight before it, in the zone of the dashboard."""
    local = datetime.fromtimestamp(ms / 1000, ZoneInfo(ZONE))
    return round(local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)


def grouped(points: list[Point], measurement: str, field: str, bucket: Bucket, ids: list[str] | None, apart: bool):
    """Values in the order of time by id (None unless `apart`) and bucket."""
    groups: dict[tuple[str | None, int], list] = defaultdict(list)
    for it in points:
        if it.measurement == measurement and field in it.fields and (ids is None or it.tags["id"] in ids):
            groups[it.tags["id"] if apart else None, bucket(it.ns // 1_000_000)].append(it.fields[field])
    return groups


def shown(measurement: str, columns: dict, of: str = "", step: str = "step", apart: bool = False):
    """`columns`: name → field and aggregate. `of`: of which devices. Gives what makes the cells."""

    def cells(points: list[Point], scope: Scope) -> Cells:
        ids = {"meter": [scope.meter], "chargers": scope.chargers, "": None}[of]
        bucket = {"step": every(scope.step_s), "day": day, "whole": lambda _: 0}[step]
        found: Cells = {}
        for name, (field, aggregate) in columns.items():
            for (device, at), values in grouped(points, measurement, field, bucket, ids, apart).items():
                found[device, name, at] = aggregate(values)
        return found

    return cells


def differences(measurement: str, columns: dict, of: str, apart: bool = False):
    """Of the last values of the days, where they do not fall."""
    lasts = shown(measurement, {name: (field, LAST) for name, field in columns.items()}, of, "day", apart)

    def cells(points: list[Point], scope: Scope) -> Cells:
        found: Cells = {}
        days = sorted(lasts(points, scope).items(), key=lambda it: (str(it[0][0]), it[0][1], it[0][2]))
        for (before, a), (after, b) in zip(days, days[1:]):
            if before[:2] == after[:2] and b >= a:
                found[after] = b - a
        return found

    return cells


def highest_quarter(points: list[Point], scope: Scope) -> Cells:
    """By the counter of import: what is exported in the same quarter makes a peak no smaller."""
    found: Cells = {}
    groups = grouped(points, "gridkeeper_meter", "energy_import_kwh", every(900), [scope.meter], False)
    lasts = sorted((at, values[-1]) for (_, at), values in groups.items())
    for (before, a), (at, b) in zip(lasts, lasts[1:]):
        # A quarter that began before the range counts at the begin of the range's first day.
        key = (None, "highest quarter", day(max(at, scope.begin)))
        if b >= a:
            found[key] = max(found.get(key, -math.inf), (b - a) * 3_600_000 / (at - before))
    return found


def events(pattern: str):
    def cells(points: list[Point], _: Scope) -> Cells:
        found: Cells = {}
        for it in points:
            if it.measurement == "gridkeeper_event" and re.search(pattern, it.tags["event_type"]):
                row = it.tags | it.fields
                found |= {(None, column, it.ns // 1_000_000): row[column] for column in EVENT_COLUMNS}
        return found

    return cells


def ids_of(measurement: str):
    def cells(points: list[Point], _: Scope) -> Cells:
        ids = sorted({it.tags["id"] for it in points if it.measurement == measurement})
        return {(None, "value", "id"): ids}

    return cells


def phases(name: str, field: str, aggregate: Aggregate, scale: float = 1) -> dict:
    scaled = lambda values: aggregate(values) * scale
    return {name.format(it): (field.format(it.lower()), scaled) for it in ("L1", "L2", "L3")}


METER, CHARGER, SITE = "gridkeeper_meter", "gridkeeper_charger", "gridkeeper_site"
now = lambda measurement, field, of="", name="last": shown(measurement, {name: (field, LAST)}, of, "whole")
EXPECTED = {
    ("Grid power", "A"): now(METER, "power_w", "meter"),
    ("Surplus", "A"): now(SITE, "surplus_w"),
    ("Charging", "A"): now(SITE, "charging_w"),
    ("Peak of the month", "A"): now(METER, "peak_month_kw", "meter"),
    ("Fail-safe", "A"): now(SITE, "fail_safe", name="fail-safe"),
    ("Problem", "A"): now(SITE, "problem", name="problem"),
    ("Power per phase against the fuse", "A"): shown(METER, phases("{}", "power_{}_w", MEAN), "meter"),
    ("Power per phase against the fuse", "B"): shown(SITE, phases("limit {}", "limit_{}_a", LAST, VOLTAGE)),
    ("Current per phase against the limit", "A"): shown(METER, phases("{}", "current_{}_a", MEAN), "meter"),
    ("Current per phase against the limit", "B"): shown(SITE, phases("limit {}", "limit_{}_a", LAST)),
    ("Current per phase against the limit", "C"): shown(SITE, phases("free {}", "available_{}_a", min)),
    ("Surplus, charging and grid", "A"): shown(
        SITE, {"surplus": ("surplus_w", MEAN), "charging": ("charging_w", MEAN)}
    ),
    ("Surplus, charging and grid", "B"): shown(METER, {"grid": ("power_w", MEAN)}, "meter"),
    ("Chargers: power", "A"): shown(CHARGER, {"mean": ("power_w", MEAN)}, "chargers", apart=True),
    ("Chargers: offered and drawn current", "A"): shown(
        CHARGER, {"last": ("offered_current_a", LAST)}, "chargers", apart=True
    ),
    ("Chargers: offered and drawn current", "B"): shown(
        CHARGER, phases("{}", "current_{}_a", max), "chargers", apart=True
    ),
    ("Chargers: what and why", "A"): shown(
        CHARGER,
        {"status": ("status", LAST), "mode": ("mode", LAST), "limit": ("limit_reason", LAST)},
        "chargers",
        apart=True,
    ),
    ("Energy per day", "A"): differences(
        METER, {"import": "energy_import_kwh", "export": "energy_export_kwh"}, "meter"
    ),
    ("Charged per day", "A"): differences(CHARGER, {"non_negative_difference": "energy_kwh"}, "chargers", True),
    ("Solar and battery per day", "A"): differences(
        METER,
        {key: f"energy_{key}_kwh" for key in ("produced", "charged", "discharged")},
        "",
        True,
    ),
    ("Peaks", "A"): highest_quarter,
    ("Peaks", "B"): shown(METER, {"peak of the month": ("peak_month_kw", LAST)}, "meter", "day"),
    ("Peaks", "C"): shown(SITE, {"limit": ("peak_15min_kw", LAST)}, step="day"),
    ("Fail-safe, problem, dimming", "A"): shown(
        SITE, {"fail-safe": ("fail_safe", LAST), "dimmed": ("dim", LAST), "problem": ("problem", LAST)}
    ),
    ("Fail-safe, problem, dimming", "B"): shown(METER, {"last": ("quality", LAST)}, apart=True),
    ("Fail-safe, problem, dimming", "C"): shown("gridkeeper_relay", {"last": ("state", LAST)}, apart=True),
    ("Fail-safe events", "A"): events(
        "fail_safe|lost|back|not_obeying|overload|dim_|watchdog|replaced|second_master|clock_error"
    ),
    ("mark Fail-safe", "A"): events("^fail_safe"),
    ("variable meter", "A"): ids_of(METER),
    ("variable charger", "A"): ids_of(CHARGER),
}


def history() -> tuple[list[Point], Scope]:
    """Four made-up days with a change to summer time among them, a point each five minutes."""
    begin = datetime(2026, 3, 27, tzinfo=ZoneInfo(ZONE))
    end = begin + timedelta(days=4)
    points: list[Point] = []
    at = lambda kind, device, role, fields, ns: points.append(
        Point(f"gridkeeper_{kind}", {"id": device, "role": role}, fields, ns)
    )
    first, last = (round(it.timestamp() * 1000) for it in (begin, end))
    for n, ms in enumerate(range(first, last, 300_000)):
        ns, wave = ms * 1_000_000, math.sin(n / 40)
        power = [round(1500 * wave) + 90 * phase + n % 7 for phase in (1, 2, 3)]
        meter = {f"power_l{i + 1}_w": it for i, it in enumerate(power)} | {"power_w": sum(power)}
        meter |= {f"current_l{i + 1}_a": abs(it) // 230 for i, it in enumerate(power)}
        meter |= {"energy_import_kwh": 1000 + n * 0.125 + (n // 40) * 0.5, "energy_export_kwh": 50 + (n // 3) * 0.25}
        meter |= {"peak_month_kw": 3.5 + (n // 300) * 0.4, "quality": "good" if n % 100 else "late"}
        at("meter", "main", "grid", meter, ns)
        at("meter", "main-gas", "gas", {"volume_m3": 100 + n // 12 * 0.1, "quality": "good"}, ns)
        at("meter", "roof", "solar", {"energy_produced_kwh": 8000 + n * 0.25, "power_w": n % 3000}, ns)
        battery = {"energy_charged_kwh": 700 + n * 0.03125, "energy_discharged_kwh": 640 + n // 2 * 0.0625}
        at("meter", "cellar", "battery", battery, ns)
        for i, charger in enumerate(("garage", "carport")):
            amps = (n + 5 * i) % 17
            fields = {f"current_l{k}_a": amps * (k <= 3 - 2 * i) for k in (1, 2, 3)}
            fields |= {"power_w": amps * 230, "energy_kwh": 20 * i + n * 0.0625, "offered_current_a": amps + 0.5}
            fields |= {"status": "charging" if amps else "waiting", "mode": "fast", "limit_reason": f"limit_l{i + 1}"}
            at("charger", charger, "charger", fields, ns)
        site = {f"limit_l{k}_a": 25 - (n % 50 == 0) for k in (1, 2, 3)} | {f"available_l{k}_a": n % 9 + k for k in (1, 2, 3)}
        site |= {"surplus_w": max(0, -sum(power)), "charging_w": n % 3000, "peak_15min_kw": 5, "dim": n % 200 == 7}
        site |= {"fail_safe": n % 100 == 0, "problem": "meter_error" if n % 100 == 0 else "none"}
        at("site", "site", "site", site, ns)
        at("relay", "boiler", "relay", {"state": "on" if n % 4 else "off", "command": "auto"}, ns)
        if n % 100 in (0, 1):
            word = "fail_safe_left" if n % 100 else "fail_safe_entered"
            tags = {"event_type": word, "subject": "site"}
            points.append(Point("gridkeeper_event", tags, {"detail": f'the "{n}th", as it went, \\o/'}, ns))
    points.append(Point("gridkeeper_event", {"event_type": "started", "subject": "bridge"}, {"detail": "x"}, first * 1_000_000))
    as_floats = lambda it: {k: float(v) if number(v) else v for k, v in it.fields.items()}
    points = [Point(it.measurement, it.tags, as_floats(it), it.ns) for it in points]
    return points, Scope(first, last - 1, 600, "main", ["garage", "carport"])
