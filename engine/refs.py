"""The refs that contacts have used, kept as they were at a position of the directory's log, so that a start needn't look at
each. Of people there is nothing in it, and who is erased has used a ref all the same: no erasure concerns it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from engine.actor import Actor
from engine.core.blocks import Form
from engine.core.directory import Directory
from engine.core.used import StillRefs, UsedRefs
from engine.ports import DamagedSnapshot, EventLog, EventStore, StoreUnavailable

REFS = "refs.v2"
"""The snapshot's name, and of the part that tells what the others hold."""
SHARE, SMALL_SHARE = 0.1, 0.01
"""Of all refs: so many new ones are kept at once, so many after a rest."""
REST_LOOK_S, REST_LOOKS = 1, 10

log = structlog.get_logger(__name__)


_form = Form(StillRefs)


async def kept_refs(store: EventStore, opened: EventLog) -> tuple[int, UsedRefs]:
    """With the position that they are of. Such as can't be used, or are of more than the log has, cost time, no more."""
    try:
        saved = await store.snapshot(REFS, opened.name)
        if saved is None:
            return 0, UsedRefs()
        pos, parts = saved
        if pos > opened.position:
            raise DamagedSnapshot(f"they are of position {pos}, and the log ends at {opened.position}")
        still = await asyncio.to_thread(_form.read, REFS, parts)
    except (DamagedSnapshot, KeyError, msgspec.DecodeError) as error:
        log.warning("refs that were kept are of no use", log=opened.name, error=str(error))
        return 0, UsedRefs()
    return pos, UsedRefs(still)


async def keep_refs(store: EventStore, opened: EventLog, refs: UsedRefs) -> None:
    """As they are now, with all that the log has. Raises StoreUnavailable."""
    await store.save_snapshot(REFS, opened.name, opened.position, _form.write(REFS, refs.still()))
    await opened.keep_versions()


class RefsKeeper:
    """Keeps them whenever a tenth of them is new, and a while after a hundredth is: what a start has to look at is little,
    and so is what is written once more.
    """

    def __init__(self, store: EventStore, directory: Directory, every: int, spawn: Callable[[Any, str], None]) -> None:
        """What the directory has by now is kept already. `every`: and no sooner than after so many new ones."""
        self._store, self._directory, self._every, self._spawn = store, directory, every, spawn
        self._kept = len(directory.contacts)
        self._is_keeping = False

    def look(self, actor: Actor) -> None:
        """All that the directory has decided is durable now."""
        if not self._is_keeping and self._is_due(SMALL_SHARE):
            self._is_keeping = True
            self._spawn(self._keep(actor), "refs")

    def _is_due(self, share: float) -> bool:
        refs = len(self._directory.contacts)
        return refs - self._kept >= max(self._every * share / SHARE, refs * share)

    async def _keep(self, actor: Actor) -> None:
        """Refs that can't be kept cost time at the next start, no more."""
        try:
            for _ in range(REST_LOOKS):
                if self._is_due(SHARE):
                    break
                await asyncio.sleep(REST_LOOK_S)
            await actor.settled()
            if actor.lost is None:
                self._kept = len(self._directory.contacts)
                await keep_refs(self._store, actor.log, self._directory.contacts)
        except StoreUnavailable as error:
            log.warning("refs not kept", error=str(error))
        finally:
            self._is_keeping = False
