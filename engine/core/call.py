"""One attempt to reach one number, from the intent to exactly one outcome.

    awaiting_agent ─► requested ─► placed ─► ringing ─► connected ─► bridged ─► ended
          (an on-demand agent's phone rings first)          (any of them) ─────────▲

The intent is durable before anything is dialled. What follows are observations of the contact's leg, whose id is the
call's: each is recorded if it moves the call forward and ignored otherwise. Only the leg's end, or proof that it never
was, ends the call; where neither can be had the outcome is `unknown`.
`connected` says that the contact answered and is about to hear the agent: clients learn it before the audio starts.
"""

from enum import StrEnum
from typing import assert_never

import msgspec

from engine.core import outcome
from engine.core.interaction import Opened
from engine.core.outcome import Outcome, Party
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
    LegState,
    OriginateFailed,
    OriginateRejected,
    RecordingRefused,
)


class CallStatus(StrEnum):
    AWAITING_AGENT = "awaiting_agent"
    REQUESTED = "requested"
    PLACED = "placed"
    RINGING = "ringing"
    CONNECTED = "connected"
    BRIDGED = "bridged"
    ENDED = "ended"


PROGRESS = {status: rank for rank, status in enumerate(CallStatus)}
IN_SETUP = (CallStatus.REQUESTED, CallStatus.PLACED, CallStatus.RINGING)


class Doubt(StrEnum):
    """Why the PBX is asked about a call."""

    ORIGINATE_FAILED = "originate_failed"  # it said so itself: absence then proves that nothing was dialled
    SILENCE = "silence"  # nothing was heard for longer than it can ring
    RECONNECTED = "reconnected"  # it wasn't in the list after a reconnect


# -- events ---------------------------------------------------------------------------------------------------------


class CallAwaitingAgent(msgspec.Struct, frozen=True, kw_only=True, tag="call.awaiting_agent.v1"):
    """The agent's phone is called first; the contact is not dialled yet. `offsets` as the gate needs them once more."""

    at: int
    call: str
    contact: str
    number: int
    reservation: str
    agent: str
    trunk: str
    by_choice: bool
    request: str = ""
    offsets: tuple[int, ...] = ()
    strategy: str = ""
    trunk_reason: str = ""


class CallRequested(msgspec.Struct, frozen=True, kw_only=True, tag="call.requested.v1"):
    """The intent to dial. `number` is the index among the contact's numbers: the digits stay with the person."""

    at: int
    call: str
    contact: str
    number: int
    reservation: str
    agent: str
    agent_leg: str
    trunk: str
    by_choice: bool
    """A person chose this very number."""
    recording: str = ""
    """What the recording is to be called; empty: the call isn't recorded."""
    request: str = ""
    """The external system's own id for a call that it asked for."""
    strategy: str = ""
    """What chose the number, where nobody did: the campaign's strategy, or `control` beside it."""
    trunk_reason: str = ""
    """Why it is this trunk, as `trunk` has it."""


class CallPlaced(msgspec.Struct, frozen=True, kw_only=True, tag="call.placed.v1"):
    at: int
    call: str
    channel: str


class CallRinging(msgspec.Struct, frozen=True, kw_only=True, tag="call.ringing.v1"):
    at: int
    call: str


class CallConnected(msgspec.Struct, frozen=True, kw_only=True, tag="call.connected.v1"):
    at: int
    call: str
    contact: str
    agent: str
    number: int
    opens: Opened | None = None
    """What the agent's client is to open; None for nothing."""


class CallBridged(msgspec.Struct, frozen=True, kw_only=True, tag="call.bridged.v1"):
    at: int
    call: str


class BridgeFailed(msgspec.Struct, frozen=True, kw_only=True, tag="call.bridge_failed.v1"):
    at: int
    call: str
    result: str


class RecordingStarted(msgspec.Struct, frozen=True, kw_only=True, tag="call.recording_started.v1"):
    at: int
    call: str


class RecordingFailed(msgspec.Struct, frozen=True, kw_only=True, tag="call.recording_failed.v1"):
    """The PBX can't record, and the call goes on without."""

    at: int
    call: str
    result: str


class HangupRequested(msgspec.Struct, frozen=True, kw_only=True, tag="call.hangup_requested.v1"):
    at: int
    call: str
    party: Party
    by: str


class CallDoubted(msgspec.Struct, frozen=True, kw_only=True, tag="call.doubted.v1"):
    at: int
    call: str
    why: Doubt
    heard_until: int = 0
    """When the connection to the PBX was lost, 0 where it wasn't or nobody knows."""


class CallEnded(msgspec.Struct, frozen=True, kw_only=True, tag="call.ended.v1"):
    """The call's record. Times in ms; `cause` Q.850 and `sip_code` as heard, 0 where nothing was.

    `recording` and `recording_fault` as `recording_of` tells them. `talk_ms` of a call that ended while the PBX wasn't heard
    is what is certain: up to the loss of the connection.
    """

    at: int
    call: str
    contact: str
    agent: str
    number: int
    outcome: Outcome
    ended_by: Party
    reason: str
    cause: int
    sip_code: int
    ring_ms: int
    talk_ms: int
    recording: str = ""
    recording_fault: str = ""


CallEvent = (
    CallAwaitingAgent
    | CallRequested
    | CallPlaced
    | CallRinging
    | CallConnected
    | CallBridged
    | BridgeFailed
    | RecordingStarted
    | RecordingFailed
    | HangupRequested
    | CallDoubted
    | CallEnded
)


# -- state ----------------------------------------------------------------------------------------------------------


class Call(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Written as an array: see `ledger`."""

    id: str
    contact: str
    number: int
    reservation: str
    agent: str
    trunk: str
    status: CallStatus
    asked_at: int
    agent_leg: str = ""
    by_choice: bool = False
    request: str = ""
    offsets: tuple[int, ...] = ()
    strategy: str = ""
    trunk_reason: str = ""
    requested_at: int = 0
    ringing_at: int = 0
    connected_at: int = 0
    bridged_at: int = 0
    ended_at: int = 0
    channel: str = ""
    bridge_failed: bool = False
    hung_up_by: Party | None = None
    doubt: Doubt | None = None
    heard_until: int = 0
    outcome: Outcome | None = None
    ended_by: Party | None = None
    reason: str = ""
    cause: int = 0
    sip_code: int = 0
    ring_ms: int = 0
    talk_ms: int = 0
    recording: str = ""
    recording_fault: str | None = None
    """Empty once it was begun, None while nothing was heard of it."""


def evolve(state: Call | None, event: CallEvent) -> Call:
    match event:
        case CallRequested():
            return Call(
                id=event.call,
                contact=event.contact,
                number=event.number,
                reservation=event.reservation,
                agent=event.agent,
                agent_leg=event.agent_leg,
                trunk=event.trunk,
                by_choice=event.by_choice,
                request=event.request,
                strategy=event.strategy,
                trunk_reason=event.trunk_reason,
                status=CallStatus.REQUESTED,
                asked_at=state.asked_at if state else event.at,
                requested_at=event.at,
                hung_up_by=state.hung_up_by if state else None,
                recording=event.recording,
            )
        case CallAwaitingAgent():
            return Call(
                id=event.call,
                contact=event.contact,
                number=event.number,
                reservation=event.reservation,
                agent=event.agent,
                trunk=event.trunk,
                by_choice=event.by_choice,
                request=event.request,
                offsets=event.offsets,
                strategy=event.strategy,
                trunk_reason=event.trunk_reason,
                status=CallStatus.AWAITING_AGENT,
                asked_at=event.at,
            )
        case _:
            assert state is not None, event
    match event:
        case CallPlaced():
            return msgspec.structs.replace(state, status=CallStatus.PLACED, channel=event.channel)
        case CallRinging():
            return msgspec.structs.replace(state, status=CallStatus.RINGING, ringing_at=event.at)
        case CallConnected():
            return msgspec.structs.replace(state, status=CallStatus.CONNECTED, connected_at=event.at)
        case CallBridged():
            return msgspec.structs.replace(state, status=CallStatus.BRIDGED, bridged_at=event.at)
        case CallEnded():
            return msgspec.structs.replace(
                state,
                status=CallStatus.ENDED,
                ended_at=event.at,
                outcome=event.outcome,
                ended_by=event.ended_by,
                reason=event.reason,
                cause=event.cause,
                sip_code=event.sip_code,
                ring_ms=event.ring_ms,
                talk_ms=event.talk_ms,
                recording=event.recording,
                recording_fault=event.recording_fault,
            )
        case BridgeFailed():
            return msgspec.structs.replace(state, bridge_failed=True)
        case RecordingStarted():
            return msgspec.structs.replace(state, recording_fault="")
        case RecordingFailed():
            return msgspec.structs.replace(state, recording_fault=event.result)
        case HangupRequested():
            return msgspec.structs.replace(state, hung_up_by=event.party)
        case CallDoubted():
            return msgspec.structs.replace(state, doubt=event.why, heard_until=event.heard_until or state.heard_until)
        case _:
            assert_never(event)


UNHEARD = "unheard"
"""They talked, and nothing was heard of the recording that was to be made: the PBX may have made it or not."""


def recording_of(state: Call) -> tuple[str, str]:
    """The name of the call's recording, empty where there is none; and what is wrong with it, empty if nothing is."""
    if state.status is CallStatus.ENDED:
        return state.recording, state.recording_fault or ""
    match state.recording, state.recording_fault:
        case "", _:
            return "", ""
        case name, None:
            return (name, UNHEARD) if state.bridged_at else ("", "")
        case name, "":
            return name, ""
        case _, fault:
            return "", fault


# -- decisions on observations ----------------------------------------------------------------------------------------


class CallOverdue(msgspec.Struct, frozen=True):
    """A timer: nothing was heard of the call for longer than it can ring."""

    at: int
    call: str


def decide(state: Call, seen: LegObservation | CallOverdue) -> tuple[CallEvent, ...]:
    """What one observation of the contact's leg means for the call; rendered in docs/states.md."""
    if state.status in (CallStatus.ENDED, CallStatus.AWAITING_AGENT):
        return ()  # awaiting: the contact's leg can't exist yet
    if state.hung_up_by is not None and isinstance(seen, LegReady | LegBridged | LegSeen):
        # It is on its way out: nobody is to be connected any more. That they did share audio stays a fact.
        joined = isinstance(seen, LegBridged) or (isinstance(seen, LegSeen) and seen.bridged)
        return _bridged(state, seen.at) if joined and state.status is CallStatus.CONNECTED else ()
    match seen:
        case LegCreated():
            return (
                (CallPlaced(at=seen.at, call=state.id, channel=seen.channel),)
                if _is_before(state, CallStatus.PLACED)
                else ()
            )
        case LegRinging():
            return (CallRinging(at=seen.at, call=state.id),) if _is_before(state, CallStatus.RINGING) else ()
        case LegAnswered():
            return ()  # up, but not yet where it can be bridged: LegReady follows within the dialplan's first step
        case LegReady():
            return (_connected(state, seen.at),) if _is_before(state, CallStatus.CONNECTED) else ()
        case LegEnded():
            return (_ended_by_leg(state, seen),)
        case LegBridged():
            return _bridged(state, seen.at)
        case BridgeRefused():
            return (BridgeFailed(at=seen.at, call=state.id, result=seen.result),) if not state.bridge_failed else ()
        case LegRecorded():
            return (RecordingStarted(at=seen.at, call=state.id),) if _is_awaiting_recording(state) else ()
        case RecordingRefused():
            failed = RecordingFailed(at=seen.at, call=state.id, result=seen.result)
            return (failed,) if _is_awaiting_recording(state) else ()
        case OriginateRejected():
            return (end(state, seen.at, Outcome.FAILED, Party.PBX, seen.reason),)
        case OriginateFailed():
            unseen = state.status is CallStatus.REQUESTED and state.doubt is not Doubt.ORIGINATE_FAILED
            return (CallDoubted(at=seen.at, call=state.id, why=Doubt.ORIGINATE_FAILED),) if unseen else ()
        case CallOverdue():
            silent = state.status in IN_SETUP
            return (CallDoubted(at=seen.at, call=state.id, why=Doubt.SILENCE),) if silent else ()
        case LegAbsent():
            return (_ended_by_absence(state, seen.at, "gone from the PBX unheard"),)
        case LegSeen():
            return _adopt(state, seen)
        case _:
            assert_never(seen)


def unlisted(state: Call, at: int, restarted: bool, heard_until: int = 0) -> tuple[CallEvent, ...]:
    """The connection is back and this call's leg is not among the living."""
    if state.status in (CallStatus.ENDED, CallStatus.AWAITING_AGENT):
        return ()
    # One still to appear may have been asked for after the PBX was back: only asking about it tells. And one that hadn't been
    # answered may have ended before the PBX did: whoever is asked looks how into what the PBX wrote down.
    to_appear = state.status is CallStatus.REQUESTED and state.doubt is not Doubt.ORIGINATE_FAILED
    to_look_up = state.status in (CallStatus.PLACED, CallStatus.RINGING)
    if restarted and not (to_appear or to_look_up):
        known = msgspec.structs.replace(state, heard_until=heard_until or state.heard_until)
        return (_ended_by_absence(known, at, "the PBX restarted"),)
    return (CallDoubted(at=at, call=state.id, why=Doubt.RECONNECTED, heard_until=heard_until),)


def end(
    state: Call,
    at: int,
    how: Outcome,
    by: Party,
    reason: str,
    cause: int = 0,
    sip_code: int = 0,
    talked_until: int = 0,
) -> CallEnded:
    rang_until = state.connected_at or at
    recording, fault = recording_of(state)
    return CallEnded(
        at=at,
        call=state.id,
        contact=state.contact,
        agent=state.agent,
        number=state.number,
        outcome=how,
        ended_by=by,
        reason=reason,
        cause=cause,
        sip_code=sip_code,
        ring_ms=max(0, rang_until - state.ringing_at) if state.ringing_at else 0,
        talk_ms=max(0, (talked_until or at) - state.bridged_at) if state.bridged_at else 0,
        recording=recording,
        recording_fault=fault,
    )


def _is_awaiting_recording(state: Call) -> bool:
    return bool(state.recording) and state.recording_fault is None


def _is_before(state: Call, status: CallStatus) -> bool:
    return PROGRESS[state.status] < PROGRESS[status]


def _connected(state: Call, at: int) -> CallConnected:
    return CallConnected(at=at, call=state.id, contact=state.contact, agent=state.agent, number=state.number)


def _bridged(state: Call, at: int) -> tuple[CallEvent, ...]:
    bridged = CallBridged(at=at, call=state.id)
    match state.status:
        case CallStatus.BRIDGED:
            return ()
        case CallStatus.CONNECTED:
            return (bridged,)
        case _:
            return (_connected(state, at), bridged)


def _adopt(state: Call, seen: LegSeen) -> tuple[CallEvent, ...]:
    if seen.bridged:
        return _bridged(state, seen.at)
    if seen.ready:
        return (_connected(state, seen.at),) if _is_before(state, CallStatus.CONNECTED) else ()
    if seen.state is LegState.RINGING and _is_before(state, CallStatus.RINGING):
        return (CallRinging(at=seen.at, call=state.id),)
    if _is_before(state, CallStatus.PLACED):
        return (CallPlaced(at=seen.at, call=state.id, channel=seen.channel),)
    return ()


def _ended_by_leg(state: Call, seen: LegEnded) -> CallEnded:
    if seen.answered:
        how, by = outcome.answered(bool(state.bridged_at), seen.far_end, state.hung_up_by)
    else:
        how, by = outcome.unanswered(seen.cause, seen.ringing or bool(state.ringing_at), state.hung_up_by)
    return end(state, seen.at, how, by, "", seen.cause, seen.sip_code, state.heard_until if seen.later else 0)


def _ended_by_absence(state: Call, at: int, reason: str) -> CallEnded:
    """Nobody can tell how it ended. What was bridged was answered; a refused originate that left no leg never was."""
    if state.bridged_at:
        return end(state, at, Outcome.ANSWERED, Party.UNKNOWN, reason, talked_until=state.heard_until)
    if state.status is CallStatus.CONNECTED:
        return end(state, at, Outcome.ABANDONED, Party.UNKNOWN, reason)
    if state.status is CallStatus.REQUESTED and state.doubt is Doubt.ORIGINATE_FAILED:
        return end(state, at, Outcome.FAILED, Party.PBX, "the PBX could not place the call")
    return end(state, at, Outcome.UNKNOWN, Party.UNKNOWN, reason)
