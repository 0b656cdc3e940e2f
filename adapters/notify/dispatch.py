"""All webhooks: as the directory names them, fed by the merger, saved now and then."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

import structlog

from adapters.notify.crew import Crew
from adapters.notify.entry import Entry
from adapters.notify.feed import FeedReader
from adapters.notify.lane import Lane
from adapters.notify.limits import NotifyLimits
from adapters.notify.merger import Merger, campaign_of
from adapters.notify.notice import Notices
from adapters.notify.pace import Pace
from adapters.notify.webhook import Webhook
from adapters.outward.sender import Bounds, Sender
from adapters.outward.target import Targets
from engine.core.webhook import WebhookPut
from engine.ports import Clock, Logs, StoreUnavailable

STORE_RETRY_MS = 500
DONE_POLL_MS = 10
MAX_KNOWN_CAMPAIGNS = 10_000

log = structlog.get_logger(__name__)

USER_AGENT = "Ringfold-Webhooks/1"


def new_sender(limits: NotifyLimits, clock: Clock, targets: Targets) -> Sender:
    bounds = Bounds(
        user_agent=USER_AGENT,
        request_timeout_ms=limits.request_timeout_ms,
        response_bytes=limits.response_bytes,
        max_requests=limits.max_requests,
    )
    return Sender(bounds, clock, targets)


class Dispatch:
    def __init__(
        self,
        store: Logs,
        merger: Merger,
        feed: FeedReader,
        directory: Callable[[], Mapping[str, WebhookPut]],
        limits: NotifyLimits,
        clock: Clock,
        rng: random.Random,
        sender: Sender,
        pace: Pace,
    ) -> None:
        self.webhooks: dict[str, Webhook] = {}
        self._store, self._merger, self._feed, self._directory = store, merger, feed, directory
        self._limits, self._clock, self._rng, self._pace = limits, clock, rng, pace
        self._sender = sender
        self._slots = asyncio.Semaphore(limits.max_requests)
        self._crew = Crew()
        self._notices = Notices(store, self._crew, merger.follow)
        self._changed = asyncio.Event()
        self._wanting: dict[str, tuple[Webhook, ...]] = {}
        """By campaign, who is told of it: found out when it is first asked, and again after any change."""
        merger.listeners.append(self._merged)

    async def start(self) -> None:
        """Raises StoreUnavailable."""
        await self._notices.open()
        self._sender.open()
        self._changed.set()
        self._crew.spawn(self._attend(), "webhooks")
        self._crew.spawn(self._save_now_and_then(), "webhook progress")

    async def stop(self) -> None:
        """Let lanes that are well finish for a moment, then save and let go."""
        for _ in range(self._limits.stop_grace_ms // DONE_POLL_MS):
            if all(one.is_done for one in self.webhooks.values()):
                break
            await asyncio.sleep(DONE_POLL_MS / 1_000)
        await self._crew.close()
        try:
            for one in self.webhooks.values():
                await one.save()
        except StoreUnavailable as error:
            log.warning("webhook progress not saved: some will be delivered again", error=str(error))
        for one in self.webhooks.values():
            await one.close()
        await self._notices.close()
        await self._sender.close()

    @property
    def failed(self) -> BaseException | None:
        return self._crew.failed

    def directory_changed(self) -> None:
        self._changed.set()

    async def written(self, name: str, pos: int) -> None:
        """Return when all webhooks that are well were sent what a log tells up to a position."""
        for lane in self._lanes(name):
            await lane.written(pos)

    def is_written(self, name: str, pos: int) -> bool:
        """Whether they were by now."""
        return all(lane.is_written(pos) for lane in self._lanes(name))

    def _lanes(self, name: str) -> list[Lane]:
        """Of all webhooks that are told of a log."""
        campaign = campaign_of(name)
        found = ((one, one.lanes.get(name)) for one in self.webhooks.values())
        return [lane for one, lane in found if lane is not None and one.wants_campaign(campaign)]

    def _merged(self, name: str, first_pos: int, last_pos: int, entries: Sequence[Entry]) -> None:
        campaign = campaign_of(name)
        wanting = self._wanting.get(campaign)
        if wanting is None:
            if len(self._wanting) >= MAX_KNOWN_CAMPAIGNS:
                self._wanting.clear()
            wanting = tuple(one for one in self.webhooks.values() if one.wants_campaign(campaign))
            self._wanting[campaign] = wanting
        for webhook in wanting:
            webhook.take(name, first_pos, last_pos, entries)

    async def _attend(self) -> None:
        """Keep to what the directory says."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._reconcile(dict(self._directory()))
            except StoreUnavailable as error:
                log.warning("webhooks: the store is unavailable", error=str(error))
                await asyncio.sleep(STORE_RETRY_MS / 1_000)
                self._changed.set()

    async def _reconcile(self, puts: Mapping[str, WebhookPut]) -> None:
        for id_, webhook in list(self.webhooks.items()):
            put = puts.get(id_)
            if put is None or put.since != webhook.put.since:
                del self.webhooks[id_]
                self._wanting.clear()
                await webhook.close()
            elif put != webhook.put:
                self._wanting.clear()  # it wants other campaigns from the first moment of this
                await webhook.change(put)
        for id_, put in puts.items():
            if id_ not in self.webhooks:
                webhook = self._new(put)
                self.webhooks[id_] = webhook
                self._wanting.clear()
                try:
                    await webhook.open()
                except StoreUnavailable:
                    del self.webhooks[id_]
                    self._wanting.clear()
                    await webhook.close()
                    raise

    def _new(self, put: WebhookPut) -> Webhook:
        return Webhook(
            put,
            self._store,
            self._feed,
            self._sender,
            self._slots,
            self._limits,
            self._clock,
            self._rng,
            self._crew,
            self._notices,
            self._pace,
        )

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._limits.save_every_ms / 1_000)
            for webhook in list(self.webhooks.values()):
                try:
                    await webhook.save()
                except StoreUnavailable as error:
                    log.warning("webhook progress not saved", webhook=webhook.put.id, error=str(error))
