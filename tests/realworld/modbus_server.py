"""pymodbus as a meter: python modbus_server.py tcp|rtu PORT MAP

MAP is JSON, unit -> "holding" or "input" -> address -> word. `rtu` means RTU frames over TCP.
"""
import asyncio
import json
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

framing, port, path = sys.argv[1:4]


def blocks(words, kind):
    """Neighbouring addresses as one block each; pymodbus wants at least one block of each kind."""
    found, run = [], []
    for address in sorted(int(it) for it in words):
        if run and address != run[-1] + 1:
            found.append(run)
            run = []
        run.append(address)
    if run:
        found.append(run)
    data = [SimData(it[0], values=[words[str(a)] for a in it], datatype=kind) for it in found]
    return data or [SimData(65535, values=False if kind == DataType.BITS else 0, datatype=kind)]


async def main():
    with open(path) as file:
        units = json.load(file)
    devices = [
        SimDevice(
            int(unit),
            simdata=(
                blocks({}, DataType.BITS),
                blocks({}, DataType.BITS),
                blocks(tables.get("holding", {}), DataType.REGISTERS),
                blocks(tables.get("input", {}), DataType.REGISTERS),
            ),
        )
        for unit, tables in units.items()
    ]
    framer = FramerType.RTU if framing == "rtu" else FramerType.SOCKET
    await ModbusTcpServer(devices, framer=framer, address=("127.0.0.1", int(port))).serve_forever()


asyncio.run(main())
