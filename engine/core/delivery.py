"""Contacts in agents' hands: who gets which, and how a reservation ends without a disposition.

Every command after `Next` carries the reservation's token: what lapsed, was released or went to somebody else can't be
acted on any more.
"""

from typing import Any

import msgspec

from engine.core.agent import Agent, Presence, Wanted
from engine.core.book import Book, Event
from engine.core.campaign import DELAY_MAX_S, Delivery, Status
from engine.core.contact import (
    FREE,
    Contact,
    ContactExhausted,
    ContactStatus,
)
from engine.core.effect import Effect, ReservationDue, Suppressed
from engine.core.message import (
    ClickToCall,
    Next,
    NoContact,
    Release,
    Skip,
)
from engine.core.outcome import Outcome
from engine.core.refusal import absent, against_rule, stale
from engine.core.reservation import (
    AGENT_GONE,
    IN_HAND,
    ContactReleased,
    ContactReserved,
    ContactSuppressed,
    Phase,
    Reservation,
    ReservationExtended,
)
from engine.core.reservation import Release as Why

Decided = tuple[list[Event], list[Effect], Any]


def in_hand(book: Book, agent: str, reservation: str, token: str) -> Reservation:
    held = book.reservations.get(reservation)
    if held is None or held.agent != agent or held.token != token:
        raise stale("reservation-lost", "this reservation lapsed, was released, or belongs to somebody else")
    return held


def at_work(agent: Agent) -> None:
    """Who is gone for a moment keeps the contact for as long, but does nothing with it."""
    if agent.presence is not Presence.PRESENT:
        raise against_rule("agent-not-available", f"agent {agent.id!r} is {agent.status}")


def next_contact(book: Book, command: Next) -> Decided:
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
        return [], [], _why_none(book, agent.id, command.at)
    reserved, granted = reserve(book, contact, agent, command, ahead)
    return [reserved], [], granted


def reserve(
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


def _why_none(book: Book, agent: str, at: int) -> NoContact:
    settings, counts = book.campaign.settings, book.contacts.counts
    if not len(book.contacts):
        return NoContact(reason="none_added")
    owners = [agent]
    if settings.delivery is Delivery.OWN_FIRST:
        owners.append(FREE)
    if settings.others_when_unavailable:
        owners += _unattended(book, agent)
    due_at = book.contacts.next_due_at(at, owners)
    if due_at is not None:
        return NoContact(reason="not_due", next_due_at=due_at)
    if counts[ContactStatus.WAITING] or counts[ContactStatus.RETRY]:
        return NoContact(reason="others")
    return NoContact(reason="all_held" if counts[ContactStatus.HELD] else "completed")


def extend(book: Book, held: Reservation, at: int) -> list[Event]:
    if held.phase is not Phase.OFFERED:
        return []  # in call and wrap-up it doesn't run out
    at_work(book.agents[held.agent])
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


def skip(book: Book, held: Reservation, command: Skip) -> list[Event]:
    if held.phase is not Phase.OFFERED:
        raise against_rule("reservation-in-call", f"the contact is in {held.phase}: it can't be skipped")
    return let_go(book, held, command.at, Why.SKIPPED, command.reason)


def release(book: Book, command: Release) -> list[Event]:
    held = book.reservations.get(command.reservation)
    if command.token is not None:
        held = in_hand(book, command.agent, command.reservation, command.token)
    if held is None:
        raise absent("reservation", command.reservation)
    if held.phase is Phase.DIALING:
        raise against_rule("reservation-in-call", "the contact is in a call: hang up first")
    return let_go(book, held, command.at, Why.RELEASED, command.reason)


def released(contact: Contact, held: Reservation, at: int, why: Why, note: str = "") -> ContactReleased:
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
    once the attempts are used up. One that was skipped goes to the end, tried or not. Any other keeps its place.
    """
    settings, contact = book.campaign.settings, book.contacts.by_ref[held.contact]
    back = released(contact, held, at, why, note)
    tried = next((one for one in contact.dialled() if book.calls[one.call].reservation == held.id), None)
    if tried is not None:
        rule = next((one for one in settings.retries if one.outcome is tried.outcome), None)
        times = sum(one.outcome is tried.outcome for one in contact.dialled())
        due_at = at + delay_ms(rule.after_s, rule.growth, times) if rule else 0
        back = msgspec.structs.replace(back, due_at=due_at, callback=False)
    elif why is Why.SKIPPED:
        back = msgspec.structs.replace(back, due_at=0, callback=False)
    if why is Why.SKIPPED:
        back = msgspec.structs.replace(back, rank=book.contacts.next_rank)
    attempts = sum(1 for _ in contact.dialled())
    used_up = tried is not None and 0 < settings.attempts_per_contact <= attempts
    dead = bool(contact.numbers) and all(
        contact.last_outcome(index) is Outcome.INVALID for index in range(len(contact.numbers))
    )
    if not used_up and not dead:
        return [back]
    return [back, ContactExhausted(at=at, contact=contact.ref, attempts=attempts)]


def delay_ms(after_s: int, growth: float, times: int) -> int:
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


def suppressed(book: Book, seen: Suppressed) -> list[Event]:
    """The list has the numbers: were they put there again at the next start, nobody could ever take them off."""
    if book.suppressed.get(seen.contact) != seen.list:
        return []
    return [ContactSuppressed(at=seen.at, contact=seen.contact, list=seen.list)]


def reconsider(book: Book, agent: Agent, held: Reservation, at: int) -> list[Event]:
    """Whether an agent may keep the contact in hand, as things stand."""
    last = book.calls.found(held.call)
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
