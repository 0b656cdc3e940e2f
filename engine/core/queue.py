"""The order in which contacts are delivered.

Best first: by priority, high before normal before low; among equals callbacks that are due, then retries that are due (the
longest due first), then fresh ones in order of arrival. What isn't due yet waits in its line and is looked at when it is.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

BLOCK_CONTACTS = 1_024


class Kind(IntEnum):
    CALLBACK = 0
    RETRY = 1
    FRESH = 2


class Place(NamedTuple):
    """A contact's place in its queue: the smallest is the next. `order` is the due time, or the rank of a fresh one."""

    priority: int
    kind: Kind
    order: int
    rank: int

    @property
    def due_at(self) -> int:
        """Epoch ms; 0 for what may be delivered any time."""
        return 0 if self.kind is Kind.FRESH else self.order


class Member(NamedTuple):
    """One of a queue: its place, and the number of the contact's row."""

    place: Place
    row: int


Block = tuple["array[int]", "array[int]", "array[int]"]
"""Orders, ranks and rows. Ranks grow by one with each contact that comes or is put back: 2 ** 32 are enough."""


class Line:
    """Members by order and, among equals, by rank: most come at one end and go at the other, any may come and go in between.

    Sixteen bytes each, in blocks short enough to be moved about.
    """

    __slots__ = ("_blocks", "_lasts")

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._lasts: list[tuple[int, int]] = []
        """Order and rank of the last of each block."""

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        for block in self._blocks:
            yield from zip(*block, strict=True)

    def __reversed__(self) -> Iterator[tuple[int, int, int]]:
        for block in reversed(self._blocks):
            yield from zip(*map(reversed, block), strict=True)

    def still(self) -> list[bytes]:
        """As it is now: the columns of its blocks, one block after the other."""
        return [column.tobytes() for block in self._blocks for column in block]

    @classmethod
    def of(cls, columns: Iterable[bytes]) -> "Line":
        """The line that was so."""
        line, rest = cls(), iter(columns)
        for orders, ranks, rows in zip(rest, rest, rest, strict=True):
            line._blocks.append((array("q", orders), array("I", ranks), array("I", rows)))
            line._lasts.append(_last(line._blocks[-1]))
        return line

    def add(self, order: int, rank: int, row: int) -> None:
        at = bisect_left(self._lasts, (order, rank))
        if at == len(self._blocks):
            if not at or len(self._blocks[-1][0]) >= BLOCK_CONTACTS:
                self._blocks.append((array("q"), array("I"), array("I")))
                self._lasts.append((order, rank))
            at = len(self._blocks) - 1
            self._lasts[at] = order, rank
        block = orders, ranks, rows = self._blocks[at]
        place = _place(block, order, rank)
        orders.insert(place, order)
        ranks.insert(place, rank)
        rows.insert(place, row)
        if len(orders) > BLOCK_CONTACTS:
            half = len(orders) // 2
            first = orders[:half], ranks[:half], rows[:half]
            self._blocks[at : at + 1] = [first, (orders[half:], ranks[half:], rows[half:])]
            self._lasts.insert(at, _last(first))

    def extend(self, orders: "array[int]", ranks: "array[int]", rows: "array[int]") -> None:
        """Those that come behind all others, in order."""
        if not self._blocks:
            self._blocks.append((array("q"), array("I"), array("I")))
            self._lasts.append((0, 0))
        last = self._blocks[-1]
        room = max(0, BLOCK_CONTACTS - len(last[0]))
        for column, more in zip(last, (orders, ranks, rows), strict=True):
            column.extend(more[:room])
        self._lasts[-1] = _last(last)
        for start in range(room, len(orders), BLOCK_CONTACTS):
            end = start + BLOCK_CONTACTS
            self._blocks.append((orders[start:end], ranks[start:end], rows[start:end]))
            self._lasts.append(_last(self._blocks[-1]))

    def remove(self, order: int, rank: int) -> None:
        at = bisect_left(self._lasts, (order, rank))
        block = orders, ranks, rows = self._blocks[at]
        place = _place(block, order, rank)
        del orders[place], ranks[place], rows[place]
        if not orders:
            del self._blocks[at], self._lasts[at]
        elif place == len(orders):
            self._lasts[at] = _last(block)

    def behind(self, order: int) -> int | None:
        """The least order that is greater."""
        at = bisect_right(self._lasts, order, key=itemgetter(0))
        if at == len(self._blocks):
            return None
        orders = self._blocks[at][0]
        return orders[bisect_right(orders, order)]


def _place(block: Block, order: int, rank: int) -> int:
    """Where in a block somebody stands, or would."""
    orders, ranks, _ = block
    first = bisect_left(orders, order)
    if first == len(orders) or orders[first] != order:
        return first
    return bisect_left(ranks, rank, first, bisect_right(orders, order, first))


def _last(block: Block) -> tuple[int, int]:
    return block[0][-1], block[1][-1]


class StillLine(NamedTuple):
    """One of a queue's lines as it was, but for its blocks."""

    priority: int
    kind: int
    tied: bool
    columns: int
    """How many there are in its blocks."""


class Queue:
    """The contacts of one owner. Some are tied to the owner; the loose ones may be given to another."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, Kind, bool], Line] = {}
        """By priority, kind, and whether they are tied: the members of a line are delivered in its order."""

    def put(self, place: Place, row: int, tied: bool) -> None:
        """`row` is the number of the contact's."""
        priority, kind, order, rank = place
        self._line(priority, kind, tied).add(order, rank, row)

    def put_fresh(self, priority: int, tied: bool, ranks: Iterable[int], rows: Iterable[int]) -> None:
        """New contacts in order of arrival: their ranks are higher than any before."""
        orders = array("q", ranks)
        self._line(priority, Kind.FRESH, tied).extend(orders, array("I", orders), array("I", rows))

    def _line(self, priority: int, kind: Kind, tied: bool) -> Line:
        line = self._lines.get((priority, kind, tied))
        if line is None:
            line = self._lines[priority, kind, tied] = Line()
        return line

    def drop(self, place: Place, tied: bool) -> None:
        """A contact leaves the place that it was put in."""
        priority, kind, order, rank = place
        self._lines[priority, kind, tied].remove(order, rank)

    def still(self) -> list[tuple[StillLine, list[bytes]]]:
        """As it is now: its lines, each with the columns of its blocks."""
        lines = ((key, line.still()) for key, line in self._lines.items())
        return [(StillLine(*key, len(columns)), columns) for key, columns in lines]

    @classmethod
    def of(cls, lines: Iterable[StillLine], columns: Iterator[bytes]) -> "Queue":
        """The queue that was so; as many columns as it has are taken."""
        queue = cls()
        for priority, kind, tied, count in lines:
            queue._lines[priority, Kind(kind), tied] = Line.of(islice(columns, count))
        return queue

    def first(self, at: int) -> Member | None:
        """The one to deliver now, without taking it."""
        return min(self._heads(at, 1), default=None)

    def next_due_at(self, at: int) -> int | None:
        """When the earliest that isn't due yet will be."""
        coming = [line.behind(at) for (_, kind, _), line in self._lines.items() if kind is not Kind.FRESH]
        return min((one for one in coming if one is not None), default=None)

    def upcoming(self, at: int, limit: int) -> list[Member]:
        """The next ones in order of delivery, as far as they may be delivered now."""
        return sorted(self._heads(at, limit))[:limit]

    def loose(self, newest: bool) -> Iterator[int]:
        """Rows that may be given to another: fresh ones in order of arrival, or against it, then those that come back, by
        when they are due."""
        for is_fresh in (True, False):
            lines = [
                line for (_, kind, tied), line in self._lines.items() if (kind is Kind.FRESH) is is_fresh and not tied
            ]
            ways = [reversed(line) if newest else iter(line) for line in lines]
            yield from (row for _, _, row in merge(*ways, reverse=newest))

    def _heads(self, at: int, limit: int) -> Iterator[Member]:
        for (priority, kind, _), line in self._lines.items():
            for order, rank, row in islice(line, limit):
                if kind is not Kind.FRESH and order > at:
                    break
                yield Member(Place(priority, kind, order, rank), row)
