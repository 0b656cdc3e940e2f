"""What is told of a contact in an agent's hand, from the reservation to the disposition."""

from typing import ClassVar, assert_never

from adapters.notify.content.base import Content, Count, Fact, Moment, rfc3339
from engine.core import form, reservation
from engine.core.form import Answer
from engine.core.reservation import Release, ReservationEvent


class ContactReserved(Content, frozen=True, kw_only=True):
    """A contact is an agent's, for a while."""

    TYPE: ClassVar[str] = "contact.reserved"

    contact: str
    agent: str
    reservation: str
    expires_at: Moment


class ContactReservationExtended(Content, frozen=True, kw_only=True):
    """A contact stays an agent's for longer."""

    TYPE: ClassVar[str] = "contact.reservation_extended"

    contact: str
    agent: str
    reservation: str
    expires_at: Moment
    reason: str


class ContactReleased(Content, frozen=True, kw_only=True):
    """A contact went back to the queue without a disposition."""

    TYPE: ClassVar[str] = "contact.released"

    contact: str
    agent: str
    reservation: str
    reason: Release
    note: str
    due_at: Moment | None
    """When it may be delivered again; null: at any time."""


class ContactDisposed(Content, frozen=True, kw_only=True):
    """A contact was closed, for good or until it is due again."""

    TYPE: ClassVar[str] = "contact.disposed"

    contact: str
    agent: str | None
    """Who had it in hand; null where nobody did."""
    reservation: str | None
    by: str | None
    """Who closed it, where that wasn't the agent who had it in hand."""
    call: str | None
    disposition: str
    data: dict[str, Answer] | None
    """What was noted down; null once the person is erased or the campaign gone."""
    engaged: bool
    final: bool
    due_at: Moment | None
    callback: str | None
    """The agent whose callback it is, `*` for anybody's."""
    exhausted: bool
    """It would come back, had it not done so as often as the campaign allows."""
    dnc: str | None
    """The do-not-call list that its numbers go to."""


class ContactDialRefused(Content, frozen=True, kw_only=True):
    """A number was not dialled because of a rule."""

    TYPE: ClassVar[str] = "contact.dial_refused"

    contact: str
    agent: str
    reservation: str
    number: str | None
    """Null once the person is erased or the campaign gone."""
    number_index: Count
    rule: str
    detail: str
    list_version: int | None
    """Of the do-not-call list that the rule looked at."""


def fact(event: ReservationEvent) -> Fact | None:
    match event:
        case reservation.ContactReserved():
            reserved = ContactReserved(
                contact=event.contact,
                agent=event.agent,
                reservation=event.reservation,
                expires_at=rfc3339(event.expires_at),
            )
            return Fact(at=event.at, data=reserved)
        case reservation.ReservationExtended():
            extended = ContactReservationExtended(
                contact=event.contact,
                agent=event.agent,
                reservation=event.reservation,
                expires_at=rfc3339(event.expires_at),
                reason=event.reason,
            )
            return Fact(at=event.at, data=extended)
        case reservation.ContactReleased():
            released = ContactReleased(
                contact=event.contact,
                agent=event.agent,
                reservation=event.reservation,
                reason=event.reason,
                note=event.note,
                due_at=_due(event.due_at),
            )
            return Fact(at=event.at, data=released)
        case reservation.ContactDisposed():
            return _disposed(event)
        case reservation.ContactSuppressed():
            return None  # the disposition was told, with the list
        case reservation.DialRefused():
            refused = ContactDialRefused(
                contact=event.contact,
                agent=event.agent,
                reservation=event.reservation,
                number=None,
                number_index=event.number,
                rule=event.rule,
                detail=event.detail,
                list_version=event.version or None,
            )
            return Fact(at=event.at, data=refused, contact=event.contact, number=event.number)
        case _:
            assert_never(event)


def _disposed(event: reservation.ContactDisposed) -> Fact:
    disposed = ContactDisposed(
        contact=event.contact,
        agent=event.agent or None,
        reservation=event.reservation or None,
        by=event.by or None,
        call=event.call or None,
        disposition=event.disposition,
        data=None,
        engaged=event.engaged,
        final=event.final,
        due_at=_due(event.due_at),
        callback=event.callback or None,
        exhausted=event.exhausted,
        dnc=event.dnc or None,
    )
    return Fact(at=event.at, data=disposed, contact=event.contact, noted=dict(form.answers_of(event.form)))


def _due(at: int) -> str | None:
    return rfc3339(at) if at else None
