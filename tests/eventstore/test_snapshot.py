"""A snapshot's parts: packed where that is worth it, and known to be whole before anybody opens them."""

import os
from collections.abc import Mapping

import pytest

from engine.ports import DamagedSnapshot
from eventstore.snapshot import Parts, new_key, seal_parts

RANDOM, ALIKE = os.urandom(100_000), b"a page of rows " * 10_000


def test_a_part_is_packed_where_it_gets_smaller_and_left_as_it_is_where_not() -> None:
    key = new_key()
    sealed = dict(seal_parts({"random": RANDOM, "alike": ALIKE, "empty": b""}.items(), key))
    assert len(sealed["alike"]) < len(ALIKE) / 100
    assert len(sealed["random"]) < len(RANDOM) + 50
    assert dict(opened(sealed, key)) == {"random": RANDOM, "alike": ALIKE, "empty": b""}


def opened(sealed: Mapping[str, bytes], key: bytes) -> Parts:
    parts = Parts(key)
    parts.take(sealed.items())
    return parts


@pytest.mark.parametrize("name", ["random", "alike"])
def test_a_part_that_is_not_as_it_was_written_is_told_before_it_is_opened(name: str) -> None:
    key = new_key()
    sealed = dict(seal_parts({"random": RANDOM, "alike": ALIKE}.items(), key))
    whole = opened(sealed, key).opener(name)
    altered = sealed[name][:-1] + bytes([sealed[name][-1] ^ 1])
    for damaged in ({name: altered}, {name: sealed[name][:5]}, {name: b""}, {"other": sealed[name]}):
        with pytest.raises(DamagedSnapshot):
            opened(damaged, key)
    assert whole() == {"random": RANDOM, "alike": ALIKE}[name]
