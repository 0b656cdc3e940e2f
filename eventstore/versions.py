"""The versions of a log's streams, of which there are millions; and those kept as they were at a position, so that the next
owner reads what came behind, and no more.

A snapshot like others, in parts (`engine.core.blocks`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

import msgspec
import structlog

from engine.core.blocks import Blocks, Form
from engine.core.table import Index
from engine.ports import DamagedSnapshot
from eventstore import snapshot
from eventstore.store import SegmentStore

VERSIONS = "versions.v3"
"""The snapshot's name, and that of the part that tells what the others hold."""
MOVED_STREAMS = 4_096

log = structlog.get_logger(__name__)


class Versions:
    """The version of each stream. Those that moved last are looked up again and again, so they stand by name."""

    __slots__ = ("_moved", "_table")

    def __init__(self, still: "Still | None" = None) -> None:
        """`still`: as others were; they are these from now on."""
        self._table = Index(blocks=still.table if still is not None else None)
        self._moved = OrderedDict(still.moved if still is not None else {})
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
        return Still(self._table.still(), dict(self._moved))


class Still(msgspec.Struct, frozen=True):
    table: Blocks
    moved: dict[str, int]


_form = Form(Still)


async def kept(store: SegmentStore, name: str, end: int) -> tuple[int, Versions]:
    """With the position that they are of. Such as can't be used, or are of more than the log's `end`, cost time, no more."""
    try:
        saved = await snapshot.saved(store, VERSIONS, name)
        if saved is None:
            return 0, Versions()
        pos, parts = saved
        if pos > end:
            raise DamagedSnapshot(f"they are of position {pos}, and the log ends at {end}")
        still = await asyncio.to_thread(_form.read, VERSIONS, parts)
    except (DamagedSnapshot, KeyError, msgspec.DecodeError) as error:
        log.warning("versions that were kept are of no use", log=name, error=str(error))
        return 0, Versions()
    return pos, Versions(still)


async def keep(store: SegmentStore, name: str, pos: int, still: Still) -> None:
    await snapshot.save(store, VERSIONS, name, pos, _form.write(VERSIONS, still))
