"""Packing: what was written once is read for ever, and small groups take few bytes."""

from hashlib import sha256
from pathlib import Path

import pytest

from engine.core.book import stream_of
from engine.ports import Recorded
from eventstore import Codec
from eventstore.packing import DICTIONARY, ZSTD, ZSTD_WITH_DICTIONARY, Packing
from simulations.bench.size import work

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("codec", [ZSTD, ZSTD_WITH_DICTIONARY])
def test_what_was_packed_once_is_read_for_ever(codec: int) -> None:
    lines = Packing().unpack(codec, (GOLDEN / f"segment-{codec}.zst").read_bytes()).splitlines()

    assert len(lines) == 82
    assert set(lines) <= set((GOLDEN / "events.ndjson").read_bytes().splitlines())


def test_the_dictionary_is_the_one_that_segments_were_packed_with() -> None:
    digest = sha256(DICTIONARY.read_bytes()).hexdigest()

    assert digest == "a2db6ad2f83a75616fb8b0f80b07a19006c5723150b4d210fa282811135a581c"


@pytest.mark.parametrize(("size", "most"), [(10, 32), (100, 26)])
def test_a_small_group_of_what_agents_at_work_write_down_takes_few_bytes_an_event(size: int, most: int) -> None:
    codec, events = Codec(object), work(2_000)
    recorded = [Recorded(pos, stream_of(event), pos, event) for pos, event in enumerate(events, 1)]
    groups = [codec.encode(recorded[first : first + size], "log")[0] for first in range(0, len(recorded), size)]

    assert sum(len(codec.pack(lines)[1]) for lines in groups) / len(events) < most
