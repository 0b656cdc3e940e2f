"""An event loop whose time jumps to the next timer whenever nothing is ready, and whose sockets are memory.

Nothing in it waits for the real world: threads run inline, connections lead to servers of the same loop. So order follows
from the program alone. A *life* is whatever was begun in one process of the world; to kill it is to run nothing of it again:
no `finally`, no cancellation, as SIGKILL leaves it.
"""

import asyncio
import contextlib
import gc
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any, TypeVar

import msgspec
import structlog

from simulations.world.transport import Listener, connect

TIMER_RESOLUTION_S = 1e-9
BURIAL_S = 60
TASKS_KEPT = 4_096
GC_AFTER_OBJECTS = 20_000
"""A world makes many objects that stay: looking through them every 700 costs a tenth of its time."""
SILENT = 50
"""Of the log nothing but what is fatal."""

T = TypeVar("T")

life: ContextVar[int] = ContextVar("life", default=0)


class Stalled(Exception):
    """Everybody waits for somebody else, and no timer is set."""


class Turn(msgspec.Struct, eq=False):
    """One callback that waits for its turn, or for its time; what asyncio calls a handle. Cancelled, it has none any more.

    A world makes hundreds for each call of its day: a struct is made in a third of the time that a handle takes.
    """

    when_s: float
    callback: Callable[..., Any]
    args: tuple[Any, ...]
    context: Context

    def when(self) -> float:
        return self.when_s

    def cancel(self) -> None:
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.callback is _nothing


def _nothing() -> None:
    pass


def _no_matter(_life: int) -> None:
    pass


class VirtualLoop(asyncio.BaseEventLoop):
    """Of timers for the same moment the one that was set first is first, whatever else is set: asyncio promises no order."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._waiting: deque[Turn] = deque()
        self._timers: list[tuple[float, int, Turn]] = []
        """A heap by time and by the order in which they were set."""
        self._timers_set = 0
        self.turns = 0
        """Turns that came to lives other than the world's own, the dead not counted."""
        self._awaited_turns: float = math.inf
        self._at_turn: Callable[[int], None] = _no_matter
        self._dead: set[int] = set()
        self.frozen: dict[int, list[Turn]] = {}
        """Turns that wait until their life thaws."""
        self._listeners: dict[int, Listener] = {}
        self._ports = itertools.count(1)
        self._tasks: list[asyncio.Task[Any]] = []
        self._tidy_at_tasks = TASKS_KEPT
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self._now_s

    # -- turns --------------------------------------------------------------------------------------------------------
    # asyncio's types tie a callback to its arguments. That is its callers' affair: here any will do, so they are overridden.

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Turn:  # type: ignore[override]
        turn = Turn(0.0, callback, args, copy_context() if context is None else context)  # an empty one is false
        self._waiting.append(turn)
        return turn

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Turn:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Turn:
        turn = Turn(when, callback, args, copy_context() if context is None else context)
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, turn))
        return turn

    def _run_once(self) -> None:
        """Until somebody stops it: `run_forever` asks again otherwise. Raises Stalled."""
        waiting, timers, dead, frozen = self._waiting, self._timers, self._dead, self.frozen
        while not self._stopping:  # type: ignore[attr-defined]  # by BaseEventLoop.stop
            if not waiting:
                self._let_time_pass()
            until_s = self._now_s + TIMER_RESOLUTION_S
            while timers and timers[0][0] < until_s:  # who is due waits for a turn
                waiting.append(heappop(timers)[2])
            for _ in range(len(waiting)):  # who comes meanwhile is of the next round, behind the timers that are due
                turn = waiting.popleft()
                if turn.callback is _nothing:
                    continue
                whose = turn.context.get(life, 0)
                if whose:
                    if whose not in dead:
                        self.turns += 1
                        if self.turns >= self._awaited_turns:
                            self._at_turn(whose)
                    if whose in frozen:
                        frozen[whose].append(turn)
                        continue
                    if whose in dead:
                        continue
                try:
                    turn.context.run(turn.callback, *turn.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001  # as every loop does
                    said = f"Exception in callback {turn.callback}"
                    self.call_exception_handler({"message": said, "exception": error, "handle": turn})

    def _let_time_pass(self) -> None:
        """To the next timer that is still set."""
        timers = self._timers
        while timers and timers[0][2].callback is _nothing:
            heappop(timers)
        if not timers:
            raise Stalled
        self._now_s = max(self._now_s, timers[0][0])

    def call_at_turn(self, turns: float, callback: Callable[[int], None]) -> None:
        """Once `turns` are that many, before the turn is had, and again until others are set: with the life whose it is."""
        self._awaited_turns, self._at_turn = turns, callback

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
        self._waiting.extend(self.frozen.pop(which, ()))

    def _new_task(self, loop: asyncio.AbstractEventLoop, work: Any, **how: Any) -> asyncio.Task[Any]:
        # A dead life's tasks are kept: collected, they would run their `finally` after all.
        if len(self._tasks) >= self._tidy_at_tasks:
            self._tasks = [one for one in self._tasks if not one.done()]
            self._tidy_at_tasks = 2 * len(self._tasks) + TASKS_KEPT
        task = asyncio.Task(work, loop=loop, **how)
        self._tasks.append(task)
        return task

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
    collecting = gc.get_threshold()
    gc.set_threshold(GC_AFTER_OBJECTS, *collecting[1:])
    try:
        return loop.run_until_complete(work(loop))
    finally:
        gc.set_threshold(*collecting)
        structlog.configure(**logging)
        random.setstate(before)
        loop.close()
