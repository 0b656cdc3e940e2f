"""Receivers of notifications in a process of its own: they answer at once and remember when each request came.

Plain bytes over the sockets, so that it is the sender that is measured, and not an HTTP server beside it on the same
machine.
"""

import asyncio
import re
import sys
import time
from collections import defaultdict
from typing import cast

import msgspec

END_OF_HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
ENDPOINT = re.compile(rb"POST /to/(\S+) ")
SEQ = re.compile(rb'"seq":([0-9]+)')
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"

Told = defaultdict[str, list[tuple[int, float]]]


class Sink(asyncio.Protocol):
    """`POST /to/{endpoint}`: 204. `GET` anything: per endpoint, [seq, when it came] of each request; times of the machine's
    monotonic clock, s."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        came_at = time.monotonic()
        self._unread += data
        while (end := self._unread.find(END_OF_HEAD)) >= 0:
            head, length = self._unread[:end], LENGTH.search(self._unread, 0, end)
            behind = end + len(END_OF_HEAD) + (int(length[1]) if length else 0)
            if len(self._unread) < behind:
                return
            body, self._unread = self._unread[end:behind], self._unread[behind:]
            self._transport.write(self._answer(head, body, came_at))

    def _answer(self, head: bytes, body: bytes, came_at: float) -> bytes:
        endpoint, seq = ENDPOINT.match(head), SEQ.search(body)
        if endpoint is not None and seq is not None:
            self._told[endpoint[1].decode()].append((int(seq[1]), came_at))
            return TAKEN
        told = msgspec.json.encode(self._told)
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told)


async def main(port: int) -> None:
    told: Told = defaultdict(list)
    server = await asyncio.get_running_loop().create_server(lambda: Sink(told), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
