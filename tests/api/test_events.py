"""The feed over HTTP: long polls wait and wake, streams resume where they were cut off, without gap or repeat."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest

from api import event
from api.broadcast import MAX_UNREAD_BYTES
from api.route import HttpLimits
from api.ticket import LIVES_MS
from api.token import Role
from engine.ports import Clock, LogArchived, Notification
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, problem, token_of
from tests.conftest import ami_of
from tests.world import World, running, settings_for

EVENTS = "/v1/events"
PATIENCE_S = 15


class Stream:
    """A client of server-sent events that keeps the last id, as browsers do."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last_id = ""

    async def take(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        data = ""
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                line = (await self.answer.content.readline()).decode()
                assert line, "the stream was closed"
                name, _, value = line.rstrip("\r\n").partition(": ")
                if name == "data":
                    data = value
                elif name == "id":
                    self.last_id = value
                elif not name and data:
                    found.append(json.loads(data))
                    data = ""
        return found


@asynccontextmanager
async def stream(service: World, query: str, last_id: str | None = None) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {token_of(service)}", "Accept": "text/event-stream"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    async with service.session.get(f"{service.base}{EVENTS}?{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield Stream(answer)


async def name(service: World, *names: str) -> None:
    for one in names:
        await service.manager.call("PATCH", "/v1/campaigns/spring", {"name": one})


async def test_a_long_poll_waits_and_wakes(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await service.told("spring", "campaign.created")
    cursor = (await ask(service, "GET", f"{EVENTS}?after=now")).body["cursor"]
    poll = asyncio.create_task(ask(service, "GET", f"{EVENTS}?after={cursor}&wait=25"))
    await service.until(lambda: bool(service.service.notifier._feed._waiters))
    assert not poll.done()
    await name(service, "New")
    async with asyncio.timeout(PATIENCE_S):
        found = (await poll).body
    assert [one["type"] for one in found["events"]] == ["campaign.renamed"]
    following = (await ask(service, "GET", f"{EVENTS}?after={found['cursor']}")).body
    assert following["events"] == []


async def test_a_long_poll_for_what_does_not_happen_ends_empty(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await service.told("spring", "campaign.created")
    poll = asyncio.create_task(ask(service, "GET", f"{EVENTS}?after=now&wait=1&types=call.ended"))
    await name(service, "New")
    found = (await poll).body
    assert found["events"] == []
    assert found["cursor"]


async def test_TF_37_TF_38_the_feed_is_paged_without_gap_or_repeat(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await name(service, *(f"Name {one}" for one in range(10)))
    await service.told("spring", "campaign.renamed", times=10)
    seen: list[dict[str, Any]] = []
    cursor = ""
    while page := (await ask(service, "GET", f"{EVENTS}?after={cursor}&limit=3")).body:
        assert len(page["events"]) <= 3
        if not page["events"]:
            break
        seen += page["events"]
        cursor = page["cursor"]
    assert [one["seq"] for one in seen] == list(range(1, len(seen) + 1))
    assert all(
        set(one) == {"id", "type", "version", "time", "cursor", "campaign", "seq", "data"} for one in seen
    )  # TF-37
    again = (await ask(service, "GET", f"{EVENTS}?after={seen[4]['cursor']}&limit=500")).body["events"]
    assert again == seen[5:]


async def test_TF_38_a_stream_resumes_where_it_was_cut_off(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await service.told("spring", "campaign.created")
    async with stream(service, "after=") as first:
        seen = await first.take(1)
        await name(service, "A", "B", "C")
        seen += await first.take(2)  # the third is on its way and lost
    await name(service, "D", "E")
    async with stream(service, "after=", last_id=first.last_id) as second:
        seen += await second.take(3)
        await name(service, "F")
        seen += await second.take(1)
    assert [one["seq"] for one in seen] == list(range(1, 8))
    assert second.last_id == seen[-1]["cursor"]
    polled = (await ask(service, "GET", f"{EVENTS}?after=&limit=500")).body["events"]
    assert polled == seen  # the same bodies by either way


async def test_a_stream_gives_what_was_asked_for(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await service.campaign("autumn", [], agents=())
    async with stream(service, "campaign=spring&types=campaign.renamed") as one:
        await service.manager.call("PATCH", "/v1/campaigns/autumn", {"name": "Not asked for"})
        await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"max_lines": 3}})
        await name(service, "Asked for")
        assert [found["data"]["new"] for found in await one.take(1)] == ["Asked for"]


async def test_a_client_that_goes_away_leaves_nothing(service: World) -> None:
    """A stream's place is free again; a command of somebody who didn't wait for the answer is carried out."""
    await service.campaign("spring", [], agents=())
    for _ in range(3):
        async with stream(service, "after=") as one:
            await one.take(1)
    await name(service, "News")  # it is by writing that a closed connection is found
    async with asyncio.timeout(PATIENCE_S):
        while await open_streams(service) > 0:
            await asyncio.sleep(0.05)
    body = b'{"name": "By nobody"}'
    _, writer = await asyncio.open_connection("127.0.0.1", service.service.port)
    writer.write(
        b"PATCH /v1/campaigns/spring HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + token_of(service).encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await writer.drain()
    writer.close()
    await service.told("spring", "campaign.renamed", new="By nobody")


@pytest.fixture
async def narrow(tmp_path: Any, pbx: SimulatedPbx) -> AsyncIterator[World]:
    """A service with room for one stream only."""
    settings = settings_for(tmp_path, ami_of(pbx))
    http = msgspec.structs.replace(settings.http, max_streams=1)
    async with running(msgspec.structs.replace(settings, http=http)) as world:
        yield world


async def test_streams_are_bounded(narrow: World) -> None:
    await narrow.campaign("spring", [], agents=())
    await narrow.told("spring", "campaign.created")
    async with stream(narrow, "after=") as one:
        await one.take(1)
        for headers in ({}, {"Accept": "text/event-stream"}):
            answer = await ask(narrow, "GET", f"{EVENTS}?after=", headers=headers)
            problem(answer, 503, "too-many-streams")
            assert int(answer.headers["Retry-After"]) >= 1


async def test_agents_have_no_feed_and_crms_do(service: World) -> None:
    await service.campaign("spring", [])
    problem(await ask(service, "GET", EVENTS, token=token_of(service, Role.AGENT, "agent1")), 403, "forbidden")
    assert (await ask(service, "GET", f"{EVENTS}?after=", token=token_of(service, Role.CRM, "crm"))).status == 200


# -- tickets ------------------------------------------------------------------------------------------------------------


async def test_a_ticket_opens_one_stream_of_what_it_was_given_for(service: World) -> None:
    await service.campaign("spring", [], agents=())
    await service.campaign("autumn", [], agents=())
    given = await ask(service, "POST", f"{EVENTS}/tickets", {"campaign": "spring", "types": "campaign.renamed"})
    assert given.status == 200
    address = f"{service.base}{EVENTS}?ticket={given.body['ticket']}"
    async with service.session.get(address) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        await service.manager.call("PATCH", "/v1/campaigns/autumn", {"name": "Not asked for"})
        await name(service, "Asked for")
        assert [one["data"]["new"] for one in await Stream(answer).take(1)] == ["Asked for"]
    async with service.session.get(address) as again:
        assert again.status == 401


async def test_a_ticket_gives_no_more_than_the_token_it_was_asked_with(service: World) -> None:
    await service.campaign("spring", [], agents=())
    bound = token_of(service, Role.CRM, "crm", "spring")
    problem(await ask(service, "POST", f"{EVENTS}/tickets", {}, token=bound), 403, "forbidden")
    for wrong in ({"types": "A B"}, {"xyzzy": 1}):
        problem(await ask(service, "POST", f"{EVENTS}/tickets", wrong), 422, "invalid-request")
    given = await ask(service, "POST", f"{EVENTS}/tickets", {"campaign": "spring"}, token=bound)
    ticket = given.body["ticket"]
    for path in (f"/v1/campaigns?ticket={ticket}", f"{EVENTS}?ticket=none", f"{EVENTS}/tickets?ticket={ticket}"):
        assert (await ask(service, "GET", path, token="")).status in (401, 405), path
    await ask(service, "POST", "/v1/tokens/revoke", {"jti": service.service.keys.verify(bound).jti})
    assert (await ask(service, "GET", f"{EVENTS}?ticket={ticket}", token="")).status == 401


class Ahead:
    """A clock that is ahead of another by as much as a test says."""

    def __init__(self, clock: Clock) -> None:
        self.ahead_ms = 0
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.ahead_ms


@pytest.mark.parametrize(("late_ms", "status"), [(LIVES_MS - 5_000, 200), (LIVES_MS, 401)])
async def test_a_ticket_is_good_for_as_long_as_it_says(service: World, late_ms: int, status: int) -> None:
    clock = Ahead(service.service.engine.clock)
    service.service.engine.clock = clock
    asked_at = clock.now_ms()
    given = (await ask(service, "POST", f"{EVENTS}/tickets", {})).body
    until = datetime.fromisoformat(given["expires_at"]).timestamp() * 1_000
    assert asked_at + LIVES_MS <= until <= clock.now_ms() + LIVES_MS
    clock.ahead_ms = late_ms
    async with service.session.get(f"{service.base}{EVENTS}?ticket={given['ticket']}") as answer:
        assert answer.status == status


# -- heartbeats -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def beating(tmp_path: Any, pbx: SimulatedPbx) -> AsyncIterator[World]:
    """A service whose streams beat each second."""
    settings = settings_for(tmp_path, ami_of(pbx))
    http = msgspec.structs.replace(settings.http, heartbeat_s=1)
    async with running(msgspec.structs.replace(settings, http=http)) as world:
        yield world


async def test_a_stream_without_news_beats_and_news_come_between_beats(beating: World) -> None:
    """A heartbeat is a comment: no message for the client's code, and no id that would move its place."""
    await beating.campaign("spring", [], agents=())
    await beating.told("spring", "campaign.created")
    async with stream(beating, "after=now") as one, asyncio.timeout(PATIENCE_S):
        quiet = [(await one.answer.content.readline()).decode().strip() for _ in range(4)]
        assert [line[:6] for line in quiet] == [": ping", "", ": ping", ""]
        await name(beating, "News")
        assert [found["data"]["new"] for found in await one.take(1)] == ["News"]
        while not (await one.answer.content.readline()).startswith(b": ping"):
            pass


# -- ends and gaps --------------------------------------------------------------------------------------------------------


async def test_a_stop_ends_streams_and_polls_as_answers_end(tmp_path: Any, pbx: SimulatedPbx) -> None:
    async with running(settings_for(tmp_path, ami_of(pbx))) as service:
        await service.campaign("spring", [], agents=())
        await service.told("spring", "campaign.created")
        polling = asyncio.create_task(ask(service, "GET", f"{EVENTS}?after=now&wait=30"))
        async with stream(service, "after=") as one:
            await one.take(1)
            stopping = asyncio.create_task(service.service.stop())
            async with asyncio.timeout(PATIENCE_S):
                while await one.answer.content.readline():
                    pass  # to the proper end: a connection that is cut raises
            polled = await polling
            assert (polled.status, polled.body["events"]) == (200, [])
        await stopping


async def test_what_left_the_store_is_a_gap_that_is_told(service: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.campaign("spring", [], agents=())
    await name(service, "A", "B")
    await service.campaign("autumn", [], agents=())
    await service.told("autumn", "campaign.created")
    feed = service.service.notifier._feed
    page = feed._page

    async def archived(n: int, head: int, campaign: str) -> Any:
        if feed.order.at_n(n + 1).log == "campaign/spring":
            raise LogArchived("log 'campaign/spring' was archived, and no archive's folder is set")
        return await page(n, head, campaign)

    monkeypatch.setattr(feed, "_page", archived)
    gone = await ask(service, "GET", f"{EVENTS}?after=")
    problem(gone, 410, "feed-gap")
    assert "'spring'" in gone.body["detail"]
    after = gone.headers["Ringfold-Cursor"]
    following = (await ask(service, "GET", f"{EVENTS}?after={after}")).body["events"]
    assert [one["campaign"] for one in following] == ["autumn"]
    async with stream(service, "after=") as one:
        lines = [(await one.answer.content.readline()).decode().strip() for _ in range(3)]
        assert lines[:2] == [f"id: {after}", "event: gap"]
        assert "'spring'" in lines[2]
        assert [found["campaign"] for found in await one.take(1)] == ["autumn"]


@pytest.fixture
async def impatient(tmp_path: Any, pbx: SimulatedPbx, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A service that waits a second for a stream's client that reads nothing, and takes any number of requests."""
    monkeypatch.setattr("engine.service.HttpLimits", partial(HttpLimits, stalled_stream_s=1))
    settings = settings_for(tmp_path, ami_of(pbx))
    http = msgspec.structs.replace(settings.http, requests_per_second=0)
    async with running(msgspec.structs.replace(settings, http=http)) as world:
        yield world


async def test_a_stream_that_is_not_read_is_cut_off_and_goes_on_where_it_was(impatient: World) -> None:
    """What waits for it fits into the sockets' buffers; then its place is free again, and nothing is lost."""
    service = impatient
    await service.campaign("spring", [], agents=())
    loop = asyncio.get_running_loop()
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        lazy.setblocking(False)
        await loop.sock_connect(lazy, ("127.0.0.1", service.service.port))
        ask_for = f"GET {EVENTS}?after= HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        await loop.sock_sendall(lazy, f"{ask_for}Authorization: Bearer {token_of(service)}\r\n\r\n".encode())
        while await open_streams(service) < 1:
            await asyncio.sleep(0.02)
        written = 0
        while await open_streams(service) and written < 40_000:
            await asyncio.gather(*(name(service, f"{written + one} " + "y" * 150) for one in range(20)))
            written += 20
        assert await open_streams(service) == 0
        read = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while chunk := await loop.sock_recv(lazy, 65_536):
                    read += chunk
    ids = re.findall(rb"^id: (\S+)\r\n", read, re.MULTILINE)
    assert 0 < len(ids) < written
    seen = [json.loads(line)["seq"] for line in re.findall(rb"^data: (\{.*\})\r\n", read, re.MULTILINE)]
    async with stream(service, "after=", last_id=ids[len(seen) - 1].decode()) as again:
        assert [one["seq"] for one in await again.take(2)] == [seen[-1] + 1, seen[-1] + 2]


async def test_what_waits_for_a_client_is_bounded_in_bytes_and_nothing_is_left_out() -> None:
    """Given long notifications, then a page holds as many as may wait, and the next one goes on behind them."""
    told = [
        Notification(
            id=f"c:{n}", type="t", time="", cursor=f"{n}", campaign="c", seq=n, data={"pad": "é" * (size // 2)}
        )
        for n, size in enumerate([10_000] * 20 + [200_000] * 2 + [100] * 5, 1)
    ]

    class Told:
        async def read(self, after: str, limit: int, *_: object) -> tuple[Sequence[Notification], str]:
            found = told[int(after) : int(after) + limit]
            return found, found[-1].cursor if found else after

    call: Any = SimpleNamespace(service=SimpleNamespace(feed=Told()))
    heard: list[str] = []
    cursor, pages = "0", 0
    while True:
        _, page, cursor = await event._behind(call, cursor, "", ())
        if not page:
            break
        pages += 1
        assert len(page) == 1 or sum(len(text.encode()) for _, text in page) <= MAX_UNREAD_BYTES
        assert cursor == page[-1][0]
        heard += [id_ for id_, _ in page]
    assert heard == [one.cursor for one in told]
    assert pages == 7


async def open_streams(service: World) -> float:
    raw = (await ask(service, "GET", "/metrics")).raw.decode()
    return float(next(line for line in raw.splitlines() if line.startswith("ringfold_event_streams")).split()[1])
