"""One webhook's way through one campaign: strictly in order of `seq`, the next only after the last was taken.

A lane holds a window of the log in memory, filled by the feed as it merges while the lane keeps up, and from the log
itself when it is behind. It has a task only while there is something to deliver. Its progress is a position in the
campaign's log; after a crash everything behind the last saved one is delivered again, under the same ids.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from adapters.notify.crew import Crew, halt
from adapters.notify.entry import Entry
from adapters.notify.feed import FeedReader
from adapters.notify.limits import NotifyLimits
from adapters.notify.pulse import Pulse
from adapters.notify.retry import delay_ms
from adapters.outward.sender import Answer
from engine.ports import Clock, StoreUnavailable
from engine.ports import Lane as LaneReport

STORE_RETRY_MS = 500
MAX_AWAITED_BEHIND = 256
"""A lane further behind is catching up with history: no call waits for it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Course:
    """What all lanes of one webhook share."""

    webhook: str
    feed: FeedReader
    limits: NotifyLimits
    clock: Clock
    rng: random.Random
    crew: Crew
    wants: Callable[[Entry], bool]
    attempt: Callable[[Entry, Callable[[], None]], Awaitable[Answer]]
    delivered: Callable[["Lane"], Awaitable[None]]


class Lane:
    """`done_pos` and `done_seq`: delivered up to here."""

    def __init__(self, course: Course, name: str, done_pos: int) -> None:
        self.name = name
        self.attempts = 0
        self.retry_at = 0
        self.parked = False
        self.unsaved = 0
        self.saved_pos = done_pos
        self._course = course
        self._known = course.feed.order.log(name)
        self._changed = Pulse()
        self._task: asyncio.Task[None] | None = None
        self._place(done_pos)

    def _place(self, done_pos: int) -> None:
        self.done_pos, self.done_seq = done_pos, self._known.seq_before(done_pos)
        self._queue: deque[Entry] = deque()
        self._read_pos, self._read_seq = done_pos, self.done_seq if done_pos == self._known.merged_pos else None
        self._head_written = False

    # -- what others see --------------------------------------------------------------------------------------------

    @property
    def is_well(self) -> bool:
        return self.attempts == 0 and not self.parked

    @property
    def behind(self) -> int:
        return self._known.seq - self.done_seq

    @property
    def is_caught_up(self) -> bool:
        return self.done_pos >= self._known.seen

    @property
    def written_pos(self) -> int:
        """The log position up to which everything was taken, or is being sent now."""
        if not self._queue:
            return self._read_pos
        if not self._head_written:
            return self._queue[0].pos - 1
        return self._queue[1].pos - 1 if len(self._queue) > 1 else self._read_pos

    def report(self, campaign: str) -> LaneReport:
        return LaneReport(
            campaign=campaign,
            seq=self.done_seq,
            behind=self.behind,
            attempts=self.attempts,
            retry_at=self.retry_at,
            parked=self.parked,
        )

    async def written(self, pos: int) -> None:
        """Return when everything up to a log position was sent for the first time, or the lane isn't well."""
        while self.is_well and self.written_pos < pos and self.behind <= MAX_AWAITED_BEHIND:
            await self._changed.wait()

    # -- what moves it ----------------------------------------------------------------------------------------------

    def take(self, first_pos: int, last_pos: int, entries: Sequence[Entry]) -> None:
        """The feed merged a run of this campaign. What doesn't fit is read from the log when its turn comes."""
        if self._read_pos == first_pos - 1:
            wanted = [one for one in entries if self._course.wants(one)]
            if len(self._queue) + len(wanted) <= self._course.limits.lane_queue:
                self._queue.extend(wanted)
                self._read_pos, self._read_seq = last_pos, self._known.seq
        self.nudge()

    def nudge(self) -> None:
        """Have a task while there is something to do."""
        if self._task is None or self._task.done():
            self._settle()
            if not self.parked and not self.is_caught_up:
                self._task = self._course.crew.spawn(self._run(), f"webhook {self._course.webhook} {self.name}")

    async def halt(self) -> None:
        if self._task is not None:
            await halt(self._task)
        self._head_written = False

    async def restart(self, back_to_pos: int | None = None) -> None:
        """Begin again with what isn't delivered, or further back; whatever had failed gets another try now."""
        await self.halt()
        self.attempts = self.retry_at = 0
        self.parked = False
        self._place(self.done_pos if back_to_pos is None else min(self.done_pos, back_to_pos))
        self.nudge()

    async def _run(self) -> None:
        failing_since = 0
        while not self.parked:
            if not self._queue:
                self._settle()
                if self._read_pos >= self._known.seen:
                    return
                await self._load()
                continue
            entry = self._queue[0]
            answer = await self._course.attempt(entry, self._note_written)
            if answer.taken:
                failing_since = self.attempts = self.retry_at = 0
                self._advance(entry)
                await self._course.delivered(self)
            else:
                self.attempts += 1
                failing_since = failing_since or self._course.clock.now_ms()
                await self._wait_or_park(answer, failing_since)

    async def _load(self) -> None:
        """Read on in the log."""
        course = self._course
        try:
            entries, pos, seq = await course.feed.entries(
                self.name, self._read_pos, self._read_seq, course.limits.lane_queue
            )
        except StoreUnavailable as error:
            log.warning("webhook: the store is unavailable", webhook=course.webhook, error=str(error))
            await asyncio.sleep(STORE_RETRY_MS / 1_000)
            return
        self._queue.extend(one for one in entries if course.wants(one))
        self._read_pos, self._read_seq = pos, seq

    def _advance(self, entry: Entry) -> None:
        self._queue.popleft()
        self._head_written = False
        self.done_pos, self.done_seq = entry.pos, entry.seq
        self.unsaved += 1
        self._settle()

    def _settle(self) -> None:
        """What nobody is to be told of counts as delivered once everything before it is."""
        if not self._queue:
            self.done_pos = self._read_pos
            if self._read_seq is not None:
                self.done_seq = self._read_seq
        self._changed.beat()

    def _note_written(self) -> None:
        self._head_written = True
        self._changed.beat()

    async def _wait_or_park(self, answer: Answer, failing_since: int) -> None:
        course = self._course
        pause_ms = delay_ms(self.attempts, answer.retry_after_ms, course.limits, course.rng)
        now = course.clock.now_ms()
        if answer.gone or now + pause_ms - failing_since > course.limits.give_up_after_ms:
            self.parked, self.retry_at = True, 0
            log.warning("webhook parked", webhook=course.webhook, log=self.name, seq=self.done_seq, why=answer.error)
            self._changed.beat()
            return
        self.retry_at = now + pause_ms
        self._changed.beat()
        await asyncio.sleep(pause_ms / 1_000)
