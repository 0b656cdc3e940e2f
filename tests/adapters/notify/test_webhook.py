"""Given receivers that fail in every way they do, then each is told everything, per campaign in order, and nobody waits
for somebody else's receiver."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from svix.webhooks import Webhook as SvixWebhook

from adapters.notify.notification import is_told
from adapters.notify.parcel import encoded
from tests.adapters.notify.house import PATIENCE_S, QUICK, SECRET, House, opening, status, talk, until
from tests.adapters.notify.receiver import Receiver, Script

MINUTE_MS = 60_000


@asynccontextmanager
async def living(house: House, *receivers: Receiver) -> AsyncIterator[None]:
    for one in receivers:
        await one.start()
    await house.notifier.start()
    try:
        yield
    finally:
        for one in receivers:
            if one.held is not None:
                one.held.set()
        await house.notifier.stop()
        for one in receivers:
            await one.stop()


def spoken(house: House, ref: str) -> int:
    return sum(is_told(one.event) for one in house.shelf.events[f"campaign/{ref}"])


def complete(house: House, receiver: Receiver, *refs: str) -> bool:
    return all(receiver.seqs(ref) == list(range(1, spoken(house, ref) + 1)) for ref in refs)


async def believed(house: House, receiver: Receiver, *refs: str) -> None:
    """The receiver's own table, built from notifications only, equals what the campaigns' books say."""
    await until(lambda: complete(house, receiver, *refs))
    assert receiver.skipped == 0
    for ref in refs:
        told, book = receiver.told[ref], house.books[f"campaign/{ref}"]
        outcomes = Counter(one["data"]["outcome"] for one in told if one["type"] == "call.ended")
        assert outcomes == Counter(str(one.outcome) for one in book.calls.values())
        final = {one["data"]["contact"] for one in told if one["type"] == "contact.disposed" and one["data"]["final"]}
        assert final == {one.ref for one in book.contacts.by_ref.values() if one.status == "final"}
        assert sum(one["data"]["count"] for one in told if one["type"] == "contacts.added") == len(book.contacts)
        feed = await house.all(campaign=ref)
        assert [receiver.bodies[one.id] for one in feed] == [encoded(one) for one in feed], "the same bytes as the feed"


async def test_tf_06_ex_10_every_notification_arrives_signed_and_in_order() -> None:
    """TF-06, EX-10: a receiver that is told everything knows everything; ids stay what they are."""
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        for ref in ("sales", "support"):
            house.write(ref, *opening(ref))
        for serial in range(15):
            house.write("sales", *talk("sales", 1 + serial % 3, serial))
            house.write("support", *talk("support", 1 + serial % 3, serial))
            await asyncio.sleep(0.001)
        await believed(house, receiver, "sales", "support")
        headers = receiver.seen_headers[0]
        lowered = {name.lower(): value for name, value in headers.items()}
        assert lowered["content-type"] == "application/json"
        first = receiver.told["sales"][0]
        body = receiver.bodies[first["id"]]
        ours = next(one for one in receiver.seen_headers if one["webhook-id"] == first["id"])
        SvixWebhook(SECRET).verify(body, dict(ours))
        assert receiver.repeated == 0


@pytest.mark.parametrize("seed", range(4))
async def test_ex_10_tf_38_whatever_goes_wrong_nothing_is_lost(seed: int) -> None:
    """EX-10, TF-38: given refusals, stalls, cut connections, lost answers, and kills of the notifier between delivering
    and noting it, then everything arrives, per campaign in order, repeats under their old ids with the same bytes."""
    rng = random.Random(seed)
    house, receiver = House(), Receiver()
    faults: list[Script] = [500, 503, 302, 429, 404, "cut", "lost", "lost"]
    refs = ("a", "b", "c")
    async with living(house, receiver):
        house.put("crm", receiver.url)
        receiver.script.extend(["stall", 500])
        for ref in refs:
            house.write(ref, *opening(ref))
        for serial in range(20):
            ref = rng.choice(refs)
            house.write(ref, *talk(ref, rng.randint(1, 3), serial), told=rng.random() < 0.9)
            receiver.script.extend(rng.choices([204, *faults], k=2))
            await asyncio.sleep(rng.random() * 0.01)
            if rng.random() < 0.2:
                await house.kill()
                await house.notifier.start()
        receiver.script.extend(["lost", "cut"])
        await house.restart()
        await believed(house, receiver, *refs)
        assert receiver.repeated > 0


async def test_the_next_goes_only_after_the_last_was_taken() -> None:
    house, receiver = House(), Receiver()
    receiver.script.extend([500, 500, 500, 204, 500])
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await believed(house, receiver, "sales")
    assert [seq for _, seq in receiver.requests] == [1, 1, 1, 1, 2, 2, 3]
    assert receiver.most_under_way == 1


async def test_lanes_are_independent_of_each_other() -> None:
    """Given one campaign whose delivery hangs and one receiver that is gone, then all others are told as if nothing were."""
    house, receiver, other = House(), Receiver(), Receiver()
    async with living(house, receiver, other):
        receiver.held = asyncio.Event()
        house.put("crm", receiver.url)
        house.put("gone", "http://127.0.0.1:9/hook")
        house.put("other", other.url)
        house.write("sales", *opening("sales"))
        await until(lambda: receiver.under_way == 1)
        held, receiver.held = receiver.held, None
        house.write("support", *opening("support"))
        await believed(house, other, "sales", "support")
        await until(lambda: complete(house, receiver, "support"))
        assert not receiver.told["sales"]
        held.set()
        await believed(house, receiver, "sales", "support")
        assert all(one.attempts > 0 and one.behind == 3 for one in house.notifier.lanes("gone"))


async def test_a_receiver_that_disappears_and_comes_back_has_missed_nothing() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await believed(house, receiver, "sales")
        await receiver.stop()
        for serial in range(10):
            house.write("sales", *talk("sales", 1, serial))
        await until(lambda: house.notifier.lanes("crm")[0].attempts >= 2)
        lane = house.notifier.lanes("crm")[0]
        assert (lane.seq, lane.behind, lane.parked) == (3, 50, False)
        assert lane.retry_at > 0
        await receiver.start()
        await believed(house, receiver, "sales")
        await until(lambda: house.notifier.lanes("crm")[0].behind == 0)
        newest = house.notifier.deliveries("crm", 1)[0]
        assert (newest.status, newest.seq, newest.error) == (204, 53, "")
        assert any(one.status == 0 and one.error for one in house.notifier.deliveries("crm", 200))


async def test_410_parks_at_once_and_nothing_is_skipped() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        receiver.script.extend([204, 410])
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: house.notifier.lanes("crm") != () and house.notifier.lanes("crm")[0].parked)
        house.write("sales", status(1))
        await house.merged()
        await asyncio.sleep(0.05)
        assert receiver.seqs("sales") == [1]
        assert len(receiver.requests) == 2
        await house.notifier.resume("crm")  # somebody has mended it
        await believed(house, receiver, "sales")
        news = ["webhook.parked", "webhook.resumed"]
        told = [(one.type, one.campaign, one.data) for one in await house.all(types=news)]
        assert [kind for kind, _, _ in told] == news
        assert told[0][1:] == ("", told[0][2])
        assert told[0][2]["reason"] == "gone"
        assert told[0][2]["campaign"] is None  # all of them


async def test_after_the_last_retry_a_lane_is_parked_and_a_replay_takes_it_up() -> None:
    house = House(msgspec.structs.replace(QUICK, give_up_after_ms=30))
    receiver = Receiver(always=500)
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: house.notifier.lanes("crm") != () and house.notifier.lanes("crm")[0].parked)
        receiver.always = 204
        await house.notifier.replay("crm", "now")
        assert house.notifier.lanes("crm")[0].parked, "nothing behind now: nothing to take up"
        await house.notifier.replay("crm", "")
        await believed(house, receiver, "sales")


async def test_EX_10_a_clock_that_is_put_back_makes_no_pause_longer() -> None:
    """Given a receiver that asks for a second's pause, when the clock on the wall is put back meanwhile."""
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: complete(house, receiver, "sales"))
        receiver.headers = {"Retry-After": "1"}
        receiver.script.append(429)
        house.write("sales", *talk("sales", 1))
        await until(lambda: not receiver.script)
        house.clock.put_by_ms = -2 * MINUTE_MS  # a verifier allows for five
        await believed(house, receiver, "sales")


async def test_retry_after_is_honoured() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        receiver.script.append(503)
        receiver.headers = {"Retry-After": "3600"}
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await until(lambda: house.notifier.lanes("crm") != () and house.notifier.lanes("crm")[0].attempts == 1)
        lane = house.notifier.lanes("crm")[0]
        at = house.notifier.deliveries("crm", 1)[0].at
        assert lane.retry_at - at >= 3_600_000
        assert len(receiver.requests) == 1


async def test_redirects_are_not_followed() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        receiver.script.extend([302, 307])
        receiver.headers = {"Location": receiver.url.replace("/hook", "/elsewhere")}
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await believed(house, receiver, "sales")
        # The receiver has it before we have its answer.
        await until(lambda: len(house.notifier.deliveries("crm", 9)) == 5)
        statuses = [one.status for one in house.notifier.deliveries("crm", 9)]
        assert statuses == [204, 204, 204, 307, 302]
        assert len(receiver.requests) == 5


async def test_replay_delivers_again_what_lies_behind_a_cursor() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        for ref in ("sales", "support"):
            house.write(ref, *opening(ref), *talk(ref, 1))
        await believed(house, receiver, "sales", "support")
        feed = await house.all()
        receiver.requests.clear()
        await house.notifier.replay("crm", feed[9].cursor)
        await until(lambda: len(receiver.requests) == len(feed) - 10)
        assert sorted(receiver.requests) == sorted((one.campaign, one.seq) for one in feed[10:])
        await until(lambda: all(one.behind == 0 for one in house.notifier.lanes("crm")))
        assert len(receiver.requests) == receiver.repeated == len(feed) - 10


async def test_a_replay_survives_a_crash() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        for ref in ("sales", "support"):
            house.write(ref, *opening(ref))
        await believed(house, receiver, "sales", "support")
        await house.restart()
        receiver.held = asyncio.Event()
        receiver.requests.clear()
        await until(lambda: "crm" in house.notifier._dispatch.webhooks)
        await until(lambda: house.notifier._dispatch.webhooks["crm"]._is_open)
        await house.notifier.replay("crm", "")
        await house.kill()
        receiver.held.set()
        await house.notifier.start()
        await until(lambda: len({*receiver.requests}) == 6)


async def test_filters_by_type_and_campaign() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url, types=("call.ended",), campaigns=("sales",))
        for ref in ("sales", "support"):
            house.write(ref, *opening(ref), *talk(ref, 1), *talk(ref, 2, 1))
        await until(lambda: len(receiver.requests) == 2)
        await house.merged()
        assert [(one["type"], one["campaign"]) for one in receiver.told["sales"]] == [("call.ended", "sales")] * 2
        assert [one.campaign for one in house.notifier.lanes("crm")] == ["sales"]
        house.put("crm", receiver.url, types=("agent.status",))  # wider: from now on, not from the beginning
        await until(lambda: house.notifier._dispatch.webhooks["crm"].put.types == ("agent.status",))
        house.write("support", status(1))
        await until(lambda: len(receiver.requests) == 3)
        assert receiver.requests[2][0] == "support"


async def test_a_webhook_is_served_from_when_it_was_put_and_anew_after_it_was_removed() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.write("sales", *opening("sales"))
        house.write("old", *opening("old"))
        await house.merged()
        house.put("crm", receiver.url, since=house.notifier.position)
        await until(lambda: "crm" in house.notifier._dispatch.webhooks)
        house.write("sales", status(1))
        await until(lambda: receiver.requests == [("sales", 4)])
        del house.webhooks["crm"]
        house.notifier.webhooks_changed()
        await until(lambda: "crm" not in house.notifier._dispatch.webhooks)
        house.write("sales", status(2))
        await house.merged()
        house.put("crm", receiver.url, since=house.notifier.position)
        house.write("sales", status(3))
        await until(lambda: receiver.requests == [("sales", 4), ("sales", 6)])


async def test_a_start_asks_about_campaigns_with_news_only() -> None:
    """Given many campaigns that every webhook knows all about, then a start reads none of them for it."""
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        for number in range(20):
            house.write(f"c{number}", *opening(f"c{number}", 1))
        await until(lambda: all(complete(house, receiver, f"c{number}") for number in range(20)))
        await house.restart()
        await until(lambda: "crm" in house.notifier._dispatch.webhooks)
        await until(lambda: house.notifier._dispatch.webhooks["crm"]._is_open)
        assert not house.notifier._dispatch.webhooks["crm"].lanes
        house.write("c7", status(1))
        await believed(house, receiver, "c7")
        assert receiver.repeated == 0


async def test_requests_under_way_are_bounded_and_one_webhook_cant_take_all() -> None:
    house = House(msgspec.structs.replace(QUICK, max_requests_per_webhook=3, max_requests=5, request_timeout_ms=10_000))
    one, two = Receiver(), Receiver()
    refs = [f"c{number}" for number in range(10)]
    async with living(house, one, two):
        one.held = two.held = asyncio.Event()
        house.put("one", one.url)
        for ref in refs:
            house.write(ref, *opening(ref, 1))
        await until(lambda: one.under_way == 3)
        await asyncio.sleep(0.05)  # there would be more by now, if more were let
        assert one.under_way == 3
        house.put("two", two.url)
        await until(lambda: two.under_way == 2)
        await asyncio.sleep(0.05)
        assert (one.under_way, two.under_way) == (3, 2)
        one.held.set()
        await until(lambda: complete(house, one, *refs) and complete(house, two, *refs))


@pytest.mark.parametrize("recent", [8, 8_192])
async def test_a_lane_far_behind_reads_on_in_windows_from_memory_where_that_goes_back_so_far(recent: int) -> None:
    limits = msgspec.structs.replace(QUICK, lane_queue=4, recent_notifications=recent)
    house, receiver = House(limits), Receiver()
    async with living(house, receiver):
        receiver.held = asyncio.Event()
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        for serial in range(10):
            house.write("sales", *talk("sales", 1, serial))
        await until(lambda: receiver.under_way == 1)
        lane = house.notifier._dispatch.webhooks["crm"].lanes["campaign/sales"]
        assert len(lane._queue) <= 4
        house.write("support", *opening("support"))  # others' notifications lie between
        house.write("sales", *talk("sales", 1, 10))
        await house.merged()
        before = house.shelf.reads["campaign/sales"]
        receiver.held.set()
        await until(lambda: complete(house, receiver, "sales", "support"))
        assert (house.shelf.reads["campaign/sales"] == before) == (recent > 8)
        await believed(house, receiver, "sales", "support")


async def test_an_unusable_secret_is_told_in_deliveries_and_nothing_is_sent() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url, secret="whsec_nonsense!")
        house.write("sales", *opening("sales"))
        await until(lambda: bool(house.notifier.deliveries("crm", 1)))
        assert "secret" in house.notifier.deliveries("crm", 1)[0].error
        assert "nonsense" not in house.notifier.deliveries("crm", 1)[0].error
        assert not receiver.requests
        house.put("crm", receiver.url)
        await believed(house, receiver, "sales")


# -- before the audio -------------------------------------------------------------------------------------------------


async def announced(house: House, ref: str, events: list[Any]) -> "asyncio.Task[None]":
    house.write(ref, *events)
    name = f"campaign/{ref}"
    return asyncio.create_task(house.notifier.announced(name, len(house.shelf.events[name])))


async def test_tf_34_announced_says_that_the_request_is_on_its_way() -> None:
    """TF-34: when it returns the notification is on its way to every receiver that is well, though none has answered."""
    house, receiver = House(msgspec.structs.replace(QUICK, request_timeout_ms=10_000)), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await believed(house, receiver, "sales")
        receiver.held = asyncio.Event()
        connected = talk("sales", 1)[3]
        house.books["campaign/sales"].apply(talk("sales", 1)[0])
        house.books["campaign/sales"].apply(talk("sales", 1)[1])
        waiting = await announced(house, "sales", [connected])
        await asyncio.wait_for(waiting, PATIENCE_S)
        assert not complete(house, receiver, "sales"), "it is on its way, and not yet answered"
        await until(lambda: ("sales", 4) in receiver.requests)
        assert (await house.all())[-1].type == "call.connected"


async def test_tf_34_the_bytes_have_left_this_process_when_announced_returns() -> None:
    """TF-34: given a receiver that doesn't even run, then its kernel holds the whole request by then."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        house = House()
        async with living(house):
            port = listening.getsockname()[1]
            house.put("crm", f"http://127.0.0.1:{port}/hook", types=("call.connected",))
            house.write("sales", *opening("sales"))
            await house.merged()
            events = talk("sales", 1)[:4]
            await asyncio.wait_for(await announced(house, "sales", events), PATIENCE_S)
            accepted, _ = listening.accept()
            with accepted:
                accepted.setblocking(False)
                request = accepted.recv(65_536)
        body = request.partition(b"\r\n\r\n")[2]
        assert msgspec.json.decode(body)["type"] == "call.connected"


async def test_announced_waits_while_the_one_before_is_unanswered() -> None:
    house, receiver = House(msgspec.structs.replace(QUICK, request_timeout_ms=10_000)), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        receiver.held = asyncio.Event()
        waiting = await announced(house, "sales", opening("sales"))
        await until(lambda: receiver.under_way == 1)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        receiver.held.set()
        await asyncio.wait_for(waiting, PATIENCE_S)
        await until(lambda: ("sales", 3) in receiver.requests)


@pytest.mark.parametrize("trouble", ["none", "refusing", "parked", "gone", "other types", "other campaign"])
async def test_announced_doesnt_wait_for_who_isnt_well_or_doesnt_care(trouble: str) -> None:
    limits = msgspec.structs.replace(QUICK, retry_delays_ms=(3_600_000,), give_up_after_ms=10**9)
    house, receiver = House(limits), Receiver()
    async with living(house, receiver):
        if trouble == "refusing":
            receiver.always = 500
        elif trouble == "parked":
            receiver.always = 410
        if trouble == "gone":
            house.put("crm", "http://127.0.0.1:9/hook")
        elif trouble == "other types":
            house.put("crm", receiver.url, types=("contact.cancelled",))
        elif trouble == "other campaign":
            house.put("crm", receiver.url, campaigns=("support",))
        elif trouble != "none":
            house.put("crm", receiver.url)
        waiting = await announced(house, "sales", opening("sales"))
        await asyncio.wait_for(waiting, PATIENCE_S)
        assert house.notifier.position == (4 if trouble == "parked" else 3)  # that it is parked is news


async def test_a_stop_delivers_what_it_can_and_saves_how_far_it_came() -> None:
    house, receiver = House(msgspec.structs.replace(QUICK, save_every_ms=60_000)), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"), *talk("sales", 1))
        await house.merged()
        await house.restart()
        assert complete(house, receiver, "sales")
        house.write("sales", status(1))
        await believed(house, receiver, "sales")
        assert receiver.repeated == 0


async def test_progress_is_saved_every_so_many_deliveries() -> None:
    house = House(msgspec.structs.replace(QUICK, save_every_ms=60_000, save_every_deliveries=2))
    receiver = Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url)
        house.write("sales", *opening("sales"))
        await believed(house, receiver, "sales")
        assert house.shelf.checkpoints["webhook/crm@0", "campaign/sales"] == 2
        await house.kill()
        await house.notifier.start()
        await until(lambda: receiver.repeated == 1)  # the third: delivered, not yet noted
        assert [seq for _, seq in receiver.requests] == [1, 2, 3, 3]


async def test_a_campaign_that_is_wanted_later_is_told_from_then_on_and_one_no_longer_wanted_no_more() -> None:
    house, receiver = House(), Receiver()
    async with living(house, receiver):
        house.put("crm", receiver.url, campaigns=("sales",))
        house.write("sales", *opening("sales"))
        house.write("support", *opening("support"))
        await believed(house, receiver, "sales")
        assert [one.campaign for one in house.notifier.lanes("crm")] == ["sales"]
        house.put("crm", receiver.url, campaigns=("support",))
        await until(lambda: not house.notifier.lanes("crm"))
        house.write("sales", status(1))
        house.write("support", status(1))
        await until(lambda: ("support", 4) in receiver.requests)
        await house.merged()
        assert [ref for ref, _ in receiver.requests] == ["sales"] * 3 + ["support"]
