"""The engine's store and telephony, as it would have them, with moments at which it may die or be let down."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from engine.core.telephony import TelephonyEffect
from eventstore.memory import MemoryStore
from eventstore.store import Disconnected, Placed, Segment
from simulations.world.moment import Moment, Moments

ANSWER_S = (0.0002, 0.003)
"""How long a healthy store takes to a durable answer."""


class FaultyStore:
    """One store for all lives of the engine; `Store` takes it for a segment store. Everything unnamed is as in memory."""

    kind = "memory"

    def __init__(
        self,
        inner: MemoryStore,
        now_s: Callable[[], float],
        chance: Random,
        moments: Moments,
        durable: Callable[[str, Segment], Awaitable[None]],
    ) -> None:
        self.inner, self.moments, self._durable = inner, moments, durable
        self._now_s, self._chance = now_s, chance
        self.down_until_s = self.slow_until_s = 0.0
        self.lose_before = self.lose_after = 0
        """How many of the next appends break off before, and after, they are durable."""
        self.unknown = self.refused = 0
        """Appends whose answer was lost: durable ones, and others."""

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self.inner, name)

        async def reached(*args: Any) -> Any:
            await self._reach()
            return await asked(*args)

        return reached

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        await self._reach()
        await self.moments.suspend_at(Moment.BEFORE_COMMIT)
        if self.lose_before:
            self.lose_before -= 1
            self.refused += 1
            raise Disconnected("the connection broke before the commit")
        done = await self.inner.append(log, segment, keys, beside)
        if done:
            await self._durable(log, segment)
        await self.moments.suspend_at(Moment.AFTER_COMMIT)
        if self.lose_after:
            self.lose_after -= 1
            self.unknown += 1
            raise Disconnected("the connection broke after the commit")
        return done

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        await self._reach()
        return await self.inner.segments(log, after_pos, limit)

    async def _reach(self) -> None:
        now_s = self._now_s()
        await asyncio.sleep(
            self._chance.uniform(*ANSWER_S) if now_s >= self.slow_until_s else self._chance.uniform(0, 2)
        )
        if self._now_s() < self.down_until_s:
            raise Disconnected("the store is away")


class FaultyTelephony(AmiTelephony):
    """The real adapter; whoever dies at an effect dies before or after it was handed over."""

    def __init__(
        self,
        settings: AmiSettings,
        now_ms: Callable[[], int],
        moments: Moments,
        told: Callable[[TelephonyEffect], None],
    ) -> None:
        super().__init__(settings, now_ms)
        self._moments, self._told = moments, told

    def perform(self, effect: TelephonyEffect) -> None:
        if self._moments.dies_at(Moment.BEFORE_EFFECT):
            return
        super().perform(effect)
        self._moments.dies_at(Moment.AFTER_EFFECT)

    def _send(self, effect: Any) -> None:
        self._told(effect)
        super()._send(effect)
