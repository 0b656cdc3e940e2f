"""A client that knows no HTTP: bytes to a running service, and whatever comes back held against what may be answered."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from typing import NamedTuple

import structlog

from config.logging import is_ours
from simulations.pbx import SimulatedPbx
from tests.api.asking import Untouched
from tests.world import World

QUIET_S = 0.25
"""Nothing more comes after so long: the service waits for the rest of a request, as it may."""
ANSWERED_WITHIN_S = 15
PROBLEM = "application/problem+json"
NO_HTTP = "text/plain"
"""The server's own answer to what it can't read as a request: it never reaches the API."""


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def replies(raw: bytes, heads: int = 0) -> list[Reply]:
    """All answers on a connection, in order. The first `heads` of them have no body. Raises AssertionError."""
    found: list[Reply] = []
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        assert end, f"an answer without an end: {head[:200]!r}"
        first, *lines = head.decode("ascii").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version in ("HTTP/0.9", "HTTP/1.0", "HTTP/1.1"), first
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if status in ("100", "204", "304") or len(found) < heads else int(headers["content-length"])
        assert len(raw) >= length, f"{first}: {len(raw)} of {length} bytes came"
        if status != "100":
            found.append(Reply(int(status), headers, raw[:length]))
        raw = raw[length:]
    return found


def judge(reply: Reply) -> None:
    """Never our fault, but for a while; a refusal is a problem, or says that this was no HTTP. Raises AssertionError."""
    assert reply.status < 500 or (reply.status == 503 and int(reply.headers["retry-after"]) >= 1), reply
    assert b"Traceback" not in reply.body
    if reply.status < 400:
        return
    media = reply.headers["content-type"].partition(";")[0]
    if media == NO_HTTP:
        assert reply.status in (400, 417), reply  # it quotes what it could not read
        return
    assert media == PROBLEM, reply
    if reply.body:
        problem = json.loads(reply.body)
        assert problem["status"] == reply.status
        assert problem["title"]
        assert len(problem["trace_id"]) == 32


async def said(world: World, *pieces: bytes, heads: int = 0, whole: bool = False) -> list[Reply]:
    """Send the pieces on one connection; what is answered until nothing more comes, judged. `whole`: an answer must come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.service.port)
    raw = b""
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            with contextlib.suppress(ConnectionError):  # it may close on who talks on after a refusal
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                while data := await _next(reader, ANSWERED_WITHIN_S if whole and not raw else QUIET_S):
                    raw += data
    finally:
        writer.transport.abort()
    found = replies(raw, heads)
    for reply in found:
        judge(reply)
    return found


async def _next(reader: asyncio.StreamReader, patience_s: float) -> bytes:
    try:
        async with asyncio.timeout(patience_s):
            return await reader.read(65_536)
    except TimeoutError:
        return b""


class Victim:
    """A service under fire: after each shot it is asked whether it lives, and whether a refusal left everything as it was."""

    def __init__(self, world: World, pbx: SimulatedPbx) -> None:
        self.world, self.pbx = world, pbx
        self.shots = 0
        self._before = self._state()
        self._untouched = Untouched(world, pbx)

    def _state(self) -> dict[str, bytes]:
        return {ref: one.book.canonical() for ref, one in self.world.service.engine.campaigns.items()}

    async def shot(self, *pieces: bytes, heads: int = 0, whole: bool = False) -> list[Reply]:
        found = await said(self.world, *pieces, heads=heads, whole=whole)
        await self.check(any(reply.status < 400 for reply in found))
        return found

    async def check(self, may_have_changed: bool = False) -> None:
        """Alive, and as before unless something was taken."""
        self.shots += 1
        alive = await said(self.world, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", whole=True)
        assert [reply.status for reply in alive] == [200]
        if may_have_changed:
            self._before, self._untouched = self._state(), Untouched(self.world, self.pbx)
        else:
            self._untouched.check()
            assert self._state() == self._before


@contextlib.contextmanager
def quiet_log() -> Iterator[None]:
    """Nobody's nonsense is worth a traceback of ours. Raises AssertionError."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = records.append  # type: ignore[method-assign,assignment]  # to keep is all it does
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)  # as in production: at DEBUG what clients do wrong is ours to see, too
    root.addHandler(handler)
    try:
        with structlog.testing.capture_logs() as events:
            yield
    finally:
        root.removeHandler(handler)
        loud = [one.getMessage() for one in records if one.exc_info and is_ours(one)]
        root.setLevel(level)
    loud += [str(one) for one in events if one["log_level"] in ("error", "critical") or one.get("exc_info")]
    assert not loud, loud[:3]
