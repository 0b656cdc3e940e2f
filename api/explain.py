"""Why and why not: a contact, or whoever has a number."""

from typing import Any

from aiohttp import web

from api import view
from api.campaign import number_of
from api.problem import Problem, invalid
from api.route import REF, Call, Route, reply, roles
from api.scan import contacts_with
from api.token import Role
from engine import explain
from engine.app import Running, log_of
from engine.core.contact import Contact

READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM)


async def show(call: Call) -> web.Response:
    query = call.request.query
    if ("contact" in query) == ("number" in query):
        raise invalid("contact", "name a contact, or a number")
    if "number" in query:
        return await _number(call, number_of(query["number"], "number"))
    ref = call.engine.directory.contacts.get(query["contact"], query.get("campaign", ""))
    if not REF.fullmatch(ref):
        raise Problem(404, "unknown-contact", f"there is no contact {query['contact'][:100]!r}", "contact")
    running = call.named(ref)
    contact = running.book.contacts.by_ref.get(query["contact"])
    if contact is None:
        raise Problem(404, "unknown-contact", f"there is no contact {query['contact'][:100]!r}", "contact")
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


ROUTES = [Route("GET", "/v1/explain", show, READERS)]
