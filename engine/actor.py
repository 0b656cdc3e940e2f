"""One log, one mailbox, one loop: take a batch, decide, write down, answer, act.

What was decided is answered and acted on only once it is durable. While a batch is being written the next one collects,
so the group grows by itself under load. On a quiet line hardly two messages fall together, and half of them are facts that
nobody waits for: what these come to lingers a moment, to be written with the next that somebody does wait for.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import structlog

from engine.core.claims import can_wait
from engine.core.effect import Effect
from engine.core.measure import Measures
from engine.core.refusal import Refused, no_room
from engine.ports import ANY, Append, EventLog, Fenced, Recorded, StoreUnavailable
from engine.trace import Span, SpanContext, here, spanned, under

MAX_BATCH_MESSAGES = 512
MAX_LINGERING_EVENTS = 512
NOTHING = object()
"""A message that nothing is decided on: its answer comes behind all that was decided before."""
STORE_RETRY_MIN_MS, STORE_RETRY_MAX_MS = 20, 1_000
STORE_PATIENCE_S = 10
"""How long a command waits for a store that doesn't answer, before whoever asked is told so."""

log = structlog.get_logger(__name__)

Committed = Callable[[str, Sequence[Recorded]], None]
Answers = list[tuple[asyncio.Future[Any], Any, Refused | None]]
Decide = Callable[[Any], tuple[Sequence[Any], Sequence[Effect], Any]]


class NotOwner(Exception):
    """This process no longer owns the log, or is closing: ask again later."""


class StoreAway(NotOwner):
    """The store doesn't take what was decided. The command may yet be carried out, if it was decided already."""


class Letter(NamedTuple):
    """What waits in a mailbox. `answer`: who waits for the reply; `cause`: the span that it belongs to."""

    message: Any
    answer: asyncio.Future[Any] | None = None
    cause: SpanContext | None = None


class Actor:
    """Owns what it folds: `decide(message)` changes the state and returns (events, effects, reply), or raises Refused.

    `linger_ms`: how long what nobody waits for may go unwritten; 0 is not at all. The state is ahead of the log for so long.
    """

    def __init__(
        self,
        event_log: EventLog,
        decide: Decide,
        stream_of: Callable[[Any], str],
        perform: Callable[[Sequence[Effect], int], None],
        committed: Committed,
        mailbox_messages: int,
        measures: Measures,
        linger_ms: int = 0,
    ) -> None:
        self.log = event_log
        self.lost: Exception | None = None
        self.away = ""
        """Why commands are refused for the time being: the store has not answered for longer than anybody is kept waiting."""
        self._decide = decide
        self._stream_of = stream_of
        self._perform = perform
        self._committed = committed
        self._mailbox_messages = mailbox_messages
        self._measures = measures
        self._linger_s = linger_ms / 1_000
        self._events: list[Any] = []
        """Decided and folded, and not yet being written, in their order; `_effects` are to be done behind them."""
        self._effects: list[Effect] = []
        self._lingering: asyncio.TimerHandle | None = None
        self._is_over = False
        """A linger is: what there is has to be written."""
        self._settling = 0
        """Who wait for everything to be durable. Nothing lingers meanwhile."""
        self._mailbox: deque[Letter] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        return len(self._mailbox)

    @property
    def trouble(self) -> str:
        """Why nothing that is decided here becomes durable just now, in words; "" where it does."""
        if self.lost is not None:
            return f"the log is not ours now: {self.lost}"
        if self.away or self.log.trouble:
            return self.away or self.log.trouble
        return "" if self.log.holds else "the lease on the log could not be renewed"

    def post(self, observation: Any) -> None:
        """Take a fact. Never refused: facts are bounded by the legs and timers that cause them. A lost log takes none."""
        if self.lost is not None:
            return
        self._mailbox.append(Letter(observation))
        self._arrived.set()

    async def submit(self, command: Any) -> Any:
        """Decide on a command; returns its reply once durable. Raises Refused, NotOwner, StoreAway."""
        began, result, name = time.perf_counter(), "taken", type(command).__name__
        with spanned(f"command {name}", {"ringfold.log": self.log.name}) as span:
            try:
                return await self._submit(command)
            except Refused as refused:
                result = refused.code
                raise
            except NotOwner:
                result = "unavailable"
                raise
            finally:
                span.set_attribute("ringfold.result", result)
                self._measures.decided.add(time.perf_counter() - began)
                self._measures.commands[name, result] += 1

    async def _submit(self, command: Any) -> Any:
        if self.lost is not None:
            raise NotOwner(str(self.lost)) from self.lost
        if self.away:
            raise StoreAway(self.away)
        if len(self._mailbox) >= self._mailbox_messages:
            raise no_room("mailbox-full", f"{self._mailbox_messages} commands are waiting for this campaign")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._mailbox.append(Letter(command, answer, here()))
        self._arrived.set()
        return await answer

    async def caught_up(self) -> None:
        """Everything that was decided so far is durable, however much comes meanwhile. Raises NotOwner, StoreAway."""
        if self.lost is not None:
            raise NotOwner(str(self.lost)) from self.lost
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._mailbox.append(Letter(NOTHING, answer))
        self._arrived.set()
        await answer

    async def run(self) -> None:
        """Until cancelled, or the log is lost to another owner."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._mailbox or self._is_over:
                    self._idle.clear()
                    await self._turn()
                if self._lingering is None:
                    self._idle.set()
        except Exception as error:
            self._give_up(error)
            if not isinstance(error, Fenced):
                raise
            log.error("log lost to another owner", log=self.log.name)
        except asyncio.CancelledError:
            self._give_up(NotOwner("closing"))
            raise

    async def settled(self) -> None:
        """Everything that was posted so far is decided and durable."""
        self._settling += 1
        try:
            await asyncio.sleep(0)
            while self._mailbox or not self._idle.is_set():
                if self._lingering is not None:
                    self._end_linger()
                await self._idle.wait()
                await asyncio.sleep(0)
        finally:
            self._settling -= 1

    async def _turn(self) -> None:
        batch = [self._mailbox.popleft() for _ in range(min(MAX_BATCH_MESSAGES, len(self._mailbox)))]
        within = under([one.cause for one in batch if one.cause is not None])
        with spanned("turn", {"ringfold.log": self.log.name, "ringfold.messages": len(batch)}, within=within) as span:
            await self._take(batch, span)

    async def _take(self, batch: Sequence[Letter], span: Span) -> None:
        try:
            answers, is_awaited = self._decide_on(batch)
            if not is_awaited and self._may_linger():
                return
            events, effects = self._take_up()
            if events or effects:
                await self._make_durable(batch, events, bool(effects), span)
        except BaseException as error:
            for _, answer, _ in batch:
                if answer is not None and not answer.done():
                    answer.set_exception(NotOwner(str(error)))
            raise
        for answer, reply, refused in answers:
            if answer.done():  # whoever asked has gone
                continue
            if refused is not None:
                answer.set_exception(refused)
            else:
                answer.set_result(reply)
        self._perform(effects, self.log.position)

    def _may_linger(self) -> bool:
        """Whether what was decided waits for company, from now on if it didn't before."""
        if not self._linger_s or self._is_over or self._settling or len(self._events) >= MAX_LINGERING_EVENTS:
            return False
        if self._lingering is None and (self._events or self._effects):
            self._lingering = asyncio.get_running_loop().call_later(self._linger_s, self._end_linger)
        return True

    def _end_linger(self) -> None:
        self._is_over = True
        self._arrived.set()

    def _take_up(self) -> tuple[list[Any], list[Effect]]:
        """Everything that was decided and isn't written, what lingered first."""
        if self._lingering is not None:
            self._lingering.cancel()
        self._lingering, self._is_over = None, False
        events, effects, self._events, self._effects = self._events, self._effects, [], []
        return events, effects

    async def _make_durable(self, batch: Sequence[Letter], events: list[Any], has_effects: bool, span: Span) -> None:
        """Returns when the events are written, and where there are effects the log is still ours. Raises Fenced."""
        patience = asyncio.get_running_loop().call_later(STORE_PATIENCE_S, self._lose_patience, batch)
        try:
            if events:
                span.add_event("decided", {"ringfold.events": len(events)})
                self._committed(self.log.name, await self._write(events))
                span.add_event("durable", {"ringfold.position": self.log.position})
            if has_effects:
                await self.log.hold()  # a commit may take longer than a lease, and whoever came then has settled it all
        finally:
            patience.cancel()
        if self.away:
            self.away = ""
            log.info("store back", log=self.log.name, waiting=len(self._mailbox))

    def _lose_patience(self, batch: Sequence[Letter]) -> None:
        """Tell whoever waits, and let no more of them in. What was decided is written all the same as soon as it can be; a
        command that wasn't is dropped, since its asker asks again. Facts are kept.
        """
        self.away = f"the store doesn't take what was decided: {self.log.trouble or 'no answer'}"
        log.warning("store away", log=self.log.name, error=self.log.trouble, refused=len(self._mailbox))
        for answer in (one.answer for one in (*batch, *self._mailbox)):
            if answer is not None and not answer.done():
                answer.set_exception(StoreAway(self.away))
        self._mailbox = deque(one for one in self._mailbox if one.answer is None)

    def _decide_on(self, batch: Sequence[Letter]) -> tuple[Answers, bool]:
        """The answers, and whether somebody waits for what the batch comes to: for one of them, or for an effect.

        What isn't a refusal and escapes is a fault of ours: it ends the actor.
        """
        answers: Answers = []
        is_awaited = False
        for message, answer, _ in batch:
            try:
                decided, wanted, reply = self._decide(message) if message is not NOTHING else ((), (), None)
            except Refused as refusal:
                if answer is None:
                    raise AssertionError(f"an observation was refused: {message!r}") from refusal
                answers.append((answer, None, refusal))
                continue
            self._events.extend(decided)
            self._effects.extend(wanted)
            is_awaited = is_awaited or not can_wait(decided, wanted)
            if answer is not None:
                answers.append((answer, reply, None))
        return answers, is_awaited or bool(answers)

    async def _write(self, events: list[Any]) -> Sequence[Recorded]:
        """Append, however long the store is away: what is decided can't be undecided. Raises Fenced."""
        appends = list(self._runs(events))
        delay_ms = STORE_RETRY_MIN_MS
        while True:
            try:
                return await self.log.append(appends)
            except StoreUnavailable as error:
                log.warning("store unavailable", log=self.log.name, error=str(error), retry_in_ms=delay_ms)
                await asyncio.sleep(delay_ms / 1_000)
                delay_ms = min(2 * delay_ms, STORE_RETRY_MAX_MS)

    def _runs(self, events: Iterable[Any]) -> Iterable[Append]:
        """Appends in the order decided: replay and notifications must see what happened in that order."""
        met: set[str] = set()
        for stream, run in groupby(events, self._stream_of):
            expected = ANY if stream in met else self.log.version(stream)
            met.add(stream)
            yield Append(stream, expected, list(run))

    def _give_up(self, error: Exception) -> None:
        self.lost = error
        self._take_up()  # as it would be lost with the process: recovery finds out again
        while self._mailbox:
            answer = self._mailbox.popleft().answer
            if answer is not None and not answer.done():
                answer.set_exception(NotOwner(str(error)))
        self._idle.set()
