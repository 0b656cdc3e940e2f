"""All contacts of a campaign at one moment: what a snapshot is made of, and the contacts again.

Nothing is unpacked on either way, and on the way back nothing is even looked at but the index: a page of contacts is
opened when one of them is asked for.
"""

from array import array
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from engine.core.contact import ContactStatus
from engine.core.queue import Place, Queue, StillQueue, joined
from engine.core.roll import Contacts, Roll, Rows
from engine.core.table import kept, read_back

ORDER, CONTACTS, EXTERNAL, WORKED = "order", "contacts", "external", "worked"


class Line(NamedTuple):
    """Fresh contacts of one owner and priority: arrays of 64 bits of ranks, and of 32 of rows."""

    priority: int
    tied: bool
    ranks: bytes
    rows: bytes


class Waiting(NamedTuple):
    """One owner's queue."""

    owner: str
    lines: list[Line]
    coming: list[tuple[bool, list[Place]]]


class Order(msgspec.Struct, frozen=True, array_like=True):
    """How the contacts are counted and queued."""

    counts: dict[ContactStatus, int]
    dealt: dict[str, int]
    next_rank: int
    engaged: int
    queues: list[Waiting]


class Still:
    """The contacts as they are now, to be made parts of by another thread while they change."""

    def __init__(self, contacts: Contacts) -> None:
        self.table = contacts.by_ref.table.still()
        self._external, self._worked = contacts.by_external.rows.table.still(), contacts.worked.table.still()
        self._counts, self._dealt = dict(contacts.counts), dict(contacts.dealt)
        self._next_rank, self._engaged = contacts.next_rank, contacts.engaged
        self._queues = [(owner, queue.still()) for owner, queue in contacts.queues.items()]

    def canonical(self) -> tuple[int, int, dict[str, bytes]]:
        """What is equal for equal contacts. How they are queued follows from it."""
        return self._next_rank, self._engaged, dict(self.table.items())

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """By name, as `contacts_of` takes them."""
        order = Order(
            counts=self._counts,
            dealt=self._dealt,
            next_rank=self._next_rank,
            engaged=self._engaged,
            queues=[_waiting(owner, queue) for owner, queue in self._queues],
        )
        yield ORDER, msgspec.msgpack.encode(order)
        yield from kept(CONTACTS, self.table)
        yield from kept(EXTERNAL, self._external)
        yield from kept(WORKED, self._worked)


def contacts_of(parts: Mapping[str, bytes]) -> Contacts:
    """The contacts that these parts were made of. Raises KeyError where one is missing."""
    order = msgspec.msgpack.decode(parts[ORDER], type=Order)
    table = read_back(CONTACTS, parts)
    contacts = Contacts(Roll(table), Rows(read_back(EXTERNAL, parts)), Rows(read_back(WORKED, parts)))
    contacts.counts.update(order.counts)
    contacts.dealt.update(order.dealt)
    contacts.next_rank, contacts.engaged = order.next_rank, order.engaged
    contacts.queues = {one.owner: _queue(one) for one in order.queues}
    return contacts


def _waiting(owner: str, queue: StillQueue) -> Waiting:
    lines = []
    for priority, tied, blocks in queue.lines:
        ranks, rows = joined(blocks)
        lines.append(Line(priority, tied, ranks.tobytes(), rows.tobytes()))
    return Waiting(owner, lines, queue.coming)


def _queue(waiting: Waiting) -> Queue:
    lines = [(one.priority, one.tied, [(array("q", one.ranks), array("I", one.rows))]) for one in waiting.lines]
    return Queue.of(StillQueue(lines, waiting.coming))
