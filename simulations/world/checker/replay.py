"""4: the log makes the live state again, the same bytes each time, from its beginning and through the newest snapshot."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from engine.core.book import Book
from engine.ports import EventStore, Recorded
from engine.recovery import read_book


class Closed(msgspec.Struct, frozen=True):
    """A log that is read without being owned: `recovery.Readable`."""

    name: str
    store: EventStore
    position: int

    def read(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        return self.store.read(self.name, after)


async def disagreements(
    store: EventStore, log: str, written: Sequence[Any], read: Sequence[Recorded], live: bytes
) -> Iterator[str]:
    """`written` are the events as they became durable, `read` all that the log now holds, `live` the canonical bytes of
    the engine's book behind the last of them."""
    replayed = Book()
    for one in read:
        replayed.apply(one.event)
    state = replayed.canonical()
    closed = Closed(log, store, read[-1].pos if read else 0)
    through = (await read_book(store, closed)).book
    told = []
    if [one.event for one in read] != list(written):
        told.append(f"4: {log} read again isn't the log as it was written")
    if through.canonical() != state:
        told.append(f"4: {log} read through its snapshot isn't the log as it was written")
    if through.recent != replayed.recent:
        told.append(f"4: {log} read through its snapshot has other attempts of late than the log as it was written")
    if state != live:
        told.append(f"4: {log} replayed isn't the live state after {len(read)} events")
    return iter(told)
