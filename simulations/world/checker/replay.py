"""4: the log makes the live state again, the same bytes each time, from its beginning and through the newest snapshot."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from engine.core.book import Book
from engine.ports import EventStore, Recorded
from engine.recovery import read_book


class Closed(msgspec.Struct, frozen=True):
    """A log that is read without being owned, as far as `read_book` asks for one."""

    name: str
    store: EventStore

    def read(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        return self.store.read(self.name, after)


async def disagreements(store: EventStore, log: str, events: Sequence[Any], live: bytes) -> Iterator[str]:
    """`events` are those that became durable, `live` the canonical bytes of the engine's book behind the last of them."""
    seen, read = Book(), Book()
    for event in events:
        seen.apply(event)
    async for batch in store.read(log):
        for one in batch:
            read.apply(one.event)
    through = (await read_book(store, Closed(log, store))).book  # type: ignore[arg-type]  # all that it asks of a log
    found = {"read again": read, "read through its snapshot": through}
    told = [f"4: {log} {how} isn't the log as it was written" for how, book in found.items() if _differs(book, seen)]
    if seen.canonical() != live:
        told.append(f"4: {log} replayed isn't the live state after {len(events)} events")
    return iter(told)


def _differs(one: Book, other: Book) -> bool:
    return one.canonical() != other.canonical()
