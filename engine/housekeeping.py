"""What the dialer tidies up by itself, a little at a time: now and then it looks which campaigns are due for cleaning.

Only the owner of a campaign's log can decide it, and the campaign judges again in its own mailbox. So each is deleted by one
event, whoever restarts or stands by, and one that was started a moment ago is let be.
"""

import asyncio

import structlog

from engine.actor import NotOwner
from engine.app import Engine
from engine.core.campaign import Status
from engine.core.refusal import Refused
from engine.core.retention import Retention, cleaning
from engine.erasure import Erasures
from engine.ports import StoreUnavailable

CLEANED_PER_ROUND = 20
"""Campaigns; the others come a round later."""
ERASE_EVERY_S = 1
BETWEEN_MS = 50
"""Pause after each, so that dialing never waits for more than one."""

ANSWERS_KEPT_MS = 24 * 3_600 * 1_000
"""Answers to requests under an Idempotency-Key."""

log = structlog.get_logger(__name__)


class Housekeeping:
    """Every `every_s` seconds a round, for as long as `run` runs."""

    def __init__(self, engine: Engine, rule: Retention, every_s: int, erasures: Erasures) -> None:
        self.rule = rule
        self.every_s = every_s
        self._engine = engine
        self._erasures = erasures

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._clean_forever(), name="cleaning")
            both.create_task(self._erase_forever(), name="erasures")

    async def _clean_forever(self) -> None:
        while True:
            await self._forget_answers()
            await self.round()
            await asyncio.sleep(self.every_s)

    async def _erase_forever(self) -> None:
        """Whom a call's end or a restart kept waiting."""
        while True:
            if self._erasures.pending:
                await self._erasures.finish()
            await asyncio.sleep(ERASE_EVERY_S)

    async def _forget_answers(self) -> None:
        """Of requests that nobody asks again."""
        try:
            await self._engine.store.forget_answers(self._engine.clock.now_ms() - ANSWERS_KEPT_MS)
        except StoreUnavailable as error:
            log.warning("old answers not forgotten yet", error=str(error))

    async def round(self) -> int:
        """Clean what is due, up to CLEANED_PER_ROUND campaigns; returns how many were."""
        cleaned = 0
        for ref in list(self._engine.campaigns):
            if cleaned == CLEANED_PER_ROUND:
                break
            if await self._clean(ref):
                cleaned += 1
                await asyncio.sleep(BETWEEN_MS / 1_000)
        return cleaned

    async def _clean(self, ref: str) -> bool:
        running = self._engine.campaigns.get(ref)
        if running is None or self._engine.draining:
            return False
        command = cleaning(self.rule, running.book.campaign, self._engine.clock.now_ms())
        if command is None:
            return False
        last_run_at = running.book.campaign.last_run_at
        try:
            await self._engine.submit(ref, command)
        except (Refused, NotOwner, StoreUnavailable) as error:  # busy, or somebody else's by now: the next round looks
            log.warning("campaign not cleaned", campaign=ref, error=str(error))
            return False
        if running.book.campaign.status is not Status.DELETED:
            return False
        log.info("campaign cleaned", campaign=ref, last_run_at=last_run_at, rule=command.reason)
        return True
