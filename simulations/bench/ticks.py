"""Ticks: a thousand events that a turn of the engine decides at once, durable together.

Ours are a campaign's: what its agents' calls wrote down in a while, in the order of its turns and each in its own stream.
A few ticks are under way at once, as there are campaigns. The library's recorder gets its thousand in one insert, from as
many threads as it is fastest with; pgbench's clients insert a thousand rows by one statement.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from uuid import uuid4

from engine.core.book import Event, stream_of
from engine.core.contact import ContactsAdded
from engine.ports import ANY, Append
from eventstore import Codec, open_store
from simulations.bench.appends import library, pgbench
from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.bench.history import History
from simulations.postgres import Postgres

TICK_EVENTS = 1_000
TICKS_UNDER_WAY = 10
KEPT_TICKS = 20
PGBENCH_CLIENTS = 8
"""Where its rows a second are most on two cores; 64 are slower."""


def ticks() -> list[list[Append]]:
    """A few, each of other events."""
    history, kept, tick = History(contacts=2_000, agents=200), [], []
    for turn in chain(history.begin(), history.turns()):
        if any(isinstance(one, ContactsAdded) for one in turn):
            continue  # a list is no tick
        tick += [Append(stream_of(one), ANY, [one]) for one in turn]
        if len(tick) >= TICK_EVENTS:
            kept.append(tick[:TICK_EVENTS])
            tick = []
            if len(kept) == KEPT_TICKS:
                break
    return kept


async def ours(url: str, kept: Sequence[Sequence[Append]], seconds: float) -> float:
    """Events a second through our log at `url`."""
    store = await open_store(url, Codec(Event), owner="bench", lease_ttl_ms=10_000)
    try:
        opened = await store.open_log(f"bench/{uuid4().hex}")
        until = time.perf_counter() + seconds
        written = 0

        async def turns(place: int) -> None:
            nonlocal written
            while time.perf_counter() < until:
                place = (place + 1) % len(kept)
                recorded = await opened.append(kept[place])
                written += len(recorded)

        started = time.perf_counter()
        await asyncio.gather(*(turns(place) for place in range(TICKS_UNDER_WAY)))
        elapsed = time.perf_counter() - started
        await opened.close()
        return written / elapsed
    finally:
        await store.close()


def measure(scale: Scale, say: Say) -> Figures:
    made, kept = Rounds(), ticks()
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder, Postgres.running() as postgres:
        for _ in range(scale.rounds):
            library_s = library(postgres.url, scale.seconds, TICK_EVENTS)
            made.add("tick_library_events_s", "eventsourcing's batches of 1,000", "ev/s", library_s)
            ours_s = asyncio.run(ours(postgres.url, kept, scale.seconds))
            made.add("tick_events_s", "our log, ticks of 1,000", "ev/s", ours_s)
            rows_s = pgbench(postgres, scale.seconds, Path(folder), PGBENCH_CLIENTS, TICK_EVENTS)
            made.add("tick_pgbench_rows_s", "pgbench, 1,000 rows an INSERT", "rows/s", rows_s)
            made.ratio("tick_vs_library", "ticks ÷ eventsourcing's batches", "tick_events_s", "tick_library_events_s")
            made.ratio("tick_vs_pgbench", "ticks ÷ pgbench", "tick_events_s", "tick_pgbench_rows_s")
            say(made.last("tick_events_s", "tick_library_events_s", "tick_pgbench_rows_s"))
    return made.figures
