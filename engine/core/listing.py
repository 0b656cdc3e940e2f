"""A campaign's list of contacts: adding, replacing, cancelling."""

from engine.core.book import Book, Event
from engine.core.contact import (
    OPEN,
    Contact,
    ContactCancelled,
    ContactErased,
    ContactsAdded,
    ContactsReplaced,
    ContactStatus,
    NewContact,
)
from engine.core.delivery import Decided, released
from engine.core.message import (
    AddContacts,
    Added,
    CancelContact,
    CancelContacts,
    EraseContacts,
)
from engine.core.refusal import Refused, absent, against_rule
from engine.core.reservation import (
    Phase,
)
from engine.core.reservation import Release as Why

CHUNK_CONTACTS = 1_000
"""Contacts in one event."""


def add(book: Book, command: AddContacts) -> Decided:
    new: dict[str, NewContact] = {}
    replaced: dict[str, NewContact] = {}
    refused: dict[str, str] = {}
    taken = {one.external_id: one.ref for one in command.contacts if one.external_id}
    there = set(book.contacts.by_ref.known(one.ref for one in command.contacts))
    for one in command.contacts:
        if one.external_id and (
            (book.contacts.named(one.external_id) or one.ref) != one.ref or taken[one.external_id] != one.ref
        ):
            refused[one.ref] = f"another contact has the external id {one.external_id!r}"
        elif one.ref not in there:
            new.setdefault(one.ref, one)
        elif command.overwrite and not _same(known := book.contacts.by_ref[one.ref], one):
            why = _why_not_replaced(known)
            if why:
                refused[one.ref] = why
            else:
                replaced[one.ref] = one
    rows = tuple(new.values())
    events: list[Event] = [
        ContactsAdded(
            at=command.at,
            rank=book.contacts.next_rank + start,
            contacts=rows[start : start + CHUNK_CONTACTS],
            by=command.by,
        )
        for start in range(0, len(rows), CHUNK_CONTACTS)
    ]
    others = tuple(replaced.values())
    events += [
        ContactsReplaced(at=command.at, contacts=others[start : start + CHUNK_CONTACTS], by=command.by)
        for start in range(0, len(others), CHUNK_CONTACTS)
    ]
    return events, [], Added(new=frozenset(new), replaced=frozenset(replaced), refused=refused)


def _why_not_replaced(known: Contact) -> str:
    if known.person.details is None:
        return "its data was erased"
    if known.attempts:
        return "it was dialled already"
    if known.disposition:  # a callback that was agreed on is not for a file to undo
        return "it was disposed of already"
    if known.status not in (ContactStatus.WAITING, ContactStatus.RETRY):
        return f"it is {known.status}"
    return ""


def _same(known: Contact, new: NewContact) -> bool:
    return (
        known.person == new.person
        and (known.priority, known.zone, known.tags) == (new.priority, new.zone, new.tags)
        and (known.external_id, known.consent_until) == (new.external_id, new.consent_until)
        and (known.agent if known.fixed else "") == new.agent
    )


def cancel_all(book: Book, command: CancelContacts) -> Decided:
    events: list[Event] = []
    refused: dict[str, str] = {}
    for ref in dict.fromkeys(command.contacts):
        one = CancelContact(at=command.at, by=command.by, contact=ref, reason=command.reason)
        try:
            events += cancel(book, one)
        except Refused as refusal:
            refused[ref] = refusal.detail
    return events, [], refused


def cancel(book: Book, command: CancelContact) -> list[Event]:
    contact = book.contacts.by_ref.get(command.contact)
    if contact is None:
        raise absent("contact", command.contact)
    match contact.status:
        case ContactStatus.CANCELLED:
            return []
        case ContactStatus.FINAL:
            raise against_rule("contact-final", f"contact {contact.ref!r} is already disposed of")
        case ContactStatus.HELD:
            held = book.reservations[contact.reservation]
            if held.phase is not Phase.OFFERED:
                raise against_rule("contact-in-call", f"contact {contact.ref!r} is in a call or its wrap-up")
            before: list[Event] = [released(contact, held, command.at, Why.CANCELLED)]
        case _:
            before = []
    return [
        *before,
        ContactCancelled(at=command.at, contact=contact.ref, reason=command.reason, by=command.by),
    ]


def erase(book: Book, command: EraseContacts) -> Decided:
    """Whoever still is on the list leaves it; what isn't there, or is erased already, needs nothing."""
    events: list[Event] = []
    waiting: list[str] = []
    for ref in dict.fromkeys(command.contacts):
        contact = book.contacts.by_ref.get(ref)
        if contact is None or contact.person.details is None:
            continue
        if in_call(book, contact):
            waiting.append(ref)
            continue
        if contact.status in OPEN:
            events += cancel(book, CancelContact(at=command.at, by=command.by, contact=ref, reason="erased"))
        events.append(ContactErased(at=command.at, contact=ref, by=command.by))
    return events, [], tuple(waiting)


def in_call(book: Book, contact: Contact) -> bool:
    """Whether somebody talks to the contact, or has yet to say what came of it."""
    held = book.reservations.get(contact.reservation)
    return held is not None and held.phase is not Phase.OFFERED
