"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import structlog

from engine.core.book import Book, Head, Known, Snapshot, restore
from engine.core.call import Call, CallRequested
from engine.core.contact import ContactsAdded, ContactsReplaced
from engine.core.still import PAGE_CONTACTS, Order, Page, contacts_of
from engine.ports import DamagedSnapshot, EventLog, EventStore, Recorded

SNAPSHOT = "book.v5"
"""Name and form of the snapshots; another form gets another name."""
HEAD, ORDER, CALLS = "head", "order", "calls"
PAGE_CALLS = 20_000

log = structlog.get_logger(__name__)
_page = msgspec.msgpack.Decoder(tuple[Page, list[bytes | None]])
"""Contacts, and the keys of their data in the log: who writes of somebody again must seal under the same one."""
_calls = msgspec.msgpack.Decoder(tuple[list[str], list[bytes]])


class Read(NamedTuple):
    """A log's book, from the snapshot at `snapshot_pos` and what came after, `contacts` new ones among it."""

    book: Book
    snapshot_pos: int
    contacts: int


async def read_book(store: EventStore, opened: EventLog) -> Read:
    """The book of a log: the newest snapshot and what came after."""
    book, pos = await _newest(store, opened.name)
    contacts = 0
    async for batch in opened.read(pos):
        for one in batch:
            book.apply(one.event)
            contacts += contacts_in(one.event)
    return Read(book, pos, contacts)


def contacts_in(event: Any) -> int:
    """How many contacts an event brings: each takes a replay as long as another event does, or longer."""
    return len(event.contacts) if isinstance(event, ContactsAdded | ContactsReplaced) else 0


async def _newest(store: EventStore, name: str) -> tuple[Book, int]:
    """The book of the newest snapshot. One that can't be used costs time, no more: the log has everything."""
    try:
        return await kept(store, name) or (Book(), 0)
    except DamagedSnapshot as error:
        log.warning("snapshot of no use, reading the whole log", log=name, error=str(error))
        return Book(), 0


async def kept(store: EventStore, name: str) -> tuple[Book, int] | None:
    """The book of a log's newest snapshot, with its position; None where there is none. Raises DamagedSnapshot."""
    saved = await store.snapshot(SNAPSHOT, name)
    if saved is None:
        return None
    pos, parts = saved
    try:
        head = await store.decode(parts[HEAD], Head)
        return await asyncio.to_thread(_restored, store, head, parts), pos  # other campaigns may be at work
    except (KeyError, msgspec.ValidationError) as error:
        raise DamagedSnapshot(str(error)) from error


def _restored(store: EventStore, head: Head, parts: Mapping[str, bytes]) -> Book:
    order = msgspec.msgpack.decode(parts[ORDER], type=Order)
    count = math.ceil(sum(order.counts.values()) / PAGE_CONTACTS)
    contacts = contacts_of((_opened(store, parts[_named(number)]) for number in range(count)), order)
    known, rows = msgspec.msgpack.decode(parts[CALLS], type=Known), dict[str, Call | bytes]()
    for number in range(math.ceil(known.calls / PAGE_CALLS)):
        rows.update(zip(*_calls.decode(parts[_calls_named(number)]), strict=True))
    return restore(head, contacts, rows, known)


def _opened(store: EventStore, part: bytes) -> Page:
    page, keys = _page.decode(part)
    store.learn_keys(dict(zip(page.refs, keys, strict=True)))
    return page


def pack(store: EventStore, snapshot: Snapshot) -> dict[str, bytes]:
    """A snapshot as it is kept. From any thread."""
    contacts, calls = snapshot.contacts, snapshot.packed_calls()
    parts = {
        HEAD: store.encode(snapshot.head),
        ORDER: msgspec.msgpack.encode(contacts.order()),
        CALLS: msgspec.msgpack.encode(snapshot.known),
    }
    for number, page in enumerate(contacts.pages()):
        parts[_named(number)] = msgspec.msgpack.encode((page, store.known_keys(page.refs)))
    for number in range(math.ceil(snapshot.known.calls / PAGE_CALLS)):
        some = list(islice(calls, PAGE_CALLS))
        parts[_calls_named(number)] = msgspec.msgpack.encode(([name for name, _ in some], [row for _, row in some]))
    return parts


def _named(page: int) -> str:
    return f"contacts/{page}"


def _calls_named(page: int) -> str:
    return f"calls/{page}"


async def replay(read: AsyncIterator[Sequence[Recorded]]) -> Book:
    """The book of a log from its first event on, whatever snapshots say."""
    book = Book()
    async for batch in read:
        for one in batch:
            book.apply(one.event)
    return book


class Attempt(NamedTuple):
    number: str
    at: int


async def attempts_since(read: Callable[[], AsyncIterator[Sequence[Recorded]]], since: int) -> list[Attempt]:
    """Attempts in a log after a time, with the numbers that they were on. The log is read twice if there are any.

    A person who was erased since has no number, and no attempt.
    """
    requested: list[CallRequested] = []
    async for batch in read():
        requested += [one.event for one in batch if isinstance(one.event, CallRequested) and one.event.at > since]
    wanted = {one.contact for one in requested}
    numbers: dict[str, tuple[str, ...]] = {}
    async for batch in read() if wanted else _nothing():
        for one in batch:
            if isinstance(one.event, ContactsAdded | ContactsReplaced):
                found = {new.ref: new.person.details for new in one.event.contacts if new.ref in wanted}
                numbers |= {ref: details.numbers for ref, details in found.items() if details is not None}
    return [
        Attempt(numbers[one.contact][one.number], one.at)
        for one in requested
        if one.number < len(numbers.get(one.contact, ()))
    ]


async def _nothing() -> AsyncIterator[Sequence[Recorded]]:
    return
    yield
