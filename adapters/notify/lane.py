"""One webhook's way through one campaign: strictly in order of `seq`, the next only after the last was taken.

A lane holds a window of the log in memory, filled by the feed as it merges while the lane keeps up, and from the feed's
memory or the log itself when it is behind. It has a task only while there is something to deliver. Its progress is a
position in the campaign's log; after a crash everything behind the last saved one is delivered again, under the same ids.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from adapters.notify.content.call import CallConnected
from adapters.notify.content.webhook import Reason
from adapters.notify.crew import Crew, halt
from adapters.notify.entry import Entry
from adapters.notify.feed import FeedReader
from adapters.notify.limits import NotifyLimits
from adapters.notify.pace import Pace
from adapters.notify.parcel import Batch, Parcel
from adapters.notify.pulse import Pulse
from adapters.notify.retry import delay_ms
from adapters.outward.sender import Answer
from engine.ports import Clock, LogArchived, StoreUnavailable
from engine.ports import Lane as LaneReport

STORE_RETRY_MS = 500
MAX_AWAITED_BEHIND = 256
"""A lane further behind is catching up with history: no call waits for it."""
THROTTLED = 429

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
    pace: Pace
    batch: Callable[[], Batch]
    wants: Callable[[Entry], bool]
    is_held: Callable[[], bool]
    """Whether nothing is to be sent to the webhook now: it is parked, or asked for a pause."""
    is_parked: Callable[[], bool]
    pack: Callable[[Sequence[Entry]], Parcel]
    attempt: Callable[[Parcel, int, Callable[[], None]], Awaitable[Answer]]
    """With which attempt at it this is, from 1."""
    delivered: Callable[["Lane"], Awaitable[None]]
    park: Callable[["Lane", Reason, str, int | None], Awaitable[None]]
    """With the last error, and for how many ms it has failed."""


class Lane:
    """`done_pos` and `done_seq`: delivered up to here."""

    def __init__(self, course: Course, name: str, done_pos: int, parked: bool = False) -> None:
        self.name = name
        self.attempts = 0
        self.retry_at = 0
        self.parked = parked
        self.unsaved = 0
        self.saved_pos = done_pos
        self._course = course
        self._known = course.feed.order.log(name)
        self._changed = Pulse()
        self._enough = asyncio.Event()
        self._enough_items = 0
        self._task: asyncio.Task[None] | None = None
        self._place(done_pos)

    def _place(self, done_pos: int) -> None:
        self.done_pos, self.done_seq = done_pos, self._known.seq_before(done_pos)
        self._queue: deque[Entry] = deque()
        self._read_pos, self._read_seq = done_pos, self.done_seq if done_pos == self._known.merged_pos else None
        self._packed = 0
        """So many are sent together, and go together again until they are taken."""
        self._written = 0

    # -- what others see --------------------------------------------------------------------------------------------

    @property
    def is_parked(self) -> bool:
        return self.parked or self._course.is_parked()

    @property
    def is_well(self) -> bool:
        return self.attempts == 0 and not self.parked and not self._course.is_held()

    @property
    def behind(self) -> int:
        return self._known.seq - self.done_seq

    @property
    def oldest_at(self) -> int:
        """When the first of those that wait happened (epoch ms); 0 for none, or where it isn't read yet."""
        return self._queue[0].fact.at if self._queue else 0

    @property
    def is_caught_up(self) -> bool:
        return self.done_pos >= self._known.seen

    @property
    def written_pos(self) -> int:
        """The log position up to which everything was taken, or is being sent now."""
        return self._queue[self._written].pos - 1 if len(self._queue) > self._written else self._read_pos

    def report(self, campaign: str) -> LaneReport:
        return LaneReport(
            campaign=campaign,
            seq=self.done_seq,
            behind=self.behind,
            attempts=self.attempts,
            retry_at=0 if self.is_parked else self.retry_at,
            parked=self.is_parked,
        )

    async def written(self, pos: int) -> None:
        """Return when everything up to a log position was sent for the first time, or the lane isn't well."""
        while not self.is_written(pos):
            await self._changed.wait()

    def is_written(self, pos: int) -> bool:
        return self.written_pos >= pos or not self.is_well or self.behind > MAX_AWAITED_BEHIND

    # -- what moves it ----------------------------------------------------------------------------------------------

    def take(self, first_pos: int, last_pos: int, entries: Sequence[Entry]) -> None:
        """The feed merged a run of this campaign. What doesn't fit is read from the log when its turn comes."""
        if self._read_pos == first_pos - 1:
            wanted = [one for one in entries if self._course.wants(one)]
            if len(self._queue) + len(wanted) <= self._course.limits.lane_queue:
                self._queue.extend(wanted)
                self._read_pos, self._read_seq = last_pos, self._known.seq
                self._changed.beat()
                if self._is_enough(wanted):
                    self._enough.set()
        self.nudge()

    def nudge(self) -> None:
        """Have a task while there is something to do."""
        if self.is_parked and self._queue:
            return
        if self._task is None or self._task.done():
            self._settle()
            if self._queue or self._read_pos < self._known.seen:
                self._task = self._course.crew.spawn(self._run(), f"lane {self._course.webhook} {self.name}")

    def wake(self) -> None:
        """Whether it is well may have changed."""
        self._changed.beat()

    async def halt(self) -> None:
        if self._task is not None:
            await halt(self._task)
        self._written = 0

    async def restart(self, back_to_pos: int | None = None) -> None:
        """Begin again with what isn't delivered, or further back; whatever had failed gets another try now."""
        await self.halt()
        self.attempts = self.retry_at = 0
        self._place(self.done_pos if back_to_pos is None else min(self.done_pos, back_to_pos))
        self.nudge()

    async def _run(self) -> None:
        failing_since: int | None = None
        while True:
            if not self._queue:
                self._settle()
                if self._read_pos >= self._known.seen:
                    return
                if not await self._load():
                    return
                continue
            if self.is_parked:
                self._changed.beat()
                return
            parcel = await self._next()
            if self.is_parked:
                continue
            answer = await self._course.attempt(parcel, self.attempts + 1, self._note_written)
            if answer.taken:
                self.attempts = self.retry_at = 0
                failing_since = None
                self._advance(parcel)
                await self._course.delivered(self)
            else:
                self.attempts += 1
                now = self._course.pace.elapsed_ms()
                failing_since = now if failing_since is None else failing_since
                await self._wait_or_park(answer, now - failing_since)

    async def _next(self) -> Parcel:
        """What is to be sent next: one notification, or as many as the webhook asks for at once."""
        batch = self._course.batch()
        if not batch.items:
            self._packed = 1
        elif not self._packed:
            await self._gather(batch)
            self._packed = min(len(self._queue), batch.items)
        parcel = self._course.pack(list(islice(self._queue, self._packed)))
        self._packed = len(parcel.entries)
        return parcel

    async def _gather(self, batch: Batch) -> None:
        """Wait for more to send together, but never with news that somebody answers a call at this moment."""
        while len(self._queue) < batch.items and self._read_pos < self._known.seen:
            if not await self._load():
                return
        self._enough_items = batch.items
        self._enough.clear()
        if not self._is_enough(self._queue):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(batch.wait_ms / 1_000):
                    await self._enough.wait()

    def _is_enough(self, new: Iterable[Entry]) -> bool:
        """Whether what is gathered goes out now, with what came last."""
        return len(self._queue) >= self._enough_items or any(type(one.fact.data) is CallConnected for one in new)

    async def _load(self) -> bool:
        """Read on in the log. False where that leads to nothing: what comes next left the store."""
        course = self._course
        room = course.limits.lane_queue - len(self._queue)
        try:
            entries, pos, seq = await course.feed.entries(self.name, self._read_pos, self._read_seq, room)
        except LogArchived as error:
            if not self.is_parked:
                await course.park(self, "archived", str(error), None)
            return False
        except StoreUnavailable as error:
            log.warning("webhook: the store is unavailable", webhook=course.webhook, error=str(error))
            await asyncio.sleep(STORE_RETRY_MS / 1_000)
            return True
        self._queue.extend(one for one in entries if course.wants(one))
        self._read_pos, self._read_seq = pos, seq
        return True

    def _advance(self, parcel: Parcel) -> None:
        for _ in parcel.entries:
            self._queue.popleft()
        self._packed = self._written = 0
        last = parcel.entries[-1]
        self.done_pos, self.done_seq = last.pos, last.seq
        self.unsaved += len(parcel.entries)
        self._settle()

    def _settle(self) -> None:
        """What nobody is to be told of counts as delivered once everything before it is."""
        if not self._queue:
            self.done_pos = self._read_pos
            if self._read_seq is not None:
                self.done_seq = self._read_seq
        self._changed.beat()

    def _note_written(self) -> None:
        self._written = self._packed
        self._changed.beat()

    async def _wait_or_park(self, answer: Answer, failing_ms: int) -> None:
        course = self._course
        pause_ms = delay_ms(self.attempts, answer.retry_after_ms, course.limits, course.rng)
        if answer.status == THROTTLED:
            pause_ms = max(pause_ms, course.limits.throttled_pause_ms)
        if answer.gone or failing_ms + pause_ms > course.limits.give_up_after_ms:
            await course.park(self, "gone" if answer.gone else "failing", answer.error, failing_ms)
            return
        self.retry_at = course.clock.now_ms() + pause_ms
        self._changed.beat()
        await course.pace.pause(pause_ms)
