"""Blocks, of which a table has thousands: pages of rows, or buckets. They are written down in parts, and a part that was read
back stays packed until somebody looks at one of its blocks: of millions of rows a start needs few.

Blocks that hardly anybody looks at any more can be put away, into an attic that is no memory of the process.
"""

from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar, get_type_hints

import msgspec
from msgspec import defstruct

PART_BYTES = 64 * 1024
"""Of a part: to open one holds up all threads, and whoever looks waits for it, up to a quarter of a millisecond."""

HERE = -1
"""No place in an attic."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode

T = TypeVar("T", bound=msgspec.Struct)
Opener = Callable[[], bytes]
"""A part as it was written."""


class AtticUnreadable(Exception):
    """What was put away can't be had back, or isn't as it was: the disk ails."""


class Attic(Protocol):
    """Where blocks lie that were put away, for as long as the process lives."""

    def put(self, block: bytes) -> int | None:
        """Where it lies from now on; None: there is no room, it had better stay where it is."""

    def get(self, place: int) -> bytes:
        """A block, from any thread. Raises AtticUnreadable."""


class Size(NamedTuple):
    """Of a part: how many blocks, and their bytes."""

    blocks: int
    bytes: int


class Blocks:
    """By number, in `here`; None for one that stands packed yet, or was put away: for `open`. Who changes one has opened it."""

    __slots__ = ("_attic", "_away", "_firsts", "_packed", "_seen", "here")

    def __init__(self, parts: Iterable[tuple[Size, Opener]] = ()) -> None:
        self.here: list[bytes | None] = []
        self._firsts: list[int] = []
        """The first block of each part, and behind the last one what comes next."""
        self._packed: list[tuple[Size, Opener] | None] = []
        """None for one that was opened."""
        self._seen: tuple[int, list[bytes]] | None = None
        """The part that `peek` looked at last."""
        self._away = array("q")
        """By block, as far as any was put away: where in the attic it lies; `HERE` for one that doesn't."""
        self._attic: Attic | None = None
        for size, opener in parts:
            self._firsts.append(len(self.here))
            self._packed.append((size, opener))
            self.here += [None] * size.blocks
        self._firsts.append(len(self.here))

    @classmethod
    def of(cls, blocks: Iterable[bytes]) -> "Blocks":
        """Such as are here all."""
        made = cls()
        made.here += blocks
        return made

    def __len__(self) -> int:
        return len(self.here)

    def __iter__(self) -> Iterator[bytes]:
        """All of them. What was packed is so still afterwards: whoever reads through everything looks at each once."""
        at = 0
        while at < len(self.here):
            block = self._unless_packed(at)
            if block is not None:
                yield block
                at += 1
            else:
                opened = self._opened(self._part(at))
                yield from opened
                at += len(opened)

    def peek(self, at: int) -> bytes:
        """A block, for those who read on from block to block: nothing is opened for good."""
        block = self._unless_packed(at)
        if block is not None:
            return block
        part = self._part(at)
        if self._seen is None or self._seen[0] != part:
            self._seen = part, self._opened(part)
        return self._seen[1][at - self._firsts[part]]

    @property
    def size(self) -> int:
        """Bytes of all blocks together, of which none was put away."""
        return sum(len(one) for one in self.here if one) + sum(one[0].bytes for one in self._packed if one)

    def open(self, at: int) -> bytes:
        """A block that isn't here. If it is packed, its whole part is here from now on; what was put away stays there."""
        block = self._unless_packed(at)
        if block is None:
            self._open(self._part(at))
            block = self.here[at]
            assert block is not None
        return block

    def put_away(self, at: int, attic: Attic) -> bool:
        """A block, if it is here; always the same attic. False where there was no room."""
        block = self.here[at]
        if block is None:
            return True
        place = attic.put(block)
        if place is None:
            return False
        self._away.extend([HERE] * (at + 1 - len(self._away)))
        self._away[at], self._attic, self.here[at] = place, attic, None
        return True

    def packed_with(self, at: int) -> range:
        """The blocks of a part that stands packed, if this one does: all that would be here once somebody looks at it."""
        if self.here[at] is not None or self._is_away(at):
            return range(0)
        part = self._part(at)
        return range(self._firsts[part], self._firsts[part + 1])

    def _is_away(self, at: int) -> bool:
        """Of one that isn't here."""
        return at < len(self._away) and self._away[at] != HERE

    def _unless_packed(self, at: int) -> bytes | None:
        """A block that is here, or was put away; None for one that stands packed."""
        block = self.here[at]
        if block is None and self._attic is not None and self._is_away(at):
            return self._attic.get(self._away[at])
        return block

    def open_some(self) -> bool:
        """The next part that is packed: so that nobody who looks everywhere opens all at once. Whether there was one."""
        part = next((number for number, packed in enumerate(self._packed) if packed is not None), None)
        if part is None:
            return False
        self._open(part)
        return True

    def _open(self, part: int) -> None:
        first, opened = self._firsts[part], self._opened(part)
        self.here[first : first + len(opened)] = opened
        self._packed[part] = self._seen = None

    def still(self) -> "Blocks":
        """As they are now; nothing is opened."""
        copy = Blocks()
        copy.here, copy._firsts, copy._packed = self.here.copy(), self._firsts, self._packed.copy()
        copy._away, copy._attic = self._away[:], self._attic
        return copy

    def _part(self, at: int) -> int:
        return bisect_right(self._firsts, at) - 1

    def _opened(self, part: int) -> list[bytes]:
        packed = self._packed[part]
        assert packed is not None  # of what was opened no block is missing
        size, opener = packed
        blocks = _decode(opener())
        if len(blocks) != size.blocks:
            raise ValueError(f"a part of {size.blocks} blocks has {len(blocks)}")
        return blocks


# -- written down -------------------------------------------------------------------------------------------------------


def parts_of(blocks: Iterable[bytes]) -> Iterator[tuple[Size, bytes]]:
    """Blocks in parts of some `PART_BYTES`."""
    some, size = list[bytes](), 0
    for block in blocks:
        some.append(block)
        size += len(block)
        if size >= PART_BYTES:
            yield Size(len(some), size), _encode(some)
            some, size = [], 0
    if some:
        yield Size(len(some), size), _encode(some)


class SavedParts(Mapping[str, bytes]):
    """Of a snapshot: each is opened when it is asked for. Raises KeyError, engine.ports.DamagedSnapshot."""

    @abstractmethod
    def opener(self, name: str) -> Opener:
        """What opens a part, of which it is known by then that it is as it was written. Raises as above."""


class Form(Generic[T]):
    """How values, some of whose fields are `Blocks`, are written down: these in parts of their own, of which the value's
    own part tells the sizes.
    """

    def __init__(self, type_: type[T]) -> None:
        hints = get_type_hints(type_)
        self._type, self._blocks = type_, [name for name, hint in hints.items() if hint is Blocks]
        fields = [(name, list[Size] if name in self._blocks else hint) for name, hint in hints.items()]
        self._decode = msgspec.msgpack.Decoder(defstruct(type_.__name__, fields, array_like=True)).decode

    def write(self, name: str, value: T) -> Iterator[tuple[str, bytes]]:
        """A value as parts of a snapshot, one by one: all of them are a large part of the process. From any thread."""
        fields = msgspec.structs.asdict(value)
        for one in self._blocks:
            sizes = []
            for number, (size, data) in enumerate(parts_of(fields[one])):
                sizes.append(size)
                yield f"{name}.{one}/{number}", data
            fields[one] = sizes
        yield name, _encode([*fields.values()])

    def read(self, name: str, parts: SavedParts) -> T:
        """The value, with its blocks packed as they are. Raises KeyError, msgspec.DecodeError, DamagedSnapshot."""
        fields = msgspec.structs.asdict(self._decode(parts[name]))
        for one in self._blocks:
            sizes = enumerate(fields[one])
            fields[one] = Blocks((size, parts.opener(f"{name}.{one}/{number}")) for number, size in sizes)
        return self._type(**fields)
