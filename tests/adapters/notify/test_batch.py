"""Given a receiver that asks for several at once, then it gets lists, in order, of one campaign, and a failed one again."""

import asyncio

import msgspec
import pytest

from tests.adapters.notify.house import QUICK, House, opening, status, talk, until
from tests.adapters.notify.receiver import Receiver
from tests.adapters.notify.test_webhook import believed, complete, living


async def test_EX_10_lists_are_in_order_no_longer_than_asked_and_of_one_campaign() -> None:
    house, receiver = House(), Receiver()
    for ref in ("sales", "support"):
        house.write(ref, *opening(ref), *(event for place in (1, 2, 3) for event in talk(ref, place, place)))
    async with living(house, receiver):
        house.put("crm", receiver.url, batch_items=4)
        await believed(house, receiver, "sales", "support")
    assert max(receiver.sizes) == 4
    assert min(receiver.sizes) >= 1
    assert len(receiver.requests) == 2 * -(-(3 + 3 * 5) // 4)  # no more requests than it takes
    ids = [one["webhook-id"] for one in receiver.seen_headers]
    assert len(set(ids)) == len(ids)
    assert ids[0] in ("sales:1-4", "support:1-4")


async def test_a_list_that_failed_comes_again_the_same_under_the_same_id() -> None:
    house, receiver = House(), Receiver()
    receiver.script.extend([500, "lost", "cut"])
    async with living(house, receiver):
        house.write("sales", *opening("sales"), *talk("sales", 1))
        await house.merged()
        house.put("crm", receiver.url, batch_items=5)
        await believed(house, receiver, "sales")
    ids = [one["webhook-id"] for one in receiver.seen_headers]
    assert ids[:4] == ["sales:1-5"] * 4
    assert receiver.repeated == 5  # it had taken the second, and said otherwise


async def test_the_first_waits_for_others_but_a_call_that_is_answered_waits_for_nothing() -> None:
    patient = 30_000
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url, batch_items=100, batch_wait_ms=patient)
        house.write("sales", *opening("sales"))
        await asyncio.sleep(0.2)
        assert not receiver.requests
        house.write("sales", *talk("sales", 1)[:4])  # to the answer
        await until(lambda: complete(house, receiver, "sales"))
    assert receiver.sizes == [6]


@pytest.mark.parametrize("size", [1, 700])
async def test_a_list_has_no_more_bytes_than_a_request_may_have(size: int) -> None:
    house, receiver = House(msgspec.structs.replace(QUICK, batch_bytes=size)), Receiver()
    house.write("sales", *opening("sales"), *(status(at) for at in range(10)))
    async with living(house, receiver):
        house.put("crm", receiver.url, batch_items=50)
        await believed(house, receiver, "sales")
    assert max(receiver.sizes) == 1 if size == 1 else 1 < max(receiver.sizes) < 10
