"""pymodbus as a meter: python modbus_server.py tcp|rtu+tcp|serial MAP

MAP is JSON, unit -> "holding" or "input" -> address -> word. When it can be asked it prints one line with the place:
tcp://127.0.0.1:PORT, rtu+tcp://127.0.0.1:PORT, or serial:///dev/pts/N, the other end of the port that pymodbus has open.
"""
import asyncio
import json
import os
import sys
import tty

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

wire, path = sys.argv[1:3]


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


def terminal():
    """A pseudo-terminal: its master, and the path of the end that somebody opens. That end stays open here as well, so
    that the master lives before and after."""
    master, slave = os.openpty()
    tty.setraw(slave)
    return master, os.ttyname(slave)


def cable():
    """Two serial ports that are connected to each other: what is written to one comes out of the other."""
    (left, left_path), (right, right_path) = terminal(), terminal()

    def carry(source, sink):
        os.write(sink, os.read(source, 4096))

    loop = asyncio.get_running_loop()
    loop.add_reader(left, carry, left, right)
    loop.add_reader(right, carry, right, left)
    return left_path, right_path


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
    if wire == "serial":
        theirs, ours = cable()
        server = ModbusSerialServer(devices, framer=FramerType.RTU, port=theirs, baudrate=9600)
        await server.serve_forever(background=True)
        place = ours
    else:
        framer = FramerType.RTU if wire == "rtu+tcp" else FramerType.SOCKET
        server = ModbusTcpServer(devices, framer=framer, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        place = "127.0.0.1:%d" % server.transport.sockets[0].getsockname()[1]
    print(f"{wire}://{place}", flush=True)
    await server.serving


asyncio.run(main())
