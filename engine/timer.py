"""Exact timers: one per key, the last one set."""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import msgspec

from engine.core.effect import Alarm
from engine.ports import Clock

SPARE_TIMERS = 1_024
"""Timers that no longer count may lie about in the heap: as many as count, and these."""

Key = tuple[str, str]
"""The owner's name, and the owner's name for it."""


class Timer(NamedTuple):
    """`at_s` by the loop's clock; `number` is one more for each that was set."""

    at_s: float
    number: int
    key: Key
    due: int
    alarm: Alarm


class Timers:
    """Deliver alarms through `ring(owner, alarm)` when they are due; nothing polls.

    All share one timer of the loop's, for the next that is due: three are set for each attempt, and nearly none ever rings.
    """

    def __init__(self, clock: Clock, ring: Callable[[str, Alarm], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._set: dict[Key, int] = {}
        """The number of the timer that counts."""
        self._heap: list[Timer] = []
        self._number = 0
        self._waking: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._set)

    def set(self, owner: str, key: str, due: int, alarm: Alarm) -> None:
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(0, due - self._clock.now_ms()) / 1_000
        self._number += 1
        self._set[owner, key] = self._number
        heappush(self._heap, Timer(at_s, self._number, (owner, key), due, alarm))
        if len(self._heap) > 2 * len(self._set) + SPARE_TIMERS:
            self._heap = [one for one in self._heap if self._counts(one)]
            heapify(self._heap)
        if self._waking is None or at_s < self._waking.when():
            self._wake_at(at_s)

    def cancel(self, owner: str, key: str) -> None:
        self._set.pop((owner, key), None)

    def cancel_all(self) -> None:
        self._set.clear()
        self._heap.clear()
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None

    def _counts(self, timer: Timer) -> bool:
        return self._set.get(timer.key) == timer.number

    def _wake_at(self, at_s: float) -> None:
        if self._waking is not None:
            self._waking.cancel()
        self._waking = asyncio.get_running_loop().call_at(at_s, self._wake, at_s)

    def _wake(self, at_s: float) -> None:
        """The loop may be early by as much as its clock can't tell: what was asked for is due."""
        self._waking = None
        until_s = max(at_s, asyncio.get_running_loop().time())
        while self._heap and (self._heap[0].at_s <= until_s or not self._counts(self._heap[0])):
            timer = heappop(self._heap)
            if self._counts(timer):
                del self._set[timer.key]
                # The loop's clock and the wall clock drift: an alarm never claims to ring before it is due.
                self._ring(timer.key[0], msgspec.structs.replace(timer.alarm, at=max(timer.due, self._clock.now_ms())))
        if self._heap and (self._waking is None or self._heap[0].at_s < self._waking.when()):
            self._wake_at(self._heap[0].at_s)
