"""A campaign's contacts and the order in which they are delivered.

    waiting ─reserved─► held ─disposed─► final
       ▲                 │ └─ disposed, to retry or call back ─► retry (due at a time) ─reserved─► held
       ├──── released ───┤
       │                 └─ released, attempts used up ─► final
       └─ released behind a failed attempt, to retry ─► retry
    waiting, retry, held and offered ─► cancelled

Whose queue a contact is in: a personal callback is in that agent's, a pre-assigned contact in its agent's, any other in
the free one. The order inside a queue is `queue`'s. Ranks are given in order of arrival; a contact that was skipped gets
a new one at the end, one that lapsed keeps its place.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import assert_never

import msgspec

from engine.core.outcome import Outcome
from engine.core.personal import Person
from engine.core.queue import Kind, Place, Queue
from engine.core.reservation import (
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    DialRefused,
    ReservationEvent,
    ReservationExtended,
)

ANYBODY = "*"
"""Whose callback it is when any agent may make it."""
FREE = ""
"""The queue of contacts that are nobody's in particular."""


class ContactStatus(StrEnum):
    WAITING = "waiting"
    RETRY = "retry"
    HELD = "held"
    FINAL = "final"
    CANCELLED = "cancelled"


OPEN = (ContactStatus.WAITING, ContactStatus.RETRY, ContactStatus.HELD)
DELIVERABLE = (ContactStatus.WAITING, ContactStatus.RETRY)


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


ORDER = {priority: place for place, priority in enumerate(Priority)}


# -- events ---------------------------------------------------------------------------------------------------------


class NewContact(msgspec.Struct, frozen=True, omit_defaults=True):
    """`agent` is whom it was assigned to from outside, `zone` an IANA time zone ("" is told by the numbers), `tags` and
    `external_id` the CRM's. `consent_until` is epoch ms, 0 where nothing was said of consent.
    """

    ref: str
    person: Person
    priority: Priority = Priority.LOW
    agent: str = ""
    zone: str = ""
    tags: tuple[str, ...] = ()
    external_id: str = ""
    consent_until: int = 0


class ContactsAdded(msgspec.Struct, frozen=True, kw_only=True, tag="contacts.added.v1"):
    """Up to 1,000 contacts, ranked from `rank` on in this order."""

    at: int
    rank: int
    contacts: tuple[NewContact, ...]
    by: str


class ContactsReplaced(msgspec.Struct, frozen=True, kw_only=True, tag="contacts.replaced.v1"):
    """Contacts that were never dialled, as a later file has them. They keep their rank."""

    at: int
    contacts: tuple[NewContact, ...]
    by: str


class ContactsAssigned(msgspec.Struct, frozen=True, kw_only=True, tag="contacts.assigned.v1"):
    """A step of the split: the contacts by the agent whose they are from now on ("" is nobody's in particular)."""

    at: int
    method: str
    seed: int
    contacts: dict[str, tuple[str, ...]]


class ContactCancelled(msgspec.Struct, frozen=True, kw_only=True, tag="contact.cancelled.v1"):
    at: int
    contact: str
    reason: str
    by: str


class ContactsUpcoming(msgspec.Struct, frozen=True, kw_only=True, tag="contacts.upcoming.v1"):
    """Who will be delivered next, in order, about two for each agent at work: a CRM may load them ahead."""

    at: int
    contacts: tuple[str, ...]


class ContactExhausted(msgspec.Struct, frozen=True, kw_only=True, tag="contact.exhausted.v1"):
    """Final without a disposition: as many attempts were made as the campaign allows, or no number of it exists."""

    at: int
    contact: str
    attempts: int


ContactEvent = (
    ContactsAdded
    | ContactsReplaced
    | ContactsAssigned
    | ContactsUpcoming
    | ContactCancelled
    | ContactExhausted
    | ReservationEvent
)


# -- state ----------------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct, frozen=True):
    """`at` is when the number was dialled, 0 where it never came to that."""

    call: str
    number: int
    outcome: Outcome
    at: int = 0


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """`agent` is whose it is by assignment (`fixed`: from outside, never dealt anew), `callback` whose callback it is."""

    ref: str
    person: Person
    rank: int
    status: ContactStatus = ContactStatus.WAITING
    priority: Priority = Priority.LOW
    agent: str = ""
    fixed: bool = False
    zone: str = ""
    tags: tuple[str, ...] = ()
    external_id: str = ""
    consent_until: int = 0
    due_at: int = 0
    callback: str = ""
    reservation: str = ""
    disposition: str = ""
    disposed: int = 0
    """How often the same disposition was given in a row."""
    attempts: tuple[Attempt, ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        return self.person.details.numbers if self.person.details else ()

    @property
    def owner(self) -> str:
        """In whose queue it is."""
        return self.agent if self.callback in ("", ANYBODY) else self.callback

    @property
    def place(self) -> Place:
        if self.due_at:
            kind = Kind.CALLBACK if self.callback else Kind.RETRY
            return Place(ORDER[self.priority], kind, self.due_at, self.rank, self.ref)
        return Place(ORDER[self.priority], Kind.FRESH, self.rank, self.rank, self.ref)

    def dialled(self) -> Iterator[Attempt]:
        """Attempts that reached out for the contact, newest first: an agent who didn't come says nothing of a number."""
        return (
            one for one in reversed(self.attempts) if one.outcome not in (Outcome.AGENT_UNREACHABLE, Outcome.FAILED)
        )

    def last_outcome(self, number: int) -> Outcome | None:
        """How the newest attempt on a number (by index) ended. An agent who didn't come says nothing about a number."""
        dialled = (one for one in reversed(self.attempts) if one.outcome is not Outcome.AGENT_UNREACHABLE)
        return next((one.outcome for one in dialled if one.number == number), None)


class Contacts:
    """All contacts of a campaign by ref, counted by status, with the queues to deliver them from."""

    def __init__(self) -> None:
        self.by_ref: dict[str, Contact] = {}
        self.counts: dict[ContactStatus, int] = dict.fromkeys(ContactStatus, 0)
        self.next_rank = 1
        self.engaged = 0
        """Contacts whose disposition counts as engaged."""
        self.by_external: dict[str, str] = {}
        """Ref by the CRM's own id."""
        self.dealt: dict[str, dict[str, None]] = {}
        """Open contacts that a split may move, by whose they are, the longest theirs first."""
        self._queues: dict[str, Queue] = {}

    def __len__(self) -> int:
        return len(self.by_ref)

    @property
    def open(self) -> int:
        return sum(self.counts[status] for status in OPEN)

    def put(self, contact: Contact) -> None:
        before = self.by_ref.get(contact.ref)
        if before is not None:
            self.counts[before.status] -= 1
            if before.agent != contact.agent:
                self.dealt.get(before.agent, {}).pop(before.ref, None)
            if before.external_id != contact.external_id:  # replaced: the CRM's former id names nobody
                self.by_external.pop(before.external_id, None)
        self.counts[contact.status] += 1
        self.by_ref[contact.ref] = contact
        if contact.external_id:
            self.by_external[contact.external_id] = contact.ref
        if not contact.fixed:
            mine = self.dealt.setdefault(contact.agent, {})
            if contact.status in OPEN:
                mine[contact.ref] = None
            else:
                mine.pop(contact.ref, None)
        if contact.status in DELIVERABLE:
            self._queue(contact.owner).put(contact.place)

    def first(self, at: int, owner: str = FREE) -> Contact | None:
        """The contact of an owner's queue to deliver now, without taking it."""
        queue = self._queues.get(owner)
        place = queue.first(at) if queue is not None else None
        return self.by_ref[place.ref] if place is not None else None

    def best(self, at: int, owners: Iterable[str]) -> Contact | None:
        """The first of several owners' queues together."""
        found = (self.first(at, owner) for owner in owners)
        return min((one for one in found if one is not None), key=lambda one: one.place, default=None)

    def next_due_at(self, owners: Iterable[str]) -> int | None:
        """When the earliest contact that isn't due yet will be."""
        found = (self._queues[owner].next_due_at() for owner in owners if owner in self._queues)
        return min((one for one in found if one is not None), default=None)

    def upcoming(self, at: int, owner: str, limit: int) -> list[Contact]:
        """The next contacts of an owner's queue in order of delivery."""
        queue = self._queues.get(owner)
        return [self.by_ref[place.ref] for place in queue.upcoming(at, limit)] if queue is not None else []

    def owners(self) -> Iterable[str]:
        return self._queues.keys()

    def load(self, contacts: Iterable[Contact], next_rank: int) -> None:
        for contact in contacts:
            self.put(contact)
        self.next_rank = next_rank

    def _queue(self, owner: str) -> Queue:
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = Queue(self._holding(owner))
        return queue

    def _holding(self, owner: str) -> Callable[[Place], bool]:
        def holds(place: Place) -> bool:
            contact = self.by_ref[place.ref]
            return contact.status in DELIVERABLE and contact.owner == owner and contact.place == place

        return holds


def movable(contacts: Contacts, agent: str, limit: int, newest: bool) -> list[str]:
    """Up to `limit` refs of an agent's open contacts that a split may give to another: none that somebody holds, no
    personal callback."""
    mine = contacts.dealt.get(agent, {})
    free = (
        ref
        for ref in (reversed(mine) if newest else iter(mine))
        if contacts.by_ref[ref].status in DELIVERABLE and contacts.by_ref[ref].callback in ("", ANYBODY)
    )
    return list(islice(free, limit))


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
            contact = contacts.by_ref[event.contact]
            contacts.put(msgspec.structs.replace(contact, status=ContactStatus.HELD, reservation=event.reservation))
        case ReservationExtended() | DialRefused() | ContactsUpcoming():
            pass
        case ContactReleased():
            contact = contacts.by_ref[event.contact]
            contacts.put(
                msgspec.structs.replace(
                    contact,
                    status=ContactStatus.RETRY if event.due_at else ContactStatus.WAITING,
                    reservation="",
                    rank=event.rank,
                    due_at=event.due_at,
                    callback=contact.callback if event.callback else "",
                )
            )
            contacts.next_rank = max(contacts.next_rank, event.rank + 1)
        case ContactDisposed():
            contact = contacts.by_ref[event.contact]
            contacts.engaged += event.engaged
            contacts.put(
                msgspec.structs.replace(
                    contact,
                    status=ContactStatus.FINAL if event.final else ContactStatus.RETRY,
                    reservation="",
                    disposition=event.disposition,
                    disposed=contact.disposed + 1 if contact.disposition == event.disposition else 1,
                    due_at=event.due_at,
                    callback=event.callback,
                )
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
                    contacts.put(msgspec.structs.replace(contacts.by_ref[ref], agent=agent))
        case ContactCancelled():
            contact = contacts.by_ref[event.contact]
            contacts.put(msgspec.structs.replace(contact, status=ContactStatus.CANCELLED, reservation=""))
        case ContactExhausted():
            contact = contacts.by_ref[event.contact]
            contacts.put(msgspec.structs.replace(contact, status=ContactStatus.FINAL, reservation="", due_at=0))
        case _:
            assert_never(event)
