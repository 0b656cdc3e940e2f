"""What the dialer tidies up by itself, a little at a time: now and then it looks which campaigns are due for cleaning.

Only the owner of a campaign's log can decide it, and the campaign judges again in its own mailbox. So each is deleted by one
event, whoever restarts or stands by, and one that was started a moment ago is let be.

A deleted campaign's log leaves the store in three steps: it is written into a file that is read back; the directory says so;
its segments are deleted. Whatever comes between, the next round goes on: until the directory has said it nothing is deleted.
"""

import asyncio

import structlog

from engine.actor import NotOwner
from engine.app import Engine
from engine.campaigns import log_of
from engine.core.archive import ArchiveCampaign
from engine.core.campaign import Status
from engine.core.refusal import Refused
from engine.core.retention import CLEANER, Retention, archiving, cleaning
from engine.erasure import Erasures
from engine.ports import Archived, StoreUnavailable

CLEANED_PER_ROUND = 20
"""Campaigns; the others come a round later."""
ARCHIVED_PER_ROUND = 20
"""Logs; the others come a round later."""
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
        self._left: set[str] = set()
        """Archived campaigns of whose logs nothing is in the store any more."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._clean_forever(), name="cleaning")
            both.create_task(self._erase_forever(), name="erasures")

    async def _clean_forever(self) -> None:
        while True:
            await self._forget_answers()
            await self.round()
            await self.archive()
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

    async def archive(self) -> int:
        """Take logs that are due from the store, up to ARCHIVED_PER_ROUND; returns how many were."""
        directory, done = self._engine.directory, 0
        self._left &= directory.archives.archived.keys()
        for ref, deleted_at in list(directory.retired.items()):
            if done == ARCHIVED_PER_ROUND or self._engine.draining:
                break
            try:
                if await self._leave(ref, deleted_at):
                    done += 1
                    await asyncio.sleep(BETWEEN_MS / 1_000)
            except (Refused, NotOwner, StoreUnavailable, OSError, ValueError) as error:
                log.warning("log not archived", campaign=ref, error=str(error))
        return done

    async def _leave(self, ref: str, deleted_at: int) -> bool:
        """Whether a log was taken from the store. Raises what keeps it there."""
        engine, now = self._engine, self._engine.clock.now_ms()
        if ref in self._left:
            return False
        said = engine.directory.archives.archived.get(ref)
        if said is None:
            due_at = archiving(self.rule, engine.directory.archives, ref, deleted_at).due_at
            if not due_at or now < due_at:
                return False
            file = await engine.store.archive(log_of(ref))
            await engine.direct(
                ArchiveCampaign(
                    at=now,
                    ref=ref,
                    file=file.file,
                    sha256=file.sha256,
                    segments=file.segments,
                    events=file.events,
                    by=CLEANER,
                    reason=self.rule.archives,
                )
            )
            log.info("log archived", campaign=ref, file=file.file, events=file.events, rule=self.rule.archives)
        else:  # a crash may have come between
            file = Archived(
                log=log_of(ref), file=said.file, sha256=said.sha256, segments=said.segments, events=said.events
            )
        await engine.store.drop(file)
        self._left.add(ref)
        return said is None
