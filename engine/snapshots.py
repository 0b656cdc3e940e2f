"""A campaign's snapshots: when one is due, and that none keeps somebody who was erased."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import structlog

from engine.actor import NotOwner, StoreAway
from engine.core.blocks import AtticUnreadable
from engine.core.book import Snapshot
from engine.ports import EventLog, EventStore, Fenced, StoreUnavailable
from engine.recovery import SNAPSHOT, Keys, Read, pack

RESTS = 20
"""How long none is begun, against what it took to save the last one: in a rush, with a long list, a start had better read more
than the service be always at it."""
MAX_REST_S = 600
DROP_AGAIN_S = 1

log = structlog.get_logger(__name__)


def saving(name: str) -> str:
    """What the task is called that saves a snapshot of this log."""
    return f"snapshot {name}"


class _Begun(NamedTuple):
    pos: int
    drops: int
    before: tuple[int, int]
    """`pos` and `contacts` as they were."""


class Snapshots:
    """Of one campaign whose log is ours. One that can't be saved costs time at the next start, no more."""

    def __init__(
        self,
        store: EventStore,
        opened: EventLog,
        read: Read,
        every: Callable[[int], float],
        drops: Callable[[], int],
        turn: Callable[[], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
        before: "Snapshots | None" = None,
    ) -> None:
        """`every`: after how many events one is due, with so many contacts. `drops`: how often the campaign's snapshots were
        dropped, since somebody was erased. `turn`: has the campaign's mailbox `look` though nothing happens. `before`: those
        of the same log, where it is read again: one that they still save may be of the same position."""
        self.pos = read.snapshot_pos
        """Of the newest, or of the one that is being taken."""
        self.contacts = read.contacts
        """Brought by events behind it: an imported list is few events, and takes a start as long as many."""
        self.is_busy = False
        self._store, self._log, self._book = store, opened, read.book
        self._every, self._drops, self._turn, self._spawn = every, drops, turn, spawn
        self._before = before
        self._rests_until_s = 0.0
        self._will_look = False

    def look(self, pos: int) -> None:
        """Whether one is due, of the book as it is: all up to `pos` is in it, and nothing more."""
        behind = pos - self.pos + self.contacts
        if self.go_on() or behind < self._every(len(self._book.contacts)):
            return
        rest_s = self._rests_until_s - asyncio.get_running_loop().time()
        if rest_s > 0:
            if not self._will_look:
                self._will_look = True
                self._spawn(self._look_after(rest_s), f"rest {self._log.name}")
            return
        begun = _Begun(pos, self._drops(), (self.pos, self.contacts))
        self.pos, self.contacts, self.is_busy = pos, 0, True
        keys = Keys(*self._store.still_keys(self._log.name))
        self._spawn(self._take(begun, self._book.snapshot(), keys), saving(self._log.name))

    def go_on(self) -> bool:
        """Whether one is being saved, by these or by those before, whose book is let go of once it is."""
        if self._before is not None and not self._before.go_on():
            self._before = None
        return self.is_busy or self._before is not None

    def forget(self) -> None:
        """What was kept is gone, and what is being kept will be."""
        self.pos, self.contacts = 0, len(self._book.contacts)

    async def _look_after(self, rest_s: float) -> None:
        """A list that came in a rush may be the last thing that happens for long."""
        await asyncio.sleep(rest_s)
        self._will_look = False
        with contextlib.suppress(NotOwner, StoreAway):
            await self._turn()

    async def _take(self, begun: _Begun, snapshot: Snapshot, keys: Keys) -> None:
        try:
            if await self._is_saved(begun, snapshot, keys):
                if await self._may_stay(begun):
                    await self._log.keep_versions()
                else:
                    await self._drop()
            elif self._drops() != begun.drops:  # the store may have it, and only the answer was lost
                await self._drop()
        except StoreUnavailable as error:
            log.warning("versions not kept", log=self._log.name, pos=begun.pos, error=str(error))
        finally:
            self.is_busy = False

    async def _is_saved(self, begun: _Begun, snapshot: Snapshot, keys: Keys) -> bool:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            await self._store.save_snapshot(SNAPSHOT, self._log.name, begun.pos, pack(snapshot, keys))
        except (StoreUnavailable, AtticUnreadable) as error:
            log.warning("snapshot not saved", log=self._log.name, pos=begun.pos, error=str(error))
            if self._drops() == begun.drops:
                pos, contacts = begun.before
                self.pos, self.contacts = pos, contacts + self.contacts
            return False
        finally:
            self._rests_until_s = loop.time() + min(MAX_REST_S, RESTS * (loop.time() - began_s))
        return True

    async def _may_stay(self, begun: _Begun) -> bool:
        """Not where somebody was erased since it was begun, here or by another owner."""
        try:
            await self._log.hold()
        except Fenced:
            return False
        return self._drops() == begun.drops

    async def _drop(self) -> None:
        """Until it is gone: nobody else looks after it."""
        while True:
            try:
                await self._store.drop_snapshots(self._log.name)
                break
            except StoreUnavailable as error:
                log.warning("snapshot not dropped yet", log=self._log.name, error=str(error))
                await asyncio.sleep(DROP_AGAIN_S)
        self.forget()
