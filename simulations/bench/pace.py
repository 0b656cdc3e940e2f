"""Calls that go on at an even pace beside something else that is measured."""

import asyncio
import time
from typing import Self

from simulations.bench.dialer import Dialer


class Pace:
    """So many attempts a second, each due at its moment however late those before it are. Leave it, and the last ones end."""

    def __init__(self, dialer: Dialer, attempts_s: float) -> None:
        self.made = 0
        """Attempts that came to their end."""
        self._dialer, self._every_s = dialer, 1 / attempts_s
        self._began_s = 0.0
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._began_s = time.perf_counter()
        self._task = asyncio.create_task(self._run(), name="pace")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await self._task

    @property
    def attempts_s(self) -> float:
        """As they came to their ends so far."""
        return self.made / (time.perf_counter() - self._began_s)

    async def _run(self) -> None:
        free: asyncio.Queue[str] = asyncio.Queue()
        for name in self._dialer.names:
            free.put_nowait(name)

        async def attempt(name: str) -> None:
            await self._dialer.attempt(name)
            self.made += 1
            free.put_nowait(name)

        due_s = self._began_s
        async with asyncio.TaskGroup() as group:
            while not self._is_over:
                group.create_task(attempt(await free.get()))
                due_s += self._every_s
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
