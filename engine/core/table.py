"""Rows by name, in order of arrival, in few bytes each: what a campaign has a million of.

A row has a place, from 0 on, for ever. Names and rows stand end to end in pages; an index of places, by a checksum of the
name, says where. An index is split a little at a time as it grows, so no addition takes long. A table can be read back
from its pages without looking into one: each is opened when somebody asks for a row in it. One thread writes, others may
read meanwhile.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain, islice, pairwise
from operator import sub
from typing import NamedTuple
from zlib import crc32

import msgspec

PAGE_ROWS = 1_024
"""1 << ROW_BITS."""
CHANGED_ROWS = 128
"""A page keeps so many changed rows beside it before it is written anew."""
SLOTS_MIN, SLOTS_MAX = 8, 2_048
MAX_DEPTH = 20
"""How often an index is split, at most. Names that all have one checksum can't be told apart by it: slow, no more."""
SLOT_SHIFT = 32 - 11
"""The low bits of a checksum choose the part of the index, the high ones the slot in it."""
TAG_BITS = 6
TAG = (1 << TAG_BITS) - 1
MAX_ROWS = (1 << (32 - TAG_BITS)) - 1
"""A slot holds the place and some middle bits of the checksum, so that few names are compared in vain."""
TAG_SHIFT = 13
ROW_BITS = 10
LAST_ROW = PAGE_ROWS - 1
NARROW = 1 << 16

Load = Callable[[], bytes]


class Packed(NamedTuple):
    """A page as it is kept: names and rows end to end, each with the lengths."""

    names: bytes
    name_sizes: bytes
    rows: bytes
    row_sizes: bytes


class Index(NamedTuple):
    """An index as it is kept: the parts that each value of the low `depth` bits leads to, each part with its own depth."""

    total: int
    depth: int
    leads: bytes
    depths: bytes
    parts: list[bytes]


_page = msgspec.msgpack.Decoder(Packed)
_index = msgspec.msgpack.Decoder(Index)
_encoder = msgspec.msgpack.Encoder()


class _Block(NamedTuple):
    """A page in memory: never changed, so that copies share it and any thread may read it."""

    names: bytes
    name_ends: "array[int]"
    rows: bytes
    row_ends: "array[int]"


class _Page:
    """Up to PAGE_ROWS rows, of which some have changed since they were written together."""

    __slots__ = ("_block", "_changed", "_load")

    def __init__(self, block: _Block | None = None, load: Load | None = None) -> None:
        self._block, self._load = block, load
        self._changed: dict[int, bytes] = {}

    def copy(self) -> "_Page":
        page = _Page(self._block, self._load)
        page._changed = self._changed.copy()
        return page

    def _open(self) -> _Block:
        assert self._load is not None
        packed = _page.decode(self._load())
        self._block = _Block(
            packed.names, _ends(array("I", packed.name_sizes)), packed.rows, _ends(array("I", packed.row_sizes))
        )
        self._load = None
        return self._block

    def name(self, row: int) -> bytes:
        names, ends, _, _ = self._block or self._open()
        return names[ends[row - 1] if row else 0 : ends[row]]

    def row(self, row: int) -> bytes:
        changed = self._changed.get(row)
        if changed is not None:
            return changed
        _, _, rows, ends = self._block or self._open()
        return rows[ends[row - 1] if row else 0 : ends[row]]

    def put(self, row: int, packed: bytes) -> None:
        self._changed[row] = packed
        if len(self._changed) > CHANGED_ROWS:
            self._fold(self._block or self._open())

    def _fold(self, block: _Block) -> None:
        """Write what changed between what didn't."""
        rows, ends = block.rows, block.row_ends
        sizes = list(map(sub, ends, chain((0,), ends)))
        pieces: list[bytes] = []
        done = 0
        for row, packed in sorted(self._changed.items()):
            pieces += rows[done : ends[row] - sizes[row]], packed
            done = ends[row]
        for row, packed in self._changed.items():
            sizes[row] = len(packed)
        self._block = block._replace(rows=b"".join([*pieces, rows[done:]]), row_ends=_ends(sizes))
        self._changed = {}

    @property
    def held_bytes(self) -> int:
        block = self._block
        changed = sum(map(len, self._changed.values()))
        return changed + (sum(memoryview(one).nbytes for one in block) if block is not None else 0)

    def names(self) -> list[bytes]:
        block = self._block or self._open()
        return _cut(block.names, block.name_ends)

    def rows(self) -> list[bytes]:
        block = self._block or self._open()
        rows = _cut(block.rows, block.row_ends)
        for row, packed in self._changed.items():
            rows[row] = packed
        return rows

    def packed(self) -> bytes:
        if self._block is None and not self._changed and self._load is not None:
            return self._load()
        return _pack(self.names(), self.rows())


class _Tail:
    """The page that rows are added to."""

    __slots__ = ("_names", "_rows")

    def __init__(self, names: list[bytes] | None = None, rows: list[bytes] | None = None) -> None:
        self._names, self._rows = names or [], rows or []

    def copy(self) -> "_Tail":
        return _Tail(self._names.copy(), self._rows.copy())

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: bytes, packed: bytes) -> None:
        self._names.append(name)
        self._rows.append(packed)

    def name(self, row: int) -> bytes:
        return self._names[row]

    def row(self, row: int) -> bytes:
        return self._rows[row]

    def put(self, row: int, packed: bytes) -> None:
        self._rows[row] = packed

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self._names)) + sum(map(len, self._rows))

    def names(self) -> list[bytes]:
        return self._names

    def rows(self) -> list[bytes]:
        return self._rows

    def packed(self) -> bytes:
        return _pack(self._names, self._rows)

    def page(self) -> _Page:
        names, rows = self._names, self._rows
        return _Page(_Block(b"".join(names), _ends(map(len, names)), b"".join(rows), _ends(map(len, rows))))


class _Part:
    """A part of the index: places + 1 in open slots, each with a tag, 0 for none; `depth` low bits of all their checksums are
    equal. Slots that are shared with a copy are copied before they change.
    """

    __slots__ = ("depth", "held", "is_shared", "slots")

    def __init__(self, depth: int, slots: "array[int] | None" = None, held: int = 0) -> None:
        self.depth = depth
        self.slots = slots if slots is not None else array("I", bytes(4 * SLOTS_MIN))
        self.held = held
        self.is_shared = False

    def copy(self) -> "_Part":
        self.is_shared = True
        copy = _Part(self.depth, self.slots, self.held)
        copy.is_shared = True
        return copy

    def put(self, mark: int, place: int) -> None:
        if self.is_shared:
            self.slots, self.is_shared = self.slots[:], False
        slots = self.slots
        last = len(slots) - 1
        at = (mark >> SLOT_SHIFT) & last
        while slots[at]:
            at = (at + 1) & last
        slots[at] = (place + 1) << TAG_BITS | (mark >> TAG_SHIFT) & TAG
        self.held += 1

    @property
    def is_full(self) -> bool:
        return 5 * self.held > 3 * len(self.slots)


class Table:
    """Names are text, rows bytes. A row can't be taken out: it may become empty."""

    def __init__(self) -> None:
        self._pages: list[_Page | _Tail] = [_Tail()]
        self._count = 0
        self._depth = self._mask = 0
        self._leads: list[_Part] = [_Part(0)]

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.place(name) >= 0

    def place(self, name: str) -> int:
        """Where a name stands, -1 where it doesn't."""
        key = _key(name)
        return self._find(key, crc32(key))

    def _find(self, key: bytes, mark: int) -> int:
        slots = self._leads[mark & self._mask].slots
        last = len(slots) - 1
        at, tag = (mark >> SLOT_SHIFT) & last, (mark >> TAG_SHIFT) & TAG
        while one := slots[at]:
            if one & TAG == tag:
                place = (one >> TAG_BITS) - 1
                if self._pages[place >> ROW_BITS].name(place & LAST_ROW) == key:
                    return place
            at = (at + 1) & last
        return -1

    def get(self, name: str) -> bytes | None:
        key = name.encode("utf-8", "surrogatepass")
        place = self._find(key, crc32(key))
        return self._pages[place >> ROW_BITS].row(place & LAST_ROW) if place >= 0 else None

    def at(self, place: int) -> bytes:
        return self._pages[place >> ROW_BITS].row(place & LAST_ROW)

    def name(self, place: int) -> str:
        return _name(self._pages[place >> ROW_BITS].name(place & LAST_ROW))

    def put(self, name: str, packed: bytes) -> int:
        """Set a name's row, added if it is new; returns its place."""
        key = _key(name)
        mark = crc32(key)
        place = self._find(key, mark)
        if place >= 0:
            self.set(place, packed)
            return place
        return self._add(key, mark, packed)

    def set(self, place: int, packed: bytes) -> None:
        self._pages[place >> ROW_BITS].put(place & LAST_ROW, packed)

    def add(self, name: str, packed: bytes) -> int:
        """As `put`, of a name that isn't there."""
        key = _key(name)
        return self._add(key, crc32(key), packed)

    def _add(self, key: bytes, mark: int, packed: bytes) -> int:
        place = self._count
        tail = self._pages[-1]
        if not isinstance(tail, _Tail):
            tail = _Tail()
            self._pages.append(tail)
        elif len(tail) == PAGE_ROWS:
            self._pages[-1] = tail.page()
            tail = _Tail()
            self._pages.append(tail)
        tail.add(key, packed)
        self._count += 1
        part = self._leads[mark & self._mask]
        part.put(mark, place)
        if part.is_full:
            self._relieve(part, mark)
        return place

    def _relieve(self, part: _Part, mark: int) -> None:
        """Give a full part twice the slots, or split it in two."""
        held = [(one >> TAG_BITS) - 1 for one in part.slots if one]
        marks = [crc32(self._pages[place >> ROW_BITS].name(place & LAST_ROW)) for place in held]
        if len(part.slots) < SLOTS_MAX or part.depth == MAX_DEPTH:
            wider = _Part(part.depth, array("I", bytes(8 * len(part.slots))))
            for one, place in zip(marks, held, strict=True):
                wider.put(one, place)
            part.slots, part.is_shared = wider.slots, False  # at once: another thread may be looking
            return
        if part.depth == self._depth:
            self._leads += self._leads
            self._depth += 1
            self._mask = (1 << self._depth) - 1
        bit = 1 << part.depth
        halves = [_Part(part.depth + 1, array("I", bytes(4 * SLOTS_MAX))) for _ in range(2)]
        for one, place in zip(marks, held, strict=True):
            halves[bool(one & bit)].put(one, place)
        for lead in range(mark & (bit - 1), len(self._leads), bit):
            self._leads[lead] = halves[bool(lead & bit)]

    @property
    def held_bytes(self) -> int:
        """How much memory it takes, about."""
        parts = {id(part): len(part.slots) for part in self._leads}
        return sum(page.held_bytes for page in self._pages) + 4 * sum(parts.values())

    # -- many at once -------------------------------------------------------------------------------------------------

    def names(self, start: int = 0) -> Iterator[str]:
        for key, _ in self._raw(start):
            yield _name(key)

    def items(self, start: int = 0) -> Iterator[tuple[str, bytes]]:
        """Names and rows in order of arrival, from a place on. Nothing may be added before the last was given."""
        for key, row in self._raw(start):
            yield _name(key), row

    def _raw(self, start: int) -> Iterator[tuple[bytes, bytes]]:
        first, skipped = divmod(start, PAGE_ROWS)
        for page in islice(self._pages, first, None):
            yield from islice(zip(page.names(), page.rows(), strict=True), skipped, None)
            skipped = 0

    # -- kept ---------------------------------------------------------------------------------------------------------

    def still(self) -> "Table":
        """The table as it is now: it shares what doesn't change."""
        table = Table()
        table._count, table._depth, table._mask = self._count, self._depth, self._mask
        copies = {id(part): part.copy() for part in self._leads}
        table._leads = [copies[id(part)] for part in self._leads]
        table._pages = [page.copy() for page in self._pages]
        return table

    def index(self) -> Index:
        parts = {id(part): part for part in self._leads}
        numbers = {one: number for number, one in enumerate(parts)}
        return Index(
            self._count,
            self._depth,
            array("I", [numbers[id(part)] for part in self._leads]).tobytes(),
            bytes(part.depth for part in parts.values()),
            [part.slots.tobytes() for part in parts.values()],
        )

    def pages(self) -> Iterator[bytes]:
        for page in self._pages:
            yield page.packed()

    @classmethod
    def of(cls, index: Index, pages: Sequence[Load]) -> "Table":
        """The table that an index and pages were made of; nothing is opened before it is asked for."""
        table = cls()
        table._count, table._depth, table._mask = index.total, index.depth, (1 << index.depth) - 1
        parts = []
        for depth, some in zip(index.depths, index.parts, strict=True):
            slots = array("I", some)
            parts.append(_Part(depth, slots, len(slots) - slots.count(0)))
        table._leads = [parts[number] for number in array("I", index.leads)]
        table._pages = [_Page(load=load) for load in pages]
        if index.total % PAGE_ROWS or not index.total:
            last = table._pages[-1]
            table._pages[-1] = _Tail(last.names(), last.rows())
        return table


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _name(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


def _pack(names: Sequence[bytes], rows: Sequence[bytes]) -> bytes:
    sizes = (array("I", map(len, some)).tobytes() for some in (names, rows))
    return _encoder.encode(Packed(b"".join(names), next(sizes), b"".join(rows), next(sizes)))


def _ends(sizes: Iterable[int]) -> "array[int]":
    ends = list(accumulate(sizes))
    return array("H" if not ends or ends[-1] < NARROW else "I", ends)


def _cut(data: bytes, ends: "array[int]") -> list[bytes]:
    return [data[start:end] for start, end in pairwise((0, *ends))] if ends else []


def kept(name: str, table: Table) -> Iterator[tuple[str, bytes]]:
    """A table as parts of a snapshot: its index first, then its pages."""
    yield f"{name}/index", _encoder.encode(table.index())
    for number, page in enumerate(table.pages()):
        yield f"{name}/{number}", page


def read_back(name: str, parts: Mapping[str, bytes]) -> Table:
    """The table that is kept under a name. Raises KeyError where a part is missing; pages are taken when they are needed."""
    index = _index.decode(parts[f"{name}/index"])
    pages = [f"{name}/{number}" for number in range(max(1, -(-index.total // PAGE_ROWS)))]
    missing = next((one for one in pages if one not in parts), None)
    if missing is not None:
        raise KeyError(missing)
    return Table.of(index, [partial(parts.__getitem__, one) for one in pages])
