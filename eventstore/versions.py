"""The versions of a log's streams, of which there are millions; and those kept as they were at a position, so that the next
owner reads what came behind, and no more.

A snapshot like others, in parts: to pack one holds up all threads for a moment.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import msgspec
import structlog

from engine.core.table import Index, blocks_of, parts_of
from engine.ports import DamagedSnapshot
from eventstore import snapshot
from eventstore.store import SegmentStore

VERSIONS = "versions.v2"
"""The snapshot's name, and of the part that tells what the others hold."""
MOVED = "moved"
MOVED_STREAMS = 4_096

log = structlog.get_logger(__name__)


class Versions:
    """The version of each stream. Those that moved last are looked up again and again, so they stand by name."""

    __slots__ = ("_moved", "_table")

    def __init__(self, table: Index | None = None, moved: Mapping[str, int] | None = None) -> None:
        self._table = Index() if table is None else table
        self._moved = OrderedDict(moved or {})
        """The last to move is the last; of these the table may have older versions."""

    def get(self, stream: str, default: int) -> int:
        version = self._moved.get(stream)
        if version is None:
            version = self._table.number(stream)
        return default if version is None else version

    def update(self, versions: Mapping[str, int]) -> None:
        moved = self._moved
        for stream, version in versions.items():
            moved[stream] = version
            moved.move_to_end(stream)
            if len(moved) > MOVED_STREAMS:
                self._table.put_number(*moved.popitem(last=False))

    def still(self) -> "Still":
        """As they are now."""
        return Still(self._table.buckets.copy(), dict(self._moved), len(self._table))


class Still(msgspec.Struct, frozen=True):
    """`count` of them are in the buckets."""

    buckets: list[bytes]
    moved: dict[str, int]
    count: int

    def parts(self) -> Iterator[tuple[str, bytes]]:
        parts = parts_of(self.buckets)
        yield VERSIONS, msgspec.msgpack.encode(_Head(len(parts), self.count, len(self.moved)))
        yield MOVED, msgspec.msgpack.encode(self.moved)
        yield from ((str(number), part) for number, part in enumerate(parts))


class _Head(msgspec.Struct, frozen=True, array_like=True):
    parts: int
    count: int
    moved: int


async def kept(store: SegmentStore, name: str, end: int) -> tuple[int, Versions]:
    """With the position that they are of. Such as can't be used, or are of more than the log's `end`, cost time, no more."""
    try:
        saved = await snapshot.saved(store, VERSIONS, name)
        if saved is None:
            return 0, Versions()
        pos, parts = saved
        if pos > end:
            raise DamagedSnapshot(f"they are of position {pos}, and the log ends at {end}")
        return pos, await asyncio.to_thread(_unpacked, parts)
    except (DamagedSnapshot, KeyError, msgspec.DecodeError) as error:
        log.warning("versions that were kept are of no use", log=name, error=str(error))
        return 0, Versions()


async def keep(store: SegmentStore, name: str, pos: int, versions: Still) -> None:
    parts = await asyncio.to_thread(lambda: dict(versions.parts()))
    await snapshot.save(store, VERSIONS, name, pos, parts)


def _unpacked(parts: Mapping[str, bytes]) -> Versions:
    head = msgspec.msgpack.decode(parts[VERSIONS], type=_Head)
    moved = msgspec.msgpack.decode(parts[MOVED], type=dict[str, int])
    buckets = [one for number in range(head.parts) for one in blocks_of(parts[str(number)])]
    table = Index(buckets=buckets)
    if (len(table), len(moved)) != (head.count, head.moved):
        raise DamagedSnapshot("they aren't as many as they were")
    return Versions(table, moved)
