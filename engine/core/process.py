"""One message in, events and effects out: the process that ties the aggregates of a campaign together.

`step` decides on a message, folds what it decided into the book, and then lets the consequences follow: what must now
happen because of how things stand, whoever brought it about (`follow`). `react` says what each event asks of the
outside world, `resume` what a book read back from its log asks of it, `resync` what a returned PBX does.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from engine.core import agent as agents
from engine.core import call as calls
from engine.core import campaign as campaigns
from engine.core import preview
from engine.core.agent import (
    Agent,
    AgentAbsent,
    AgentAllocated,
    AgentArriving,
    AgentAsked,
    AgentLeaving,
    AgentPresent,
    AgentRemoved,
    AgentStatus,
    AgentStatusChanged,
    AgentWithdrawn,
    DefaultState,
    Line,
    Phone,
    PhoneCalled,
    PhoneClosing,
    PhoneDoubted,
    PhoneDown,
    PhoneOverdue,
    PhoneUp,
    Presence,
    Wanted,
)
from engine.core.book import Book, Event
from engine.core.call import (
    BridgeFailed,
    Call,
    CallConnected,
    CallDoubted,
    CallEnded,
    CallOverdue,
    CallRequested,
    CallStatus,
    Doubt,
    HangupRequested,
)
from engine.core.campaign import (
    AgentsReady,
    CampaignStarting,
    Completed,
    Drained,
    Start,
    Status,
    StopForced,
)
from engine.core.claims import Claims
from engine.core.effect import CancelTimer, Effect, ReservationDue, SetTimer
from engine.core.message import Allocate, AskAgent, HangUpCall, Message, Resync, Withdraw
from engine.core.outcome import Outcome, Party
from engine.core.refusal import absent, against_rule, no_room
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved, Phase, ReservationExtended
from engine.core.telephony import (
    BridgeLegs,
    HangUp,
    LegAnswered,
    LegCreated,
    LegObservation,
    LegReady,
    LegSeen,
    OriginateAgent,
    OriginateContact,
    Settle,
)

APPEARANCE_MS = 2_000
"""How long a leg may take to appear at the PBX after it was asked for."""
SILENCE_MARGIN_MS = 10_000
"""How long after its ring time-out the PBX is asked about a leg that nothing was heard of."""


class Step(NamedTuple):
    events: list[Event]
    effects: list[Effect]
    reply: Any = None


def step(book: Book, message: Message, claims: Claims, new_id: Callable[[], str]) -> Step:
    """Decide, fold, follow. Raises Refused with nothing changed."""
    events, effects, reply = _decide(book, message, claims)
    for event in events:
        book.apply(event)
        claims.follow(book, event)
    done = [*events, *_follow(book, message.at, events, claims, new_id)]
    effects = [*effects, *(effect for event in done for effect in react(book, event))]
    return Step(done, effects, reply)


# -- decide -----------------------------------------------------------------------------------------------------------


def _decide(book: Book, message: Message, claims: Claims) -> Step:
    if isinstance(message, LegObservation):
        return _hear(book, message)
    if isinstance(message, preview.PreviewCommand):
        return Step(*preview.decide(book, message, claims))
    match message:
        case ReservationDue():
            return Step(preview.lapse(book, message), [])
        case CallOverdue():
            call = book.calls.get(message.call)
            return Step(list(calls.decide(call, message)) if call else [], [])
        case PhoneOverdue():
            agent = book.agents.get(message.agent)
            return Step(list(agents.decide(agent, message)) if agent else [], [])
        case Resync():
            return _resync(book, message)
        case Allocate():
            return Step(_allocate(book, message), [])
        case Withdraw():
            agent = _allocated(book, message.agent)
            event = AgentWithdrawn(at=message.at, agent=agent.id, by=message.by)
            return Step([] if agent.withdrawn else [event], [])
        case AskAgent():
            return Step(_ask(book, message, claims), [])
        case HangUpCall():
            return Step(_hang_up(book, message), [])
        case Start():
            return Step(_start(book, message), [])
        case _:
            lifecycle: list[Event] = list(campaigns.decide(book.campaign, message))
            forced = next((one for one in lifecycle if isinstance(one, StopForced)), None)
            if forced is not None:
                lifecycle += [_let_go(book.calls[one], forced.at, Party.DIALER, forced.by) for one in book.live]
            return Step(lifecycle, [])


def _start(book: Book, start: Start) -> list[Event]:
    """Every agent who is available by default is asked to come."""
    events: list[Event] = list(campaigns.decide(book.campaign, start))
    if events:
        events += [
            AgentAsked(at=start.at, agent=one.id, wanted=Wanted.AVAILABLE, reason="", by=start.by)
            for one in book.agents.values()
            if one.default_state is DefaultState.AVAILABLE and not one.withdrawn
        ]
    return events


def _allocate(book: Book, command: Allocate) -> list[Event]:
    if book.campaign.status is Status.ABSENT:
        raise absent("campaign", book.campaign.ref)
    if book.campaign.status is Status.DELETED:
        raise against_rule("campaign-deleted", f"campaign {book.campaign.ref!r} is deleted")
    known = book.agents.get(command.agent)
    if known is not None:
        same = (known.phone_name, known.line, known.default_state, known.weight)
        if not known.withdrawn and same == (command.phone, command.line, command.default_state, command.weight):
            return []
        if known.presence is not Presence.ABSENT and (known.phone_name, known.line) != (command.phone, command.line):
            raise against_rule("agent-present", f"agent {known.id!r} is on the line: their phone can't be changed now")
    allocated = AgentAllocated(
        at=command.at,
        agent=command.agent,
        phone=command.phone,
        line=command.line,
        default_state=command.default_state,
        weight=command.weight,
        by=command.by,
    )
    live = book.campaign.status in (Status.STARTING, Status.RUNNING)
    if not live or command.default_state is DefaultState.OFFLINE:
        return [allocated]
    asked = AgentAsked(at=command.at, agent=command.agent, wanted=Wanted.AVAILABLE, reason="", by=command.by)
    return [allocated, asked]


def _ask(book: Book, ask: AskAgent, claims: Claims) -> list[Event]:
    agent = _allocated(book, ask.agent)
    if ask.wanted is not Wanted.OFFLINE:
        if book.campaign.status not in (Status.STARTING, Status.RUNNING):
            raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
        elsewhere = claims.agents.get(agent.id, book.campaign.ref)
        if elsewhere != book.campaign.ref:
            raise against_rule("agent-active-elsewhere", f"agent {agent.id!r} is active in campaign {elsewhere!r}")
        if agent.presence is Presence.LEAVING:
            raise no_room("agent-logging-out", f"agent {agent.id!r} is logging out: ask again when they are offline")
    if (agent.wanted, agent.reason) == (ask.wanted, ask.reason):
        return []
    if agent.wanted is ask.wanted and ask.wanted is not Wanted.PAUSED:
        return []
    return [AgentAsked(at=ask.at, agent=agent.id, wanted=ask.wanted, reason=ask.reason, by=ask.by)]


def _hang_up(book: Book, command: HangUpCall) -> list[Event]:
    call = book.calls.get(command.call)
    if call is None:
        raise absent("call", command.call)
    if call.status is CallStatus.ENDED or call.hung_up_by is not None:
        return []
    return [_let_go(call, command.at, command.party, command.by)]


def _let_go(call: Call, at: int, party: Party, by: str) -> Event:
    if call.status is CallStatus.AWAITING_AGENT:  # nothing was dialled yet, so nothing has to be waited for
        return calls.end(call, at, Outcome.CANCELLED, party, "hung up before the contact was dialled")
    return HangupRequested(at=at, call=call.id, party=party, by=by)


def _hear(book: Book, seen: LegObservation) -> Step:
    call = book.calls.get(seen.leg)
    if call is not None:
        return Step(list(calls.decide(call, seen)), _insist(call.hung_up_by is not None or call.bridge_failed, seen))
    agent = book.agents.get(book.phones.get(seen.leg, ""))
    if agent is None:
        return Step([], [])
    return Step(_phone_fell(book, agent, list(agents.decide(agent, seen))), _insist(agent.phone is Phone.CLOSING, seen))


def _insist(unwanted: bool, seen: LegObservation) -> list[Effect]:
    """A leg that was let go before the PBX knew of it shows signs of life: let it go again."""
    alive = isinstance(seen, LegCreated | LegAnswered | LegReady | LegSeen)
    return [HangUp(leg=seen.leg)] if unwanted and alive else []


def _phone_fell(book: Book, agent: Agent, events: list[Any]) -> list[Event]:
    """What an agent's lost phone means for them and for the call they were on."""
    down = next((one for one in events if isinstance(one, PhoneDown)), None)
    if down is None:
        return events
    call = book.call_of(agent)
    if call is not None and call.status is CallStatus.AWAITING_AGENT:
        events.append(calls.end(call, down.at, Outcome.AGENT_UNREACHABLE, Party.AGENT, down.reason, down.cause))
    elif call is not None and call.hung_up_by is None:
        events.append(HangupRequested(at=down.at, call=call.id, party=Party.AGENT, by=down.reason))
    if agent.line is Line.NAILED and agent.presence in (Presence.ARRIVING, Presence.PRESENT):
        # Until the contact's leg is gone too they are in that call, and free for no other campaign.
        gone = AgentAbsent if call is None else AgentLeaving
        events.append(gone(at=down.at, agent=agent.id, reason=down.reason))
    return events


def _resync(book: Book, message: Resync) -> Step:
    """Adopt what lives, end what can't, ask about the rest; and say again what may not have been heard."""
    events: list[Event] = []
    effects: list[Effect] = []
    for agent in [book.agents[one] for one in book.phones.values()]:
        seen = message.legs.get(agent.leg)
        heard = agents.decide(agent, seen) if seen else agents.unlisted(agent, message.at, message.restarted)
        events += _phone_fell(book, agent, list(heard))
        if seen and agent.phone is Phone.CLOSING:
            effects.append(HangUp(leg=agent.leg))
    for call in [book.calls[one] for one in book.live]:
        if any(isinstance(one, CallEnded) and one.call == call.id for one in events):
            continue
        seen = message.legs.get(call.id)
        events += calls.decide(call, seen) if seen else calls.unlisted(call, message.at, message.restarted)
        if seen and (call.hung_up_by is not None or call.bridge_failed):
            effects.append(HangUp(leg=call.id))
        elif seen and seen.ready and not seen.bridged and call.status is CallStatus.CONNECTED:
            effects += _bridge(book, call)
    return Step(events, effects)


def _allocated(book: Book, agent: str) -> Agent:
    if book.campaign.status is Status.ABSENT:
        raise absent("campaign", book.campaign.ref)
    if book.campaign.status is Status.DELETED:
        raise against_rule("campaign-deleted", f"campaign {book.campaign.ref!r} is deleted")
    if agent not in book.agents:
        raise absent("allocation", agent)
    return book.agents[agent]


# -- follow: what must happen because of how things stand -------------------------------------------------------------


def _follow(book: Book, at: int, events: Iterable[Event], claims: Claims, new_id: Callable[[], str]) -> Iterable[Event]:
    """Yield consequences, each already applied, until nothing more follows."""
    touched = _touched(book, events)
    while True:
        for name in touched:
            while True:
                agent = book.agents.get(name)
                consequences = _agent_next(book, agent, at, claims, new_id) if agent else []
                if not consequences:
                    break
                for event in consequences:
                    book.apply(event)
                    claims.follow(book, event)
                    yield event
        lifecycle = _campaign_next(book, at)
        if not lifecycle:
            return
        for moved in lifecycle:
            book.apply(moved)
            yield moved
        touched = list(book.agents)


def _touched(book: Book, events: Iterable[Event]) -> list[str]:
    """Agents whose situation the events may have changed."""
    named: dict[str, None] = {}
    for event in events:
        if isinstance(event, CampaignStarting | campaigns.CampaignStopping):
            return list(book.agents)
        agent = getattr(event, "agent", None)
        if agent is not None:
            named[agent] = None
    return list(named)


def _campaign_next(book: Book, at: int) -> tuple[campaigns.CampaignEvent, ...]:
    match book.campaign.status:
        case Status.STARTING if not book.arriving:
            return campaigns.decide(book.campaign, AgentsReady(at=at))
        case Status.RUNNING if (
            book.campaign.settings.stop_when_completed and len(book.contacts) and not book.contacts.open
        ):
            return campaigns.decide(book.campaign, Completed(at=at))
        case Status.STOPPING if not book.live and not book.attending:
            return campaigns.decide(book.campaign, Drained(at=at))
        case _:
            return ()


def _agent_next(book: Book, agent: Agent, at: int, claims: Claims, new_id: Callable[[], str]) -> list[Event]:
    """The next thing that follows for one agent; nothing once they are where they should be."""
    held = book.reservations.get(agent.reservation)
    if held is not None and held.phase is not Phase.DIALING:
        moved = preview.reconsider(book, agent, held, at)
        if moved:
            return moved
    status = agents.status_of(agent, held)
    if status is not agent.status:
        return [AgentStatusChanged(at=at, agent=agent.id, status=status, reason=agent.reason)]
    live = book.campaign.status in (Status.STARTING, Status.RUNNING)
    wants_in = live and agent.wanted is not Wanted.OFFLINE and not agent.withdrawn
    call = book.call_of(agent)
    if call is not None and call.status is CallStatus.ENDED:
        call = None
    match agent.presence:
        case Presence.ABSENT if wants_in:
            return _arrive(agent, at, claims.agents.get(agent.id, book.campaign.ref), book.campaign.ref)
        case Presence.ABSENT if agent.phone in (Phone.UP, Phone.CALLING) and call is None:
            return [PhoneClosing(at=at, agent=agent.id, leg=agent.leg)]
        case Presence.ABSENT if agent.withdrawn and held is None and agent.phone is Phone.DOWN:
            return [AgentRemoved(at=at, agent=agent.id)]
        case Presence.ARRIVING if not wants_in:
            return [AgentLeaving(at=at, agent=agent.id, reason=_why_out(book, agent))]
        case Presence.ARRIVING if agent.line is Line.ON_DEMAND or agent.phone is Phone.UP:
            return [AgentPresent(at=at, agent=agent.id)]
        case Presence.ARRIVING if agent.phone is Phone.DOWN:
            return [PhoneCalled(at=at, agent=agent.id, leg=new_id())]
        case Presence.PRESENT if not wants_in and (call is None or call.status is CallStatus.AWAITING_AGENT):
            cancelled = _cancelled(call, at) if call else []
            return [*cancelled, AgentLeaving(at=at, agent=agent.id, reason=_why_out(book, agent))]
        case Presence.PRESENT if agent.line is Line.ON_DEMAND:
            return _on_demand(agent, call, at)
        case Presence.LEAVING if agent.phone in (Phone.UP, Phone.CALLING):
            return [PhoneClosing(at=at, agent=agent.id, leg=agent.leg)]
        case Presence.LEAVING if agent.phone is Phone.DOWN and call is None:
            return [AgentAbsent(at=at, agent=agent.id, reason=agent.reason)]
        case _:
            return []


def _arrive(agent: Agent, at: int, claimed_by: str, here: str) -> list[Event]:
    if claimed_by == here:
        return [AgentArriving(at=at, agent=agent.id)]
    reason = f"active-in:{claimed_by}"
    return [
        AgentAbsent(at=at, agent=agent.id, reason=reason),
        AgentStatusChanged(at=at, agent=agent.id, status=AgentStatus.OFFLINE, reason=reason),
    ]


def _why_out(book: Book, agent: Agent) -> str:
    if agent.withdrawn:
        return "removed"
    if agent.wanted is Wanted.OFFLINE:
        return agent.reason or "requested"
    return f"campaign-{book.campaign.status}"


def _cancelled(call: Call, at: int) -> list[Event]:
    return [calls.end(call, at, Outcome.CANCELLED, Party.DIALER, "the agent or the campaign stopped first")]


def _on_demand(agent: Agent, call: Call | None, at: int) -> list[Event]:
    """An on-demand agent's phone lives as long as the call it is for."""
    if call is None:
        closing = agent.phone in (Phone.UP, Phone.CALLING)
        return [PhoneClosing(at=at, agent=agent.id, leg=agent.leg)] if closing else []
    if call.status is CallStatus.AWAITING_AGENT and agent.phone is Phone.UP:
        return [preview.request(call, at, agent.leg)]
    return []


# -- react: what an event asks of the outside world -------------------------------------------------------------------


def react(book: Book, event: Event) -> list[Effect]:
    """Effects of one event, once it is durable. `book` is the state after the batch."""
    settings = book.campaign.settings
    match event:
        case PhoneCalled():
            ring_ms = settings.agent_ring_timeout_s * 1_000
            phone = book.agents[event.agent].phone_name
            overdue = PhoneOverdue(at=0, agent=event.agent, leg=event.leg)
            return [
                OriginateAgent(leg=event.leg, phone=phone, ring_timeout_ms=ring_ms, caller_id=settings.caller_id),
                SetTimer(key=f"phone/{event.agent}", due=event.at + ring_ms + SILENCE_MARGIN_MS, alarm=overdue),
            ]
        case PhoneUp():
            return [CancelTimer(key=f"phone/{event.agent}")]
        case PhoneDown():
            return [CancelTimer(key=f"phone/{event.agent}")]
        case PhoneClosing():
            return [HangUp(leg=event.leg)]
        case PhoneDoubted():
            return [Settle(leg=event.leg, delay_ms=APPEARANCE_MS)]
        case CallRequested():
            return _dial(book, event)
        case CallConnected():
            return _bridge(book, book.calls[event.call])
        case BridgeFailed() | HangupRequested():
            return [HangUp(leg=event.call)]
        case CallDoubted():
            return [Settle(leg=event.call, delay_ms=0 if event.why is Doubt.SILENCE else APPEARANCE_MS)]
        case CallEnded():
            return [CancelTimer(key=f"call/{event.call}")]
        case ContactReserved() | ReservationExtended():
            due = ReservationDue(at=0, reservation=event.reservation)
            return [SetTimer(key=f"reservation/{event.reservation}", due=event.expires_at, alarm=due)]
        case ContactReleased() | ContactDisposed():
            return [CancelTimer(key=f"reservation/{event.reservation}")]
        case _:
            return []


def _dial(book: Book, event: CallRequested) -> list[Effect]:
    settings = book.campaign.settings
    ring_ms = settings.ring_timeout_s * 1_000
    return [
        OriginateContact(
            leg=event.call,
            trunk=event.trunk,
            number=book.contacts.by_ref[event.contact].numbers[event.number],
            ring_timeout_ms=ring_ms,
            caller_id=settings.caller_id,
        ),
        CancelTimer(key=f"reservation/{event.reservation}"),
        SetTimer(
            key=f"call/{event.call}",
            due=event.at + ring_ms + SILENCE_MARGIN_MS,
            alarm=CallOverdue(at=0, call=event.call),
        ),
    ]


def _bridge(book: Book, call: Call) -> list[Effect]:
    agent = book.agents.get(call.agent)
    if agent is None or agent.leg != call.agent_leg or agent.phone is not Phone.UP:
        return [HangUp(leg=call.id)]  # the agent left while the contact picked up
    return [BridgeLegs(leg=call.id, agent_leg=agent.leg, agent_channel=agent.channel)]


def resume(book: Book) -> list[Effect]:
    """Timers of a book read back from its log. Legs are left to `Resync`: first the PBX must tell what lives."""
    effects: list[Effect] = []
    settings = book.campaign.settings
    for held in book.reservations.values():
        if held.phase is Phase.OFFERED:
            due = ReservationDue(at=0, reservation=held.id)
            effects.append(SetTimer(key=f"reservation/{held.id}", due=held.expires_at, alarm=due))
    for call in (book.calls[one] for one in book.live):
        if call.status in calls.IN_SETUP:
            latest = call.requested_at + settings.ring_timeout_s * 1_000 + SILENCE_MARGIN_MS
            effects.append(SetTimer(key=f"call/{call.id}", due=latest, alarm=CallOverdue(at=0, call=call.id)))
    for agent in (book.agents[one] for one in book.phones.values()):
        if agent.phone is Phone.CALLING:
            latest = agent.since + settings.agent_ring_timeout_s * 1_000 + SILENCE_MARGIN_MS
            overdue = PhoneOverdue(at=0, agent=agent.id, leg=agent.leg)
            effects.append(SetTimer(key=f"phone/{agent.id}", due=latest, alarm=overdue))
    return effects
