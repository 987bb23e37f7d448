"""The way from the appliance to a panel of Grafana, with real databases. Started by influx.sh.

InfluxDB 1.6 takes what stands on <base>/influx and on the state topics, as Telegraf would bring it, and what the direct
writer writes; VictoriaMetrics takes the direct writer's version 2. Each query of the dashboard must give back the numbers
that went in. Neither Telegraf nor Grafana's server is in a package registry: telegraf.py and dashboard.py stand in, written
after their documentation.
"""

import asyncio
import base64
import contextlib
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import dashboard
import points
import telegraf
from dashboard import Scope
from peers import ROOT, Appliance, Broker, Failure, House, Listener, Peers, check, free_port, main, say, until
from points import Point

USER, PASSWORD, TOKEN = "keeper", "secret of InfluxDB", "secret of VictoriaMetrics"


def ask(url: str, data: bytes | None = None, headers: dict | None = None, tls: ssl.SSLContext | None = None) -> bytes:
    try:
        request = urllib.request.Request(url, data=data, headers=headers or {})
        with urllib.request.urlopen(request, timeout=20, context=tls) as it:
            return it.read()
    except urllib.error.HTTPError as error:
        raise Failure(f"{url}: {error.code} {error.read().decode(errors='replace')}") from None


class Influx:
    """InfluxDB 1 that wants a login."""

    def __init__(self, peers: Peers) -> None:
        self.peers, self.port, self.folder = peers, free_port(), peers.folder / "influx"
        self.url, self.context = f"http://127.0.0.1:{self.port}", None
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.login = {"Authorization": f"Basic {basic}"}

    @classmethod
    async def up(cls, peers: Peers) -> "Influx":
        it = cls(peers)
        it.folder.mkdir()
        it.configure("")
        await it.start()
        await it.query("", f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")
        return it

    def configure(self, more: str) -> None:
        (self.folder / "influxdb.conf").write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
  dir = "{self.folder}/meta"
[data]
  dir = "{self.folder}/data"
  wal-dir = "{self.folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{self.port}"
  auth-enabled = true
  log-enabled = false
  {more}
""")

    def speak_tls(self, authority: Path, certificate: Path, key: Path) -> None:
        self.configure(f"""https-enabled = true
  https-certificate = "{certificate}"
  https-private-key = "{key}"
""")
        self.url, self.context = f"https://localhost:{self.port}", ssl.create_default_context(cafile=str(authority))

    async def start(self) -> None:
        await self.peers.start("influxd", "influxd", "-config", self.folder / "influxdb.conf", wait_for=self.port)

    async def stop(self) -> None:
        await self.peers.stop("influxd")

    async def query(self, database: str, text: str) -> dict:
        form = urllib.parse.urlencode({"db": database, "epoch": "ms", "q": text}).encode()
        answer = await asyncio.to_thread(ask, f"{self.url}/query", form, self.login, self.context)
        (result,) = json.loads(answer)["results"]
        check("error" not in result, f"InfluxDB refuses {text}: {result.get('error')}")
        return result

    async def write(self, database: str, batch: list[Point]) -> None:
        await self.query("", f'CREATE DATABASE "{database}"')
        lines = "".join(it.line() for it in batch).encode()
        await asyncio.to_thread(ask, f"{self.url}/write?db={database}", lines, self.login, self.context)


class Recorder:
    """Between the direct writer and its database: passes requests on, keeps what the database took."""

    def __init__(self) -> None:
        self.target = 0
        self.taken: list[Point] = []
        self.logins: set[str] = set()
        self.paths: set[str] = set()

    @classmethod
    async def up(cls, peers: Peers) -> "Recorder":
        it = cls()
        server = await asyncio.start_server(it.accept, "127.0.0.1", 0)
        it.port = server.sockets[0].getsockname()[1]
        peers.closing.callback(server.close)
        return it

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            while True:
                head, body = await self.message(reader)
                self.paths.add(head.split(b" ")[1].decode())
                self.logins |= {it.split(" ")[1] for it in head.decode().split("\r\n") if it.lower().startswith("auth")}
                far_writer.write(head + body)
                answer, rest = await self.message(far_reader)
                if answer.split(b" ")[1] == b"204":
                    self.taken += points.read(body.decode())
                writer.write(answer + rest)
        writer.close()

    @staticmethod
    async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(it.lower().split(b": ", 1) for it in head.split(b"\r\n")[1:] if it)
        return head, await reader.readexactly(int(fields.get(b"content-length", 0)))


# What a house of one day that keeps no peak has nothing to show for, and the fields that it would be shown from.
NOT_IN_A_MINUTE = {"Energy per day", "Charged per day", "Solar and battery per day", "Peak of the month", "Peaks"}
COUNTERS = {"gridkeeper_meter": {"energy_import_kwh", "energy_export_kwh"}, "gridkeeper_charger": {"energy_kwh"}}


async def dashboard_shows(influx: Influx, database: str, went_in: list[Point], scope: Scope, *without: str) -> int:
    """Every query of the dashboard gives back what went in, and only those of `without` nothing. Gives how many cells
    were compared."""
    went_in = points.merged(went_in)
    cells = 0
    for title, letter, query in dashboard.queries():
        answer = await influx.query(database, dashboard.filled_in(query, scope))
        found = dashboard.answered(answer)
        if title.startswith("variable"):
            ids = [row[1] for series in answer.get("series", []) for row in series["values"]]
            found = {(None, "value", "id"): sorted(ids)}
        elif "GROUP BY" not in query and "last(" in query:
            found = {(device, column, 0): value for (device, column, _), value in found.items()}
        dashboard.compare(f"{database}: {title} {letter}", found, dashboard.expected(title, letter, went_in, scope))
        check(found or title in without, f"{database}: {title} {letter} shows nothing: is a field renamed?")
        cells += len(found)
    for measurement, names in COUNTERS.items():
        fields = {name for it in went_in if it.measurement == measurement for name in it.fields}
        check(names <= fields, f"{database}: {measurement} lacks {names - fields}")
    return cells


def live_scope(begin: float) -> Scope:
    return Scope(int(begin * 1000), int(time.time() * 1000), 10, "main", ["garage", "carport"])


async def told_history(influx: Influx) -> None:
    dashboard.data_sources_are_chosen()
    went_in, scope = dashboard.history()
    await influx.write("history", went_in)
    cells = await dashboard_shows(influx, "history", went_in, scope)
    check({it[:2] for it in dashboard.queries()} == set(dashboard.EXPECTED), "queries that are written down and gone")
    for title, letter, _ in dashboard.queries():
        check(dashboard.expected(title, letter, went_in, scope), f"{title} {letter} is shown by no point of the test")
    say(f"  {len(dashboard.queries())} queries of the dashboard give back four days that went in: {cells} cells")


async def by_telegraf(influx: Influx, listener: Listener, begin: float) -> None:
    """Each block of config/telegraf.conf with what was heard on the broker."""
    inputs, output = telegraf.load(ROOT / "config" / "telegraf.conf")
    heard = [(topic, payload) for _, topic, payload in listener.heard if payload]
    brought: list[list[Point]] = []
    for it in inputs:
        found = []
        for topic, payload in heard:
            if it.takes(topic):
                # A device that was not heard yet has no time, and no place in a database.
                with contextlib.suppress(Failure):
                    found += it.points(topic, payload)
        brought.append([it for it in found if telegraf.passes(output, it)])
    lines, states, events = brought
    for what, some in (("lines", lines + events), ("states", states + events)):
        scope = live_scope(begin)
        cells = await write_and_show(influx, f"{output['database']}_{what}", some, scope)
        say(f"  config/telegraf.conf, {what}: {len(some)} points, {cells} cells of the dashboard as they went in")
    words = {it.tags["event_type"] for it in events}
    check({"fail_safe_entered", "meter_lost"} <= words, f"events {words}")
    the_same(lines, states)


async def write_and_show(influx: Influx, database: str, some: list[Point], scope: Scope) -> int:
    kinds = {it.measurement for it in some}
    check({"gridkeeper_meter", "gridkeeper_charger", "gridkeeper_site", "gridkeeper_relay"} <= kinds, f"{database}: only {kinds}")
    await influx.write(database, some)
    return await dashboard_shows(influx, database, some, scope, *NOT_IN_A_MINUTE)


def the_same(lines: list[Point], states: list[Point]) -> None:
    """Lines and states name the same measurements, ids, fields and values at the same moments."""
    by_moment = {(it.measurement, it.tags["id"], it.ns): it for it in states}
    compared = 0
    for line in lines:
        state = by_moment.get((line.measurement, line.tags["id"], line.ns))
        if state is None or line.measurement != "gridkeeper_meter":
            continue
        fields = {name: it for name, it in state.fields.items() if name != "age_s"}
        quality = {"quality"}
        check(set(fields) - quality == set(line.fields) - quality, f"{set(fields) ^ set(line.fields)} in one only")
        for name in set(fields) - quality:
            check(fields[name] == line.fields[name], f"{name}: {fields[name]} as state, {line.fields[name]} as line")
        compared += 1
    check(compared >= 5, f"only {compared} readings came both ways")


async def victoria(peers: Peers, recorder: Recorder, port: int) -> None:
    """What version 2 of the direct writer wrote is there: numbers as they are, booleans as 0 and 1, no words."""
    url = f"http://127.0.0.1:{port}/api/v1/export"

    async def there() -> bool:
        seen = {}
        form = urllib.parse.urlencode({"match[]": '{__name__=~"gridkeeper_.*"}'}).encode()
        for line in (await asyncio.to_thread(ask, url, form)).decode().splitlines():
            series = json.loads(line)
            name, device = series["metric"]["__name__"], series["metric"]["id"]
            seen |= {(name, device, at): it for at, it in zip(series["timestamps"], series["values"])}
        wanted = {}
        for it in points.merged(recorder.taken):
            for field, value in it.fields.items():
                if not isinstance(value, str):
                    wanted[f"{it.measurement}_{field}", it.tags["id"], it.ns // 1_000_000] = float(value)
        missing = set(wanted) - set(seen)
        wrong = {key for key in set(wanted) - missing if abs(seen[key] - wanted[key]) > 1e-9 * max(1, abs(wanted[key]))}
        check(not wrong, f"VictoriaMetrics has other values: {[(it, seen[it], wanted[it]) for it in sorted(wrong)[:3]]}")
        last[:] = [len(wanted)]
        return len(wanted) > 100 and not missing

    last: list[int] = []
    await until("VictoriaMetrics shows everything that it took", there)
    say(f"  version 2 of the direct writer into VictoriaMetrics: {last[0]} values as they went in")


def direct(url: str, api: str, more: str) -> str:
    relay = '[[relay]]\nid = "boiler"\ndriver = "mqtt"\ntopic = "house/boiler"\non_when = ["always"]\n'
    return f'[influx]\nurl = "{url}"\napi = "{api}"\nbucket = "direct"\n{more}{relay}'


async def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority, and a certificate of its for `localhost` with the key."""
    authority, certificate, key = (folder / it for it in ("ca.pem", "server.pem", "server.key"))
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost\n")
    new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    for command in (
        [*new, "/CN=authority of this test", "-x509", "-days", "2", "-keyout", folder / "ca.key", "-out", authority],
        [*new, "/CN=localhost", "-keyout", key, "-out", folder / "server.csr"],
        ["x509", "-req", "-in", folder / "server.csr", "-CA", authority, "-CAkey", folder / "ca.key", "-CAcreateserial",
         "-days", "2", "-extfile", names, "-out", certificate],
    ):  # fmt: skip
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec("openssl", *map(str, command), stderr=quiet)
        check(await process.wait() == 0, f"openssl {command[0]}")
    return authority, certificate, key


async def over_tls(peers: Peers, influx: Influx, appliance: Appliance, login: str) -> None:
    """An authority that is not named is not believed, and the page says so; one that is, is."""
    authority, certificate, key = await certificates(peers.folder)
    await influx.stop()
    influx.speak_tls(authority, certificate, key)
    await influx.start()
    await influx.query("", 'CREATE DATABASE "direct"')
    count = 'SELECT count("charging_w") FROM "gridkeeper_site"'
    before = dashboard.answered(await influx.query("direct", count))
    appliance.more = direct(influx.url, "v1", login)
    await appliance.start()

    async def problem() -> str:
        status = json.loads(await asyncio.to_thread(ask, f"http://127.0.0.1:{appliance.web}/api/status"))
        return str(status["influx"]["problem"])

    async def disbelieves() -> bool:
        return "ca_file" in await problem()

    await until("it does not believe an unknown authority, and says what to do", disbelieves)
    check(dashboard.answered(await influx.query("direct", count)) == before, "lines went to somebody unknown")
    await peers.stop("gridkeeper")
    appliance.more = direct(influx.url, "v1", f'ca_file = "{authority}"\n{login}')
    await appliance.start()

    async def written() -> bool:
        return dashboard.answered(await influx.query("direct", count)) != before

    await until("it writes over TLS", written)
    await peers.stop("gridkeeper")
    say("  the direct writer over TLS: an authority that nobody named is not believed, [influx] ca_file is")


async def test(peers: Peers) -> None:
    influx = await Influx.up(peers)
    await told_history(influx)

    begin = time.time()
    broker = await Broker.up(peers)
    house = await House.up(peers)
    listener = await Listener.up(peers, broker)
    recorder = await Recorder.up(peers)
    recorder.target = influx.port
    for name, secret in (("influx.password", PASSWORD), ("influx.token", TOKEN)):
        file = peers.folder / name
        file.touch(mode=0o600)
        file.write_text(secret)
    login = f'username = "{USER}"\npassword_file = "{peers.folder}/influx.password"\n'
    lines = {"GRIDKEEPER__MQTT__INFLUX": "true"}
    await influx.query("", 'CREATE DATABASE "direct"')
    appliance = await Appliance.up(peers, broker, house, more=direct(f"http://127.0.0.1:{recorder.port}", "v1", login), environment=lines)
    await house.sees("a car charges", lambda it: it["chargers"][0]["offered_a"] > 6)
    await broker.publish("gridkeeper/charger/garage/set/mode", "fixed")
    await until("the direct writer writes", lambda: len(recorder.taken) > 20)

    # The database is away for a while: what it did not take waits.
    await influx.stop()
    gone = time.time_ns()
    await asyncio.sleep(3)
    back = time.time_ns()
    await influx.start()
    # The meter falls silent, which makes events and a fail-safe state.
    await house.ask("period 3600")
    lost = lambda: any('"fail_safe_entered"' in it for _, topic, it in listener.heard if topic == "gridkeeper/event")
    await until("the meter is lost", lost)
    waited = lambda: [it for it in recorder.taken if gone < it.ns < back and it.measurement == "gridkeeper_site"]
    await until("lines of the time without a database were written later", lambda: len(waited()) >= 2)
    await peers.stop("gridkeeper")

    await by_telegraf(influx, listener, begin)
    cells = await dashboard_shows(
        influx, "direct", recorder.taken, live_scope(begin), *NOT_IN_A_MINUTE, "Fail-safe events", "mark Fail-safe"
    )
    say(f"  the direct writer, version 1 with a login, the database gone for a while: {len(recorder.taken)} points, "
        f"{cells} cells of the dashboard as they went in")  # fmt: skip
    check(recorder.logins == {"Basic"} and recorder.paths == {"/write?db=direct"}, f"{recorder.paths}")

    recorder.taken.clear(), recorder.logins.clear(), recorder.paths.clear()
    recorder.target = free_port()
    storage = f"-storageDataPath={peers.folder}/victoria"
    program = ["victoria-metrics", f"-httpListenAddr=127.0.0.1:{recorder.target}", storage, "-retentionPeriod=1"]
    await peers.start("victoria", *program, wait_for=recorder.target)
    appliance.more = direct(f"http://127.0.0.1:{recorder.port}", "v2", f'org = "home"\ntoken_file = "{peers.folder}/influx.token"\n')
    await appliance.start()
    await until("the direct writer writes", lambda: len(recorder.taken) > 20)
    await peers.stop("gridkeeper")
    await victoria(peers, recorder, recorder.target)
    check(recorder.logins == {"Token"} and recorder.paths == {"/api/v2/write?org=home&bucket=direct"}, f"{recorder.paths}")
    await over_tls(peers, influx, appliance, login)
    log = peers.log("gridkeeper").read_text(errors="replace")
    check(PASSWORD not in log and TOKEN not in log, "a secret stands in the log")


if __name__ == "__main__":
    main(test)
