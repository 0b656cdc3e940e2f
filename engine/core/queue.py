"""The order in which contacts are delivered.

Best first: by priority, high before normal before low; among equals callbacks that are due, then retries that are due (the
longest due first), then fresh ones in order of arrival. What isn't due yet waits aside and is promoted when it is.
"""

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from typing import NamedTuple


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


class Queue:
    """The contacts of one owner. The heaps hold what was once true: a place counts while `holds` says that it still does."""

    def __init__(self, holds: Callable[[Place], bool]) -> None:
        self._holds = holds
        self._ready: list[Place] = []
        self._later: list[tuple[int, Place]] = []

    def put(self, place: Place) -> None:
        if place.due_at:
            heappush(self._later, (place.due_at, place))
        else:
            heappush(self._ready, place)

    def first(self, at: int) -> Place | None:
        """The one to deliver now, without taking it."""
        while self._later and self._later[0][0] <= at:
            _, place = heappop(self._later)
            if self._holds(place):
                heappush(self._ready, place)
        while self._ready:
            if self._holds(self._ready[0]) and self._ready[0].due_at <= at:
                return self._ready[0]
            place = heappop(self._ready)
            if self._holds(place):  # promoted by a clock that has gone back since
                heappush(self._later, (place.due_at, place))
        return None

    def next_due_at(self) -> int | None:
        """When the earliest that isn't due yet will be."""
        while self._later:
            due_at, place = self._later[0]
            if self._holds(place):
                return due_at
            heappop(self._later)
        return None

    def upcoming(self, at: int, limit: int) -> list[Place]:
        """The next ones in order of delivery, as far as they may be delivered now."""
        self.first(at)
        taken: list[Place] = []
        while len(taken) < limit and self._ready:
            place = heappop(self._ready)
            if self._holds(place) and (not taken or taken[-1] != place):
                taken.append(place)
        for place in taken:
            heappush(self._ready, place)
        return taken
