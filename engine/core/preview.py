"""Preview dialing: an agent asks for the next contact, looks, dials, talks, disposes."""

from engine.core import delivery, dialing, listing
from engine.core.book import Book, Event
from engine.core.campaign import Status
from engine.core.claims import Claims
from engine.core.contact import (
    ANYBODY,
)
from engine.core.delivery import Decided, delay_ms, in_hand
from engine.core.message import (
    AddContacts,
    CancelContact,
    CancelContacts,
    ClickToCall,
    Dial,
    Dispose,
    Extend,
    Next,
    Release,
    Skip,
)
from engine.core.refusal import absent, against_rule, invalid
from engine.core.reservation import (
    ContactDisposed,
    Phase,
    Reservation,
)

CALLBACK_MAX_MS = 366 * 86_400_000
"""How far ahead a callback may be."""

PreviewCommand = (
    AddContacts | CancelContact | CancelContacts | Next | Extend | Skip | Release | Dispose | Dial | ClickToCall
)


def decide(book: Book, message: PreviewCommand, claims: Claims) -> Decided:
    """Events, effects beyond what they imply, and the reply. Raises Refused."""
    _exists(book)
    match message:
        case AddContacts():
            return listing.add(book, message)
        case CancelContact():
            return listing.cancel(book, message), [], None
        case CancelContacts():
            return listing.cancel_all(book, message)
        case Next():
            return delivery.next_contact(book, message)
        case Dial():
            return dialing.dial(book, message, claims)
        case ClickToCall():
            return dialing.click(book, message, claims)
        case Extend():
            held = in_hand(book, message.agent, message.reservation, message.token)
            return delivery.extend(book, held, message.at), [], None
        case Skip():
            held = in_hand(book, message.agent, message.reservation, message.token)
            return delivery.skip(book, held, message), [], None
        case Release():
            return delivery.release(book, message), [], None
        case Dispose():
            held = in_hand(book, message.agent, message.reservation, message.token)
            return _dispose(book, held, message), [], None


def _exists(book: Book) -> None:
    if book.campaign.status is Status.ABSENT:
        raise absent("campaign", book.campaign.ref)
    if book.campaign.status is Status.DELETED:
        raise against_rule("campaign-deleted", f"campaign {book.campaign.ref!r} is deleted")


def _dispose(book: Book, held: Reservation, command: Dispose) -> list[Event]:
    settings = book.campaign.settings
    disposition = settings.disposition(command.disposition)
    if disposition is None:
        allowed = ", ".join(one.code for one in settings.dispositions)
        raise invalid("disposition", f"this campaign has no disposition {command.disposition!r}; it has {allowed}")
    if held.ahead:
        raise against_rule("reservation-ahead", f"agent {held.agent!r} has another contact in hand before this one")
    if held.phase is Phase.DIALING:
        raise against_rule("reservation-in-call", "the call is still up: a disposition closes the contact after it")
    contact = book.contacts.by_ref[held.contact]
    if not contact.attempts and not settings.dispose_without_attempt:
        raise against_rule("no-attempt", "the contact was never dialled")
    final, exhausted, due_at, callback = disposition.final, False, 0, ""
    if disposition.callback:
        due_at, callback = _called_back(command, held.agent)
    elif command.callback_at is not None:
        raise invalid("callback_at", f"disposition {disposition.code!r} is not a callback")
    elif not final:
        times = contact.disposed + 1 if contact.disposition == disposition.code else 1
        exhausted = bool(disposition.retry_at_most) and times > disposition.retry_at_most
        due_at = command.at + delay_ms(disposition.retry_after_s, disposition.retry_growth, times)
    if exhausted:
        final, due_at = True, 0
    return [
        ContactDisposed(
            at=command.at,
            contact=held.contact,
            agent=held.agent,
            reservation=held.id,
            call=held.call,
            disposition=disposition.code,
            engaged=disposition.engaged,
            final=final,
            due_at=due_at,
            callback=callback,
            exhausted=exhausted,
            dnc=disposition.dnc,
        )
    ]


def _called_back(command: Dispose, agent: str) -> tuple[int, str]:
    at = command.callback_at
    if at is None:
        raise invalid("callback_at", "when does the contact want to be called back?")
    if not command.at < at <= command.at + CALLBACK_MAX_MS:
        raise invalid("callback_at", "a callback is in the future, and within a year")
    return at, agent if command.personal else ANYBODY
