"""Many clients of server-sent events in one process, cheap enough that the server is worn out first.

It is told what to do by lines: `connect N` opens so many more streams, `measure S` answers what came within S seconds.
Lateness is the difference between a notification's own `time` and the moment when it was read here, on the same machine.
"""

import asyncio
import sys
import time
from array import array
from typing import cast

import msgspec

TIME = b'"time":"'
SECONDS = slice(len(TIME) + 17, len(TIME) + 23)
"""Where the seconds of the minute stand, in what begins with TIME."""
LONGEST = SECONDS.stop
CONNECTING_AT_ONCE = 50


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """Of all streams together. Lateness in ms; `events` came in `seconds`."""

    streams: int
    events: int
    seconds: float
    p50_ms: float
    p99_ms: float


class Crowd:
    def __init__(self, port: int, request: bytes) -> None:
        self.request = request
        self.late_s = array("f")
        self.open = 0
        self._port = port

    async def connect(self, count: int) -> None:
        loop, begun = asyncio.get_running_loop(), self.open
        for start in range(0, count, CONNECTING_AT_ONCE):
            some = range(min(CONNECTING_AT_ONCE, count - start))
            made = [loop.create_connection(lambda: Listening(self), "127.0.0.1", self._port) for _ in some]
            await asyncio.gather(*(one.answered for _, one in await asyncio.gather(*made)))
        self.open = begun + count

    async def measure(self, seconds: float) -> Heard:
        self.late_s = array("f")
        began = time.monotonic()
        await asyncio.sleep(seconds)
        late, seconds = sorted(self.late_s), time.monotonic() - began
        p50, p99 = (late[int(share * len(late))] * 1_000 if late else 0.0 for share in (0.5, 0.99))
        return Heard(streams=self.open, events=len(late), seconds=seconds, p50_ms=p50, p99_ms=p99)


class Listening(asyncio.Protocol):
    def __init__(self, crowd: Crowd) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._cut = b""
        """The end of what came, where a time may have begun."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._crowd.request)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            assert data.startswith(b"HTTP/1.1 200"), data[:500]
            self.answered.set_result(None)
        now = time.time() % 60
        data = self._cut + data
        at = data.find(TIME)
        while 0 <= at <= len(data) - LONGEST:
            self._crowd.late_s.append((now - float(data[at:][SECONDS])) % 60)
            at = data.find(TIME, at + LONGEST)
        self._cut = data[at:] if at >= 0 else data[-len(TIME) :]

    def connection_lost(self, _: Exception | None) -> None:
        self._crowd.open -= 1


async def main(port: int, request: str) -> None:
    crowd = Crowd(port, request.replace("|", "\r\n").encode())
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, value = line.split()
        if word == "connect":
            await crowd.connect(int(value))
        heard = await crowd.measure(float(value) if word == "measure" else 0)
        print(msgspec.json.encode(heard).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
