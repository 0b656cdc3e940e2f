"""A campaign's snapshots: when one is due, and that none keeps somebody who was erased."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from engine.core.book import Snapshot
from engine.ports import EventLog, EventStore, StoreUnavailable
from engine.recovery import SNAPSHOT, Keys, Read, pack

RESTS = 20
"""How long none is begun, against what the last one took: with a long list, in a rush, a start reads more in place of a service
that is always at it."""

log = structlog.get_logger(__name__)


class Snapshots:
    """Of one campaign whose log is ours. One that can't be saved costs time at the next start, no more."""

    def __init__(
        self,
        store: EventStore,
        opened: EventLog,
        read: Read,
        every: Callable[[int], float],
        erased_to: Callable[[], int],
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        """`every`: after how many events one is due, with so many contacts. `erased_to`: up to which position a snapshot may
        hold somebody who was erased since."""
        self.pos = read.snapshot_pos
        """Of the newest."""
        self.contacts = read.contacts
        """Brought by events behind it: an imported list is few events, and takes a start as long as many."""
        self.is_busy = False
        self._store, self._log, self._book = store, opened, read.book
        self._every, self._erased_to, self._spawn = every, erased_to, spawn
        self._rests_until_s = 0.0

    def look(self, pos: int) -> None:
        """Whether one is due, of the book as it is: all up to `pos` is in it, and nothing more."""
        behind = pos - self.pos + self.contacts
        if self.is_busy or behind < self._every(len(self._book.contacts)):
            return
        if asyncio.get_running_loop().time() < self._rests_until_s:
            return
        self.pos, self.contacts, self.is_busy = pos, 0, True
        keys = Keys(*self._store.still_keys(self._log.name))
        self._spawn(self._take(pos, self._book.snapshot(), keys), f"snapshot {self._log.name}")

    def forget(self) -> None:
        """What was kept is gone, and what is being kept will be."""
        self.pos, self.contacts, self._rests_until_s = 0, len(self._book.contacts), 0.0

    async def _take(self, pos: int, snapshot: Snapshot, keys: Keys) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            await self._store.save_snapshot(SNAPSHOT, self._log.name, pos, pack(snapshot, keys))
            if pos <= self._erased_to():
                await self._store.drop_snapshots(self._log.name)
            else:
                await self._log.keep_versions()
        except StoreUnavailable as error:
            log.warning("snapshot not saved", log=self._log.name, pos=pos, error=str(error))
        finally:
            self._rests_until_s = loop.time() + RESTS * (loop.time() - began_s)
            self.is_busy = False
