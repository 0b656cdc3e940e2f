"""Closing contacts: one by the agent who has it in hand, or many at once."""

from typing import Any

import msgspec

from engine.core import form
from engine.core.book import Book, Event
from engine.core.campaign import Disposition
from engine.core.contact import ANYBODY, Contact, ContactStatus
from engine.core.delivery import Decided, delay_ms, in_hand
from engine.core.message import Dispose, DisposeAll
from engine.core.refusal import Refused, absent, against_rule, invalid
from engine.core.reservation import ContactDisposed, Phase, Reservation

CALLBACK_MAX_MS = 366 * 86_400_000
"""How far ahead a callback may be."""


def dispose(book: Book, command: Dispose) -> list[Event]:
    held = in_hand(book, command.agent, command.reservation, command.token)
    disposition = _allowed(book, command.disposition)
    _closable(held)
    closed = _closed(book, book.contacts.by_ref[held.contact], held, disposition, command.data, command.at)
    if disposition.callback:
        due_at, callback = _called_back(command, held.agent)
        return [msgspec.structs.replace(closed, due_at=due_at, callback=callback)]
    if command.callback_at is not None:
        raise invalid("callback_at", f"disposition {disposition.code!r} is not a callback")
    return [closed]


def dispose_all(book: Book, command: DisposeAll) -> Decided:
    """Each contact is closed, or refused for itself; an agent closes those in their hand and their own."""
    settings = book.campaign.settings
    if command.agent and not settings.agents_dispose_in_bulk:
        raise against_rule("bulk-not-open", "in this campaign agents close their contacts one by one")
    disposition = _allowed(book, command.disposition)
    if disposition.callback:
        raise invalid("disposition", "a callback is agreed on with one contact at a time")
    form.check(settings.form, command.data, settings.dispose_with_missing_data)  # for all or for none
    events: list[Event] = []
    refused: dict[str, Refused] = {}
    for ref in dict.fromkeys(command.contacts):
        try:
            events.append(_one_of_many(book, ref, disposition, command))
        except Refused as refusal:
            refused[ref] = refusal
    return events, [], refused


def _one_of_many(book: Book, ref: str, disposition: Disposition, command: DisposeAll) -> ContactDisposed:
    contact = book.contacts.by_ref.get(ref)
    if contact is None:
        raise absent("contact", ref)
    if contact.status in (ContactStatus.FINAL, ContactStatus.CANCELLED):
        raise against_rule("contact-closed", f"contact {ref!r} is {contact.status}")
    held = book.reservations.get(contact.reservation)
    if held is not None:
        if command.agent and held.agent != command.agent:
            raise against_rule("contact-held", "another agent has this contact in hand")
        _closable(held)
    elif command.agent and contact.owner != command.agent:
        raise against_rule("contact-not-yours", f"contact {ref!r} is not agent {command.agent!r}'s")
    closed = _closed(book, contact, held, disposition, command.data, command.at)
    by = "" if held is not None and command.by == held.agent else command.by
    return msgspec.structs.replace(closed, by=by)


def _allowed(book: Book, code: str) -> Disposition:
    settings = book.campaign.settings
    disposition = settings.disposition(code)
    if disposition is None:
        allowed = ", ".join(one.code for one in settings.dispositions)
        raise invalid("disposition", f"this campaign has no disposition {code!r}; it has {allowed}")
    return disposition


def _closable(held: Reservation) -> None:
    if held.ahead:
        raise against_rule("reservation-ahead", f"agent {held.agent!r} has another contact in hand before this one")
    if held.phase is Phase.DIALING:
        raise against_rule("reservation-in-call", "the call is still up: a disposition closes the contact after it")


def _closed(
    book: Book, contact: Contact, held: Reservation | None, disposition: Disposition, data: dict[str, Any], at: int
) -> ContactDisposed:
    """The contact with its disposition, and when it comes back by the disposition's own rule."""
    settings = book.campaign.settings
    if not contact.attempts and not settings.dispose_without_attempt:
        raise against_rule("no-attempt", "the contact was never dialled")
    answers = form.check(settings.form, data, settings.dispose_with_missing_data)
    times = contact.disposed + 1 if contact.disposition == disposition.code else 1
    returns = not disposition.final and not disposition.callback
    exhausted = returns and 0 < disposition.retry_at_most < times
    back_at = at + delay_ms(disposition.retry_after_s, disposition.retry_growth, times)
    return ContactDisposed(
        at=at,
        contact=contact.ref,
        agent=held.agent if held is not None else "",
        reservation=held.id if held is not None else "",
        call=held.call if held is not None else "",
        disposition=disposition.code,
        engaged=disposition.engaged,
        final=disposition.final or exhausted,
        due_at=back_at if returns and not exhausted else 0,
        exhausted=exhausted,
        dnc=disposition.dnc,
        form=form.sealed(contact.person.subject, answers),
    )


def _called_back(command: Dispose, agent: str) -> tuple[int, str]:
    at = command.callback_at
    if at is None:
        raise invalid("callback_at", "when does the contact want to be called back?")
    if not command.at < at <= command.at + CALLBACK_MAX_MS:
        raise invalid("callback_at", "a callback is in the future, and within a year")
    return at, agent if command.personal else ANYBODY
