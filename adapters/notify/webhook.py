"""One receiver: its lanes, one per campaign, and its progress through the feed.

Progress is kept in checkpoints named `webhook/{id}@{since}`: per campaign log the position delivered, and for the
feed's log a floor (plus one, 0 being "never saved") before which every lane is done, so that a start needn't ask about
each campaign there ever was. `since` is in the name because a webhook that was removed and put again starts anew.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from adapters.notify.content.webhook import Reason
from adapters.notify.crew import Crew
from adapters.notify.entry import Entry
from adapters.notify.event import FEED_LOG
from adapters.notify.feed import FeedReader
from adapters.notify.lane import THROTTLED, Course, Lane
from adapters.notify.limits import NotifyLimits
from adapters.notify.merger import campaign_of
from adapters.notify.notice import Notices, WebhookParked, WebhookResumed
from adapters.notify.order import LogOrder
from adapters.notify.pace import Pace
from adapters.notify.parcel import Batch, Parcel, encoded, packed, single
from adapters.notify.post import Post, Slots
from adapters.outward.sender import Answer, Sender
from engine.core.webhook import WebhookPut
from engine.ports import Clock, Delivery, Logs, Notification, StoreUnavailable, WebhookReport
from engine.ports import Lane as LaneReport

UNAVAILABLE = 503

log = structlog.get_logger(__name__)


class Webhook:
    def __init__(
        self,
        put: WebhookPut,
        store: Logs,
        feed: FeedReader,
        sender: Sender,
        slots: Slots,
        limits: NotifyLimits,
        clock: Clock,
        rng: random.Random,
        crew: Crew,
        notices: Notices,
        pace: Pace,
    ) -> None:
        self.put = put
        self.lanes: dict[str, Lane] = {}
        self.post = Post(put, sender, slots, limits, clock, pace)
        self._store, self._feed, self._limits, self._clock = store, feed, limits, clock
        self._notices, self._pace = notices, pace
        self._course = Course(
            webhook=put.id,
            feed=feed,
            limits=limits,
            clock=clock,
            rng=rng,
            crew=crew,
            pace=pace,
            batch=self._batch,
            wants=self.wants,
            is_held=lambda: self._parked is not None or self._quiet_until > pace.elapsed_ms(),
            is_parked=lambda: self._parked is not None,
            pack=self._pack,
            attempt=self._attempt,
            delivered=self._delivered,
            park=self._park,
        )
        self._checkpoint = f"webhook/{put.id}@{put.since}"
        self._moving = asyncio.Lock()
        self._floor = put.since
        self._saved_floor = -1
        self._is_open = False
        self._parked: WebhookParked | None = None
        self._quiet_until = 0
        """The receiver asked for a pause: by the pace."""

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up every campaign where it was left. Raises StoreUnavailable."""
        async with self._moving:
            parked = self._notices.parked(self.put.id, self.put.since)
            self._parked = parked.get("")
            saved = await self._store.checkpoint(self._checkpoint, FEED_LOG)
            self._saved_floor = saved - 1
            self._floor = saved - 1 if saved else self.put.since
            while missing := [one for one in self._wanted_after(self._floor) if one.name not in self.lanes]:
                for known in missing:
                    done_pos = await self._store.checkpoint(self._checkpoint, known.name)
                    start = max(done_pos, await self._feed.pos_before(known.name, self._floor))
                    is_parked = campaign_of(known.name) in parked
                    self.lanes[known.name] = Lane(self._course, known.name, start, is_parked)
            self._is_open = True  # no campaign can have come between the last look and here
            for lane in self.lanes.values():
                lane.nudge()

    async def change(self, put: WebhookPut) -> None:
        """Another address, secret or filter: from here on, and what had failed is tried again."""
        async with self._moving:
            self.put = self.post.put = put
            for name, lane in list(self.lanes.items()):
                if not self.wants_campaign(campaign_of(name)):
                    await lane.halt()
                    del self.lanes[name]
            await self._restart(list(self.lanes.values()))

    async def resume(self) -> None:
        """Somebody looked after it: what is parked goes on where it stopped, and what failed gets another try."""
        async with self._moving:
            await self._restart([one for one in self.lanes.values() if not one.is_well])

    async def replay(self, n: int) -> None:
        """Deliver again everything behind a feed position."""
        async with self._moving:
            if not self._is_open:
                raise StoreUnavailable(f"webhook {self.put.id!r} is not open yet")
            self._floor = min(self._floor, n)
            behind = self._wanted_after(n)
            stuck = [one for one in self.lanes.values() if not one.is_well] if behind else []
            if behind:
                await self._release(stuck)
            for known in behind:
                back_to_pos = await self._feed.pos_before(known.name, n)
                lane = self.lanes.get(known.name)
                if lane is None:
                    lane = self.lanes[known.name] = Lane(self._course, known.name, known.seen)
                await lane.restart(back_to_pos)
            for lane in stuck:
                if lane.name not in {one.name for one in behind}:
                    await lane.restart()
            await self._save_all()

    def _wanted_after(self, n: int) -> list[LogOrder]:
        """Campaigns that it is told of, and that have a notification behind a feed position."""
        return [one for one in self._feed.order.logs_after(n) if self.wants_campaign(campaign_of(one.name))]

    async def close(self) -> None:
        async with self._moving:
            self._is_open = False
            for lane in list(self.lanes.values()):
                await lane.halt()

    async def _restart(self, lanes: Sequence[Lane]) -> None:
        await self._release(lanes)
        for lane in lanes:
            await lane.restart()

    async def _release(self, lanes: Sequence[Lane]) -> None:
        """Nothing is parked any more, nor waits; and that is written down."""
        for lane in lanes:
            await lane.halt()
        await self._notices.settled()
        if self._notices.parked(self.put.id, self.put.since):
            resumed = WebhookResumed(at=self._clock.now_ms(), webhook=self.put.id, since=self.put.since)
            await self._notices.add(resumed)
            log.info("webhook resumed", webhook=self.put.id)
        self._parked, self._quiet_until = None, 0
        for lane in self.lanes.values():
            lane.parked = False

    # -- what the feed tells ------------------------------------------------------------------------------------------

    def take(self, name: str, first_pos: int, last_pos: int, entries: Sequence[Entry]) -> None:
        """Of campaigns that it is told of. Others have no lane: there may be thousands, and as many receivers of one each."""
        lane = self.lanes.get(name)
        if lane is None and self._is_open and entries:
            # Everything before this run was delivered (it lies below the floor) or never was.
            lane = self.lanes[name] = Lane(self._course, name, first_pos - 1)
        if lane is not None:
            lane.take(first_pos, last_pos, entries)

    def wants(self, entry: Entry) -> bool:
        put = self.put
        return (not put.types or entry.fact.type in put.types) and self.wants_campaign(entry.campaign)

    def wants_campaign(self, campaign: str) -> bool:
        return not self.put.campaigns or campaign in self.put.campaigns

    def reports(self) -> list[LaneReport]:
        return [lane.report(campaign_of(name)) for name, lane in self.lanes.items()]

    def report(self) -> WebhookReport:
        lanes = list(self.lanes.values())
        oldest = min((lane.oldest_at for lane in lanes if lane.oldest_at), default=0)
        return WebhookReport(
            behind=sum(lane.behind for lane in lanes),
            oldest_at=oldest,
            lag_ms=max(0, self._clock.now_ms() - oldest) if oldest else 0,
            parked=sum(lane.is_parked for lane in lanes) or int(self._parked is not None),
            parked_for=self._parked.reason if self._parked is not None else "",
            attempts=dict(self.post.counts),
        )

    @property
    def is_done(self) -> bool:
        """Nothing under way that could succeed soon."""
        return all(lane.is_caught_up or not lane.is_well for lane in self.lanes.values())

    # -- progress -----------------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """Write down how far each lane has come. Raises StoreUnavailable."""
        async with self._moving:
            await self._save_all()

    async def _save_all(self) -> None:
        if not self._is_open:
            return
        caught_up_to = self._feed.order.position
        all_done = all(lane.is_caught_up for lane in self.lanes.values())
        for lane in list(self.lanes.values()):
            if lane.done_pos != lane.saved_pos:
                await self._save_lane(lane)
        self._floor = caught_up_to if all_done else self._floor
        if self._floor != self._saved_floor:
            await self._store.save_checkpoint(self._checkpoint, FEED_LOG, self._floor + 1)
            self._saved_floor = self._floor

    async def _save_lane(self, lane: Lane) -> None:
        pos, lane.unsaved = lane.done_pos, 0
        await self._store.save_checkpoint(self._checkpoint, lane.name, pos)
        lane.saved_pos = pos

    async def _delivered(self, lane: Lane) -> None:
        if lane.unsaved >= self._limits.save_every_deliveries:
            try:
                await self._save_lane(lane)
            except StoreUnavailable as error:
                log.warning("webhook: progress not saved", webhook=self.put.id, error=str(error))

    # -- deliveries ---------------------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        return Batch(items=min(self.put.batch_items, self._limits.lane_queue), wait_ms=self.put.batch_wait_ms)

    def _pack(self, entries: Sequence[Entry]) -> Parcel:
        notifications = [self._feed.render(one) for one in entries]
        if not self.put.batch_items:
            return single(entries[0], notifications[0])
        return packed(entries, notifications, self._limits.batch_bytes)

    async def _attempt(self, parcel: Parcel, attempt: int, written: Callable[[], None]) -> Answer:
        while (left_ms := self._quiet_until - self._pace.elapsed_ms()) > 0:
            await self._pace.pause(left_ms)
        first = parcel.entries[0]
        sent = Delivery(
            notification=parcel.id,
            campaign=first.campaign,
            seq=first.seq,
            count=len(parcel.entries),
            attempt=attempt,
        )
        answer = await self.post.send(sent, parcel.body, written)
        if answer.status in (THROTTLED, UNAVAILABLE) and answer.retry_after_ms:
            self._keep_quiet(answer.retry_after_ms)
        return answer

    async def try_out(self, notification: Notification) -> Delivery:
        """Send something once, beside the lanes; returns what came of it."""
        body = encoded(notification)
        sent = Delivery(notification=notification.id, campaign=notification.campaign, seq=notification.seq)
        await self.post.send(sent, b"[" + body + b"]" if self.put.batch_items else body)
        return self.post.attempts[-1]

    def _keep_quiet(self, pause_ms: int) -> None:
        """A receiver that asks for a pause is left alone by all its lanes."""
        until = self._pace.elapsed_ms() + min(pause_ms, self._limits.max_retry_after_ms)
        self._quiet_until = max(self._quiet_until, until)
        for lane in self.lanes.values():
            lane.wake()

    async def _park(self, lane: Lane, reason: Reason, error: str, failing_ms: int | None) -> None:
        """All of it where the receiver is gone, or took nothing of any campaign in the same time; else that lane."""
        took_nothing = failing_ms is not None and self.post.taken_at < self._pace.elapsed_ms() - failing_ms
        whole = reason == "gone" or (reason == "failing" and took_nothing)
        if lane.is_parked:
            return
        now = self._clock.now_ms()
        parked = WebhookParked(
            at=now,
            webhook=self.put.id,
            since=self.put.since,
            campaign="" if whole else campaign_of(lane.name),
            reason=reason,
            error=error,
            failing_since=now - failing_ms if failing_ms is not None else 0,
        )
        await self._notices.add(parked)
        if whole:
            self._parked = parked
        else:
            lane.parked = True
        log.warning("webhook parked", webhook=self.put.id, log="" if whole else lane.name, reason=reason, error=error)
        for one in self.lanes.values():
            one.wake()
