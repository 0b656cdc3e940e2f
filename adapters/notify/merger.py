"""The one writer of the order: takes every campaign's events as they become durable and appends references to the feed.

What a log is about to write gets its place by the same commit, where all before it has one and nothing else is being merged.
What the engine hands over later is used directly where it continues what is merged; anything else is a hint only, and the
store is read. So nothing is missed when a hint is lost, comes twice, or comes for a log that somebody else writes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import quote

import structlog

from adapters.notify.cursor import Cursors
from adapters.notify.entry import Entry
from adapters.notify.event import FEED_LOG, FEED_STREAM, FeedMerged, FeedOpened, FeedRestored
from adapters.notify.limits import NotifyLimits
from adapters.notify.notice import NOTICES_LOG
from adapters.notify.notice import fact as notice_fact
from adapters.notify.notification import Fact, fact_of
from adapters.notify.order import Order
from adapters.notify.pulse import Pulse
from engine.ports import ANY, Append, Beside, EventLog, Logs, Recorded, StoreUnavailable

CAMPAIGN_PREFIX = "campaign/"
NO_CAMPAIGN = "~service"
"""In ids of what belongs to no campaign: no ref looks so."""
STORE_RETRY_MIN_MS, STORE_RETRY_MAX_MS = 20, 1_000
STANDBY_RETRY_MS = 200
STANDBY_SAY_EVERY = 50

log = structlog.get_logger(__name__)

Merged = Callable[[str, int, int, Sequence[Entry]], None]
"""Told of each merged run: log, first and last position, its notifications."""


class Run:
    """Contiguous events of one log with what is to be told of them."""

    __slots__ = ("facts", "first_pos", "last_pos", "name")

    def __init__(self, name: str, events: Sequence[Recorded]) -> None:
        self.name = name
        self.first_pos, self.last_pos = events[0].pos, events[-1].pos
        facts = ((one.pos, told_of(name, one.event)) for one in events)
        self.facts: list[tuple[int, Fact]] = [(pos, fact) for pos, fact in facts if fact is not None]


class Merger:
    def __init__(
        self, store: Logs, limits: NotifyLimits, is_open: Callable[[str], bool], new_feed_id: Callable[[], str]
    ) -> None:
        self.order = Order()
        self.cursors = Cursors("")
        self.advanced = Pulse()
        self.listeners: list[Merged] = []
        self._store = store
        self._limits = limits
        self._is_open = is_open
        self._new_feed_id = new_feed_id
        self._pending: dict[str, list[Recorded] | None] = {}
        self._pending_events = 0
        self._heard: set[str] = set()
        """Logs that there was news of since the last sweep."""
        self._silent: list[str] = []
        """Logs that a sweep has still to look at."""
        self._arrived = asyncio.Event()
        self._finishing = False
        self._log: EventLog | None = None
        self._is_merging = False
        self._placed = asyncio.Event()
        """Nothing is having its place written beside it."""
        self._placed.set()
        self._broken: Exception | None = None

    async def own(self) -> None:
        """Become the feed's owner, however long another one keeps it: a second process stands by."""
        waited = 0
        while self._log is None:
            try:
                self._log = await self._store.open_log(FEED_LOG)
            except StoreUnavailable as error:
                if waited % STANDBY_SAY_EVERY == 0:
                    log.warning("standing by", log=FEED_LOG, reason=str(error))
                waited += 1
                await asyncio.sleep(STANDBY_RETRY_MS / 1_000)

    async def open(self) -> None:
        """Read the order back, as the feed's owner. Raises StoreUnavailable while another owner lives."""
        if self._log is None:
            self._log = await self._store.open_log(FEED_LOG)
        known = False
        async for batch in self._log.read():
            for one in batch:
                if isinstance(one.event, FeedMerged):
                    self.order.extend(one.event)
                elif isinstance(one.event, FeedRestored):
                    self.cursors.renew(one.event.feed, self.order.position)
                elif isinstance(one.event, FeedOpened):
                    known, self.cursors = True, Cursors(one.event.feed)
        if not known:
            feed = self._new_feed_id()
            await self._append([FeedOpened(feed=feed)])
            self.cursors = Cursors(feed)

    async def catch_up(self) -> None:
        """Merge what campaigns' logs hold and the feed doesn't yet."""
        for name in await self._store.logs():
            if is_told(name):
                await self._merge_stored(name)

    def accompany(self) -> None:
        """From now on what is written gets its place with it, as far as that goes: after `catch_up`."""
        assert self._log is not None
        self._store.accompany(self._log, self._place)

    def follow(self, name: str, recorded: Sequence[Recorded]) -> None:
        """Durable events of a log, in its order; logs that clients aren't told of are passed over. Never blocks."""
        if not is_told(name) or not recorded:
            return
        self._heard.add(name)
        if recorded[-1].pos <= self.order.log(name).seen:
            return  # it had its place with it
        known = self._pending.setdefault(name, [])
        if known is None:
            pass  # to be read from the store anyway
        elif self._log is None or self._pending_events + len(recorded) > self._limits.pending_events:
            self._pending_events -= len(known)
            self._pending[name] = None
        else:
            known.extend(recorded)
            self._pending_events += len(recorded)
        self._arrived.set()

    async def run(self) -> None:
        """Merge until told to finish. Raises Fenced when another process has become the feed's owner."""
        loop = asyncio.get_running_loop()
        sweep_at = loop.time() + self._limits.sweep_ms / 1_000
        while not self._finishing:
            if self._broken is not None:
                raise self._broken
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(loop.time() if self._silent else sweep_at):
                    await self._arrived.wait()
            if loop.time() >= sweep_at:
                await self._sweep()
                sweep_at = loop.time() + self._limits.sweep_ms / 1_000
            await self._flush()
            if self._silent:  # one at a time: to look at hundreds takes seconds, and news doesn't wait for that
                await self._merge_stored(self._silent.pop())
        while self._pending:  # it came while a log was read
            await self._flush()

    def finish(self) -> None:
        """End `run` once everything that was handed over is merged."""
        self._finishing = True
        self._arrived.set()

    async def _flush(self) -> None:
        self._arrived.clear()
        pending, self._pending, self._pending_events = self._pending, {}, 0
        news: list[tuple[str, Sequence[Recorded]]] = []
        for name, recorded in pending.items():
            fresh = self._continuing(name, recorded)
            if fresh is None:
                await self._merge_stored(name)
            elif fresh:
                news.append((name, fresh))
        step = self._limits.group_ranges
        for start in range(0, len(news), step):
            await self._merge(news[start : start + step])

    async def close(self) -> None:
        if self._log is not None:
            await self._log.close()

    def _continuing(self, name: str, recorded: list[Recorded] | None) -> list[Recorded] | None:
        """The events behind what is merged, if they follow without a gap; None where only the store can tell."""
        if recorded is None:
            return None
        seen = self.order.log(name).seen
        fresh = [one for one in recorded if one.pos > seen]
        follows = all(one.pos == pos for pos, one in enumerate(fresh, seen + 1))
        return fresh if follows else None

    async def _sweep(self) -> None:
        """A hint can be lost with the actor that would have given it: look at every open log that is silent.

        Where there was news a lost hint is found by the next one, which doesn't continue what is merged. No log is looked at
        again before all were: a round of many may take longer than the time between two.
        """
        if self._silent:
            return
        heard, self._heard = self._heard, set()
        try:
            names = await self._store.logs()
        except StoreUnavailable as error:
            log.warning("feed: the store is unavailable", error=str(error))
            return
        open_ = (name for name in names if is_told(name) and (name == NOTICES_LOG or self._is_open(name)))
        self._silent = [name for name in open_ if name not in heard]

    async def _merge_stored(self, name: str) -> None:
        delay_ms = STORE_RETRY_MIN_MS
        while True:
            try:
                async with closing(self._store.read(name, self.order.log(name).seen)) as batches:
                    async for batch in batches:
                        if batch:
                            await self._merge([(name, batch)])
                return
            except StoreUnavailable as error:
                delay_ms = await _pause(delay_ms, error)

    async def _merge(self, news: Sequence[tuple[str, Sequence[Recorded]]]) -> None:
        """Write down that these came next, then tell. What has no notifications is only remembered."""
        self._is_merging = True
        await self._placed.wait()  # it may be some of these that have their place written beside them
        runs = [Run(name, unseen) for name, events in news if (unseen := self._unseen(name, events))]
        merged = [self._merged(one) if one.facts else None for one in runs]
        if any(merged):
            await self._append([one for one in merged if one is not None])
        # Not where that was broken off: nobody knows then what is durable, and nothing more is placed.
        self._is_merging = False
        for run, event in zip(runs, merged, strict=True):
            self._tell(run, event)
        self.advanced.beat()

    def _unseen(self, name: str, events: Sequence[Recorded]) -> Sequence[Recorded]:
        seen = self.order.log(name).seen
        return events if events[0].pos > seen else [one for one in events if one.pos > seen]

    def _place(self, name: str, events: Sequence[Recorded]) -> Beside | None:
        """Where these come next, to be written beside them."""
        if self._broken or self._is_merging or not self._placed.is_set() or not is_told(name):
            return None
        if events[0].pos != self.order.log(name).seen + 1:
            return None
        try:
            run = Run(name, events)
            if not run.facts:
                return None
            merged = self._merged(run)
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._break(error)
            return None
        self._placed.clear()

        def done(is_durable: bool) -> None:
            if is_durable:
                self._tell_placed(run, merged)
            self._placed.set()

        return Beside([Append(FEED_STREAM, ANY, [merged])], done)

    def _tell_placed(self, run: Run, merged: FeedMerged) -> None:
        """What fails here is the feed's trouble, and not of whoever wrote."""
        try:
            self._tell(run, merged)
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._break(error)
        self.advanced.beat()

    def _break(self, error: Exception) -> None:
        self._broken = error
        self._arrived.set()

    def _tell(self, run: Run, merged: FeedMerged | None) -> None:
        known = self.order.log(run.name)
        first_n, first_seq = self.order.position + 1, known.seq + 1
        if merged is not None:
            self.order.extend(merged)
        known.seen = run.last_pos
        entries = [
            Entry(n=first_n + i, log=run.name, campaign=campaign_of(run.name), seq=first_seq + i, pos=pos, fact=fact)
            for i, (pos, fact) in enumerate(run.facts)
        ]
        for listener in self.listeners:
            listener(run.name, run.first_pos, run.last_pos, entries)

    def _merged(self, run: Run) -> FeedMerged:
        known = self.order.log(run.name)
        return FeedMerged(
            log=run.name,
            first_pos=known.merged_pos + 1,
            last_pos=run.last_pos,
            first_seq=known.seq + 1,
            count=len(run.facts),
        )

    async def _append(self, events: Sequence[FeedMerged | FeedOpened]) -> None:
        assert self._log is not None
        delay_ms = STORE_RETRY_MIN_MS
        while True:
            try:
                await self._log.append([Append(FEED_STREAM, ANY, events)])
                return
            except StoreUnavailable as error:
                delay_ms = await _pause(delay_ms, error)


async def _pause(delay_ms: int, error: Exception) -> int:
    log.warning("feed: the store is unavailable", error=str(error), retry_in_ms=delay_ms)
    await asyncio.sleep(delay_ms / 1_000)
    return min(2 * delay_ms, STORE_RETRY_MAX_MS)


@contextlib.asynccontextmanager
async def closing(
    batches: AsyncIterator[Sequence[Recorded]],
) -> AsyncIterator[AsyncIterator[Sequence[Recorded]]]:
    """A read that may be left early: a generator then lets go of its connection at once."""
    try:
        yield batches
    finally:
        aclose = getattr(batches, "aclose", None)
        if aclose is not None:
            await aclose()


def is_told(name: str) -> bool:
    """Whether a log's events become notifications."""
    return name.startswith(CAMPAIGN_PREFIX) or name == NOTICES_LOG


def told_of(name: str, event: Any) -> Fact | None:
    return notice_fact(event) if name == NOTICES_LOG else fact_of(campaign_of(name), event)


def campaign_of(name: str) -> str:
    """Empty for what belongs to none."""
    return name.removeprefix(CAMPAIGN_PREFIX) if name != NOTICES_LOG else ""


def notification_id(campaign: str, seq: int, epoch: str = "") -> str:
    """Stable, usable in a URL and in a header. No full stop: it would be ambiguous in what a signature covers.

    `epoch` tells it from another notification that had the same `seq` before a restore.
    """
    whose = quote(campaign, safe="").replace(".", "%2E") if campaign else NO_CAMPAIGN
    return f"{whose}:{seq}~{epoch}" if epoch else f"{whose}:{seq}"
