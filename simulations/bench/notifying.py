"""From commit to the first POST: events at an even pace in a hundred campaigns, a webhook for each, on a durable log.

The receivers are a process of their own. Here run the store (SQLite), the merged feed and the webhooks; nothing decides
anything. Beside each figure stands a bare client's: the same requests, made without a log, an order or a signature.

`notifying` gives `notify_p50_ms` and `notify_p99_ms`, from an event's durable commit to the receiver's having the request, the
bare client's beside them, and the CPU that this process took. One more durable write lies between: the feed's, which says in
which order clients are told, before any of them is.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path

import aiohttp
import msgspec

from adapters.notify import Notifier, NotifyLimits
from adapters.notify.signing import new_secret
from engine.core.agent import AgentStatus, AgentStatusChanged
from engine.core.book import Book, stream_of
from engine.core.campaign import CampaignCreated, Mode, Settings
from engine.core.webhook import WebhookPut
from engine.ports import ANY, Append
from engine.service import LogEvent, SystemClock
from eventstore import Codec, open_store
from simulations.engine_process import free_port

ENDPOINTS = 100
SETTLE_S = 15
TICK_S = 0.01

Sent = dict[tuple[str, int], float]


class Notifying(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms, from commit to the receiver's having it. `cpu_s` of this process, for ours."""

    events: int
    p50_ms: float
    p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    cpu_s: float


async def notifying(events_s: int, seconds: float) -> Notifying:
    port = free_port()
    sink = await asyncio.create_subprocess_exec(sys.executable, "-m", "simulations.bench.sink", str(port))
    try:
        await _up(port)
        bare = await _bare(port, events_s, seconds)
        with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
            cpu = time.process_time()
            ours = await _ours(Path(folder), port, events_s, seconds)
            cpu = time.process_time() - cpu
    finally:
        sink.terminate()
        await sink.wait()
    return Notifying(
        events=len(ours),
        p50_ms=_quantile(ours, 0.5),
        p99_ms=_quantile(ours, 0.99),
        bare_p50_ms=_quantile(bare, 0.5),
        bare_p99_ms=_quantile(bare, 0.99),
        cpu_s=cpu,
    )


def _quantile(times_s: list[float], share: float) -> float:
    return sorted(times_s)[min(len(times_s) - 1, int(share * len(times_s)))] * 1_000


async def _up(port: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(SETTLE_S):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/told"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def _ours(folder: Path, port: int, events_s: int, seconds: float) -> list[float]:
    store = await open_store(f"sqlite:///{folder / 'bench.db'}", Codec(LogEvent))
    refs = [f"c{number}" for number in range(ENDPOINTS)]
    books = {f"campaign/{ref}": Book() for ref in refs}
    secret = new_secret()
    puts = {
        ref: WebhookPut(
            at=1,
            id=ref,
            url=f"http://127.0.0.1:{port}/to/{ref}",
            secret=secret,
            types=("agent.status",),
            campaigns=(ref,),
            since=0,
            by="bench",
        )
        for ref in refs
    }
    notifier = Notifier(store, books.get, lambda: puts, SystemClock(), NotifyLimits(), random.Random(1))
    await notifier.start()
    logs = {ref: await store.open_log(f"campaign/{ref}") for ref in refs}
    sent: Sent = {}

    async def write(ref: str, seq: int) -> None:
        log, status = logs[ref], AgentStatus.AVAILABLE if seq % 2 else AgentStatus.PAUSED
        event = AgentStatusChanged(at=SystemClock().now_ms(), agent="ann", status=status, reason="")
        written = await log.append([Append(stream_of(event), ANY, [event])])
        sent[ref, seq] = time.monotonic()
        notifier.follow(log.name, written)

    for ref, log in logs.items():
        made = CampaignCreated(at=1, ref=ref, name=ref, mode=Mode.PREVIEW, settings=Settings(), by="bench")
        books[log.name].apply(made)
        notifier.follow(log.name, await log.append([Append(stream_of(made), ANY, [made])]))
    seqs = {ref: count(2) for ref in refs}
    async with asyncio.TaskGroup() as group:
        async for number in paced(events_s, seconds):
            ref = refs[number % ENDPOINTS]
            group.create_task(write(ref, next(seqs[ref])))
    told = await _told(port, sent)
    await notifier.stop()
    for log in logs.values():
        await log.close()
    await store.close()
    return [told[key] - at for key, at in sent.items()]


async def _bare(port: int, events_s: int, seconds: float) -> list[float]:
    sent: Sent = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256)) as session:

        async def post(ref: str, seq: int) -> None:
            sent[ref, seq] = time.monotonic()
            body = msgspec.json.encode({"seq": seq, "pad": "x" * 250})
            async with session.post(f"http://127.0.0.1:{port}/to/{ref}", data=body):
                pass

        async with asyncio.TaskGroup() as group:
            async for number in paced(events_s, seconds):
                group.create_task(post(f"bare{number % ENDPOINTS}", number))
    told = await _told(port, sent)
    return [told[key] - at for key, at in sent.items()]


async def paced(events_s: int, seconds: float) -> AsyncIterator[int]:
    """Numbers of events, each as it is due."""
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    while number < events_s * seconds:
        due = min(int((loop.time() - began) * events_s), int(events_s * seconds))
        while number < due:
            yield number
            number += 1
        await asyncio.sleep(TICK_S)


async def _told(port: int, sent: Mapping[tuple[str, int], float]) -> Sent:
    """When each came, once all have. Raises TimeoutError where some never do."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(SETTLE_S):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/told") as answer:
                told: dict[str, list[tuple[int, float]]] = await answer.json()
            found = {(ref, seq): at for ref, rows in told.items() for seq, at in rows}
            if sent.keys() <= found.keys():
                return found
            await asyncio.sleep(0.2)
