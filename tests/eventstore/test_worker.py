"""The thread that a store's connection belongs to."""

import asyncio
import threading
import time
from functools import partial

import pytest

from eventstore.worker import Worker


async def test_work_is_done_in_order_in_one_thread_and_what_it_raises_is_told() -> None:
    worker, done = Worker("test"), list[int]()

    def work(number: int) -> int:
        done.append(number)
        if number == 3:
            raise ZeroDivisionError(number)
        return threading.get_ident()

    told = await asyncio.gather(*(worker.do(partial(work, number)) for number in range(6)), return_exceptions=True)
    assert done == list(range(6))
    assert isinstance(told.pop(3), ZeroDivisionError)
    assert len(set(told)) == 1
    assert told[0] != threading.get_ident()
    worker.stop()


async def test_what_nobody_waits_for_any_more_is_done_all_the_same_before_it_ends() -> None:
    worker, done = Worker("test"), list[str]()
    slow = worker.do(lambda: time.sleep(0.05))
    waiting = asyncio.ensure_future(asyncio.wait_for(worker.do(lambda: done.append("this")), 0.001))
    with pytest.raises(TimeoutError):
        await waiting
    worker.stop()
    assert done == ["this"]
    await slow
    with pytest.raises(RuntimeError, match="test has stopped"):
        await worker.do(lambda: None)


async def test_what_came_of_it_is_told_in_the_loop_with_its_result_or_its_error() -> None:
    worker, told = Worker("test"), list[tuple[object, str, bool]]()
    loop_thread, both = threading.get_ident(), asyncio.Event()

    def tell(result: object, error: BaseException | None) -> None:
        told.append((result, repr(error), threading.get_ident() == loop_thread))
        if len(told) == 2:
            both.set()

    worker.tell(lambda: 7, tell)
    worker.tell(lambda: 1 // 0, tell)
    await both.wait()
    worker.stop()
    worker.tell(lambda: 7, tell)
    await asyncio.sleep(0)

    stopped = "RuntimeError('test has stopped')"
    assert told == [
        (7, "None", True),
        (None, "ZeroDivisionError('integer division or modulo by zero')", True),
        (None, stopped, True),
    ]


def test_a_loop_that_is_gone_ends_no_worker() -> None:
    worker, gate = Worker("test"), threading.Event()

    async def ask() -> None:
        worker.do(gate.wait)

    asyncio.run(ask())
    gate.set()  # its loop is closed by now
    assert asyncio.run(_answer(worker)) == 1
    worker.stop()


async def _answer(worker: Worker) -> int:
    return await worker.do(lambda: 1)
