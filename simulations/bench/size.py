"""Bytes on disk in PostgreSQL: whole tables with their indexes, toast and dead rows, by the events in them.

What is written is what a hundred agents at work write down, in groups of a hundred events, the smallest that count. Beside
it the same number of rows of the `eventsourcing` library and of pgbench, of 200 bytes each as elsewhere.
"""

import asyncio
from itertools import chain, islice
from typing import NamedTuple
from uuid import uuid4

import asyncpg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder

from engine.core.book import Event, stream_of
from engine.core.contact import ContactsAdded
from engine.ports import ANY, Append
from eventstore import Codec, open_store
from simulations.bench.appends import PAYLOAD, library_datastore
from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.bench.history import History
from simulations.postgres import Postgres

EVENTS, LIBRARY_EVENTS = 60_000, 20_000
GROUPS = (100, 1_000)
CONTACTS, AGENTS = 5_000, 100


def work(count: int) -> list[Event]:
    """Events of agents at work; the list that they work off is another figure."""
    history = History(CONTACTS, AGENTS)
    turns = chain(history.begin(), history.turns())
    return list(islice((one for turn in turns for one in turn if not isinstance(one, ContactsAdded)), count))


class Took(NamedTuple):
    """Bytes an event: on disk with all that belongs to it, and of the packed groups alone."""

    disk: float
    packed: float


async def ours(url: str, events: list[Event], size: int) -> Took:
    """In groups of so many."""
    store = await open_store(url, Codec(Event), owner="bench", lease_ttl_ms=60_000)
    before = await _bytes(url, "es_%")
    try:
        name = f"bench/{uuid4().hex}"
        opened = await store.open_log(name)
        for first in range(0, len(events), size):
            await opened.append([Append(stream_of(one), ANY, [one]) for one in events[first : first + size]])
        await opened.close()
    finally:
        await store.close()
    packed = await _asked(url, "select sum(length(data)) from es_segment where log = $1", name)
    return Took((await _bytes(url, "es_%") - before) / len(events), packed / len(events))


def library(url: str, count: int) -> float:
    """Bytes an event of the library's."""
    table = f"bench_{uuid4().hex[:12]}"
    datastore = library_datastore(url, 1)
    try:
        recorder = PostgresApplicationRecorder(datastore, events_table_name=table)
        recorder.create_table()
        rows = [StoredEvent(uuid4(), 1, "call.ended.v1", PAYLOAD) for _ in range(count)]
        for first in range(0, count, 1_000):
            recorder.insert_events(rows[first : first + 1_000])
    finally:
        datastore.close()
    return asyncio.run(_bytes(url, table)) / count


async def _bytes(url: str, tables: str) -> int:
    """Of tables whose names are like that, with all that belongs to them."""
    query = "select sum(pg_total_relation_size(oid))::bigint from pg_class where relkind = 'r' and relname like $1"
    return await _asked(url, query, tables)


async def _asked(url: str, query: str, value: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(query, value) or 0)
    finally:
        await connection.close()


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    events = work(scale.of(EVENTS, 2_000))
    with Postgres.running() as postgres:
        for size in GROUPS:
            key = "bytes_per_event" if size == GROUPS[0] else f"bytes_per_event_groups_of_{size}"
            each = asyncio.run(ours(postgres.url, events, size))
            made.add(key, f"on disk, groups of {size:,}", "B", each.disk)
            made.add(f"bytes_per_event_packed_{size}", f"packed groups of {size:,} alone", "B", each.packed)
        made.add(
            "bytes_per_event_library",
            "eventsourcing's row",
            "B",
            library(postgres.url, scale.of(LIBRARY_EVENTS, 1_000)),
        )
        say(made.last("bytes_per_event", "bytes_per_event_packed_100", "bytes_per_event_library"))
    return made.figures
