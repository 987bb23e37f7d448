"""Home Assistant's WebSocket API, with nothing but the standard library (RFC 6455, client side)."""

import asyncio
import base64
import json
import os

from peers import check


class WebSocket:
    """A connection that is logged in. Answers find their questions, events their queue."""

    @classmethod
    async def up(cls, port: int, token: str) -> "WebSocket":
        it = cls()
        it.reader, it.writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        it.writer.write(
            f"GET /api/websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await it.reader.readuntil(b"\r\n\r\n")
        check(b" 101 " in head.split(b"\r\n")[0], f"no WebSocket: {head!r}")
        it.waiting, it.events, it.number = {}, asyncio.Queue(), 0
        await it.message()
        it.send(0x1, json.dumps({"type": "auth", "access_token": token}).encode())
        check(json.loads(await it.message())["type"] == "auth_ok", "the WebSocket login is refused")
        it.task = asyncio.create_task(it.follow())
        return it

    def send(self, kind: int, data: bytes) -> None:
        mask = os.urandom(4)
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2) if size < 65536 else b"\xff" + size.to_bytes(8)
        self.writer.write(bytes([0x80 | kind]) + length + mask + bytes(it ^ mask[at % 4] for at, it in enumerate(data)))

    async def message(self) -> bytes:
        """The next text, its fragments joined; pings are answered on the way."""
        whole = b""
        while True:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
            data = await self.reader.readexactly(size)
            match first & 0xF:
                case 0x9:
                    self.send(0xA, data)
                case 0x8:
                    raise ConnectionError("closed by Home Assistant")
                case 0x0 | 0x1:
                    whole += data
                    if first & 0x80:
                        return whole

    async def follow(self) -> None:
        try:
            while True:
                found = json.loads(await self.message())
                for it in found if isinstance(found, list) else [found]:
                    if it["type"] == "event":
                        self.events.put_nowait(it["event"])
                    elif (answer := self.waiting.pop(it["id"], None)) is not None:
                        answer.set_result(it)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            for answer in self.waiting.values():
                answer.set_exception(ConnectionError(str(error)))

    async def ask(self, **question):
        """The result of one command."""
        self.number += 1
        answer = self.waiting[self.number] = asyncio.get_running_loop().create_future()
        self.send(0x1, json.dumps(question | {"id": self.number}).encode())
        found = await asyncio.wait_for(answer, 30)
        check(found.get("success"), f"{question}: {found.get('error')}")
        return found["result"]

    def close(self) -> None:
        self.task.cancel()
        self.writer.close()
