"""The notifier's own news: which receivers are parked. A log like any other, so that it is told, and known after a restart.

It is opened by the first notice: most installations have none.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from adapters.notify.content.base import Content, Fact, rfc3339
from adapters.notify.content.webhook import Reason
from adapters.notify.content.webhook import WebhookParked as ParkedTold
from adapters.notify.content.webhook import WebhookResumed as ResumedTold
from adapters.notify.crew import Crew
from engine.ports import ANY, Append, EventLog, Logs, Recorded, StoreUnavailable

NOTICES_LOG = NOTICES_STREAM = "notices"
STORE_RETRY_MS = 500

log = structlog.get_logger(__name__)


class WebhookParked(msgspec.Struct, frozen=True, kw_only=True, tag="webhook.parked.v1"):
    """No more is sent to a webhook, or of one campaign (else ""). `since` tells it from one of the same id before it."""

    at: int
    webhook: str
    since: int
    campaign: str
    reason: Reason
    error: str
    failing_since: int


class WebhookResumed(msgspec.Struct, frozen=True, kw_only=True, tag="webhook.resumed.v1"):
    """Everything of it goes on."""

    at: int
    webhook: str
    since: int


NoticeEvent = WebhookParked | WebhookResumed
"""All events of the log `notices`. Their tags are storage: never reuse or rename one."""


def fact(event: NoticeEvent) -> Fact:
    data: Content
    if isinstance(event, WebhookResumed):
        data = ResumedTold(webhook=event.webhook)
    else:
        data = ParkedTold(
            webhook=event.webhook,
            campaign=event.campaign or None,
            reason=event.reason,
            error=event.error,
            failing_since=rfc3339(event.failing_since) if event.failing_since else None,
        )
    return Fact(at=event.at, data=data)


class Notices:
    """`told` is handed what was written, as a follower of the log is."""

    def __init__(self, store: Logs, crew: Crew, told: Callable[[str, Sequence[Recorded]], None]) -> None:
        self._store, self._crew, self._told = store, crew, told
        self._parked: dict[tuple[str, int], dict[str, WebhookParked]] = {}
        self._log: EventLog | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Read back who is parked. Raises StoreUnavailable."""
        async for batch in self._store.read(NOTICES_LOG):
            for one in batch:
                self._apply(one.event)

    def parked(self, webhook: str, since: int) -> dict[str, WebhookParked]:
        """By campaign; "" is all of them."""
        return dict(self._parked.get((webhook, since), {}))

    async def add(self, event: NoticeEvent) -> None:
        """Write it down, however long that takes; who waits for it may be cancelled, the writing is not."""
        await asyncio.shield(self._crew.spawn(self._add(event), f"notice {event.webhook}"))

    async def settled(self) -> None:
        """Return when nothing is being written."""
        async with self._writing:
            pass

    async def close(self) -> None:
        if self._log is not None:
            await self._log.close()

    async def _add(self, event: NoticeEvent) -> None:
        async with self._writing:
            written = await self._append(event)
            self._apply(event)
            self._told(NOTICES_LOG, written)

    async def _append(self, event: NoticeEvent) -> Sequence[Recorded]:
        while True:
            try:
                if self._log is None:
                    self._log = await self._store.open_log(NOTICES_LOG)
                return await self._log.append([Append(NOTICES_STREAM, ANY, [event])])
            except StoreUnavailable as error:
                log.warning("notices: the store is unavailable", error=str(error))
                await asyncio.sleep(STORE_RETRY_MS / 1_000)

    def _apply(self, event: NoticeEvent) -> None:
        key = event.webhook, event.since
        if isinstance(event, WebhookParked):
            self._parked.setdefault(key, {})[event.campaign] = event
        else:
            self._parked.pop(key, None)
