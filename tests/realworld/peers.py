"""What the tests against real peers share: processes, a broker, a simulated house, the appliance, taps on its wires.

Standard library only. Everything listens on loopback ports that were free, lives in one temporary folder, and ends
with the test.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# For everything that must come; a test that waits so long has failed.
PATIENCE = 60.0


class Failure(Exception):
    """Something is not as it must be."""


def check(condition: object, what: str) -> None:
    if not condition:
        raise Failure(what)


def say(text: str) -> None:
    print(text, flush=True)


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


async def until(what: str, look: Callable[[], object | Awaitable[object]], patience: float = PATIENCE):
    """Asks `look` until it gives something true, and gives that."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        check(time.monotonic() < deadline, f"not seen within {patience:.0f} s: {what}")
        await asyncio.sleep(0.05)


def percentile(seconds: list[float], share: float) -> float:
    """Nearest rank."""
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def percentiles(seconds: list[float]) -> str:
    p50, p99 = (percentile(seconds, it) * 1000 for it in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, highest {max(seconds) * 1000:.1f} ms of {len(seconds)}"


class Peers:
    """One test's folder and processes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gridkeeper-peers-"))
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Peers":
        return self

    async def __aexit__(self, kind, error, _trace) -> None:
        await self.closing.aclose()
        for name in reversed(list(self.processes)):
            await self.stop(name)
        if kind is None or kind is asyncio.CancelledError:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            say(f"logs are left in {self.folder}")

    async def start(self, name: str, *command: object, wait_for: int | None = None, **options):
        """Starts a process in a group of its own; its output goes to a log. Waits for a port if one is given."""
        check(name not in self.processes, f"{name} runs already")
        with self.log(name).open("ab") as log:
            options = {"stdin": asyncio.subprocess.DEVNULL, "stdout": log, "stderr": log} | options
            process = await asyncio.create_subprocess_exec(*map(str, command), start_new_session=True, **options)
        self.processes[name] = process
        if wait_for is not None:
            await until(f"{name} listens on port {wait_for}", lambda: self.listens(name, wait_for))
        return process

    async def listens(self, name: str, port: int) -> bool:
        ended = self.processes[name].returncode
        check(ended is None, f"{name} ended with {ended}: {self.tail(name)}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self, name: str, patience: float = 30) -> None:
        """SIGTERM, and SIGKILL for what does not follow."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
                break
        # What it started and left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    async def kill(self, name: str) -> None:
        """As the power does that goes: no good-bye."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, signal.SIGKILL)
        await self.stop(name)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def tail(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")[-2000:]


class Broker:
    """Mosquitto with a login, without persistence: what is retained is gone when it is restarted."""

    USER, PASSWORD = "house", "keeper"
    SCHEME = "mqtt"

    def __init__(self, peers: Peers) -> None:
        self.peers, self.port = peers, free_port()
        self.config = peers.folder / "mosquitto.conf"
        self.program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"

    @classmethod
    async def up(cls, peers: Peers) -> "Broker":
        it = cls(peers)
        passwords = peers.folder / "passwords"
        passwords.touch(mode=0o600)
        process = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", passwords, cls.USER, cls.PASSWORD)
        check(await process.wait() == 0, "mosquitto_passwd")
        lines = ["allow_anonymous false", f"password_file {passwords}", f"listener {it.port} 127.0.0.1"]
        if os.geteuid() == 0:
            lines.insert(0, "user root")
        it.config.write_text("\n".join(lines) + "\n")
        await it.start()
        return it

    async def start(self) -> None:
        await self.peers.start("mosquitto", self.program, "-c", self.config, wait_for=self.port)

    async def stop(self) -> None:
        await self.peers.stop("mosquitto")

    @property
    def url(self) -> str:
        """As the appliance's configuration writes it."""
        return f"{self.SCHEME}://127.0.0.1:{self.port}"

    def login(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-u", self.USER, "-P", self.PASSWORD]

    async def publish(self, topic: str, payload: str, *more: str) -> None:
        command = ["mosquitto_pub", *self.login(), "-q", "1", "-t", topic, "-m", payload, *more]
        process = await asyncio.create_subprocess_exec(*command)
        check(await process.wait() == 0, f"publish {topic}")


class BuiltIn(Broker):
    """The appliance's own broker, `embedded://`: there while the appliance is."""

    SCHEME = "embedded"

    def __init__(self) -> None:
        self.port = free_port()


class Listener:
    """Everything that is said on the broker, as `mosquitto_sub` hears it."""

    def __init__(self) -> None:
        self.last: dict[str, str] = {}
        self.heard: list[tuple[float, str, str]] = []

    @classmethod
    async def up(cls, peers: Peers, broker: Broker, topics: str = "#") -> "Listener":
        it = cls()
        name = f"listener-{len(peers.processes)}"
        command = ["mosquitto_sub", *broker.login(), "-q", "1", "-t", topics, "-F", "%t\t%x"]
        process = await peers.start(name, *command, stdout=asyncio.subprocess.PIPE, limit=1 << 22)
        task = asyncio.create_task(it.follow(process.stdout))
        peers.closing.callback(task.cancel)
        return it

    async def follow(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            # In hexadecimal, because a payload may have more than one line.
            topic, _, payload = line.decode(errors="replace").rstrip("\n").partition("\t")
            payload = bytes.fromhex(payload).decode(errors="replace")
            self.heard.append((time.monotonic(), topic, payload))
            if payload:
                self.last[topic] = payload
            else:
                self.last.pop(topic, None)

    async def says(self, topic: str, payload: str) -> None:
        await until(f"{topic} says {payload}", lambda: self.last.get(topic) == payload)

    def json(self, topic: str):
        payload = self.last.get(topic)
        return json.loads(payload) if payload else None

    async def becomes(self, topic: str, wanted: Callable[[object], object], patience: float = PATIENCE):
        def look():
            found = self.json(topic)
            return found if found is not None and wanted(found) else None

        return await until(f"{topic} as wanted, last {self.last.get(topic)}", look, patience)


class House:
    """`examples/house.rs`: a P1 meter and two chargers with cars."""

    @classmethod
    async def up(cls, peers: Peers, name: str = "house") -> "House":
        it = cls()
        pipe = asyncio.subprocess.PIPE
        it.process = await peers.start(name, os.environ["GRIDKEEPER_HOUSE"], stdin=pipe, stdout=pipe)
        it.places = json.loads(await it.process.stdout.readline())
        it.lock = asyncio.Lock()
        return it

    async def ask(self, line: str = "view") -> dict:
        async with self.lock:
            self.process.stdin.write(line.encode() + b"\n")
            answer = json.loads(await self.process.stdout.readline())
        check("error" not in answer, str(answer.get("error")))
        return answer

    async def sees(self, what: str, look: Callable[[dict], object], patience: float = PATIENCE) -> dict:
        async def seen():
            view = await self.ask()
            return view if look(view) else None

        return await until(what, seen, patience)


class Tap:
    """A wire between the appliance and a device: passes everything on, and notes when it came by."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition("://")[2].rpartition(":")
        self.target = (host, int(port))
        self.to_device: list[tuple[float, bytes]] = []
        self.from_device: list[tuple[float, bytes]] = []

    @classmethod
    async def up(cls, peers: Peers, target: str) -> "Tap":
        it = cls(target)
        server = await asyncio.start_server(it.accept, "127.0.0.1", 0)
        it.connection = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        peers.closing.callback(server.close)
        return it

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        ways = [
            asyncio.create_task(self.carry(reader, far_writer, self.to_device)),
            asyncio.create_task(self.carry(far_reader, writer, self.from_device)),
        ]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        writer.close()
        far_writer.close()

    @staticmethod
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notes: list) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                notes.append((time.monotonic(), data))
                writer.write(data)
                await writer.drain()


def modbus_writes(notes: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """The Modbus TCP requests among `notes` that write registers (functions 6 and 16)."""
    found = []
    for at, data in notes:
        while len(data) >= 8:
            end = 6 + int.from_bytes(data[4:6])
            if data[7] in (6, 16):
                found.append((at, data[:end]))
            data = data[end:]
    return found


class Appliance:
    """`gridkeeper run` with the house's devices behind taps."""

    def __init__(self, peers: Peers, broker: Broker, taps: list[Tap], fuse: float, more: str, environment: dict) -> None:
        self.peers, self.broker, self.taps, self.fuse, self.more = peers, broker, taps, fuse, more
        self.environment = {"GRIDKEEPER_LOG": "info"} | environment
        self.web = free_port()
        self.data = peers.folder / "data"

    @classmethod
    async def up(
        cls, peers: Peers, broker: Broker, house: House, fuse: float = 40, more: str = "", environment: dict | None = None
    ) -> "Appliance":
        taps = [await Tap.up(peers, it) for it in (house.places["meter"], *house.places["chargers"])]
        it = cls(peers, broker, taps, fuse, more, environment or {})
        await it.start()
        return it

    async def start(self, chargers: int = 2) -> None:
        file = self.peers.folder / "gridkeeper.toml"
        file.write_text(self.configuration(chargers))
        file.chmod(0o600)
        program = os.environ["GRIDKEEPER_BINARY"]
        await self.peers.start("gridkeeper", program, "run", "-c", file, env=self.environment, wait_for=self.web)

    async def stop(self) -> None:
        await self.peers.stop("gridkeeper")

    def configuration(self, chargers: int) -> str:
        text = f"""
[site]
name = "Test house"
time_zone = "Europe/Amsterdam"
[grid]
fuse_a = {self.fuse}
meter = "main"
[control]
min_on_s = 1
min_off_s = 1
[mqtt]
url = "{self.broker.url}"
username = "{Broker.USER}"
password = "{Broker.PASSWORD}"
interval_s = 1
[web]
listen = "127.0.0.1:{self.web}"
[storage]
data_dir = "{self.data}"
[[meter]]
id = "main"
name = "House meter"
driver = "p1"
connection = "{self.taps[0].connection}"
"""
        boxes = [("garage", "Garage", "teltocharge"), ("carport", "Carport", "evse-din")]
        for (name, shown, driver), tap in list(zip(boxes, self.taps[1:]))[:chargers]:
            text += f"""
[[charger]]
id = "{name}"
name = "{shown}"
driver = "{driver}"
connection = "{tap.connection}"
unit = 1
max_current_a = 16
fail_safe_current_a = 6
mode = "fast"
"""
        return text + self.more


def main(test: Callable[[Peers], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Peers() as peers:
            await test(peers)

    try:
        asyncio.run(run())
    except Failure as failure:
        raise SystemExit(f"FAILED: {failure}") from None
