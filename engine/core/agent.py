"""An agent in one campaign: whether they are there, and their phone.

Presence is what a campaign manager sees move (logging_in, available, …, logging_out, offline). The phone is a leg at
the PBX: a nailed-up agent's stays up as long as they are present, an on-demand agent's lives as long as one call.
What an agent is *doing* follows from presence, from the contact in hand and from what they asked for: `status_of`.
"""

from enum import StrEnum
from typing import Annotated, assert_never

import msgspec

from engine.core.outcome import agent_reason
from engine.core.reservation import Phase, Reservation
from engine.core.telephony import (
    BridgeRefused,
    LegAbsent,
    LegAnswered,
    LegBridged,
    LegCreated,
    LegEnded,
    LegObservation,
    LegReady,
    LegRecorded,
    LegRinging,
    LegSeen,
    OriginateFailed,
    OriginateRejected,
    RecordingRefused,
)


class Line(StrEnum):
    NAILED = "nailed"
    ON_DEMAND = "on_demand"


class Wanted(StrEnum):
    """What may be asked of an agent from outside; everything else is the engine's to say."""

    AVAILABLE = "available"
    PAUSED = "paused"
    OFFLINE = "offline"


class DefaultState(StrEnum):
    AVAILABLE = "available"
    OFFLINE = "offline"


class AgentStatus(StrEnum):
    OFFLINE = "offline"
    LOGGING_IN = "logging_in"
    AVAILABLE = "available"
    PREVIEWING = "previewing"
    BUSY = "busy"
    WRAPUP = "wrapup"
    PAUSED = "paused"
    LOGGING_OUT = "logging_out"


class Presence(StrEnum):
    ABSENT = "absent"
    ARRIVING = "arriving"
    PRESENT = "present"
    LEAVING = "leaving"


class Phone(StrEnum):
    DOWN = "down"
    CALLING = "calling"
    UP = "up"
    CLOSING = "closing"


Weight = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


# -- events ---------------------------------------------------------------------------------------------------------


class AgentAllocated(msgspec.Struct, frozen=True, kw_only=True, tag="agent.allocated.v1"):
    at: int
    agent: str
    phone: str
    line: Line
    default_state: DefaultState
    weight: int
    by: str


class AgentWithdrawn(msgspec.Struct, frozen=True, kw_only=True, tag="agent.withdrawn.v1"):
    """To be removed as soon as nothing of theirs is open."""

    at: int
    agent: str
    by: str


class AgentRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="agent.removed.v1"):
    at: int
    agent: str


class AgentAsked(msgspec.Struct, frozen=True, kw_only=True, tag="agent.asked.v1"):
    """Somebody asked for a state: the agent, a supervisor, or the campaign's start."""

    at: int
    agent: str
    wanted: Wanted
    reason: str
    by: str


class AgentArriving(msgspec.Struct, frozen=True, kw_only=True, tag="agent.arriving.v1"):
    at: int
    agent: str


class AgentPresent(msgspec.Struct, frozen=True, kw_only=True, tag="agent.present.v1"):
    at: int
    agent: str


class AgentLeaving(msgspec.Struct, frozen=True, kw_only=True, tag="agent.leaving.v1"):
    at: int
    agent: str
    reason: str


class AgentAbsent(msgspec.Struct, frozen=True, kw_only=True, tag="agent.absent.v1"):
    at: int
    agent: str
    reason: str


class PhoneCalled(msgspec.Struct, frozen=True, kw_only=True, tag="agent.phone_called.v1"):
    """Intent: durable before the phone rings."""

    at: int
    agent: str
    leg: str


class PhoneUp(msgspec.Struct, frozen=True, kw_only=True, tag="agent.phone_up.v1"):
    at: int
    agent: str
    leg: str
    channel: str


class PhoneClosing(msgspec.Struct, frozen=True, kw_only=True, tag="agent.phone_closing.v1"):
    at: int
    agent: str
    leg: str


class PhoneDoubted(msgspec.Struct, frozen=True, kw_only=True, tag="agent.phone_doubted.v1"):
    """Nothing was heard where something should have been: the PBX is asked."""

    at: int
    agent: str
    leg: str
    why: str


class PhoneDown(msgspec.Struct, frozen=True, kw_only=True, tag="agent.phone_down.v1"):
    at: int
    agent: str
    leg: str
    reason: str
    cause: int


class AgentStatusChanged(msgspec.Struct, frozen=True, kw_only=True, tag="agent.status_changed.v1"):
    at: int
    agent: str
    status: AgentStatus
    reason: str


AgentEvent = (
    AgentAllocated
    | AgentWithdrawn
    | AgentRemoved
    | AgentAsked
    | AgentArriving
    | AgentPresent
    | AgentLeaving
    | AgentAbsent
    | PhoneCalled
    | PhoneUp
    | PhoneClosing
    | PhoneDoubted
    | PhoneDown
    | AgentStatusChanged
)


# -- state ----------------------------------------------------------------------------------------------------------


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    phone_name: str
    line: Line = Line.NAILED
    default_state: DefaultState = DefaultState.AVAILABLE
    weight: int = 1
    withdrawn: bool = False
    wanted: Wanted = Wanted.OFFLINE
    presence: Presence = Presence.ABSENT
    phone: Phone = Phone.DOWN
    leg: str = ""
    channel: str = ""
    status: AgentStatus = AgentStatus.OFFLINE
    reason: str = ""
    reservation: str = ""
    ahead: str = ""
    """The reservation that will be in hand after the present one."""
    since: int = 0


def evolve(state: Agent | None, event: AgentEvent) -> Agent:
    if isinstance(event, AgentAllocated):
        known = state or Agent(id=event.agent, phone_name=event.phone)
        return msgspec.structs.replace(
            known,
            phone_name=event.phone,
            line=event.line,
            default_state=event.default_state,
            weight=event.weight,
            withdrawn=False,
        )
    assert state is not None, event
    match event:
        case AgentStatusChanged():
            return msgspec.structs.replace(state, status=event.status, reason=event.reason, since=event.at)
        case AgentAsked():
            return msgspec.structs.replace(state, wanted=event.wanted, reason=event.reason)
        case AgentArriving():
            return msgspec.structs.replace(state, presence=Presence.ARRIVING)
        case AgentPresent():
            return msgspec.structs.replace(state, presence=Presence.PRESENT)
        case AgentLeaving():
            return msgspec.structs.replace(state, presence=Presence.LEAVING, reason=event.reason)
        case AgentAbsent():
            return msgspec.structs.replace(state, presence=Presence.ABSENT, wanted=Wanted.OFFLINE, reason=event.reason)
        case PhoneCalled():
            return msgspec.structs.replace(state, phone=Phone.CALLING, leg=event.leg, channel="")
        case PhoneUp():
            return msgspec.structs.replace(state, phone=Phone.UP, channel=event.channel)
        case PhoneClosing():
            return msgspec.structs.replace(state, phone=Phone.CLOSING)
        case PhoneDoubted() | AgentRemoved():
            return state
        case PhoneDown():
            return msgspec.structs.replace(state, phone=Phone.DOWN, leg="", channel="")
        case AgentWithdrawn():
            return msgspec.structs.replace(state, withdrawn=True)
        case _:
            assert_never(event)


WITH_CONTACT = {
    Phase.OFFERED: AgentStatus.PREVIEWING,
    Phase.DIALING: AgentStatus.BUSY,
    Phase.WRAPUP: AgentStatus.WRAPUP,
}
"""What an agent does who has a contact in hand."""


def status_of(agent: Agent, reservation: Reservation | None) -> AgentStatus:
    """What the agent is doing, as the world is told."""
    match agent.presence:
        case Presence.ABSENT:
            return AgentStatus.OFFLINE
        case Presence.ARRIVING:
            return AgentStatus.LOGGING_IN
        case Presence.LEAVING:
            return AgentStatus.LOGGING_OUT
        case Presence.PRESENT:
            pass
        case _:
            assert_never(agent.presence)
    if reservation is not None:
        return WITH_CONTACT[reservation.phase]
    return AgentStatus.PAUSED if agent.wanted is Wanted.PAUSED else AgentStatus.AVAILABLE


# -- decisions on observations of the agent's leg -------------------------------------------------------------------


class PhoneOverdue(msgspec.Struct, frozen=True):
    """A timer: nothing was heard of the phone for longer than it can ring."""

    at: int
    agent: str
    leg: str


def decide(state: Agent, seen: LegObservation | PhoneOverdue) -> tuple[AgentEvent, ...]:
    """What one observation of the agent's leg means for their phone; rendered in docs/states.md."""
    if state.phone is Phone.DOWN or seen.leg != state.leg:
        return ()
    match seen:
        case LegReady():
            return _up(state, seen.at, seen.channel)
        case LegSeen():
            return _up(state, seen.at, seen.channel) if seen.ready or seen.bridged else ()
        case LegEnded():
            return (_down(state, seen.at, _why_ended(state, seen), seen.cause),)
        case OriginateRejected():
            return (_down(state, seen.at, seen.reason),)
        case LegAbsent():
            lost = "phone-unreachable" if state.phone is Phone.CALLING else "phone-lost"
            return (_down(state, seen.at, lost),)
        case OriginateFailed():
            return _doubt(state, seen.at, "originate_failed")
        case PhoneOverdue():
            return _doubt(state, seen.at, "silence")
        case LegCreated() | LegRinging() | LegAnswered() | LegBridged() | BridgeRefused():
            return ()
        case LegRecorded() | RecordingRefused():
            return ()  # it is the contact's leg that is recorded
        case _:
            assert_never(seen)


def unlisted(state: Agent, at: int, restarted: bool) -> tuple[AgentEvent, ...]:
    """The connection is back and this agent's leg is not among the living."""
    if state.phone is Phone.DOWN:
        return ()
    # One still to appear may have been asked for after the PBX was back: only asking about it tells.
    if restarted and state.phone is not Phone.CALLING:
        return (_down(state, at, "pbx-restarted"),)
    return (PhoneDoubted(at=at, agent=state.id, leg=state.leg, why="reconnected"),)


def _up(state: Agent, at: int, channel: str) -> tuple[AgentEvent, ...]:
    if state.phone is not Phone.CALLING:
        return ()
    return (PhoneUp(at=at, agent=state.id, leg=state.leg, channel=channel),)


def _doubt(state: Agent, at: int, why: str) -> tuple[AgentEvent, ...]:
    if state.phone is Phone.UP:
        return ()  # while closing it matters too: a phone that was let go before it rang may never report an end
    return (PhoneDoubted(at=at, agent=state.id, leg=state.leg, why=why),)


def _down(state: Agent, at: int, reason: str, cause: int = 0) -> PhoneDown:
    return PhoneDown(at=at, agent=state.id, leg=state.leg, reason=reason, cause=cause)


def _why_ended(state: Agent, seen: LegEnded) -> str:
    if state.phone is Phone.CLOSING:
        return "hung-up-by-dialer"
    if seen.answered:
        return "phone-hung-up" if seen.far_end else "phone-lost"
    return agent_reason(seen.cause, seen.ringing)
