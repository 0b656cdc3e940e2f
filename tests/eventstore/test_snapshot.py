"""A snapshot's parts: packed where that is worth it, and known to be whole before anybody opens them."""

import os

import pytest

from engine.ports import DamagedSnapshot
from eventstore.snapshot import Parts, new_key, seal_parts

RANDOM, ALIKE = os.urandom(100_000), b"a page of rows " * 10_000


def test_a_part_is_packed_where_it_gets_smaller_and_left_as_it_is_where_not() -> None:
    key = new_key()
    sealed = dict(seal_parts({"random": RANDOM, "alike": ALIKE, "empty": b""}.items(), key))
    assert len(sealed["alike"]) < len(ALIKE) / 100
    assert len(sealed["random"]) < len(RANDOM) + 50
    assert dict(Parts(sealed, key)) == {"random": RANDOM, "alike": ALIKE, "empty": b""}


@pytest.mark.parametrize("name", ["random", "alike"])
def test_a_part_that_is_not_as_it_was_written_is_told_before_it_is_opened(name: str) -> None:
    key = new_key()
    sealed = dict(seal_parts({"random": RANDOM, "alike": ALIKE}.items(), key))
    whole = Parts(sealed, key).opener(name)
    altered = sealed[name][:-1] + bytes([sealed[name][-1] ^ 1])
    for damaged in ({name: altered}, {name: sealed[name][:5]}, {name: b""}, {"other": sealed[name]}):
        with pytest.raises((DamagedSnapshot, KeyError)):
            Parts(damaged, key).opener(name)
    other = "alike" if name == "random" else "random"
    with pytest.raises(DamagedSnapshot):
        Parts({other: sealed[name]}, key).opener(other)
    assert whole() == {"random": RANDOM, "alike": ALIKE}[name]
