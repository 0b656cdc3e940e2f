"""Given a receiver that takes nothing for days, then it is parked: nothing is skipped, and that is news."""

import asyncio
from typing import Any

import msgspec

from tests.adapters.notify.house import QUICK, House, opening, status, talk, until
from tests.adapters.notify.receiver import Receiver
from tests.adapters.notify.test_webhook import believed, living

SOON = msgspec.structs.replace(QUICK, give_up_after_ms=30)


async def news(house: House, *types: str) -> list[Any]:
    return [one.data for one in await house.all(types=types)]


def is_parked(house: House, webhook: str = "crm") -> bool:
    report = house.notifier.reports().get(webhook)
    return report is not None and report.parked > 0


async def test_EX_10_a_dead_receiver_is_parked_told_of_and_gets_all_of_it_when_it_is_back() -> None:
    house, receiver = House(SOON), Receiver(always=503)
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: is_parked(house))
        (told,) = await news(house, "webhook.parked")
        assert (told["webhook"], told["campaign"], told["reason"], told["error"]) == (
            "crm",
            None,
            "failing",
            "HTTP 503",
        )
        asked = len(receiver.requests)
        house.write("sales", *talk("sales", 1))
        house.write("support", *opening("support"))
        await house.merged()
        await asyncio.sleep(0.1)
        assert len(receiver.requests) == asked  # it is left alone
        report = house.notifier.reports()["crm"]
        assert report.parked_for == "failing"
        assert report.behind == house.notifier.position
        receiver.always = 204
        await house.notifier.resume("crm")
        await believed(house, receiver, "sales", "support")
        assert await news(house, "webhook.resumed") == [{"webhook": "crm"}]
        await until(lambda: house.notifier.reports()["crm"].behind == 0)


async def test_who_is_parked_stays_so_over_a_restart_and_a_resume_too() -> None:
    house, receiver = House(), Receiver(always=410)
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: is_parked(house))
        for end in (house.restart, house.kill):
            await end()
            if end == house.kill:
                await house.notifier.start()
            asked = len(receiver.requests)
            house.write("sales", status(1))
            await house.merged()
            await until(lambda: is_parked(house))
            await asyncio.sleep(0.1)
            assert len(receiver.requests) == asked
        receiver.always = 204
        await house.notifier.resume("crm")
        await house.kill()
        await house.notifier.start()
        await believed(house, receiver, "sales")
        assert not is_parked(house)
        assert len(await news(house, "webhook.parked", "webhook.resumed")) == 2


async def test_others_are_told_that_one_is_parked() -> None:
    house, receiver = House(SOON), Receiver()
    async with living(house, receiver):
        house.put("dead", "http://127.0.0.1:9/hook")
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: is_parked(house, "dead"))
        await until(lambda: any(one["type"] == "webhook.parked" for one in receiver.told[""]))
        (told,) = receiver.told[""]
        assert (told["campaign"], told["seq"], told["data"]["webhook"]) == ("", 1, "dead")


async def test_a_pause_that_a_receiver_asks_for_holds_for_all_its_campaigns() -> None:
    house, receiver = House(), Receiver()
    receiver.headers = {"Retry-After": "1"}
    receiver.script.append(429)
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: len(receiver.requests) == 1)
        house.write("support", *opening("support"))
        await house.merged()
        await asyncio.sleep(0.3)
        assert len(receiver.requests) == 1
        await believed(house, receiver, "sales", "support")
