"""Why and why not: a contact, or whoever has a number."""

from typing import Annotated, Any

import msgspec
from aiohttp import web

from api import view
from api.campaign import number_of
from api.problem import Problem, invalid
from api.route import REF, Call, Route, reply, roles
from api.scan import contacts_with
from api.token import Role
from engine import explain
from engine.campaigns import Running, log_of
from engine.core.contact import Contact, ContactStatus, Priority
from engine.core.outcome import Outcome

READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM)


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """One of `contact` and `number`."""

    contact: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    number: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    campaign: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """Of the contact, where its ref alone isn't known."""


class NumberNow(msgspec.Struct, kw_only=True):
    """A number of a contact; `rule` forbids it now, and `detail` says how."""

    index: int
    number: str
    rule: str | None
    detail: str | None
    list_version: int | None
    last_outcome: Outcome | None
    attempts: int
    attempts_24h_everywhere: int
    cools_until: view.Time | None
    in_call: str | None
    utc_offsets_minutes: list[int]


class ContactNow(msgspec.Struct, kw_only=True):
    campaign: str
    contact: str
    state: ContactStatus
    owner: str | None
    priority: Priority
    kind: str
    due_at: view.Time | None
    rank: int
    agents: list[str]
    """Who would get it now."""
    strategy: str
    next_number: int | None
    numbers: list[NumberNow]
    waits_for: list[str]
    """In words, all that stands between the contact and a call."""


class ContactExplained(ContactNow, kw_only=True):
    history: list[dict[str, Any]]
    """What the log says of the contact, oldest first: each with `position`, `event`, `at`, and what the event holds."""
    as_of: view.Position


class ListEntry(msgspec.Struct, kw_only=True):
    list: str
    version: int
    until: view.Time | None


class NumberExplained(msgspec.Struct, kw_only=True):
    number: str
    lists: list[ListEntry]
    in_call: str | None
    contacts: list[ContactNow]


async def show(call: Call) -> web.Response:
    asked = call.query(Question)
    if asked.number is not None:
        if asked.contact is not None:
            raise invalid("contact", "name a contact, or a number")
        return await _number(call, number_of(asked.number, "number"))
    if asked.contact is None:
        raise invalid("contact", "name a contact, or a number")
    unknown = Problem(404, "unknown-contact", f"there is no contact {asked.contact[:100]!r}", "contact")
    ref = call.engine.directory.contacts.get(asked.contact, asked.campaign)
    if not REF.fullmatch(ref):
        raise unknown
    running = call.named(ref)
    contact = running.book.contacts.by_ref.get(asked.contact)
    if contact is None:
        raise unknown
    now = _now(call, ref, running, contact)
    past = await explain.history(call.engine.store.read(log_of(ref)), contact.ref)
    return reply({**now, "history": [_dated(one) for one in past], "as_of": running.actor.log.position})


def _now(call: Call, ref: str, running: Running, contact: Contact) -> dict[str, Any]:
    now = explain.contact_now(running.book, call.engine.claims, call.engine.zones, contact, call.at)
    now["due_at"] = view.time(now["due_at"] or 0)
    for number in now["numbers"]:
        number["cools_until"] = view.time(number["cools_until"] or 0)
    return {"campaign": ref, **now}


async def _number(call: Call, number: str) -> web.Response:
    """The lists that have it, how often it was dialled, and every contact that the principal may know of with it."""
    mine = [(ref, one) for ref, one in call.engine.campaigns.items() if call.may_see(ref, one)]
    found = explain.lists_with(call.engine.claims.standing, number, [ref for ref, _ in mine])
    lists = [{**one, "until": view.time(one["until"])} for one in found]
    having: list[dict[str, Any]] = []
    for ref, running in mine:
        having += [_now(call, ref, running, contact) async for contact in contacts_with(running.book, number)]
    return reply({"number": number, "lists": lists, "in_call": call.engine.claims.call_to(number), "contacts": having})


def _dated(event: dict[str, Any]) -> dict[str, Any]:
    times = {key: view.time(value) for key, value in event.items() if key == "at" or key.endswith("_at")}
    return {**event, **times}


ROUTES = [
    Route(
        "GET",
        "/v1/explain",
        show,
        READERS,
        "Explain why a contact or number is called or not",
        {200: (ContactExplained, NumberExplained)},
        query=Question,
        problems=("unknown-contact", "unknown-campaign"),
    )
]
