"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from engine.core.book import Book, Head, Snapshot, restore
from engine.core.call import CallRequested
from engine.core.contact import ContactsAdded, ContactsReplaced
from engine.core.roll import Contacts
from engine.core.still import PAGE_CONTACTS, Order, Page, contacts_of
from engine.ports import DamagedSnapshot, EventLog, EventStore, Recorded

SNAPSHOT = "book.v4"
"""Name and form of the snapshots; another form gets another name."""
HEAD, ORDER = "head", "order"

log = structlog.get_logger(__name__)
_page = msgspec.msgpack.Decoder(tuple[Page, list[bytes | None]])
"""Contacts, and the keys of their data in the log: who writes of somebody again must seal under the same one."""


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
        contacts = await asyncio.to_thread(_contacts, store, parts)  # other campaigns may be at work
    except (KeyError, msgspec.ValidationError) as error:
        raise DamagedSnapshot(str(error)) from error
    return restore(head, contacts), pos


def _contacts(store: EventStore, parts: Mapping[str, bytes]) -> Contacts:
    order = msgspec.msgpack.decode(parts[ORDER], type=Order)
    count = math.ceil(sum(order.counts.values()) / PAGE_CONTACTS)
    return contacts_of((_opened(store, parts[_named(number)]) for number in range(count)), order)


def _opened(store: EventStore, part: bytes) -> Page:
    page, keys = _page.decode(part)
    store.learn_keys(dict(zip(page.refs, keys, strict=True)))
    return page


def pack(store: EventStore, snapshot: Snapshot) -> dict[str, bytes]:
    """A snapshot as it is kept. From any thread."""
    contacts = snapshot.contacts
    pages = {
        _named(number): msgspec.msgpack.encode((page, store.known_keys(page.refs)))
        for number, page in enumerate(contacts.pages())
    }
    return {HEAD: store.encode(snapshot.head), ORDER: msgspec.msgpack.encode(contacts.order()), **pages}


def _named(page: int) -> str:
    return f"contacts/{page}"


async def replay(read: AsyncIterator[Sequence[Recorded]]) -> Book:
    """The book of a log from its first event on, whatever snapshots say."""
    book = Book()
    async for batch in read:
        for one in batch:
            book.apply(one.event)
    return book


class Attempt(NamedTuple):
    number: str
    call: str
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
        Attempt(numbers[one.contact][one.number], one.call, one.at)
        for one in requested
        if one.number < len(numbers.get(one.contact, ()))
    ]


async def _nothing() -> AsyncIterator[Sequence[Recorded]]:
    return
    yield
