"""The dumb conditional store below the log: leases, segments, and small tables. Order and versions are the owner's."""

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from engine.ports import KeptAnswer, StoreUnavailable

T = TypeVar("T")
Part = tuple[str, bytes]
"""Of a snapshot: its name, and what it holds."""


class Head(msgspec.Struct, frozen=True):
    """Where a log stands: its owner's epoch, the last segment's number and hash, the last event's position."""

    epoch: int
    seq: int
    pos: int
    hash: bytes


class Segment(msgspec.Struct, frozen=True):
    """One group commit. `hash` chains over all segments before it."""

    seq: int
    pos: int
    """Position of its first event."""
    n: int
    epoch: int
    at: int
    codec: int
    hash: bytes
    data: bytes


class Placed(NamedTuple):
    """A segment, and the log that it is for."""

    log: str
    segment: Segment


class Disconnected(StoreUnavailable):
    """The connection was lost, or the database can't work just now: whether what was asked has happened is not known.

    For reads and for what may be done twice it is StoreUnavailable as the port has it; the log's owner settles appends.
    """


class NotTogether(Exception):
    """The store answered that it doesn't write two logs' segments at once: neither was written, and each may be alone."""


class SegmentStore(Protocol):
    kind: str

    async def acquire(self, log: str, owner: str, ttl_ms: int) -> Head | None:
        """Become the owner: the epoch rises. None while another owner's lease is live. Raises Disconnected."""
        ...

    async def renew(self, log: str, epoch: int, ttl_ms: int) -> bool:
        """False when the lease is somebody else's now."""
        ...

    async def release(self, log: str, epoch: int) -> None: ...

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        """Write a segment, and keys that it needs, if epoch and seq are still as expected; False means fenced.

        `beside`: another log's segment, under the same condition. Both are written, or neither. Durable when it returns.
        Raises Disconnected.
        """
        ...

    async def head(self, log: str) -> Head | None: ...

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        """Segments that hold events behind a position, oldest first."""
        ...

    async def logs(self) -> Sequence[str]:
        """Those that are here: not the dropped ones."""
        ...

    async def drop(self, log: str, pos: int, segments: int) -> bool:
        """Let a log go that is kept elsewhere: from now on it counts as dropped at `pos`, its last position, and up to so
        many of its segments are deleted. True once none is left; asked again it goes on.
        """
        ...

    async def dropped(self) -> Mapping[str, int]:
        """Logs that were dropped, each with its last position."""
        ...

    async def put_back(self, log: str, segments: Sequence[Segment]) -> None:
        """Segments of a dropped log, as they were; those that are there already stay. `undrop` then makes it whole."""
        ...

    async def undrop(self, log: str, head: Head) -> None:
        """All of a dropped log is back: it stands at this head, under the epoch that it has here if that is higher."""
        ...

    async def keys(self, subjects: Sequence[str]) -> Mapping[str, bytes]: ...

    async def shred(self, subject: str) -> bool: ...

    async def checkpoint(self, name: str, log: str) -> int: ...

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None: ...

    async def checkpoints(self) -> Sequence[tuple[str, str, int]]:
        """All of them: follower, log, position."""
        ...

    async def newest_snapshot(self, name: str, log: str) -> int | None:
        """Its position."""
        ...

    async def parts(self, name: str, log: str, pos: int, after: str, limit: int) -> Sequence[Part]:
        """Of a snapshot, by name: those behind one of them, "" for the first."""
        ...

    async def save_snapshot(
        self, name: str, log: str, pos: int, parts: AsyncIterable[Sequence[Part]], key: bytes
    ) -> None:
        """Keep a snapshot and the key to its parts, which come some at a time; older ones of this name go, with their keys."""
        ...

    async def drop_snapshots(self, log: str) -> None:
        """All of a log, with their keys."""
        ...

    async def answer(self, owner: str, key: str) -> KeptAnswer | None: ...

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        """In place of what was there; of an owner's the newest so many stay."""
        ...

    async def forget_answers(self, before: int) -> None: ...

    async def close(self) -> None: ...


def batches(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
