"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from engine.core.blocks import Attic, Blocks, Form, SavedParts
from engine.core.book import Book, Head, Known, Snapshot, restore
from engine.core.call import CallRequested
from engine.core.contact import ContactsAdded, ContactsReplaced
from engine.core.ledger import StillCalls
from engine.core.recent import StillRecent
from engine.core.roll import StillContacts
from engine.ports import DamagedSnapshot, EventStore, Recorded

SNAPSHOT = "book.v8"
"""Name and form of the snapshots; another form gets another name."""
HEAD, KNOWN, CONTACTS, CALLS, RECENT, KEYS = "head", "known", "contacts", "calls", "recent", "keys"
"""Its parts, but for those of blocks."""


class Keys(msgspec.Struct, frozen=True):
    """Of the log, as `EventStore.still_keys` has them: who writes of somebody again must seal under the same one."""

    buckets: Blocks
    erased: list[str]


_contacts, _calls, _recent, _keys = Form(StillContacts), Form(StillCalls), Form(StillRecent), Form(Keys)

log = structlog.get_logger(__name__)
_encode = msgspec.msgpack.Encoder().encode


class Read(NamedTuple):
    """A log's book, from the snapshot at `snapshot_pos` and what came after, `contacts` new ones among it."""

    book: Book
    snapshot_pos: int
    contacts: int


class Readable(Protocol):
    """What is asked of a log to read its book."""

    @property
    def name(self) -> str: ...

    @property
    def position(self) -> int: ...

    def read(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]: ...


async def read_book(store: EventStore, opened: Readable, attic: Attic | None = None) -> Read:
    """The book of a log: the newest snapshot and what came after. `attic`: where it puts ended calls away from then on."""
    book, pos = await _newest(store, opened)
    book.calls.attic = attic
    contacts = 0
    async for batch in opened.read(pos):
        for one in batch:
            book.apply(one.event)
            contacts += contacts_in(one.event)
    return Read(book, pos, contacts)


def contacts_in(event: Any) -> int:
    """How many contacts an event brings: each takes a replay as long as another event does, or longer."""
    return len(event.contacts) if isinstance(event, ContactsAdded | ContactsReplaced) else 0


async def _newest(store: EventStore, opened: Readable) -> tuple[Book, int]:
    """The book of the newest snapshot. One that can't be used costs time, no more: the log has everything."""
    try:
        return await kept(store, opened.name, opened.position) or (Book(), 0)
    except DamagedSnapshot as error:
        log.warning("snapshot of no use, reading the whole log", log=opened.name, error=str(error))
        return Book(), 0


async def kept(store: EventStore, name: str, end: int = sys.maxsize) -> tuple[Book, int] | None:
    """The book of a log's newest snapshot, with its position; None where there is none.

    Raises DamagedSnapshot, also for one of more than the log's `end`: not even its keys are to be believed.
    """
    saved = await store.snapshot(SNAPSHOT, name)
    if saved is None:
        return None
    pos, parts = saved
    if pos > end:
        raise DamagedSnapshot(f"it is of position {pos}, and the log ends at {end}")
    try:
        return await asyncio.to_thread(_restored, store, name, parts), pos  # other campaigns may be at work
    except (KeyError, ValueError, msgspec.DecodeError) as error:
        raise DamagedSnapshot(str(error)) from error


def _restored(store: EventStore, name: str, parts: SavedParts) -> Book:
    head = msgspec.msgpack.decode(parts[HEAD], type=Head)
    known = msgspec.msgpack.decode(parts[KNOWN], type=Known)
    contacts, calls = _contacts.read(CONTACTS, parts), _calls.read(CALLS, parts)
    book = restore(Snapshot(head, known, contacts, calls, _recent.read(RECENT, parts)))
    keys = _keys.read(KEYS, parts)
    store.adopt_keys(name, keys.buckets, keys.erased)
    return book


def pack(snapshot: Snapshot, keys: Keys) -> Iterator[tuple[str, bytes]]:
    """A snapshot as it is kept, part by part. From any thread."""
    yield HEAD, _encode(snapshot.head)
    yield KNOWN, _encode(snapshot.known)
    yield from _contacts.write(CONTACTS, snapshot.contacts)
    yield from _calls.write(CALLS, snapshot.calls)
    yield from _recent.write(RECENT, snapshot.recent)
    yield from _keys.write(KEYS, keys)


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
