"""One receiver: its lanes, one per campaign, and its progress through the feed.

Progress is kept in checkpoints named `webhook/{id}@{since}`: per campaign log the position delivered, and for the
feed's log a floor (plus one, 0 being "never saved") before which every lane is done, so that a start needn't ask about
each campaign there ever was. `since` is in the name because a webhook that was removed and put again starts anew.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from adapters.notify.crew import Crew
from adapters.notify.entry import Entry
from adapters.notify.event import FEED_LOG
from adapters.notify.feed import FeedReader, encoded
from adapters.notify.lane import Course, Lane
from adapters.notify.limits import NotifyLimits
from adapters.notify.merger import campaign_of
from adapters.notify.signing import UnusableSecret, signed_headers
from adapters.outward.sender import Answer, Outgoing, Sender
from engine.core.directory import WebhookPut
from engine.ports import Clock, Delivery, EventStore, StoreUnavailable
from engine.ports import Lane as LaneReport

log = structlog.get_logger(__name__)


class Webhook:
    def __init__(
        self,
        put: WebhookPut,
        store: EventStore,
        feed: FeedReader,
        sender: Sender,
        slots: asyncio.Semaphore,
        limits: NotifyLimits,
        clock: Clock,
        rng: random.Random,
        crew: Crew,
    ) -> None:
        self.put = put
        self.lanes: dict[str, Lane] = {}
        self.attempts: deque[Delivery] = deque(maxlen=limits.remembered_attempts)
        self._store, self._feed, self._sender, self._limits, self._clock = store, feed, sender, limits, clock
        self._slots = slots
        self._own_slots = asyncio.Semaphore(limits.max_requests_per_webhook)
        self._course = Course(put.id, feed, limits, clock, rng, crew, self.wants, self._attempt, self._delivered)
        self._checkpoint = f"webhook/{put.id}@{put.since}"
        self._moving = asyncio.Lock()
        self._floor = put.since
        self._saved_floor = -1
        self._is_open = False

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up every campaign where it was left. Raises StoreUnavailable."""
        async with self._moving:
            saved = await self._store.checkpoint(self._checkpoint, FEED_LOG)
            self._saved_floor = saved - 1
            self._floor = saved - 1 if saved else self.put.since
            while missing := [one for one in self._feed.order.logs_after(self._floor) if one.name not in self.lanes]:
                for known in missing:
                    done_pos = await self._store.checkpoint(self._checkpoint, known.name)
                    start = max(done_pos, await self._feed.pos_before(known.name, self._floor))
                    self.lanes[known.name] = Lane(self._course, known.name, start)
            self._is_open = True  # no campaign can have come between the last look and here
            for lane in self.lanes.values():
                lane.nudge()

    async def change(self, put: WebhookPut) -> None:
        """Another address, secret or filter: from here on, and what had failed is tried again."""
        async with self._moving:
            self.put = put
            for lane in list(self.lanes.values()):
                await lane.restart()

    async def revive(self) -> None:
        """Somebody looked after the webhooks: parked lanes get another try."""
        async with self._moving:
            for lane in list(self.lanes.values()):
                if lane.parked:
                    await lane.restart()

    async def replay(self, n: int) -> None:
        """Deliver again everything behind a feed position."""
        async with self._moving:
            if not self._is_open:
                raise StoreUnavailable(f"webhook {self.put.id!r} is not open yet")
            self._floor = min(self._floor, n)
            for known in list(self._feed.order.logs_after(n)):
                back_to_pos = await self._feed.pos_before(known.name, n)
                lane = self.lanes.get(known.name)
                if lane is None:
                    lane = self.lanes[known.name] = Lane(self._course, known.name, known.seen)
                await lane.restart(back_to_pos)
            await self._save_all()

    async def close(self) -> None:
        async with self._moving:
            self._is_open = False
            for lane in list(self.lanes.values()):
                await lane.halt()

    # -- what the feed tells ------------------------------------------------------------------------------------------

    def take(self, name: str, first_pos: int, last_pos: int, entries: Sequence[Entry]) -> None:
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
        refs = ((campaign_of(name), lane) for name, lane in self.lanes.items())
        return [lane.report(ref) for ref, lane in refs if self.wants_campaign(ref)]

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

    # -- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self, entry: Entry, written: Callable[[], None]) -> Answer:
        async with self._own_slots, self._slots:
            put, notification = self.put, self._feed.render(entry)
            body = encoded(notification)
            at, began = self._clock.now_ms(), asyncio.get_running_loop().time()
            try:
                headers = signed_headers(put.secret.split(), notification.id, at // 1_000, body)
            except UnusableSecret as error:
                answer = Answer(status=0, error=str(error))
            else:
                answer = await self._sender.send(
                    Outgoing(
                        method="POST",
                        url=put.url,
                        headers={"Content-Type": "application/json", **headers},
                        body=body,
                        written=written,
                    )
                )
            took_ms = round((asyncio.get_running_loop().time() - began) * 1_000)
        self.attempts.append(
            Delivery(
                at=at,
                notification=notification.id,
                campaign=entry.campaign,
                seq=entry.seq,
                status=answer.status,
                error=answer.error,
                duration_ms=took_ms,
            )
        )
        return answer
