"""Calls: their records, and hanging one up."""

import msgspec
from aiohttp import web

from api import view
from api.problem import Problem
from api.route import EVERYBODY, HEX_ID, Accepted, Call, Route, reply, roles, taken
from api.token import Role
from engine.campaigns import Running
from engine.core.message import HangUpCall
from engine.core.outcome import Party

DIALLING = (
    *("campaign-not-running", "campaign-stopping", "agent-not-available", "agent-phone-down", "agent-phone-closing"),
    *("agent-in-call", "agent-not-in-campaign", "agent-holds-another", "contact-not-in-campaign", "contact-held"),
    *("contact-closed", "contact-answered", "contact-erased", "no-number-left", "number-invalid", "number-not-open"),
    *("number-in-call", "dial-forbidden", "call-in-progress", "reservation-ahead", "reservation-in-call"),
    *("pbx-down", "lines-in-use", "trunk-lines-in-use", "setup-limit", "unknown-reservation", "unknown-allocation"),
)
"""What may stand between an agent and a call."""


class Placed(msgspec.Struct, kw_only=True):
    """The call is durable before it is dialled: what becomes of it is told by notifications with this id."""

    call_id: str


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """A body that says nothing: what it says would be lost."""


ENDERS = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT)


def found(call: Call) -> tuple[str, Running, str]:
    """The campaign and the id of the call that the path names, if the principal may know of it."""
    name = call.part("call", HEX_ID, "call")
    for ref, running in call.engine.campaigns.items():
        known = running.book.calls.get(name)
        if known is None:
            continue
        if not call.may_see(ref, running) or (
            call.principal.role is Role.AGENT and known.agent != call.principal.subject
        ):
            raise Problem(403, "forbidden", "this call is not yours")
        return ref, running, name
    raise Problem(404, "unknown-call", f"there is no call {name!r}")


async def show(call: Call) -> web.Response:
    _, running, name = found(call)
    shown = view.call(running.book.calls[name], running.book)
    return reply(view.CallSeen(**msgspec.structs.asdict(shown), as_of=running.actor.log.position))


async def hang_up(call: Call) -> web.Response:
    ref, running, name = found(call)
    call.act_for(running.book.calls[name].agent)
    await call.body(Nothing)
    party = Party.AGENT if call.principal.role is Role.AGENT else Party.DIALER
    await call.engine.submit(ref, HangUpCall(at=call.at, by=call.by, party=party, call=name))
    return taken(call)


ROUTES = [
    Route("GET", "/v1/calls/{call}", show, EVERYBODY, "Show a call", {200: view.CallSeen}, problems=("unknown-call",)),
    Route(
        "POST",
        "/v1/calls/{call}/hangup",
        hang_up,
        ENDERS,
        "Hang a call up",
        {202: Accepted},
        Nothing,
        problems=("unknown-call",),
    ),
]
