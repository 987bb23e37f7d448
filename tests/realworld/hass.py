"""Home Assistant in its own root, driven through its interfaces as a person or a program would."""

import asyncio
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

from peers import ROOT, Broker, Failure, Peers, check, free_port, until
from websocket import WebSocket

# What Home Assistant says of this small installation and of a busy machine, and of a broker that is not there.
NOT_ABOUT_US = re.compile(
    r"Updating state for \S+ .* took [\d.]+ seconds|haffmpeg|Skipping pip|img_util|pip install|SQLite|"
    r"shutdown was not clean|Ended unfinished session"
)
BROKER_AWAY = re.compile(
    r"(MQTT server|MQTT client|mqtt\.client|Connection refused|Disconnected from|Failed to connect|config_entries.*[Mm]qtt)"
)


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
        shutil.copytree(ROOT / "config" / "blueprints", self.config / "blueprints")
        (self.config / "automations.yaml").write_text("[]\n")
        (self.config / "configuration.yaml").write_text(
            f"""
homeassistant: {{name: Test, unit_system: metric, time_zone: Europe/Amsterdam, currency: EUR, country: NL}}
http: {{server_host: 127.0.0.1, server_port: {self.port}}}
api:
config:
recorder: {{commit_interval: 1}}
history:
energy:
automation: !include automations.yaml
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

    async def automate(self, name: str, blueprint: str, **values) -> None:
        """As its own editor does it: an automation made of one of our blueprints."""
        use = {"path": f"gridkeeper/{blueprint}.yaml", "input": values}
        await self.post(f"config/automation/config/{name}", {"alias": name, "use_blueprint": use})
        await self.becomes(f"automation.{name}", "on")

    async def forget(self, name: str) -> None:
        await self.http(f"/api/config/automation/config/{name}", token=await self.access(), method="DELETE")

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

    async def add_broker(self, broker: Broker, protocol: str = "") -> None:
        """Through its own dialogue, which dials the broker before it accepts. Without a protocol its own choice."""
        flow = await self.post("config/config_entries/flow", {"handler": "mqtt"})
        answers = {"broker": "127.0.0.1", "port": broker.port, "username": broker.USER, "password": broker.PASSWORD}
        for field in flow["data_schema"]:
            if field["name"] == "protocol":
                answers["protocol"] = protocol or field.get("default", "5")
            elif field["name"] == "other_settings":
                answers["other_settings"] = {"set_client_cert": False, "set_ca_cert": "off", "transport": "tcp"}
        done = await self.post(f"config/config_entries/flow/{flow['flow_id']}", answers)
        check(done["type"] == "create_entry", f"the MQTT dialogue says {done}")

    async def remove_broker(self) -> None:
        for entry in await self.get("config/config_entries/entry"):
            if entry["domain"] == "mqtt":
                path = f"/api/config/config_entries/entry/{entry['entry_id']}"
                await self.http(path, token=await self.access(), method="DELETE")

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
