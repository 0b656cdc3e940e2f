"""Calls that an external system asks for, and how they are closed: click-to-call, dispositions by a call's id."""

from typing import Annotated, Any

import msgspec
from aiohttp import web

from api import moment
from api.call import found
from api.problem import Problem, invalid
from api.route import Call, Ref, Route, reply, roles, taken
from api.token import Role
from engine.app import Running
from engine.core.campaign import Disposition
from engine.core.contact import Contact, NewContact
from engine.core.message import AddContacts, ClickToCall, Dispose
from engine.core.personal import Details, Person
from engine.core.standing import line_of

CALLERS = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT, Role.CRM)
READERS = frozenset(Role)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Number = Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9]{2,20}$(?!\n)")]


class Click(msgspec.Struct, forbid_unknown_fields=True):
    """With `external_system`, campaign, agent and contact are that system's own ids."""

    request_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)")]
    campaign: Ref
    agent: Ref
    contact: Ref | None = None
    number: Number | None = None
    external_system: Ref | None = None


class Callback(msgspec.Struct, forbid_unknown_fields=True):
    at: Annotated[str, msgspec.Meta(max_length=40)]
    personal: bool = True


class Closing(msgspec.Struct, forbid_unknown_fields=True):
    disposition: Name | None = None
    external_disposition: Name | None = None
    callback: Callback | None = None


def callback_of(call: Call, contact: Contact, wanted: Callback | None) -> tuple[int | None, bool]:
    if wanted is None:
        return None, True
    return moment.at_the_contacts(wanted.at, contact, call.engine.zones, "callback.at"), wanted.personal


def one_named(code: str | None, external: str | None) -> None:
    if (code is None) == (external is None):
        raise invalid("disposition", "name one: disposition or external_disposition")


def disposition_of(running: Running, code: str | None, external: str | None) -> str:
    """A disposition by its code, or by the CRM's own name for it."""
    if code is not None:
        return code
    known = running.book.campaign.settings.dispositions
    chosen = next((one.code for one in known if one.external_id == external), None)
    if chosen is None:
        raise invalid("external_disposition", f"this campaign has no disposition that the CRM calls {external!r}")
    return chosen


# -- click-to-call ------------------------------------------------------------------------------------------------------


async def click(call: Call) -> web.Response:
    body = await call.body(Click)
    ref, agent = _named(call, body)
    running = call.named(ref)
    _may_act_for(call, agent)
    if agent not in call.engine.directory.agents:
        raise Problem(404, "unknown-agent", f"there is no agent {agent!r}", "agent")
    contact = await _contact(call, running, ref, body)
    chance = call.engine.chance
    placed = await call.engine.submit(
        ref,
        ClickToCall(
            at=call.at,
            by=call.by,
            request=body.request_id,
            agent=agent,
            contact=contact,
            number=body.number if body.contact is not None else None,
            reservation=chance.new_id(),
            token=chance.new_id(),
            call=chance.new_id(),
            leg=chance.new_id(),
        ),
    )
    return reply({"call_id": placed}, 202, {"Location": f"/v1/calls/{placed}"})


def _named(call: Call, body: Click) -> tuple[str, str]:
    """Campaign and agent, by our refs or the external system's."""
    system = body.external_system
    if system is None:
        return body.campaign, body.agent
    if call.principal.systems and system not in call.principal.systems:
        raise Problem(403, "forbidden", f"external system {system!r} is not yours", "external_system")
    bound = call.engine.directory.external
    if not any(name == system for name, _, _ in bound):
        raise Problem(404, "unknown-external-system", f"there is no external system {system!r}", "external_system")
    campaign, agent = bound.get((system, "campaign", body.campaign)), bound.get((system, "agent", body.agent))
    if campaign is None:
        raise Problem(404, "unknown-campaign", f"{system!r} has no campaign {body.campaign!r}", "campaign")
    if agent is None:
        raise Problem(404, "unknown-agent", f"{system!r} has no agent {body.agent!r}", "agent")
    return campaign, agent


def _may_act_for(call: Call, agent: str) -> None:
    principal = call.principal
    if principal.role is Role.AGENT and principal.subject != agent:
        raise Problem(403, "forbidden", "an agent's token acts for that agent only", "agent")
    if principal.agents and agent not in principal.agents:
        raise Problem(403, "forbidden", f"this token doesn't act for agent {agent!r}", "agent")


async def _contact(call: Call, running: Running, ref: str, body: Click) -> str:
    """The contact that is meant, made for the occasion where the campaign allows numbers of nobody."""
    contacts = running.book.contacts
    if body.contact is not None:
        if body.external_system is None:
            return body.contact
        known = contacts.by_external.get(body.contact)
        if known is None:
            raise Problem(409, "contact-not-in-campaign", f"this campaign has no contact {body.contact!r}", "contact")
        return known
    if body.number is None:
        raise invalid("contact", "name a contact, or a number")
    made = f"{ref}:adhoc:{body.request_id}"
    if made in contacts.by_ref:
        return made
    line = line_of(body.number)
    having = next((one.ref for one in contacts.by_ref.values() if line in map(line_of, one.numbers)), None)
    if having is not None:
        return having
    if not running.book.campaign.settings.adhoc_numbers:
        raise Problem(409, "adhoc-not-allowed", "this campaign calls its contacts only", "number")
    new = NewContact(made, Person(made, Details(numbers=(body.number,))), agent="")
    await call.engine.add_contacts(ref, AddContacts(at=call.at, by=call.by, contacts=(new,)))
    return made


# -- closing a call -----------------------------------------------------------------------------------------------------


async def dispose(call: Call) -> web.Response:
    """The disposition of the contact that a call was with, while its agent still has it in hand."""
    body = await call.body(Closing)
    one_named(body.disposition, body.external_disposition)
    ref, running, name = found(call)
    record = running.book.calls[name]
    _may_act_for(call, record.agent)
    code = disposition_of(running, body.disposition, body.external_disposition)
    held = running.book.reservations.get(record.reservation)
    if held is None:
        raise Problem(409, "reservation-lost", "the contact of this call is not in its agent's hand any more")
    back_at, personal = callback_of(call, running.book.contacts.by_ref[held.contact], body.callback)
    disposing = Dispose(
        at=call.at,
        agent=held.agent,
        reservation=held.id,
        token=held.token,
        disposition=code,
        callback_at=back_at,
        personal=personal,
    )
    await call.engine.submit(ref, disposing)
    return taken(call)


async def dispositions(call: Call) -> web.Response:
    """The campaign's dispositions as the tree that they are."""
    _, running = call.campaign()
    known = running.book.campaign.settings.dispositions
    return reply({"dispositions": _under("", known)})


def _under(parent: str, known: tuple[Disposition, ...]) -> list[dict[str, Any]]:
    return [{**msgspec.to_builtins(one), "children": _under(one.code, known)} for one in known if one.parent == parent]


ROUTES = [
    Route("POST", "/v1/calls", click, CALLERS),
    Route("POST", "/v1/calls/{call}/disposition", dispose, CALLERS),
    Route("GET", "/v1/campaigns/{ref}/dispositions", dispositions, READERS),
]
