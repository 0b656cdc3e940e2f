"""A PBX in a few dictionaries, as unkind as a real one may be.

It keeps the order of what it says about one leg and no other order. What it was about to say is lost with the
connection; its channels are not. An accepted originate may fail, or make a channel long after it was asked for.
"""

from collections import deque
from random import Random

import msgspec

from engine.core.telephony import (
    BridgeLegs,
    BridgeRefused,
    HangUp,
    LegAbsent,
    LegAnswered,
    LegBridged,
    LegCreated,
    LegEnded,
    LegObservation,
    LegReady,
    LegRinging,
    LegSeen,
    LegState,
    OriginateAgent,
    OriginateContact,
    OriginateFailed,
    OriginateRejected,
    Settle,
    TelephonyEffect,
)

HANGS_UP = 0.04
"""How likely a leg ends where something else could happen to it."""
REFUSES = 0.06
"""How likely it won't do what it could."""
UNANSWERED_CAUSES = (0, 1, 3, 16, 17, 19, 20, 21, 34)


class Channel(msgspec.Struct):
    leg: str
    state: LegState = LegState.DOWN
    ready: bool = False
    bridged: bool = False
    rang: bool = False


class RandomPbx:
    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.is_up = True
        self.restarted = False
        self.channels: dict[str, Channel] = {}
        self.originating: dict[str, None] = {}
        """Accepted, and not yet a channel."""
        self.doomed: dict[str, None] = {}
        """Hung up: they end a little later, or as soon as there is a channel."""
        self.contacts: set[str] = set()
        self.existed: set[str] = set()
        self.joined: set[str] = set()
        """Contact legs that ever shared audio with an agent."""
        self.dialled: list[str] = []
        self._to_say: dict[str, deque[LegObservation]] = {}

    # -- what is asked of it ------------------------------------------------------------------------------------------

    def perform(self, effect: TelephonyEffect, at: int) -> None:
        leg = effect.leg
        match effect:
            case OriginateAgent() | OriginateContact():
                assert leg not in self.dialled, f"dialled twice: {leg}"
                self.dialled.append(leg)
                if isinstance(effect, OriginateContact):
                    self.contacts.add(leg)
                if not self.is_up or self.chance.random() < REFUSES:
                    self._say(OriginateRejected(leg=leg, at=at, reason="pbx-down"))
                else:
                    self.originating[leg] = None
            case _ if not self.is_up:
                pass  # lost: the next connection shows how things stand
            case HangUp():
                # What isn't there yet may or may not be remembered: who asked has to ask again when it shows.
                if leg in self.channels or (leg in self.originating and self.chance.random() < 0.5):
                    self.doomed[leg] = None
            case BridgeLegs():
                self._bridge(effect, at)
            case Settle():
                self._say(self._seen(self.channels[leg], at) if leg in self.channels else LegAbsent(leg=leg, at=at))

    def _bridge(self, effect: BridgeLegs, at: int) -> None:
        contact = self.channels.get(effect.leg)
        agent = self.channels.get(effect.agent_leg)
        if contact is None:
            return
        if agent is None or agent.state is not LegState.UP or self.chance.random() < REFUSES:
            self._say(BridgeRefused(leg=effect.leg, at=at, result="NONEXISTENT"))
            return
        contact.bridged = True
        self.joined.add(effect.leg)
        self._say(LegBridged(leg=effect.leg, at=at))

    # -- what happens at it -------------------------------------------------------------------------------------------

    def progress(self, at: int) -> None:
        """Something happens to some leg."""
        legs = [*self.originating, *self.channels]
        if legs:
            self.move(self.chance.choice(legs), at)

    def move(self, leg: str, at: int) -> None:
        if leg in self.originating:
            self._appear(leg, at)
            return
        channel = self.channels[leg]
        if leg in self.doomed:
            self.end(leg, at, far_end=False)
        elif self.chance.random() < HANGS_UP:
            self.end(leg, at, far_end=self.chance.random() < 0.7)
        elif channel.state is LegState.DOWN and self.chance.random() < 0.8:
            channel.state, channel.rang = LegState.RINGING, True
            self._say(LegRinging(leg=leg, at=at))
        elif channel.state is not LegState.UP:
            channel.state = LegState.UP
            self._say(LegAnswered(leg=leg, at=at, channel=f"PJSIP/{leg}"))
        elif not channel.ready:
            channel.ready = True
            self._say(LegReady(leg=leg, at=at, channel=f"PJSIP/{leg}"))

    def _appear(self, leg: str, at: int) -> None:
        del self.originating[leg]
        if self.chance.random() < REFUSES:
            self._say(OriginateFailed(leg=leg, at=at))
            self.doomed.pop(leg, None)
            return
        self.channels[leg] = Channel(leg)
        self.existed.add(leg)
        self._say(LegCreated(leg=leg, at=at, channel=f"PJSIP/{leg}"))

    def end(self, leg: str, at: int, far_end: bool) -> None:
        channel = self.channels.pop(leg)
        self.doomed.pop(leg, None)
        answered = channel.state is LegState.UP
        cause = 16 if answered or not far_end else self.chance.choice(UNANSWERED_CAUSES)
        ended: list[LegObservation] = [
            LegEnded(leg=leg, at=at, cause=cause, sip_code=0, answered=answered, ringing=channel.rang, far_end=far_end)
        ]
        if not answered:
            ended.insert(self.chance.randrange(2), OriginateFailed(leg=leg, at=at))
        for one in ended:
            self._say(one)

    def restart(self) -> None:
        """The connection goes with it."""
        self.lose_connection()
        self.restarted = True
        for gone in (self.channels, self.originating, self.doomed):
            gone.clear()

    # -- what it says -------------------------------------------------------------------------------------------------

    def lose_connection(self) -> None:
        self.is_up = False
        self._to_say.clear()

    def connect(self, at: int) -> tuple[tuple[LegSeen, ...], bool]:
        """What lives, and whether it was restarted."""
        restarted, self.is_up, self.restarted = self.restarted, True, False
        return tuple(self._seen(one, at) for one in self.channels.values()), restarted

    def hear(self) -> LegObservation | None:
        """The next observation of some leg."""
        waiting = [leg for leg, said in self._to_say.items() if said]
        if not waiting:
            return None
        leg = self.chance.choice(waiting)
        said = self._to_say[leg].popleft()
        if not self._to_say[leg]:
            del self._to_say[leg]
        return said

    def _say(self, seen: LegObservation) -> None:
        if self.is_up or isinstance(seen, OriginateRejected):  # a rejection is our own side's word
            self._to_say.setdefault(seen.leg, deque()).append(seen)

    def _seen(self, channel: Channel, at: int) -> LegSeen:
        return LegSeen(
            leg=channel.leg,
            at=at,
            channel=f"PJSIP/{channel.leg}",
            state=channel.state,
            ready=channel.ready,
            bridged=channel.bridged,
        )
