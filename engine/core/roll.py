"""A campaign's contacts, all of them: by ref, counted, and queued for delivery.

A list may be a million long, and nearly all of it waits: a contact is kept packed, and unpacked when somebody looks.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, assert_never

import msgspec

from engine.core.blocks import Blocks
from engine.core.contact import (
    DELIVERABLE,
    FREE,
    OPEN,
    ORDER,
    Contact,
    ContactCancelled,
    ContactErased,
    ContactEvent,
    ContactExhausted,
    ContactsAdded,
    ContactsAssigned,
    ContactsReplaced,
    ContactStatus,
    ContactsUpcoming,
    NewContact,
    Priority,
    pack,
    pack_new,
    ref_of,
    unpack,
)
from engine.core.personal import Person
from engine.core.queue import Queue, StillLine
from engine.core.reservation import (
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    ContactSuppressed,
    DialRefused,
    ReservationExtended,
)
from engine.core.standing import line_of
from engine.core.table import Index, Rows

MAX_IN_HAND = 1_024
"""Contacts that are kept as they are beside their rows: as many as agents of a campaign have in hand."""


class _Held(NamedTuple):
    row: int
    contact: Contact
    is_changed: bool
    """The row isn't written yet."""


class Roll(Mapping[str, Contact]):
    """Contacts by ref in order of arrival, to be read as they are now."""

    def __init__(self, rows: Rows | None = None, index: Index | None = None) -> None:
        self._rows = rows or Rows()
        self._index = index or Index()
        self._in_hand: dict[str, _Held] = {}
        """Those that were taken up last. Who is in some agent's hand changes again and again, and is packed when not."""

    def __getitem__(self, ref: str) -> Contact:
        contact = self.found(ref)
        if contact is None:
            raise KeyError(ref)
        return contact

    def __contains__(self, ref: object) -> bool:
        return isinstance(ref, str) and (ref in self._in_hand or ref in self._index)

    def found(self, ref: str) -> Contact | None:
        """As `get`, which asks by way of an exception: most refs of a new list aren't there."""
        held = self._in_hand.get(ref)
        if held is not None:
            return held.contact
        row = self._index.number(ref)
        if row is None:
            return None
        contact = unpack(self._rows[row])
        self._hold(_Held(row, contact, False))
        return contact

    def known(self, refs: Iterable[str]) -> list[str]:
        """Those that are there, of many."""
        return self._index.known(refs)

    def at(self, row: int) -> Contact:
        """By the number of its row."""
        packed = self._rows[row]
        held = self._in_hand.get(ref_of(packed))
        if held is not None:
            return held.contact
        contact = unpack(packed)
        self._hold(_Held(row, contact, False))
        return contact

    def ref_at(self, row: int) -> str:
        return ref_of(self._rows[row])

    def row_of(self, ref: str) -> int:
        """The number of a contact's row: its place in order of arrival."""
        held = self._in_hand.get(ref)
        row = held.row if held is not None else self._index.number(ref)
        if row is None:
            raise KeyError(ref)
        return row

    def add(self, ref: str, packed: bytes) -> int:
        """One that is new; the number of its row. Such come by thousands, and wait."""
        row = self._rows.append(packed)
        self._index.add_number(ref, row)
        return row

    def change(self, contact: Contact) -> int:
        """What became of one that is there; the number of its row."""
        row = self.row_of(contact.ref)
        self._in_hand.pop(contact.ref, None)
        self._hold(_Held(row, contact, True))
        return row

    def _hold(self, held: _Held) -> None:
        self._in_hand[held.contact.ref] = held
        if len(self._in_hand) > MAX_IN_HAND:
            oldest = self._in_hand.pop(next(iter(self._in_hand)))
            if oldest.is_changed:
                self._rows[oldest.row] = pack(oldest.contact)

    def settle(self, start: int = 0, end: int | None = None) -> None:
        """Rows from one to before another are written."""
        for ref, held in self._in_hand.items():
            if held.is_changed and start <= held.row and (end is None or held.row < end):
                self._rows[held.row] = pack(held.contact)
                self._in_hand[ref] = held._replace(is_changed=False)

    def __iter__(self) -> Iterator[str]:
        return (ref_of(row) for _, row in self._rows.read())

    def __len__(self) -> int:
        return len(self._rows)

    def walk(self, rows: int, number: str = "") -> Iterator[list[Contact]]:
        """All contacts in order of arrival, or those with a number, however it is written: a list for every so many rows
        looked at. Contacts may change and come between one list and the next.
        """
        line, start = line_of(number), 0
        while start < len(self):
            self.settle(start, start + rows)
            digits = line.encode()
            found = [unpack(row) for _, row in self._rows.read(start, start + rows, digits) if digits in row]
            start += rows
            yield [one for one in found if line in map(line_of, one.numbers)] if number else found

    def marked(self, start: int, rows: int, mark: str, named: Container[str]) -> list[tuple[int, Contact]]:
        """Of so many contacts from a place on, those that are named and those in whose row `mark` stands, wherever: each
        with the place behind it. The others are not unpacked.
        """
        self.settle(start, start + rows)
        letters = mark.encode()
        return [
            (place + 1, unpack(row))
            for place, row in self._rows.read(start, start + rows)
            if letters in row or ref_of(row) in named
        ]

    def page(self, start: int, limit: int) -> list[Contact]:
        """Up to `limit` contacts from a place on."""
        self.settle(start, start + limit)
        return [unpack(row) for _, row in self._rows.read(start, start + limit)]

    def open_some(self) -> bool:
        """Some of the index that is packed since a start; rows are left so. Whether there was any."""
        return self._index.open_some()

    def still(self) -> tuple[Blocks, Blocks]:
        """As they are now: pages of rows, and buckets of the index."""
        self.settle()
        return self._rows.still(), self._index.still()


class StillContacts(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's contacts at one moment: pages and buckets of tables, the blocks of the queues, and how they are counted."""

    rows: Blocks
    index: Blocks
    external: Blocks
    worked: Blocks
    lines: Blocks
    counts: dict[ContactStatus, int]
    dealt: dict[str, int]
    next_rank: int
    engaged: int
    queues: list[tuple[str, list[StillLine]]]
    """By owner."""

    def canonical(self) -> tuple[int, int, list[bytes]]:
        """What is equal for equal contacts. How they are counted, found and queued follows from it."""
        return self.next_rank, self.engaged, list(self.rows)


class Contacts:
    """All contacts of a campaign by ref, counted by status, with the queues to deliver them from."""

    def __init__(self) -> None:
        self.by_ref = Roll()
        self.counts: dict[ContactStatus, int] = dict.fromkeys(ContactStatus, 0)
        self.next_rank = 1
        self.engaged = 0
        """Contacts whose disposition counts as engaged."""
        self._external = Index()
        """Rows by the CRM's own id."""
        self.dealt: dict[str, int] = {}
        """How many open contacts that weren't assigned from outside are whose."""
        self.queues: dict[str, Queue] = {}
        """By owner."""
        self._worked = Index()
        """Rows of contacts that were dialled or disposed of, by the lines of their numbers."""

    def __len__(self) -> int:
        return len(self.by_ref)

    @property
    def open(self) -> int:
        return sum(self.counts[status] for status in OPEN)

    def put(self, contact: Contact) -> None:
        """Add a contact, or what became of it."""
        before = self.by_ref.found(contact.ref)
        if before is None:
            row = self.by_ref.add(contact.ref, pack(contact))
        else:
            row = self.by_ref.change(contact)
            self._count(before, -1)
            if before.status in DELIVERABLE:
                self.queues[before.owner].drop(before.place, before.tied)
            if before.external_id and before.external_id != contact.external_id:
                self._external.drop_number(before.external_id, row)  # the CRM's former id names nobody
        if contact.external_id and (before is None or before.external_id != contact.external_id):
            self._external.put_number(contact.external_id, row)
        self._note(before, contact, row)
        self._count(contact, 1)
        if contact.status in DELIVERABLE:
            self._queue(contact.owner).put(contact.place, row, contact.tied)

    def add(self, contacts: Sequence[NewContact], rank: int) -> None:
        """As `put` for each in turn, ranked from `rank` on, at a fraction of the cost: they come by thousands, and all wait."""
        refs = {one.ref for one in contacts}
        if rank < self.next_rank or len(refs) < len(contacts) or self.by_ref.known(refs):
            for place, new in enumerate(contacts, rank):  # none of ours writes that; a log that says it is believed
                self.put(_new(new, place))
            return
        waiting: dict[tuple[str, Priority], tuple[list[int], list[int]]] = {}
        for place, new in enumerate(contacts, rank):
            row = self.by_ref.add(new.ref, pack_new(new, place))
            if new.external_id:
                self._external.put_number(new.external_id, row)
            ranks, rows = waiting.setdefault((new.agent, new.priority), ([], []))
            ranks.append(place)
            rows.append(row)
        self.counts[ContactStatus.WAITING] += len(contacts)
        for (agent, priority), (ranks, rows) in waiting.items():
            self._queue(agent).put_fresh(ORDER[priority], bool(agent), ranks, rows)
            if not agent:  # one that was assigned from outside is dealt to nobody
                self.dealt[FREE] = self.dealt.get(FREE, 0) + len(rows)

    def change(self, ref: str, **changes: Any) -> None:
        self.put(msgspec.structs.replace(self.by_ref[ref], **changes))

    def named(self, external_id: str) -> str | None:
        """Whom the CRM calls so: the contact's ref."""
        row = self._external.number(external_id) if external_id else None
        return None if row is None else self.by_ref.ref_at(row)

    def worked_on(self, line: str) -> list[Contact]:
        """Contacts that something came of, who have a number of this line: each once."""
        return [self.by_ref.at(row) for row in dict.fromkeys(self._worked.numbers(line))]

    def worked_with(self, numbers: Iterable[str], external_id: str) -> Iterator[str]:
        """Contacts that something came of, who have one of the numbers, however it is written, or the CRM's id."""
        refs = {
            self.by_ref.ref_at(row): None
            for number in numbers
            for row in reversed(self._worked.numbers(line_of(number)))
        }
        same = self.named(external_id)
        if same is not None and _is_worked(self.by_ref[same]):
            refs[same] = None
        return iter(refs)

    def _note(self, before: Contact | None, contact: Contact, row: int) -> None:
        """Keep the index of who was worked with: a line for each number, for as long as the contact has it."""
        was = before.numbers if before is not None and _is_worked(before) else ()
        numbers = contact.numbers if _is_worked(contact) else ()
        if was == numbers:
            return
        for line in map(line_of, was):
            self._worked.drop_number(line, row)
        for line in map(line_of, numbers):
            self._worked.add_number(line, row)

    def first(self, at: int, owner: str = FREE) -> Contact | None:
        """The contact of an owner's queue to deliver now, without taking it."""
        queue = self.queues.get(owner)
        found = queue.first(at) if queue is not None else None
        return self.by_ref.at(found.row) if found is not None else None

    def best(self, at: int, owners: Iterable[str]) -> Contact | None:
        """The first of several owners' queues together."""
        found = (self.queues[owner].first(at) for owner in owners if owner in self.queues)
        first = min((one for one in found if one is not None), default=None)
        return self.by_ref.at(first.row) if first is not None else None

    def next_due_at(self, at: int, owners: Iterable[str]) -> int | None:
        """When the earliest contact that isn't due yet will be."""
        found = (self.queues[owner].next_due_at(at) for owner in owners if owner in self.queues)
        return min((one for one in found if one is not None), default=None)

    def upcoming(self, at: int, owner: str, limit: int) -> list[Contact]:
        """The next contacts of an owner's queue in order of delivery."""
        queue = self.queues.get(owner)
        return [self.by_ref.at(one.row) for one in queue.upcoming(at, limit)] if queue is not None else []

    def owners(self) -> Iterable[str]:
        return self.queues.keys()

    def movable(self, agent: str, limit: int, newest: bool) -> list[str]:
        """Up to `limit` refs of an agent's contacts that a split may give to another, the last in line first if `newest`:
        none that somebody holds, no personal callback."""
        queue = self.queues.get(agent)
        return [self.by_ref.ref_at(row) for row in islice(queue.loose(newest), limit)] if queue is not None else []

    def open_some(self) -> bool:
        """Some of the tables that are packed since a start; rows are left so. Whether there were any."""
        return self.by_ref.open_some() or self._external.open_some() or self._worked.open_some()

    def still(self) -> "StillContacts":
        """As they are now: quick, for nothing is unpacked."""
        rows, index = self.by_ref.still()
        queues = {owner: queue.still() for owner, queue in self.queues.items()}
        return StillContacts(
            counts=dict(self.counts),
            dealt=dict(self.dealt),
            next_rank=self.next_rank,
            engaged=self.engaged,
            queues=[(owner, [line for line, _ in lines]) for owner, lines in queues.items()],
            lines=Blocks.of(block for lines in queues.values() for _, blocks in lines for block in blocks),
            rows=rows,
            index=index,
            external=self._external.still(),
            worked=self._worked.still(),
        )

    @classmethod
    def of(cls, still: "StillContacts") -> "Contacts":
        """The contacts that were so; the parts are theirs from now on."""
        contacts = cls()
        contacts.by_ref = Roll(Rows(still.rows), Index(blocks=still.index))
        contacts.counts.update(still.counts)
        contacts.dealt.update(still.dealt)
        contacts.next_rank, contacts.engaged = still.next_rank, still.engaged
        blocks = iter(still.lines)
        contacts.queues = {owner: Queue.of(lines, blocks) for owner, lines in still.queues}
        contacts._external, contacts._worked = Index(blocks=still.external), Index(blocks=still.worked)
        return contacts

    def _queue(self, owner: str) -> Queue:
        queue = self.queues.get(owner)
        if queue is None:
            queue = self.queues[owner] = Queue()
        return queue

    def _count(self, contact: Contact, one: int) -> None:
        status = contact.status
        self.counts[status] += one
        if not contact.fixed and status in OPEN:
            self.dealt[contact.agent] = self.dealt.get(contact.agent, 0) + one


def _is_worked(contact: Contact) -> bool:
    return bool(contact.attempts or contact.disposition)


def _new(new: NewContact, rank: int) -> Contact:
    return Contact(
        ref=new.ref,
        person=new.person,
        rank=rank,
        priority=new.priority,
        agent=new.agent,
        fixed=bool(new.agent),
        zone=new.zone,
        tags=new.tags,
        external_id=new.external_id,
        consent_until=new.consent_until,
    )


def evolve(contacts: Contacts, event: ContactEvent) -> None:
    match event:
        case ContactReserved():
            contacts.change(event.contact, status=ContactStatus.HELD, reservation=event.reservation)
        case ReservationExtended() | ContactSuppressed() | DialRefused() | ContactsUpcoming():
            pass
        case ContactReleased():
            contacts.change(
                event.contact,
                status=ContactStatus.RETRY if event.due_at else ContactStatus.WAITING,
                reservation="",
                rank=event.rank,
                due_at=event.due_at,
                callback=contacts.by_ref[event.contact].callback if event.callback else "",
            )
            contacts.next_rank = max(contacts.next_rank, event.rank + 1)
        case ContactDisposed():
            contact = contacts.by_ref[event.contact]
            contacts.engaged += event.engaged - contact.engaged
            contacts.change(
                event.contact,
                status=ContactStatus.FINAL if event.final else ContactStatus.RETRY,
                reservation="",
                disposition=event.disposition,
                disposed=contact.disposed + 1 if contact.disposition == event.disposition else 1,
                engaged=event.engaged,
                due_at=event.due_at,
                callback=event.callback,
                form=event.form or contact.form,
            )
        case ContactsAdded():
            contacts.add(event.contacts, event.rank)
            contacts.next_rank = max(contacts.next_rank, event.rank + len(event.contacts))
        case ContactsReplaced():
            for new in event.contacts:
                contacts.put(_new(new, contacts.by_ref[new.ref].rank))
        case ContactsAssigned():
            for agent, refs in event.contacts.items():
                for ref in refs:
                    contacts.change(ref, agent=agent)
        case ContactCancelled():
            contacts.change(event.contact, status=ContactStatus.CANCELLED, reservation="")
        case ContactErased():
            person = Person(contacts.by_ref[event.contact].person.subject, None)
            contacts.change(event.contact, person=person, form=None, external_id="")
            row = contacts.by_ref.row_of(event.contact)
            contacts.by_ref.settle(row, row + 1)  # who it was is in no row either
        case ContactExhausted():
            contacts.change(event.contact, status=ContactStatus.FINAL, reservation="", due_at=0)
        case _:
            assert_never(event)
