"""What goes on beside the mailboxes."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


class Tasks:
    """One that fails is a fault that nobody else hears of: `failed` gets its error, and whoever waits for that ends."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def is_running(self, name: str) -> bool:
        return any(task.get_name() == name for task in self._running)

    async def stop(self, others: Iterable[asyncio.Task[None]]) -> None:
        """Ends all of them, and `others`."""
        tasks = [*self._running, *others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)
