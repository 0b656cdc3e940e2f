"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import structlog

from engine.core import directory as directories
from engine.core.book import Book, Head, Snapshot, restore
from engine.core.call import CallRequested
from engine.core.contact import ContactsAdded, ContactsReplaced
from engine.core.directory import ContactRefsUsed, Directory, DirectoryHead, DirectorySnapshot
from engine.core.table import PAGE_ROWS, Table
from engine.ports import DamagedSnapshot, EventLog, EventStore, Recorded

SNAPSHOT, DIRECTORY_SNAPSHOT = "book.v5", "directory.v1"
"""Names and forms of the snapshots; another form gets another name."""
HEAD, KEYS = "head", "keys"
KEY_BYTES = 32
NO_KEY = bytes(KEY_BYTES)
"""Stands for that of somebody who was erased."""

log = structlog.get_logger(__name__)


NOTHING_KEPT: tuple[Table, Mapping[str, bytes]] = Table(), {}


class Read(NamedTuple):
    """A log's book, from the snapshot at `snapshot_pos` and what came after, `contacts` new ones among it."""

    book: Book
    snapshot_pos: int
    contacts: int


class Kept(NamedTuple):
    """What a snapshot holds."""

    book: Book
    pos: int
    parts: Mapping[str, bytes]


async def read_book(store: EventStore, opened: EventLog, keys: "KeptKeys | None" = None) -> Read:
    """The book of a log: the newest snapshot and what came after. `keys` is where the keys that it has are kept."""
    book, pos, parts = await _newest(store, opened.name)
    if keys is not None and parts:
        keys.keep(book.campaign.ref, book.contacts.by_ref.table, parts)
    contacts = 0
    async for batch in opened.read(pos):
        for one in batch:
            book.apply(one.event)
            contacts += contacts_in(one.event)
    return Read(book, pos, contacts)


def contacts_in(event: Any) -> int:
    """How many contacts an event brings: each takes a replay as long as another event does, or longer."""
    return len(event.contacts) if isinstance(event, ContactsAdded | ContactsReplaced) else 0


async def _newest(store: EventStore, name: str) -> Kept:
    """The book of the newest snapshot. One that can't be used costs time, no more: the log has everything."""
    try:
        return await kept(store, name) or Kept(Book(), 0, {})
    except DamagedSnapshot as error:
        log.warning("snapshot of no use, reading the whole log", log=name, error=str(error))
        return Kept(Book(), 0, {})


async def kept(store: EventStore, name: str) -> Kept | None:
    """The book of a log's newest snapshot; None where there is none. Raises DamagedSnapshot."""
    saved = await store.snapshot(SNAPSHOT, name)
    if saved is None:
        return None
    pos, parts = saved
    try:
        head = await store.decode(parts[HEAD], Head)
        with _uncollected():
            book = restore(head, parts)
    except (KeyError, ValueError, msgspec.DecodeError) as error:
        raise DamagedSnapshot(str(error)) from error
    return Kept(book, pos, parts)


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is made within is all of use: a collector that looked for what isn't would take longer than making it."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class KeptKeys(Mapping[str, bytes | None]):
    """The keys of contacts' data in the log, as snapshots of their campaigns have them: who writes of somebody again must
    seal under the same one. Whose contact it is the directory knows.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._kept: dict[str, tuple[Table, Mapping[str, bytes]]] = {}
        self._changed: set[str] = set()

    def keep(self, campaign: str, contacts: Table, parts: Mapping[str, bytes]) -> None:
        self._kept[campaign] = contacts, {name: parts[name] for name in parts if name.startswith(f"{KEYS}/")}

    def drop(self, campaign: str) -> None:
        """It is deleted: nobody writes of its contacts any more."""
        self._kept.pop(campaign, None)

    def erased(self, campaign: str) -> None:
        """Somebody's key isn't any more what it was."""
        self._changed.add(campaign)

    def page(self, campaign: str, number: int) -> bytes | None:
        """The keys of a whole page of contacts, where all of them are as they were kept."""
        _, parts = self._kept.get(campaign, NOTHING_KEPT)
        page = parts.get(f"{KEYS}/{number}", b"") if campaign not in self._changed else b""
        return page if len(page) == PAGE_ROWS * KEY_BYTES else None

    def __getitem__(self, subject: str) -> bytes | None:
        campaign = self._directory.contacts.get(subject)
        for one in (
            (campaign,) if campaign else tuple(self._kept)
        ):  # a ref that the directory doesn't know is an exception
            key = self._found(one, subject)
            if key:
                return key if key != NO_KEY else None
        raise KeyError(subject)

    def _found(self, campaign: str, subject: str) -> bytes:
        """Empty where it isn't kept."""
        contacts, parts = self._kept.get(campaign, NOTHING_KEPT)
        page, row = divmod(contacts.place(subject), PAGE_ROWS)  # no page is before the first
        return parts.get(f"{KEYS}/{page}", b"")[row * KEY_BYTES : (row + 1) * KEY_BYTES]

    def __iter__(self) -> Iterator[str]:
        return (name for contacts, _ in self._kept.values() for name in contacts.names() if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def pack(store: EventStore, snapshot: Snapshot, keys: KeptKeys | None = None) -> dict[str, bytes]:
    """A snapshot as it is kept; `keys` are those that are kept already. From any thread."""
    parts = {HEAD: store.encode(snapshot.head)}
    parts.update(snapshot.parts())
    table = snapshot.contacts.table
    for number, start in enumerate(range(0, len(table), PAGE_ROWS)):
        page = keys.page(snapshot.head.campaign.ref, number) if keys is not None else None
        if page is None:
            found = store.known_keys(list(islice(table.names(start), PAGE_ROWS)))
            page = b"".join(key or NO_KEY for key in found)
        parts[f"{KEYS}/{number}"] = page
    return parts


async def read_directory(store: EventStore, opened: EventLog, directory: Directory) -> tuple[int, int]:
    """Fill an empty directory from its newest snapshot and what came after; returns the snapshot's position, and how many
    contacts' refs came after.
    """
    pos = refs = 0
    try:
        saved = await store.snapshot(DIRECTORY_SNAPSHOT, opened.name)
        if saved is not None:
            directories.restore(directory, await store.decode(saved[1][HEAD], DirectoryHead), saved[1])
            pos = saved[0]
    except (DamagedSnapshot, KeyError, ValueError, msgspec.DecodeError) as error:
        log.warning("snapshot of no use, reading the whole log", log=opened.name, error=str(error))
    async for batch in opened.read(pos):
        for one in batch:
            directory.apply(one.event)
            refs += refs_in(one.event)
    return pos, refs


def refs_in(event: Any) -> int:
    """How many contacts' refs an event of the directory brings."""
    return len(event.refs) if isinstance(event, ContactRefsUsed) else 0


def pack_directory(store: EventStore, snapshot: DirectorySnapshot) -> dict[str, bytes]:
    """From any thread."""
    return {HEAD: store.encode(snapshot.head), **dict(snapshot.parts())}


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
