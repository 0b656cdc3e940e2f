"""Moments at which the engine can be killed: around every commit, around every effect, and between any two turns of its loop.

They are counted, so that a run can be had again with a death at the n-th of them.
"""

import asyncio
import math
from collections import Counter
from enum import StrEnum

import msgspec

from simulations.world.loop import VirtualLoop, life


class Moment(StrEnum):
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"  # durable, and nobody was told
    BEFORE_EFFECT = "before effect"
    AFTER_EFFECT = "after effect"
    TURN = "turn"  # any step of any task of the engine

    __hash__ = str.__hash__  # Enum's is written in Python, and asked for at every turn


class Death(msgspec.Struct, frozen=True):
    """Of the engine, at the count-th such moment."""

    moment: Moment
    count: int


class Moments:
    """Counts them as they pass; kills the life that comes to the one that was asked for."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.struck = Counter[Moment]()
        self._passed = Counter[Moment]()
        """But for turns, which the loop counts: there are a hundred times as many as of all others."""
        self._loop = loop
        self._wanted: tuple[Moment, int] | None = None
        self._strike = loop.kill
        self._died: asyncio.Future[None] | None = None

    @property
    def passed(self) -> Counter[Moment]:
        return Counter({**self._passed, Moment.TURN: self._loop.turns})

    async def death_at(self, moment: Moment, count: int = 1, freeze: bool = False) -> None:
        """Returns once a life has died there, or is frozen: at the count-th such moment from now."""
        self._forget()
        self._strike = self._loop.freeze if freeze else self._loop.kill
        self._wanted, self._died = (moment, self.passed[moment] + count), self._loop.create_future()
        if moment is Moment.TURN:
            self._loop.call_at_turn(self._wanted[1], self._strike_now)
        try:
            await self._died
        finally:
            self._forget()

    def dies_at(self, moment: Moment) -> bool:
        """Whether the life that comes here is dead: since now, or before. What it does after is nobody's concern."""
        self._passed[moment] += 1
        if self._wanted is not None and self._wanted[0] is moment and self._passed[moment] >= self._wanted[1]:
            self._strike_now(life.get())
        return self._loop.is_dead(life.get())

    def _strike_now(self, whose: int) -> None:
        assert self._wanted is not None
        if self._strike == self._loop.kill:
            self.struck[self._wanted[0]] += 1
        self._forget()
        self._strike(whose)
        if self._died is not None and not self._died.done():
            self._died.set_result(None)

    def _forget(self) -> None:
        self._wanted = None
        self._loop.call_at_turn(math.inf, self._strike_now)

    async def suspend_at(self, moment: Moment) -> None:
        """The same for a coroutine: if it is dead it never goes on."""
        if self.dies_at(moment):
            await self._loop.create_future()
        elif life.get() in self._loop.frozen:
            await asyncio.sleep(0)  # here it stands still until it thaws
