"""What the Energy dashboard of Home Assistant is given, and its own judgement of it.

Beside the simulated house there are here a P1 meter in the street, which counts water and the peak of the month, and a solar
plant and a battery that other software tells of.
"""

import asyncio
import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta

from hass import HomeAssistant
from peers import Broker, Failure, Peers, until

# Entities of these meters: entity id, device class, unit, state class.
EXPECTED = [
    ("sensor.street_peak_of_the_month", "power", "kW", "measurement"),
    ("sensor.street_water_water", "water", "m³", "total_increasing"),
    ("sensor.roof_power", "power", "W", "measurement"),
    ("sensor.roof_energy_produced", "energy", "kWh", "total_increasing"),
    ("sensor.cellar_power", "power", "W", "measurement"),
    ("sensor.cellar_energy_charged", "energy", "kWh", "total_increasing"),
    ("sensor.cellar_energy_discharged", "energy", "kWh", "total_increasing"),
    ("sensor.cellar_battery", "battery", "%", "measurement"),
]
# Their devices, by what they are called.
DEVICES = {"Street", "Street water", "Roof", "Cellar"}

# By role, what that software says.
SOURCES = {
    "roof": ("solar", {"power_w": 3210, "energy_import_kwh": 8000.5, "energy_export_kwh": 12.25}),
    "cellar": (
        "battery",
        {"power_w": -740, "energy_import_kwh": 640.5, "energy_export_kwh": 700.25, "soc_percent": 55},
    ),
}


def crc(data: bytes) -> int:
    """CRC-16/ARC, as at the end of a P1 telegram."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def telegram() -> bytes:
    """As Belgian meters write it; the time is winter time all the year."""
    now = (datetime.now(UTC) + timedelta(hours=1)).strftime("%y%m%d%H%M%SW")
    lines = [
        "/FLU5\\253770234_A",
        "",
        f"0-0:1.0.0({now})",
        "0-0:96.1.1(3153414733313031303231363035)",
        "1-0:1.8.1(000302.147*kWh)",
        "1-0:1.8.2(000401.234*kWh)",
        "1-0:2.8.1(000010.001*kWh)",
        "1-0:2.8.2(000020.002*kWh)",
        "0-0:96.14.0(0001)",
        "1-0:1.6.0(261103181500W)(04.123*kW)",
        "1-0:1.7.0(00.432*kW)",
        "1-0:2.7.0(00.000*kW)",
        "1-0:31.7.0(001.88*A)",
        "1-0:32.7.0(230.0*V)",
        "0-2:24.1.0(007)",
        "0-2:96.1.1(3853414731323334353637383930)",
        f"0-2:24.2.1({now})(00872.234*m3)",
        "!",
    ]
    text = "\r\n".join(lines).encode()
    return text + f"{crc(text):04X}\r\n".encode()


async def meters(peers: Peers, broker: Broker) -> str:
    """They speak until the test ends. Gives their configuration."""
    telling = asyncio.create_task(tell(broker))
    peers.closing.callback(telling.cancel)
    configuration = await street(peers)
    for name, (role, values) in SOURCES.items():
        configuration += f"""
[[meter]]
id = "{name}"
name = "{name.title()}"
role = "{role}"
driver = "mqtt"
topic = "{name}/values"
"""
        configuration += "".join(f'{key} = "/{key}"\n' for key in values)
    return configuration


async def tell(broker: Broker) -> None:
    """Stands in for that other software; goes on when the broker was away."""
    while True:
        for name, (_, values) in SOURCES.items():
            with contextlib.suppress(Failure):
                await broker.publish(f"{name}/values", json.dumps(values))
        await asyncio.sleep(5)


async def street(peers: Peers) -> str:
    """Sends a telegram each second to whoever connects. Gives the meter's configuration."""

    async def send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(telegram())
                await writer.drain()
                await asyncio.sleep(1)

    server = await asyncio.start_server(send, "127.0.0.1", 0)
    peers.closing.callback(server.close)
    return f"""
[[meter]]
id = "street"
name = "Street"
driver = "p1"
connection = "tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
"""


async def prefer(ha: HomeAssistant) -> None:
    """What a person would choose in its dialogue: all that there is."""
    grid = lambda key: {
        "type": "grid",
        "stat_energy_from": f"sensor.house_meter_energy_import{key}",
        "stat_energy_to": f"sensor.house_meter_energy_export{key}",
        "cost_adjustment_day": 0,
    }
    tariffs = [grid("_tariff_1"), grid("_tariff_2")]
    total = grid("") | {"stat_rate": "sensor.house_meter_power"}
    sources = [
        {"type": "gas", "stat_energy_from": "sensor.house_meter_gas_gas"},
        {"type": "water", "stat_energy_from": "sensor.street_water_water"},
        {"type": "solar", "stat_energy_from": "sensor.roof_energy_produced", "stat_rate": "sensor.roof_power"},
        {
            "type": "battery",
            "stat_energy_from": "sensor.cellar_energy_discharged",
            "stat_energy_to": "sensor.cellar_energy_charged",
            "stat_rate": "sensor.cellar_power",
            "stat_soc": "sensor.cellar_battery",
        },
    ]
    # The other charger counts nothing.
    garage = {"stat_consumption": "sensor.garage_energy", "stat_rate": "sensor.garage_power"}
    await ha.socket.ask(
        type="energy/save_prefs", energy_sources=[total, *tariffs, *sources], device_consumption=[garage]
    )


async def accepted(ha: HomeAssistant, with_statistics: bool) -> None:
    """Its own validation has nothing to say, once it has compiled statistics, which it does each five minutes. Without
    that wait it may say that there are none yet, and nothing else."""
    last = []

    async def satisfied() -> bool:
        last[:] = [await ha.socket.ask(type="energy/validate")]
        # Of each source a list of what is wrong with it.
        said = itertools.chain.from_iterable(itertools.chain.from_iterable(last[0].values()))
        return not [it for it in said if with_statistics or it["type"] != "statistics_not_defined"]

    try:
        await until("", satisfied, 400)
    except Failure:
        raise Failure(f"the Energy dashboard complains: {last[0]}") from None
