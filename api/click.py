"""Click-to-call: a call that somebody, or an external system, asks for of one agent with one contact or number."""

from typing import Annotated

import msgspec
from aiohttp import web

from api.call import DIALLING, Placed
from api.problem import Problem, invalid
from api.route import Answer, Call, Route, reply, roles
from api.scan import contacts_with
from api.token import Role
from engine.campaigns import Running
from engine.core.contact import OPEN, Contact, ContactStatus, NewContact
from engine.core.dialing import ready
from engine.core.message import AddContacts, CancelContact, ClickToCall
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.core.standing import line_of

CALLERS = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT, Role.CRM)
MAX_REF_CHARS = 100
CURSOR = "Ringfold-Cursor"
"""The header from whose place in the feed on the call's events are found."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
System = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
Number = Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9]{2,20}$(?!\n)")]


class Click(msgspec.Struct, forbid_unknown_fields=True):
    """With `external_system`, campaign, agent and contact are that system's own ids.

    With a contact, `number` is one of the contact's; without, it is anybody's.
    """

    request_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)")]
    campaign: Name
    agent: Name
    contact: Name | None = None
    number: Number | None = None
    external_system: System | None = None


async def click(call: Call) -> web.Response:
    """202 with the call's id; the same request id is the same call, however often and whenever it is asked."""
    body = await call.body(Click)
    if body.contact is None and body.number is None:
        raise invalid("contact", "name a contact, or a number")
    ref, agent = _named(call, body)
    running = call.named(ref)
    call.act_for(agent)
    if agent not in call.engine.directory.agents:
        raise Problem(404, "unknown-agent", f"there is no agent {agent!r}", "agent")
    _, cursor = await call.service.feed.read("now", 1)
    if body.request_id in running.book.requests:
        cursor = ""  # asked before: what was told of it lies further back
    contact, made = await _contact(call, running, ref, agent, body)
    try:
        placed = await call.engine.submit(ref, _asked(call, running, body, agent, contact))
    except Refused as refused:
        if made:  # for this call alone: nobody else is to be given it
            await _unmake(call, ref, contact, refused.code)
        raise
    record = running.book.calls[placed]
    if (record.agent, record.contact) != (agent, contact):
        raise Problem(409, "request-id-used", "an earlier request of this id asked for another call", "request_id")
    headers = {"Location": f"/v1/calls/{placed}", **({CURSOR: cursor} if cursor else {})}
    return reply(Placed(call_id=placed), 202, headers)


def _asked(call: Call, running: Running, body: Click, agent: str, contact: str) -> ClickToCall:
    chance, number = call.engine.chance, body.number
    if number is not None and body.contact is None:  # as the contact has it, who was found by it
        numbers = running.book.contacts.by_ref[contact].numbers
        number = next((one for one in numbers if line_of(one) == line_of(number)), number)
    return ClickToCall(
        at=call.at,
        by=call.by,
        request=body.request_id,
        agent=agent,
        contact=contact,
        number=number,
        reservation=chance.new_id(),
        token=chance.new_id(),
        call=chance.new_id(),
        leg=chance.new_id(),
    )


def _named(call: Call, body: Click) -> tuple[str, str]:
    """Campaign and agent, by our refs or the external system's."""
    system = body.external_system
    if system is None:
        return body.campaign, body.agent
    campaign = campaign_of(call, system, body.campaign)
    agent = call.engine.directory.external.get((system, "agent", body.agent))
    if agent is None:
        raise Problem(404, "unknown-agent", f"{system!r} has no agent {body.agent!r}", "agent")
    return campaign, agent


def campaign_of(call: Call, system: str, name: str, field: str = "campaign") -> str:
    """The campaign that an external system calls so, if the principal may speak as that system."""
    if call.principal.systems and system not in call.principal.systems:
        raise Problem(403, "forbidden", f"external system {system!r} is not yours", "external_system")
    bound = call.engine.directory.external
    ref = bound.get((system, "campaign", name))
    if ref is not None:
        return ref
    if not any(known == system for known, _, _ in bound):
        raise Problem(404, "unknown-external-system", f"there is no external system {system!r}", "external_system")
    raise Problem(404, "unknown-campaign", f"{system!r} has no campaign {name!r}", field)


# -- which contact ------------------------------------------------------------------------------------------------------


async def _contact(call: Call, running: Running, ref: str, agent: str, body: Click) -> tuple[str, bool]:
    """The contact that is meant, and whether it was made for the occasion: where the campaign allows numbers of nobody."""
    contacts = running.book.contacts
    if body.contact is not None:
        if body.external_system is None:
            return body.contact, False
        known = contacts.named(body.contact)
        if known is None:
            raise Problem(409, "contact-not-in-campaign", f"this campaign has no contact {body.contact!r}", "contact")
        return known, False
    assert body.number is not None
    before = running.book.calls.get(running.book.requests.get(body.request_id, ""))
    if before is not None and _has(contacts.by_ref[before.contact], line_of(body.number)):
        return before.contact, False
    having = await _having(running, body.number, f"{ref}:adhoc:")
    if having is not None:
        return having, False
    if not running.book.campaign.settings.adhoc_numbers:
        raise Problem(409, "adhoc-not-allowed", "this campaign calls its contacts only", "number")
    name = _free(running, f"{ref}:adhoc:{body.request_id}")
    if len(name) > MAX_REF_CHARS:
        raise invalid("request_id", f"is too long: {name[:MAX_REF_CHARS]!r}… would be the contact's ref")
    ready(running.book, agent, name)
    new = NewContact(name, Person(name, Details(numbers=(body.number,))))
    await call.engine.add_contacts(ref, AddContacts(at=call.at, by=call.by, contacts=(new,)))
    return name, True


def _has(contact: Contact, line: str) -> bool:
    return line in map(line_of, contact.numbers)


async def _having(running: Running, number: str, made: str) -> str | None:
    """A contact that has the number: an open one before a closed one. Closed ones that were made for a call don't count."""
    closed = None
    async for one in contacts_with(running.book, number):
        if one.status in OPEN:
            return one.ref
        if closed is None and not one.ref.startswith(made):
            closed = one.ref
    return closed


def _free(running: Running, made: str) -> str:
    """The ref of a contact for this request; those of requests that were refused before are cancelled, and used up."""
    known, name, again = running.book.contacts.by_ref, made, 1
    while name in known and known[name].status is ContactStatus.CANCELLED:
        again += 1
        name = f"{made}.{again}"
    return name


async def _unmake(call: Call, ref: str, contact: str, code: str) -> None:
    reason = f"made for a call that was refused: {code}"
    try:
        await call.engine.submit(ref, CancelContact(at=call.at, by=call.by, contact=contact, reason=reason))
    except Refused:  # the same request, asked twice at once, was not refused the other time
        return


REFUSALS = (
    *DIALLING,
    *("unknown-campaign", "unknown-agent", "unknown-contact", "unknown-external-system"),
    *("adhoc-not-allowed", "request-id-used"),
)
TAKEN = Answer(
    Placed,
    {"Location": "The call.", CURSOR: "From here on the feed tells of the call; absent where it was asked for before."},
)
ROUTES = [
    Route("POST", "/v1/calls", click, CALLERS, "Call a contact or a number", {202: TAKEN}, Click, problems=REFUSALS)
]
