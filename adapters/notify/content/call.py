"""What is told of calls."""

from typing import ClassVar

import msgspec

from adapters.notify.content.base import Content, Count, Fact
from engine.core import call
from engine.core.call import CallEvent
from engine.core.interaction import Format, Method
from engine.core.outcome import Outcome, Party


class Attempt(Content, frozen=True, kw_only=True):
    """Which call, to whom, by whom."""

    call: str
    contact: str
    agent: str
    number: str | None
    """Null once the person is erased or the campaign gone."""
    number_index: Count
    """Which of the contact's numbers, from 0."""


class CallRequested(Attempt, frozen=True, kw_only=True):
    """A number is being dialled: once, whatever happens."""

    TYPE: ClassVar[str] = "call.requested"

    trunk: str
    trunk_reason: str | None
    """Why it is this trunk, where it isn't the first."""


class CallRinging(Content, frozen=True, kw_only=True):
    """It rings at the contact's end."""

    TYPE: ClassVar[str] = "call.ringing"

    call: str
    contact: str | None
    agent: str | None


class OpenedUrl(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent's client opens by itself."""

    method: Method
    url: str
    format: Format | msgspec.UnsetType = msgspec.UNSET
    """How `fields` are sent, for a POST."""
    fields: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class CallConnected(Attempt, frozen=True, kw_only=True):
    """The contact has answered, and is joined with the agent as soon as this was sent: everything that a desktop shows."""

    TYPE: ClassVar[str] = "call.connected"

    campaign: str
    name: str | None
    data: dict[str, str] | None
    """The contact's further data."""
    screen_pop_url: str | msgspec.UnsetType = msgspec.UNSET
    """A page to open, where the campaign has one."""
    external_url: OpenedUrl | msgspec.UnsetType = msgspec.UNSET


OPENED = {"screen_pop_url": str, "external_url": OpenedUrl}


class CallBridged(Content, frozen=True, kw_only=True):
    """Contact and agent hear each other."""

    TYPE: ClassVar[str] = "call.bridged"

    call: str
    contact: str | None
    agent: str | None


class CallEnded(Attempt, frozen=True, kw_only=True):
    """The call's record: one for each attempt, those that failed included."""

    TYPE: ClassVar[str] = "call.ended"

    outcome: Outcome
    ended_by: Party
    reason: str
    cause: int
    """Q.850, 0 where none was heard."""
    sip_code: int
    """0 where none was heard."""
    ring_ms: Count
    talk_ms: Count
    recording: str | None
    recording_fault: str | None


def fact(ref: str, event: CallEvent) -> Fact | None:
    match event:
        case call.CallRequested():
            requested = CallRequested(
                call=event.call,
                contact=event.contact,
                agent=event.agent,
                number=None,
                number_index=event.number,
                trunk=event.trunk,
                trunk_reason=event.trunk_reason or None,
            )
            return Fact(at=event.at, data=requested, contact=event.contact, number=event.number)
        case call.CallRinging():
            ringing = CallRinging(call=event.call, contact=None, agent=None)
            return Fact(at=event.at, data=ringing, call=event.call)
        case call.CallConnected():
            # It comes before the audio, and there is no time to ask for more.
            connected = CallConnected(
                call=event.call,
                contact=event.contact,
                agent=event.agent,
                number=None,
                number_index=event.number,
                campaign=ref,
                name=None,
                data=None,
            )
            return Fact(at=event.at, data=connected, contact=event.contact, number=event.number, opens=event.opens)
        case call.CallBridged():
            bridged = CallBridged(call=event.call, contact=None, agent=None)
            return Fact(at=event.at, data=bridged, call=event.call)
        case call.CallEnded():
            return Fact(at=event.at, data=_ended(event), contact=event.contact, number=event.number)
        case _:
            return None  # what comes of these is in the call's record


def _ended(event: call.CallEnded) -> CallEnded:
    return CallEnded(
        call=event.call,
        contact=event.contact,
        agent=event.agent,
        number=None,
        number_index=event.number,
        outcome=event.outcome,
        ended_by=event.ended_by,
        reason=event.reason,
        cause=event.cause,
        sip_code=event.sip_code,
        ring_ms=event.ring_ms,
        talk_ms=event.talk_ms,
        recording=event.recording or None,
        recording_fault=event.recording_fault or None,
    )
