"""Looking at logs: a readable dump, a check that nothing is missing or altered."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.core.personal import Person
from engine.ports import StoreUnavailable
from eventstore.codec import Codec
from eventstore.log import chained, learn_keys, read
from eventstore.store import Segment, SegmentStore

PAGE_SEGMENTS = 64
SECRET_FIELDS = ("secret", "sealed_secrets", "token")
"""Whoever reads a log needn't be able to act with what it holds."""


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
    """A line an event: position, time, stream and version, tag, fields. Secrets are never shown."""
    async for batch in read(store, codec, log, after):
        for one in batch:
            if stream is not None and one.stream != stream:
                continue
            fields = msgspec.to_builtins(one.event, enc_hook=_shown if personal else _masked)
            fields |= {name: "<secret>" for name in SECRET_FIELDS if name in fields}
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
            await _verify_events(store, codec, segment, versions, report)
    head = await store.head(log)
    if head is not None and (head.seq, head.pos) != (seq, pos):
        report.faults.append(f"the head says segment {head.seq} at {head.pos}, the last one is {seq} at {pos}")
    elif head is not None and head.hash != before:
        report.faults.append("the head's checksum is not the last segment's")
    report.streams = len(versions)
    return report


async def _verify_events(
    store: SegmentStore, codec: Codec, segment: Segment, versions: dict[str, int], report: Report
) -> None:
    try:
        lines = codec.unpack(segment.codec, segment.data)
        await learn_keys(store, codec, report.log, lines)
        events = codec.decode(lines, report.log, segment.pos)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever damage does to it, the report goes on
        report.faults.append(f"segment at {segment.pos} can't be read: {error}")
        return
    if len(events) != segment.n:
        report.faults.append(f"segment at {segment.pos} holds {len(events)} events, not {segment.n}")
    for one in events:
        expected = versions.get(one.stream, 0) + 1
        if one.version != expected:
            report.faults.append(f"position {one.pos}: {one.stream} version {one.version}, not {expected}")
        versions[one.stream] = one.version
    report.events += len(events)
