"""The campaigns that this process owns: each a log, the book folded from it, and the mailbox of both."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import structlog

from engine.actor import Actor
from engine.core.blocks import Attic, AtticUnreadable
from engine.core.book import Book, Event, stream_of
from engine.core.claims import Claims
from engine.core.effect import Effect
from engine.core.measure import Measures
from engine.core.message import Message, Resync
from engine.core.process import step
from engine.core.reaction import resume
from engine.core.table import digest
from engine.limits import Limits
from engine.ports import (
    Chance,
    Clock,
    DamagedSnapshot,
    EventLog,
    EventStore,
    Fenced,
    Recorded,
    StoreUnavailable,
)
from engine.recovery import contacts_in, read_book
from engine.snapshots import Snapshots, saving
from engine.tasks import Tasks

CAMPAIGN_PREFIX = "campaign/"
REOPEN_AFTER_MS = 1_000
STANDBY_RETRY_MS = 200
STANDBY_SAY_EVERY = 50
OPEN_EVERY_S = 0.005
"""Another part of a table that is packed since the start: each takes the loop up to a quarter of a millisecond."""

log = structlog.get_logger(__name__)


def log_of(ref: str) -> str:
    return CAMPAIGN_PREFIX + ref


class Running(msgspec.Struct):
    """One campaign in this process: its book (read freely, change never) and its mailbox."""

    book: Book
    actor: Actor
    task: asyncio.Task[None]
    snapshots: Snapshots


async def own(store: EventStore, name: str) -> EventLog:
    """Own a log, however long another owner keeps it: a second process stands by."""
    waited = 0
    while True:
        try:
            return await store.open_log(name)
        except StoreUnavailable as error:
            if waited % STANDBY_SAY_EVERY == 0:
                log.warning("standing by", log=name, reason=str(error))
            waited += 1
            await asyncio.sleep(STANDBY_RETRY_MS / 1_000)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is looked for while millions of objects come that all stay: it took a third of a start's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def by_and_by(open_some: Callable[[], bool]) -> None:
    """Tables of which new contacts look everywhere: the first thousand of an import would open all of it at once."""
    try:
        while True:
            if not open_some():
                return
            await asyncio.sleep(OPEN_EVERY_S)
    except (DamagedSnapshot, ValueError, msgspec.DecodeError):
        log.exception("a part of a snapshot doesn't open")  # whoever needs it fails by it, and no other


class Campaigns:
    """Opens them, reads one again whose loop ended, and lets them go.

    `perform(ref, effects, pos)`: what a campaign wants done, which its log has durable up to `pos`. `attic`: a new one for
    each campaign, where it puts calls away that ended a while ago; None: they stay in memory. `is_draining`: a loop that ends
    is not begun again.
    """

    def __init__(
        self,
        store: EventStore,
        claims: Claims,
        clock: Clock,
        chance: Chance,
        limits: Limits,
        measures: Measures,
        attic: Callable[[], Attic | None],
        tasks: Tasks,
        perform: Callable[[str, Sequence[Effect], int], None],
        committed: Callable[[str, Sequence[Recorded]], None],
        is_draining: Callable[[], bool],
    ) -> None:
        self.by_ref: dict[str, Running] = {}
        self._store, self._claims, self._clock, self._chance = store, claims, clock, chance
        self._limits, self._measures, self._attic, self._tasks = limits, measures, attic, tasks
        self._perform, self._committed, self._is_draining = perform, committed, is_draining
        self._drops: dict[str, int] = {}
        """By campaign, open or not: how often its snapshots were dropped."""

    async def open(self, ref: str, owned: EventLog | None = None) -> Running:
        """Read it and set it going. `owned`: its log, where that is ours already. Raises StoreUnavailable, AtticUnreadable."""
        opened = owned or await self._store.open_log(log_of(ref))
        try:
            with uncollected():
                found = await read_book(self._store, opened, self._attic())
        except BaseException:
            await opened.close()  # or nobody could have it before its lease runs out
            raise
        book, earlier = found.book, self.by_ref.get(ref)
        if earlier is not None:  # read again: until here nothing that it claimed could go to anybody else
            self._claims.forget(earlier.book)
        self._claims.adopt(book)

        def decide(message: Message) -> tuple[list[Event], list[Effect], Any]:
            return step(book, message, self._claims, self._chance.new_id)

        def perform(effects: Sequence[Effect], pos: int) -> None:
            self._perform(ref, effects, pos)
            snapshots.look(pos)

        def committed(name: str, recorded: Sequence[Recorded]) -> None:
            for one in recorded:
                self._claims.release(ref, one.event)
                snapshots.contacts += contacts_in(one.event)
            self._committed(name, recorded)

        limits = self._limits
        actor = Actor(
            opened,
            decide,
            stream_of,
            perform,
            committed,
            limits.mailbox_messages,
            self._measures,
            limits.linger_ms,
        )
        snapshots = Snapshots(
            self._store,
            opened,
            found,
            limits.snapshot_every,
            lambda: self._drops.get(ref, 0),
            actor.caught_up,
            self._tasks.spawn,
            earlier.snapshots if earlier is not None else None,
        )
        task = asyncio.get_running_loop().create_task(actor.run(), name=log_of(ref))
        task.add_done_callback(lambda task: self._ended(ref, task))
        running = self.by_ref[ref] = Running(book, actor, task, snapshots)
        perform(resume(book), opened.position)
        self._tasks.spawn(by_and_by(lambda: book.open_some() or self._store.open_keys(opened.name)), f"tables {ref}")
        return running

    async def close(self, ref: str) -> None:
        """Nothing where it isn't open."""
        running = self.by_ref.pop(ref, None)
        if running is None:
            return
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        await running.actor.log.close()

    async def settled(self) -> None:
        """What was posted to any that is still ours is decided and durable."""
        for one in self.by_ref.values():
            if one.actor.lost is None:
                await one.actor.settled()

    async def drop_snapshots(self, ref: str) -> None:
        """Somebody was erased: what was kept of a campaign before goes, and what is being kept right now."""
        digest.cache_clear()
        running = self.by_ref.get(ref)
        self._drops[ref] = self._drops.get(ref, 0) + 1
        if running is not None:
            running.snapshots.forget()
        await self._store.drop_snapshots(log_of(ref))

    def saves_snapshot(self, ref: str) -> bool:
        """Also of one that isn't open any more, or was opened again since."""
        return self._tasks.is_running(saving(log_of(ref)))

    def _ended(self, ref: str, task: asyncio.Task[None]) -> None:
        """A campaign's loop never ends by itself: read its log again, unless it belongs to somebody else now."""
        error = None if task.cancelled() else task.exception()
        if self._is_draining() or task.cancelled():
            return
        if error is None:
            log.error("campaign lost to another owner: standing by", campaign=ref)
        else:
            log.error("campaign loop failed, reading its log again", campaign=ref, error=repr(error))
        self._tasks.spawn(self._open_again(ref), f"reopen {ref}")

    async def _open_again(self, ref: str) -> None:
        """Own the campaign again as soon as it can be had; until then nothing of it is acted on here."""
        lost = self.by_ref[ref].actor
        with contextlib.suppress(Fenced):
            await lost.log.close()
        running: Running | None = None
        while running is None:
            await asyncio.sleep(REOPEN_AFTER_MS / 1_000)
            try:
                running = await self.open(ref)
            except (StoreUnavailable, AtticUnreadable) as error:
                log.warning("campaign can't be had yet", campaign=ref, reason=str(error))
        if self._claims.pbx_up:
            # Without a fresh list from the PBX nothing is known of the legs: ask about each.
            running.actor.post(Resync(at=self._clock.now_ms(), legs={}, restarted=False))
