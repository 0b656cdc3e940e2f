"""How time passes: waits are measured by it, for the clock on the wall may be put back or forward while they last."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Pace(NamedTuple):
    """`elapsed_ms` counts from any moment; `pause` sleeps for so many ms of it."""

    elapsed_ms: Callable[[], int]
    pause: Callable[[int], Awaitable[None]]


def elapsed_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1_000)


async def sleep_ms(pause_ms: int) -> None:
    await asyncio.sleep(pause_ms / 1_000)


REAL = Pace(elapsed_ms, sleep_ms)
