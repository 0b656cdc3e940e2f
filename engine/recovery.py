"""A campaign's book read back from its log: from the newest snapshot on, or from the first event."""

from collections.abc import AsyncIterator, Sequence
from typing import get_type_hints

import msgspec
import structlog

from engine.core.book import Book, Columns, restore
from engine.ports import DamagedSnapshot, EventLog, EventStore, Recorded

SNAPSHOT = "book.v1"
"""Name and form of the snapshots; another form gets another name."""

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
        values = {field: await store.decode(packed[field], type_) for field, type_ in get_type_hints(Columns).items()}
    except (DamagedSnapshot, KeyError, msgspec.ValidationError) as error:
        log.warning("snapshot of no use, reading the whole log", log=name, error=str(error))
        return Book(), 0
    return restore(Columns(**values)), pos


def pack(store: EventStore, columns: Columns) -> dict[str, bytes]:
    """Columns as a snapshot keeps them."""
    return {name: store.encode(getattr(columns, name)) for name in Columns.__struct_fields__}


async def replay(read: AsyncIterator[Sequence[Recorded]]) -> Book:
    """The book of a log from its first event on, whatever snapshots say."""
    book = Book()
    async for batch in read:
        for one in batch:
            book.apply(one.event)
    return book
