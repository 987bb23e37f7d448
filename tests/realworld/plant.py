"""Two houses of the plant, shortened: simulated through the seam, and in real time over P1 and Modbus TCP.

plant.py PLANT BINARY: runs both ways, compares, ends with 1 where they differ or a gate is missed.
plant.py PLANT --serve NAME FILE: the plant's own servers for one house, on the ports that FILE says.

The plant's scenarios are cut to the time in which something happens; nothing of the plant is changed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LINES = ("L1", "L2", "L3")
SEED = 11
# Scenario, from which second on, for how many, gates beside those of everybody.
HOUSES = {
    # The meter shows zeros from 240 s to 360 s while its counters go on, and oven, kettle and boiler switch on.
    "meter_zero": (960, 500, {"outage_As": 10.0}),
    # Three one-phase cars on turned phases; a boiler on L1 after 100 s.
    "one_phase_cars": (1400, 500, {}),
}
# Before the first second: connections are made, the chargers' timers programmed.
START_DELAY = 5.0
ENERGY = 0.05


def cut(scenario, begin, length):
    """The same house from `begin` on."""
    scenario.T = length
    for name in ("P", "Q", "PV"):
        setattr(scenario, name, getattr(scenario, name)[begin:begin + length])
    shift = lambda windows: [(a - begin, b - begin, *rest) for a, b, *rest in windows]
    for name in ("broker_out", "dim_windows", "ac_windows", "outage_windows"):
        setattr(scenario, name, shift(getattr(scenario, name)))
    scenario.meter.faults = shift(scenario.meter.faults)
    for charger in scenario.chargers:
        charger.outages = shift(charger.outages)
    for cars in scenario.evs:
        for car in cars:
            car.arrive, car.depart = car.arrive - begin, car.depart - begin
    scenario.events = [(max(0, t - begin), *rest) for t, *rest in scenario.events]
    # As the served meter tells it: whole amperes beside the power.
    scenario.meter.kind = "p1"
    return scenario


def shorten(plant_scenarios):
    """Lets the plant build its scenarios shortened."""
    whole = plant_scenarios.build

    def build(name, seed):
        begin, length, _ = HOUSES[name]
        return cut(whole(name, seed), begin, length)

    plant_scenarios.build = build


def serve(name, ports):
    import argparse
    import asyncio
    import serve as server

    shorten(server.scenarios)
    options = argparse.Namespace(
        scenario=name, seed=SEED, speed=1.0, map="telto", units=False, sdm630=0, homewizard=0, on_event=None, limit=0,
        start_delay=START_DELAY, **ports)
    asyncio.run(server.Server(options).run())


def simulate(name, binary):
    """The metrics of the simulated house."""
    import scenarios
    from plant import Plant

    os.environ["PLANT_CONTROLLER"] = f"{binary} simulate --stdio -c"
    from controllers.external import Gridkeeper

    scenario = scenarios.build(name, SEED)
    return Plant(scenario).run(Gridkeeper(scenario))


def free_ports(count):
    """So many neighbouring ports that nobody uses now."""
    for first in range(20000, 30000, 10):
        sockets = []
        try:
            for port in range(first, first + count):
                it = socket.socket()
                it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                it.bind(("127.0.0.1", port))
                sockets.append(it)
            return first
        except OSError:
            continue
        finally:
            for it in sockets:
                it.close()
    raise SystemExit("plant.py: no free ports")


def configuration(ready, folder):
    """What an installer would write for this house."""
    lines = ["[grid]", f'fuse_a = {ready["limit_a"]:g}', 'meter = "main"', "", "[mqtt]", 'url = ""', "",
             "[web]", 'listen = ""', "", "[storage]", f'data_dir = "{folder}/data"', "",
             "[[meter]]", 'id = "main"', 'driver = "p1"', f'connection = "tcp://127.0.0.1:{ready["p1"]}"', ""]
    for k, (turned, most) in enumerate(zip(ready["rot"], ready["max_a"])):
        order = [LINES[(turned + j) % 3] for j in range(3)]
        lines += ["[[charger]]", f'id = "c{k}"', 'driver = "teltocharge"', "unit = 1",
                  f'connection = "tcp://127.0.0.1:{ready["modbus"] + k}"', f"phases = {json.dumps(order)}",
                  f"max_current_a = {most:g}", "watchdog_s = 30", "fail_safe_current_a = 6", 'mode = "fast"', ""]
    return "\n".join(lines)


def real(name, binary, plant, folder):
    """The metrics of the same house in real time."""
    count = 4
    first = REAL_PORTS[name]
    ports = {"p1": first, "modbus": first + 1, "out": f"{folder}/metrics.json"}
    (folder / "ports.json").write_text(json.dumps(ports))
    server = subprocess.Popen([sys.executable, __file__, str(plant), "--serve", name, str(folder / "ports.json")],
                              stdout=subprocess.PIPE, stderr=open(folder / "server.log", "w"), text=True)
    appliance = None
    try:
        ready = json.loads(server.stdout.readline() or "{}")
        if not ready.get("ready"):
            raise SystemExit(f"plant.py: {name}: the plant does not serve:\n" + (folder / "server.log").read_text())
        assert ready["chargers"] < count
        (folder / "gridkeeper.toml").write_text(configuration(ready, folder))
        appliance = subprocess.Popen([binary, "run", "-c", str(folder / "gridkeeper.toml")],
                                     stdout=open(folder / "gridkeeper.log", "w"), stderr=subprocess.STDOUT)
        length = HOUSES[name][1]
        try:
            server.communicate(timeout=START_DELAY + length + 60)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"plant.py: {name}: the plant did not end in time")
        if appliance.poll() is not None:
            raise SystemExit(f"plant.py: {name}: gridkeeper has ended:\n" + (folder / "gridkeeper.log").read_text()[-4000:])
        return json.loads((folder / "metrics.json").read_text())
    finally:
        for process in (server, appliance):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def judge(name, simulated, real_time, folder):
    """What is wrong, in sentences."""
    gates = {"trips": 0, "fast_trips": 0, "refused": 0, **HOUSES[name][2]}
    wrong = [f"{name}: {gate} is {real_time.get(gate)}, at most {most} is allowed"
             for gate, most in gates.items() if not real_time.get(gate, 1e9) <= most]
    off = real_time["ev_kwh"] / simulated["ev_kwh"] - 1
    if abs(off) > ENERGY:
        wrong.append(f"{name}: the energy is off by {100 * off:.1f} %")
    shown = ("ev_kwh", "over_As", "outage_As", "worst_A", "back_s", "starts", "sp_changes", "failsafe_s")
    for what, metrics in (("simulated", simulated), ("in real time", real_time)):
        print(f"{name:16} {what:13}", *(f"{key}={metrics[key]}" for key in shown if metrics.get(key) is not None))
    print(f"{name:16} energy in real time {100 * off:+.1f} %, the plant was late by {real_time['max_late_s']} s at most,"
          f" {real_time['modbus_requests']} Modbus requests", flush=True)
    if wrong:
        print((folder / "gridkeeper.log").read_text()[-6000:])
    return wrong


def main():
    plant, what = Path(sys.argv[1]).resolve(), sys.argv[2]
    sys.path.insert(0, str(plant))
    if what == "--serve":
        return serve(sys.argv[3], json.loads(Path(sys.argv[4]).read_text()))
    import scenarios

    shorten(scenarios)
    binary = str(Path(what).resolve())
    simulated = {name: simulate(name, binary) for name in HOUSES}
    for k, name in enumerate(HOUSES):
        REAL_PORTS[name] = free_ports(10 * len(HOUSES)) + 10 * k
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        folders = {name: Path(folder) / name for name in HOUSES}
        for it in folders.values():
            it.mkdir()
        jobs = {name: pool.submit(real, name, binary, plant, folders[name]) for name in HOUSES}
        wrong = []
        for name, job in jobs.items():
            wrong += judge(name, simulated[name], job.result(), folders[name])
    for it in wrong:
        print("plant.py:", it, file=sys.stderr)
    return 1 if wrong else 0


REAL_PORTS = {}

if __name__ == "__main__":
    sys.exit(main())
