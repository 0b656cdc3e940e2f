"""What goes wrong in a world: each kind of fault strikes at moments of its own, so that one more or less moves no other."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from simulations.world.moment import Death, Moment
from simulations.world.receiver import Trouble

if TYPE_CHECKING:
    from simulations.world.world import World

FROZEN_S = (5, 60)
"""A lease lasts 10 s: some wake up in time."""
AWAKE_S = 30
"""How long the one that woke up may believe that it is the owner, before it is ended."""
CLOCK_STEP_S = 3_600
SPELL_S = (1, 90)
"""Store and PBX are away, slow or deaf for so long."""
MOST_TURNS = 400
PATIENCE_S = 120
"""A death that waits for a commit, when nobody does anything, is called off after so long."""
VANISHED_S = 1_800
GONE_AFTER_S = 360
LOOK_EVERY_S = 5


class Storm:
    """`counts` tells how often each kind has struck: one that never did proves nothing."""

    def __init__(self, world: "World", death: Death | None = None) -> None:
        self.world, self._death = world, death
        self.counts = Counter[str]()
        self.restarts = 0
        """Of processes that had ended by themselves."""
        self._one_life = asyncio.Lock()
        """Whoever kills, freezes or starts the engine does so alone."""

    def work(self) -> list[Coroutine[Any, Any, None]]:
        rates = msgspec.structs.asdict(self.world.scenario.faults)
        strikes = [self._now_and_then(name, per_hour) for name, per_hour in rates.items() if per_hour]
        gone_h = self.world.scenario.receiver_gone_h
        strikes += [self._receiver_goes(gone_h)] if gone_h else []
        return strikes if self._death is None else [*strikes, self._die_once(self._death)]

    async def _die_once(self, death: Death) -> None:
        """`death.count` is from the world's beginning."""
        async with self._one_life:
            await self.world.moments.death_at(death.moment, death.count - self.world.moments.passed[death.moment])
            await self.world.revive()

    async def _now_and_then(self, name: str, per_hour: float) -> None:
        chance = Random(f"{self.world.seed}/fault/{name}")
        strike: Callable[[Random], Awaitable[bool]] = getattr(self, f"_{name}")
        while True:
            await asyncio.sleep(chance.expovariate(per_hour / 3_600))
            if await strike(chance):
                self.counts[name] += 1

    async def supervise(self) -> None:
        """A process that ends by itself is started again. One that isn't the newest goes on, which is worse."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._one_life.locked() and self.world.has_failed:
                async with self._one_life:
                    self.world.loop.kill(self.world.lives)
                    await self.world.revive()
                    self.restarts += 1

    async def calm(self) -> None:
        """Everything that was taken away is given back; the engine lives."""
        world = self.world
        world.store.down_until_s = world.store.slow_until_s = 0
        world.store.lose_before = world.store.lose_after = 0
        world.pbx.refuse_connections(False)
        world.pbx.stall(False)
        world.pbx.spare()
        world.receiver.spare()
        world.crm_end.spare()
        for which in range(1, world.lives):  # one that woke up may own the campaign, and would keep it
            world.loop.kill(which)
        for which in list(world.loop.frozen):
            world.loop.kill(which)
            world.loop.thaw(which)
        async with self._one_life:
            await world.revive()

    # -- the engine ----------------------------------------------------------------------------------------------------

    async def _crashes(self, chance: Random) -> bool:
        return await self._die(Moment.TURN, chance.randint(1, MOST_TURNS), chance)

    async def _crashes_at_commit(self, chance: Random) -> bool:
        return await self._die(chance.choice((Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)), chance.randint(1, 3), chance)

    async def _crashes_at_effect(self, chance: Random) -> bool:
        return await self._die(chance.choice((Moment.BEFORE_EFFECT, Moment.AFTER_EFFECT)), chance.randint(1, 3), chance)

    async def _die(self, moment: Moment, count: int, chance: Random) -> bool:
        async with self._one_life:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self.world.moments.death_at(moment, count)
            except TimeoutError:
                return False
            await asyncio.sleep(chance.uniform(0.5, 5))
            await self.world.revive()
            return True

    async def _freezes(self, chance: Random) -> bool:
        """The process stands still, another takes over, and then the first goes on as if nothing had happened."""
        loop, world = self.world.loop, self.world
        async with self._one_life:
            frozen = world.lives
            try:
                async with asyncio.timeout(PATIENCE_S):
                    moment = chance.choice((Moment.AFTER_COMMIT, Moment.BEFORE_COMMIT, Moment.TURN))
                    await world.moments.death_at(moment, chance.randint(1, 20), freeze=True)
            except TimeoutError:
                return False
            await world.boot()
            await asyncio.sleep(chance.uniform(*FROZEN_S))
            loop.thaw(frozen)
            await asyncio.sleep(AWAKE_S)
            loop.kill(frozen)
            await world.revive()
            return True

    async def _clock_steps(self, chance: Random) -> bool:
        """The clock on the engine's wall is put right, or wrong; how long things take doesn't change."""
        self.world.clock_step_ms += round(chance.uniform(-CLOCK_STEP_S, CLOCK_STEP_S) * 1_000)
        return True

    # -- the store -----------------------------------------------------------------------------------------------------

    async def _broken_appends(self, chance: Random) -> bool:
        """The connection breaks before a commit, or after it: the engine can't tell which."""
        if chance.random() < 0.5:
            self.world.store.lose_before += chance.randint(1, 3)
        else:
            self.world.store.lose_after += 1
        return True

    async def _store_outages(self, chance: Random) -> bool:
        """Away, or full: nothing can be read or written."""
        self.world.store.down_until_s = self.world.loop.time() + chance.uniform(*SPELL_S)
        return True

    async def _slow_stores(self, chance: Random) -> bool:
        self.world.store.slow_until_s = self.world.loop.time() + chance.uniform(*SPELL_S)
        return True

    # -- the PBX -------------------------------------------------------------------------------------------------------

    async def _cuts(self, _chance: Random) -> bool:
        self.world.pbx.cut()
        return True

    async def _cut_originates(self, chance: Random) -> bool:
        before, performed = chance.random() < 0.5, chance.random() < 0.5
        self.world.pbx.cut_on("Originate", before_response=before, performed=performed)
        return True

    async def _half_open(self, _chance: Random) -> bool:
        self.world.pbx.half_open()
        return True

    async def _deaf_spells(self, chance: Random) -> bool:
        """The PBX doesn't read for a while."""
        self.world.pbx.stall()
        await asyncio.sleep(chance.uniform(*SPELL_S))
        self.world.pbx.stall(False)
        return True

    async def _outages(self, chance: Random) -> bool:
        """It can't be reached for a while, and some hang up meanwhile: nobody hears of it."""
        pbx = self.world.pbx
        pbx.refuse_connections()
        pbx.cut()
        for leg in pbx.live:
            if chance.random() < 0.5:
                pbx.hang_up(leg.uid)
        await asyncio.sleep(chance.uniform(*SPELL_S))
        pbx.refuse_connections(False)
        return True

    async def _pbx_restarts(self, chance: Random) -> bool:
        self.world.pbx.restart(announced=chance.random() < 0.5)
        return True

    async def _failure_storms(self, chance: Random) -> bool:
        """The PBX has no resources left: the next originates fail without a channel."""
        self.world.pbx.fail_originates(chance.randint(1, 10))
        return True

    # -- people --------------------------------------------------------------------------------------------------------

    async def _vanishing_agents(self, chance: Random) -> bool:
        """Somebody leaves without a word, on the phone or not, and comes back much later."""
        name = chance.choice(sorted(self.world.crew))
        if chance.random() < 0.5:
            for leg in self.world.pbx.live:
                if f"/{name}-" in leg.name:
                    self.world.pbx.hang_up(leg.uid)
        self.world.send_away(name, chance.uniform(60, VANISHED_S))
        return True

    # -- who is told ---------------------------------------------------------------------------------------------------

    async def _receiver_troubles(self, chance: Random) -> bool:
        world = self.world
        whose = chance.choice((world.receiver, world.crm_end)) if world.scenario.rules.crm else world.receiver
        whose.trouble(chance.choice(list(Trouble)), chance.uniform(*SPELL_S))
        return True

    async def _receiver_goes(self, for_h: float) -> None:
        """However its other troubles begin and end meanwhile."""
        await asyncio.sleep(GONE_AFTER_S)
        self.world.receiver.go(for_h * 3_600)
