"""A campaign's log rerun from its first event up to any position: the state there, and whether it is the same every time.

A log is worth what its replay is worth. So it runs twice, over the stored bytes, and both states must be equal byte for byte;
where the service kept a snapshot on the way, the state at its position must equal that, too.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from engine.core.book import Book
from engine.ports import DamagedSnapshot, EventStore, Recorded
from engine.recovery import kept

STATE_DIGEST_BYTES = 16

Progress = Callable[[int], None]
"""Told how many events have been applied in both runs together."""


class Stretch(NamedTuple):
    """From the first event up to a position, and up to before the first event that happened later than a time (epoch ms)."""

    to: float = math.inf
    at: float = math.inf


class Snapshot(NamedTuple):
    """What the service kept. `digest` is its state's, "" where it can't be read: `fault` says why."""

    pos: int
    digest: str
    fault: str = ""


class Run(NamedTuple):
    """One run over a stretch. `at` is when the last event happened (epoch ms), `on_the_way` the state's digest at the position
    that was asked for, "" where the run doesn't come there.
    """

    book: Book
    pos: int
    at: int
    on_the_way: str


class Replay(NamedTuple):
    """Two runs over the same stretch, compared: `run` is the second, `digest` the state of the first. A fault is a line for
    people; none: all are equal.
    """

    run: Run
    digest: str
    snapshot: Snapshot | None
    faults: list[str]


def state_digest(book: Book) -> str:
    return blake2b(book.canonical(), digest_size=STATE_DIGEST_BYTES).hexdigest()


async def rerun(read: AsyncIterator[Sequence[Recorded]], stretch: Stretch, progress: Progress, look_at: int = 0) -> Run:
    book, pos, at, on_the_way = Book(), 0, 0, ""
    async for batch in read:
        for one in batch:
            if one.pos > stretch.to or one.event.at > stretch.at:
                return Run(book, pos, at, on_the_way)
            book.apply(one.event)
            pos, at = one.pos, one.event.at
            if pos == look_at:
                on_the_way = state_digest(book)
        progress(pos)
    return Run(book, pos, at, on_the_way)


async def replay_twice(store: EventStore, log: str, stretch: Stretch, progress: Progress) -> Replay:
    """Raises what reading the log raises. A service may write to it meanwhile: both runs end at the same position."""
    snapshot = await _snapshot(store, log)
    look_at = snapshot.pos if snapshot is not None else 0
    first = await rerun(store.read(log), stretch, progress)
    pos, digest = first.pos, state_digest(first.book)
    del first  # of a long list there is one book in memory at a time
    again = await rerun(store.read(log), Stretch(to=pos), lambda events: progress(pos + events), look_at)
    faults = []
    if (again.pos, state_digest(again.book)) != (pos, digest):
        faults.append(f"the same log gave two states at position {pos}: {digest} and {state_digest(again.book)}")
    if snapshot is not None and snapshot.fault:
        faults.append(f"the snapshot can't be read: {snapshot.fault}")
    elif snapshot is not None and again.on_the_way not in ("", snapshot.digest):
        faults.append(f"the snapshot at position {snapshot.pos} is {snapshot.digest}, the log says {again.on_the_way}")
    return Replay(again, digest, snapshot, faults)


async def _snapshot(store: EventStore, log: str) -> Snapshot | None:
    """A snapshot that is damaged is told of: a start would read the whole log in its place."""
    try:
        found = await kept(store, log)
    except DamagedSnapshot as error:
        return Snapshot(0, "", str(error))
    return Snapshot(found[1], state_digest(found[0])) if found is not None else None
