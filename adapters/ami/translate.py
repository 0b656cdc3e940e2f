"""What the PBX says, as observations. Pure: the same messages give the same observations.

A leg is known by its channel's Uniqueid alone, which is the id we gave it: `CALL_UUID` is inherited by other channels
and `Linkedid` is merged when two legs are bridged. Of the quirks folded here:

- Responses and OriginateResponse overtake events: a failed originate may be told before the channel's own Newchannel,
  so OriginateResponse proves nothing and its success says nothing.
- An agent's phone that can't be reached has neither Newchannel nor Hangup: OriginateFailed is all there is.
- The end is the Hangup, with its Q.850 cause and, from newer versions, the SIP status. HangupRequest before it
  says that the leg's own party let go; a hang-up by us shows none.
"""

import re

from adapters.ami.action import AGENT_CONTEXT, BRIDGE_CONTEXT, CONTACT_CONTEXT
from adapters.ami.settings import TRACKED_MAX_LEGS
from adapters.ami.wire import Message
from engine.core.telephony import (
    BridgeRefused,
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
    RecordingRefused,
)

WANTED_EVENTS = frozenset(
    (
        b"Newchannel",
        b"Newstate",
        b"DialState",
        b"Hangup",
        b"HangupRequest",
        b"BridgeEnter",
        b"UserEvent",
        b"OriginateResponse",
        b"FullyBooted",
        b"Status",
        b"StatusComplete",
    )
)

RINGING, UP = "5", "6"
STATES = {RINGING: LegState.RINGING, UP: LegState.UP}
LEG = re.compile(r"[0-9a-f]{32}")
HOLDING = "holding_bridge"


class _Leg:
    __slots__ = ("answered", "away", "bridge", "bridged", "channel", "created", "far_end", "ready", "ringing")

    def __init__(self) -> None:
        self.channel = ""
        self.bridge = ""
        self.away = False
        self.created = self.ringing = self.answered = self.ready = self.bridged = self.far_end = False


class LegTracker:
    """Knows as much of each living leg as its next observation needs, and nothing of ended ones."""

    def __init__(self) -> None:
        self._legs: dict[str, _Leg] = {}
        self._waiting: dict[str, str] = {}
        """Contacts who are first in their bridge, by the bridge."""

    def __len__(self) -> int:
        return len(self._legs)

    def __contains__(self, leg: str) -> bool:
        return leg in self._legs

    def expect(self, leg: str) -> None:
        """An originate for this leg is about to be sent."""
        self._known(leg)

    def adopt(self, seen: LegSeen) -> None:
        """The PBX was asked and this leg lives: what it is now won't be told again."""
        known = self._known(seen.leg)
        known.created, known.channel = True, seen.channel
        known.ringing |= seen.state is LegState.RINGING
        known.answered |= seen.state is LegState.UP
        known.ready |= seen.ready
        known.bridged |= seen.bridged
        known.away |= seen.bridged

    def forget(self, leg: str) -> None:
        known = self._legs.pop(leg, None)
        if known is not None:
            self._leave(leg, known)

    def keep_only(self, legs: frozenset[str]) -> None:
        """After two reconnects without a word of a leg nobody will speak of it again. Nor of who came home meanwhile."""
        for leg in self.legs() - legs:
            self.forget(leg)
        for known in self._legs.values():
            known.away = False

    def legs(self) -> frozenset[str]:
        return frozenset(self._legs)

    def is_created(self, leg: str) -> bool:
        return leg in self._legs and self._legs[leg].created

    def is_answered(self, leg: str) -> bool:
        return leg in self._legs and self._legs[leg].answered

    def is_away(self, leg: str) -> bool:
        """An agent's leg that is known to be on its way to the holding bridge, for the first time or from a contact.

        In there it can be joined to a contact. Elsewhere Bridge refuses it, or pulls it out of its dialplan for good.
        """
        return leg in self._legs and self._legs[leg].away

    def came_home(self, leg: str) -> None:
        if leg in self._legs:
            self._legs[leg].away = False

    def see(self, message: Message, at: int) -> tuple[LegObservation, ...]:
        """What one event means. `at` in epoch ms, when it was heard."""
        match message.get("event"):
            case "Newchannel":
                return self._newchannel(message, at)
            case "Newstate":
                return self._newstate(message, at)
            case "DialState" if message.get("dialstatus") == "RINGING":
                return self._ringing(message.get("destuniqueid", ""), at)
            case "UserEvent":
                return self._user_event(message, at)
            case "BridgeEnter":
                return self._bridge_enter(message, at)
            case "HangupRequest":
                if (known := self._legs.get(message.get("uniqueid", ""))) is not None:
                    known.far_end = True
                return ()
            case "Hangup":
                return self._hangup(message, at)
            case "OriginateResponse" if message.get("response") == "Failure":
                leg = message.get("uniqueid", "")
                known = self._legs.get(leg)
                return (OriginateFailed(leg=leg, at=at),) if known is not None and not known.created else ()
            case _:
                return ()

    def _known(self, leg: str) -> _Leg:
        if leg not in self._legs:
            if len(self._legs) >= TRACKED_MAX_LEGS:
                self.forget(next(iter(self._legs)))  # the oldest: its Hangup is understood without us
            self._legs[leg] = _Leg()
        return self._legs[leg]

    def _newchannel(self, message: Message, at: int) -> tuple[LegObservation, ...]:
        leg = message.get("uniqueid", "")
        if not LEG.fullmatch(leg):
            return ()
        known = self._known(leg)
        if known.created:
            return ()
        known.created, known.channel = True, message.get("channel", "")
        return (LegCreated(leg=leg, at=at, channel=known.channel),)

    def _newstate(self, message: Message, at: int) -> tuple[LegObservation, ...]:
        leg = message.get("uniqueid", "")
        match message.get("channelstate"):
            case "5":
                return self._ringing(leg, at)
            case "6":
                return self._up(leg, at, message.get("channel", ""))
            case _:
                return ()

    def _ringing(self, leg: str, at: int) -> tuple[LegObservation, ...]:
        known = self._legs.get(leg)
        if known is None or known.ringing or known.answered:
            return ()
        known.ringing = True
        return (LegRinging(leg=leg, at=at),)

    def _up(self, leg: str, at: int, channel: str) -> tuple[LegObservation, ...]:
        known = self._legs.get(leg)
        if known is None or known.answered:
            return ()
        known.answered, known.channel = True, channel
        return (LegAnswered(leg=leg, at=at, channel=channel),)

    def _user_event(self, message: Message, at: int) -> tuple[LegObservation, ...]:
        leg = message.get("uniqueid", "")
        known = self._legs.get(leg)
        if known is None:
            return ()
        match message.get("userevent"):
            case "RingfoldReady" if message.get("channelstate") == UP and not known.ready:
                channel = message.get("channel", "")
                answered = self._up(leg, at, channel)
                known.ready = True
                known.away = message.get("context") == AGENT_CONTEXT
                return (*answered, LegReady(leg=leg, at=at, channel=channel))
            case "RingfoldBridge":
                result = message.get("result", "")
                # SUCCESS comes after the talk, when the agent's side let go: the Hangup follows
                return () if result == "SUCCESS" else (BridgeRefused(leg=leg, at=at, result=result),)
            case "RingfoldRecording":
                result = message.get("result", "")
                is_made = result == "STARTED"
                return (LegRecorded(leg=leg, at=at) if is_made else RecordingRefused(leg=leg, at=at, result=result),)
            case _:
                return ()

    def _bridge_enter(self, message: Message, at: int) -> tuple[LegObservation, ...]:
        leg, bridge = message.get("uniqueid", ""), message.get("bridgeuniqueid", "")
        if message.get("bridgetechnology") == HOLDING:
            self.came_home(leg)
            return ()
        if leg in self._legs:
            self._legs[leg].away = True
        is_contact = leg in self._legs and message.get("context") == BRIDGE_CONTEXT
        if _number(message.get("bridgenumchannels")) < 2:
            if is_contact:
                self._leave(leg, self._legs[leg])
                self._waiting[bridge] = leg
                self._legs[leg].bridge = bridge
            return ()
        contact = leg if is_contact else self._waiting.pop(bridge, "")
        known = self._legs.get(contact)
        if known is None or known.bridged:
            return ()
        known.bridged = True
        return (LegBridged(leg=contact, at=at),)

    def _leave(self, leg: str, known: _Leg) -> None:
        """It waits in its bridge no more; somebody else may have come to wait there since."""
        if self._waiting.get(known.bridge) == leg:
            del self._waiting[known.bridge]

    def _hangup(self, message: Message, at: int) -> tuple[LegObservation, ...]:
        leg = message.get("uniqueid", "")
        if not LEG.fullmatch(leg):
            return ()
        known = self._legs.get(leg) or _Leg()
        self.forget(leg)
        state = message.get("channelstate")
        return (
            LegEnded(
                leg=leg,
                at=at,
                cause=_number(message.get("cause")),
                sip_code=_number(message.get("techcause")),
                answered=known.answered or state == UP,
                ringing=known.ringing or state == RINGING,
                far_end=known.far_end,
            ),
        )


def seen(message: Message, at: int, audio_bridges: frozenset[str] | None = None) -> LegSeen | None:
    """One line of `Status` as what is seen of a leg; None for a channel that isn't ours.

    `audio_bridges`: the bridges that hold a contact and somebody else, where all channels were asked for.
    """
    leg = message.get("uniqueid", "")
    if not LEG.fullmatch(leg):
        return None
    context, bridge = message.get("context"), message.get("bridgeid", "")
    state = STATES.get(message.get("channelstate", ""), LegState.DOWN)
    is_talking = bool(bridge) and context == BRIDGE_CONTEXT
    return LegSeen(
        leg=leg,
        at=at,
        channel=message.get("channel", ""),
        state=state,
        ready=state is LegState.UP and context in (AGENT_CONTEXT, CONTACT_CONTEXT),
        bridged=is_talking if audio_bridges is None else bridge in audio_bridges,
    )


def audio_bridges(statuses: list[Message]) -> frozenset[str]:
    """Of all channels' `Status`, the bridges in which a contact isn't alone."""
    members: dict[str, int] = {}
    for status in statuses:
        if bridge := status.get("bridgeid", ""):
            members[bridge] = members.get(bridge, 0) + 1
    return frozenset(
        bridge
        for status in statuses
        if status.get("context") == BRIDGE_CONTEXT and members.get(bridge := status.get("bridgeid", ""), 0) > 1
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and len(text) <= 5 and text.isascii() and text.isdigit() else 0
