"""The versions of a log's streams as they were at a position, kept so that the next owner reads what came behind, and no more.

A snapshot like others, in pages: to pack one holds up all threads for a moment.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice

import msgspec
import structlog

from engine.ports import DamagedSnapshot
from eventstore import snapshot
from eventstore.store import SegmentStore

VERSIONS = "versions.v1"
"""The snapshot's name, and of the part that tells how many streams there are."""
PAGE_STREAMS = 20_000

log = structlog.get_logger(__name__)
_page = msgspec.msgpack.Decoder(dict[str, int])


async def kept(store: SegmentStore, name: str, end: int) -> tuple[int, dict[str, int]]:
    """With the position that they are of. Such as can't be used, or are of more than the log's `end`, cost time, no more."""
    try:
        saved = await snapshot.saved(store, VERSIONS, name)
        if saved is None:
            return 0, {}
        pos, parts = saved
        if pos > end:
            raise DamagedSnapshot(f"they are of position {pos}, and the log ends at {end}")
        return pos, await asyncio.to_thread(_unpacked, parts)
    except (DamagedSnapshot, KeyError, msgspec.DecodeError) as error:
        log.warning("versions that were kept are of no use", log=name, error=str(error))
        return 0, {}


async def keep(store: SegmentStore, name: str, pos: int, versions: Mapping[str, int]) -> None:
    parts = {VERSIONS: msgspec.msgpack.encode(len(versions))}
    rest = iter(versions.items())
    while page := dict(islice(rest, PAGE_STREAMS)):
        parts[str(len(parts))] = await asyncio.to_thread(msgspec.msgpack.encode, page)
    await snapshot.save(store, VERSIONS, name, pos, parts)


def _unpacked(parts: Mapping[str, bytes]) -> dict[str, int]:
    versions: dict[str, int] = {}
    for name in parts:
        if name != VERSIONS:
            versions.update(_page.decode(parts[name]))
    if len(versions) != msgspec.msgpack.decode(parts[VERSIONS]):
        raise DamagedSnapshot("a part is missing")
    return versions
