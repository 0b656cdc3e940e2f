"""One message in, events and effects out: the process that ties the aggregates of a campaign together.

`step` decides on a message, folds what it decided into the book, lets the consequences follow (`consequence`), and gathers
what all that asks of the outside world (`reaction`).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeGuard, cast, get_args

import msgspec

from engine.core import agent as agents
from engine.core import call as calls
from engine.core import campaign as campaigns
from engine.core import dealing, delivery, preview, screen
from engine.core.agent import (
    Agent,
    AgentAbsent,
    AgentAllocated,
    AgentAsked,
    AgentLeaving,
    AgentWithdrawn,
    DefaultState,
    Line,
    Phone,
    PhoneDown,
    PhoneOverdue,
    Presence,
    Wanted,
)
from engine.core.book import Book, Event
from engine.core.call import (
    Call,
    CallConnected,
    CallEnded,
    CallEvent,
    CallOverdue,
    CallStatus,
    HangupRequested,
)
from engine.core.campaign import (
    CampaignCommand,
    Start,
    Status,
    Stop,
    StopForced,
)
from engine.core.claims import Claims, group_of
from engine.core.consequence import follow
from engine.core.effect import DealContacts, Effect, ReservationDue, Suppressed
from engine.core.importing import ImportFinished, ImportStarted
from engine.core.message import (
    Allocate,
    AskAgent,
    FinishImport,
    HangUpCall,
    Message,
    Resync,
    StartImport,
    Withdraw,
)
from engine.core.outcome import Outcome, Party
from engine.core.reaction import bridge, react
from engine.core.refusal import absent, against_rule, no_room
from engine.core.telephony import (
    HangUp,
    LegAnswered,
    LegCreated,
    LegObservation,
    LegReady,
    LegSeen,
)


class Step(NamedTuple):
    events: list[Event]
    effects: list[Effect]
    reply: Any = None


def step(book: Book, message: Message, claims: Claims, new_id: Callable[[], str]) -> Step:
    """Decide, fold, follow. Raises Refused with nothing changed.

    What the events give up is still claimed: whoever makes them durable tells `claims` to release it.
    """
    events, effects, reply = _decide(book, message, claims, new_id)
    for event in events:
        book.apply(event)
        claims.take(book, event)
    done = [*events, *follow(book, message.at, events, claims, new_id)]
    effects = list(effects)
    for event in done:
        effects += react(book, event)
    return Step(done, effects, reply)


# -- decide -----------------------------------------------------------------------------------------------------------


def _decide(book: Book, message: Message, claims: Claims, new_id: Callable[[], str]) -> Step:
    if _is_of_a_leg(message):
        return _hear(book, message)
    if _is_of_preview(message):
        return Step(*preview.decide(book, message, claims))
    match message:
        case ReservationDue():
            return Step(delivery.lapse(book, message), [])
        case Suppressed():
            return Step(delivery.suppressed(book, message), [])
        case CallOverdue():
            call = book.calls.found(message.call)
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
        case DealContacts():
            return Step(list(dealing.deal(book, message.at, new_id)), [])
        case StartImport() | FinishImport():
            return Step(_import(book, message), [])
        case AskAgent():
            return Step(_ask(book, message, claims), [])
        case HangUpCall():
            return _hang_up(book, message)
        case Start():
            return Step(_start(book, message), [])
        case _:
            command = cast(CampaignCommand, message)  # what is left: those above were looked up, which narrows no type
            lifecycle: list[Event] = list(campaigns.decide(book.campaign, command))
            forced = next((one for one in lifecycle if isinstance(one, StopForced)), None)
            if forced is not None:
                lifecycle += [_let_go(book.calls[one], forced.at, Party.DIALER, forced.by) for one in book.live]
            again = isinstance(message, Stop) and message.force and forced is None and book.campaign.forced
            return Step(lifecycle, [HangUp(leg=one) for one in book.live] if again else [])


_OF_A_LEG, _OF_PREVIEW = frozenset(get_args(LegObservation)), frozenset(get_args(preview.PreviewCommand))
"""Looked up: to ask for each of a union's types in turn takes microseconds."""


def _is_of_a_leg(message: Message) -> TypeGuard[LegObservation]:
    return type(message) in _OF_A_LEG


def _is_of_preview(message: Message) -> TypeGuard[preview.PreviewCommand]:
    return type(message) in _OF_PREVIEW


def _import(book: Book, command: StartImport | FinishImport) -> list[Event]:
    """Said again, as after a crash it is, an import begins and ends once."""
    if book.campaign.status in (Status.ABSENT, Status.DELETED):
        raise absent("campaign", book.campaign.ref)
    begun = command.import_id in book.imports
    if isinstance(command, StartImport):
        started = ImportStarted(
            at=command.at,
            import_id=command.import_id,
            name=command.name,
            mode=command.mode,
            rows=command.rows,
            digest=command.digest,
            by=command.by,
        )
        return [] if begun else [started]
    finished = ImportFinished(
        at=command.at,
        import_id=command.import_id,
        added=command.added,
        known=command.known,
        replaced=command.replaced,
        rejected=command.rejected,
        cancelled=command.cancelled,
        lost=command.lost,
    )
    return [finished] if begun else []


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
    new = known is None or known.withdrawn  # a change of weight or phone calls nobody from their break
    if not live or not new or command.default_state is DefaultState.OFFLINE:
        return [allocated]
    asked = AgentAsked(at=command.at, agent=command.agent, wanted=Wanted.AVAILABLE, reason="", by=command.by)
    return [allocated, asked]


def _ask(book: Book, ask: AskAgent, claims: Claims) -> list[Event]:
    agent = _allocated(book, ask.agent)
    if ask.wanted is not Wanted.OFFLINE:
        if book.campaign.status not in (Status.STARTING, Status.RUNNING):
            raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
        elsewhere = claims.elsewhere(agent.id, book.campaign.ref, group_of(book, agent.id))
        if elsewhere is not None:
            raise against_rule("agent-active-elsewhere", f"agent {agent.id!r} is active in campaign {elsewhere!r}")
        if agent.presence is Presence.LEAVING:
            raise no_room("agent-logging-out", f"agent {agent.id!r} is logging out: ask again when they are offline")
    if (agent.wanted, agent.reason) == (ask.wanted, ask.reason):
        return []
    if agent.wanted is ask.wanted and ask.wanted is not Wanted.PAUSED:
        return []
    return [AgentAsked(at=ask.at, agent=agent.id, wanted=ask.wanted, reason=ask.reason, by=ask.by)]


def _hang_up(book: Book, command: HangUpCall) -> Step:
    """Asked again, the PBX is told again: it may not have heard."""
    call = book.calls.found(command.call)
    if call is None:
        raise absent("call", command.call)
    if call.status is CallStatus.ENDED:
        return Step([], [])
    if call.hung_up_by is not None:
        return Step([], [HangUp(leg=call.id)])
    return Step([_let_go(call, command.at, command.party, command.by)], [])


def _let_go(call: Call, at: int, party: Party, by: str) -> Event:
    if call.status is CallStatus.AWAITING_AGENT:  # nothing was dialled yet, so nothing has to be waited for
        return calls.end(call, at, Outcome.CANCELLED, party, "hung up before the contact was dialled")
    return HangupRequested(at=at, call=call.id, party=party, by=by)


def _hear(book: Book, seen: LegObservation) -> Step:
    call = book.calls.found(seen.leg)
    if call is not None:
        return Step(_opening(book, calls.decide(call, seen)), _repeat(book, call, seen))
    agent = book.agents.get(book.phones.get(seen.leg, ""))
    if agent is None:
        return Step([], [])
    return Step(_phone_fell(book, agent, list(agents.decide(agent, seen))), _insist(agent.phone is Phone.CLOSING, seen))


def _opening(book: Book, events: Iterable[CallEvent]) -> list[Event]:
    """What clients open when the contact answers goes into the event: later edits don't change what was told."""
    return [
        msgspec.structs.replace(one, opens=screen.opened(book.campaign)) if type(one) is CallConnected else one
        for one in events
    ]


def _repeat(book: Book, call: Call, seen: LegObservation) -> list[Effect]:
    """Say again what the PBX may not have heard: that the call is to end, or to be bridged."""
    if call.hung_up_by is not None or call.bridge_failed:
        return _insist(True, seen)
    if type(seen) is LegSeen and seen.ready and not seen.bridged and call.status is CallStatus.CONNECTED:
        return bridge(book, call)
    return []


def _insist(unwanted: bool, seen: LegObservation) -> list[Effect]:
    """A leg that was let go before the PBX knew of it shows signs of life: let it go again."""
    alive = unwanted and isinstance(seen, LegCreated | LegAnswered | LegReady | LegSeen)
    return [HangUp(leg=seen.leg)] if alive else []


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
        fell = _phone_fell(book, agent, list(heard))
        events += [one for one in fell if not (isinstance(one, HangupRequested) and _died_with_pbx(book, one, message))]
        effects += _insist(agent.phone is Phone.CLOSING, seen) if seen else []
    for call in [book.calls[one] for one in book.live]:
        if any(isinstance(one, CallEnded) and one.call == call.id for one in events):
            continue
        seen = message.legs.get(call.id)
        gone = (message.at, message.restarted, message.heard_until)
        news = calls.decide(call, seen) if seen else calls.unlisted(call, *gone)
        events += _opening(book, news)
        effects += _repeat(book, call, seen) if seen else []
    return Step(events, effects)


def _died_with_pbx(book: Book, hangup: HangupRequested, message: Resync) -> bool:
    """There is nothing left to hang up: how the call ended before is for the PBX's record to tell, not the agent's doing."""
    rang = book.calls[hangup.call].status in (CallStatus.PLACED, CallStatus.RINGING)
    return message.restarted and rang and hangup.call not in message.legs


def _allocated(book: Book, agent: str) -> Agent:
    if book.campaign.status is Status.ABSENT:
        raise absent("campaign", book.campaign.ref)
    if book.campaign.status is Status.DELETED:
        raise against_rule("campaign-deleted", f"campaign {book.campaign.ref!r} is deleted")
    if agent not in book.agents:
        raise absent("allocation", agent)
    return book.agents[agent]
