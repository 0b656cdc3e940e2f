"""Preview dialing: an agent asks for the next contact, looks, dials, talks, disposes.

Every command after `Next` carries the reservation's token: what lapsed, was released or went to somebody else can't be
acted on any more.
"""

from typing import Any

from engine.core import recording
from engine.core.agent import Agent, AgentEvent, Line, Phone, PhoneCalled, Presence, Wanted
from engine.core.book import Book, Event
from engine.core.call import Call, CallAwaitingAgent, CallRequested, CallStatus
from engine.core.campaign import Status
from engine.core.claims import Claims
from engine.core.contact import (
    Contact,
    ContactCancelled,
    ContactsAdded,
    ContactStatus,
    NewContact,
)
from engine.core.effect import Effect, ReservationDue
from engine.core.message import (
    AddContacts,
    CancelContact,
    Dial,
    Dispose,
    Extend,
    Next,
    NoContact,
    Release,
    Skip,
)
from engine.core.outcome import Outcome
from engine.core.refusal import absent, against_rule, invalid, no_room, stale
from engine.core.reservation import (
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    Phase,
    Reservation,
    ReservationExtended,
)
from engine.core.reservation import Release as Why

CHUNK_CONTACTS = 1_000
"""Contacts in one `contacts.added` event."""

PreviewCommand = AddContacts | CancelContact | Next | Extend | Skip | Release | Dispose | Dial

Decided = tuple[list[Event], list[Effect], Any]


def decide(book: Book, message: PreviewCommand, claims: Claims) -> Decided:
    """Events, effects beyond what they imply, and the reply. Raises Refused."""
    _exists(book)
    match message:
        case AddContacts():
            return _add(book, message)
        case CancelContact():
            return _cancel(book, message), [], None
        case Next():
            return _next(book, message)
        case Dial():
            events, call = _dial(book, message, claims)
            return events, [], call
        case Extend():
            held = _in_hand(book, message.agent, message.reservation, message.token)
            return _extend(book, held, message.at), [], None
        case Skip():
            held = _in_hand(book, message.agent, message.reservation, message.token)
            return _skip(book, held, message), [], None
        case Release():
            return _release(book, message), [], None
        case Dispose():
            held = _in_hand(book, message.agent, message.reservation, message.token)
            return _dispose(book, held, message), [], None


def _exists(book: Book) -> None:
    if book.campaign.status is Status.ABSENT:
        raise absent("campaign", book.campaign.ref)
    if book.campaign.status is Status.DELETED:
        raise against_rule("campaign-deleted", f"campaign {book.campaign.ref!r} is deleted")


def _in_hand(book: Book, agent: str, reservation: str, token: str) -> Reservation:
    held = book.reservations.get(reservation)
    if held is None or held.agent != agent or held.token != token:
        raise stale("reservation-lost", "this reservation lapsed, was released, or belongs to somebody else")
    return held


# -- contacts -------------------------------------------------------------------------------------------------------


def _add(book: Book, command: AddContacts) -> Decided:
    seen: set[str] = set()
    new: list[NewContact] = []
    for one in command.contacts:
        if one.ref not in book.contacts.by_ref and one.ref not in seen:
            seen.add(one.ref)
            new.append(one)
    events: list[Event] = [
        ContactsAdded(
            at=command.at,
            rank=book.contacts.next_rank + start,
            contacts=tuple(new[start : start + CHUNK_CONTACTS]),
            by=command.by,
        )
        for start in range(0, len(new), CHUNK_CONTACTS)
    ]
    return events, [], seen


def _cancel(book: Book, command: CancelContact) -> list[Event]:
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
            before: list[Event] = [_let_go(contact, held, command.at, Why.CANCELLED, contact.rank)]
        case _:
            before = []
    return [
        *before,
        ContactCancelled(at=command.at, contact=contact.ref, reason=command.reason, by=command.by),
    ]


# -- reservations ---------------------------------------------------------------------------------------------------


def _next(book: Book, command: Next) -> Decided:
    agent = book.agents.get(command.agent)
    if agent is None:
        raise absent("allocation", command.agent)
    held = book.reservations.get(agent.reservation)
    if held is not None:
        return [], [], held  # theirs until it is disposed of, released or lapsed
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    if agent.presence is not Presence.PRESENT or agent.wanted is not Wanted.AVAILABLE:
        raise against_rule("agent-not-available", f"agent {agent.id!r} is {agent.status}")
    contact = book.contacts.first(command.at)
    if contact is None:
        return [], [], _why_none(book)
    reserved = ContactReserved(
        at=command.at,
        contact=contact.ref,
        agent=agent.id,
        reservation=command.reservation,
        token=command.token,
        expires_at=command.at + book.campaign.settings.reservation_timeout_s * 1_000,
    )
    granted = Reservation(
        id=reserved.reservation,
        token=reserved.token,
        contact=contact.ref,
        agent=agent.id,
        at=command.at,
        expires_at=reserved.expires_at,
    )
    return [reserved], [], granted


def _why_none(book: Book) -> NoContact:
    counts = book.contacts.counts
    if not len(book.contacts):
        return NoContact(reason="none_added")
    if counts[ContactStatus.RETRY]:
        return NoContact(reason="not_due", next_due_at=book.contacts.next_due_at())
    return NoContact(reason="all_held" if counts[ContactStatus.HELD] else "completed")


def _extend(book: Book, held: Reservation, at: int) -> list[Event]:
    if held.phase is not Phase.OFFERED:
        return []  # in call and wrap-up it doesn't run out
    return [_extended(book, held, at, "heartbeat")]


def _extended(book: Book, held: Reservation, at: int, reason: str) -> ReservationExtended:
    return ReservationExtended(
        at=at,
        contact=held.contact,
        agent=held.agent,
        reservation=held.id,
        expires_at=at + book.campaign.settings.reservation_timeout_s * 1_000,
        reason=reason,
    )


def _skip(book: Book, held: Reservation, command: Skip) -> list[Event]:
    if held.phase is not Phase.OFFERED:
        raise against_rule("reservation-in-call", f"the contact is in {held.phase}: it can't be skipped")
    contact = book.contacts.by_ref[held.contact]
    return [_let_go(contact, held, command.at, Why.SKIPPED, book.contacts.next_rank, command.reason)]


def _release(book: Book, command: Release) -> list[Event]:
    held = book.reservations.get(command.reservation)
    if command.token is not None:
        held = _in_hand(book, command.agent, command.reservation, command.token)
    if held is None:
        raise absent("reservation", command.reservation)
    if held.phase is Phase.DIALING:
        raise against_rule("reservation-in-call", "the contact is in a call: hang up first")
    contact = book.contacts.by_ref[held.contact]
    return [_let_go(contact, held, command.at, Why.RELEASED, contact.rank, command.reason)]


def _let_go(contact: Contact, held: Reservation, at: int, why: Why, rank: int, note: str = "") -> ContactReleased:
    return ContactReleased(
        at=at, contact=contact.ref, agent=held.agent, reservation=held.id, reason=why, note=note, rank=rank
    )


def lapse(book: Book, due: ReservationDue) -> list[Event]:
    """The timer rang: the reservation ends unless it was extended or is past its offer."""
    held = book.reservations.get(due.reservation)
    if held is None or held.phase is not Phase.OFFERED or due.at < held.expires_at:
        return []
    contact = book.contacts.by_ref[held.contact]
    return [_let_go(contact, held, due.at, Why.EXPIRED, contact.rank)]


def reconsider(book: Book, agent: Agent, held: Reservation, at: int) -> list[Event]:
    """Whether an agent may keep the contact in hand, as things stand."""
    contact = book.contacts.by_ref[held.contact]
    last = book.calls.get(held.call)
    talked = last is not None and last.outcome is Outcome.ANSWERED
    if held.phase is Phase.WRAPUP and not talked:
        # The attempt reached nobody: the agent may choose again, and the lease runs again.
        return [_extended(book, held, at, "attempt_over")]
    if held.phase is Phase.WRAPUP:
        return []
    if book.campaign.status is not Status.RUNNING:
        return [_let_go(contact, held, at, Why.CAMPAIGN_STOPPING, contact.rank)]
    if agent.presence is not Presence.PRESENT or agent.wanted is Wanted.OFFLINE or agent.withdrawn:
        return [_let_go(contact, held, at, Why.AGENT_OFFLINE, contact.rank)]
    if agent.wanted is Wanted.PAUSED:
        return [_let_go(contact, held, at, Why.AGENT_PAUSED, contact.rank)]
    return []


def _dispose(book: Book, held: Reservation, command: Dispose) -> list[Event]:
    settings = book.campaign.settings
    disposition = settings.disposition(command.disposition)
    if disposition is None:
        allowed = ", ".join(one.code for one in settings.dispositions)
        raise invalid("disposition", f"this campaign has no disposition {command.disposition!r}; it has {allowed}")
    if held.phase is Phase.DIALING:
        raise against_rule("reservation-in-call", "the call is still up: a disposition closes the contact after it")
    if not held.call and not settings.dispose_without_attempt:
        raise against_rule("no-attempt", "the contact was not dialled in this reservation")
    return [
        ContactDisposed(
            at=command.at,
            contact=held.contact,
            agent=held.agent,
            reservation=held.id,
            call=held.call,
            disposition=disposition.code,
            engaged=disposition.engaged,
            final=disposition.final,
            due_at=0 if disposition.final else command.at + disposition.retry_after_s * 1_000,
        )
    ]


# -- dialing ----------------------------------------------------------------------------------------------------------


def _dial(book: Book, command: Dial, claims: Claims) -> tuple[list[Event], str]:
    held = _in_hand(book, command.agent, command.reservation, command.token)
    agent = book.agents[held.agent]
    if held.phase is Phase.DIALING:
        raise against_rule("call-in-progress", f"call {held.call} of this contact is not over")
    if held.phase is Phase.WRAPUP:
        raise against_rule("contact-answered", "the contact was talked to: dispose of it first")
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    contact = book.contacts.by_ref[held.contact]
    number = _chosen(contact, command.number)
    _free_line(book, claims, contact.numbers[number])
    awaiting = CallAwaitingAgent(
        at=command.at,
        call=command.call,
        contact=contact.ref,
        number=number,
        reservation=held.id,
        agent=agent.id,
        trunk=book.campaign.settings.trunk,
        by_choice=command.number is not None,
    )
    if agent.phone is Phone.UP:
        return [_request(book, awaiting, command.call, command.at, agent.leg)], command.call
    if agent.line is Line.NAILED:
        raise against_rule("agent-phone-down", f"the phone of agent {agent.id!r} is {agent.phone}")
    if agent.phone is not Phone.DOWN:
        raise no_room("agent-phone-closing", "the phone is still closing after the last call")
    called: AgentEvent = PhoneCalled(at=command.at, agent=agent.id, leg=command.leg)
    return [awaiting, called], command.call


def _chosen(contact: Contact, number: str | None) -> int:
    """Index of the number to dial: the one chosen by a person, or the next in order."""
    if not contact.numbers:
        raise against_rule("contact-erased", f"the data of contact {contact.ref!r} was erased")
    if number is None:
        index = contact.next_number()
        if index is None:
            raise against_rule("no-number-left", "no number of this contact may be dialled by itself: choose one")
        return index
    if number not in contact.numbers:
        raise invalid("number", f"contact {contact.ref!r} has no such number")
    index = contact.numbers.index(number)
    if contact.last_outcome(index) is Outcome.INVALID:
        raise against_rule("number-invalid", "this number does not exist: an earlier attempt showed it", "number")
    return index


def _free_line(book: Book, claims: Claims, number: str) -> None:
    in_call = claims.call_to(number)
    if in_call is not None:
        raise against_rule("number-in-call", f"call {in_call} to this number is not over", "number")
    if not claims.pbx_up:
        raise no_room("pbx-down", "the PBX is not connected")
    if len(book.live) >= book.campaign.settings.max_lines:
        raise no_room("lines-in-use", f"all {book.campaign.settings.max_lines} lines of the campaign are in use")
    if len(claims.in_setup) >= claims.max_calls_in_setup:
        raise no_room("setup-limit", f"{claims.max_calls_in_setup} calls are being set up")


def request(book: Book, call: Call, at: int, agent_leg: str) -> CallRequested:
    """The intent to dial, now that the agent's phone is there."""
    assert call.status is CallStatus.AWAITING_AGENT
    return _request(book, call, call.id, at, agent_leg)


def _request(book: Book, call: Call | CallAwaitingAgent, call_id: str, at: int, agent_leg: str) -> CallRequested:
    campaign = book.campaign
    return CallRequested(
        at=at,
        call=call_id,
        contact=call.contact,
        number=call.number,
        reservation=call.reservation,
        agent=call.agent,
        agent_leg=agent_leg,
        trunk=call.trunk,
        by_choice=call.by_choice,
        recording=recording.name_of(campaign.ref, at, call_id) if campaign.settings.record else "",
    )
