"""Agents: registering them, their state, and the contact in their hand."""

from typing import Annotated

import msgspec
from aiohttp import web

from api import cursor, sight, view
from api.call import DIALLING, Placed
from api.disposition import Closing, close, one_named
from api.edition import edition_of
from api.problem import Problem, invalid
from api.route import AGENT_ID, HEX_ID, Accepted, AgentId, Answer, Call, Pages, Reason, Ref, Route, reply, roles, taken
from api.token import Role
from engine.campaigns import Running
from engine.core.agent import AgentStatus, Wanted
from engine.core.campaign import Status, Text
from engine.core.directory import PhoneName, RegisterAgent
from engine.core.message import AskAgent, Dial, Extend, Next, NoContact, Release, Skip

Number = Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9]{2,20}$(?!\n)")]
Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
STEERING = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR)
WITH_AGENTS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.AGENT)
DESK = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT)


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    name: Text
    phone: PhoneName


class StateChange(msgspec.Struct, forbid_unknown_fields=True):
    state: Wanted
    reason: Reason = ""
    campaign: Ref | None = None


class NextContact(msgspec.Struct, forbid_unknown_fields=True):
    campaign: Ref | None = None
    ahead: bool = False


class Held(msgspec.Struct, forbid_unknown_fields=True):
    token: Token
    agent: AgentId | None = None


class Dialling(msgspec.Struct, forbid_unknown_fields=True):
    token: Token
    number: Number | None = None
    agent: AgentId | None = None


class Skipping(msgspec.Struct, forbid_unknown_fields=True):
    token: Token
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    agent: AgentId | None = None


class Releasing(msgspec.Struct, forbid_unknown_fields=True):
    token: Token | None = None
    reason: Reason = ""
    agent: AgentId | None = None


class Disposing(Closing, kw_only=True, forbid_unknown_fields=True):
    token: Token
    agent: AgentId | None = None


class AgentShown(msgspec.Struct, kw_only=True):
    """`campaign` is where the agent is active; `state` is the one there."""

    agent: str
    name: str
    phone: str
    campaign: str | None
    state: AgentStatus
    allocated: list[str]


class AgentSeen(AgentShown, kw_only=True):
    as_of: view.DirectoryPosition


class Agents(msgspec.Struct, kw_only=True):
    agents: list[AgentShown]
    next: view.Next
    as_of: view.DirectoryPosition


class Given(msgspec.Struct, kw_only=True):
    reservation: view.ReservationShown


class Extended(msgspec.Struct, kw_only=True):
    expires_at: view.Time | None


# -- agents -----------------------------------------------------------------------------------------------------------


async def put(call: Call) -> web.Response:
    agent = call.request.match_info["agent"]
    if not AGENT_ID.fullmatch(agent):
        raise invalid("agent", "1 to 64 letters, digits and _ . -")
    elsewhere = [ref for ref, one in _allocations(call, agent) if not call.may_see(ref, one)]
    if call.principal.campaigns and elsewhere:  # their phone would change there too
        raise Problem(403, "forbidden", f"agent {agent!r} is also in campaigns that are not yours")
    body = await call.body(Registration)
    created = agent not in call.engine.directory.agents
    register = RegisterAgent(at=call.at, by=call.by, agent=agent, name=body.name, phone=body.phone)
    await call.engine.register_agent(register)
    return _seen(call, agent, 201 if created else 200)


async def show(call: Call) -> web.Response:
    return _seen(call, _self(call))


async def listing(call: Call) -> web.Response:
    """In the order of their ids."""
    known = (one for one in call.engine.directory.agents if may_know(call, one))
    shown, following = cursor.page(known, str, call.after(), call.limit())
    rows = [_shown(call, one) for one in shown]
    return reply(Agents(agents=rows, next=call.cursor(following), as_of=call.engine.directory_position))


def _self(call: Call) -> str:
    """The agent of the path, who is registered; an agent's token acts for that agent only."""
    agent = call.part("agent", AGENT_ID, "agent")
    if call.principal.role is Role.AGENT and call.principal.subject != agent:
        raise Problem(403, "forbidden", "an agent's token acts for that agent only")
    if call.principal.role is not Role.AGENT and not may_know(call, agent):
        raise Problem(403, "forbidden", f"agent {agent!r} is in no campaign of yours")
    if agent not in call.engine.directory.agents:
        raise Problem(404, "unknown-agent", f"there is no agent {agent!r}")
    return agent


def _acting(call: Call) -> str:
    """The agent of the path, for whom the principal may act."""
    agent = _self(call)
    call.act_for(agent)
    return agent


def may_know(call: Call, agent: str) -> bool:
    """Whoever is bound to campaigns knows the agents of those, and, configuring them, those who are in none yet."""
    supervisor = call.principal.role is Role.SUPERVISOR
    if not supervisor and not call.principal.campaigns:
        return True
    allocations = _allocations(call, agent)
    return any(call.may_see(ref, one) for ref, one in allocations) or not (supervisor or allocations)


def _allocations(call: Call, agent: str) -> list[tuple[str, Running]]:
    return [(ref, one) for ref, one in call.engine.campaigns.items() if agent in one.book.agents]


def _shown(call: Call, agent: str) -> AgentShown:
    known = call.engine.directory.agents[agent]
    allocated = {ref: one.book.agents[agent] for ref, one in call.engine.campaigns.items() if agent in one.book.agents}
    active = next(iter(call.engine.claims.agents.get(agent, ())), None)
    return AgentShown(
        agent=agent,
        name=known.name,
        phone=known.phone,
        campaign=active,
        state=allocated[active].status if active in allocated else AgentStatus.OFFLINE,
        allocated=sorted(allocated),
    )


def _seen(call: Call, agent: str, status: int = 200) -> web.Response:
    shown = _shown(call, agent)
    seen = AgentSeen(**msgspec.structs.asdict(shown), as_of=call.engine.directory_position)
    return reply(seen, status, edition=edition_of((shown.name, shown.phone, shown.campaign, shown.state)))


async def patch(call: Call) -> web.Response:
    agent = _acting(call)
    body = await call.body(StateChange)
    if body.state is Wanted.PAUSED and not body.reason:
        raise invalid("reason", "a pause has a reason")
    ref = _campaign_of(call, agent, body.campaign)
    await call.engine.submit(ref, AskAgent(at=call.at, by=call.by, agent=agent, wanted=body.state, reason=body.reason))
    return taken(call)


def _campaign_of(call: Call, agent: str, named: str | None) -> str:
    """The campaign that is meant, if the principal may act in it."""
    ref = named or _likely(call, agent)
    call.named(ref)
    return ref


def _likely(call: Call, agent: str) -> str:
    """Where the agent is active, else the only one where they hold a contact, else the only running one of theirs."""
    active = next(iter(call.engine.claims.agents.get(agent, ())), None)
    if active is not None:
        return active
    holding = [ref for ref, one in call.engine.campaigns.items() if _holds(one, agent)]
    live = (Status.STARTING, Status.RUNNING)
    having = [ref for ref, one in call.engine.campaigns.items() if agent in one.book.agents]
    running = [ref for ref in having if call.engine.campaigns[ref].book.campaign.status in live]
    for candidates in (holding, running):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            known = [ref for ref in candidates if call.may_see(ref, call.engine.campaigns[ref])]
            detail = (
                f"agent {agent!r} may be meant in {len(candidates)} campaigns, of yours: {', '.join(known) or 'none'}"
            )
            raise Problem(409, "agent-ambiguous", detail, "campaign")
    if len(having) == 1:
        return having[0]
    raise Problem(409, "agent-not-active", f"no running campaign has agent {agent!r}", "campaign")


def _holds(running: Running, agent: str) -> bool:
    known = running.book.agents.get(agent)
    return known is not None and bool(known.reservation)


async def next_contact(call: Call) -> web.Response:
    agent = _acting(call)
    body = await call.body(NextContact)
    ref = _campaign_of(call, agent, body.campaign)
    chance = call.engine.chance
    ask = Next(at=call.at, agent=agent, reservation=chance.new_id(), token=chance.new_id(), ahead=body.ahead)
    held = await call.engine.submit(ref, ask)
    if isinstance(held, NoContact):
        headers = {"Ringfold-Reason": held.reason}
        if held.next_due_at is not None:
            headers["Retry-After"] = str(max(1, -(-(held.next_due_at - call.at) // 1_000)))
        return web.Response(status=204, headers=headers)
    name, book = call.engine.directory.agents[agent].name, call.engine.campaign(ref).book
    shown = view.reservation(held, book, ref, name)
    if book.campaign.settings.history_in_other_campaigns:
        shown.history = sight.history(call, ref, book.contacts.by_ref[held.contact], agent)
    return reply(Given(reservation=shown))


# -- reservations -----------------------------------------------------------------------------------------------------


def _holding(call: Call, named: str | None) -> tuple[str, str, str]:
    """Reservation of the path, its campaign, and who acts: the agent of the token, or the one somebody acts for."""
    reservation = call.part("reservation", HEX_ID, "reservation")
    if call.principal.role is Role.AGENT:
        if named not in (None, call.principal.subject):
            raise Problem(403, "forbidden", "an agent's token acts for that agent only", "agent")
        named = call.principal.subject
    for ref, running in call.engine.campaigns.items():
        held = running.book.reservations.get(reservation)
        if held is not None:
            if call.principal.role is not Role.AGENT:
                call.named(ref)
                call.act_for(held.agent)
            return reservation, ref, named or held.agent
    raise Problem(409, "reservation-lost", "this reservation lapsed, was released, or was disposed of")


async def dial(call: Call) -> web.Response:
    body = await call.body(Dialling)
    reservation, ref, agent = _holding(call, body.agent)
    chance = call.engine.chance
    placed = await call.engine.submit(
        ref,
        Dial(
            at=call.at,
            agent=agent,
            reservation=reservation,
            token=body.token,
            number=body.number,
            call=chance.new_id(),
            leg=chance.new_id(),
        ),
    )
    return reply(Placed(call_id=placed), 202)


async def extend(call: Call) -> web.Response:
    body = await call.body(Held)
    reservation, ref, agent = _holding(call, body.agent)
    await call.engine.submit(ref, Extend(at=call.at, agent=agent, reservation=reservation, token=body.token))
    book = call.engine.campaign(ref).book
    held = book.reservations.get(reservation)
    return reply(Extended(expires_at=view.time(held.expires_at) if held else None))


async def skip(call: Call) -> web.Response:
    body = await call.body(Skipping)
    reservation, ref, agent = _holding(call, body.agent)
    skipping = Skip(at=call.at, agent=agent, reservation=reservation, token=body.token, reason=body.reason)
    await call.engine.submit(ref, skipping)
    return taken(call)


async def release(call: Call) -> web.Response:
    body = await call.body(Releasing)
    reservation, ref, agent = _holding(call, body.agent)
    if body.token is None and call.principal.role is Role.AGENT:
        raise invalid("token", "an agent releases with the reservation's token")
    letting_go = Release(
        at=call.at, by=call.by, agent=agent, reservation=reservation, token=body.token, reason=body.reason
    )
    await call.engine.submit(ref, letting_go)
    return taken(call)


async def dispose(call: Call) -> web.Response:
    body = await call.body(Disposing)
    one_named(body)
    reservation, ref, agent = _holding(call, body.agent)
    await close(call, ref, call.engine.campaign(ref).book.reservations[reservation], agent, body.token, body)
    return taken(call)


ASKING = (
    *("agent-ambiguous", "agent-not-active", "agent-active-elsewhere", "agent-logging-out", "agent-not-available"),
    *("campaign-not-running", "campaign-stopping", "unknown-allocation", "agent-phone-down", "agent-phone-closing"),
    *("reservation-ahead", "call-not-begun"),
)
NOTHING_NOW = Answer(
    None,
    {
        "Ringfold-Reason": "Why there is no contact now.",
        "Retry-After": "Seconds until the first one is due, where that is known.",
    },
)
LOST = ("reservation-lost", "reservation-in-call", "unknown-reservation", "unknown-campaign")
AGENT = "/v1/agents/{agent}"
RESERVATION = "/v1/reservations/{reservation}"
ROUTES = [
    Route("GET", "/v1/agents", listing, STEERING, "List agents", {200: Agents}, query=Pages),
    Route(
        "PUT",
        AGENT,
        put,
        MANAGERS,
        "Register an agent",
        {201: AgentSeen, 200: AgentSeen},
        Registration,
        problems=("phone-taken", "agent-present"),
    ),
    Route("GET", AGENT, show, WITH_AGENTS, "Show an agent", {200: AgentSeen}, problems=("unknown-agent",)),
    Route(
        "PATCH",
        AGENT,
        patch,
        WITH_AGENTS,
        "Set an agent available, paused or offline",
        {202: Accepted},
        StateChange,
        problems=("unknown-agent", "unknown-campaign", *ASKING),
    ),
    Route(
        "POST",
        AGENT + "/next",
        next_contact,
        DESK,
        "Take the next contact in hand",
        {200: Given, 204: NOTHING_NOW},
        NextContact,
        problems=("unknown-agent", "unknown-campaign", *ASKING),
    ),
    Route(
        "POST",
        RESERVATION + "/dial",
        dial,
        DESK,
        "Dial the contact in hand",
        {202: Placed},
        Dialling,
        problems=(*LOST, *DIALLING),
    ),
    Route(
        "POST",
        RESERVATION + "/extend",
        extend,
        DESK,
        "Keep the contact in hand for longer",
        {200: Extended},
        Held,
        problems=LOST,
    ),
    Route(
        "POST",
        RESERVATION + "/skip",
        skip,
        DESK,
        "Put the contact in hand behind the next ones",
        {202: Accepted},
        Skipping,
        problems=LOST,
    ),
    Route(
        "POST",
        RESERVATION + "/release",
        release,
        DESK,
        "Let the contact in hand go",
        {202: Accepted},
        Releasing,
        problems=LOST,
    ),
    Route(
        "POST",
        RESERVATION + "/disposition",
        dispose,
        DESK,
        "Dispose of the contact in hand",
        {202: Accepted},
        Disposing,
        problems=(*LOST, "no-attempt", "reservation-ahead"),
    ),
]
