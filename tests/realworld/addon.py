"""The add-on's root file system with the program in it, against a stand-in Supervisor. Started by addon.sh."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import urllib.request

import yaml
from peers import ROOT, Broker, House, Listener, Peers, check, free_port, main, say, until
from supervisor import NAME_SERVER, TOKEN, Supervisor, taken

ADD_ON = ROOT / "addon"


def files_are_right() -> dict:
    """What the Supervisor reads. Gives the parsed config.yaml."""
    names = {"config.yaml", "config.yml", "config.json"}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = [it for it in tracked if it.rpartition("/")[2] in names]
    check(found == ["addon/config.yaml"], f"the Supervisor searches the whole tree and finds {found}")
    about = yaml.safe_load((ADD_ON / "config.yaml").read_text())
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    check(about["version"] == version, f"version {about['version']}, the program is {version}")
    labels = (ADD_ON / "Dockerfile").read_text()
    check(f'io.hass.version="{version}"' in labels, "the image has another version")
    check(f'io.hass.arch="{"|".join(about["arch"])}"' in labels, "the image has other architectures")
    check(f"## {version}" in (ADD_ON / "CHANGELOG.md").read_text(), "its change log lacks the version")
    for language in ("en", "de"):
        words = yaml.safe_load((ADD_ON / "translations" / f"{language}.yaml").read_text())["configuration"]
        every_part_is_explained(about["schema"], words, language)
    schema = json.loads((ROOT / "config" / "schema.json").read_text())
    resolve = lambda it: schema["definitions"][it["$ref"].rpartition("/")[2]] if "$ref" in it else it
    for table, keys in about["schema"].items():
        known = resolve(schema["properties"][table])
        known = resolve(known.get("items", known))["properties"]
        unknown = set(keys[0] if isinstance(keys, list) else keys) - set(known)
        check(not unknown, f"the form asks for {table}.{unknown}, which is no key of the configuration")
        words_are_known(table, keys[0] if isinstance(keys, list) else keys, known)
    modes = about["schema"]["charger"][0]["mode"].removeprefix("list(").removesuffix(")?").split("|")
    check(len(modes) == 6, f"the form offers the modes {modes}")
    parser = shutil.which("apparmor_parser") or "/usr/sbin/apparmor_parser"
    profile = ADD_ON / "apparmor.txt"
    done = subprocess.run([parser, "--skip-kernel-load", "--skip-cache", profile], capture_output=True, text=True)
    check(done.returncode == 0, f"AppArmor: {done.stderr}")
    check(profile.read_text().count(f"profile {about['slug']} ") == 1, "the profile is not named as the slug")
    return about


def every_part_is_explained(form: dict, words: dict, where: str) -> None:
    """Each option has a name and a sentence, and so has each field of those that have fields."""
    check(set(words) == set(form), f"{where}: {set(words) ^ set(form)} differ")
    for key, entry in words.items():
        inner = form[key][0] if isinstance(form[key], list) else form[key]
        wanted = {"name", "description"} | ({"fields"} if isinstance(inner, dict) else set())
        check(set(entry) == wanted and entry["name"] and entry["description"], f"{where}.{key} has {set(entry)}")
        if isinstance(inner, dict):
            every_part_is_explained(inner, entry["fields"], f"{where}.{key}")


def words_are_known(table: str, form: dict, known: dict) -> None:
    """A word that the form offers is one that the configuration takes."""
    for key, kind in form.items():
        if offered := re.fullmatch(r"list\((.+)\)\??", kind):
            taken = known[key].get("enum") or [it for each in known[key].get("anyOf", []) for it in each.get("enum", [])]
            unknown = set(offered.group(1).split("|")) - set(taken)
            check(not unknown, f"the form offers {table}.{key} = {sorted(unknown)}; the configuration knows {taken}")


class AddOn:
    """The program in the root file system, with the environment that the Supervisor gives."""

    def __init__(self, peers: Peers, supervisor: Supervisor, schema: dict, architecture: str) -> None:
        self.peers, self.supervisor, self.root = peers, supervisor, peers.folder / "root"
        self.schema = schema
        self.ingress = free_port()
        self.root.mkdir()
        archive = ADD_ON / "rootfs" / f"{architecture.replace('aarch64', 'arm64')}.tar"
        subprocess.run(["tar", "-C", self.root, "-xf", archive], check=True)
        # A container has these from its engine; the program must find names with nothing else.
        (self.root / "etc" / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\noptions timeout:2\n")
        (self.root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
        self.runner = []
        if architecture == "aarch64":
            shutil.copy("/usr/bin/qemu-aarch64-static", self.root / "qemu")
            self.runner = ["/qemu"]

    async def start(self, options: dict) -> None:
        (self.root / "data" / "options.json").write_text(json.dumps(taken(self.schema, options)))
        environment = {
            "SUPERVISOR_TOKEN": TOKEN,
            "SUPERVISOR_API": f"http://supervisor:{self.supervisor.port}",
            "GRIDKEEPER_INGRESS": f"127.0.0.1:{self.ingress}",
            "GRIDKEEPER__WEB__LISTEN": "",
            "TZ": "Europe/Amsterdam",
        }
        command = ["chroot", self.root, *self.runner, "/usr/bin/gridkeeper", "run"]
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        await self.peers.start("gridkeeper", *command, env=environment | path, wait_for=self.ingress)

    async def page(self, path: str) -> tuple[int, str]:
        def ask():
            request = urllib.request.Request(f"http://127.0.0.1:{self.ingress}{path}")
            request.add_header("X-Ingress-Path", "/api/hassio_ingress/of-this-test")
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(ask)

    async def shows(self, text: str) -> bool:
        return text in (await self.page("/"))[1]


async def test(peers: Peers) -> None:
    about = files_are_right()
    say("  config.yaml, translations, versions, form and AppArmor profile fit together")
    broker = await Broker.up(peers)
    house = await House.up(peers)
    # Nobody commands the other box here.
    await house.ask("unplug 1")
    supervisor = await Supervisor.up(peers)
    add_on = AddOn(peers, supervisor, about["schema"], sys.argv[1] if len(sys.argv) > 1 else "amd64")

    await add_on.start(about["options"])
    check((await add_on.page("/livez"))[0] == 200, "it is not alive with the options as they are installed")
    await until("the page says what to install", lambda: add_on.shows("install and start the Mosquitto broker app"))
    supervisor.offers(broker, Broker.PASSWORD)
    listener = await Listener.up(peers, broker)
    await until("it is online with the Supervisor's login", lambda: listener.last.get("gridkeeper/status") == "online")
    await peers.stop("gridkeeper", 30)
    check(listener.last.get("gridkeeper/status") == "offline", "it did not say good-bye")
    say("  as installed: it waits for a broker, says so, and takes the Supervisor's")

    options = about["options"] | {
        "grid": {"fuse_a": 25, "max_import_a": 24, "meter": "main"},
        "meter": [{"id": "main", "driver": "p1", "connection": house.places["meter"]}],
        "charger": [{"id": "garage", "name": "Garage", "driver": "teltocharge", "unit": 1, "fail_safe_current_a": 6,
                     "connection": house.places["chargers"][0]}],
    }  # fmt: skip
    (add_on.root / "config" / "gridkeeper.toml").write_text(
        '[mqtt]\nbase_topic = "from/file"\n[grid]\nmax_import_a = 10\n[[charger]]\nid = "garage"\nmax_current_a = 13\n'
    )
    await add_on.start(options)
    state = await listener.becomes("from/file/charger/garage/state", lambda it: it["status"] == "charging")
    check(state["max_current_a"] == 13, "the file's part of a charger is missing")
    site = await listener.becomes("from/file/site/state", lambda it: it["limit_l1_a"] is not None)
    check(site["limit_l1_a"] > 20, "the options do not go before the file")
    await house.sees("the car gets 13 A", lambda it: abs(it["chargers"][0]["offered_a"] - 13) < 0.1)
    say("  form and file together make a charging car")

    # The broker app is installed anew: another password.
    process = await asyncio.create_subprocess_exec(
        "mosquitto_passwd", "-b", peers.folder / "passwords", Broker.USER, "fresh-secret"
    )
    check(await process.wait() == 0, "mosquitto_passwd")
    await broker.stop()
    Broker.PASSWORD = "fresh-secret"
    await broker.start()
    supervisor.offers(broker, "fresh-secret")
    listener = await Listener.up(peers, broker)
    await until("it is online with the new login", lambda: listener.last.get("from/file/status") == "online")
    say("  a login that changes is fetched again")

    (add_on.root / "config" / "gridkeeper.toml").write_text("this is not TOML")
    await peers.stop("gridkeeper", 30)
    await add_on.start(options)
    await until("the page says what is wrong", lambda: add_on.shows("this is not TOML"))
    check((await add_on.page("/livez"))[0] == 200, "the watchdog would start it again for a wrong file")
    page = (await add_on.page("/"))[1]
    check('="/' not in page and "http://" not in page, "below ingress an absolute address leads elsewhere")
    log = peers.log("gridkeeper").read_text(errors="replace")
    check(TOKEN not in log and "fresh-secret" not in log, "a secret stands in the log")
    await peers.stop("gridkeeper", 30)
    say("  a wrong file is shown and is no reason for the watchdog; no secret in the log")


if __name__ == "__main__":
    main(test)
