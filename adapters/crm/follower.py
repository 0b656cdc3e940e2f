"""Reads the campaigns' logs in order, from where it left off. What the engine hands over is used where it continues what
was seen; anything else is a hint only, and the store is read."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from adapters.crm.limits import CrmLimits
from adapters.notify.merger import CAMPAIGN_PREFIX, closing
from engine.ports import Logs, Recorded, StoreUnavailable

CHECKPOINT = "crm"
STORE_RETRY_MS = 500

log = structlog.get_logger(__name__)


class Follower:
    """`take` is given each log's events once and in order, and returns when there is room for more."""

    def __init__(
        self,
        store: Logs,
        limits: CrmLimits,
        campaigns: Callable[[], Collection[str]],
        take: Callable[[str, Sequence[Recorded]], Awaitable[None]],
    ) -> None:
        self.seen: dict[str, int] = {}
        self._store, self._limits, self._campaigns, self._take = store, limits, campaigns, take
        self._pending: dict[str, list[Recorded] | None] = {}
        self._pending_events = 0
        self._arrived = asyncio.Event()

    def follow(self, name: str, recorded: Sequence[Recorded]) -> None:
        """Durable events of a log; logs that aren't a campaign's are passed over. Never blocks."""
        if not name.startswith(CAMPAIGN_PREFIX) or not recorded:
            return
        known = self._pending.setdefault(name, [])
        if known is None:
            return  # to be read from the store anyway
        if self._pending_events + len(recorded) > self._limits.pending_events:
            self._pending_events -= len(known)
            self._pending[name] = None
        else:
            known.extend(recorded)
            self._pending_events += len(recorded)
        self._arrived.set()

    async def run(self) -> None:
        """For ever: what is new, and now and then every open log, for a hint can be lost."""
        loop = asyncio.get_running_loop()
        sweep_at = loop.time()
        while True:
            if loop.time() >= sweep_at:
                self._pending.update({CAMPAIGN_PREFIX + ref: None for ref in self._campaigns()})
                self._pending_events = sum(len(one) for one in self._pending.values() if one is not None)
                sweep_at = loop.time() + self._limits.sweep_ms / 1_000
            try:
                await self._read_on()
            except StoreUnavailable as error:
                log.warning("crm: the store is unavailable", error=str(error))
                await asyncio.sleep(STORE_RETRY_MS / 1_000)
                sweep_at = loop.time()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(sweep_at):
                    await self._arrived.wait()

    async def _read_on(self) -> None:
        """Raises StoreUnavailable: what was handed over is then forgotten, and read by the next sweep."""
        self._arrived.clear()
        pending, self._pending, self._pending_events = self._pending, {}, 0
        for name, recorded in pending.items():
            if name not in self.seen:
                self.seen[name] = await self._store.checkpoint(CHECKPOINT, name)
            fresh = None if recorded is None else [one for one in recorded if one.pos > self.seen[name]]
            if fresh is not None and all(one.pos == pos for pos, one in enumerate(fresh, self.seen[name] + 1)):
                await self._hand_on(name, fresh)
                continue
            async with closing(self._store.read(name, self.seen[name])) as batches:
                async for batch in batches:
                    await self._hand_on(name, batch)

    async def _hand_on(self, name: str, events: Sequence[Recorded]) -> None:
        if events:
            await self._take(name.removeprefix(CAMPAIGN_PREFIX), events)
            self.seen[name] = events[-1].pos
