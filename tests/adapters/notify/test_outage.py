"""Given a receiver that is away for a day, and a dialer that is killed meanwhile, then nothing is lost and the order holds."""

import asyncio
from collections.abc import Callable

import pytest

from adapters.notify import NotifyLimits
from tests.adapters.notify.house import START_MS, House, VirtualClock, opening, talk, until
from tests.adapters.notify.receiver import Receiver, Script
from tests.adapters.notify.test_webhook import believed, complete, living

HOUR_MS = 3_600_000
REFS = ("sales", "support", "survey")
REAL = NotifyLimits(request_timeout_ms=100, stop_grace_ms=200)
"""As in service: the pauses between tries are those of the product."""


async def test_EX_10_a_day_of_storms_stalls_and_silence_with_kills_between_loses_nothing(
    record_property: Callable[[str, object], None],
) -> None:
    clock = VirtualClock(len(REFS))
    house, receiver = House(REAL, virtual=clock), Receiver(now_s=lambda: clock.now / 1_000)
    written = 0

    def goes_on() -> None:
        nonlocal written
        for ref in REFS:
            house.write(ref, *talk(ref, 1 + written % 3, written))
        written += 1

    async with living(house, receiver):
        house.put("crm", receiver.url)
        for ref in REFS:
            house.write(ref, *opening(ref))
        goes_on()
        await until(lambda: all(complete(house, receiver, ref) for ref in REFS))
        troubles: tuple[Script, ...] = (500, "cut", 503, "lost", 429, "stall", 500, 500)
        for hour, trouble in enumerate(troubles, 1):
            receiver.always = trouble
            goes_on()
            await clock.pass_until(START_MS + hour * 3 * HOUR_MS)
            if hour in (3, 6):
                await house.kill()  # as a crash leaves it: nothing is finished, nothing saved
                await house.notifier.start()
                await until(lambda: "crm" in house.notifier.reports())
        assert clock.now >= START_MS + 24 * HOUR_MS
        assert house.notifier.reports()["crm"].parked == 0, "72 hours are tried"
        tried = len(receiver.requests)
        receiver.always = 204
        passing = asyncio.create_task(clock.pass_until(START_MS + 26 * HOUR_MS))  # the longest pause is an hour
        await believed(house, receiver, *REFS)
        await passing
        assert receiver.skipped == 0
        for ref in REFS:
            assert receiver.seqs(ref) == list(range(1, len(receiver.seqs(ref)) + 1))
        attempts = tried - len(REFS)
        assert 30 < attempts < 2_000, "neither forgotten nor besieged"
        record_property("hours away, attempts, delivered", f"24, {attempts}, {sum(map(len, receiver.told.values()))}")


@pytest.mark.parametrize("hours", [71, 80])
async def test_EX_10_three_days_are_tried_and_then_it_is_parked(hours: int) -> None:
    clock = VirtualClock(1)
    house, receiver = House(REAL, virtual=clock), Receiver(500, lambda: clock.now / 1_000)
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: len(receiver.requests) > 0)
        await clock.pass_until(START_MS + hours * HOUR_MS)
        report = house.notifier.reports()["crm"]
        assert (report.parked > 0) == (hours > 72)
        assert report.parked_for == ("failing" if hours > 72 else "")
        receiver.always = 204
        await house.notifier.resume("crm")
        await believed(house, receiver, "sales")
