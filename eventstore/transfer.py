"""Moving an installation to another store, say from SQLite to PostgreSQL: segments are copied as they are."""

import secrets
from collections.abc import AsyncIterator

import msgspec

from engine.ports import LogArchived
from eventstore.codec import Codec
from eventstore.store import SegmentStore

PAGE_SEGMENTS = 64
LEASE_TTL_MS = 60_000


class TransferRefused(Exception):
    """A log is owned by a running service, or the target holds something already. What was copied is not to be used."""


async def copy_store(
    source: SegmentStore, target: SegmentStore, codec: Codec, archive: SegmentStore | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Copy all logs with their keys, and how far each follower has come; yields each log's name and number of segments.

    Takes every log over first, so that nobody writes meanwhile. Snapshots stay behind: they are made again from the
    logs. So do answers kept for a day: who asks again under a key is decided anew. Archived logs are copied from
    `archive`; the service that finds them in its store lets them go again. Raises TransferRefused.
    """
    owner = f"transfer {secrets.token_hex(8)}"
    epochs: dict[str, int] = {}
    try:
        for name in await source.logs():
            head = await source.acquire(name, owner, LEASE_TTL_MS)
            if head is None:
                raise TransferRefused(f"log {name!r} is in use: stop the service first")
            epochs[name] = head.epoch
        for name in epochs:
            yield name, await copy_log(source, target, codec, name)
        for name in await source.dropped():
            if archive is None:
                raise TransferRefused(f"log {name!r} is archived, and no archive's folder is set")
            try:
                yield name, await copy_log(archive, target, codec, name)  # or the keys of those in it would be lost
            except LogArchived as error:
                raise TransferRefused(str(error)) from None
        for follower, name, pos in await source.checkpoints():
            await target.save_checkpoint(follower, name, pos)
        for name, epoch in epochs.items():  # an expired lease is no harm as long as nobody took it
            if not await source.renew(name, epoch, LEASE_TTL_MS):
                raise TransferRefused(f"somebody took log {name!r} over while it was copied: copy again")
    finally:
        for name, epoch in epochs.items():
            await source.release(name, epoch)


async def copy_log(source: SegmentStore, target: SegmentStore, codec: Codec, log: str) -> int:
    """Copy a log's segments and the keys that they need; returns how many segments. Raises TransferRefused."""
    head = await target.acquire(log, "transfer", LEASE_TTL_MS)
    if head is None or head.seq:
        if head is not None:
            await target.release(log, head.epoch)
        raise TransferRefused(f"log {log!r} is not empty at the target")
    count = pos = 0
    while page := await source.segments(log, pos, PAGE_SEGMENTS):
        for segment in page:
            keys = await source.keys(codec.subjects(codec.unpack(segment.codec, segment.data)))
            moved = msgspec.structs.replace(segment, epoch=head.epoch)
            if not await target.append(log, moved, keys):
                raise TransferRefused(f"somebody else took log {log!r} over at the target")
            pos, count = segment.pos + segment.n - 1, count + 1
    await target.release(log, head.epoch)
    return count
