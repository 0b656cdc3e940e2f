"""What strikes: each fault begins, lasts for a while, and is mended."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from random import Random

from simulations.ordeal.floor import Floor

MEND_ATTEMPTS = 40
"""A PostgreSQL whose first process was killed refuses to start until the others have noticed."""
MEND_AGAIN_S = 0.25


class Fault(StrEnum):
    ENGINE_KILLED = "engine_killed"
    ENGINE_FROZEN = "engine_frozen"
    PBX_KILLED = "pbx_killed"
    PBX_FROZEN = "pbx_frozen"
    PBX_LINE_CUT = "pbx_line_cut"
    PBX_LINE_DEAD = "pbx_line_dead"
    STORE_KILLED = "store_killed"
    STORE_STOPPED = "store_stopped"
    """As by `pg_ctl stop -m immediate`."""
    STORE_LINE_CUT = "store_line_cut"
    STORE_LINE_DEAD = "store_line_dead"
    STORE_DISK_FULL = "store_disk_full"

    @property
    def part(self) -> str:
        """What it strikes: `engine`, `pbx` or `store`. Two faults at once are never of the same."""
        return self.partition("_")[0]


LASTS_S: dict[Fault, tuple[float, float]] = {
    Fault.ENGINE_KILLED: (0.0, 2.0),
    Fault.ENGINE_FROZEN: (0.5, 8.0),  # beyond the lease's five seconds
    Fault.PBX_KILLED: (0.0, 3.0),
    Fault.PBX_FROZEN: (0.5, 7.0),  # beyond the silence after which the connection counts as lost
    Fault.PBX_LINE_CUT: (0.0, 2.0),
    Fault.PBX_LINE_DEAD: (1.0, 8.0),
    Fault.STORE_KILLED: (0.0, 3.0),
    Fault.STORE_STOPPED: (0.0, 3.0),
    Fault.STORE_LINE_CUT: (0.0, 1.0),
    Fault.STORE_LINE_DEAD: (0.5, 7.0),
    Fault.STORE_DISK_FULL: (1.0, 12.0),  # beyond the time that a command waits
}


class Storm:
    """Strikes a floor at moments that the seed draws; now and then a second fault while the first one lasts."""

    def __init__(self, floor: Floor, chance: Random, *, pause_s: tuple[float, float], second: float) -> None:
        self.struck: Counter[Fault] = Counter()
        self.pbx_deaths: list[float] = []
        """Epoch seconds: whatever channel lived then is gone since."""
        self._floor, self._chance = floor, chance
        self._pause_s, self._second = pause_s, second
        self._left: list[Fault] = []

    async def rage(self, for_s: float) -> None:
        """Return when the time is over and everything is mended."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            await asyncio.sleep(self._chance.uniform(*self._pause_s))
            faults = [self._draw()]
            if self._chance.random() < self._second:
                faults.append(self._draw())
            if faults[0].part == faults[-1].part:
                del faults[1:]
            faults.sort(key=lambda one: one is not Fault.ENGINE_KILLED)  # the engine is started last
            async with AsyncExitStack() as stack:
                for fault in faults:
                    await stack.enter_async_context(self.broken(fault))
                    await asyncio.sleep(self._chance.uniform(*LASTS_S[fault]))

    @asynccontextmanager
    async def broken(self, fault: Fault) -> AsyncIterator[None]:
        self.struck[fault] += 1
        mend = await self._strike(fault)
        try:
            yield
        finally:
            await mend()

    def _draw(self) -> Fault:
        """Each before any comes again, so that a short run has them all."""
        if not self._left:
            known = [one for one in Fault if self._can_strike(one)]
            self._left = self._chance.sample(known, len(known))
        return self._left.pop()

    def _can_strike(self, fault: Fault) -> bool:
        if fault is Fault.STORE_DISK_FULL:
            return self._floor.disk is not None
        return self._floor.postgres is not None or fault.part != "store"

    async def _strike(self, fault: Fault) -> Callable[[], Awaitable[None]]:
        """Do it, and return what mends it."""
        floor, pbx = self._floor, self._floor.site.asterisk
        match fault:
            case Fault.ENGINE_KILLED:
                await floor.keeper.kill()
                return floor.keeper.start
            case Fault.ENGINE_FROZEN:
                floor.engine.signal(signal.SIGSTOP)
                return _at_once(lambda: floor.engine.signal(signal.SIGCONT))
            case Fault.PBX_KILLED:
                self.pbx_deaths.append(time.time())
                await pbx.kill()
                return pbx.start
            case Fault.PBX_FROZEN:
                pbx.freeze()
                return _at_once(pbx.thaw)
            case Fault.PBX_LINE_CUT:
                floor.pbx_line.cut()
                return _at_once(floor.pbx_line.cut)
            case Fault.PBX_LINE_DEAD:
                floor.pbx_line.freeze()
                return _at_once(floor.pbx_line.thaw)
            case Fault.STORE_LINE_CUT:
                floor.store_line.cut()
                return _at_once(floor.store_line.cut)
            case Fault.STORE_LINE_DEAD:
                floor.store_line.freeze()
                return _at_once(floor.store_line.thaw)
            case Fault.STORE_KILLED | Fault.STORE_STOPPED:
                how = signal.SIGKILL if fault is Fault.STORE_KILLED else signal.SIGQUIT
                assert floor.postgres is not None
                await asyncio.to_thread(floor.postgres.stop, how)
                return self._start_store
            case Fault.STORE_DISK_FULL:
                assert floor.disk is not None
                await asyncio.to_thread(floor.disk.fill)
                return self._free_disk

    async def _free_disk(self) -> None:
        """A PostgreSQL whose log had no room has ended itself, or is about to while it comes up again."""
        assert self._floor.disk is not None
        await asyncio.to_thread(self._floor.disk.free)
        if self._floor.postgres is None:
            return None
        for _ in range(MEND_ATTEMPTS):
            if not self._floor.postgres.is_running:
                return await self._start_store()
            if await asyncio.to_thread(self._floor.postgres.is_ready):
                return None
            await asyncio.sleep(MEND_AGAIN_S)
        raise RuntimeError("PostgreSQL doesn't come up though its disk has room again")

    async def _start_store(self) -> None:
        assert self._floor.postgres is not None
        for attempt in range(1, MEND_ATTEMPTS + 1):
            try:
                await asyncio.to_thread(self._floor.postgres.start)
                break
            except RuntimeError:
                if attempt == MEND_ATTEMPTS:
                    raise
                await asyncio.sleep(MEND_AGAIN_S)


def _at_once(mend: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def mended() -> None:
        mend()

    return mended
