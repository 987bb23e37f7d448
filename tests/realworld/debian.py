"""The Debian package and the systemd unit in an empty root. Started by debian.sh."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from peers import ROOT, Peers, check, free_port, main, say, until

# `systemd-analyze security` gives 0 (locked up) to 10 (bare); what it still counts is the network, which is the trade.
EXPOSURE = 2.0
# What a service manager's filter may never take from us; asked of systemd itself below.
ALLOWED, DENIED = ["@system-service"], ["@privileged", "@resources"]


def run(*command: object, **more) -> str:
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, **more)
    check(done.returncode == 0, f"{command[0]} ends with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def build_package(peers: Peers) -> Path:
    # What a compiler leaves for debuggers would be most of the time and of the package.
    program = peers.folder / "gridkeeper"
    run("strip", "-o", program, os.environ["GRIDKEEPER_BINARY"])
    script = ROOT / "config/debian/build.sh"
    quick = os.environ | {"GRIDKEEPER_COMPRESSION": "none"}
    run("bash", script, "--binary", program, "--output", peers.folder, cwd=ROOT, env=quick)
    (package,) = peers.folder.glob("gridkeeper_*.deb")
    return package


class Root:
    """A root with nothing in it but dpkg's data base; maintainer scripts run outside of it, told where it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for it in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"):
            (folder / it).mkdir(parents=True)
        for it in ("var/lib/dpkg/status", "var/lib/dpkg/available"):
            (folder / it).touch()

    def dpkg(self, *arguments: object) -> str:
        # Nothing that it depends on is there.
        options = [f"--root={self.folder}", "--force-script-chrootless", "--force-depends", "--force-confold"]
        return run("dpkg", *options, *arguments, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})

    def path(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def group(self, name: str) -> int:
        return int(re.search(rf"^{name}:[^:]*:(\d+):", self.path("/etc/group").read_text(), re.M).group(1))


def installs(root: Root, package: Path) -> None:
    root.dpkg("-i", package)
    users, groups = (root.path(it).read_text() for it in ("/etc/passwd", "/etc/group"))
    check(re.search(r"^gridkeeper:.*:/var/lib/gridkeeper:/usr/sbin/nologin$", users, re.M), f"no system user: {users}")
    for group in ("dialout", "gpio"):
        check(re.search(rf"^{group}:.*gridkeeper", groups, re.M), f"the user is not in {group}: {groups}")
    config = root.path("/etc/gridkeeper/gridkeeper.toml")
    about = config.stat()
    check((about.st_mode & 0o777, about.st_uid, about.st_gid) == (0o640, 0, root.group("gridkeeper")), f"{about}")
    folder = config.parent.stat()
    check((folder.st_mode & 0o777, folder.st_gid) == (0o750, root.group("gridkeeper")), f"{folder}")
    program = root.path("/usr/bin/gridkeeper")
    said = run(program, "check", "-c", config)
    check("accepted" in said, said)
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    check(run(program, "--version").strip() == f"gridkeeper {version}", "another version than the package")
    control = run("dpkg-deb", "--field", package, "Version").strip()
    check(control == version, f"the package has version {control}")


def keeps_what_is_the_owners(root: Root, package: Path) -> None:
    config, environment = (root.path(it) for it in ("/etc/gridkeeper/gridkeeper.toml", "/etc/default/gridkeeper"))
    config.write_text('[site]\nname = "mine"\n')
    environment.write_text("GRIDKEEPER_LOG=debug\n")
    settings = root.path("/var/lib/gridkeeper/settings")
    settings.parent.mkdir(parents=True)
    settings.write_text("kept")
    root.dpkg("-i", package)
    check("mine" in config.read_text() and "debug" in environment.read_text(), "an upgrade has changed what is the owner's")
    root.dpkg("-r", "gridkeeper")
    check(not root.path("/usr/bin/gridkeeper").exists(), "removed, and the program is still there")
    check("mine" in config.read_text() and settings.exists(), "removing has taken configuration or settings")
    root.dpkg("-i", package)
    check("mine" in config.read_text(), "installing it again has changed the configuration")
    root.dpkg("-P", "gridkeeper")
    left = [it for it in ("/etc/gridkeeper", "/var/lib/gridkeeper", "/etc/default/gridkeeper") if root.path(it).exists()]
    check(not left, f"purged, and {left} are still there")


def unit_is_right(root: Root) -> float:
    unit = root.path("/usr/lib/systemd/system/gridkeeper.service")
    # What it names must exist where systemd looks for it.
    for target in ("network.target", "systemd-modules-load.service", "multi-user.target", "sysinit.target"):
        found = next((it for it in Path("/lib/systemd/system").glob(target)), None)
        check(found, f"systemd has no {target}")
        shutil.copy(found, unit.parent / target)
    said = run("systemd-analyze", "verify", f"--root={root.folder}", "--man=no", "gridkeeper.service")
    ours = [it for it in said.splitlines() if "gridkeeper" in it]
    check(not ours, f"systemd-analyze verify: {ours}")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True
    )
    level = float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout).group(1))
    check(level <= EXPOSURE, f"systemd-analyze security: {level}\n{done.stdout}")
    wanted = {"DevicePolicy": "closed", "Type": "notify", "SystemCallFilter": "@system-service"}
    text = unit.read_text()
    for key, value in wanted.items():
        check(f"{key}={value}" in text, f"{key} is not {value}")
    return level


def system_calls(groups: list[str]) -> set[str]:
    """The members of systemd's groups."""
    found: set[str] = set()
    for group in groups:
        for line in run("systemd-analyze", "syscall-filter", group).splitlines():
            name = line.strip()
            if name.startswith("@") and name != group:
                found |= system_calls([name])
            elif re.fullmatch(r"[a-z0-9_]+", name) and line.startswith(" "):
                found.add(name)
    return found


async def lives_under_a_manager(peers: Peers, root: Root) -> None:
    """Ready, alive each second, stopping; and no system call that the unit's filter refuses."""
    # Some containers forbid one process to look at another.
    traced = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    notify = peers.folder / "notify"
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.setblocking(False)

        def listen() -> list[bytes]:
            try:
                while True:
                    heard.append(manager.recv(256))
            except BlockingIOError:
                return heard

        trace, port = peers.folder / "calls", free_port()
        environment = {
            "NOTIFY_SOCKET": str(notify),
            "STATE_DIRECTORY": str(peers.folder / "state"),
            "GRIDKEEPER__WEB__LISTEN": f"127.0.0.1:{port}",
            "GRIDKEEPER__MQTT__URL": f"mqtt://localhost:{free_port()}",
        }
        program = [root.path("/usr/bin/gridkeeper"), "run", "-c", root.path("/etc/gridkeeper/gridkeeper.toml")]
        strace = ["strace", "-f", "-qq", "-o", trace] if traced else []
        process = await peers.start("gridkeeper", *strace, *program, env=environment, wait_for=port)
        await until("it is ready", lambda: b"READY=1" in listen())
        await until("it is alive three times", lambda: listen().count(b"WATCHDOG=1") >= 3)
        pid = process.pid
        if traced:
            (children,) = Path(f"/proc/{pid}/task").glob("*/children")
            pid = int(children.read_text().split()[0])
        os.kill(pid, signal.SIGTERM)
        await until("it says that it stops", lambda: b"STOPPING=1" in listen())
        await asyncio.wait_for(process.wait(), 20)
    say("  ready, alive each second and stopping are said")
    if not traced:
        say("  strace may not look at a process here: the unit's filter of system calls was not compared")
        return
    used = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", trace.read_text(), re.M))
    check(len(used) > 20, f"only {used}")
    allowed = system_calls(ALLOWED) - system_calls(DENIED)
    check(len(allowed) > 200, f"systemd names only {len(allowed)} calls")
    # Starting itself is the service manager's call, made before the filter holds; a restart over MQTT makes it again.
    check(not (refused := used - allowed), f"the unit's filter refuses {refused}")
    check("execve" in allowed, "the filter would refuse a restart over MQTT")
    say(f"  each of {len(used)} system calls passes the unit's filter")


async def test(peers: Peers) -> None:
    package = build_package(peers)
    root = Root(peers.folder / "root")
    installs(root, package)
    say("  the package installs into an empty root: user, groups, rights; the program's check accepts its configuration")
    level = unit_is_right(root)
    say(f"  systemd-analyze verify has nothing to say; security: {level}")
    await lives_under_a_manager(peers, root)
    keeps_what_is_the_owners(root, package)
    say("  an upgrade and removing leave configuration and settings alone, purging takes them")


if __name__ == "__main__":
    main(test)
