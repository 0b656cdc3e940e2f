"""A broadcast: a beat wakes whoever waits, in their order; who has gone leaves nothing behind."""

import asyncio

from adapters.notify.pulse import Pulse


async def test_a_beat_wakes_all_who_wait_in_their_order_and_nobody_who_comes_later() -> None:
    pulse, woken = Pulse(), list[int]()

    async def wait(place: int) -> None:
        await pulse.wait()
        woken.append(place)

    async with asyncio.TaskGroup() as group:
        for place in range(5):
            group.create_task(wait(place))
        await asyncio.sleep(0)
        pulse.beat()
        later = group.create_task(wait(5))
        await asyncio.sleep(0.01)
        assert woken == [0, 1, 2, 3, 4]
        assert not later.done()
        pulse.beat()
    assert woken == [0, 1, 2, 3, 4, 5]


async def test_whoever_gives_up_takes_no_other_along_and_is_not_remembered() -> None:
    pulse = Pulse()
    patient = asyncio.create_task(pulse.wait())
    for _ in range(3):
        hasty = asyncio.create_task(asyncio.wait_for(pulse.wait(), 0.001))
        assert isinstance((await asyncio.gather(hasty, return_exceptions=True))[0], TimeoutError)
    assert len(pulse._waiting) == 1  # nothing else tells
    pulse.beat()
    await patient


async def test_a_beat_that_comes_with_a_cancellation_harms_nobody() -> None:
    pulse = Pulse()
    one, other = (asyncio.create_task(pulse.wait()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    pulse.beat()
    await other
    assert isinstance((await asyncio.gather(one, return_exceptions=True))[0], asyncio.CancelledError)
