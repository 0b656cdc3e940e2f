"""Why a campaign is or isn't dialing now: what it waits for, in the order in which somebody would look."""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from engine.core import gate
from engine.core.agent import Presence, Wanted
from engine.core.book import Book
from engine.core.campaign import Status
from engine.core.claims import Claims
from engine.core.contact import Contact
from engine.core.gate import Forbidden
from engine.core.number import candidates
from engine.ports import Zones

LOOKED_AT = 20
"""Contacts that are next in line: when the rules forbid them all, the rules are what holds the campaign up."""


class Reason(StrEnum):
    CAMPAIGN = "campaign"
    SERVICE = "service"
    STORE = "store"
    PBX = "pbx"
    AGENTS = "agents"
    CONTACTS = "contacts"
    DUE = "due"
    RULES = "rules"
    LINES = "lines"


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is waited for. `next_at` (epoch ms) is when it ends by itself, 0 where it doesn't or nobody knows."""

    reason: Reason
    detail: str
    next_at: int = 0


def waits(book: Book, claims: Claims, zones: Zones | None, at: int, draining: bool, store: str) -> list[Wait]:
    """Everything that stands between the campaign and a call; nothing where an agent has only to ask.

    `store`: what keeps the campaign's log from being written, in words; "" where nothing does.
    """
    return list(_waits(book, claims, zones, at, draining, store))


def _waits(book: Book, claims: Claims, zones: Zones | None, at: int, draining: bool, store: str) -> Iterator[Wait]:
    if book.campaign.status is not Status.RUNNING:
        yield Wait(reason=Reason.CAMPAIGN, detail=f"the campaign is {book.campaign.status}")
    if draining:
        yield Wait(reason=Reason.SERVICE, detail="the service is about to stop: it takes no new call")
    if store:
        yield Wait(reason=Reason.STORE, detail=store)
    if not claims.pbx_up:
        yield Wait(reason=Reason.PBX, detail="the PBX is not connected")
    yield from _agents(book)
    yield from _contacts(book, claims, zones, at)
    lines = book.campaign.settings.max_lines
    if len(book.live) >= lines:
        yield Wait(reason=Reason.LINES, detail=f"all {lines} lines of the campaign are in use")


def _agents(book: Book) -> Iterator[Wait]:
    agents = list(book.agents.values())
    if any(one.presence is Presence.PRESENT and one.wanted is Wanted.AVAILABLE for one in agents):
        return
    present = sum(one.presence is Presence.PRESENT for one in agents)
    detail = f"{present} of {len(agents)} agents are there, and none is available" if agents else "it has no agents"
    yield Wait(reason=Reason.AGENTS, detail=detail)


def _contacts(book: Book, claims: Claims, zones: Zones | None, at: int) -> Iterator[Wait]:
    contacts = book.contacts
    if not contacts.open:
        detail = "every contact is final" if len(contacts) else "it has no contacts"
        yield Wait(reason=Reason.CONTACTS, detail=detail)
        return
    following = [one for owner in contacts.owners() for one in contacts.upcoming(at, owner, LOOKED_AT)]
    following = sorted(following, key=lambda one: one.place)[:LOOKED_AT]
    if not following:
        if not book.reservations:  # else the open ones are in somebody's hand
            due_at = contacts.next_due_at(at, contacts.owners()) or 0
            yield Wait(reason=Reason.DUE, detail="no contact is due yet", next_at=due_at)
        return
    found = [_forbidden(book, claims, zones, one, at) for one in following]
    forbidden = [one for one in found if one is not None]
    if len(forbidden) == len(following):
        first, zone = forbidden[0], _offsets(zones, following[0], at)
        yield Wait(
            reason=Reason.RULES,
            detail=f"none of the next {len(following)} contacts may be called: {first.detail}",
            next_at=gate.opens_at(book.campaign.settings, zone, at) if first.rule in gate.BY_CLOCK else 0,
        )


def _forbidden(book: Book, claims: Claims, zones: Zones | None, contact: Contact, at: int) -> Forbidden | None:
    """Why none of a contact's numbers may be dialled by itself now; None where one may."""
    usable = candidates(book, contact, claims.standing, at)
    why = Forbidden("numbers", "no number of theirs may be dialled by itself now")
    for index in usable:
        number = contact.numbers[index]
        offsets = zones.offsets(contact.zone, number, at) if zones is not None else ()
        rule = gate.forbidden(book, contact, number, offsets, claims.standing, at)
        if rule is None:
            return None
        why = rule
    return why


def _offsets(zones: Zones | None, contact: Contact, at: int) -> tuple[int, ...]:
    return tuple(zones.offsets(contact.zone, contact.numbers[0], at)) if zones is not None and contact.numbers else ()
