"""A campaign's contacts, all of them: by ref, counted, and queued for delivery.

A list may be a million long, and nearly all of it waits: a contact is kept packed, and unpacked when somebody looks.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
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

MAX_UNPACKED = 512
"""Contacts that are kept as they are beside their rows: as many as agents of a campaign have in hand."""


class Roll(Mapping[str, Contact]):
    """Contacts by ref in order of arrival, to be read as they are now."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self._unpacked: dict[str, tuple[bytes, Contact]] = {}
        """Some, each with the row that it is of: who is in some agent's hand is looked at again and again."""

    def __getitem__(self, ref: str) -> Contact:
        contact = self.found(ref)
        if contact is None:
            raise KeyError(ref)
        return contact

    def __contains__(self, ref: object) -> bool:
        return ref in self.rows

    def found(self, ref: str) -> Contact | None:
        """As `get`, which asks by way of an exception: most refs of a new list aren't there."""
        packed = self.rows.get(ref)
        if packed is None:
            return None
        known = self._unpacked.get(ref)
        if known is not None and known[0] is packed:
            return known[1]
        contact = unpack(ref, packed)
        self._remember(packed, contact)
        return contact

    def put(self, contact: Contact, is_new: bool) -> None:
        packed = self.rows[contact.ref] = pack(contact)
        if not is_new:  # new ones come by thousands and wait
            self._remember(packed, contact)

    def _remember(self, packed: bytes, contact: Contact) -> None:
        if len(self._unpacked) >= MAX_UNPACKED:
            self._unpacked.clear()
        self._unpacked[contact.ref] = packed, contact

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def walk(self, rows: int, number: str = "") -> Iterator[list[Contact]]:
        """All contacts in order of arrival, or those with a number, however it is written: a list for every so many rows
        looked at. Contacts may change and come between one list and the next.
        """
        line = line_of(number)
        digits, start, length, rest = line.encode(), 0, -1, iter(self.rows.items())
        while True:
            if len(self.rows) != length:  # an iterator doesn't outlive additions
                length, rest = len(self.rows), islice(self.rows.items(), start, None)
            page = list(islice(rest, rows))
            if not page:
                return
            start += len(page)
            found = [unpack(ref, packed) for ref, packed in page if digits in packed]
            yield [one for one in found if line in map(line_of, one.numbers)] if number else found

    def marked(self, start: int, rows: int, mark: str, named: Container[str]) -> list[tuple[int, Contact]]:
        """Of so many contacts from a place on, those that are named and those in whose row `mark` stands, wherever: each
        with the place behind it. The others are not unpacked.
        """
        letters, page = mark.encode(), islice(self.rows.items(), start, start + rows)
        return [
            (place, unpack(ref, packed))
            for place, (ref, packed) in enumerate(page, start + 1)
            if letters in packed or ref in named
        ]

    def page(self, start: int, limit: int) -> list[Contact]:
        """Up to `limit` contacts from a place on. Finding it is a walk in C: some milliseconds a million contacts."""
        return [unpack(ref, packed) for ref, packed in islice(self.rows.items(), start, start + limit)]


class Contacts:
    """All contacts of a campaign by ref, counted by status, with the queues to deliver them from."""

    def __init__(self) -> None:
        self.by_ref = Roll()
        self.counts: dict[ContactStatus, int] = dict.fromkeys(ContactStatus, 0)
        self.next_rank = 1
        self.engaged = 0
        """Contacts whose disposition counts as engaged."""
        self.by_external: dict[str, str] = {}
        """Ref by the CRM's own id."""
        self.dealt: dict[str, int] = {}
        """How many open contacts that weren't assigned from outside are whose."""
        self.queues: dict[str, Queue] = {}
        """By owner."""
        self.worked: dict[str, list[str]] = {}
        """Contacts that were dialled or disposed of, by the lines of their numbers."""

    def __len__(self) -> int:
        return len(self.by_ref)

    @property
    def open(self) -> int:
        return sum(self.counts[status] for status in OPEN)

    def put(self, contact: Contact) -> None:
        """Add a contact, or what became of it."""
        self._put(self.by_ref.found(contact.ref), contact)

    def change(self, ref: str, **changes: Any) -> None:
        before = self.by_ref[ref]
        self._put(before, msgspec.structs.replace(before, **changes))

    def _put(self, before: Contact | None, contact: Contact) -> None:
        self.by_ref.put(contact, is_new=before is None)
        if before is not None and before.external_id != contact.external_id:
            self.by_external.pop(before.external_id, None)  # replaced: the CRM's former id names nobody
        if contact.external_id:
            self.by_external[contact.external_id] = contact.ref
        self._note(before, contact)
        if before is not None:
            self._count(before, -1)
            if before.status in DELIVERABLE:
                self.queues[before.owner].drop(before.place, before.tied)
        self._count(contact, 1)
        if contact.status in DELIVERABLE:
            self._queue(contact.owner).put(contact.place, contact.tied)

    def worked_with(self, numbers: Iterable[str], external_id: str) -> Iterator[str]:
        """Contacts that something came of, who have one of the numbers, however it is written, or the CRM's id."""
        refs = {ref: None for number in numbers for ref in reversed(self.worked.get(line_of(number), ()))}
        same = self.by_external.get(external_id, "") if external_id else ""
        if same and _is_worked(self.by_ref[same]):
            refs[same] = None
        return iter(refs)

    def _note(self, before: Contact | None, contact: Contact) -> None:
        """Keep the index of who was worked with: a line for each number, for as long as the contact has it."""
        was = before.numbers if before is not None and _is_worked(before) else ()
        numbers = contact.numbers if _is_worked(contact) else ()
        if was == numbers:
            return
        for line in map(line_of, was):
            self.worked[line].remove(contact.ref)
            if not self.worked[line]:
                del self.worked[line]
        for line in map(line_of, numbers):
            self.worked.setdefault(line, []).append(contact.ref)

    def first(self, at: int, owner: str = FREE) -> Contact | None:
        """The contact of an owner's queue to deliver now, without taking it."""
        queue = self.queues.get(owner)
        place = queue.first(at) if queue is not None else None
        return self.by_ref[place.ref] if place is not None else None

    def best(self, at: int, owners: Iterable[str]) -> Contact | None:
        """The first of several owners' queues together."""
        found = (self.queues[owner].first(at) for owner in owners if owner in self.queues)
        place = min((one for one in found if one is not None), default=None)
        return self.by_ref[place.ref] if place is not None else None

    def next_due_at(self, owners: Iterable[str]) -> int | None:
        """When the earliest contact that isn't due yet will be."""
        found = (self.queues[owner].next_due_at() for owner in owners if owner in self.queues)
        return min((one for one in found if one is not None), default=None)

    def upcoming(self, at: int, owner: str, limit: int) -> list[Contact]:
        """The next contacts of an owner's queue in order of delivery."""
        queue = self.queues.get(owner)
        return [self.by_ref[place.ref] for place in queue.upcoming(at, limit)] if queue is not None else []

    def owners(self) -> Iterable[str]:
        return self.queues.keys()

    def movable(self, agent: str, limit: int, newest: bool) -> list[str]:
        """Up to `limit` refs of an agent's contacts that a split may give to another, the last in line first if `newest`:
        none that somebody holds, no personal callback."""
        queue = self.queues.get(agent)
        return list(islice(queue.loose(newest), limit)) if queue is not None else []

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
