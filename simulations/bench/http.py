"""A bare HTTP client for loads: requests are bytes made before, answers are cut by hand, connections are kept.

It costs a tenth of what a real client does, so that on two processors it is the service that is measured.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
MOST_CONNECTIONS = 8_000
TICK_S = 0.005


class Answer(NamedTuple):
    """`status` 0: the connection ended before an answer came. `took_s` from when the request was due."""

    status: int
    has_retry_after: bool
    took_s: float
    body: bytes = b""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._heard = b""
        self._waiting: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_open = False

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body. Raises ConnectionError."""
        if not self.is_open or self._transport is None:
            raise ConnectionError("closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, separator, body = self._heard.partition(b"\r\n\r\n")
        found = LENGTH.search(head)
        size = int(found[1]) if found else 0
        if separator and len(body) >= size and self._waiting is not None:
            self._heard = body[size:]
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result((head, body[:size]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError(str(exc)))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Load:
    """Use `Load.on()`. `request(number)` makes the bytes of each request; answers are given to `take(number, answer)`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._all: list[_Connection] = []

    @classmethod
    @asynccontextmanager
    async def on(cls, port: int) -> "AsyncIterator[Load]":
        load = cls(port)
        try:
            yield load
        finally:
            for one in load._all:
                one.close()

    async def ask(self, request: bytes, due: float) -> Answer:
        """On a connection that is idle, or a new one."""
        try:
            connection = await self._connection()
            head, body = await connection.ask(request)
        except OSError:
            return Answer(0, False, time.monotonic() - due)
        self._idle.append(connection)
        return Answer(int(head[9:12]), bool(RETRY_AFTER.search(head)), time.monotonic() - due, body)

    async def _connection(self) -> _Connection:
        while self._idle:
            known = self._idle.pop()
            if known.is_open:
                return known
        if len(self._all) >= MOST_CONNECTIONS:
            raise OSError("no connection left")
        _, made = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        self._all.append(made)
        return made

    async def closed_loop(self, clients: int, seconds: float, request: Callable[[], bytes]) -> list[Answer]:
        """So many clients, each asking again once it was answered: what the service can do."""
        until = time.monotonic() + seconds
        answers: list[Answer] = []

        async def one() -> None:
            while (now := time.monotonic()) < until:
                answers.append(await self.ask(request(), now))

        await asyncio.gather(*(one() for _ in range(clients)))
        return answers

    async def open_loop(self, rate_s: float, seconds: float, request: Callable[[], bytes]) -> list[Answer]:
        """So many a second whatever becomes of them; a late one is late from the moment that it was due."""
        began, number = time.monotonic(), 0
        answers: list[Answer] = []

        async def one(due: float) -> None:
            answers.append(await self.ask(request(), due))

        async with asyncio.TaskGroup() as group:
            while number < rate_s * seconds:
                while number < min(rate_s * seconds, (time.monotonic() - began) * rate_s):
                    group.create_task(one(began + number / rate_s))
                    number += 1
                await asyncio.sleep(TICK_S)
        return answers
