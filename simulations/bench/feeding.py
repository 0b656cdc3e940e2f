"""How many clients of server-sent events one core serves, ten events a second to each, 99 of 100 within 250 ms.

The service runs as its users run it, on one core, with its log in SQLite; the events are renamings of a campaign, asked for
over HTTP. The clients are another process (`listening`). The peer, in the same run, is a server that does nothing but write
the same bytes to all its clients. What is late because the clients are busy counts as late, for both.

`feeding` gives the largest number of clients that was served in time (`feed_clients`) and the curve up to the first one that
was not: lateness, the server's CPU per event and client, and its memory per client. `bare_clients` is the peer's
(`feed_bare_clients`).
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import aiohttp
import msgspec

from api.token import Role
from simulations.bench.listening import Heard
from simulations.engine_process import EngineProcess, free_port

EVENTS_S = 10
LATE_MS = 250
STEPS = (250, 500, 1_000, 1_500, 2_000, 3_000, 4_000)
STEP_S = 5.0
SETTLE_S = 1.0
REF = "bench"
TICKS_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
RENAMED = (
    '{{"id":"bench:{seq}","type":"campaign.renamed","time":"{time}","cursor":"AQAAAAAAFlKB0xSu","campaign":"bench","seq":{seq},'
    '"data":{{"old":"Bench {seq}","new":"Bench {seq}","by":"bench"}},"version":1}}'
)


Ask = Callable[[str], "asyncio.Future[bytes]"]
"""Tell the clients' process a line; it answers with one."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Lateness in ms; `cpu_us` of the server for one event to one client, `bytes_per_client` of its memory."""

    clients: int
    events_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    bytes_per_client: float

    @property
    def is_in_time(self) -> bool:
        return self.p99_ms <= LATE_MS and self.events_s >= 0.98 * EVENTS_S * self.clients


class Feeding(msgspec.Struct, frozen=True, kw_only=True):
    """`clients`: the most that were served in time; `bare` are the peer's."""

    clients: int
    bare_clients: int
    curve: Sequence[Step]
    bare_curve: Sequence[Step]


async def feeding(steps: Sequence[int] = STEPS, seconds: float = STEP_S) -> Feeding:
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        ours = await _ours(Path(folder), steps, seconds)
    bare = await _bare(steps, seconds)
    return Feeding(clients=_most(ours), bare_clients=_most(bare), curve=ours, bare_curve=bare)


def _most(curve: Sequence[Step]) -> int:
    return max((one.clients for one in curve if one.is_in_time), default=0)


async def _ours(folder: Path, steps: Sequence[int], seconds: float) -> list[Step]:
    pbx_port = free_port()
    http = {"max_streams": 100_000, "requests_per_second": 0, "max_in_flight": 0}
    ami = {"port": pbx_port, "username": "ringfold", "secret": "ringfold"}
    engine = EngineProcess(folder, {"http": http, "ami": ami})
    pbx = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulations", "pbx", "--port", str(pbx_port), "--seed", "1"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await engine.start()
        token = engine.token(Role.ADMINISTRATOR, "bench")
        request = f"GET /v1/events HTTP/1.1|Host: x|Accept: text/event-stream|Authorization: Bearer {token}||"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            address = f"{engine.base}/v1/campaigns/{REF}"
            async with session.put(address, json={"name": "Bench", "mode": "preview"}) as answer:
                answer.raise_for_status()
            renaming = asyncio.create_task(_rename(session, address))
            try:
                return await _climb(engine.pid, engine.port, request, steps, seconds)
            finally:
                renaming.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await renaming
    finally:
        await engine.stop()
        pbx.terminate()
        await pbx.wait()


async def _rename(session: aiohttp.ClientSession, address: str) -> None:
    number = 0
    async for _ in _beats():
        number += 1
        async with session.patch(address, json={"name": f"Bench {number}"}) as answer:
            answer.raise_for_status()


async def _bare(steps: Sequence[int], seconds: float) -> list[Step]:
    port = free_port()
    server = await asyncio.create_subprocess_exec(sys.executable, "-m", "simulations.bench.feeding", str(port))
    try:
        await _up(port)
        return await _climb(server.pid, port, "GET / HTTP/1.1|Host: x||", steps, seconds)
    finally:
        server.terminate()
        await server.wait()


async def _climb(pid: int, port: int, request: str, steps: Sequence[int], seconds: float) -> list[Step]:
    """The curve up to the first number of clients that isn't served in time, twice in a row: the machine may be busy."""
    server = Watched(pid)
    server.pin()
    found: list[Step] = []
    empty = server.memory_bytes
    async with _crowd(port, request) as ask:
        for clients in steps:
            await ask(f"connect {clients - (found[-1].clients if found else 0)}")
            step = await _step(server, empty, clients, ask, seconds)
            if not step.is_in_time:
                step = await _step(server, empty, clients, ask, seconds)
            found.append(step)
            if not step.is_in_time:
                break
    return found


async def _step(server: "Watched", empty_bytes: int, clients: int, ask: Ask, seconds: float) -> Step:
    await asyncio.sleep(SETTLE_S)
    cpu = server.cpu_s
    heard = msgspec.json.decode(await ask(f"measure {seconds}"), type=Heard)
    return Step(
        clients=clients,
        events_s=heard.events / heard.seconds,
        p50_ms=heard.p50_ms,
        p99_ms=heard.p99_ms,
        cpu_us=(server.cpu_s - cpu) / max(1, heard.events) * 1_000_000,
        bytes_per_client=(server.memory_bytes - empty_bytes) / clients,
    )


@asynccontextmanager
async def _crowd(port: int, request: str) -> AsyncIterator[Ask]:
    crowd = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulations.bench.listening", str(port), request),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, heard = crowd.stdin, crowd.stdout
    assert told is not None
    assert heard is not None

    def ask(what: str) -> "asyncio.Future[bytes]":
        told.write(f"{what}\n".encode())
        return asyncio.ensure_future(heard.readuntil())

    try:
        yield ask
    finally:
        crowd.kill()
        await crowd.wait()


class Watched:
    """Another process, as the kernel tells of it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def pin(self) -> None:
        """All its threads on the last of our cores."""
        core = max(os.sched_getaffinity(0))
        for thread in (self._folder / "task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    @property
    def cpu_s(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_S

    @property
    def memory_bytes(self) -> int:
        return int((self._folder / "statm").read_text().split()[1]) * PAGE_BYTES


# -- the peer -------------------------------------------------------------------------------------------------------------


class Bare(asyncio.Protocol):
    def __init__(self, clients: set[asyncio.Transport]) -> None:
        self._clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _: bytes) -> None:
        self._transport.write(HEAD)
        self._clients.add(self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._clients.discard(self._transport)


async def serve_bare(port: int) -> None:
    clients: set[asyncio.Transport] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Bare(clients), "127.0.0.1", port)
    async with server:
        seq = 0
        async for _ in _beats():
            seq += 1
            at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            data = f"id: AQAAAAAAFlKB0xSu\r\ndata: {RENAMED.format(seq=seq, time=at)}\r\n\r\n".encode()
            chunk = b"%x\r\n%b\r\n" % (len(data), data)
            for one in clients:
                one.write(chunk)


async def _beats() -> AsyncIterator[None]:
    """At an even pace; who is late skips none."""
    due = time.monotonic()
    while True:
        yield
        due += 1 / EVENTS_S
        await asyncio.sleep(max(0, due - time.monotonic()))


async def _up(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


if __name__ == "__main__":
    asyncio.run(serve_bare(int(sys.argv[1])))
