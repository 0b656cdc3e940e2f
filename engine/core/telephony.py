"""What the core says to a PBX (effects) and hears from it (observations).

A *leg* is one channel that the engine originated. Its id is 32 lower-case hex digits, chosen by the engine and carried by
the PBX as the channel's unique id, so a fact never has to be matched by anything weaker. A call's contact leg has the
call's id. An agent's phone session is a leg too.

Observations are facts. They are recorded or ignored, never refused. `at` is epoch milliseconds on the engine's clock
when the fact was heard.
"""

from enum import StrEnum

import msgspec


class LegState(StrEnum):
    DOWN = "down"
    RINGING = "ringing"
    UP = "up"


# -- observations: what the PBX says about one leg ------------------------------------------------------------------


class LegCreated(msgspec.Struct, frozen=True, tag=True):
    """The PBX made the channel: from here on only LegEnded (or proof of absence) ends it."""

    leg: str
    at: int
    channel: str


class LegRinging(msgspec.Struct, frozen=True, tag=True):
    leg: str
    at: int


class LegAnswered(msgspec.Struct, frozen=True, tag=True):
    leg: str
    at: int
    channel: str


class LegReady(msgspec.Struct, frozen=True, tag=True):
    """The answered leg runs our dialplan: an agent's waits in the holding bridge, a contact's waits to be bridged."""

    leg: str
    at: int
    channel: str


class LegBridged(msgspec.Struct, frozen=True, tag=True):
    """The contact's leg shares audio with an agent."""

    leg: str
    at: int


class BridgeRefused(msgspec.Struct, frozen=True, tag=True):
    """The contact's leg could not be joined to the agent's: `result` as the PBX named it, such as NONEXISTENT."""

    leg: str
    at: int
    result: str


class LegRecorded(msgspec.Struct, frozen=True, tag=True):
    """The PBX began to record the leg, both directions, as the originate asked."""

    leg: str
    at: int


class RecordingRefused(msgspec.Struct, frozen=True, tag=True):
    """The PBX can't record the leg and goes on without: `result` as the dialplan named it, such as NO-MIXMONITOR."""

    leg: str
    at: int
    result: str


class LegEnded(msgspec.Struct, frozen=True, tag=True):
    """The channel is gone.

    `cause` is the Q.850 hang-up cause, `sip_code` the final SIP status or 0 where the PBX doesn't tell. `answered` says
    whether it was ever Up, `ringing` whether it ever rang, `far_end` whether its own party hung up. `later`: it was looked
    up afterwards, and `at` is when.
    """

    leg: str
    at: int
    cause: int
    sip_code: int
    answered: bool
    ringing: bool
    far_end: bool
    later: bool = False


class OriginateRejected(msgspec.Struct, frozen=True, tag=True):
    """The PBX refused the action itself (or it was never sent): nothing was or will be dialled."""

    leg: str
    at: int
    reason: str


class OriginateFailed(msgspec.Struct, frozen=True, tag=True):
    """The PBX says the originate failed. No proof by itself: the leg may yet report how it ended."""

    leg: str
    at: int


class LegAbsent(msgspec.Struct, frozen=True, tag=True):
    """The PBX was asked about this very leg and has no such channel; nothing tells how it ended, if it ever was."""

    leg: str
    at: int


class LegSeen(msgspec.Struct, frozen=True, tag=True):
    """The PBX was asked (after a reconnect, or about this leg) and the channel lives.

    `ready` says that it stands in our dialplan's waiting place, `bridged` that a contact and an agent share audio.
    """

    leg: str
    at: int
    channel: str
    state: LegState
    ready: bool
    bridged: bool


LegObservation = (
    LegCreated
    | LegRinging
    | LegAnswered
    | LegReady
    | LegBridged
    | BridgeRefused
    | LegRecorded
    | RecordingRefused
    | LegEnded
    | OriginateRejected
    | OriginateFailed
    | LegAbsent
    | LegSeen
)


# -- observations: the connection to the PBX ------------------------------------------------------------------------


class PbxUp(msgspec.Struct, frozen=True, tag=True):
    """Connected and resynchronised: `legs` are all channels that carry an id of ours.

    `restarted` says that the PBX itself started after the connection was lost: whatever is not in `legs` is gone.
    """

    at: int
    legs: tuple[LegSeen, ...]
    restarted: bool


class PbxDown(msgspec.Struct, frozen=True, tag=True):
    at: int
    reason: str


PbxObservation = PbxUp | PbxDown


# -- effects: what the core asks of the PBX -------------------------------------------------------------------------


class OriginateAgent(msgspec.Struct, frozen=True, tag=True):
    """Ring an agent's phone; when it answers it waits in the holding bridge."""

    leg: str
    phone: str
    ring_timeout_ms: int
    caller_id: str


class OriginateContact(msgspec.Struct, frozen=True, tag=True):
    """Dial a contact's number over a trunk; when it answers it waits for `BridgeLegs`.

    `recording` is what the conversation's recording is to be called (`engine.core.recording`); empty: none is made.
    """

    leg: str
    trunk: str
    number: str
    ring_timeout_ms: int
    caller_id: str
    recording: str = ""


class BridgeLegs(msgspec.Struct, frozen=True, tag=True):
    """Join the waiting contact's leg to the agent's leg (and its channel name)."""

    leg: str
    agent_leg: str
    agent_channel: str


class HangUp(msgspec.Struct, frozen=True, tag=True):
    leg: str


class Settle(msgspec.Struct, frozen=True, tag=True):
    """Find out what became of a leg, after `delay_ms`: answered by LegSeen, LegEnded or LegAbsent."""

    leg: str
    delay_ms: int


TelephonyEffect = OriginateAgent | OriginateContact | BridgeLegs | HangUp | Settle
