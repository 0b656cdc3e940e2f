"""Notifications, put together: the feed (engine.ports.Feed) and the webhooks that follow it."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from adapters.notify.catalogue import CATALOGUE
from adapters.notify.content.webhook import WebhookPing
from adapters.notify.crew import Crew
from adapters.notify.dispatch import Dispatch, new_sender
from adapters.notify.feed import FeedReader
from adapters.notify.limits import NotifyLimits
from adapters.notify.merger import Merger
from adapters.notify.notification import AgentName, rfc3339
from adapters.notify.pace import REAL, Pace
from adapters.notify.signing import new_secret, new_signing_key, public_key, signers_of
from adapters.outward.sender import Sender
from adapters.outward.target import ANYWHERE, Targets
from engine.core.book import Book
from engine.core.webhook import Secrets, WebhookPut
from engine.ports import (
    Clock,
    Delivery,
    FeedUndone,
    Lane,
    Logs,
    Notification,
    NotificationType,
    Recorded,
    WebhookReport,
)


class Notifier:
    """Owns the log `feed`; follows all logs `campaign/…`. One per installation.

    `book_of` gives the book of a log that is open in this process, `webhooks` the directory's webhooks by id. `rng`
    draws the feed's id and the jitter of retries. `targets` says where webhooks may go, `pace` how time passes for what waits;
    `sender`, where given, carries the requests instead of HTTP of our own.
    """

    def __init__(
        self,
        store: Logs,
        book_of: Callable[[str], Book | None],
        webhooks: Callable[[], Mapping[str, WebhookPut]],
        clock: Clock,
        limits: NotifyLimits = NotifyLimits(),  # noqa: B008  # frozen
        rng: random.Random | None = None,
        targets: Targets = ANYWHERE,
        agent_name: AgentName = lambda _agent, _at: "",
        pace: Pace = REAL,
        sender: Sender | None = None,
    ) -> None:
        self._clock = clock
        rng = self._rng = rng or random.SystemRandom()
        self._merger = Merger(
            store,
            limits,
            is_open=lambda name: book_of(name) is not None,
            new_feed_id=lambda: f"{rng.getrandbits(128):032x}",
        )
        self._feed = FeedReader(store, self._merger, book_of, limits, agent_name)
        self._dispatch = Dispatch(
            store,
            self._merger,
            self._feed,
            webhooks,
            limits,
            clock,
            rng,
            sender or new_sender(limits, clock, targets),
            pace,
        )
        self._crew = Crew()
        self._limits = limits
        self._merging: asyncio.Task[None] | None = None
        self._stopped = False

    async def own(self) -> None:
        """Wait until the feed is ours: before `start`, by whoever has something to begin only then."""
        await self._merger.own()

    async def start(self) -> None:
        """Read the order back, merge what is new since, then serve. Raises StoreUnavailable."""
        try:
            await self._merger.open()
            self._feed.begin()
            await self._merger.catch_up()
        except BaseException:
            await self._merger.close()
            raise
        await self._dispatch.start()
        self._merger.accompany()
        self._merging = self._crew.spawn(self._merger.run(), "feed")

    async def stop(self) -> None:
        """Merge and send what can be at once, save progress, let the feed's log go. A crash instead loses nothing."""
        self._stopped = True
        self._merger.finish()
        if self._merging is not None:
            # Not cancelled at once: an append that is under way may be durable, and must not be made a second time.
            await asyncio.wait({self._merging}, timeout=self._limits.stop_grace_ms / 1_000)
        await self._crew.close()
        self._merger.advanced.beat()
        await self._dispatch.stop()
        await self._merger.close()

    @property
    def failed(self) -> BaseException | None:
        """What notifications died of, if they did: the process should be restarted."""
        return self._crew.failed or self._dispatch.failed

    def follow(self, log: str, recorded: Sequence[Recorded]) -> None:
        """Durable events of any log, in its order: for Engine.followers. Never blocks."""
        if not self._stopped:
            self._merger.follow(log, recorded)

    # -- engine.ports.Feed -------------------------------------------------------------------------------------------

    @property
    def catalogue(self) -> Mapping[str, NotificationType]:
        return CATALOGUE

    async def read(
        self, after: str, limit: int, campaign: str = "", types: Sequence[str] = (), wait_ms: int = 0
    ) -> tuple[Sequence[Notification], str]:
        return await self._feed.read(after, limit, campaign, types, wait_ms)

    def is_newest(self, cursor: str) -> bool:
        return self._feed.position_of(cursor) == self._feed.order.position

    def listen(
        self, campaign: str, types: Sequence[str], told: Callable[[Sequence[Notification]], None]
    ) -> Callable[[], None]:
        return self._feed.listen(campaign, types, told)

    @property
    def position(self) -> int:
        return self._feed.order.position

    async def cursor_at(self, at: int) -> str:
        return await self._feed.cursor_at(at)

    def lanes(self, webhook: str) -> Sequence[Lane]:
        known = self._dispatch.webhooks.get(webhook)
        return known.reports() if known is not None else ()

    def report(self, webhook: str) -> WebhookReport | None:
        known = self._dispatch.webhooks.get(webhook)
        return known.report() if known is not None else None

    def reports(self) -> Mapping[str, WebhookReport]:
        return {id_: one.report() for id_, one in self._dispatch.webhooks.items()}

    def deliveries(self, webhook: str, limit: int, notification: str = "") -> Sequence[Delivery]:
        known = self._dispatch.webhooks.get(webhook)
        if known is None:
            return ()
        newest = reversed(known.post.attempts)
        return [one for one in newest if notification in ("", one.notification)][:limit]

    async def replay(self, webhook: str, after: str) -> None:
        try:
            n = self._feed.position_of(after)
        except FeedUndone as undone:  # by a restore: everything since is behind the cursor too
            n = self._feed.position_of(undone.cursor)
        known = self._dispatch.webhooks.get(webhook)
        if known is not None:
            await known.replay(n)

    async def resume(self, webhook: str) -> None:
        known = self._dispatch.webhooks.get(webhook)
        if known is not None:
            await known.resume()

    async def try_out(self, webhook: str, by: str, type_: str = "") -> Delivery | None:
        known = self._dispatch.webhooks.get(webhook)
        if known is None:
            return None
        at = rfc3339(self._clock.now_ms())
        if type_:
            notification = CATALOGUE[type_].example
            id_ = f"test_{self._rng.getrandbits(64):016x}"
        else:
            data = msgspec.to_builtins(WebhookPing(webhook=webhook, by=by))
            notification = msgspec.structs.replace(CATALOGUE[WebhookPing.TYPE].example, data=data)
            id_ = f"ping_{self._rng.getrandbits(64):016x}"
        return await known.try_out(msgspec.structs.replace(notification, id=id_, time=at, cursor="", seq=0))

    def new_secrets(self) -> Secrets:
        return Secrets(secret=new_secret(), signing_key=new_signing_key())

    def public_keys(self, put: WebhookPut) -> Sequence[str]:
        return [public_key(one) for one in signers_of(put, self._clock.now_ms()).keys]

    def webhooks_changed(self) -> None:
        self._dispatch.directory_changed()

    def is_announced(self, log: str, pos: int) -> bool:
        return self._feed.order.log(log).seen >= pos and self._dispatch.is_written(log, pos)

    async def announced(self, log: str, pos: int) -> None:
        while self._feed.order.log(log).seen < pos:
            if self._stopped:
                return
            await self._merger.advanced.wait()
        await self._dispatch.written(log, pos)
