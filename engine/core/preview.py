"""Preview dialing: an agent asks for the next contact, looks, dials, talks, disposes.

Every command after `Next` carries the reservation's token: what lapsed, was released or went to somebody else can't be
acted on any more.
"""

from typing import Any

import msgspec

from engine.core import gate, recording
from engine.core.agent import Agent, AgentEvent, Line, Phone, PhoneCalled, Presence, Wanted
from engine.core.book import Book, Event
from engine.core.call import Call, CallAwaitingAgent, CallRequested, CallStatus
from engine.core.campaign import DELAY_MAX_S, Delivery, Status
from engine.core.claims import Claims
from engine.core.contact import (
    ANYBODY,
    FREE,
    Contact,
    ContactCancelled,
    ContactExhausted,
    ContactsAdded,
    ContactsReplaced,
    ContactStatus,
    NewContact,
)
from engine.core.effect import Effect, ReservationDue
from engine.core.gate import Forbidden
from engine.core.message import (
    AddContacts,
    Added,
    CancelContact,
    CancelContacts,
    ClickToCall,
    Dial,
    Dispose,
    Extend,
    Next,
    NoContact,
    Offsets,
    Release,
    Skip,
)
from engine.core.number import candidates
from engine.core.outcome import Outcome
from engine.core.refusal import Refused, absent, against_rule, invalid, no_room, stale
from engine.core.reservation import (
    AGENT_GONE,
    IN_HAND,
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    DialRefused,
    Phase,
    Reservation,
    ReservationExtended,
)
from engine.core.reservation import Release as Why

CHUNK_CONTACTS = 1_000
"""Contacts in one `contacts.added` event."""

CALLBACK_MAX_MS = 366 * 86_400_000
"""How far ahead a callback may be."""

PreviewCommand = (
    AddContacts | CancelContact | CancelContacts | Next | Extend | Skip | Release | Dispose | Dial | ClickToCall
)

Decided = tuple[list[Event], list[Effect], Any]


def decide(book: Book, message: PreviewCommand, claims: Claims) -> Decided:
    """Events, effects beyond what they imply, and the reply. Raises Refused."""
    _exists(book)
    match message:
        case AddContacts():
            return _add(book, message)
        case CancelContact():
            return _cancel(book, message), [], None
        case CancelContacts():
            return _cancel_all(book, message)
        case Next():
            return _next(book, message)
        case Dial():
            return _dial(book, message, claims)
        case ClickToCall():
            return _click(book, message, claims)
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
    new: dict[str, NewContact] = {}
    replaced: dict[str, NewContact] = {}
    refused: dict[str, str] = {}
    taken = {one.external_id: one.ref for one in command.contacts if one.external_id}
    for one in command.contacts:
        known = book.contacts.by_ref.get(one.ref)
        elsewhere = book.contacts.by_external.get(one.external_id, one.ref) if one.external_id else one.ref
        if elsewhere != one.ref or (one.external_id and taken[one.external_id] != one.ref):
            refused[one.ref] = f"another contact has the external id {one.external_id!r}"
        elif known is None:
            new.setdefault(one.ref, one)
        elif command.overwrite:
            why = _why_not_replaced(known)
            if why:
                refused[one.ref] = why
            elif not _same(known, one):
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
    if known.attempts:
        return "it was dialled already"
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


def _cancel_all(book: Book, command: CancelContacts) -> Decided:
    events: list[Event] = []
    refused: dict[str, str] = {}
    for ref in dict.fromkeys(command.contacts):
        one = CancelContact(at=command.at, by=command.by, contact=ref, reason=command.reason)
        try:
            events += _cancel(book, one)
        except Refused as refusal:
            refused[ref] = refusal.detail
    return events, [], refused


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
            before: list[Event] = [_released(contact, held, command.at, Why.CANCELLED)]
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
    ahead = command.ahead and held is not None
    if ahead:
        assert held is not None
        if not book.campaign.settings.preview_ahead or held.phase is Phase.OFFERED:
            raise against_rule("call-not-begun", "the next contact is shown while the present one is dialled or closed")
        held = book.reservations.get(agent.ahead)
    if held is not None:
        return [], [], held  # theirs until it is disposed of, released or lapsed
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    if agent.presence is not Presence.PRESENT or agent.wanted is not Wanted.AVAILABLE:
        raise against_rule("agent-not-available", f"agent {agent.id!r} is {agent.status}")
    contact = _chosen_for(book, agent.id, command.at)
    if contact is None:
        return [], [], _why_none(book, agent.id)
    reserved, granted = _reserve(book, contact, agent, command, ahead)
    return [reserved], [], granted


def _reserve(
    book: Book, contact: Contact, agent: Agent, command: Next | ClickToCall, ahead: bool = False
) -> tuple[ContactReserved, Reservation]:
    expires_at = command.at + book.campaign.settings.reservation_timeout_s * 1_000
    reserved = ContactReserved(
        at=command.at,
        contact=contact.ref,
        agent=agent.id,
        reservation=command.reservation,
        token=command.token,
        expires_at=expires_at,
        ahead=ahead,
    )
    granted = Reservation(
        id=reserved.reservation,
        token=reserved.token,
        contact=contact.ref,
        agent=agent.id,
        at=command.at,
        expires_at=expires_at,
        ahead=ahead,
    )
    return reserved, granted


def _chosen_for(book: Book, agent: str, at: int) -> Contact | None:
    """An agent's own contacts first, then free ones, then those of agents who aren't there, as the campaign says."""
    settings, contacts = book.campaign.settings, book.contacts
    own = contacts.first(at, agent)
    if own is not None:
        return own
    if settings.delivery is Delivery.OWN_FIRST:
        free = contacts.first(at, FREE)
        if free is not None:
            return free
    return contacts.best(at, _unattended(book, agent)) if settings.others_when_unavailable else None


def _unattended(book: Book, agent: str) -> list[str]:
    """Whose contacts others may have: agents who are not at work here."""
    return [
        owner
        for owner in book.contacts.owners()
        if owner not in (FREE, agent)
        and (owner not in book.agents or book.agents[owner].presence is not Presence.PRESENT)
    ]


def _why_none(book: Book, agent: str) -> NoContact:
    settings, counts = book.campaign.settings, book.contacts.counts
    if not len(book.contacts):
        return NoContact(reason="none_added")
    owners = [agent]
    if settings.delivery is Delivery.OWN_FIRST:
        owners.append(FREE)
    if settings.others_when_unavailable:
        owners += _unattended(book, agent)
    due_at = book.contacts.next_due_at(owners)
    if due_at is not None:
        return NoContact(reason="not_due", next_due_at=due_at)
    if counts[ContactStatus.WAITING] or counts[ContactStatus.RETRY]:
        return NoContact(reason="others")
    return NoContact(reason="all_held" if counts[ContactStatus.HELD] else "completed")


def _extend(book: Book, held: Reservation, at: int) -> list[Event]:
    if held.phase is not Phase.OFFERED:
        return []  # in call and wrap-up it doesn't run out
    _at_work(book.agents[held.agent])
    return [_extended(book, held, at, "heartbeat")]


def _extended(book: Book, held: Reservation, at: int, reason: str, lease_ms: int = 0) -> ReservationExtended:
    return ReservationExtended(
        at=at,
        contact=held.contact,
        agent=held.agent,
        reservation=held.id,
        expires_at=at + (lease_ms or book.campaign.settings.reservation_timeout_s * 1_000),
        reason=reason,
    )


def _skip(book: Book, held: Reservation, command: Skip) -> list[Event]:
    if held.phase is not Phase.OFFERED:
        raise against_rule("reservation-in-call", f"the contact is in {held.phase}: it can't be skipped")
    return let_go(book, held, command.at, Why.SKIPPED, command.reason)


def _release(book: Book, command: Release) -> list[Event]:
    held = book.reservations.get(command.reservation)
    if command.token is not None:
        held = _in_hand(book, command.agent, command.reservation, command.token)
    if held is None:
        raise absent("reservation", command.reservation)
    if held.phase is Phase.DIALING:
        raise against_rule("reservation-in-call", "the contact is in a call: hang up first")
    return let_go(book, held, command.at, Why.RELEASED, command.reason)


def _released(contact: Contact, held: Reservation, at: int, why: Why, note: str = "") -> ContactReleased:
    """Back where it was: a retry or a callback that was due still is."""
    return ContactReleased(
        at=at,
        contact=contact.ref,
        agent=held.agent,
        reservation=held.id,
        reason=why,
        note=note,
        rank=contact.rank,
        due_at=contact.due_at,
        callback=bool(contact.callback),
    )


def let_go(book: Book, held: Reservation, at: int, why: Why, note: str = "") -> list[Event]:
    """The reservation ends without a disposition.

    A contact that was tried in it and not reached comes back by the rule for how the last attempt ended, or not at all
    once the attempts are used up. One that was skipped goes to the end. Any other keeps its place.
    """
    settings, contact = book.campaign.settings, book.contacts.by_ref[held.contact]
    released = _released(contact, held, at, why, note)
    tried = next((one for one in contact.dialled() if book.calls[one.call].reservation == held.id), None)
    if tried is not None:
        rule = next((one for one in settings.retries if one.outcome is tried.outcome), None)
        times = sum(one.outcome is tried.outcome for one in contact.dialled())
        due_at = at + _delay_ms(rule.after_s, rule.growth, times) if rule else 0
        released = msgspec.structs.replace(released, due_at=due_at, callback=False)
    elif why is Why.SKIPPED:
        released = msgspec.structs.replace(released, rank=book.contacts.next_rank, due_at=0, callback=False)
    attempts = sum(1 for _ in contact.dialled())
    used_up = tried is not None and 0 < settings.attempts_per_contact <= attempts
    dead = bool(contact.numbers) and all(
        contact.last_outcome(index) is Outcome.INVALID for index in range(len(contact.numbers))
    )
    if not used_up and not dead:
        return [released]
    return [released, ContactExhausted(at=at, contact=contact.ref, attempts=attempts)]


def _delay_ms(after_s: int, growth: float, times: int) -> int:
    """The delay before coming back for the `times`-th time, in whole milliseconds and never over a month."""
    longest = min(after_s * growth ** min(times - 1, 60), DELAY_MAX_S)
    return int(longest * 1_000)


def lapse(book: Book, due: ReservationDue) -> list[Event]:
    """The timer rang: the reservation ends unless it was extended or is past its offer."""
    held = book.reservations.get(due.reservation)
    if held is None or held.phase is not Phase.OFFERED or due.at < held.expires_at:
        return []
    agent = book.agents.get(held.agent)
    gone = agent is None or agent.presence is not Presence.PRESENT
    return let_go(book, held, due.at, Why.AGENT_OFFLINE if gone else Why.EXPIRED)


def reconsider(book: Book, agent: Agent, held: Reservation, at: int) -> list[Event]:
    """Whether an agent may keep the contact in hand, as things stand."""
    last = book.calls.get(held.call)
    talked = last is not None and last.outcome is Outcome.ANSWERED
    if held.phase is Phase.WRAPUP and not talked:
        # The attempt reached nobody: the agent may choose again, and the lease runs again.
        return [_extended(book, held, at, "attempt_over")]
    if held.phase is Phase.WRAPUP:
        return []
    if book.campaign.status is not Status.RUNNING:
        return let_go(book, held, at, Why.CAMPAIGN_STOPPING)
    if agent.withdrawn:
        return let_go(book, held, at, Why.AGENT_OFFLINE)
    if agent.presence is not Presence.PRESENT or agent.wanted is Wanted.OFFLINE:
        grace_ms = book.campaign.settings.release_grace_s * 1_000
        if not grace_ms:
            return let_go(book, held, at, Why.AGENT_OFFLINE)
        return [_extended(book, held, at, AGENT_GONE, grace_ms)] if held.expires_at > at + grace_ms else []
    if agent.wanted is Wanted.PAUSED:
        return let_go(book, held, at, Why.AGENT_PAUSED)
    return []


def taken_up(book: Book, held: Reservation, at: int) -> list[Event]:
    """What was reserved ahead is the agent's present contact now, with a whole lease."""
    return [_extended(book, held, at, IN_HAND)]


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
        due_at = command.at + _delay_ms(disposition.retry_after_s, disposition.retry_growth, times)
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


# -- dialing ----------------------------------------------------------------------------------------------------------


def _dial(book: Book, command: Dial, claims: Claims) -> Decided:
    held = _in_hand(book, command.agent, command.reservation, command.token)
    agent = book.agents[held.agent]
    if held.ahead:
        raise against_rule("reservation-ahead", f"agent {agent.id!r} has another contact in hand before this one")
    if held.phase is Phase.DIALING:
        raise against_rule("call-in-progress", f"call {held.call} of this contact is not over")
    if held.phase is Phase.WRAPUP:
        raise against_rule("contact-answered", "the contact was talked to: dispose of it first")
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    _at_work(agent)
    return _place(book, held, agent, command, claims)


def _at_work(agent: Agent) -> None:
    """Who is gone for a moment keeps the contact for as long, but does nothing with it."""
    if agent.presence is not Presence.PRESENT:
        raise against_rule("agent-not-available", f"agent {agent.id!r} is {agent.status}")


def _click(book: Book, command: ClickToCall, claims: Claims) -> Decided:
    known = book.requests.get(command.request)
    if known is not None:
        return [], [], known  # the same request, the same call
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    agent = book.agents.get(command.agent)
    if agent is None or agent.withdrawn:
        raise against_rule("agent-not-in-campaign", f"agent {command.agent!r} is not in this campaign", "agent")
    contact = book.contacts.by_ref.get(command.contact)
    if contact is None:
        raise against_rule("contact-not-in-campaign", f"contact {command.contact!r} is not in this campaign", "contact")
    if agent.presence is not Presence.PRESENT or agent.wanted is not Wanted.AVAILABLE:
        raise against_rule("agent-not-available", f"agent {agent.id!r} is {agent.status}")
    held = book.reservations.get(agent.reservation)
    if held is not None and held.contact != contact.ref:
        raise against_rule("agent-holds-another", f"agent {agent.id!r} has another contact in hand")
    if held is not None and held.phase is not Phase.OFFERED:
        raise against_rule("call-in-progress", f"the contact is in {held.phase} with this agent")
    if held is not None:
        return _place(book, held, agent, command, claims)
    if contact.status is ContactStatus.HELD:
        raise against_rule("contact-held", "another agent has this contact in hand", "contact")
    if contact.status in (ContactStatus.FINAL, ContactStatus.CANCELLED):
        raise against_rule("contact-closed", f"contact {contact.ref!r} is {contact.status}", "contact")
    reserved, granted = _reserve(book, contact, agent, command)
    events, effects, reply = _place(book, granted, agent, command, claims)
    if isinstance(reply, Refused):  # nothing was dialled: the contact stays where it was
        return events, effects, reply
    return [reserved, *events], effects, reply


def _place(book: Book, held: Reservation, agent: Agent, command: Dial | ClickToCall, claims: Claims) -> Decided:
    """Choose the number, look whether it may be dialled, and say so: to the agent's phone first where it isn't up."""
    contact = book.contacts.by_ref[held.contact]
    number, why_not = _chosen(book, contact, command.number, command.offsets, claims, command.at)
    if why_not is not None:
        refused = DialRefused(
            at=command.at,
            contact=contact.ref,
            agent=agent.id,
            reservation=held.id,
            number=number,
            rule=why_not.rule,
            detail=why_not.detail,
            version=why_not.version,
        )
        return [refused], [], against_rule("dial-forbidden", f"{why_not.rule}: {why_not.detail}", "number")
    if agent.id in claims.busy:
        raise against_rule("agent-in-call", f"agent {agent.id!r} is in call {claims.busy[agent.id]}")
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
        request=command.request if isinstance(command, ClickToCall) else "",
        offsets=command.offsets.get(contact.numbers[number], ()),
    )
    if agent.phone is Phone.UP:
        return [_request(book, awaiting, command.call, command.at, agent.leg)], [], command.call
    if agent.line is Line.NAILED:
        raise against_rule("agent-phone-down", f"the phone of agent {agent.id!r} is {agent.phone}")
    if agent.phone is not Phone.DOWN:
        raise no_room("agent-phone-closing", "the phone is still closing after the last call")
    called: AgentEvent = PhoneCalled(at=command.at, agent=agent.id, leg=command.leg)
    return [awaiting, called], [], command.call


def _chosen(
    book: Book, contact: Contact, number: str | None, offsets: Offsets, claims: Claims, at: int
) -> tuple[int, Forbidden | None]:
    """Index of the number to dial, with the rule that forbids it: the one a person chose, or the best that is allowed."""
    settings = book.campaign.settings
    if not contact.numbers:
        raise against_rule("contact-erased", f"the data of contact {contact.ref!r} was erased")

    def why_not(index: int) -> Forbidden | None:
        dialled = contact.numbers[index]
        return gate.forbidden(book, contact, dialled, offsets.get(dialled, ()), claims.standing, at)

    if number is not None:
        if number not in contact.numbers:
            raise invalid("number", f"contact {contact.ref!r} has no such number")
        index = contact.numbers.index(number)
        if index and not settings.agents_choose_number:
            raise against_rule("number-not-open", "in this campaign the dialer chooses the number", "number")
        if contact.last_outcome(index) is Outcome.INVALID:
            raise against_rule("number-invalid", "this number does not exist: an earlier attempt showed it", "number")
        return index, why_not(index)
    usable = candidates(contact, settings, claims.standing, at)
    if not usable:
        raise against_rule("no-number-left", "no number of this contact may be dialled by itself now")
    looked = [(index, why_not(index)) for index in usable]
    return next((one for one in looked if one[1] is None), looked[0])


def late(book: Book, call: Call, claims: Claims, at: int) -> Forbidden | None:
    """Whether a rule forbids the contact's number by now that the agent's phone has come."""
    contact = book.contacts.by_ref[call.contact]
    if call.number >= len(contact.numbers):
        return Forbidden("erased", "the data of the contact was erased")
    return gate.forbidden(book, contact, contact.numbers[call.number], call.offsets, claims.standing, at)


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
        request=call.request,
        recording=recording.name_of(campaign.ref, at, call_id) if campaign.settings.record else "",
    )
