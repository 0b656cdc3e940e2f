"""A campaign's contacts, all of them: by ref, counted, and queued for delivery.

A list may be a million long, and nearly all of it waits: a contact is kept packed, and unpacked when somebody looks.
"""

from array import array
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import Any, assert_never

import msgspec

from engine.core.contact import (
    DELIVERABLE,
    FREE,
    OPEN,
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
    pack,
    unpack,
)
from engine.core.personal import Person
from engine.core.queue import Queue
from engine.core.reservation import (
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    ContactSuppressed,
    DialRefused,
    ReservationExtended,
)
from engine.core.standing import line_of
from engine.core.table import Table


class Roll(Mapping[str, Contact]):
    """Contacts by ref in order of arrival, to be read as they are now."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table if table is not None else Table()
        self._seen: tuple[bytes, Contact] | None = None
        """What was unpacked last, and from what: a decision looks at its contact several times."""

    def __getitem__(self, ref: str) -> Contact:
        contact = self.found(ref)
        if contact is None:
            raise KeyError(ref)
        return contact

    def __contains__(self, ref: object) -> bool:
        return ref in self.table

    def found(self, ref: str) -> Contact | None:
        """As `get`, which asks by way of an exception: most refs of a new list aren't there."""
        packed = self.table.get(ref)
        if packed is None:
            return None
        seen = self._seen
        if seen is None or seen[0] != packed or seen[1].ref != ref:
            seen = self._seen = packed, unpack(ref, packed)
        return seen[1]

    def at(self, row: int) -> Contact:
        """The contact in a row, from 0 on."""
        return unpack(self.table.name(row), self.table.at(row))

    def __iter__(self) -> Iterator[str]:
        return self.table.names()

    def __len__(self) -> int:
        return len(self.table)

    def walk(self, rows: int, number: str = "") -> Iterator[list[Contact]]:
        """All contacts in order of arrival, or those with a number, however it is written: a list for every so many rows
        looked at. Contacts may change and come between one list and the next.
        """
        line = line_of(number)
        digits = line.encode()
        for start in count(0, rows):
            page = list(islice(self.table.items(start), rows))
            if not page:
                return
            found = [unpack(ref, packed) for ref, packed in page if digits in packed]
            yield [one for one in found if line in map(line_of, one.numbers)] if number else found

    def marked(self, start: int, rows: int, mark: str, named: Container[str]) -> list[tuple[int, Contact]]:
        """Of so many contacts from a place on, those that are named and those in whose row `mark` stands, wherever: each
        with the place behind it. The others are not unpacked.
        """
        letters, page = mark.encode(), islice(self.table.items(start), rows)
        return [
            (place, unpack(ref, packed))
            for place, (ref, packed) in enumerate(page, start + 1)
            if letters in packed or ref in named
        ]

    def page(self, start: int, limit: int) -> list[Contact]:
        """Up to `limit` contacts from a place on."""
        return [unpack(ref, packed) for ref, packed in islice(self.table.items(start), limit)]


class Rows:
    """Rows of the roll by some text that several may have in common. Those of a text: the one that came last at the end."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table if table is not None else Table()

    def of(self, text: str) -> "array[int]":
        return array("I", self.table.get(text) or b"")

    def add(self, text: str, row: int) -> None:
        rows = self.of(text)
        rows.append(row)
        self.table.put(text, rows.tobytes())

    def remove(self, text: str, row: int) -> None:
        rows = self.of(text)
        rows.remove(row)
        self.table.put(text, rows.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self._all() == other._all()

    __hash__ = None  # type: ignore[assignment]  # they change

    def _all(self) -> dict[str, bytes]:
        return {text: rows for text, rows in self.table.items() if rows}


class Externals(Mapping[str, str]):
    """Ref by the CRM's own id."""

    def __init__(self, roll: Roll, rows: Rows | None = None) -> None:
        self._roll = roll
        self.rows = rows if rows is not None else Rows()

    def __getitem__(self, external_id: str) -> str:
        rows = self.rows.of(external_id)
        if not rows:
            raise KeyError(external_id)
        return self._roll.table.name(rows[-1])

    def __iter__(self) -> Iterator[str]:
        return (text for text, rows in self.rows.table.items() if rows)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def put(self, external_id: str, row: int) -> None:
        self.rows.table.put(external_id, array("I", [row]).tobytes())

    def drop(self, external_id: str) -> None:
        if self.rows.of(external_id):
            self.rows.table.put(external_id, b"")


class Contacts:
    """All contacts of a campaign by ref, counted by status, with the queues to deliver them from."""

    def __init__(self, roll: Roll | None = None, external: Rows | None = None, worked: Rows | None = None) -> None:
        self.by_ref = roll if roll is not None else Roll()
        self.counts: dict[ContactStatus, int] = dict.fromkeys(ContactStatus, 0)
        self.next_rank = 1
        self.engaged = 0
        """Contacts whose disposition counts as engaged."""
        self.by_external = Externals(self.by_ref, external)
        self.dealt: dict[str, int] = {}
        """How many open contacts that weren't assigned from outside are whose."""
        self.queues: dict[str, Queue] = {}
        """By owner."""
        self.worked = worked if worked is not None else Rows()
        """Contacts that were dialled or disposed of, by the lines of their numbers."""

    def __len__(self) -> int:
        return len(self.by_ref)

    @property
    def open(self) -> int:
        return sum(self.counts[status] for status in OPEN)

    def put(self, contact: Contact) -> None:
        """Add a contact, or what became of it."""
        table = self.by_ref.table
        row = table.place(contact.ref)
        if row < 0:
            self._took(table.add(contact.ref, pack(contact)), None, contact)
        else:
            before = unpack(contact.ref, table.at(row))
            table.set(row, pack(contact))
            self._took(row, before, contact)

    def change(self, ref: str, **changes: Any) -> None:
        table = self.by_ref.table
        row = table.place(ref)
        if row < 0:
            raise KeyError(ref)
        before = unpack(ref, table.at(row))
        contact = msgspec.structs.replace(before, **changes)
        table.set(row, pack(contact))
        self._took(row, before, contact)

    def _took(self, row: int, before: Contact | None, contact: Contact) -> None:
        if before is not None and before.external_id and before.external_id != contact.external_id:
            self.by_external.drop(before.external_id)  # replaced: the CRM's former id names nobody
        if contact.external_id and (before is None or before.external_id != contact.external_id):
            self.by_external.put(contact.external_id, row)
        self._note(row, before, contact)
        if before is not None:
            self._count(before, -1)
            if before.status in DELIVERABLE:
                self.queues[before.owner].drop(before.place_of(row), before.tied)
        self._count(contact, 1)
        if contact.status in DELIVERABLE:
            self._queue(contact.owner).put(contact.place_of(row), contact.tied)

    def worked_with(self, numbers: Iterable[str], external_id: str) -> Iterator[str]:
        """Contacts that something came of, who have one of the numbers, however it is written, or the CRM's id."""
        rows = {row: None for number in numbers for row in reversed(self.worked.of(line_of(number)))}
        refs = {self.by_ref.table.name(row): None for row in rows}
        same = self.by_external.get(external_id, "") if external_id else ""
        if same and _is_worked(self.by_ref[same]):
            refs[same] = None
        return iter(refs)

    def _note(self, row: int, before: Contact | None, contact: Contact) -> None:
        """Keep the index of who was worked with: a line for each number, for as long as the contact has it."""
        was = before.numbers if before is not None and _is_worked(before) else ()
        numbers = contact.numbers if _is_worked(contact) else ()
        if was == numbers:
            return
        for line in map(line_of, was):
            self.worked.remove(line, row)
        for line in map(line_of, numbers):
            self.worked.add(line, row)

    def first(self, at: int, owner: str = FREE) -> Contact | None:
        """The contact of an owner's queue to deliver now, without taking it."""
        queue = self.queues.get(owner)
        place = queue.first(at) if queue is not None else None
        return self.by_ref.at(place.row) if place is not None else None

    def best(self, at: int, owners: Iterable[str]) -> Contact | None:
        """The first of several owners' queues together."""
        found = (self.queues[owner].first(at) for owner in owners if owner in self.queues)
        place = min((one for one in found if one is not None), default=None)
        return self.by_ref.at(place.row) if place is not None else None

    def next_due_at(self, owners: Iterable[str]) -> int | None:
        """When the earliest contact that isn't due yet will be."""
        found = (self.queues[owner].next_due_at() for owner in owners if owner in self.queues)
        return min((one for one in found if one is not None), default=None)

    def upcoming(self, at: int, owner: str, limit: int) -> list[Contact]:
        """The next contacts of an owner's queue in order of delivery."""
        queue = self.queues.get(owner)
        return [self.by_ref.at(place.row) for place in queue.upcoming(at, limit)] if queue is not None else []

    def owners(self) -> Iterable[str]:
        return self.queues.keys()

    def movable(self, agent: str, limit: int, newest: bool) -> list[str]:
        """Up to `limit` refs of an agent's contacts that a split may give to another, the last in line first if `newest`:
        none that somebody holds, no personal callback."""
        queue = self.queues.get(agent)
        return [self.by_ref.table.name(row) for row in islice(queue.loose(newest), limit)] if queue is not None else []

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
            for offset, new in enumerate(event.contacts):
                contacts.put(_new(new, event.rank + offset))
            contacts.next_rank = event.rank + len(event.contacts)
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
        case ContactExhausted():
            contacts.change(event.contact, status=ContactStatus.FINAL, reservation="", due_at=0)
        case _:
            assert_never(event)
