"""A campaign's contacts and the order in which they are delivered.

    waiting ─reserved─► held ─disposed─► final
       ▲                 │ └─ disposed, to retry or call back ─► retry (due at a time) ─reserved─► held
       ├──── released ───┤
       │                 └─ released, attempts used up ─► final
       └─ released behind a failed attempt, to retry ─► retry
    waiting, retry, held and offered ─► cancelled

Whose queue a contact is in: a personal callback is in that agent's, a pre-assigned contact in its agent's, any other in
the free one. The order inside a queue is `queue`'s. Ranks are given in order of arrival; a contact that was skipped gets
a new one at the end, one that lapsed keeps its place. All contacts of a campaign together are its `roll`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.queue import Kind, Place
from engine.core.reservation import (
    ReservationEvent,
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


class ContactErased(msgspec.Struct, frozen=True, kw_only=True, tag="contact.erased.v1"):
    """From here on nobody knows who it was: the key of their data goes next. What was decided about them stays."""

    at: int
    contact: str
    by: str


ContactEvent = (
    ContactsAdded
    | ContactsReplaced
    | ContactsAssigned
    | ContactsUpcoming
    | ContactCancelled
    | ContactExhausted
    | ContactErased
    | ReservationEvent
)


# -- state ----------------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`at` is when the number was dialled, 0 where it never came to that."""

    call: str
    number: int
    outcome: Outcome
    at: int = 0


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    engaged: bool = False
    """Whether that disposition counts as engaged."""
    attempts: tuple[Attempt, ...] = ()
    form: Person | None = None
    """What was noted down when it was disposed of last."""

    @property
    def numbers(self) -> tuple[str, ...]:
        return self.person.details.numbers if self.person.details else ()

    @property
    def owner(self) -> str:
        """In whose queue it is."""
        return self.agent if self.callback in ("", ANYBODY) else self.callback

    @property
    def tied(self) -> bool:
        """Whether it stays in its owner's queue however contacts are split."""
        return self.fixed or self.callback not in ("", ANYBODY)

    @property
    def place(self) -> Place:
        if self.due_at:
            kind = Kind.CALLBACK if self.callback else Kind.RETRY
            return Place(ORDER[self.priority], kind, self.due_at, self.rank)
        return Place(ORDER[self.priority], Kind.FRESH, self.rank, self.rank)

    def dialled(self) -> Iterator[Attempt]:
        """Attempts that reached out for the contact, newest first: an agent who didn't come says nothing of a number."""
        return (
            one for one in reversed(self.attempts) if one.outcome not in (Outcome.AGENT_UNREACHABLE, Outcome.FAILED)
        )

    def last_outcome(self, number: int) -> Outcome | None:
        """How the newest attempt on a number (by index) ended. An agent who didn't come says nothing about a number."""
        dialled = (one for one in reversed(self.attempts) if one.outcome is not Outcome.AGENT_UNREACHABLE)
        return next((one.outcome for one in dialled if one.number == number), None)


# -- packed -----------------------------------------------------------------------------------------------------------

_STATUSES, _PRIORITIES = tuple(ContactStatus), tuple(Priority)
_STATUS_PLACES = {status: place for place, status in enumerate(_STATUSES)}


_OUTCOMES = tuple(Outcome)
_OUTCOME_PLACES = {outcome: place for place, outcome in enumerate(_OUTCOMES)}
_ID_DIGITS = 32
"""Of an id as we give them: sixteen bytes."""


class _Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`call`: bytes, or the text of an id that isn't as we give them."""

    call: Any
    number: int
    outcome: int
    at: int


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A contact, enums by their place. `subject` is None where it is the ref, `numbers` None once erased. What is as here at
    the end of a row is left out: nothing has become of most contacts yet.
    """

    ref: str
    rank: int
    status: int
    priority: int
    subject: str | None = None
    numbers: tuple[str, ...] | None = None
    name: str = ""
    data: dict[str, str] = {}
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
    attempts: tuple[_Attempt, ...] = ()
    form: dict[str, str] = {}
    engaged: bool = False


class _Ref(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row's beginning."""

    ref: str


_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(_Row).decode
_ref = msgspec.msgpack.Decoder(_Ref).decode
_ERASED = Details(numbers=())
_WAITING = _STATUS_PLACES[ContactStatus.WAITING]
_DEFAULTS: tuple[Any, ...] = (*[None] * 6, "", {}, "", False, "", (), "", 0, 0, "", "", "", 0, (), {}, False)
"""Of a row's fields, in their order. The first four have none."""


def _packed(*values: Any) -> bytes:
    """A `_Row`, without making one: its fields from the first on, any number of them."""
    end = len(values)
    while values[end - 1] == _DEFAULTS[end - 1]:
        end -= 1
    return _encode(values[:end])


def _short(call: str) -> bytes | str:
    """A call's id in half the bytes, where it is one as we give them."""
    if len(call) == _ID_DIGITS:
        try:
            data = bytes.fromhex(call)
        except ValueError:
            return call
        if data.hex() == call:
            return data
    return call


def pack(contact: Contact) -> bytes:
    """A contact in some thirty bytes, its ref and its details: equal contacts give equal bytes, which a snapshot keeps."""
    person, details = contact.person, contact.person.details or _ERASED
    noted = contact.form.details if contact.form is not None else None
    return _packed(
        contact.ref,
        contact.rank,
        _STATUS_PLACES[contact.status],
        ORDER[contact.priority],
        None if person.subject == contact.ref else person.subject,
        details.numbers if person.details is not None else None,
        details.name,
        details.data,
        contact.agent,
        contact.fixed,
        contact.zone,
        contact.tags,
        contact.external_id,
        contact.consent_until,
        contact.due_at,
        contact.callback,
        contact.reservation,
        contact.disposition,
        contact.disposed,
        tuple((_short(one.call), one.number, _OUTCOME_PLACES[one.outcome], one.at) for one in contact.attempts),
        noted.data if noted is not None and person.details is not None else {},
        contact.engaged,
    )


def pack_new(new: NewContact, rank: int) -> bytes:
    """What `pack` makes of a contact that just came."""
    person, details = new.person, new.person.details or _ERASED
    return _packed(
        *(new.ref, rank, _WAITING, ORDER[new.priority], None if person.subject == new.ref else person.subject),
        *(details.numbers if person.details is not None else None, details.name, details.data),
        *(new.agent, bool(new.agent), new.zone, new.tags, new.external_id, new.consent_until),
    )


def ref_of(packed: bytes) -> str:
    """Whose row it is."""
    return _ref(packed).ref


def unpack(packed: bytes) -> Contact:
    row = _row(packed)
    details = Details(numbers=row.numbers, name=row.name, data=row.data) if row.numbers is not None else None
    subject = row.ref if row.subject is None else row.subject
    return Contact(
        ref=row.ref,
        person=Person(subject, details),
        rank=row.rank,
        status=_STATUSES[row.status],
        priority=_PRIORITIES[row.priority],
        agent=row.agent,
        fixed=row.fixed,
        zone=row.zone,
        tags=row.tags,
        external_id=row.external_id,
        consent_until=row.consent_until,
        due_at=row.due_at,
        callback=row.callback,
        reservation=row.reservation,
        disposition=row.disposition,
        disposed=row.disposed,
        attempts=tuple(
            Attempt(
                one.call.hex() if isinstance(one.call, bytes) else one.call, one.number, _OUTCOMES[one.outcome], one.at
            )
            for one in row.attempts
        ),
        form=Person(subject, Details(numbers=(), data=row.form)) if row.form else None,
        engaged=row.engaged,
    )
