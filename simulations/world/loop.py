"""An event loop whose time jumps to the next timer whenever nothing is ready, and whose sockets are memory.

Nothing in it waits for the real world: threads run inline, connections lead to servers of the same loop. So order follows
from the program alone. A *life* is whatever was begun in one process of the world; to kill it is to run nothing of it again:
no `finally`, no cancellation, as SIGKILL leaves it.
"""

import asyncio
import contextlib
import heapq
import itertools
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

import structlog

from simulations.world.transport import Listener, connect

TIMER_RESOLUTION_S = 1e-9
BURIAL_S = 60
TASKS_KEPT = 4_096
SILENT = 50
"""Of the log nothing but what is fatal."""

T = TypeVar("T")

life: ContextVar[int] = ContextVar("life", default=0)


Held = tuple[Context, Callable[..., Any], tuple[Any, ...], asyncio.Handle | None]


class Stalled(Exception):
    """Everybody waits for somebody else, and no timer is set."""


class Clockwork:
    """Where the loop would sleep, its time passes instead."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise Stalled
        self.now_s += max(0.0, timeout_s)
        return []


class Timer(asyncio.TimerHandle):
    """Of two at the same moment the one that was set first is first, whatever else is set: asyncio promises no order."""

    order = 0

    def __lt__(self, other: Any) -> bool:
        return (self._when, self.order) < (other._when, other.order)  # type: ignore[attr-defined]


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._selector = Clockwork()
        self._clock_resolution = TIMER_RESOLUTION_S
        self._timers = 0
        self.before_turn: Callable[[], None] | None = None
        """Called before each turn of a life other than the world's own."""
        self._dead: set[int] = set()
        self.frozen: dict[int, list[Held]] = {}
        self._listeners: dict[int, Listener] = {}
        self._ports = itertools.count(1)
        self._tasks: list[asyncio.Task[Any]] = []
        self._tidy_at_tasks = TASKS_KEPT
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self._selector.now_s

    # -- lives --------------------------------------------------------------------------------------------------------

    def kill(self, which: int) -> None:
        """Nothing of this life runs any more; its connections break."""
        self._dead.add(which)
        for listener in self._listeners.values():
            listener.break_all(lambda context: context.get(life) == which)

    def is_dead(self, which: int) -> bool:
        return which in self._dead

    def freeze(self, which: int) -> None:
        """Nothing of this life runs until it thaws: a process that was stopped, or a machine that was suspended."""
        self.frozen.setdefault(which, [])

    def thaw(self, which: int) -> None:
        for context, callback, args, timer in self.frozen.pop(which, []):
            self.call_soon(self._thawed, callback, args, timer, context=context)

    def _thawed(self, callback: Callable[..., Any], args: tuple[Any, ...], timer: asyncio.Handle | None) -> None:
        if timer is None or not timer.cancelled():  # by what ran before it since
            callback(*args)

    def _new_task(self, loop: asyncio.AbstractEventLoop, work: Any, **how: Any) -> asyncio.Task[Any]:
        # A dead life's tasks are kept: collected, they would run their `finally` after all.
        if len(self._tasks) >= self._tidy_at_tasks:
            self._tasks = [one for one in self._tasks if not one.done()]
            self._tidy_at_tasks = 2 * len(self._tasks) + TASKS_KEPT
        task = asyncio.Task(work, loop=loop, **how)
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        context = copy_context() if context is None else context  # an empty one is false
        return super().call_soon(self._alive, context, callback, args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context  # an empty one is false
        timer = Timer(when, self._alive, (), self, context)
        self._timers += 1
        timer.order = self._timers
        timer._args = (context, callback, args, timer)  # noqa: SLF001
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]  # as BaseEventLoop.call_at does
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001
        return timer

    def _alive(
        self, context: Context, callback: Callable[..., Any], args: tuple[Any, ...], timer: asyncio.Handle | None = None
    ) -> None:
        whose = context.get(life, 0)
        if whose and self.before_turn is not None:
            self.before_turn()
        if whose in self.frozen:
            self.frozen[whose].append((context, callback, args, timer))
        elif whose not in self._dead:
            callback(*args)

    async def bury(self) -> None:
        """End whatever is left, the dead too: only when nothing that they do in their `finally` matters any more."""
        self._dead.clear()
        for which in list(self.frozen):
            self.thaw(which)
        left = [one for one in self._tasks if not one.done() and one is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=BURIAL_S)
        for task in left:
            if not task.done():  # what would have woken it came while it was dead
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
                with contextlib.suppress(RuntimeError):
                    task.get_coro().close()

    # -- no outside world ---------------------------------------------------------------------------------------------

    def run_in_executor(self, _executor: Any, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: a thread would bring the real world's order in."""
        done = self.create_future()
        try:
            done.set_result(work(*args))
        except Exception as error:  # noqa: BLE001  # whoever waits for the work gets it
            done.set_exception(error)
        return done

    async def create_server(self, factory: Any, _host: Any = None, port: Any = 0, **_: Any) -> Any:  # type: ignore[override]
        listener = Listener(self, factory, port or next(self._ports))
        self._listeners[listener.port] = listener
        return listener

    async def create_connection(self, factory: Any, _host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        listener = self._listeners.get(port)
        if listener is None or listener.closed:
            raise ConnectionRefusedError(f"nobody listens on port {port}")
        return connect(self, factory(), listener)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_finalizer_hook(self, _left: Any) -> None:
        """What nobody reads to its end is left as it is: when it is collected is chance, and a dead life does nothing."""


def in_virtual_time(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]], seed: int) -> T:
    """Let it happen on a loop of its own, quietly: with the same seed the same way every time. Raises Stalled."""
    loop = VirtualLoop()
    before = random.getstate()
    random.seed(seed)  # the pauses before the engine tries again
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(SILENT))
    try:
        return loop.run_until_complete(work(loop))
    finally:
        structlog.configure(**logging)
        random.setstate(before)
        loop.close()
