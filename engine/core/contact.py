"""A campaign's contacts and the order in which they are delivered.

    waiting ─reserved─► held ─disposed─► final
       ▲                 │ └─ disposed, to retry ─► retry (due at a time) ─reserved─► held
       └──── released ───┘
    waiting, retry, held and offered ─► cancelled

Order of delivery: retries that are due, the longest due first; then waiting ones by rank. Ranks are given in order of
arrival; a contact that was skipped gets a new one at the end, one that lapsed keeps its place.
"""

from collections.abc import Iterable
from enum import StrEnum
from heapq import heappop, heappush
from typing import assert_never

import msgspec

from engine.core.outcome import Outcome
from engine.core.personal import Person
from engine.core.reservation import (
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    ReservationEvent,
    ReservationExtended,
)


class ContactStatus(StrEnum):
    WAITING = "waiting"
    RETRY = "retry"
    HELD = "held"
    FINAL = "final"
    CANCELLED = "cancelled"


OPEN = (ContactStatus.WAITING, ContactStatus.RETRY, ContactStatus.HELD)


# -- events ---------------------------------------------------------------------------------------------------------


class NewContact(msgspec.Struct, frozen=True):
    ref: str
    person: Person


class ContactsAdded(msgspec.Struct, frozen=True, kw_only=True, tag="contacts.added.v1"):
    """Up to 1,000 contacts, ranked from `rank` on in this order."""

    at: int
    rank: int
    contacts: tuple[NewContact, ...]
    by: str


class ContactCancelled(msgspec.Struct, frozen=True, kw_only=True, tag="contact.cancelled.v1"):
    at: int
    contact: str
    reason: str
    by: str


ContactEvent = ContactsAdded | ContactCancelled | ReservationEvent


# -- state ----------------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct, frozen=True):
    call: str
    number: int
    outcome: Outcome


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    person: Person
    rank: int
    status: ContactStatus = ContactStatus.WAITING
    due_at: int = 0
    reservation: str = ""
    disposition: str = ""
    attempts: tuple[Attempt, ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        return self.person.details.numbers if self.person.details else ()

    def last_outcome(self, number: int) -> Outcome | None:
        """How the newest attempt on a number (by index) ended. An agent who didn't come says nothing about a number."""
        dialled = (one for one in reversed(self.attempts) if one.outcome is not Outcome.AGENT_UNREACHABLE)
        return next((one.outcome for one in dialled if one.number == number), None)

    def next_number(self) -> int | None:
        """The first number not yet tried; else the first that may be tried again. None where none may."""
        last = [self.last_outcome(index) for index in range(len(self.numbers))]
        if None in last:
            return last.index(None)
        return next((i for i, one in enumerate(last) if one not in (Outcome.INVALID, Outcome.UNKNOWN)), None)


class Contacts:
    """All contacts of a campaign by ref, counted by status, with the queue to deliver them from.

    The heaps hold what was once true; an entry counts only while its contact still says the same.
    """

    def __init__(self) -> None:
        self.by_ref: dict[str, Contact] = {}
        self.counts: dict[ContactStatus, int] = dict.fromkeys(ContactStatus, 0)
        self.next_rank = 1
        self._waiting: list[tuple[int, str]] = []
        self._due: list[tuple[int, int, str]] = []

    def __len__(self) -> int:
        return len(self.by_ref)

    @property
    def open(self) -> int:
        return sum(self.counts[status] for status in OPEN)

    def put(self, contact: Contact) -> None:
        before = self.by_ref.get(contact.ref)
        if before is not None:
            self.counts[before.status] -= 1
        self.counts[contact.status] += 1
        self.by_ref[contact.ref] = contact
        if contact.status is ContactStatus.WAITING:
            heappush(self._waiting, (contact.rank, contact.ref))
        elif contact.status is ContactStatus.RETRY:
            heappush(self._due, (contact.due_at, contact.rank, contact.ref))

    def first(self, at: int) -> Contact | None:
        """The contact to deliver now, without taking it."""
        due = self._next_retry()
        if due is not None and due.due_at <= at:
            return due
        while self._waiting:
            rank, ref = self._waiting[0]
            contact = self.by_ref[ref]
            if contact.status is ContactStatus.WAITING and contact.rank == rank:
                return contact
            heappop(self._waiting)
        return None

    def next_due_at(self) -> int | None:
        """When the earliest retry falls due."""
        due = self._next_retry()
        return due.due_at if due is not None else None

    def _next_retry(self) -> Contact | None:
        while self._due:
            due_at, rank, ref = self._due[0]
            contact = self.by_ref[ref]
            if contact.status is ContactStatus.RETRY and (contact.due_at, contact.rank) == (due_at, rank):
                return contact
            heappop(self._due)
        return None

    def load(self, contacts: Iterable[Contact], next_rank: int) -> None:
        for contact in contacts:
            self.put(contact)
        self.next_rank = next_rank


def evolve(contacts: Contacts, event: ContactEvent) -> None:
    match event:
        case ContactReserved():
            contact = contacts.by_ref[event.contact]
            contacts.put(
                msgspec.structs.replace(contact, status=ContactStatus.HELD, reservation=event.reservation, due_at=0)
            )
        case ReservationExtended():
            pass
        case ContactReleased():
            contact = contacts.by_ref[event.contact]
            contacts.put(
                msgspec.structs.replace(contact, status=ContactStatus.WAITING, reservation="", rank=event.rank)
            )
            contacts.next_rank = max(contacts.next_rank, event.rank + 1)
        case ContactDisposed():
            contact = contacts.by_ref[event.contact]
            status = ContactStatus.FINAL if event.final else ContactStatus.RETRY
            contacts.put(
                msgspec.structs.replace(
                    contact, status=status, reservation="", disposition=event.disposition, due_at=event.due_at
                )
            )
        case ContactsAdded():
            for offset, new in enumerate(event.contacts):
                contacts.put(Contact(ref=new.ref, person=new.person, rank=event.rank + offset))
            contacts.next_rank = event.rank + len(event.contacts)
        case ContactCancelled():
            contact = contacts.by_ref[event.contact]
            contacts.put(msgspec.structs.replace(contact, status=ContactStatus.CANCELLED, reservation=""))
        case _:
            assert_never(event)
