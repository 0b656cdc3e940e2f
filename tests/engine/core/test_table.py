"""Tables and rows against a model of dictionaries and lists."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.table import DIGEST_BYTES, FILL, PAGE_ROWS, Index, Rows, Table, digest

KEYS = st.integers(0, 40).map(lambda number: f"campaign/{number}")
ACTS = st.lists(
    st.tuples(st.sampled_from(["add", "add new", "put", "drop", "drop one"]), KEYS, st.integers(0, 9)), max_size=300
)


@given(ACTS)
def test_a_table_has_what_was_put_there_in_order(acts: list[tuple[str, str, int]]) -> None:
    index, model = Index(), defaultdict[str, list[int]](list)
    for act, key, number in acts:
        held = model[key]
        match act:
            case "add":
                index.add_number(key, number)
                held.append(number)
            case "add new":
                index.add_new([(key, number.to_bytes(4, "little")), (key, b"none")])
                held += [] if held else [number]
            case "put":
                index.put_number(key, number)
                held[:1] = [number]
            case "drop":
                assert index.drop(key) is bool(held)
                del held[:1]
            case _:
                assert index.drop_number(key, number) is (number in held)
                if number in held:
                    held.remove(number)
        assert index.numbers(key) == held
        assert index.number(key) == (held[0] if held else None)
        assert index.known([key, "nobody", key]) == ([key] * 2 if held else [])
    assert index.known(model) == [key for key in model if model[key]]
    assert {key: index.numbers(key) for key in model} == model
    assert len(index) == sum(map(len, model.values()))
    again = Index(blocks=index.still())
    assert again == index
    assert {key: again.numbers(key) for key in model} == model
    adopting = Index()
    adopting.add_number("campaign/1", 77)
    adopting.adopt(index)
    mine = {key: held[:1] for key, held in model.items()} | {"campaign/1": [77]}
    assert {key: adopting.numbers(key) for key in mine} == mine


def test_a_large_table_grows_bucket_by_bucket_and_is_the_same_from_its_buckets() -> None:
    index = Index()
    for number in range(5_000):
        index.add_number(f"k{number}", number)
        assert len(index.buckets) == max(1, -(-(number + 1) // FILL))
    again = Index(blocks=index.still())
    for number in range(5_000):
        assert index.numbers(f"k{number}") == again.numbers(f"k{number}") == [number]
    assert again.number("k5000") is None
    assert max(map(len, index.still())) < 8 * FILL * (DIGEST_BYTES + 4)


def test_what_two_entries_have_in_common_with_a_key_is_no_entry() -> None:
    name, _ = digest("somebody")
    table = Table(2)
    table.buckets[0] = bytes(7) + name + bytes(7)  # from the eighth byte on, across the border of two entries
    table.count = 2
    assert table.get("somebody") is None
    assert table.all("somebody") == []
    table.put("somebody", b"ab")
    assert table.get("somebody") == b"ab"
    assert len(table) == 3


def test_a_table_takes_from_another_what_it_has_none_of() -> None:
    table, other = Table(1), Table(1)
    table.put("a", b"1")
    other.put("a", b"2")
    other.put("b", b"3")
    table.adopt(other)
    assert (table.get("a"), table.get("b"), len(table), "b" in table, "c" in table) == (b"1", b"3", 2, True, False)
    assert [table.has(*digest(key)) for key in "abc"] == [True, True, False]


def test_a_key_may_be_any_string() -> None:
    index = Index(8)
    for key in ("", "ünïcode", "\ud800", "a" * 10_000):
        index.put_number(key, 2**40)
        assert index.number(key) == 2**40


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200), st.binary(max_size=5)), max_size=150))
def test_rows_are_a_list(acts: list[tuple[bool, int, bytes]]) -> None:
    rows, model = Rows(), list[bytes]()
    for number in range(60):
        rows.append(bytes([number]))
        model.append(bytes([number]))
    for is_new, place, row in acts:
        if is_new:
            assert rows.append(row) == len(model)
            model.append(row)
        else:
            rows[place % len(model)] = model[place % len(model)] = row
    assert [rows[number] for number in range(len(rows))] == model
    assert list(rows.read()) == list(enumerate(model))
    again = Rows(rows.still())
    assert list(again.read()) == list(enumerate(model))
    again.append(b"more")
    rows.append(b"more")
    assert list(again.still()) == list(rows.still())


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 5), (3, 40), (31, 33), (64, 70), (90, 200)])
def test_rows_are_read_from_one_to_before_another(start: int, end: int) -> None:
    rows = Rows()
    for number in range(100):
        rows.append(str(number).encode())
    assert list(rows.read(start, end)) == [(one, str(one).encode()) for one in range(start, min(end, 100))]


def test_pages_without_a_mark_are_left_out() -> None:
    rows = Rows()
    for number in range(3 * PAGE_ROWS):
        rows.append(b"marked" if number == PAGE_ROWS + 1 else b"row")
    assert [number for number, _ in rows.read(mark=b"marked")] == list(range(PAGE_ROWS, 2 * PAGE_ROWS))
