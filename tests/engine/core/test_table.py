"""A table against a plain model of it: a dictionary."""

from random import Random
from zlib import crc32

import pytest

from engine.core.table import PAGE_ROWS, SLOTS_MAX, Table, kept, read_back

WALKS = 2


def _check(table: Table, model: dict[str, bytes]) -> None:
    assert list(table.items()) == list(model.items())
    assert len(table) == len(model)
    for place, (name, row) in enumerate(model.items()):
        assert (table.place(name), table.get(name), table.name(place), table.at(place)) == (place, row, name, row)
    assert list(table.names(len(model) // 2)) == list(model)[len(model) // 2 :]


@pytest.mark.parametrize("seed", range(WALKS))
def test_rows_are_found_by_name_in_order_of_arrival_however_they_change(seed: int) -> None:
    """given names put and put again at random, and copies taken on the way,
    then the table is the model, and each copy is what the table was, from memory and from its parts
    """
    chance, table, model = Random(seed), Table(), dict[str, bytes]()
    places: dict[str, int] = {}
    copies: list[tuple[Table, dict[str, bytes]]] = []
    for step in range(5 * PAGE_ROWS):
        name = f"{chance.choice('añ 日')}{chance.randrange(4 * PAGE_ROWS)}"
        row = chance.randbytes(chance.choice((0, 3, 90)))
        assert table.put(name, row) == places.setdefault(name, len(places))
        model[name] = row
        if step % PAGE_ROWS == PAGE_ROWS // 2:
            copies.append((table.still(), dict(model)))
    _check(table, model)
    assert table.get("nobody") is None
    assert table.place("nobody") == -1
    assert "nobody" not in table
    for copy, was in copies:
        parts = dict(kept("t", copy))
        _check(copy, was)
        again = read_back("t", parts)
        assert dict(kept("t", again)) == parts
        _check(again, was)
        for name in [*was, "new to it"]:  # what was read back works on
            again.put(name, b"other")
        _check(again, dict.fromkeys([*was, "new to it"], b"other"))
        assert again.held_bytes > sum(map(len, was))


def test_what_is_read_back_is_opened_when_it_is_asked_for() -> None:
    table = Table()
    for place in range(3 * PAGE_ROWS):
        table.put(str(place), b"row")
    opened: list[str] = []

    class Parts(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            opened.append(name)
            return super().__getitem__(name)

    again = read_back("t", Parts(kept("t", table)))
    assert again.get(str(PAGE_ROWS + 1)) == b"row"
    assert opened == ["t/index", "t/1"]
    with pytest.raises(KeyError):
        read_back("t", {name: part for name, part in kept("t", table) if name != "t/2"})


def test_names_whose_checksums_are_equal_are_told_apart() -> None:
    """CRC-32 is no secret: whoever wants to finds names that have it in common."""
    forged, table = _of_one_checksum(), Table()
    assert len(forged) > SLOTS_MAX * 3 // 5  # more than a part of the index takes before it is split
    assert len({crc32(name.encode()) for name in forged}) == 1
    for place, name in enumerate(forged):
        assert table.put(name, str(place).encode()) == place
    assert [table.get(name) for name in forged[::100]] == [str(place).encode() for place in range(0, len(forged), 100)]
    assert table.get("nobody") is None


def _of_one_checksum(letters: int = 43) -> list[str]:
    """CRC-32 is linear: letters are changed together so that what each does to the checksum cancels out."""

    def name(changed: int) -> str:
        return "".join("c" if changed >> place & 1 else "a" for place in range(letters))

    plain = crc32(name(0).encode())
    by_highest: dict[int, tuple[int, int]] = {}
    nothing: list[int] = []
    for place in range(letters):
        change, changed = crc32(name(1 << place).encode()) ^ plain, 1 << place
        while change and change.bit_length() in by_highest:
            other, others = by_highest[change.bit_length()]
            change, changed = change ^ other, changed ^ others
        if change:
            by_highest[change.bit_length()] = change, changed
        else:
            nothing.append(changed)
    sums = [0]
    for one in nothing:
        sums += [one ^ other for other in sums]
    return [name(one) for one in sums]
