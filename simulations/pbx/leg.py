"""One originated leg: how it is dialled, answered, led through the dialplan, bridged and ended.

The dialplan is the one the product ships, step by step:

    ringfold-agent    Answer, UserEvent RingfoldReady, BridgeWait for ever
    ringfold-contact  UserEvent RingfoldReady, Wait(10), Hangup
    ringfold-bridge   where RINGFOLD_RECORDING says so MixMonitor and UserEvent RingfoldRecording;
                      Bridge(AGENTCHAN), UserEvent RingfoldBridge, Hangup

An agent's leg needs a moment from a contact back to its holding bridge. A Bridge in that moment is refused, or takes the leg
out of its dialplan: then it may end with the talk.

Per leg the events keep the order of the real PBX. OriginateResponse doesn't: it comes by another way, at a random point
around the fact that it tells.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Protocol

from simulations.pbx.bridge import Bridge, Publish
from simulations.pbx.channel import CAUSES, RINGING, UP, Channel, dial_event, event
from simulations.pbx.originate import REFUSALS, SIP_OF_OWN_CAUSE, Originate, Refusal
from simulations.pbx.recording import Recordings
from simulations.pbx.script import Kind, Outcome

CONTACT_WAIT_MS = 10_000
RING_DELAY_MS = 20
LATE_ORIGINATE_RESPONSE_MS = 20


class House(Protocol):
    """What a leg needs of the PBX it lives in."""

    chance: random.Random
    return_ms: tuple[float, float]
    publish: Publish
    tells_sip_code: bool
    tells_cause_of_ring_out: bool
    recordings: Recordings

    def later(self, delay_ms: float, act: Callable[[], None]) -> asyncio.TimerHandle: ...
    def record(self, leg: Leg, event: str, /, **extra: str | int) -> None: ...
    def find(self, name_or_uid: str) -> Leg | None: ...
    def holding(self, name: str) -> Bridge: ...
    def new_bridge(self) -> Bridge: ...
    def gone(self, leg: Leg) -> None: ...


class Leg(Channel):
    __slots__ = (
        "_far_end",
        "_house",
        "_originate",
        "_outcome",
        "_pending",
        "_timers",
        "alive",
        "bridge",
        "hangup_source",
        "is_returning",
        "resume",
        "runs_dialplan",
    )

    def __init__(
        self, house: House, name: str, created_at: float, endpoint: str, originate: Originate, outcome: Outcome
    ) -> None:
        super().__init__(name, originate.uid, f"from-{endpoint}", created_at)
        self._house, self._originate, self._outcome = house, originate, outcome
        self._timers: list[asyncio.TimerHandle] = []
        self._far_end: asyncio.TimerHandle | None = None
        self._pending = True  # the Originate isn't decided yet
        self.alive = True
        self.hangup_source = ""  # the channel whose far end hung up last, as the channel event log shows it
        self.bridge: Bridge | None = None
        self.resume: Callable[[], None] | None = None
        self.runs_dialplan = False
        self.is_returning = False

    # -- dialling -----------------------------------------------------------------------------------------------------

    def dial(self) -> None:
        """Create the channel and call the far end."""
        self._tell("Newchannel")
        self._house.record(self, "CHAN_START")
        if self._originate.caller:
            self.set("CALLERID(num)", self._originate.caller.rpartition("<")[2].rstrip(">"))
        for name, value in self._originate.variables:
            self.set(name, value)
        dialled = self._originate.channel.partition("/")[2].encode()
        self._house.publish("DialBegin", lambda: dial_event("DialBegin", self, b"DialString: %b\r\n" % dialled))
        self._after(self._originate.timeout_ms, self._ring_out)
        kind, ring_ms = self._outcome.kind, self._outcome.ring_ms
        refusal = REFUSALS.get(kind)
        if kind is Kind.DEAD:
            return
        if kind is Kind.NO_ANSWER or (ring_ms > RING_DELAY_MS and (refusal is None or refusal.rings)):
            self._after(RING_DELAY_MS, self._ring)
        if kind is Kind.ANSWER:
            self._after(ring_ms, self._answer)
        elif refusal is not None:
            self._after(ring_ms, partial(self._refuse, refusal))

    def _ring(self) -> None:
        if self._outcome.early_media:
            self._dial_event("DialState", b"PROGRESS")
            return
        self.become(RINGING)
        dial_state_first = self._house.chance.random() < 0.5
        if dial_state_first:
            self._dial_event("DialState", b"RINGING")
        self._tell("Newstate")
        if not dial_state_first:
            self._dial_event("DialState", b"RINGING")

    def _answer(self) -> None:
        self._forget_timers()
        # Where in the sequence OriginateResponse falls: 0 is before Newstate, 3 is after the dialplan's first steps.
        place = self._house.chance.randrange(4)
        for at, step in enumerate((self._up, lambda: self._dial_event("DialEnd", b"ANSWER"), self._enter_dialplan)):
            if at == place:
                self._decide(success=True, reason=4)
            step()
        if place == 3:
            self._decide_later(success=True, reason=4)

    def _up(self) -> None:
        self.become(UP)
        self._tell("Newstate")
        self._house.record(self, "ANSWER")
        if self._outcome.talk_ms is not None:
            self._far_end = self._house.later(self._outcome.talk_ms, self.far_end_hangs_up)

    def _refuse(self, refusal: Refusal) -> None:
        self._forget_timers()
        self.hangup_source = self.name
        code = b"TechCause: %d\r\n" % refusal.sip_code if self._house.tells_sip_code else b""
        early = self._house.chance.random() < 0.5
        if early:
            self._decide(success=False, reason=0)
        self._tell("HangupRequest", b"Cause: %d\r\n%b" % (refusal.cause, code))
        self._dial_event("DialEnd", refusal.dial_status)
        self._end(refusal.cause, refusal.sip_code)
        if not early:
            self._decide_later(success=False, reason=0)

    def _ring_out(self) -> None:
        """The Originate's time is over. No DialEnd: the real PBX sends none."""
        self._forget_timers()
        early = self._house.chance.random() < 0.5
        if early:
            self._decide(success=False, reason=3)
        if self._house.tells_cause_of_ring_out:
            self._end(19, 480)
        else:
            self._end(0, 0)
        if not early:
            self._decide_later(success=False, reason=3)

    def _decide(self, success: bool, reason: int) -> None:
        if self._pending:
            self._pending = False
            self._originate.answered(success, reason, self if success else None)

    def _decide_later(self, success: bool, reason: int) -> None:
        # Not one of the leg's own timers: it comes even when the leg has ended meanwhile.
        if self._pending:
            self._pending = False
            delay_ms = self._house.chance.uniform(0, LATE_ORIGINATE_RESPONSE_MS)
            leg = self if success else None
            self._house.later(delay_ms, lambda: self._originate.answered(success, reason, leg))

    # -- the dialplan -------------------------------------------------------------------------------------------------

    def _enter_dialplan(self) -> None:
        self.runs_dialplan = True
        self._run(self._originate.context)

    def _run(self, context: str) -> None:
        match context:
            case "ringfold-agent":
                self.step(context, 1, "Answer")
                self.step(context, 2, "UserEvent")
                self._user_event("RingfoldReady")
                self._wait_for_bridge()
            case "ringfold-contact":
                self.step(context, 1, "UserEvent")
                self._user_event("RingfoldReady")
                self.step(context, 2, "Wait", "10")
                self._after(CONTACT_WAIT_MS, self._hangup_step)
            case "ringfold-bridge":
                self._bridge_step()
            case _:
                self.step(context, 1, "")
                self.end(0)

    def _wait_for_bridge(self) -> None:
        self.is_returning = False
        name = f"ringfold-{self.get('CALL_UUID')}"
        self.step("ringfold-agent", 3, "BridgeWait", f"{name},participant,e(silence)")
        self.resume = self._wait_for_bridge
        self._house.holding(name).enter(self)

    def _bridge_step(self) -> None:
        self._record_step()
        target = self.get("AGENTCHAN")
        self.step("ringfold-bridge", 8, "Bridge", f"{target},F(ringfold-agent^s^top)")
        agent = self._house.find(target) if target else None
        if agent is None or agent is self or not agent.runs_dialplan:
            self._bridged_step("NONEXISTENT" if agent is not self else "LOOP")
            return
        if agent.is_returning and not agent.pulled_out():
            self._bridged_step("FAILURE")
            return
        self.resume = lambda: self._bridged_step("SUCCESS")
        self.join(agent)

    def _record_step(self) -> None:
        name = self.get("RINGFOLD_RECORDING")
        self.step("ringfold-bridge", 1, "GotoIf")
        if name and not self._house.recordings.can_be_made:
            self.step("ringfold-bridge", 3, "UserEvent")
            self._user_event("RingfoldRecording", b"Result: NO-MIXMONITOR\r\n")
        elif name:
            self._house.recordings.start(self.uid, name)
            self.step("ringfold-bridge", 6, "UserEvent")
            self._user_event("RingfoldRecording", b"Result: STARTED\r\n")
            self.set("RINGFOLD_RECORDING", "")

    def _bridged_step(self, result: str) -> None:
        self.step("ringfold-bridge", 9, "UserEvent")
        self._user_event("RingfoldBridge", b"Result: %b\r\n" % result.encode())
        self._hangup_step()

    def _hangup_step(self) -> None:
        self.step(self.context, 10 if self.context == "ringfold-bridge" else 3, "Hangup")
        self.hangup_source = self.hangup_source or "dialplan/builtin"
        self.end(16)

    def _resume_at_hangup(self) -> None:
        self.runs_dialplan = True
        self._hangup_step()

    def join(self, other: Leg) -> None:
        """Put both legs into a conversation. Each is taken from where it is; the younger gets the elder's Linkedid."""
        conversation = self._house.new_bridge()
        for leg in (other, self):
            deserted = leg.leave()
            conversation.enter(leg)
            if deserted is not None:
                deserted.come_back()
            if leg is other:
                elder, younger = (other, self) if other.created_at <= self.created_at else (self, other)
                younger.link(elder.linkedid)

    def leave(self) -> Leg | None:
        """Leave the bridge, if any; returns who is left alone in a conversation, still to be taken out of it."""
        left = self.bridge
        if left is None:
            return None
        left.leave(self)
        return left.members[0] if left.members and not left.holding else None

    def come_back(self) -> None:
        """The other side of the conversation is gone: leave the bridge and take up the dialplan where it was."""
        if self.bridge is not None:
            self.bridge.leave(self)
        if self.resume is None:
            return
        shortest, longest = self._house.return_ms
        if longest and self.resume == self._wait_for_bridge:
            self.is_returning = True
            self._after(self._house.chance.uniform(shortest, longest), self.resume)
        else:
            self.resume()

    def pulled_out(self) -> bool:
        """A Bridge met this leg between two bridges. False: it was still leaving the first, and Bridge fails.

        Else the leg is out of its dialplan and needs Bridge's option F to get back into it. F may have come so early that
        the leg took it for the end of the talk before.
        """
        fate = self._house.chance.randrange(3)
        if fate == 0:
            return False
        self._forget_timers()
        if fate == 1:
            self.resume = self._end_outside_dialplan
        return True

    def _end_outside_dialplan(self) -> None:
        self.runs_dialplan = False
        self.end(16)

    def bridge_by_action(self, other: Leg) -> None:
        """The Bridge action: this leg first. A contact that comes back from it goes on at its next priority."""
        self._prepare_for_bridge_action()
        other._prepare_for_bridge_action()
        other.join(self)

    def _prepare_for_bridge_action(self) -> None:
        if self.context == "ringfold-contact":
            self._forget_timers()
            self.step(self.context, 3, "Bridge")
            self.runs_dialplan = False
            self.resume = self._resume_at_hangup
        elif self.is_returning:
            self._forget_timers()

    def redirect(self, context: str) -> None:
        """Send the leg to another context. Before its answer this leaves the Originate failed and the dialplan runs
        on an unanswered channel, as the real one does."""
        self._forget_timers()
        if self._pending:
            self._decide_later(success=False, reason=0)
        deserted = self.leave()
        self.runs_dialplan = True
        self._run(context)
        if deserted is not None:
            deserted.come_back()

    # -- the end ------------------------------------------------------------------------------------------------------

    def far_end_hangs_up(self) -> None:
        # A BYE carries no cause: the request shows none, and outside a bridge neither does the Hangup.
        if not self.alive:
            return
        self._tell("HangupRequest")
        for leg in self.bridge.members if self.bridge is not None and not self.bridge.holding else [self]:
            leg.hangup_source = self.name
        self.end(16 if self.bridge is not None else 0)

    def soft_hangup(self, cause: int) -> None:
        """The Hangup action. `cause` 0 means none was given."""
        if not self.alive:
            return
        if self.state == UP or self.runs_dialplan:
            self.end(cause or (16 if self.bridge is not None else 0))
            return
        self._forget_timers()
        self._dial_event("DialEnd", b"NOANSWER")
        self._decide_later(success=False, reason=0)
        self._end(cause, 0 if cause in (0, 16) else SIP_OF_OWN_CAUSE.get(cause, 0))

    def end(self, cause: int) -> None:
        """End a leg that has been in the dialplan, with the party it talks to going its own way."""
        self._forget_timers()
        deserted = self.leave()
        if self.runs_dialplan:
            self._tell("SoftHangupRequest", b"Cause: 16\r\n")
        first = self._house.chance.random() < 0.5
        if deserted is not None and not first:
            deserted.come_back()
        self._end(cause, 0)
        if deserted is not None and first:
            deserted.come_back()

    def vanish(self) -> None:
        """The PBX itself died: no event tells of it."""
        self._forget_timers()
        self._pending = self.alive = False
        if self._far_end is not None:
            self._far_end.cancel()

    def _end(self, cause: int, sip_code: int) -> None:
        text = CAUSES.get(cause, "Unknown").encode()
        extra = b"Cause: %d\r\nCause-txt: %b\r\n" % (cause, text)
        if sip_code and self._house.tells_sip_code:
            extra += b"TechCause: %d\r\n" % sip_code
        self._tell("Hangup", extra)
        self._house.record(self, "HANGUP", hangupcause=cause, hangupsource=self.hangup_source, dialstatus="")
        self.alive = False
        if self._far_end is not None:
            self._far_end.cancel()
        self._house.gone(self)

    # -- saying and waiting -------------------------------------------------------------------------------------------

    def _tell(self, name: str, extra: bytes = b"") -> None:
        self._house.publish(name, lambda: event(name, self, extra))

    def _dial_event(self, name: str, status: bytes) -> None:
        self._house.publish(name, lambda: dial_event(name, self, b"DialStatus: %b\r\n" % status))

    def _user_event(self, name: str, extra: bytes = b"") -> None:
        about = b"UserEvent: %b\r\nLeg: %b\r\n%b" % (name.encode(), self.get("CALL_UUID").encode(), extra)
        self._house.publish("UserEvent", lambda: event("UserEvent", self, about, b"user"))

    def _after(self, delay_ms: float, act: Callable[[], None]) -> None:
        self._timers.append(self._house.later(delay_ms, act))

    def _forget_timers(self) -> None:
        """Nothing of what was planned for this leg happens any more, but for the far end's own hang-up."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.is_returning = False
