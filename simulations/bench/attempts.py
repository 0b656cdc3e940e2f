"""Complete call attempts through the whole engine against the simulated PBX, by CPU-second of the engine's process.

Every event is durable (SQLite), and every notification is delivered to a webhook in a process of its own: the CPU that this
takes counts until the last one has arrived. The webhook takes them in batches, as a busy receiver asks for; beside it stand
rounds with a request for each notification, and with nobody who listens.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from adapters.notify.signing import new_secret, new_signing_key
from engine.core.webhook import PutWebhook
from simulations.bench.dialer import PATIENCE_S, Crowd, Dialer, cpu_s, simulated_pbx
from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.engine_process import free_port

TIME_SCALE = 0.05
"""Against life: the far ends ring 10 ms and talk 50, long enough for most to be joined to their agent."""
BATCH_ITEMS, BATCH_WAIT_MS = 100, 50
DELIVERED_WITHIN_S = 120
LOOK_EVERY_S = 0.05


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu_s` of the engine's process, until all was told; `backlog_s` is how long that took once nobody dialled."""

    attempts: int
    joined: int
    seconds: float
    cpu_s: float
    told: int = 0
    backlog_s: float = 0.0


async def attempts(seconds: float, crowd: Crowd, batch_items: int | None) -> Ran:
    """`batch_items`: in a request of the webhook's; 0 is one notification each, None is no webhook."""
    async with simulated_pbx(TIME_SCALE) as pbx:
        with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
            async with listening() as url, Dialer.running(Path(folder), pbx, crowd) as dialer:
                if batch_items is not None:
                    await put_webhook(dialer, url, batch_items)
                gc.collect()
                started, cpu = time.perf_counter(), cpu_s()
                count, joined = await dialer.work(seconds)
                worked = time.perf_counter() - started
                if batch_items is None:
                    return Ran(attempts=count, joined=joined, seconds=worked, cpu_s=cpu_s() - cpu)
                await dialer.stop()
                told = await _delivered(url)
                backlog_s = time.perf_counter() - started - worked
                return Ran(
                    attempts=count,
                    joined=joined,
                    seconds=worked,
                    cpu_s=cpu_s() - cpu,
                    told=told,
                    backlog_s=backlog_s,
                )


async def put_webhook(dialer: Dialer, url: str, batch_items: int) -> None:
    await dialer.engine.direct(
        PutWebhook(
            at=dialer.now(),
            by="bench",
            id="bench",
            url=url,
            secret="",
            new_secret=new_secret(),
            new_signing_key=new_signing_key(),
            types=(),
            campaigns=(),
            since=dialer.service.notifier.position,
            batch_items=batch_items,
            batch_wait_ms=BATCH_WAIT_MS if batch_items else 0,
        )
    )
    dialer.service.notifier.webhooks_changed()


@asynccontextmanager
async def listening() -> AsyncIterator[str]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "simulations.bench.listener", str(port))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await _shown(f"http://127.0.0.1:{port}/")
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(LOOK_EVERY_S)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def _shown(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        shown: dict[str, Any] = await answer.json()
        return shown


async def _delivered(url: str) -> int:
    """How many notifications came, once the last one has."""
    async with asyncio.timeout(DELIVERED_WITHIN_S):
        while not (shown := await _shown(url))["stopped"]:
            await asyncio.sleep(LOOK_EVERY_S)
    return int(shown["received"])


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    crowd = Crowd(agents=scale.of(100, 10), contacts=scale.of(20_000, 100))
    for _ in range(scale.rounds):
        told = asyncio.run(attempts(scale.seconds, crowd, BATCH_ITEMS))
        made.add("attempts_per_core_s", "told in batches", "/CPU s", told.attempts / told.cpu_s)
        made.add("attempts_s", "attempts, told in batches", "/s", told.attempts / told.seconds)
        made.add("attempts_joined_share", "of the attempts the two could talk", "", told.joined / told.attempts)
        made.add("attempts_notifications", "notifications an attempt", "", told.told / told.attempts)
        untold = asyncio.run(attempts(scale.seconds, crowd, None))
        made.add("attempts_per_core_s_untold", "nobody listens", "/CPU s", untold.attempts / untold.cpu_s)
        made.add("attempts_s_untold", "attempts, nobody listens", "/s", untold.attempts / untold.seconds)
        singly = asyncio.run(attempts(scale.seconds, crowd, 0))
        made.add("attempts_per_core_s_singly", "a request each", "/CPU s", singly.attempts / singly.cpu_s)
        made.add("attempts_backlog_s_singly", "delivered so long after, a request each", "s", singly.backlog_s)
        say(made.last("attempts_per_core_s", "attempts_per_core_s_untold", "attempts_per_core_s_singly"))
    return made.figures
