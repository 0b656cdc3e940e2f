"""Agents at their desks: they preview, dial or skip, talk, close the contact, and take breaks."""

import asyncio
from random import Random
from typing import Any, Protocol

from engine.actor import NotOwner
from engine.core.agent import Wanted
from engine.core.message import AskAgent, Dial, Dispose, Next, Skip
from engine.core.refusal import Refused
from engine.core.reservation import Phase, Reservation
from simulations.world.scenario import Agents

LOOK_EVERY_S = 1
ANSWER_WITHIN_S = 5
"""After so long without an answer from the engine a client asks again: it may have been killed."""


class Desk(Protocol):
    """What an agent needs of the world."""

    def now_ms(self) -> int: ...
    def new_id(self) -> str: ...
    async def submit(self, command: Any) -> Any: ...
    def held(self, agent: str) -> Reservation | None: ...


class Agent:
    def __init__(self, name: str, desk: Desk, habits: Agents, chance: Random) -> None:
        self.name, self.desk, self.habits, self.chance = name, desk, habits, chance

    async def work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await self._ask(Wanted.AVAILABLE)
                    given = await self._next()
                if not isinstance(given, Reservation):
                    await asyncio.sleep(self._about(10))
                    continue
                await self._treat(given)
                if self.chance.random() < self.habits.pauses:
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        await self._ask(Wanted.PAUSED)
                    await asyncio.sleep(self._about(self.habits.pause_s))
            except (Refused, NotOwner, TimeoutError):
                await asyncio.sleep(self._about(3))

    async def _ask(self, wanted: Wanted) -> None:
        now = self.desk.now_ms()
        await self.desk.submit(AskAgent(at=now, by=self.name, agent=self.name, wanted=wanted, reason="break"))

    async def _next(self) -> Any:
        desk = self.desk
        return await desk.submit(
            Next(at=desk.now_ms(), agent=self.name, reservation=desk.new_id(), token=desk.new_id())
        )

    async def _treat(self, given: Reservation) -> None:
        desk = self.desk
        hand: dict[str, Any] = {"agent": self.name, "reservation": given.id, "token": given.token}
        if given.phase is Phase.OFFERED:
            await asyncio.sleep(self._about(self.habits.preview_s))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if self.chance.random() < self.habits.skips:
                    await desk.submit(Skip(at=desk.now_ms(), **hand, reason="not now"))
                    return
                call, leg = desk.new_id(), desk.new_id()
                await desk.submit(Dial(at=desk.now_ms(), **hand, number=None, call=call, leg=leg))
        while (held := desk.held(self.name)) is not None and held.phase is Phase.DIALING:
            await asyncio.sleep(LOOK_EVERY_S)
        if held is not None and held.id == given.id and held.phase is Phase.WRAPUP:
            await asyncio.sleep(self._about(self.habits.wrapup_s))
            how = self.chance.choice(("engaged", "no_contact", "try_later"))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await desk.submit(Dispose(at=desk.now_ms(), **hand, disposition=how))

    def _about(self, mean_s: float) -> float:
        return self.chance.uniform(0.5, 1.5) * mean_s
