"""A log read back into state: ours, and the `eventsourcing` library's aggregate, from the same PostgreSQL.

Like is compared with like: the same events, ends of calls, into the same state, the last call of each contact. Beside it
stands what a start has to do, a whole campaign's history into its book: that is the core's work more than the store's, and
no snapshot helps it here.
"""

import asyncio
import os
import time
from itertools import chain
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from engine.core.book import Event, stream_of
from engine.core.call import CallEnded
from engine.core.directory import DirectoryEvent
from engine.ports import ANY, Append
from engine.recovery import replay
from eventstore import Codec, open_store
from simulations.bench.appends import ended
from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.bench.history import History
from simulations.postgres import Postgres

ENDS, BOOK_EVENTS, LIBRARY_EVENTS = 300_000, 60_000, 15_000
CONTACTS, AGENTS = 5_000, 100
SAVED_AT_ONCE = 1_000
ENDS_LOG, BOOK_LOG = "bench/ends", "bench/book"

Last = tuple[str, str, str, int, int]
"""Call, agent, outcome, ring_ms, talk_ms."""


class Calls(Aggregate):
    """The last call of each contact."""

    @event("Began")
    def __init__(self) -> None:
        self.last: dict[str, Last] = {}

    @event("Ended")
    def ended(self, call: str, contact: str, agent: str, outcome: str, ring_ms: int, talk_ms: int) -> None:
        self.last[contact] = (call, agent, outcome, ring_ms, talk_ms)


async def write(url: str, ends: int, book_events: int) -> int:
    """Write ends of calls, and a campaign's history; how many events that one is."""
    history, written = History(CONTACTS, AGENTS), 0
    store = await open_store(url, Codec(Event | DirectoryEvent), owner="bench", lease_ttl_ms=60_000)
    try:
        opened = await store.open_log(ENDS_LOG)
        for first in range(0, ends, SAVED_AT_ONCE):
            places = range(first, min(ends, first + SAVED_AT_ONCE))
            await opened.append([Append("calls", ANY, [ended(place, place % CONTACTS) for place in places])])
        await opened.close()
        opened = await store.open_log(BOOK_LOG)
        for turn in chain(history.begin(), history.turns()):
            await opened.append([Append(stream_of(one), ANY, [one]) for one in turn])
            written += len(turn)
            if written >= book_events:
                break
        await opened.close()
    finally:
        await store.close()
    return written


async def ours(url: str) -> float:
    """Seconds to read the ends of calls into the last call of each contact."""
    store = await open_store(url, Codec(Event | DirectoryEvent), owner="bench", lease_ttl_ms=60_000)
    try:
        last: dict[str, Last] = {}
        started = time.perf_counter()
        async for batch in store.read(ENDS_LOG):
            for one in batch:
                end: CallEnded = one.event
                last[end.contact] = (end.call, end.agent, end.outcome, end.ring_ms, end.talk_ms)
        elapsed = time.perf_counter() - started
        assert last
        return elapsed
    finally:
        await store.close()


async def book(url: str) -> float:
    """Seconds to read a campaign's history into its book."""
    store = await open_store(url, Codec(Event | DirectoryEvent), owner="bench", lease_ttl_ms=60_000)
    try:
        started = time.perf_counter()
        made = await replay(store.read(BOOK_LOG))
        elapsed = time.perf_counter() - started
        assert len(made.contacts) == CONTACTS
        return elapsed
    finally:
        await store.close()


def application(url: str) -> Application[UUID]:
    parts = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.lstrip("/"),
        "POSTGRES_HOST": parts.hostname or "127.0.0.1",
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": parts.username or "postgres",
        "POSTGRES_PASSWORD": parts.password or "unused",
    }
    return Application({**os.environ, **environment})


def library_write(app: Any, events: int) -> UUID:
    calls = Calls()
    for number in range(1, events):
        calls.ended(uuid4().hex, f"bench:{number % CONTACTS}", f"agent{number % AGENTS}", "answered", 4_000, 60_000)
        if number % SAVED_AT_ONCE == 0:
            app.save(calls)
    app.save(calls)
    return calls.id


def library(app: Any, id_: UUID) -> float:
    """Seconds."""
    started = time.perf_counter()
    found = app.repository.get(id_)
    elapsed = time.perf_counter() - started
    assert found.last
    return elapsed


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    with Postgres.running() as postgres:
        say("writing what is to be read")
        ends, library_events = scale.of(ENDS, 5_000), scale.of(LIBRARY_EVENTS, 500)
        book_events = asyncio.run(write(postgres.url, ends, scale.of(BOOK_EVENTS, 2_000)))
        app = application(postgres.url)
        id_ = library_write(app, library_events)
        for _ in range(scale.rounds):
            made.add("replay_library_events_s", "eventsourcing's replay", "ev/s", library_events / library(app, id_))
            made.add("replay_events_s", "our replay, same state", "ev/s", ends / asyncio.run(ours(postgres.url)))
            made.add("replay_book_events_s", "into a book", "ev/s", book_events / asyncio.run(book(postgres.url)))
            made.ratio("replay_vs_library", "replay ÷ eventsourcing's", "replay_events_s", "replay_library_events_s")
            made.ratio(
                "replay_book_vs_library",
                "replay into a book ÷ eventsourcing's",
                "replay_book_events_s",
                "replay_library_events_s",
            )
            say(made.last("replay_events_s", "replay_book_events_s", "replay_library_events_s", "replay_vs_library"))
        app.close()
    return made.figures
