"""The appliance and a simulated house on the real Home Assistant Core. Started by homeassistant.sh."""

import asyncio
import itertools
import json
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from pathlib import Path

from peers import Appliance, Broker, Failure, House, Listener, Peers, Tap, check, free_port, main
from peers import modbus_writes, percentiles, say, until
from websocket import WebSocket

# What Home Assistant says of this small installation itself, and of a broker that is not there.
NOT_ABOUT_US = re.compile(
    r"haffmpeg|Skipping pip|img_util|pip install|SQLite|shutdown was not clean|Ended unfinished session"
)
BROKER_AWAY = re.compile(
    r"(MQTT server|MQTT client|mqtt\.client|Connection refused|Disconnected from|Failed to connect|config_entries.*[Mm]qtt)"
)

# Entities that must be, whatever the device messages say: entity id, device class, unit, state class.
EXPECTED = [
    ("sensor.house_meter_power", "power", "W", "measurement"),
    ("sensor.house_meter_power_l1", "power", "W", "measurement"),
    ("sensor.house_meter_current_l2", "current", "A", "measurement"),
    ("sensor.house_meter_voltage_l3", "voltage", "V", "measurement"),
    ("sensor.house_meter_energy_import", "energy", "kWh", "total_increasing"),
    ("sensor.house_meter_energy_export", "energy", "kWh", "total_increasing"),
    ("sensor.house_meter_energy_import_tariff_1", "energy", "kWh", "total_increasing"),
    ("sensor.house_meter_energy_import_tariff_2", "energy", "kWh", "total_increasing"),
    ("sensor.house_meter_gas_gas", "gas", "m³", "total_increasing"),
    ("sensor.house_meter_quality", "enum", None, None),
    ("sensor.garage_power", "power", "W", "measurement"),
    ("sensor.garage_energy", "energy", "kWh", "total_increasing"),
    ("sensor.garage_status", "enum", None, None),
    ("sensor.garage_offered_current", "current", "A", "measurement"),
    ("sensor.garage_limit_reason", "enum", None, None),
    ("select.garage_charge_mode", None, None, None),
    ("number.garage_maximum_current", "current", "A", None),
    ("binary_sensor.garage_plug", "plug", None, None),
    ("binary_sensor.garage_charging", "battery_charging", None, None),
    ("event.garage_event", None, None, None),
    ("select.carport_charge_mode", None, None, None),
    ("sensor.carport_reason", None, None, None),
    ("switch.test_house_charging", None, None, None),
    ("number.test_house_maximum_import_current", "current", "A", None),
    ("sensor.test_house_problem", "enum", None, None),
    ("binary_sensor.test_house_fail_safe", "problem", None, None),
]


class HomeAssistant:
    """The program in its own root, with a new and empty configuration."""

    def __init__(self, peers: Peers) -> None:
        self.peers, self.port = peers, free_port()
        self.root = os.environ["GRIDKEEPER_HA_ROOT"]
        self.config = peers.folder / "homeassistant"
        self.url = f"http://127.0.0.1:{self.port}"
        self.refresh = self.socket = None
        self.token, self.token_at = "", 0.0
        # Length of its log when we came.
        self.before_us = 0

    @classmethod
    async def up(cls, peers: Peers, broker: Broker) -> "HomeAssistant":
        it = cls(peers)
        it.config.mkdir()
        it.write_configuration()
        await it.run()
        await it.onboard()
        # Until somebody confirms its HTTP settings, it goes back to all interfaces after five minutes.
        await it.socket.ask(type="http/config/promote")
        await it.add_broker(broker)
        it.before_us = peers.log("hass").stat().st_size
        return it

    def write_configuration(self) -> None:
        """Small, on loopback, with our blueprints beside its own."""
        (self.config / "configuration.yaml").write_text(
            f"""
homeassistant: {{name: Test, unit_system: metric, time_zone: Europe/Amsterdam, currency: EUR, country: NL}}
http: {{server_host: 127.0.0.1, server_port: {self.port}}}
api:
config:
recorder: {{commit_interval: 1}}
history:
energy:
automation: []
logger: {{default: warning}}
"""
        )

    async def run(self) -> None:
        """Starts it; returns when it says that it runs."""
        enter = """root=$1; config=$2; shift 2
            mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && mount --bind "$config" "$root/config" &&
            exec chroot "$root" "$@" """
        program = ["env", "LANG=C.UTF-8", "PATH=/opt/ha/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        program += ["/opt/ha/bin/hass", "-c", "/config", "--skip-pip", "--log-no-color"]
        command = ["unshare", "--mount", "--", "sh", "-c", enter, "sh", self.root, self.config, *program]
        await self.peers.start("hass", *command)
        await until("Home Assistant listens", lambda: self.peers.listens("hass", self.port), 180)
        if self.refresh:
            await self.ready()

    async def ready(self) -> None:
        await until("Home Assistant runs", self.runs, 180)
        if self.socket:
            self.socket.close()
        self.socket = await WebSocket.up(self.port, await self.access())

    async def runs(self) -> bool:
        try:
            return (await self.get("config"))["state"] == "RUNNING"
        except (OSError, Failure):
            return False

    async def stop(self) -> None:
        if self.socket:
            self.socket.close()
            self.socket = None
        await self.peers.stop("hass", 60)

    async def http(self, path: str, body: bytes | None = None, kind: str = "", token: str = "", method: str | None = None):
        def ask():
            headers = {"Content-Type": kind} if kind else {}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
            with urllib.request.urlopen(request, timeout=40) as answer:
                text = answer.read()
                return json.loads(text) if text else None

        try:
            return await asyncio.to_thread(ask)
        except urllib.error.HTTPError as error:
            raise Failure(f"{path}: {error.code} {error.read().decode(errors='replace')}") from None

    async def tokens(self, **form: str) -> dict:
        body = urllib.parse.urlencode(form | {"client_id": f"{self.url}/"}).encode()
        return await self.http("/auth/token", body, "application/x-www-form-urlencoded")

    async def access(self) -> str:
        """Access tokens last half an hour."""
        if not self.token or time.monotonic() - self.token_at > 1200:
            self.token = (await self.tokens(grant_type="refresh_token", refresh_token=self.refresh))["access_token"]
            self.token_at = time.monotonic()
        return self.token

    async def post(self, path: str, body: dict | None = None):
        return await self.http(f"/api/{path}", json.dumps(body or {}).encode(), "application/json", await self.access())

    async def get(self, path: str):
        return await self.http(f"/api/{path}", token=await self.access())

    async def call(self, service: str, **data) -> None:
        await self.post(f"services/{service.replace('.', '/')}", data)

    async def onboard(self) -> None:
        """Makes the owner's account through its own first-run pages, and throws out what needs the outside world."""

        async def there() -> bool:
            try:
                await self.http("/api/onboarding")
                return True
            except (OSError, Failure):
                return False

        await until("its first-run pages", there, 60)
        user = {"name": "Owner", "username": "owner", "password": "owner-secret", "language": "en"}
        body = json.dumps(user | {"client_id": f"{self.url}/"}).encode()
        code = (await self.http("/api/onboarding/users", body, "application/json"))["auth_code"]
        self.refresh = (await self.tokens(grant_type="authorization_code", code=code))["refresh_token"]
        await self.post("onboarding/core_config")
        await self.post("onboarding/analytics")
        await self.post("onboarding/integration", {"client_id": f"{self.url}/", "redirect_uri": f"{self.url}/"})
        await self.ready()
        for entry in await self.get("config/config_entries/entry"):
            if entry["domain"] in ("google_translate", "met", "radio_browser", "shopping_list"):
                path = f"/api/config/config_entries/entry/{entry['entry_id']}"
                await self.http(path, token=await self.access(), method="DELETE")

    async def add_broker(self, broker: Broker) -> None:
        """Through its own dialogue, which dials the broker before it accepts."""
        flow = await self.post("config/config_entries/flow", {"handler": "mqtt"})
        answers = {"broker": "127.0.0.1", "port": broker.port, "username": broker.USER, "password": broker.PASSWORD}
        for field in flow["data_schema"]:
            if field["name"] == "protocol":
                answers["protocol"] = field.get("default", "5")
            elif field["name"] == "other_settings":
                answers["other_settings"] = {"set_client_cert": False, "set_ca_cert": "off", "transport": "tcp"}
        done = await self.post(f"config/config_entries/flow/{flow['flow_id']}", answers)
        check(done["type"] == "create_entry", f"the MQTT dialogue says {done}")

    async def states(self) -> dict[str, dict]:
        return {it["entity_id"]: it for it in await self.get("states")}

    async def state(self, entity: str) -> str | None:
        return (await self.states()).get(entity, {}).get("state")

    async def becomes(self, entity: str, wanted: str, patience: float = 60) -> None:
        seen = []

        async def look() -> bool:
            seen[:] = [await self.state(entity)]
            return seen[0] == wanted

        try:
            await until("", look, patience)
        except Failure:
            raise Failure(f"{entity} is {seen[0]}, not {wanted}") from None

    def complaints(self, *also: re.Pattern) -> list[str]:
        """Warnings and errors of its log that are about us, or may be."""
        lines = self.peers.log("hass").read_bytes()[self.before_us :].decode(errors="replace").splitlines()
        loud = [it for it in lines if re.search(r" (WARNING|ERROR|CRITICAL) ", it)]
        return [it for it in loud if not any(known.search(it) for known in (NOT_ABOUT_US, *also))]


async def components(listener: Listener) -> dict[str, tuple[str, dict]]:
    """Every component of our device messages by its unique id, with the topic of its state."""
    found = {}
    for topic, payload in listener.last.items():
        if re.fullmatch(r"homeassistant/device/gridkeeper_[^/]+/config", topic):
            message = json.loads(payload)
            for component in message["components"].values():
                found[component["unique_id"]] = (component.get("state_topic", message["state_topic"]), component)
    return found


def agrees(component: dict, topic: str, shown: str, listener: Listener) -> str | None:
    """`None` when the shown state is what the state topic says; else what it should be."""
    if component["platform"] in ("button", "event"):
        return None if shown != "unavailable" else "available"
    state = listener.json(topic) or {}
    key = re.search(r"value_json\.(\w+)", component["value_template"])
    value = state.get(key.group(1)) if key else None
    if value is None:
        return None if shown in ("unknown", "unavailable", "none") else "unknown"
    if isinstance(value, bool):
        return None if shown == ("on" if value else "off") else str(value)
    if isinstance(value, (int, float)):
        try:
            return None if math.isclose(float(shown), value, rel_tol=0, abs_tol=1e-9) else str(value)
        except ValueError:
            return str(value)
    if component.get("device_class") == "timestamp":
        try:
            same = abs(datetime.fromisoformat(shown).timestamp() - datetime.fromisoformat(value).timestamp()) < 1
        except ValueError:
            same = False
        return None if same else value
    return None if shown == value else value


async def everything_shown(ha: HomeAssistant, listener: Listener, patience: float = 60, least: int = 90) -> int:
    """Every component of ours is an entity with its state, class and unit. Gives how many."""
    wrong: dict[str, str] = {"": "no device message"}
    settled: set[str] = set()
    deadline = time.monotonic() + patience
    while wrong and time.monotonic() < deadline:
        registry = {it["unique_id"]: it for it in await ha.socket.ask(type="config/entity_registry/list")}
        states = await ha.states()
        ours = await components(listener)
        wrong = {} if len(ours) >= least else {"": f"only {len(ours)} components are announced"}
        for unique, (topic, component) in ours.items():
            entry = registry.get(unique)
            if entry is None:
                wrong[unique] = "not in the registry"
                continue
            disabled = component.get("enabled_by_default") is False
            check(bool(entry["disabled_by"]) == disabled, f"{unique}: disabled by {entry['disabled_by']}")
            if disabled or unique in settled:
                continue
            shown = states.get(entry["entity_id"])
            if shown is None:
                wrong[unique] = "has no state"
                continue
            for field in ("device_class", "unit_of_measurement", "state_class"):
                if shown["attributes"].get(field) != component.get(field):
                    wrong[unique] = f"{field} is {shown['attributes'].get(field)}, not {component.get(field)}"
            if (right := agrees(component, topic, shown["state"], listener)) is not None:
                wrong[unique] = f"{entry['entity_id']} is {shown['state']}, not {right}"
            elif unique not in wrong:
                settled.add(unique)
        await asyncio.sleep(0.2)
    check(not wrong, f"{len(wrong)} entities are wrong: {list(wrong.items())[:8]}")
    return len(ours)


async def as_expected(ha: HomeAssistant) -> None:
    states = await ha.states()
    ours = sorted(it for it in states if re.search(r"\.(house_meter|garage|carport|test_house)", it))
    for entity, device_class, unit, state_class in EXPECTED:
        check(entity in states, f"{entity} is missing; there are {ours}")
        about = states[entity]["attributes"]
        found = (about.get("device_class"), about.get("unit_of_measurement"), about.get("state_class"))
        check(found == (device_class, unit, state_class), f"{entity} has {found}")


async def commands(ha: HomeAssistant, house: House) -> None:
    """From its REST API to the charger and back."""
    mode = "select.garage_charge_mode"
    await house.sees("the garage is offered 16 A", lambda it: it["chargers"][0]["offered_a"] > 15)
    await ha.call("select.select_option", entity_id=mode, option="off")
    await house.sees("the garage is offered nothing", lambda it: it["chargers"][0]["offered_a"] < 6)
    await ha.becomes(mode, "off")
    await ha.becomes("sensor.garage_limit_reason", "off")
    await ha.call("number.set_value", entity_id="number.garage_maximum_current", value=10)
    await ha.call("select.select_option", entity_id=mode, option="fast")
    await house.sees("the garage is offered 10 A", lambda it: abs(it["chargers"][0]["offered_a"] - 10) < 0.5)
    await ha.becomes(mode, "fast")
    await ha.becomes("number.garage_maximum_current", "10")
    await ha.call("number.set_value", entity_id="number.garage_maximum_current", value=16)
    await ha.call("switch.turn_off", entity_id="switch.test_house_charging")
    await house.sees("nobody charges", lambda it: all(box["offered_a"] < 6 for box in it["chargers"]))
    await ha.becomes("switch.test_house_charging", "off")
    await ha.call("switch.turn_on", entity_id="switch.test_house_charging")
    await house.sees("both charge", lambda it: all(box["offered_a"] >= 6 for box in it["chargers"]))
    for entity, value in (("number.garage_maximum_current", 17), ("number.garage_maximum_current", 5)):
        try:
            await ha.call("number.set_value", entity_id=entity, value=value)
        except Failure:
            continue
        raise Failure(f"Home Assistant takes {value} for {entity}: the range that it was told is wrong")


async def refusal_snaps_back(ha: HomeAssistant, broker: Broker, listener: Listener) -> None:
    """What we refuse leaves its entity as it was, and says why."""
    await broker.publish("gridkeeper/charger/garage/set/mode", "warp")
    heard = lambda it: it["topic"] == "gridkeeper/charger/garage/set/mode" and not it["ok"]
    result = await listener.becomes("gridkeeper/result", heard)
    check("fast" in result["error"], f"the answer does not say what is allowed: {result}")
    await ha.becomes("select.garage_charge_mode", "fast")

    async def told() -> bool:
        return (await ha.states())["event.garage_event"]["attributes"].get("event_type") == "command_refused"

    await until("the event entity says that a command was refused", told)


async def garage_written(ha: HomeAssistant, tap: Tap, amps: int) -> float:
    """Asks for so many amperes and gives when the frame with them passed by."""
    seen = len(tap.to_device)
    await ha.call("number.set_value", entity_id="number.garage_maximum_current", value=amps)

    def written() -> float | None:
        frames = modbus_writes(tap.to_device[seen:])
        return next((at for at, frame in frames if frame[-2:] == amps.to_bytes(2)), None)

    return await until(f"a set-point of {amps} A", written)


async def from_rest_to_modbus(ha: HomeAssistant, appliance: Appliance, house: House, listener: Listener) -> None:
    """From Home Assistant's REST call to the set-point's Modbus frame; each call lowers the current by 1 A."""
    await house.sees("the garage is offered 16 A", lambda it: it["chargers"][0]["offered_a"] > 15.9)
    whole, ours = [], []
    tap = appliance.taps[1]
    topic = "gridkeeper/charger/garage/set/max_current_a"
    for _ in range(10):
        for amps in range(15, 6, -1):
            begin, heard = time.monotonic(), len(listener.heard)
            frame = await garage_written(ha, tap, amps)
            whole.append(frame - begin)
            at = next((at for at, name, _ in listener.heard[heard:] if name == topic), None)
            if at is not None:
                ours.append(frame - at)
        await garage_written(ha, tap, 16)
    say(f"  from the REST call to the Modbus frame: {percentiles(whole)}")
    say(f"  of which from the command on MQTT, as another client hears it: {percentiles(ours)}")


async def from_telegram_to_state(ha: HomeAssistant, appliance: Appliance, house: House, listener: Listener) -> None:
    """From the last byte of a P1 telegram to the state in Home Assistant, each with a power of its own."""
    await ha.call("switch.turn_off", entity_id="switch.test_house_charging")
    await house.sees("nobody draws", lambda it: all(max(box["draw_a"]) < 0.01 for box in it["chargers"]))
    await house.ask("period 0.25")
    await ha.socket.ask(type="subscribe_events", event_type="state_changed")
    tap = appliance.taps[0]
    tap.from_device.clear()
    shown: dict[int, float] = {}

    async def listen() -> None:
        while True:
            event = await ha.socket.events.get()
            at = time.monotonic()
            if event["data"]["entity_id"] == "sensor.house_meter_power":
                shown.setdefault(round(float(event["data"]["new_state"]["state"])), at)

    listening = asyncio.create_task(listen())
    for step in range(700):
        await house.ask(f"load {2 + step * 0.02:.2f} 3 4")
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    listening.cancel()
    said: dict[int, float] = {}
    text = ""
    for at, data in tap.from_device:
        text += data.decode("latin-1")
        while end := re.search(r"![0-9A-F]{4}\r\n", text):
            if power := re.search(r"1-0:1\.7\.0\((\d+\.\d+)\*kW\)", text[: end.start()]):
                said.setdefault(round(float(power.group(1)) * 1000), at)
            text = text[end.end() :]
    published: dict[int, float] = {}
    for at, topic, payload in listener.heard:
        if topic == "gridkeeper/meter/main/state":
            published.setdefault(json.loads(payload)["power_w"], at)
    times = [shown[power] - at for power, at in said.items() if power in shown]
    ours = [published[power] - at for power, at in said.items() if power in published]
    check(len(times) > 0.9 * len(said) > 100, f"{len(times)} of {len(said)} telegrams were shown")
    say(f"  from the P1 telegram to the state in Home Assistant: {percentiles(times)}")
    say(f"  of which to the state on MQTT, as another client hears it: {percentiles(ours)}")
    await house.ask("period 1")
    await house.ask("load 2 3 4")
    await ha.call("switch.turn_on", entity_id="switch.test_house_charging")


async def restarts(ha: HomeAssistant, broker: Broker, appliance: Appliance, listener_of) -> None:
    """All three are down, then come in each order."""
    for order in itertools.permutations(("Home Assistant", "broker", "appliance")):
        begin = time.monotonic()
        await ha.stop()
        await appliance.stop()
        await broker.stop()
        await ha.peers.stop(listener_of["name"])
        for who in order:
            await {"Home Assistant": ha.run, "broker": broker.start, "appliance": appliance.start}[who]()
        listener = await listener_of["make"]()
        await everything_shown(ha, listener, 120)
        say(f"  {', then '.join(order)}: everything right again after {time.monotonic() - begin:.0f} s")


async def one_of_three(ha: HomeAssistant, broker: Broker, appliance: Appliance, listener: Listener) -> None:
    """Each is restarted while the other two run; what is gone is shown as gone."""
    await appliance.stop()
    await ha.becomes("sensor.house_meter_power", "unavailable")
    await ha.becomes("sensor.garage_status", "unavailable")
    await appliance.start()
    await everything_shown(ha, listener)
    await ha.stop()
    await ha.run()
    await everything_shown(ha, listener)


async def removed_charger(ha: HomeAssistant, appliance: Appliance, listener: Listener) -> None:
    names = lambda devices: {it["name"] for it in devices}
    check("Carport" in names(await ha.socket.ask(type="config/device_registry/list")), "the carport is no device")
    await appliance.stop()
    await appliance.start(chargers=1)

    async def gone() -> bool:
        return "Carport" not in names(await ha.socket.ask(type="config/device_registry/list"))

    await until("the carport is gone from Home Assistant", gone)
    check("select.carport_charge_mode" not in await ha.states(), "its entities are still there")
    left = [topic for topic in listener.last if "carport" in topic and not topic.endswith("event")]
    await until(f"its topics are cleared: {left}", lambda: not any(topic in listener.last for topic in left))
    await everything_shown(ha, listener, least=70)


async def energy_dashboard(ha: HomeAssistant) -> None:
    """Its own validation, once it has compiled statistics, which it does each five minutes."""
    prefs = {
        "energy_sources": [
            {
                "type": "grid",
                "stat_energy_from": "sensor.house_meter_energy_import",
                "stat_energy_to": "sensor.house_meter_energy_export",
                "stat_cost": None,
                "stat_compensation": None,
                "entity_energy_price": None,
                "number_energy_price": None,
                "entity_energy_price_export": None,
                "number_energy_price_export": None,
                "cost_adjustment_day": 0,
                "stat_rate": "sensor.house_meter_power",
            },
            {
                "type": "gas",
                "stat_energy_from": "sensor.house_meter_gas_gas",
                "stat_cost": None,
                "entity_energy_price": None,
                "number_energy_price": None,
            },
        ],
        "device_consumption": [{"stat_consumption": "sensor.garage_energy", "stat_rate": "sensor.garage_power"}],
    }
    await ha.socket.ask(type="energy/save_prefs", **prefs)
    last = []

    async def satisfied() -> bool:
        last[:] = [await ha.socket.ask(type="energy/validate")]
        return not any(itertools.chain(*last[0].values()))

    try:
        await until("", satisfied, 400)
    except Failure:
        raise Failure(f"the Energy dashboard complains: {last[0]}") from None


async def look(ha: HomeAssistant) -> None:
    """Pictures for people."""
    folder = os.environ.get("GRIDKEEPER_LOOK")
    if not folder:
        return
    devices = await ha.socket.ask(type="config/device_registry/list")
    pages = [{"path": "/energy", "out": f"{folder}/energy.png"}]
    for device in devices:
        if device["name"] in ("Garage", "House meter", "Test house"):
            name = device["name"].lower().replace(" ", "-")
            pages.append({"path": f"/config/devices/device/{device['id']}", "out": f"{folder}/{name}.png"})
    wanted = ha.peers.folder / "pages.json"
    wanted.write_text(json.dumps(pages))
    browser = os.environ["GRIDKEEPER_BROWSER"]
    script = Path(__file__).with_name("look.mjs")
    process = await asyncio.create_subprocess_exec("node", str(script), browser, ha.url, str(wanted))
    check(await process.wait() == 0, "the browser did not come through")
    say(f"  pictures of its pages are in {folder}")


async def test(peers: Peers) -> None:
    broker = await Broker.up(peers)
    house = await House.up(peers)
    ha = await HomeAssistant.up(peers, broker)
    listener = await Listener.up(peers, broker)
    appliance = await Appliance.up(peers, broker, house)
    count = await everything_shown(ha, listener)
    await as_expected(ha)
    say(f"  {count} entities of 5 devices appear with state, class and unit")
    await commands(ha, house)
    say("  modes, numbers and switches reach the chargers and come back; a value out of range is refused by its form")
    await refusal_snaps_back(ha, broker, listener)
    say("  a refused command snaps back, and its event says so")
    await from_rest_to_modbus(ha, appliance, house, listener)
    await from_telegram_to_state(ha, appliance, house, listener)
    await energy_dashboard(ha)
    say("  the Energy dashboard accepts import, export, power, gas and the charger")
    await look(ha)
    check(not (loud := ha.complaints()), f"its log complains: {loud[:5]}")
    await one_of_three(ha, broker, appliance, listener)
    say("  the appliance and Home Assistant each restarted while the others run: everything right again")
    check(not (loud := ha.complaints()), f"its log complains: {loud[:5]}")

    async def new_listener() -> Listener:
        nonlocal listener
        listener = await Listener.up(peers, broker)
        again["name"] = list(peers.processes)[-1]
        return listener

    again = {"name": next(it for it in peers.processes if it.startswith("listener")), "make": new_listener}
    await restarts(ha, broker, appliance, again)
    await removed_charger(ha, appliance, listener)
    say("  a charger that is taken out of the configuration is gone")
    check(not (loud := ha.complaints(BROKER_AWAY)), f"its log complains: {loud[:5]}")
    say("  no warning and no error in its log that is about us")


if __name__ == "__main__":
    main(test)
