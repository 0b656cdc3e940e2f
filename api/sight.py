"""What agents see of contacts: all of a campaign or their own, and what others of their campaigns know of the same person."""

import asyncio
from itertools import islice

from aiohttp import web

from api import view
from api.problem import Problem
from api.route import Call, reply
from api.token import Role
from engine.campaigns import Running
from engine.core.book import Book
from engine.core.contact import Contact

ROWS_AT_A_TIME = 20_000
"""Contacts looked at before others get their turn: some milliseconds."""
PAGES_PER_REQUEST = 10
"""After so many the answer is what was found, and where to go on."""
MAX_HISTORY_CONTACTS, MAX_HISTORY_CALLS = 10, 10
"""The newest in other campaigns, and the newest calls of each."""


def is_limited(call: Call, running: Running) -> bool:
    """Whether the principal sees their own contacts only."""
    return call.principal.role is Role.AGENT and not running.book.campaign.settings.agents_see_all_contacts


def is_own(contact: Contact, agent: str, book: Book) -> bool:
    """Assigned to the agent, promised a callback by them, or in their hand."""
    held = book.reservations.get(contact.reservation)
    return agent in (contact.agent, contact.callback) or (held is not None and held.agent == agent)


def look_at(call: Call, running: Running, name: str) -> Contact:
    """A contact, if the principal may see it; else not even whether there is one."""
    known = running.book.contacts.by_ref.get(name)
    if is_limited(call, running) and (known is None or not is_own(known, call.principal.subject, running.book)):
        raise Problem(403, "forbidden", f"contact {name!r} is not yours")
    if known is None:
        raise Problem(404, "unknown-contact", f"there is no contact {name!r} in this campaign")
    return known


async def own_contacts(call: Call, running: Running, start: int) -> web.Response:
    """A page of the agent's own contacts in order of arrival; it may be short, or empty, and have another behind it."""
    agent, book, limit = call.principal.subject, running.book, call.limit()
    in_hand = {one.contact for one in book.reservations.values() if one.agent == agent}
    found: list[Contact] = []
    for _ in range(PAGES_PER_REQUEST):
        scanned = start + ROWS_AT_A_TIME
        for place, contact in book.contacts.by_ref.marked(start, ROWS_AT_A_TIME, agent, in_hand):
            if is_own(contact, agent, book):
                found.append(contact)
            if len(found) == limit:
                scanned = place
                break
        start = scanned
        if len(found) == limit or start >= len(book.contacts):
            break
        await asyncio.sleep(0)
    following = call.cursor(start if start < len(book.contacts) else None)
    rows = [view.contact(one, book) for one in found]
    return reply(view.ContactPage(contacts=rows, next=following, as_of=running.actor.log.position))


def history(call: Call, ref: str, contact: Contact, agent: str) -> list[view.ContactElsewhere]:
    """What the agent's other campaigns know of the person: who has a number or the CRM's id in common. Newest first."""
    found: list[tuple[int, view.ContactElsewhere]] = []
    for other, running in call.engine.campaigns.items():
        if other == ref or agent not in running.book.agents:
            continue
        contacts = running.book.contacts
        for name in islice(contacts.worked_with(contact.numbers, contact.external_id), MAX_HISTORY_CONTACTS):
            known = contacts.by_ref[name]
            told = [_call(running.book, one.call) for one in known.attempts[: -MAX_HISTORY_CALLS - 1 : -1]]
            last = running.book.calls[known.attempts[-1].call].asked_at if known.attempts else 0
            line = view.ContactElsewhere(
                campaign=other,
                name=running.book.campaign.name,
                contact=name,
                state=known.status,
                disposition=known.disposition or None,
                calls=told,
            )
            found.append((last, line))
    found.sort(key=lambda one: one[0], reverse=True)
    return [line for _, line in found[:MAX_HISTORY_CONTACTS]]


def _call(book: Book, name: str) -> view.CallElsewhere:
    known = book.calls[name]
    return view.CallElsewhere(
        call=name,
        agent=known.agent,
        outcome=known.outcome,
        requested_at=view.time(known.asked_at),
        talk_ms=known.talk_ms,
    )
