"""Exact timers: one per key, the last one set."""

import asyncio
from collections.abc import Callable

import msgspec

from engine.core.effect import Alarm
from engine.ports import Clock


class Timers:
    """Deliver alarms through `ring(owner, alarm)` when they are due; nothing polls."""

    def __init__(self, clock: Clock, ring: Callable[[str, Alarm], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._set: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._set)

    def set(self, owner: str, key: str, due: int, alarm: Alarm) -> None:
        self.cancel(owner, key)
        delay_ms = max(0, due - self._clock.now_ms())
        loop = asyncio.get_running_loop()
        self._set[owner, key] = loop.call_later(delay_ms / 1_000, self._due, owner, key, due, alarm)

    def cancel(self, owner: str, key: str) -> None:
        handle = self._set.pop((owner, key), None)
        if handle is not None:
            handle.cancel()

    def cancel_all(self) -> None:
        for handle in self._set.values():
            handle.cancel()
        self._set.clear()

    def _due(self, owner: str, key: str, due: int, alarm: Alarm) -> None:
        del self._set[owner, key]
        # The loop's clock and the wall clock drift: an alarm never claims to ring before it is due.
        self._ring(owner, msgspec.structs.replace(alarm, at=max(due, self._clock.now_ms())))
