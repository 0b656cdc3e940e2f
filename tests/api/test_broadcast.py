"""Streams that are served together: each hears what it asked for, once and in order, whenever it came and however it reads."""

import asyncio
import random
import socket
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from adapters.notify.entry import Entry
from api.broadcast import MAX_UNREAD_BYTES, Broadcast, Listener, frame, pages
from engine.ports import Notification
from tests.adapters.notify.house import House, opening, status, until
from tests.api.asking import ask, token_of
from tests.api.test_events import EVENTS, PATIENCE_S, name, stream
from tests.world import World

REFS = ("spring", "autumn")
FILTERS = (
    "",
    "campaign=spring",
    "campaign=autumn",
    "types=campaign.renamed",
    "campaign=spring&types=campaign.settings_changed",
)


def told(seq: int, pad: int = 0) -> Notification:
    return Notification(
        id=f"c:{seq}", type="t", time="", cursor=f"cursor{seq}", campaign="c", seq=seq, data={"pad": "x" * pad}
    )


@pytest.mark.parametrize("sizes", [[], [10], [10] * 5_000, [200_000, 10, 200_000], [MAX_UNREAD_BYTES // 2] * 5])
def test_pages_hold_everything_in_order_and_are_bounded(sizes: Sequence[int]) -> None:
    all_told = [told(seq, size) for seq, size in enumerate(sizes)]
    found = list(pages(all_told))
    assert b"".join(one.plain for one in found) == b"".join(frame(one) for one in all_told)
    longest = max((len(frame(one)) for one in all_told), default=0)
    assert all(len(one.plain) <= max(MAX_UNREAD_BYTES, longest) for one in found)
    assert [one.cursor.encode() for one in found] == [one.plain.rpartition(b"id: ")[2].split()[0] for one in found]
    assert all(one.chunk == b"%x\r\n%b\r\n" % (len(one.plain), one.plain) for one in found)


async def test_streams_that_come_and_go_amid_news_hear_each_thing_once(service: World) -> None:
    """Whenever a stream joins those that are served together, nothing is missing and nothing comes twice."""
    for ref in REFS:
        await service.campaign(ref, [], agents=())
        await service.told(ref, "campaign.created")
    chance, going = random.Random(7), True

    async def news() -> None:
        number = 0
        while going:
            number += 1
            what = {"name": f"Name {number}"} if number % 3 else {"settings": {"max_lines": number}}
            await service.manager.call("PATCH", f"/v1/campaigns/{REFS[number % 2]}", what)
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.01)))

    async def hear(query: str) -> tuple[str, list[dict[str, Any]], str]:
        await asyncio.sleep(chance.uniform(0, 1))
        start = (await ask(service, "GET", f"{EVENTS}?after=now")).body["cursor"]
        await asyncio.sleep(chance.choice((0, 0.05)))  # some have to catch up first
        async with stream(service, f"{query}&after={start}") as one:
            return query, await one.take(chance.randint(3, 12)), start

    telling = asyncio.create_task(news())
    heard = await asyncio.gather(*(hear(query) for query in FILTERS * 6))
    going = False
    await telling
    for query, found, start in heard:
        polled = (await ask(service, "GET", f"{EVENTS}?{query}&after={start}&limit={len(found)}")).body["events"]
        assert found == polled
    listening = service.service.notifier._feed._listening
    async with asyncio.timeout(PATIENCE_S):
        while listening:  # it is by writing that a closed connection is found
            for ref in REFS:
                body = {"name": f"{chance.random()}", "settings": {"max_lines": chance.randint(1, 10_000)}}
                await service.manager.call("PATCH", f"/v1/campaigns/{ref}", body)
            await asyncio.sleep(0.01)


async def test_a_stream_whose_token_is_revoked_hears_nothing_of_what_comes_then(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await service.told("spring", "campaign.created")
    token = token_of(service)
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with (
        service.session.get(f"{service.base}{EVENTS}?after=now", headers=headers) as answer,
        stream(service, "after=now") as other,
    ):
        await name(service, "Before")
        while b"Before" not in await answer.content.readline():
            pass
        await ask(service, "POST", "/v1/tokens/revoke", {"jti": service.service.keys.verify(token).jti})
        await name(service, "After")
        assert b"After" not in await asyncio.wait_for(answer.content.read(), 10)  # to the end of the answer
        assert (await other.take(2))[-1]["data"]["new"] == "After"


async def test_who_does_not_read_is_let_go_and_others_are_told_all_the_same() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    broadcast = Broadcast(house.notifier)
    _, start = await house.notifier.read("now", 1)
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(2)]
    ends = [await loop.create_connection(asyncio.Protocol, sock=ours) for ours, _ in pairs]
    lazy, eager = (Listener(transport, False, start, lambda: True) for transport, _ in ends)
    leaves = [broadcast.join(one, ("", ())) for one in (lazy, eager)]
    assert all(leaves)
    assert len(house.notifier._feed._listening[""]) == 1  # read once for both
    theirs = pairs[1][1]
    theirs.setblocking(False)
    read = b""
    number = 0
    while not lazy.left.done():
        number += 1
        house.write("sales", *(status(number) for _ in range(50)))
        await house.merged()
        await asyncio.sleep(0)
        read += await loop.sock_recv(theirs, 1 << 20)
    assert ends[0][0].get_write_buffer_size() <= 2 * MAX_UNREAD_BYTES + 50 * 500
    assert not eager.left.done()
    behind, _ = await house.notifier.read(lazy.cursor, 1_000)
    assert behind  # what it wasn't given it can read
    assert behind[-1].cursor == eager.cursor
    await until(lambda: ends[1][0].get_write_buffer_size() == 0)
    for leave in leaves:
        assert leave is not None
        leave()
    assert not house.notifier._feed._listening
    for transport, _ in ends:
        transport.abort()
    for _, other in pairs:
        other.close()
    await house.notifier.stop()


async def test_what_cannot_be_rendered_for_a_stream_ends_that_and_not_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given news that can't be rendered, then its listeners are let go, before it, and others go on, and so does the feed."""
    house = House()
    await house.notifier.start()
    for ref in ("sales", "support"):
        house.write(ref, *opening(ref))
    await house.merged()
    broadcast, loop, feed = Broadcast(house.notifier), asyncio.get_running_loop(), house.notifier._feed
    pairs = [socket.socketpair() for _ in range(2)]
    ends = [(await loop.create_connection(asyncio.Protocol, sock=ours))[0] for ours, _ in pairs]
    _, start = await house.notifier.read("now", 1)
    broken, well = (Listener(transport, False, start, lambda: True) for transport in ends)
    leaves = [broadcast.join(broken, ("sales", ())), broadcast.join(well, ("support", ()))]
    render = feed.render

    def failing(entry: Entry) -> Notification:
        if entry.campaign == "sales":
            raise KeyError("a contact that is gone")
        return render(entry)

    monkeypatch.setattr(feed, "render", failing)
    house.write("sales", status(1))
    house.write("support", status(2))
    await house.merged()
    assert house.notifier.failed is None
    await until(lambda: well.cursor != start)
    assert (broken.left.done(), broken.cursor, well.left.done()) == (True, start, False)
    monkeypatch.undo()
    again = Listener(ends[0], False, (await house.notifier.read("now", 1))[1], lambda: True)
    leaves.append(broadcast.join(again, ("sales", ())))  # though nobody has left yet
    house.write("sales", status(3))
    await house.merged()
    newest = (await house.notifier.read("now", 1))[1]
    await until(lambda: again.cursor == newest)
    for leave in leaves:
        assert leave is not None
        leave()
    assert not feed._listening
    behind, _ = await house.notifier.read(broken.cursor, 10, campaign="sales")
    assert len(behind) == 2  # it missed nothing
    for transport, (_, other) in zip(ends, pairs, strict=True):
        transport.abort()
        other.close()
    await house.notifier.stop()


async def test_what_cannot_be_written_is_not_passed_over() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    broadcast = Broadcast(house.notifier)
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    _, start = await house.notifier.read("now", 1)
    listener = Listener(transport, False, start, lambda: True)
    leave = broadcast.join(listener, ("", ()))
    assert leave is not None
    [(channel, _)] = broadcast._channels.values()
    channel.tell([msgspec.structs.replace(told(1), data={"name": "\ud800"})])  # no text: it has no bytes
    await until(listener.left.done)
    assert listener.cursor == start
    leave()
    assert not house.notifier._feed._listening
    transport.abort()
    theirs.close()
    await house.notifier.stop()


async def test_who_has_not_heard_everything_is_not_served_with_those_who_have() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    _, start = await house.notifier.read("now", 1)
    house.write("sales", status(1))
    await house.merged()
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    listener = Listener(transport, False, start, lambda: True)
    assert Broadcast(house.notifier).join(listener, ("", ())) is None
    transport.abort()
    theirs.close()
    await house.notifier.stop()


async def test_who_comes_between_the_news_and_its_writing_is_not_told_twice() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    broadcast, loop = Broadcast(house.notifier), asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(2)]
    ends = [(await loop.create_connection(asyncio.Protocol, sock=ours))[0] for ours, _ in pairs]
    _, start = await house.notifier.read("now", 1)
    first = Listener(ends[0], False, start, lambda: True)
    assert broadcast.join(first, ("", ()))
    late: list[Listener] = []

    def come(told: Sequence[Notification]) -> None:
        if not late:
            late.append(Listener(ends[1], False, told[-1].cursor, lambda: True))
            assert broadcast.join(late[0], ("", ()))

    house.notifier.listen("", (), come)
    seen = []
    for number in (1, 2):
        house.write("sales", status(number))
        await house.merged()
        seen.append((await house.notifier.read("now", 1))[1])
        await until(lambda: first.cursor == seen[-1])
    assert late[0].cursor == seen[-1]
    read = [theirs.recv(65_536).count(b"id: ") for _, theirs in pairs]
    assert read == [2, 1]
    for transport, (_, other) in zip(ends, pairs, strict=True):
        transport.abort()
        other.close()
    await house.notifier.stop()
