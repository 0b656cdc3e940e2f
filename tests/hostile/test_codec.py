"""Damaged storage: what can't be read is an error by name, and a packed segment never reads as other events."""

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from engine.ports import Recorded, Unreadable
from engine.service import LogEvent
from eventstore import BrokenSeal, Codec, DamagedSegment
from eventstore.packing import PLAIN, SMALL_BYTES, ZSTD, ZSTD_WITH_DICTIONARY
from tests.eventstore.events import Counted, TestEvent, met
from tests.hostile.effort import effort

GOLDEN = (Path(__file__).parents[1] / "golden" / "events.ndjson").read_bytes()
CODEC = Codec(TestEvent)
EVENTS = [
    Recorded(1, "s", 1, Counted(n=7)),
    Recorded(2, "s", 2, met("c-1", "Zoë")),
    Recorded(3, "t", 1, Counted(n=-1, at=2**53)),
]
LINES = CODEC.encode(EVENTS, "log")[0]
SMALL = CODEC.pack(LINES)
LARGE = ZSTD, zstandard.ZstdCompressor(level=1, write_checksum=True).compress(LINES)
"""As a group beyond `SMALL_BYTES` is packed, and any was before there was a dictionary."""
PACKED = [SMALL, LARGE]


def everything_read(codec: Codec, packing: int, data: bytes) -> list[Recorded] | None:
    """All that a boot reads of a segment; None where it was refused by name. Any other error is a bug."""
    try:
        lines = codec.unpack(packing, data)
        codec.versions(lines)
        codec.subjects(lines)
        return codec.decode(lines, "log", 1)
    except Unreadable:
        return None


@pytest.mark.parametrize(("packing", "packed"), PACKED)
def test_a_packed_segment_with_one_altered_bit_anywhere_never_reads_as_other_events(
    packing: int, packed: bytes
) -> None:
    for at in range(len(packed)):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[at] ^= 1 << bit

            assert everything_read(CODEC, packing, bytes(damaged)) in (None, EVENTS), (at, bit)


@given(which=st.sampled_from(PACKED), share=st.floats(0, 1, exclude_max=True))
@effort(100)
def test_a_packed_segment_that_is_cut_short_is_refused(which: tuple[int, bytes], share: float) -> None:
    packing, packed = which

    assert everything_read(CODEC, packing, packed[: int(share * len(packed))]) is None


def test_a_segment_under_the_other_packings_number_is_refused_or_reads_as_the_same() -> None:
    assert everything_read(CODEC, ZSTD, SMALL[1]) is None
    assert everything_read(CODEC, ZSTD_WITH_DICTIONARY, LARGE[1]) in (None, EVENTS)


def test_a_small_group_is_packed_with_the_dictionary_and_a_large_one_without() -> None:
    line = LINES.splitlines(keepends=True)[0]
    fits = SMALL_BYTES // len(line)

    assert CODEC.pack(line * fits)[0] == SMALL[0] == ZSTD_WITH_DICTIONARY
    assert CODEC.pack(line * (fits + 1))[0] == ZSTD


@given(
    source=st.sampled_from(GOLDEN.splitlines()),
    start=st.integers(0, 400),
    length=st.integers(0, 40),
    noise=st.binary(max_size=12),
)
@effort(500)
def test_damaged_lines_of_every_event_are_read_or_refused_by_name(
    source: bytes, start: int, length: int, noise: bytes
) -> None:
    start %= len(source)

    everything_read(Codec(LogEvent), PLAIN, source[:start] + noise + source[start + length :])


@given(st.integers(0, 255), st.binary(max_size=200))
@effort(100)
def test_arbitrary_bytes_under_any_packing_are_read_or_refused_by_name(packing: int, data: bytes) -> None:
    everything_read(CODEC, packing, data)


@given(n=st.integers(-(2**63), 2**64 - 1), stream=st.text(st.characters(exclude_categories=["Cs"])))
@effort(100)
def test_what_is_packed_comes_back_as_it_was(n: int, stream: str) -> None:
    events = [Recorded(1, stream, 1, Counted(n=n))]

    assert everything_read(CODEC, *CODEC.pack(CODEC.encode(events, "log")[0])) == events


def test_damage_is_told_with_log_and_position() -> None:
    cut_line = LINES.splitlines()[0] + b"\n" + b'["s",2,{"type":"test.coun'

    with pytest.raises(DamagedSegment, match=r"log 'calls', position 42: "):
        CODEC.decode(cut_line, "calls", 41)


def test_a_packing_of_no_known_kind_is_refused_and_not_taken_for_plain_lines() -> None:
    with pytest.raises(DamagedSegment, match="codec 9"):
        CODEC.unpack(9, LINES)


@pytest.mark.parametrize("box", [b'{"sealed_for":"c-1"}', b'{"box":"AA=="}', b"7", b'{"sealed_for":"c-1","box":7}'])
def test_sealed_data_without_subject_or_box_is_a_broken_seal_and_not_an_erased_person(box: bytes) -> None:
    with pytest.raises(BrokenSeal):
        CODEC.decode(b'["s",1,{"type":"test.met.v1","person":' + box + b"}]", "log", 1)


def test_segments_packed_before_the_checksum_still_read() -> None:
    packed = zstandard.ZstdCompressor(level=1).compress(LINES)

    read = CODEC.decode(CODEC.unpack(ZSTD, packed), "log", 1)

    assert read == EVENTS
