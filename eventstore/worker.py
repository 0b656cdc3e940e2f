"""A thread that does one thing after the other for a loop: what blocks, on a connection that is one thread's alone.

An executor does it too, at twice the cost of handing something over: some 30 us of each commit.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Told = Callable[[Any, BaseException | None], None]
Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, Told]


class Worker:
    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Behind all that was given before; it is done though nobody waits for it any more. Once stopped: RuntimeError."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.tell(work, partial(_settle, done))
        return done

    def tell(self, work: Callable[[], Any], told: Told) -> None:
        """As `do`; what came of it is told at once, where a future would tell it a turn of the loop later."""
        loop = asyncio.get_running_loop()
        if self._is_stopped:
            loop.call_soon(told, None, RuntimeError(f"{self._thread.name} has stopped"))
        else:
            self._jobs.put((work, loop, told))

    def stop(self) -> None:
        """End once everything is done; waits for that."""
        self._is_stopped = True
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, loop, told = job
            result: Any = None
            failed: BaseException | None = None
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(told, result, failed)


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
