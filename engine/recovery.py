"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from engine.core.book import Book, Head, Known, Snapshot, restore
from engine.core.call import CallRequested
from engine.core.contact import ContactsAdded, ContactsReplaced
from engine.core.ledger import StillCalls
from engine.core.recent import StillRecent
from engine.core.roll import StillContacts
from engine.core.table import blocks_of, parts_of
from engine.ports import DamagedSnapshot, EventStore, Recorded

SNAPSHOT = "book.v6"
"""Name and form of the snapshots; another form gets another name."""
HEAD, KNOWN, KEYS = "head", "known", "keys"
LONG: dict[str, tuple[Callable[[bytes], tuple[Any, dict[str, int]]], tuple[str, ...]]] = {
    "contacts": (
        msgspec.msgpack.Decoder(tuple[StillContacts, dict[str, int]]).decode,
        ("rows", "index", "external", "worked", "lines"),
    ),
    "calls": (msgspec.msgpack.Decoder(tuple[StillCalls, dict[str, int]]).decode, ("rows", "index")),
    "recent": (msgspec.msgpack.Decoder(tuple[StillRecent, dict[str, int]]).decode, ("young", "old")),
}
"""What of a snapshot is large: how the rest of it is decoded, and the fields that are kept in parts of their own, of which that
tells the numbers."""
OPENERS = 2
"""Threads that open a snapshot's parts, which is arithmetic for the greater part and lets others run."""

Keys = tuple[list[bytes], list[str]]
"""Of the log, as `EventStore.still_keys` has them: who writes of somebody again must seal under the same one."""

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


async def read_book(store: EventStore, opened: Readable) -> Read:
    """The book of a log: the newest snapshot and what came after."""
    book, pos = await _newest(store, opened)
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
        head = await store.decode(parts[HEAD], Head)
        return await asyncio.to_thread(_restored, store, name, head, parts), pos  # other campaigns may be at work
    except (KeyError, msgspec.DecodeError) as error:
        raise DamagedSnapshot(str(error)) from error


def _restored(store: EventStore, name: str, head: Head, parts: Mapping[str, bytes]) -> Book:
    known = msgspec.msgpack.decode(parts[KNOWN], type=Known)
    with ThreadPoolExecutor(OPENERS) as openers:
        book = restore(Snapshot(head, known, *(_long(openers, parts, one) for one in LONG)))
        count, erased = msgspec.msgpack.decode(parts[KEYS], type=tuple[int, list[str]])
        store.adopt_keys(name, _joined(openers, parts, KEYS, count), erased)
    return book


def _long(openers: Executor, parts: Mapping[str, bytes], name: str) -> Any:
    decode, fields = LONG[name]
    still, counts = decode(parts[name])
    blocks = {one: _joined(openers, parts, f"{name}.{one}", counts[one]) for one in fields}
    return msgspec.structs.replace(still, **blocks)


def _joined(openers: Executor, parts: Mapping[str, bytes], name: str, count: int) -> list[bytes]:
    named = [f"{name}/{number}" for number in range(count)]
    return list(chain.from_iterable(openers.map(lambda one: blocks_of(parts[one]), named)))


def pack(store: EventStore, snapshot: Snapshot, keys: Keys) -> dict[str, bytes]:
    """A snapshot as it is kept. From any thread."""
    buckets, erased = keys
    long = {KEYS: parts_of(buckets)}
    short = {
        HEAD: store.encode(snapshot.head),
        KNOWN: _encode(snapshot.known),
        KEYS: _encode((len(long[KEYS]), erased)),
    }
    for name, (_, fields) in LONG.items():
        still = getattr(snapshot, name)
        parts = {one: parts_of(getattr(still, one)) for one in fields}
        rest = msgspec.structs.replace(still, **{one: [] for one in fields})
        short[name] = _encode((rest, {one: len(some) for one, some in parts.items()}))
        long |= {f"{name}.{one}": some for one, some in parts.items()}
    return short | {f"{name}/{number}": part for name, some in long.items() for number, part in enumerate(some)}


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
