"""config/node-red-flows.json in a real Node-RED, and the same job done by a Node-RED flow beside us.

Started by nodered.sh.
"""

import asyncio
import json
import os
import re
import sys
import time
import urllib.request
from pathlib import Path

from peers import ROOT, Appliance, Broker, BuiltIn, House, Listener, Peers, Tap, check, free_port, main, modbus_writes
from peers import percentile, say, until

FLOWS = ROOT / "config" / "node-red-flows.json"
# What our flows feed.
TARIFF = '[[input]]\nid = "tariff"\nmeaning = "low-tariff"\ndriver = "mqtt"\nmax_age_s = 0\n'
CORE = {"tab", "comment", "inject", "debug", "function", "switch", "change", "mqtt in", "mqtt out", "mqtt-broker"}


class NodeRed:
    """Headless, on loopback, without telemetry."""

    def __init__(self, peers: Peers, name: str) -> None:
        self.peers, self.name, self.port = peers, name, free_port()

    @classmethod
    async def up(cls, peers: Peers, name: str) -> "NodeRed":
        it = cls(peers, name)
        it.folder = peers.folder / name
        it.folder.mkdir()
        (it.folder / "settings.js").write_text(
            f"""module.exports = {{
                uiHost: "127.0.0.1", uiPort: {it.port}, flowFile: "flows.json", credentialSecret: "only for tests",
                telemetry: {{ enabled: false, updateNotification: false }},
                externalModules: {{ autoInstall: false, palette: {{ allowInstall: false }} }},
                editorTheme: {{ tours: false }}, mqttReconnectTime: 1000,
            }};"""
        )
        await it.run()
        return it

    async def run(self) -> None:
        modules = Path(os.environ["GRIDKEEPER_NODE_RED"]) / "node_modules"
        program = (modules / "node" / "bin" / "node", modules / "node-red" / "red.js")
        await self.peers.start(self.name, *program, "--userDir", self.folder, wait_for=self.port)
        await until("Node-RED's admin interface", self.answers)

    async def answers(self) -> bool:
        try:
            return "version" in await self.get("settings")
        except OSError:
            return False

    async def get(self, path: str):
        return await self.http(path)

    async def http(self, path: str, body: object = None):
        def ask():
            data = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json", "Node-RED-API-Version": "v2", "Node-RED-Deployment-Type": "full"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data=data, headers=headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return json.loads(text) if text.startswith((b"{", b"[")) else text

        return await asyncio.to_thread(ask)

    async def deploy(self, flows: list[dict]) -> None:
        check("rev" in await self.http("flows", {"flows": flows}), "Node-RED does not take the flows")

    async def press(self, node: str) -> None:
        """The button of an inject node."""
        await self.http(f"inject/{node}", {})

    async def kept(self, flow: str, key: str):
        """A value of the flow's context."""
        try:
            found = await self.get(f"context/flow/{flow}/{key}")
        except OSError:
            return None
        value = str(found.get("msg", ""))
        return json.loads(value) if value.startswith("{") else value


def our_flows_at(broker: Broker) -> list[dict]:
    """As they are but for the broker's address and login."""
    flows = json.loads(FLOWS.read_text())
    check({it["type"] for it in flows} <= CORE, f"not only core nodes: {({it['type'] for it in flows} - CORE)}")
    for node in flows:
        if node["type"] == "mqtt-broker":
            node |= {"broker": "127.0.0.1", "port": str(broker.port)}
            node["credentials"] = {"user": broker.USER, "password": broker.PASSWORD}
    return flows


async def our_flows(peers: Peers) -> None:
    """They show, command, and react."""
    broker = await Broker.up(peers)
    house = await House.up(peers)
    appliance = await Appliance.up(peers, broker, house, more=TARIFF)
    listener = await Listener.up(peers, broker)
    flows = our_flows_at(broker)
    red = await NodeRed.up(peers, "node-red")
    await red.deploy(flows)
    say(f"  Node-RED {(await red.get('settings'))['version']} took {len(flows)} nodes")

    async def shows(text: str) -> bool:
        chargers = await red.kept("gk-tab", "chargers")
        return isinstance(chargers, dict) and text in chargers.get("garage", "")

    await until("it shows that the garage charges", lambda: shows("charging, fast"))
    await red.press("gk-mode-off")
    await house.sees("the garage is stopped by its button", lambda it: it["chargers"][0]["offered_a"] < 6)
    await until("it shows the mode", lambda: shows(", off"))
    answer = await listener.becomes("gridkeeper/result", lambda it: it["value"] == "off")
    check(answer["ok"], f"the answer is {answer}")
    await red.press("gk-mode-fast")
    await house.sees("the garage charges again", lambda it: it["chargers"][0]["offered_a"] >= 6)
    await peers.stop("house")

    async def alarmed() -> bool:
        return "meter lost" in str(await red.kept("gk-tab", "last_alarm"))

    await until("it reacts to the lost meter", alarmed)
    await red.press("gk-minute")

    def fed() -> bool:
        state = json.loads(listener.last.get("gridkeeper/input/tariff/state") or "{}")
        return state.get("active") is {"ON": True, "OFF": False}.get(listener.last.get("gridkeeper/input/tariff/set/value"), 0)

    await until("it feeds the tariff input, and the appliance takes it", fed)
    for name in ("node-red", "gridkeeper", "mosquitto"):
        await peers.stop(name)
    del appliance


def probe(broker: Broker) -> list[dict]:
    """With MQTT 5: everything that is said, a birth message and a last will, and a message that is to be kept."""
    alive = lambda kind, payload: {
        f"{kind}Topic": "probe/alive", f"{kind}Qos": "1", f"{kind}Retain": "true", f"{kind}Payload": payload, f"{kind}Msg": {},
    }  # fmt: skip
    hear = """
        const seen = flow.get("seen") || {};
        const about = seen[msg.topic] || { retained: 0, live: 0 };
        about[msg.retain ? "retained" : "live"] += 1;
        about.payload = msg.payload;
        seen[msg.topic] = about;
        flow.set("seen", seen);
    """
    say = """
        return { topic: "probe/kept", payload: "for those who come later", qos: 2, retain: true, contentType: "text/plain",
            messageExpiryInterval: 600, userProperties: { from: "Node-RED" } };
    """
    place = {"z": "probe", "x": 100, "y": 100}
    mqtt = place | {"broker": "probe-broker", "topic": "", "qos": "2"}
    function = place | {"type": "function", "outputs": 1, "libs": []}
    return [
        {"id": "probe", "type": "tab", "label": "probe"},
        {"id": "probe-broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker.port), "tls": "",
         "clientid": "probe", "autoConnect": True, "usetls": False, "protocolVersion": "5", "keepalive": "5",
         "cleansession": True, "sessionExpiry": "60", "userProps": "",
         "credentials": {"user": broker.USER, "password": broker.PASSWORD}}
        | alive("birth", "here") | alive("close", "closed") | alive("will", "gone"),
        mqtt | {"id": "probe-in", "type": "mqtt in", "topic": "#", "datatype": "utf8", "nl": False, "rap": False, "rh": 0,
                "inputs": 0, "wires": [["probe-hear"]]},
        function | {"id": "probe-hear", "func": hear, "outputs": 0, "wires": []},
        place | {"id": "probe-press", "type": "inject", "props": [], "repeat": "", "crontab": "", "once": False,
                 "wires": [["probe-say"]]},
        function | {"id": "probe-say", "func": say, "wires": [["probe-out"]]},
        mqtt | {"id": "probe-out", "type": "mqtt out", "qos": "", "retain": "", "wires": []},
    ]  # fmt: skip


async def on_our_broker(peers: Peers) -> None:
    """Node-RED's client (MQTT.js) at the built-in broker: our flows with 3.1.1 and the probe with 5."""
    broker = BuiltIn()
    house = await House.up(peers, "house-on-our-broker")
    appliance = await Appliance.up(peers, broker, house, more=TARIFF)
    red = await NodeRed.up(peers, "node-red-on-our-broker")
    await red.deploy(our_flows_at(broker) + probe(broker))
    listener = await Listener.up(peers, broker)

    async def seen(topic: str, kind: str = "retained", payload: str = "") -> bool:
        about = await red.kept("probe", "seen")
        about = about.get(topic) if isinstance(about, dict) else None
        return bool(about) and about[kind] > 0 and payload in about["payload"]

    alive = lambda payload: until(f"{payload} is told", lambda: listener.last.get("probe/alive") == payload)
    await alive("here")
    await until("it gets the retained states", lambda: seen("gridkeeper/charger/garage/state"))
    await until("and live ones", lambda: seen("gridkeeper/charger/garage/state", "live", '"status":"charging"'))
    await red.press("gk-mode-off")
    await house.sees("the garage is stopped by its button", lambda it: it["chargers"][0]["offered_a"] < 6)
    check((await listener.becomes("gridkeeper/result", lambda it: it["value"] == "off"))["ok"], "its command is refused")
    await until("it gets the answer", lambda: seen("gridkeeper/result", "live", '"off"'))
    await red.press("gk-mode-fast")
    await house.sees("the garage charges again", lambda it: it["chargers"][0]["offered_a"] >= 6)
    await red.press("probe-press")
    await until("its message is told", lambda: "probe/kept" in listener.last)
    later = await Listener.up(peers, broker, "probe/#")
    await until("its message is kept", lambda: later.last.get("probe/kept") == "for those who come later")

    await peers.kill(red.name)
    await alive("gone")
    await red.run()
    await alive("here")
    await until("after its own restart it has the states", lambda: seen("gridkeeper/site/state"))

    # The broker goes with the appliance; what clients had retained is gone, what the appliance tells is there again.
    await appliance.stop()
    await appliance.start()
    listener = await Listener.up(peers, broker)
    run = (await listener.becomes("gridkeeper/bridge/info", lambda it: it["run"]))["run"]
    await until("after the broker's restart it is back and has the states", lambda: seen("gridkeeper/bridge/info", payload=str(run)))
    await alive("here")
    check("probe/kept" not in listener.last, "the broker keeps something on a disk, which its documentation denies")
    log = peers.log("gridkeeper").read_text(errors="replace")
    check("the built-in broker: " not in log, f"the broker complains: {log[-2000:]}")
    for name in (red.name, "gridkeeper", "house-on-our-broker"):
        await peers.stop(name)


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds so far and resident MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    resident = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))
    return (int(fields[11]) + int(fields[12])) / ticks, resident / 1024


def balancer(meter: str, charger: str) -> list[dict]:
    """P1 over TCP in, Modbus TCP out."""
    address = lambda it: dict(zip(("host", "port"), it.removeprefix("tcp://").rsplit(":", 1)))
    function = Path(__file__).with_name("balancer.js").read_text()
    place = {"z": "t", "x": 100, "y": 100}
    return [
        {"id": "t", "type": "tab", "label": "balancer"},
        place | {"id": "p1", "type": "tcp in", "server": "client", "datamode": "stream", "datatype": "buffer",
                 "newline": "", "topic": "", "base64": False, "wires": [["f"]]} | address(meter),
        place | {"id": "f", "type": "function", "func": function, "outputs": 1, "wires": [["m"]]},
        place | {"id": "m", "type": "tcp out", "beserver": "client", "base64": False, "end": False, "wires": []}
        | address(charger),
    ]  # fmt: skip


def reactions(meter: Tap, charger: Tap) -> list[float]:
    """From the last byte of a telegram to the frame with a lower set-point that it caused."""
    ends = [at for at, data in meter.from_device if re.search(rb"![0-9A-F]{4}\r\n$", data)]
    times, last = [], None
    for at, frame in modbus_writes(charger.to_device):
        # Register 15 is the set-point; function 16 writes it with one word.
        if frame[8:10] != (15).to_bytes(2):
            continue
        offer = int.from_bytes(frame[-2:])
        if last is not None and offer < last:
            times.append(at - max(end for end in ends if end <= at))
        last = offer
    return times


async def side_by_side(peers: Peers) -> None:
    """Two equal houses, one kept by us and one by Node-RED, with the same loads at the same time."""
    broker = await Broker.up(peers)
    ours = await House.up(peers, "house-of-gridkeeper")
    theirs = await House.up(peers, "house-of-node-red")
    for house in (ours, theirs):
        await house.ask("unplug 1")
        await house.ask("load 8.4 3 3")
    appliance = await Appliance.up(peers, broker, ours, fuse=25)
    meter = await Tap.up(peers, theirs.places["meter"])
    charger = await Tap.up(peers, theirs.places["chargers"][0])
    red = await NodeRed.up(peers, "node-red-balancer")
    await red.deploy(balancer(meter.connection, charger.connection))
    programs = {"Gridkeeper": peers.processes["gridkeeper"].pid, "Node-RED": peers.processes["node-red-balancer"].pid}
    charging = lambda it: it["chargers"][0]["offered_a"] > 15.9 and max(it["chargers"][0]["draw_a"]) > 15
    for house in (ours, theirs):
        await house.sees("16 A flow", charging, 90)
    before, begin = {name: usage(pid) for name, pid in programs.items()}, time.monotonic()
    taps = {"Gridkeeper": (appliance.taps[0], appliance.taps[1]), "Node-RED": (meter, charger)}
    for pair in taps.values():
        for tap in pair:
            tap.from_device.clear()
            tap.to_device.clear()
    for _ in range(3):
        # One ampere more for three telegrams each, nine times: each must lower the set-point.
        for amps in range(1, 10):
            for house in (ours, theirs):
                await house.ask(f"load {8.4 + amps} 3 3")
            await asyncio.sleep(3)
        for house in (ours, theirs):
            await house.ask("load 8.4 3 3")
        for house in (ours, theirs):
            await house.sees("16 A flow again", charging, 90)
    seconds = time.monotonic() - begin
    say(f"  The same job in equal houses at the same time for {seconds:.0f} s, load average {os.getloadavg()[1]:.1f} on "
        f"{os.cpu_count()} cores:")  # fmt: skip
    say("  | | telegram to set-point, p50 | p99 | of | resident memory | one core |\n  |---|---|---|---|---|---|")
    for name, pid in programs.items():
        times = reactions(*taps[name])
        check(len(times) >= 20, f"{name} lowered the set-point {len(times)} times only")
        cpu, resident = usage(pid)
        share = (cpu - before[name][0]) / seconds * 100
        p50, p99 = (percentile(times, it) * 1000 for it in (0.5, 0.99))
        say(f"  | {name} | {p50:.1f} ms | {p99:.1f} ms | {len(times)} | {resident:.1f} MB | {share:.2f} % |")


async def test(peers: Peers) -> None:
    await our_flows(peers)
    say("  its flow shows states, sets a mode that the charger follows, reacts to an event and feeds an input")
    await on_our_broker(peers)
    say("  the same at the built-in broker, with MQTT 3.1.1 and 5: retained states, commands, a message of quality of")
    say("  service 2 that is kept, a last will, and back by itself after a restart of either side")
    await side_by_side(peers)


if __name__ == "__main__":
    main(side_by_side if sys.argv[1:] == ["compare"] else test)
