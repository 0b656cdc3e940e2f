"""The calls to CRMs, put together: owns the log `crm`, follows the campaigns' logs, answers for what became of each.

It asks for nothing of the service's start: a CRM is told late rather than a call placed late.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import structlog

from adapters.crm.dispatch import Dispatch
from adapters.crm.event import CRM_LOG
from adapters.crm.follower import CHECKPOINT, Follower
from adapters.crm.ledger import Ledger
from adapters.crm.limits import CrmLimits
from adapters.crm.permit import Permit
from adapters.notify.crew import Crew, halt
from adapters.notify.merger import CAMPAIGN_PREFIX
from adapters.outward.sender import Bounds, Sender
from adapters.outward.target import ANYWHERE, Targets
from engine.core.book import Book
from engine.core.interaction import Target
from engine.ports import Clock, EventLog, Logs, Recorded, StoreUnavailable

OWN_RETRY_MS = 200
DONE_POLL_MS = 10

USER_AGENT = "Ringfold-CRM/1"

log = structlog.get_logger(__name__)


class Crm:
    """`campaigns` gives the refs of those that are open in this process, `book_of` the book of one of them."""

    def __init__(
        self,
        store: Logs,
        campaigns: Callable[[], Collection[str]],
        book_of: Callable[[str], Book | None],
        agent_name: Callable[[str], str],
        clock: Clock,
        permit: Permit,
        limits: CrmLimits = CrmLimits(),  # noqa: B008  # frozen
        targets: Targets = ANYWHERE,
        rng: random.Random | None = None,
        sender: Sender | None = None,
    ) -> None:
        self._store, self._campaigns, self._book_of = store, campaigns, book_of
        self._agent_name, self._clock = agent_name, clock
        self._permit, self._limits = permit, limits
        self._rng = rng or random.SystemRandom()
        self._sender = sender or Sender(
            Bounds(
                user_agent=USER_AGENT,
                request_timeout_ms=limits.request_timeout_ms,
                response_bytes=limits.response_bytes,
                max_requests=limits.max_requests,
            ),
            clock,
            targets,
        )
        self._ledger = Ledger()
        self._tasks, self._attempts = Crew(), Crew()
        self._follower = Follower(store, limits, campaigns, self._taken)
        self._dispatch: Dispatch | None = None
        self._log: EventLog | None = None
        self._saved: dict[str, int] = {}

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin in the background. Where no host is allowed there is nothing to do, now or later."""
        if self._permit.hosts:
            self._sender.open()
            self._tasks.spawn(self._run(), "crm")

    async def stop(self) -> None:
        """Wait a moment for answers that are under way, save progress, let the log go. A crash instead loses nothing."""
        await self._tasks.close()
        for _ in range(self._limits.stop_grace_ms // DONE_POLL_MS):
            if self._dispatch is None or not self._dispatch.under_way:
                break
            await asyncio.sleep(DONE_POLL_MS / 1_000)
        await self._attempts.close()
        try:
            await self._save()
        except StoreUnavailable as error:
            log.warning("crm: progress not saved, some of the logs will be read again", error=str(error))
        if self._log is not None:
            await self._log.close()
        await self._sender.close()

    @property
    def failed(self) -> BaseException | None:
        """What it died of, if it did: the process should be restarted."""
        return self._tasks.failed or self._attempts.failed

    async def _run(self) -> None:
        opened = await self._own()
        async for batch in opened.read():
            for one in batch:
                self._ledger.apply(one.event)
        self._ledger.keep(self._campaigns())
        self._dispatch = Dispatch(
            opened,
            self._ledger,
            self._sender,
            self._permit,
            self._book_of,
            self._agent_name,
            self._limits,
            self._clock,
            self._rng,
            self._attempts,
        )
        parts = [
            self._tasks.spawn(self._dispatch.run(), "crm dispatch"),
            self._tasks.spawn(self._follower.run(), "crm follower"),
            self._tasks.spawn(self._save_now_and_then(), "crm progress"),
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await halt(*parts)

    async def _own(self) -> EventLog:
        while self._log is None:
            try:
                self._log = await self._store.open_log(CRM_LOG)
            except StoreUnavailable as error:
                log.warning("crm: not ours yet", reason=str(error))
                await asyncio.sleep(OWN_RETRY_MS / 1_000)
        return self._log

    async def _taken(self, campaign: str, events: Sequence[Recorded]) -> None:
        assert self._dispatch is not None
        await self._dispatch.take(campaign, events)

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._limits.save_every_ms / 1_000)
            try:
                await self._save()
            except StoreUnavailable as error:
                log.warning("crm: progress not saved", error=str(error))

    async def _save(self) -> None:
        if self._dispatch is None:
            return
        for name, seen in list(self._follower.seen.items()):
            done = self._dispatch.done_pos(name.removeprefix(CAMPAIGN_PREFIX), seen)
            if done > self._saved.get(name, 0):
                await self._store.save_checkpoint(CHECKPOINT, name, done)
                self._saved[name] = done

    # -- what others ask ----------------------------------------------------------------------------------------------

    def follow(self, name: str, recorded: Sequence[Recorded]) -> None:
        """Durable events of any log, in its order: for Engine.followers. Never blocks."""
        if self._permit.hosts:
            self._follower.follow(name, recorded)

    def check(self, targets: Sequence[Target]) -> None:
        """Raises Refused naming the setting that leads where no campaign may."""
        self._permit.check(targets)

    def of_call(self, call: str) -> Sequence[Mapping[str, Any]]:
        """What the CRM was told of a call by the service, in the order it happened. Times in epoch ms, 0 for none."""
        tried = {(one.campaign, one.pos): one for one in self._ledger.of_call(call)}
        untried = [
            due
            for ref, waiting in (self._dispatch.waiting if self._dispatch else {}).items()
            for due in waiting.by_pos.values()
            if due.call == call and (ref, due.pos) not in tried
        ]
        rows: list[tuple[int, Mapping[str, Any]]] = [
            (due.pos, _row(due.trigger, "pending", 0, 0, "", 0, due.at)) for due in untried
        ]
        rows += [
            (one.pos, _row(one.trigger, one.result, one.attempts, one.status, one.error, one.at, one.retry_at))
            for one in tried.values()
        ]
        return [row for _, row in sorted(rows, key=lambda found: found[0])]


def _row(
    trigger: str, status: str, attempts: int, http_status: int, error: str, at: int, retry_at: int
) -> Mapping[str, Any]:
    return {
        "trigger": trigger,
        "status": status,
        "attempts": attempts,
        "http_status": http_status or None,
        "last_error": error or None,
        "at": at,
        "retry_at": retry_at,
    }
