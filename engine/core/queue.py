"""The order in which contacts are delivered.

Best first: by priority, high before normal before low; among equals callbacks that are due, then retries that are due (the
longest due first), then fresh ones in order of arrival. What isn't due yet waits aside and is promoted when it is.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from enum import IntEnum
from heapq import heapify, heappop, heappush, merge
from itertools import islice
from typing import NamedTuple

BLOCK_CONTACTS = 1_024
SPARE_PLACES = 1_024
"""Places that no longer count may lie about in a heap: as many as count, and these."""


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
    ref: str

    @property
    def due_at(self) -> int:
        """Epoch ms; 0 for what may be delivered any time."""
        return 0 if self.kind is Kind.FRESH else self.order


class Line:
    """Refs in order of rank: most come at one end and go at the other, any may come and go in between.

    Sixteen bytes each, in blocks short enough to be moved about.
    """

    __slots__ = ("_blocks", "_lasts")

    def __init__(self) -> None:
        self._blocks: list[tuple[array[int], list[str]]] = []
        self._lasts: list[int] = []
        """The last rank of each block."""

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for ranks, refs in self._blocks:
            yield from zip(ranks, refs, strict=True)

    def __reversed__(self) -> Iterator[tuple[int, str]]:
        for ranks, refs in reversed(self._blocks):
            yield from zip(reversed(ranks), reversed(refs), strict=True)

    def columns(self) -> tuple["array[int]", list[str]]:
        """All ranks and their refs as they are now: copied in C."""
        ranks, refs = array("q"), list[str]()
        for some_ranks, some_refs in self._blocks:
            ranks += some_ranks
            refs += some_refs
        return ranks, refs

    @classmethod
    def of(cls, ranks: "array[int]", refs: list[str]) -> "Line":
        """The line that has these columns."""
        line = cls()
        for start in range(0, len(ranks), BLOCK_CONTACTS):
            line._blocks.append((ranks[start : start + BLOCK_CONTACTS], refs[start : start + BLOCK_CONTACTS]))
            line._lasts.append(line._blocks[-1][0][-1])
        return line

    def add(self, rank: int, ref: str) -> None:
        at = bisect_left(self._lasts, rank)
        if at == len(self._blocks):
            if not at or len(self._blocks[-1][0]) >= BLOCK_CONTACTS:
                self._blocks.append((array("q"), []))
                self._lasts.append(rank)
            at = len(self._blocks) - 1
            self._lasts[at] = rank
        ranks, refs = self._blocks[at]
        place = bisect_left(ranks, rank)
        ranks.insert(place, rank)
        refs.insert(place, ref)
        if len(ranks) > BLOCK_CONTACTS:
            half = len(ranks) // 2
            self._blocks[at : at + 1] = [(ranks[:half], refs[:half]), (ranks[half:], refs[half:])]
            self._lasts.insert(at, ranks[half - 1])

    def remove(self, rank: int) -> None:
        at = bisect_left(self._lasts, rank)
        ranks, refs = self._blocks[at]
        place = bisect_left(ranks, rank)
        del ranks[place], refs[place]
        if not ranks:
            del self._blocks[at], self._lasts[at]
        elif place == len(ranks):
            self._lasts[at] = ranks[-1]


class StillQueue(NamedTuple):
    """A queue as it was: each line's priority, whether it is tied, its ranks and refs; and what comes back, tied or not."""

    lines: list[tuple[int, bool, "array[int]", list[str]]]
    coming: list[tuple[bool, list[Place]]]


class Queue:
    """The contacts of one owner. Some are tied to the owner; the loose ones may be given to another."""

    def __init__(self) -> None:
        self._fresh: dict[tuple[int, bool], Line] = {}
        """By priority, and whether they are tied."""
        self._coming: dict[bool, dict[str, Place]] = {False: {}, True: {}}
        """Retries and callbacks, due or not, by whether they are tied."""
        self._due: list[Place] = []
        self._later: list[tuple[int, Place]] = []
        # The two heaps hold what was once true: a place counts while it stands in `_coming`.

    def put(self, place: Place, tied: bool) -> None:
        if place.kind is Kind.FRESH:
            line = self._fresh.get((place.priority, tied))
            if line is None:
                line = self._fresh[place.priority, tied] = Line()
            line.add(place.rank, place.ref)
            return
        self._coming[tied][place.ref] = place
        heappush(self._later, (place.due_at, place))
        if len(self._due) + len(self._later) > SPARE_PLACES + 2 * sum(map(len, self._coming.values())):
            self._due = []
            self._later = [(one.due_at, one) for coming in self._coming.values() for one in coming.values()]
            heapify(self._later)

    def drop(self, place: Place, tied: bool) -> None:
        """A contact leaves the place that it was put in."""
        if place.kind is Kind.FRESH:
            self._fresh[place.priority, tied].remove(place.rank)
        else:
            del self._coming[tied][place.ref]

    def still(self) -> StillQueue:
        """As it is now."""
        lines = [(priority, tied, *line.columns()) for (priority, tied), line in self._fresh.items()]
        return StillQueue(lines, [(tied, list(coming.values())) for tied, coming in self._coming.items()])

    @classmethod
    def of(cls, still: StillQueue) -> "Queue":
        """The queue that was so."""
        queue = cls()
        for priority, tied, ranks, refs in still.lines:
            queue._fresh[priority, tied] = Line.of(ranks, refs)
        for tied, places in still.coming:
            queue._coming[tied] = {place.ref: place for place in places}
            queue._later += [(place.due_at, place) for place in places]
        heapify(queue._later)
        return queue

    def first(self, at: int) -> Place | None:
        """The one to deliver now, without taking it."""
        heads = list(self._heads(1))
        due = self._first_due(at)
        return min(heads if due is None else [due, *heads], default=None)

    def next_due_at(self) -> int | None:
        """When the earliest that isn't due yet will be."""
        while self._later:
            due_at, place = self._later[0]
            if self._stands(place):
                return due_at
            heappop(self._later)
        return None

    def upcoming(self, at: int, limit: int) -> list[Place]:
        """The next ones in order of delivery, as far as they may be delivered now."""
        due: list[Place] = []
        while len(due) < limit and (place := self._first_due(at)) is not None:
            heappop(self._due)
            if not due or due[-1] != place:
                due.append(place)
        for place in due:
            heappush(self._due, place)
        return sorted([*due, *self._heads(limit)])[:limit]

    def loose(self, newest: bool) -> Iterator[str]:
        """Refs that may be given to another: fresh ones in order of arrival, or against it, then those that come back."""
        lines = [line for (_, tied), line in self._fresh.items() if not tied]
        ways = [reversed(line) if newest else iter(line) for line in lines]
        yield from (ref for _, ref in merge(*ways, reverse=newest))
        coming = self._coming[False]
        yield from reversed(coming) if newest else coming

    def _heads(self, limit: int) -> Iterator[Place]:
        for (priority, _), line in self._fresh.items():
            for rank, ref in islice(line, limit):
                yield Place(priority, Kind.FRESH, rank, rank, ref)

    def _first_due(self, at: int) -> Place | None:
        while self._later and self._later[0][0] <= at:
            _, place = heappop(self._later)
            if self._stands(place):
                heappush(self._due, place)
        while self._due:
            if self._stands(self._due[0]) and self._due[0].due_at <= at:
                return self._due[0]
            place = heappop(self._due)
            if self._stands(place):  # promoted by a clock that has gone back since
                heappush(self._later, (place.due_at, place))
        return None

    def _stands(self, place: Place) -> bool:
        return any(coming.get(place.ref) == place for coming in self._coming.values())
