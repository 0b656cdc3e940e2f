"""All contacts of a campaign at one moment: columns that a snapshot is made of, and the contacts again.

Nothing is unpacked on either way: a million contacts are read back in about the time that it takes to read the bytes.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from engine.core.contact import ContactStatus
from engine.core.queue import Place, Queue, StillQueue
from engine.core.roll import Contacts

PAGE_CONTACTS = 20_000
PLACE_TABLES = 256


class Page(NamedTuple):
    """Contacts in order of arrival: their refs, and themselves as they are packed."""

    refs: list[str]
    rows: list[bytes]


class Line(NamedTuple):
    """Fresh contacts of one owner and priority: ranks, and places among all contacts."""

    priority: int
    tied: bool
    ranks: list[int]
    places: list[int]


class Waiting(NamedTuple):
    """One owner's queue."""

    owner: str
    lines: list[Line]
    coming: list[tuple[bool, list[Place]]]


class Order(msgspec.Struct, frozen=True, array_like=True):
    """How the contacts are counted, found and queued. `external` are the CRM's ids with the places of their contacts,
    `worked` the lines of those that something came of with the place of each, `shared` the lines of several.
    """

    counts: dict[ContactStatus, int]
    dealt: dict[str, int]
    next_rank: int
    engaged: int
    external: tuple[list[str], list[int]]
    worked: tuple[list[str], list[int]]
    shared: dict[str, list[int]]
    queues: list[Waiting]


class Still:
    """The contacts as they are now, to be made columns of by another thread while they change."""

    def __init__(self, contacts: Contacts) -> None:
        self.rows = contacts.by_ref.rows.copy()
        self._counts, self._dealt = dict(contacts.counts), dict(contacts.dealt)
        self._next_rank, self._engaged = contacts.next_rank, contacts.engaged
        self._external = contacts.by_external.copy()
        self._worked = {line: refs.copy() for line, refs in contacts.worked.items()}
        self._queues = [(owner, queue.still()) for owner, queue in contacts.queues.items()]

    def canonical(self) -> tuple[int, int, dict[str, bytes]]:
        """What is equal for equal contacts. How they are queued follows from it."""
        return self._next_rank, self._engaged, self.rows

    def pages(self) -> Iterator[Page]:
        rows = iter(self.rows.items())
        while some := list(islice(rows, PAGE_CONTACTS)):
            yield Page([ref for ref, _ in some], [row for _, row in some])

    def order(self) -> Order:
        places = _Places(self.rows)
        alone = [(line, refs[0]) for line, refs in self._worked.items() if len(refs) == 1]
        return Order(
            counts=self._counts,
            dealt=self._dealt,
            next_rank=self._next_rank,
            engaged=self._engaged,
            external=(list(self._external), places.of(self._external.values())),
            worked=([line for line, _ in alone], places.of(ref for _, ref in alone)),
            shared={line: places.of(refs) for line, refs in self._worked.items() if len(refs) > 1},
            queues=[_waiting(owner, queue, places) for owner, queue in self._queues],
        )


class _Places:
    """Which contact in order of arrival a ref is. Kept in many small tables: filling one large one would hold up all
    other threads while it grows.
    """

    def __init__(self, refs: Iterable[str]) -> None:
        self._tables: list[dict[str, int]] = [{} for _ in range(PLACE_TABLES)]
        for place, ref in enumerate(refs):
            self._tables[hash(ref) % PLACE_TABLES][ref] = place

    def of(self, refs: Iterable[str]) -> list[int]:
        return [self._tables[hash(ref) % PLACE_TABLES][ref] for ref in refs]


def _waiting(owner: str, queue: StillQueue, places: _Places) -> Waiting:
    lines = [Line(priority, tied, ranks.tolist(), places.of(refs)) for priority, tied, ranks, refs in queue.lines]
    return Waiting(owner, lines, queue.coming)


def contacts_of(pages: Iterable[Page], order: Order) -> Contacts:
    """The contacts that these columns were made of."""
    contacts = Contacts()
    refs: list[str] = []
    for page in pages:
        refs += page.refs
        contacts.by_ref.rows.update(zip(page.refs, page.rows, strict=True))
    contacts.counts.update(order.counts)
    contacts.dealt.update(order.dealt)
    contacts.next_rank, contacts.engaged = order.next_rank, order.engaged
    contacts.by_external = {one: refs[place] for one, place in zip(*order.external, strict=True)}
    contacts.worked = {line: [refs[place]] for line, place in zip(*order.worked, strict=True)}
    contacts.worked |= {line: [refs[place] for place in places] for line, places in order.shared.items()}
    contacts.queues = {one.owner: _queue(one, refs) for one in order.queues}
    return contacts


def _queue(waiting: Waiting, refs: Sequence[str]) -> Queue:
    lines = [
        (line.priority, line.tied, array("q", line.ranks), [refs[place] for place in line.places])
        for line in waiting.lines
    ]
    return Queue.of(StillQueue(lines, waiting.coming))
