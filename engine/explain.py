"""Why a contact was called, and why it isn't being: the rules asked again now, and what the log says happened."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from engine.core import gate
from engine.core.agent import Agent, Presence, Wanted
from engine.core.book import Book
from engine.core.call import CallAwaitingAgent, CallEvent, CallRequested
from engine.core.campaign import Delivery, Status
from engine.core.claims import Claims
from engine.core.contact import (
    DELIVERABLE,
    FREE,
    Contact,
    ContactsAdded,
    ContactsAssigned,
    ContactsReplaced,
    ContactStatus,
)
from engine.core.number import candidates, strategy_for
from engine.core.recent import DAY_MS
from engine.core.standing import EVERYWHERE, SUPPRESSED, Standing, line_of, list_of
from engine.ports import Recorded, Zones

MAX_HISTORY_EVENTS = 1_000
"""Of a longer story the newest are told."""
SECRET = ("token", "person", "contacts", "form")
"""Fields of events that are nobody's business here: what opens a reservation, who other people are, and what was noted
down of them."""


def contact_now(book: Book, claims: Claims, zones: Zones | None, contact: Contact, at: int) -> dict[str, Any]:
    """How a contact stands: whose it is, its place, each number with the rule that forbids it, and what it waits for."""
    numbers = [_number(book, claims, zones, contact, index, at) for index in range(len(contact.numbers))]
    usable = candidates(book, contact, claims.standing, at)
    place = contact.place
    return {
        "contact": contact.ref,
        "state": contact.status.value,
        "owner": contact.owner or None,
        "priority": contact.priority.value,
        "kind": place.kind.name.lower(),
        "due_at": contact.due_at or None,
        "rank": contact.rank,
        "agents": [one.id for one in _takers(book, contact)] if contact.status in DELIVERABLE else [],
        "strategy": strategy_for(contact, book.campaign.settings),
        "next_number": next((one for one in usable if numbers[one]["rule"] is None), None),
        "numbers": numbers,
        "waits_for": list(_waits_for(book, claims, contact, usable, numbers, at)),
    }


def _number(book: Book, claims: Claims, zones: Zones | None, contact: Contact, index: int, at: int) -> dict[str, Any]:
    number = contact.numbers[index]
    offsets = zones.offsets(contact.zone, number, at) if zones is not None else ()
    why_not = gate.forbidden(book, contact, number, offsets, claims.standing, at)
    last = contact.last_outcome(index)
    cools_until = claims.standing.last_attempt(number) + book.campaign.settings.number_cooldown_s * 1_000
    return {
        "index": index,
        "number": number,
        "rule": why_not.rule if why_not else None,
        "detail": why_not.detail if why_not else None,
        "list_version": why_not.version or None if why_not else None,
        "last_outcome": last.value if last is not None else None,
        "attempts": sum(one.number == index for one in contact.dialled()),
        "attempts_24h_everywhere": claims.standing.attempts(number, at - DAY_MS),
        "cools_until": cools_until if cools_until > at else None,
        "in_call": claims.call_to(number),
        "utc_offsets_minutes": list(offsets),
    }


def _waits_for(
    book: Book, claims: Claims, contact: Contact, usable: list[int], numbers: list[dict[str, Any]], at: int
) -> Iterator[str]:
    """In words, all that stands between the contact and a call; nothing where an agent has only to ask."""
    match contact.status:
        case ContactStatus.FINAL:
            closed = f"disposition {contact.disposition!r}" if contact.disposition else "attempts used up"
            yield f"nothing: it is final ({closed})"
            return
        case ContactStatus.CANCELLED:
            yield "nothing: it was cancelled"
            return
        case ContactStatus.HELD:
            held = book.reservations[contact.reservation]
            yield f"agent {held.agent!r}, who has it in hand ({held.phase})"
        case _:
            pass
    if book.campaign.status is not Status.RUNNING:
        yield f"the campaign, which is {book.campaign.status}"
    if not claims.pbx_up:
        yield "the PBX, which is not connected"
    if len(book.live) >= book.campaign.settings.max_lines:
        yield "a line: all of the campaign's are in use"
    if contact.status in DELIVERABLE and contact.due_at > at:
        yield "its time: it is not due yet"
    if not usable:
        yield "a person: no number may be dialled by itself now"
    elif all(numbers[one]["rule"] is not None for one in usable):
        yield "the rules: each number that may be dialled by itself is forbidden now"
    if contact.status in DELIVERABLE and not _takers(book, contact):
        yield "an agent: none who may have it is available"


def _takers(book: Book, contact: Contact) -> list[Agent]:
    """The agents at work who would get it, were it first."""
    ready = [one for one in book.agents.values() if one.presence is Presence.PRESENT and one.wanted is Wanted.AVAILABLE]
    owner = contact.owner
    if owner == FREE:
        return ready if book.campaign.settings.delivery is Delivery.OWN_FIRST else []
    away = owner not in book.agents or book.agents[owner].presence is not Presence.PRESENT
    others = away and book.campaign.settings.others_when_unavailable
    return [one for one in ready if others or one.id == owner]


def lists_with(standing: Standing, number: str, campaigns: Iterable[str]) -> list[dict[str, Any]]:
    """The do-not-call lists that have a number: the one for all, and those of these campaigns. `until` 0 is for ever."""
    line = line_of(number)
    kept = (
        [{"list": SUPPRESSED, "version": standing.versions[SUPPRESSED], "until": 0}]
        if standing.suppressed(line)
        else []
    )
    return kept + [
        {"list": name, "version": standing.versions[name], "until": standing.lists[name][line]}
        for name in (EVERYWHERE, *map(list_of, campaigns))
        if line in standing.lists.get(name, {})
    ]


async def history(read: AsyncIterator[Sequence[Recorded]], ref: str) -> list[dict[str, Any]]:
    """What the log says of a contact, with positions, oldest first. Reads the log once."""
    calls: set[str] = set()
    told: deque[dict[str, Any]] = deque(maxlen=MAX_HISTORY_EVENTS)
    async for batch in read:
        for one in batch:
            if _is_about(one.event, ref, calls):
                told.append(_told(one))
    return list(told)


def _is_about(event: Any, ref: str, calls: set[str]) -> bool:
    """Whether an event is about a contact or a call of it; `calls` are those met so far."""
    if isinstance(event, ContactsAdded | ContactsReplaced):
        return any(one.ref == ref for one in event.contacts)
    if isinstance(event, ContactsAssigned):
        return any(ref in refs for refs in event.contacts.values())
    if isinstance(event, CallAwaitingAgent | CallRequested) and event.contact == ref:
        calls.add(event.call)
    return getattr(event, "contact", None) == ref or (isinstance(event, CallEvent) and event.call in calls)


def _told(one: Recorded) -> dict[str, Any]:
    fields = {
        name: msgspec.to_builtins(getattr(one.event, name))
        for name in one.event.__struct_fields__
        if name not in SECRET
    }
    tag = str(one.event.__struct_config__.tag)
    return {"position": one.pos, "event": tag.rpartition(".v")[0], **fields}
