"""A stand-in for Home Assistant's Supervisor: what it answers, how it names hosts, and how it judges an app's form."""

import asyncio
import json
import re

from peers import Broker, Failure, Peers, check

TOKEN = "token of this test"
# As its own names are found: by DNS alone, never in /etc/hosts.
NAMES = {"supervisor", "core-mosquitto"}
NAME_SERVER = "127.30.32.3"


class Supervisor:
    """Answers `/services/mqtt` as the real one does, to whoever shows the token."""

    def __init__(self) -> None:
        self.broker: dict | None = None
        self.asked = 0

    @classmethod
    async def up(cls, peers: Peers) -> "Supervisor":
        it = cls()
        server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
        it.port = server.sockets[0].getsockname()[1]
        peers.closing.callback(server.close)
        names, _ = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, (NAME_SERVER, 53))
        peers.closing.callback(names.close)
        return it

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        self.asked += 1
        status, answer = "200 OK", {"result": "ok", "data": self.broker}
        if f"authorization: Bearer {TOKEN}".lower() not in head.lower():
            status, answer = "401 Unauthorized", {"result": "error", "message": "unauthorized"}
        elif not head.startswith("GET /services/mqtt "):
            status, answer = "404 Not Found", {"result": "error", "message": "not found"}
        elif self.broker is None:
            status, answer = "400 Bad Request", {"result": "error", "message": "Service not enabled"}
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    def offers(self, broker: Broker, password: str) -> None:
        self.broker = {
            "addon": "core_mosquitto",
            "host": "core-mosquitto",
            "port": broker.port,
            "ssl": False,
            "username": Broker.USER,
            "password": password,
            "protocol": "3.1.1",
        }


class NameServer(asyncio.DatagramProtocol):
    """DNS (RFC 1035, chapter 4): the Supervisor's names have the address 127.0.0.1, and there are no others."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, query: bytes, peer: tuple) -> None:
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question, kind = query[12 : at + 5], int.from_bytes(query[at + 1 : at + 3])
        known = ".".join(labels).lower() in NAMES
        # The name again, as a pointer to the question; A, IN, ten seconds, four bytes.
        answer = bytes.fromhex("c00c00010001 0000000a 0004 7f000001") if known and kind == 1 else b""
        flags = bytes.fromhex("8180") if known else bytes.fromhex("8183")
        counts = b"\0\x01" + bool(answer).to_bytes(2) + bytes(4)
        self.transport.sendto(query[:2] + flags + counts + question + answer, peer)


def taken(schema: dict, options: dict, where: str = "root") -> dict:
    """The options as the Supervisor hands them over, or its refusal (home-assistant/supervisor, apps/options.py).

    A key that is missing is refused unless its type ends with a question mark, which only single values can.
    """
    for key in options.keys() - schema.keys():
        raise Failure(f"the Supervisor drops the option {where}.{key}: it is not in the schema")
    for key in schema.keys() - options.keys():
        kind = schema[key][0] if isinstance(schema[key], list) else schema[key]
        check(isinstance(kind, str) and kind.endswith("?"), f"the Supervisor says: Missing option '{key}' in {where}")
    return {key: value_taken(schema[key], value, f"{where}.{key}") for key, value in options.items()}


def value_taken(kind: object, value: object, where: str):
    """One option."""
    if isinstance(kind, list):
        check(isinstance(value, list), f"{where} is no list")
        return [value_taken(kind[0], it, where) for it in value]
    if isinstance(kind, dict):
        check(isinstance(value, dict), f"{where} is no mapping")
        return taken(kind, value, where)
    check(value is not None, f"the Supervisor says: Missing required option '{where}'")
    form = re.fullmatch(r"(?P<name>str|password|int|float|match|list)(?:\((?P<more>.*)\))?\??", kind)
    check(form, f"{where}: the Supervisor knows no type {kind}")
    name, more = form["name"], form["more"]
    if name in ("int", "float"):
        number = (int if name == "int" else float)(value)
        low, high = (float(it) if it else None for it in (more or ",").split(","))
        check((low is None or number >= low) and (high is None or number <= high), f"{where} = {value} is out of {kind}")
        return number
    if name == "match":
        check(re.match(more, str(value)), f"{where} = {value} does not match {more}")
    if name == "list":
        check(str(value) in more.split("|"), f"{where} = {value} is none of {more}")
    return str(value)
