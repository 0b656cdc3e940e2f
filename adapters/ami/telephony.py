"""Asterisk as the engine's Telephony: one supervised connection, one outbox, observations in order.

A dialled leg is at-most-once: an originate is written to the socket once or reported as rejected. Written and
unanswered when the connection ends, it is neither: only the PBX knows, and the engine asks after the next PbxUp.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context

import structlog

from adapters.ami import action
from adapters.ami.action import Action, FieldRefused
from adapters.ami.client import AmiClient, AmiLoginRefused, NotConnected, Unanswered
from adapters.ami.homecoming import Homecoming
from adapters.ami.outbox import Originate, Outbox, Urgent
from adapters.ami.resync import Resync, ResyncFailed, is_restarted
from adapters.ami.settings import IN_FLIGHT_MAX_ACTIONS, AmiSettings
from adapters.ami.settlement import Settlement
from adapters.ami.translate import WANTED_EVENTS, LegTracker
from adapters.ami.wire import Message
from engine.core.measure import Measures
from engine.core.reaction import SILENCE_MARGIN_MS
from engine.core.telephony import (
    BridgeLegs,
    BridgeRefused,
    HangUp,
    LegCreated,
    LegEnded,
    LegObservation,
    LegSeen,
    OriginateAgent,
    OriginateContact,
    OriginateRejected,
    PbxDown,
    PbxObservation,
    PbxUp,
    Settle,
    TelephonyEffect,
)
from engine.ports import MayAct, Sink, always
from engine.trace import Span, SpanKind, begin

log = structlog.get_logger(__name__)

Answer = asyncio.Future[Message]
Question = tuple[Action, Callable[[Message], None]]
MENDABLE = (OSError, Unanswered, NotConnected, ResyncFailed, AmiLoginRefused)
"""After these a further attempt may succeed (TimeoutError is an OSError). A refused login may be a restarting PBX."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class AmiTelephony:
    def __init__(
        self,
        settings: AmiSettings,
        now_ms: Callable[[], int] = wall_clock_ms,
        measures: Measures | None = None,
    ) -> None:
        self._settings = settings
        self._measures = measures or Measures()
        self._now_ms = now_ms
        self._sink: Sink | None = None
        self._may_act: MayAct = always
        self._tracker = LegTracker()
        self._outbox = Outbox(settings.max_originates_per_second, settings.max_pending_actions)
        self._settlement = Settlement(settings.cel_path, self._tracker, self._emit, now_ms)
        self._homecoming = Homecoming(self._tracker, self._queue)
        self._client: AmiClient | None = None
        self._resync: Resync | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[str] | None = None
        self._pump_timer: asyncio.TimerHandle | None = None
        self._doomed: set[str] = set()
        """Hung up before the PBX had made the channel: to be hung up as soon as it appears."""
        self._asked_early: set[str] = set()
        """Agents' phones that were asked about before they were called: to be asked about once they had time to ring."""
        self._silent: frozenset[str] = frozenset()
        """Tracked legs that the last list didn't show."""
        self._originates: dict[str, tuple[Action, Span]] = {}
        """What is to be sent for each leg whose originate waits, and its span."""
        self._startup = ""
        self._lost_at_s: float | None = None
        self._is_up = False
        self._down_reason = ""

    # -- the port ---------------------------------------------------------------------------------------------------

    async def start(self, sink: Sink, may_act: MayAct = always) -> None:
        """Returns when the first attempt has succeeded or failed; trying goes on behind. Raises AmiLoginRefused."""
        self._sink, self._may_act = sink, may_act
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._stay_connected(first), name="ami")
        await first

    def perform(self, effect: TelephonyEffect) -> None:
        match effect:
            case OriginateAgent() | OriginateContact():
                self._accept(effect)
            case Settle() if self._is_up:
                self._settlement.after(effect, lambda: self._ask_after(effect))
            case HangUp() if self._withdraw(effect.leg):
                pass
            case _ if self._is_up:
                if isinstance(effect, HangUp):
                    self._homecoming.withdraw(effect.leg)
                self._queue(effect)
            case _:
                log.info("ami.dropped_while_down", effect=type(effect).__name__, leg=effect.leg)

    async def stop(self) -> None:
        """Close the connection. Calls live on at the PBX: ending them is the engine's decision, made before."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._settlement.close()

    # -- the connection ---------------------------------------------------------------------------------------------

    async def _stay_connected(self, first: asyncio.Future[None]) -> None:
        attempt = 0
        try:
            while True:
                try:
                    reason = await self._connection(first)
                    attempt = 0
                except MENDABLE as failure:
                    if isinstance(failure, AmiLoginRefused) and not first.done():
                        first.set_exception(failure)
                        return
                    reason = f"{type(failure).__name__}: {failure}".rstrip(": ")
                except FieldRefused as refused:  # a user name or secret that can't be sent: no retry mends it
                    if not first.done():
                        first.set_exception(AmiLoginRefused(str(refused)))
                    return
                except Exception:
                    log.exception("ami.adapter_failed")
                    reason = "adapter failed"
                self._went_down(reason)
                if not first.done():
                    first.set_result(None)
                await asyncio.sleep(self._backoff_s(attempt))
                attempt += 1
        finally:
            if not first.done():
                first.cancel()
            if self._is_up:
                self._went_down("stopped")

    async def _connection(self, first: asyncio.Future[None]) -> str:
        """From the first byte to the last; returns why it ended. Raises MENDABLE before it was up."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = ended
        client = AmiClient(self._settings, WANTED_EVENTS, self._hear, self._lost, self._measures)
        self._resync = resync = Resync(client)
        try:
            await client.open()
            snapshot = await resync.run()
            if not client.is_open:
                raise NotConnected("lost while asking what lives")
            self._client = client
            self._came_up(
                resync, snapshot.legs(self._now_ms()), self._is_restarted(snapshot.startup, snapshot.uptime_s)
            )
            if not first.done():
                first.set_result(None)
            return await ended
        finally:
            self._client = None
            client.close()
            await client.wait_closed()

    def _is_restarted(self, startup: str, uptime_s: int | None) -> bool:
        outage_s = None if self._lost_at_s is None else asyncio.get_running_loop().time() - self._lost_at_s
        before, self._startup = self._startup, startup
        return is_restarted(before, startup, uptime_s, outage_s)

    def _came_up(self, resync: Resync, legs: tuple[LegSeen, ...], restarted: bool) -> None:
        """One step without await: the list first, then what was heard while asking, then what comes."""
        listed = frozenset(leg.leg for leg in legs)
        self._tracker.keep_only((self._tracker.legs() - self._silent) | listed)
        self._silent = self._tracker.legs() - listed
        for leg in legs:
            self._tracker.adopt(leg)
        self._is_up, self._down_reason = True, ""
        log.info("ami.up", legs=len(legs), restarted=restarted)
        self._emit(PbxUp(at=self._now_ms(), legs=legs, restarted=restarted))
        self._resync = None
        for message in resync.buffer:
            self._translate(message)

    def _lost(self, reason: str) -> None:
        if self._resync is not None:
            self._resync.fail(reason)
        if self._is_up:  # before that the attempt itself fails, and says better why
            self._went_down(reason)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    def _went_down(self, reason: str) -> None:
        if self._is_up:
            self._lost_at_s = asyncio.get_running_loop().time()
        self._is_up = False
        self._settlement.clear()
        self._homecoming.clear()
        self._doomed.clear()
        self._asked_early.clear()
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        if reason != self._down_reason:
            self._down_reason = reason
            log.warning("ami.down", reason=reason)
            self._emit(PbxDown(at=self._now_ms(), reason=reason))
        for unsent in self._outbox.clear():
            self._reject(unsent.leg, "pbx-down")

    def _backoff_s(self, attempt: int) -> float:
        low, high = self._settings.reconnect_min_ms, self._settings.reconnect_max_ms
        return random.uniform(low, max(low, min(high, low * 2 ** min(attempt, 16)))) / 1000  # noqa: S311  # jitter

    # -- what is heard ----------------------------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        if self._resync is not None:
            self._resync.take(message)
        else:
            self._translate(message)

    def _translate(self, message: Message) -> None:
        if message.get("event") == "Status":
            self._settlement.status(message)
            return
        for observation in self._tracker.see(message, self._now_ms()):
            self._emit(observation)
            if isinstance(observation, LegCreated) and observation.leg in self._doomed:
                self._doomed.discard(observation.leg)
                self._queue(HangUp(observation.leg))
            if isinstance(observation, LegCreated) and self._settlement.appeared(observation.leg):
                self._queue(Settle(leg=observation.leg, delay_ms=0))
            elif isinstance(observation, LegEnded):
                self._doomed.discard(observation.leg)
                self._settlement.ended(observation.leg)
                self._homecoming.withdraw(observation.leg)
        self._homecoming.look(message.get("uniqueid", ""))

    def _emit(self, observation: LegObservation | PbxObservation) -> None:
        if self._sink is None:
            return  # not started: nobody listens
        try:
            self._sink(observation)
        except Exception:
            log.exception("ami.sink_failed", observation=type(observation).__name__)

    def _reject(self, leg: str, reason: str) -> None:
        """Told on the loop's next turn: nobody gets an answer inside their own question."""
        if (unsent := self._originates.pop(leg, None)) is not None:
            _, span = unsent
            span.set_attribute("ringfold.result", "not sent")
            span.end()
        rejected = OriginateRejected(leg=leg, at=self._now_ms(), reason=reason)
        asyncio.get_running_loop().call_soon(self._emit, rejected)

    # -- what is asked ----------------------------------------------------------------------------------------------

    def _accept(self, effect: Originate) -> None:
        try:
            asked = action.originate(effect)
        except FieldRefused as refused:
            self._reject(effect.leg, str(refused))
            return
        if not self._is_up:
            self._reject(effect.leg, "pbx-down")
        elif not self._outbox.put(effect):
            self._reject(effect.leg, "overload")
        else:
            self._originates.setdefault(effect.leg, (asked, _span("Originate", effect.leg)))
            self._pump()

    def _withdraw(self, leg: str) -> bool:
        """Take back what was not sent: nothing is to hang up, nothing to ask, and it must not be dialled any more."""
        unsent = self._outbox.withdraw(leg)
        self._asked_early.discard(leg)
        if unsent is not None:
            self._reject(leg, "withdrawn")
        return unsent is not None

    def _ask_after(self, effect: Settle) -> None:
        """The question overtakes originates: asked before its own one is sent, the PBX would call the leg absent.

        A contact that waited so long isn't dialled any more. Agents come in crowds, and theirs may wait for minutes.
        """
        if self._outbox.has_agent(effect.leg):
            self._asked_early.add(effect.leg)
        elif not self._withdraw(effect.leg):
            self._queue(effect)

    def _queue(self, effect: Urgent) -> None:
        if not self._is_up or self._client is None:
            return
        if not self._outbox.put(effect):
            self._client.close()  # it stopped answering: a new connection shows what lives, and the engine asks again
            return
        self._pump()

    def _pump(self) -> None:
        """Send what may go. Called when something is queued, answered, or due by its pace."""
        if self._outbox.is_empty:
            return
        loop = asyncio.get_running_loop()
        while self._client is not None and self._client.is_open and self._client.pending < IN_FLIGHT_MAX_ACTIONS:
            effect = self._outbox.take(loop.time())
            if effect is None:
                break
            if not self._may_act(effect.leg):
                self._not_sent(effect, "not-owner")
                continue
            try:
                self._send(effect)
            except (NotConnected, FieldRefused) as refused:
                self._not_sent(effect, str(refused) if isinstance(refused, FieldRefused) else "pbx-down")
        if self._outbox.has_originates and self._pump_timer is None:
            wait_s = max(0.001, self._outbox.wait_s(loop.time()))
            self._pump_timer = loop.call_later(
                wait_s, self._pump_due, context=Context()
            )  # whose turn it is then, nobody knows

    def _not_sent(self, effect: Originate | Urgent, why: str) -> None:
        match effect:
            case OriginateAgent() | OriginateContact():
                self._tracker.forget(effect.leg)
                self._reject(effect.leg, why)
            case BridgeLegs():
                self._emit(BridgeRefused(leg=effect.leg, at=self._now_ms(), result=why))
            case HangUp() | Settle():
                log.error("ami.not_sent", effect=type(effect).__name__, leg=effect.leg, why=why)

    def _pump_due(self) -> None:
        self._pump_timer = None
        self._pump()

    def _send(self, effect: Originate | Urgent) -> None:
        match effect:
            case OriginateAgent() | OriginateContact():
                asked, span = self._originates.pop(effect.leg, None) or (action.originate(effect), None)
                self._tracker.expect(effect.leg)
                if effect.leg in self._asked_early:
                    self._asked_early.discard(effect.leg)
                    later = Settle(leg=effect.leg, delay_ms=effect.ring_timeout_ms + SILENCE_MARGIN_MS)
                    self._settlement.after(later, lambda: self._ask_after(later))
                self._ask((asked, lambda answer: self._originated(effect.leg, answer)), span=span)
            case BridgeLegs() if effect.leg in self._tracker and not self._tracker.is_answered(effect.leg):
                # a redirect would take the ringing channel out of its originate and run the dialplan unanswered
                self._emit(BridgeRefused(leg=effect.leg, at=self._now_ms(), result="not answered"))
            case BridgeLegs() if self._homecoming.keeps(effect):
                pass
            case BridgeLegs():
                setvar, redirect = action.bridge(effect)
                self._ask(
                    (setvar, lambda _: None),  # without it the redirect leads to a refused bridge, which is told
                    (redirect, lambda answer: self._redirected(effect.leg, answer)),
                )
            case HangUp():
                self._ask((action.hang_up(effect), lambda answer: self._hung_up(effect.leg, answer)))
            case Settle():
                self._ask((action.status(effect.leg), lambda answer: self._settlement.answered(effect.leg, answer)))

    def _ask(self, *questions: Question, span: Span | None = None) -> None:
        """Send each once, in this order. What stands beside it gets the Response; where none comes nothing is concluded."""
        if self._client is None:
            raise NotConnected
        answers = self._client.ask_together([asked for asked, _ in questions])
        for (asked, then), answer in zip(questions, answers, strict=True):
            asking = span or _span(asked["Action"], asked.get("Channel", ""))
            asking.add_event("sent")
            answer.add_done_callback(self._answered(self._client, asked, then, asking), context=Context())

    def _answered(
        self, client: AmiClient, asked: Action, then: Callable[[Message], None], asking: Span
    ) -> Callable[[Answer], None]:
        def answered(future: Answer) -> None:
            is_answered = not future.cancelled() and future.exception() is None
            asking.set_attribute(
                "ringfold.result", future.result().get("response", "") if is_answered else "unanswered"
            )
            asking.end()
            if client is not self._client or not self._is_up:
                return  # of a connection that is gone: the next PbxUp tells
            if not is_answered:
                log.warning("ami.unanswered", action=asked["Action"], leg=asked.get("ChannelId", asked.get("Channel")))
            else:
                then(future.result())
            self._pump()

        return answered

    def _originated(self, leg: str, answer: Message) -> None:
        if answer.get("response") == "Error":
            self._tracker.forget(leg)
            self._doomed.discard(leg)
            self._emit(OriginateRejected(leg=leg, at=self._now_ms(), reason=answer.get("message", "")))

    def _redirected(self, leg: str, answer: Message) -> None:
        if answer.get("response") != "Error":
            return
        message = answer.get("message", "")

        def alive(status: Message) -> None:
            if status.get("response") == "Success":
                self._emit(BridgeRefused(leg=leg, at=self._now_ms(), result=message))

        with suppress(NotConnected):  # "No such channel" is no end: if the channel is gone its Hangup says so
            self._ask((action.status(leg), alive))

    def _hung_up(self, leg: str, answer: Message, is_last: bool = False) -> None:
        """An originate's channel appears a moment after the originate was accepted: what came too early comes again."""
        if answer.get("response") != "Error" or leg not in self._tracker:
            return
        if not self._tracker.is_created(leg):
            self._doomed.add(leg)
        elif not is_last:  # it appeared between the refusal and our hearing of it; refused twice, it is gone
            with suppress(NotConnected):
                self._ask((action.hang_up(HangUp(leg)), lambda again: self._hung_up(leg, again, is_last=True)))


def _span(name: str, leg: str) -> Span:
    """From the moment that something is asked for, over its place in the outbox, to the PBX's Response."""
    return begin(f"ami {name}", {"ringfold.leg": leg}, SpanKind.CLIENT)
