"""Looking at logs: a readable dump, a check that nothing is missing or altered, a move to another store."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.core.personal import Person
from eventstore.codec import Codec
from eventstore.log import chained, read
from eventstore.store import SegmentStore

PAGE_SEGMENTS = 64
COPY_TTL_MS = 60_000


class Report(msgspec.Struct):
    log: str
    segments: int = 0
    events: int = 0
    streams: int = 0
    faults: list[str] = []

    def __str__(self) -> str:
        size = f"{self.log}: {self.events} events in {self.segments} segments, {self.streams} streams"
        return size + (", whole" if not self.faults else "".join(f"\n  FAULT {one}" for one in self.faults))


async def dump(
    store: SegmentStore, codec: Codec, log: str, after: int = 0, stream: str | None = None, personal: bool = False
) -> AsyncIterator[str]:
    """A line an event: position, time, stream and version, tag, fields."""
    async for batch in read(store, codec, log, after):
        for one in batch:
            if stream is not None and one.stream != stream:
                continue
            fields = msgspec.to_builtins(one.event, enc_hook=_shown if personal else _masked)
            tag, at = fields.pop("type"), fields.pop("at", 0)
            time = datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds")
            said = " ".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in fields.items())
            yield f"{one.pos:>8} {time} {one.stream}@{one.version} {tag} {said}"


def _masked(value: Any) -> Any:
    return f"<person {value.subject}>" if isinstance(value, Person) else str(value)


def _shown(value: Any) -> Any:
    if isinstance(value, Person):
        return {"subject": value.subject, "details": msgspec.to_builtins(value.details)}
    return str(value)


async def verify(store: SegmentStore, codec: Codec, log: str) -> Report:
    """Gapless in segments and positions, contiguous in every stream, epochs never falling, the chain of hashes whole."""
    report = Report(log)
    seq = pos = epoch = 0
    before = b""
    versions: dict[str, int] = {}
    while page := await store.segments(log, pos, PAGE_SEGMENTS):
        for segment in page:
            if segment.seq != seq + 1:
                report.faults.append(f"segment {segment.seq} follows {seq}")
            if segment.pos != pos + 1:
                report.faults.append(f"segment {segment.seq} begins at {segment.pos}, not {pos + 1}")
            if segment.epoch < epoch:
                report.faults.append(f"segment {segment.seq} has epoch {segment.epoch} after {epoch}")
            if segment.hash != chained(before, segment.data):
                report.faults.append(f"segment {segment.seq}: its checksum doesn't fit its data and those before it")
            seq, pos, epoch, before = segment.seq, segment.pos + segment.n - 1, segment.epoch, segment.hash
            report.segments += 1
            _verify_events(codec, log, segment.codec, segment.data, segment.pos, segment.n, versions, report)
    head = await store.head(log)
    if head is not None and (head.seq, head.pos) != (seq, pos):
        report.faults.append(f"the head says segment {head.seq} at {head.pos}, the last one is {seq} at {pos}")
    report.streams = len(versions)
    return report


def _verify_events(
    codec: Codec, log: str, packing: int, data: bytes, pos: int, n: int, versions: dict[str, int], report: Report
) -> None:
    try:
        events = codec.decode(codec.unpack(packing, data), log, pos)
    except Exception as error:  # noqa: BLE001 - whatever damage does to it, the report goes on
        report.faults.append(f"segment at {pos} can't be read: {error}")
        return
    if len(events) != n:
        report.faults.append(f"segment at {pos} holds {len(events)} events, not {n}")
    for one in events:
        expected = versions.get(one.stream, 0) + 1
        if one.version != expected:
            report.faults.append(f"position {one.pos}: {one.stream} version {one.version}, not {expected}")
        versions[one.stream] = one.version
    report.events += len(events)


async def copy_log(source: SegmentStore, target: SegmentStore, codec: Codec, log: str) -> int:
    """Copy a log's segments and the keys that they need, as they are; returns how many segments."""
    head = await target.acquire(log, "copy", COPY_TTL_MS)
    if head is None or head.seq:
        raise ValueError(f"log {log!r} is not empty at the target")
    count = pos = 0
    while page := await source.segments(log, pos, PAGE_SEGMENTS):
        for segment in page:
            keys = await source.keys(codec.subjects(codec.unpack(segment.codec, segment.data)))
            moved = msgspec.structs.replace(segment, epoch=head.epoch)
            if not await target.append(log, moved, keys):
                raise ValueError(f"somebody else took log {log!r} at the target")
            pos, count = segment.pos + segment.n - 1, count + 1
    await target.release(log, head.epoch)
    return count
