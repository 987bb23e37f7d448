"""The appliance and a simulated house on the real Home Assistant Core. Started by homeassistant.sh."""

import asyncio
import contextlib
import itertools
import json
import math
import os
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import energy
from controls import every_control
from hass import BROKER_AWAY, HomeAssistant
from peers import Appliance, Broker, BuiltIn, Failure, House, Listener, Peers, Tap, check, main
from peers import modbus_writes, percentiles, say, until

# Of everything: without the figures, the wait for its statistics, and the orders of restart; or with the figures as well;
# or something else: at the built-in broker.
EXTENT = os.environ.get("GRIDKEEPER_EXTENT", "")

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
    ("number.test_house_import_current_limit", "current", "A", None),
    ("sensor.test_house_problem", "enum", None, None),
    ("binary_sensor.test_house_fail_safe", "problem", None, None),
    *energy.EXPECTED,
]


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
    if "is not none" in component["value_template"]:
        value = value is not None
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


async def as_expected(ha: HomeAssistant, wanted: list[tuple] = EXPECTED) -> None:
    states = {}

    async def there() -> bool:
        states.update(await ha.states())
        return all(entity in states for entity, *_ in wanted)

    # What is missing is named below.
    with contextlib.suppress(Failure):
        await until("every entity", there)
    ours = sorted(it for it in states if re.search(r"\.(house_meter|garage|carport|test_house|street|roof|cellar)", it))
    for entity, device_class, unit, state_class in wanted:
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
        about = (await ha.states())["event.garage_event"]["attributes"]
        return about.get("event_type") == "command_refused" and result["error"] in about["detail"]

    await until("the event entity says that a command was refused, and why", told)


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


async def one_of_three(ha: HomeAssistant, broker: Broker, appliance: Appliance, listener: Listener) -> Listener:
    """Each is restarted while the other two run; what is gone is shown as gone. Gives a listener for the new broker."""
    await appliance.stop()
    await ha.becomes("sensor.house_meter_power", "unavailable")
    await ha.becomes("sensor.garage_status", "unavailable")
    await renamed_component(ha, broker, appliance, listener)
    await everything_shown(ha, listener)
    await ha.call("button.press", entity_id="button.test_house_restart")
    run = listener.json("gridkeeper/bridge/info")["run"]
    await listener.becomes("gridkeeper/bridge/info", lambda it: it["run"] != run)
    await everything_shown(ha, listener)
    await ha.stop()
    before = len(listener.heard)
    await ha.run()
    await everything_shown(ha, listener)
    # A broker that goes before Home Assistant has said so is an error in its log, and none of ours.
    born = lambda: any(it[1:] == ("homeassistant/status", "online") for it in listener.heard[before:])
    await until("Home Assistant says that it is born", born)
    check(not (loud := ha.complaints()), f"its log complains: {loud[:5]}")
    await broker.stop()
    await ha.becomes("sensor.house_meter_power", "unavailable")
    await broker.start()
    await ha.peers.stop(next(it for it in ha.peers.processes if it.startswith("listener")))
    listener = await Listener.up(ha.peers, broker)
    await everything_shown(ha, listener)
    check(not (loud := ha.complaints(BROKER_AWAY)), f"its log complains: {loud[:5]}")
    return listener


async def renamed_component(ha: HomeAssistant, broker: Broker, appliance: Appliance, listener: Listener) -> None:
    """What an earlier version announced under another key goes when this one starts; so do meters that are taken out."""
    topic = "homeassistant/device/gridkeeper_charger_garage/config"
    old = listener.json(topic)
    old["components"]["ampere"] = {
        "platform": "sensor",
        "name": "Ampere",
        "unique_id": "gridkeeper_charger_garage_ampere",
        "value_template": "{{ value_json.offered_current_a }}",
    }
    await broker.publish(topic, json.dumps(old), "-r")

    async def there() -> bool:
        registry = await ha.socket.ask(type="config/entity_registry/list")
        return any(it["unique_id"] == "gridkeeper_charger_garage_ampere" for it in registry)

    await until("the old component is an entity", there)
    appliance.more = ""
    await appliance.start()

    async def gone() -> bool:
        devices = {it["name"] for it in await ha.socket.ask(type="config/device_registry/list")}
        return not await there() and not devices & energy.DEVICES

    await until("the old component and the meters that were taken out are gone", gone)


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


async def blueprints(ha: HomeAssistant, broker: Broker, house: House) -> None:
    """Each of config/blueprints does what it says."""
    mode, plug = "select.garage_charge_mode", "binary_sensor.garage_plug"
    price = lambda amount: ha.post("states/sensor.price", {"state": str(amount)})
    await price(0.30)
    await ha.automate("cheap", "price_drives_mode", mode=mode, plug=plug, price="sensor.price", limit=0.2, high="off")
    await ha.becomes(mode, "off")
    await house.sees("too dear: the garage is stopped", lambda it: it["chargers"][0]["offered_a"] < 6)
    await price("unavailable")
    await price(0.2)
    await ha.becomes(mode, "fast")
    await house.sees("cheap: the garage charges", lambda it: it["chargers"][0]["offered_a"] >= 6)
    await ha.forget("cheap")

    now = datetime.now(ZoneInfo("Europe/Amsterdam"))
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    at = lambda hours: (now + timedelta(hours=hours)).strftime("%H:%M:%S")
    plan = {"mode": mode, "plug": plug, "days": days, "hours": 4, "else": "fixed"}
    await ha.automate("leaving", "departure_drives_mode", departure=at(10), **plan)
    await ha.becomes(mode, "fixed")
    await ha.automate("leaving", "departure_drives_mode", departure=at(3), **plan)
    await ha.becomes(mode, "fast")
    tomorrow = days[(now + timedelta(hours=3)).weekday()]
    plan["days"] = [it for it in days if it != tomorrow]
    await ha.automate("leaving", "departure_drives_mode", departure=at(3), **plan)
    await ha.becomes(mode, "fixed")
    await ha.forget("leaving")
    await ha.call("select.select_option", entity_id=mode, option="fast")
    await ha.becomes(mode, "fast")

    async def told(*kinds: str) -> bool:
        notifications = await ha.socket.ask(type="persistent_notification/get")
        ids = " ".join(it["notification_id"] for it in notifications)
        return all(f"gridkeeper_{kind}_" in ids and "gridkeeper_started" not in ids for kind in kinds)

    await ha.automate("trouble", "notify_on_trouble", event="event.test_house_event")
    await house.ask("period 3600")
    await until("it tells of a lost meter and the fail-safe", lambda: told("meter_lost", "fail_safe_entered"))
    await house.ask("period 1")
    await ha.becomes("binary_sensor.test_house_fail_safe", "off")
    # No box here disobeys: the event as the appliance would send it.
    event = {"event_type": "not_obeying", "subject": "garage", "detail": "it keeps 16 A", "time": now.isoformat()}
    await broker.publish("gridkeeper/event", json.dumps(event))
    await until("it tells of a charger that does not obey", lambda: told("not_obeying"))
    await ha.forget("trouble")
    await house.sees("all is as before", lambda it: it["chargers"][0]["offered_a"] > 15)


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


async def on_our_broker(peers: Peers) -> None:
    """At the built-in broker instead of Mosquitto, with both versions of MQTT that Home Assistant speaks."""
    broker = BuiltIn()
    house = await House.up(peers)
    appliance = await Appliance.up(peers, broker, house)
    ha = await HomeAssistant.up(peers, broker)
    for protocol in ("5", "3.1.1"):
        await ha.remove_broker()
        await ha.add_broker(broker, protocol)
        listener = await Listener.up(peers, broker)
        # A broker that goes before Home Assistant has said so is an error in its log, and none of ours.
        await listener.says("homeassistant/status", "online")
        await as_expected(ha, [it for it in EXPECTED if it not in energy.EXPECTED])
        count = await everything_shown(ha, listener, least=70)
        await commands(ha, house)
        if protocol == "5":
            await look(ha)
        check(not (loud := ha.complaints()), f"its log complains: {loud[:5]}")
        await appliance.stop()
        await ha.becomes("sensor.garage_status", "unavailable")
        await appliance.start()
        listener = await Listener.up(peers, broker)
        await everything_shown(ha, listener, 120, least=70)
        await ha.stop()
        # Its good-bye and its birth message.
        await listener.says("homeassistant/status", "offline")
        await ha.run()
        await listener.says("homeassistant/status", "online")
        await everything_shown(ha, listener, 120, least=70)
        check(not (loud := ha.complaints(BROKER_AWAY)), f"its log complains: {loud[:5]}")
        say(f"  MQTT {protocol}: {count} entities, commands, a restart of the broker with us and one of Home Assistant")
    log = peers.log("gridkeeper").read_text(errors="replace")
    check("the built-in broker: " not in log, f"the broker complains: {log[-2000:]}")


async def test(peers: Peers) -> None:
    broker = await Broker.up(peers)
    house = await House.up(peers)
    ha = await HomeAssistant.up(peers, broker)
    listener = await Listener.up(peers, broker)
    appliance = await Appliance.up(peers, broker, house, more=await energy.meters(peers, broker))
    await as_expected(ha)
    count = await everything_shown(ha, listener)
    say(f"  {count} entities of 9 devices appear with state, class and unit")
    await energy.prefer(ha)
    await commands(ha, house)
    say("  modes, numbers and switches reach the chargers and come back; a value out of range is refused by its form")
    await refusal_snaps_back(ha, broker, listener)
    say("  a refused command snaps back, and its event says why")
    await blueprints(ha, broker, house)
    say("  three blueprints: price and departure drive the mode, a lost meter, fail-safe and disobedience are told")
    if EXTENT == "release":
        await from_rest_to_modbus(ha, appliance, house, listener)
        await from_telegram_to_state(ha, appliance, house, listener)
    await every_control(ha, broker, listener, await components(listener))
    await energy.accepted(ha, EXTENT != "brief")
    say("  the Energy dashboard accepts import, export and power of the grid, tariffs, gas, water, solar, battery, charger")
    await look(ha)
    check(not (loud := ha.complaints()), f"its log complains: {loud[:5]}")
    listener = await one_of_three(ha, broker, appliance, listener)
    say("  appliance, Home Assistant and broker each restarted while the others run, the appliance also by its button:")
    say("  everything right again; a renamed component and meters that were taken out are gone")

    async def new_listener() -> Listener:
        nonlocal listener
        listener = await Listener.up(peers, broker)
        again["name"] = list(peers.processes)[-1]
        return listener

    again = {"name": next(it for it in peers.processes if it.startswith("listener")), "make": new_listener}
    if EXTENT != "brief":
        await restarts(ha, broker, appliance, again)
    await removed_charger(ha, appliance, listener)
    say("  a charger that is taken out of the configuration is gone")
    check(not (loud := ha.complaints(BROKER_AWAY)), f"its log complains: {loud[:5]}")
    say("  no warning and no error in its log that is about us")


if __name__ == "__main__":
    main(on_our_broker if EXTENT == "embedded" else test)
