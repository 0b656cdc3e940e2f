"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence

import msgspec
import structlog

from engine.core.book import PAGE_CONTACTS, Book, Head, Snapshot, begin
from engine.core.contact import Contact
from engine.ports import DamagedSnapshot, EventLog, EventStore, Recorded

SNAPSHOT = "book.v2"
"""Name and form of the snapshots; another form gets another name."""
HEAD = "head"

log = structlog.get_logger(__name__)


async def read_book(store: EventStore, opened: EventLog) -> tuple[Book, int]:
    """The book of a log: the newest snapshot and what came after. Returns it with the snapshot's position."""
    book, pos = await _newest(store, opened.name)
    async for batch in opened.read(pos):
        for one in batch:
            book.apply(one.event)
    return book, pos


async def _newest(store: EventStore, name: str) -> tuple[Book, int]:
    """The book of the newest snapshot. One that can't be used costs time, no more: the log has everything."""
    try:
        saved = await store.snapshot(SNAPSHOT, name)
        if saved is None:
            return Book(), 0
        pos, packed = saved
        head = await store.decode(packed[HEAD], Head)
        book = begin(head)
        for page in range(math.ceil(head.contacts / PAGE_CONTACTS)):
            for contact in await store.decode(packed[_page(page)], list[Contact]):
                book.contacts.put(contact)
            await asyncio.sleep(0)  # other campaigns may be at work
    except (DamagedSnapshot, KeyError, msgspec.ValidationError) as error:
        log.warning("snapshot of no use, reading the whole log", log=name, error=str(error))
        return Book(), 0
    return book, pos


def pack(store: EventStore, snapshot: Snapshot) -> dict[str, bytes]:
    """A snapshot as it is kept: the contacts in pages. From any thread."""
    pages = {_page(number): store.encode(page) for number, page in enumerate(snapshot.pages())}
    return {HEAD: store.encode(snapshot.head), **pages}


def _page(number: int) -> str:
    return f"contacts/{number}"


async def replay(read: AsyncIterator[Sequence[Recorded]]) -> Book:
    """The book of a log from its first event on, whatever snapshots say."""
    book = Book()
    async for batch in read:
        for one in batch:
            book.apply(one.event)
    return book
