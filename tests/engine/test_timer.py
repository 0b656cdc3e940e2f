"""Exact timers: one per key, the last one set, never early."""

import asyncio

from engine.core.effect import Alarm, ReservationDue
from engine.timer import Timers
from tests.engine.shell import HandClock


def due(name: str) -> ReservationDue:
    return ReservationDue(at=0, reservation=name)


class Bell:
    def __init__(self) -> None:
        self.clock = HandClock(1_000)
        self.rung: list[tuple[str, Alarm]] = []
        self.timers = Timers(self.clock, lambda owner, alarm: self.rung.append((owner, alarm)))

    async def listen(self) -> None:
        async with asyncio.timeout(5):
            while self.timers:
                await asyncio.sleep(0.001)


async def test_EX_06_an_alarm_rings_once_and_never_claims_to_ring_before_it_is_due() -> None:
    bell = Bell()
    bell.timers.set("c1", "k", 1_020, due("r1"))
    await asyncio.sleep(0)
    assert bell.rung == []
    await bell.listen()
    assert bell.rung == [("c1", ReservationDue(at=1_020, reservation="r1"))]  # though the wall clock stood still


async def test_an_alarm_that_rings_late_says_how_late() -> None:
    bell = Bell()
    bell.timers.set("c1", "k", 1_010, due("r1"))
    bell.clock.now = 1_250
    await bell.listen()
    assert bell.rung == [("c1", ReservationDue(at=1_250, reservation="r1"))]


async def test_what_was_due_while_nobody_watched_rings_at_once() -> None:
    bell = Bell()
    bell.timers.set("c1", "k", 5, due("r1"))
    await bell.listen()
    assert bell.rung == [("c1", ReservationDue(at=1_000, reservation="r1"))]


async def test_the_last_one_set_is_the_one_that_rings() -> None:
    bell = Bell()
    bell.timers.set("c1", "k", 1_000, due("early"))
    bell.timers.set("c1", "k", 1_010, due("late"))
    bell.timers.set("c2", "k", 1_005, due("other"))  # another owner's key is another key
    await bell.listen()
    assert [alarm.reservation for _, alarm in bell.rung if isinstance(alarm, ReservationDue)] == ["other", "late"]


async def test_a_cancelled_timer_is_silent() -> None:
    bell = Bell()
    bell.timers.set("c1", "k", 1_000, due("r1"))
    bell.timers.cancel("c1", "k")
    bell.timers.cancel("c1", "never set")
    bell.timers.set("c1", "l", 1_000, due("r2"))
    bell.timers.cancel_all()
    await asyncio.sleep(0.005)
    assert (bell.rung, len(bell.timers)) == ([], 0)


async def test_a_timer_may_be_set_again_when_it_rings() -> None:
    clock = HandClock(1_000)
    rung: list[int] = []

    def ring(owner: str, alarm: Alarm) -> None:
        rung.append(alarm.at)
        if len(rung) < 3:
            timers.set(owner, "k", alarm.at + 1, alarm)

    timers = Timers(clock, ring)
    timers.set("c1", "k", 1_001, due("r1"))
    async with asyncio.timeout(5):
        while len(rung) < 3:
            await asyncio.sleep(0.001)
    assert rung == [1_001, 1_002, 1_003]


async def test_a_timer_that_is_set_when_another_rings_keeps_none_of_the_others_waiting() -> None:
    rung: list[str] = []

    def ring(owner: str, _: Alarm) -> None:
        rung.append(owner)
        if owner == "first":
            timers.set("late", "k", 61_000, due("r1"))

    timers = Timers(HandClock(1_000), ring)
    timers.set("first", "k", 1_001, due("r1"))
    timers.set("second", "k", 1_020, due("r2"))
    async with asyncio.timeout(5):
        while len(rung) < 2:
            await asyncio.sleep(0.001)
    assert rung == ["first", "second"]
    timers.cancel_all()
