"""Blocks that are written down and read back: packed until somebody looks, and then as they were."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import blocks as module
from engine.core.blocks import Blocks, Form, Size, parts_of
from engine.core.table import PAGE_ROWS, Index, Rows
from tests.engine.parts import Parts


class Some(msgspec.Struct, frozen=True):
    first: Blocks
    names: dict[str, int]
    second: Blocks


FORM = Form(Some)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 10)


def written(blocks: Blocks) -> Parts:
    return Parts(dict(FORM.write("some", Some(blocks, {"ann": 7}, Blocks()))))


def again(blocks: Blocks) -> tuple[Blocks, Parts]:
    """Blocks as they are read back, all packed."""
    parts = written(blocks)
    return FORM.read("some", parts).first, parts


@pytest.mark.usefixtures("small")
def test_blocks_are_written_down_in_parts_of_a_bounded_size() -> None:
    blocks = [b"12345", b"67890", b"a" * 25, b"b", b""]
    parts = [(size, msgspec.msgpack.decode(data, type=list[bytes])) for size, data in parts_of(blocks)]
    assert parts == [(Size(2, 10), blocks[:2]), (Size(1, 25), blocks[2:3]), (Size(2, 1), blocks[3:])]
    assert list(parts_of([])) == []


@pytest.mark.usefixtures("small")
def test_a_part_is_opened_when_somebody_looks_at_one_of_its_blocks_and_once() -> None:
    blocks, parts = again(Blocks.of([b"12345", b"67890", b"a" * 25, b"b", b""]))
    assert (len(blocks), blocks.size, blocks.here, parts.opened) == (5, 36, [None] * 5, [])
    assert blocks.open(4) == b""
    assert blocks.here == [None, None, None, b"b", b""]
    assert blocks.open(0) == b"12345"
    assert parts.opened == ["some.first/2", "some.first/0"]
    assert blocks.here == [b"12345", b"67890", None, b"b", b""]
    assert (len(blocks), blocks.size) == (5, 36)


@pytest.mark.usefixtures("small")
def test_who_reads_through_all_leaves_packed_what_was() -> None:
    blocks, parts = again(Blocks.of([b"12345", b"67890", b"a" * 25]))
    assert list(blocks) == [b"12345", b"67890", b"a" * 25]
    assert blocks.here == [None] * 3
    assert parts.opened == ["some.first/0", "some.first/1"]


@pytest.mark.usefixtures("small")
def test_who_reads_from_block_to_block_opens_each_part_once_and_none_for_good() -> None:
    blocks, parts = again(Blocks.of([b"12345", b"67890", b"a" * 25, b"b", b""]))
    assert [blocks.peek(at) for at in range(5)] == [b"12345", b"67890", b"a" * 25, b"b", b""]
    assert parts.opened == ["some.first/0", "some.first/1", "some.first/2"]
    assert blocks.here == [None] * 5
    blocks.open(4)
    blocks.here[4] = b"other"
    assert [blocks.peek(at) for at in range(5)] == [b"12345", b"67890", b"a" * 25, b"b", b"other"]


@pytest.mark.usefixtures("small")
def test_all_is_opened_by_and_by() -> None:
    blocks, parts = again(Blocks.of([b"12345", b"67890", b"a" * 25, b"b", b""]))
    blocks.open(2)
    assert [blocks.open_some() for _ in range(3)] == [True, True, False]
    assert blocks.here == [b"12345", b"67890", b"a" * 25, b"b", b""]
    assert parts.opened == ["some.first/1", "some.first/0", "some.first/2"]
    assert blocks.still().open_some() is False


@pytest.mark.usefixtures("small")
def test_what_is_taken_still_stays_as_it_was_and_opens_for_itself() -> None:
    blocks, _ = again(Blocks.of([b"12345", b"67890", b"a" * 25]))
    before = blocks.still()
    blocks.open(1)
    blocks.here[1] = b"other"
    blocks.here.append(b"more")
    later = blocks.still()
    assert (before.here, len(before)) == ([None] * 3, 3)
    assert list(before) == [b"12345", b"67890", b"a" * 25]
    assert list(later) == [b"12345", b"other", b"a" * 25, b"more"]
    assert list(again(later)[0]) == list(later)


def test_a_part_that_has_other_blocks_than_it_is_said_to_is_refused() -> None:
    parts = written(Blocks.of([b"12345"]))
    parts.parts["some.first/0"] = msgspec.msgpack.encode([b"12345", b"6"])
    with pytest.raises(ValueError, match="a part of 1 blocks has 2"):
        FORM.read("some", parts).first.open(0)


def test_a_value_is_read_back_with_what_it_has_beside_its_blocks() -> None:
    parts = written(Blocks())
    some = FORM.read("some", parts)
    assert (some.names, len(some.first), len(some.second)) == ({"ann": 7}, 0, 0)
    del parts.parts["some"]
    with pytest.raises(KeyError):
        FORM.read("some", parts)
    parts.parts["some"] = b"\x93\x01"
    with pytest.raises(msgspec.DecodeError):
        FORM.read("some", parts)


def test_a_part_that_is_missing_is_missed_at_once() -> None:
    parts = written(Blocks.of([b"12345"]))
    del parts.parts["some.first/0"]
    with pytest.raises(KeyError):
        FORM.read("some", parts)


# -- tables and rows of them --------------------------------------------------------------------------------------------

KEYS = st.integers(0, 400).map(lambda number: f"call/{number}")
ACTS = st.lists(st.tuples(st.sampled_from(["add", "add new", "put", "drop", "look", "still"]), KEYS), max_size=60)


@given(ACTS)
def test_a_table_does_the_same_whatever_of_it_is_packed(acts: list[tuple[str, str]]) -> None:
    here = Index()
    for number in range(300):
        here.add_number(f"call/{number}", number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BYTES", 500)
        packed = Index(blocks=again(here.still())[0])
        assert (len(packed), packed.buckets.count(None)) == (300, len(here.buckets))
        for act, key in acts:
            for one in (here, packed):
                match act:
                    case "add":
                        one.add_number(key, 1_000)
                    case "add new":
                        one.add_new([(key, bytes(4))])
                    case "put":
                        one.put_number(key, 2_000)
                    case "drop":
                        one.drop(key)
                    case _:
                        pass
            if act == "still":
                packed = Index(blocks=again(packed.still())[0])
            assert packed.numbers(key) == here.numbers(key)
            assert (packed.number(key), key in packed) == (here.number(key), key in here)
        assert len(packed) == len(here)
        assert packed == here
        assert list(packed.still()) == list(here.still())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10 * PAGE_ROWS + 5)), max_size=40), st.booleans())
def test_rows_are_the_same_whatever_of_them_is_packed(acts: list[tuple[bool, int]], is_full: bool) -> None:
    here = Rows()
    for number in range(10 * PAGE_ROWS + (0 if is_full else 5)):
        here.append(str(number).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BYTES", 300)
        packed = Rows(again(here.still())[0])
        for is_changed, place in acts:
            if place >= len(here):
                assert here.append(b"new") == packed.append(b"new")
            elif is_changed:
                here[place] = packed[place] = b"changed"
            assert packed[min(place, len(here) - 1)] == here[min(place, len(here) - 1)]
        twice = Rows(again(packed.still())[0])
        for one in (packed, twice):
            assert len(one) == len(here)
            assert list(one.read(30, 70)) == list(here.read(30, 70))
            assert list(one.read()) == list(here.read())
            assert list(one.still()) == list(here.still())
