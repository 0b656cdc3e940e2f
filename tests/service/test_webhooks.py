"""What receivers and readers of the feed are told by the whole service: everything, in order, signed, the same bytes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from adapters.notify.notification import is_told
from engine.campaigns import log_of
from engine.core.call import CallBridged, CallConnected
from simulations.engine_process import free_port
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, token_of
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.world import PATIENCE_S, World, running, settings_for

SECRET = "whsec_" + "QUJD" * 10
ENVELOPE = {"id", "type", "version", "time", "cursor", "campaign", "seq", "data"}
LONG_MS = 600_000


class Receiver:
    """Takes, verifies and keeps what it is sent, on a port that it keeps while it is down.

    `statuses` answers the next requests, 204 whatever follows. While `held`, requests of that type get no answer.
    """

    def __init__(self) -> None:
        self.statuses: deque[int] = deque()
        self.attempts: list[bytes] = []
        self.taken: list[bytes] = []
        self.notice: Callable[[dict[str, Any]], None] = lambda event: None
        self.held_type = ""
        self.let_go = asyncio.Event()
        self._port = free_port()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(one) for one in self.taken]

    def of(self, campaign: str) -> list[bytes]:
        return [body for body, event in zip(self.taken, self.events, strict=True) if event["campaign"] == campaign]

    async def up(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        event = Webhook(SECRET).verify(body, dict(request.headers))  # raises, and so answers 500, if it isn't genuine
        assert request.headers["webhook-id"] == event["id"]
        self.attempts.append(body)
        self.notice(event)
        if event["type"] == self.held_type:
            await self.let_go.wait()
        status = self.statuses.popleft() if self.statuses else 204
        if status == 204:
            self.taken.append(body)
        return web.Response(status=status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.up()
    yield made
    made.let_go.set()
    await made.down()


async def subscribe(world: World, receiver: Receiver) -> None:
    await world.admin.call("PUT", "/v1/webhooks/crm", {"url": receiver.url, "secret": SECRET})


class Page(msgspec.Struct):
    events: list[msgspec.Raw]
    cursor: str


async def feed(world: World, campaign: str = "", after: str = "") -> list[bytes]:
    """The bodies of the feed's notifications behind a cursor, as they came over the wire."""
    found: list[bytes] = []
    while True:
        answer = await ask(world, "GET", f"/v1/events?after={after}&limit=7&campaign={campaign}")
        page = msgspec.json.decode(answer.raw, type=Page)
        if not page.events:
            return found
        found += [bytes(one) for one in page.events]
        after = page.cursor


async def streamed(world: World, campaign: str, after: str, count: int) -> list[bytes]:
    """So many notifications of a campaign behind a cursor, as a stream brings them."""
    headers = {"Authorization": f"Bearer {token_of(world)}", "Accept": "text/event-stream", "Last-Event-ID": after}
    url = f"{world.base}/v1/events?campaign={campaign}"
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE_S), world.session.get(url, headers=headers) as answer:
        while len(found) < count:
            name, _, value = (await answer.content.readline()).rstrip(b"\r\n").partition(b": ")
            found += [value] if name == b"data" else []
    return found


async def work(world: World, ref: str, agent: str, contacts: int) -> None:
    """An agent works off contacts, each with a number that is busy and one that answers."""
    client = world.agent(agent)
    for _ in range(contacts):
        held = await take(client, agent)
        busy = (await act(client, held, "dial"))["call_id"]
        await world.told(ref, "call.ended", call=busy)
        call = (await act(client, held, "dial"))["call_id"]
        await world.told(ref, "call.bridged", call=call)
        await client.call("POST", f"/v1/calls/{call}/hangup", {})
        await world.told(ref, "call.ended", call=call)
        await act(client, held, "disposition", disposition="engaged")


def numbers(first: int, count: int) -> list[list[str]]:
    return [[f"2555{place:04}", f"1555{place:04}"] for place in range(first, first + count)]


async def caught_up(world: World, receiver: Receiver, *refs: str) -> None:
    """The receiver was told all that the log tells, byte for byte as the feed does, per campaign in the same order."""
    for ref in refs:
        spoken = 0
        async for batch in world.service.store.read(log_of(ref)):
            spoken += sum(is_told(one.event) for one in batch)
        await world.until(lambda ref=ref, spoken=spoken: len(receiver.of(ref)) >= spoken)  # type: ignore[misc]
        told = receiver.of(ref)
        assert told == await feed(world, ref)
        assert [msgspec.json.decode(one)["seq"] for one in told] == list(range(1, spoken + 1))


async def test_TF_06_TF_37_EX_10_a_receiver_is_told_everything_in_order_signed_in_one_envelope(
    service: World, receiver: Receiver
) -> None:
    """Given two campaigns that run side by side, then the receiver knows all of it, each transition under one id."""
    await subscribe(service, receiver)
    for place, (ref, agent) in enumerate((("spring", "agent1"), ("autumn", "agent2"))):
        await service.campaign(ref, numbers(100 * place, 4), agents=(agent,))
        await service.run(ref)
    async with asyncio.TaskGroup() as group:
        group.create_task(work(service, "spring", "agent1", 2))
        group.create_task(work(service, "autumn", "agent2", 2))
    await act(service.agent("agent1"), await take(service.agent("agent1")), "skip", reason="not now")
    await service.manager.call("POST", "/v1/campaigns/spring/contacts/spring:4/cancel", {"reason": "asked to"})
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"name": "Late spring", "settings": {"max_lines": 7}})
    for ref in ("spring", "autumn"):
        await service.ask(ref, "stopped")
        await service.told(ref, "campaign.status", state="stopped")
    await caught_up(service, receiver, "spring", "autumn")
    events = receiver.events
    assert all(set(one) == ENVELOPE for one in events)
    assert {one["type"].partition(".")[0] for one in events} >= {"campaign", "agent", "contact", "contacts", "call"}
    assert receiver.attempts == receiver.taken  # nothing went wrong, so nothing came twice
    assert len({one["id"] for one in events}) == len(events)
    for ref in ("spring", "autumn"):
        states = [one["data"]["state"] for one in events if (one["campaign"], one["type"]) == (ref, "campaign.status")]
        assert states == ["starting", "running", "stopping", "stopped"]


async def test_TF_06_a_refused_notification_comes_again_as_it_was_and_before_the_next(
    service: World, receiver: Receiver
) -> None:
    await subscribe(service, receiver)
    await service.campaign("spring", numbers(0, 1))
    await caught_up(service, receiver, "spring")
    receiver.statuses.extend([500, 204, 503])  # a first failure is tried again at once
    await service.run("spring")
    await service.told("spring", "agent.status", state="available")
    await caught_up(service, receiver, "spring")
    twice = [body for body in receiver.taken if receiver.attempts.count(body) == 2]
    assert [msgspec.json.decode(one)["data"].get("state") for one in twice] == ["starting", "logging_in"]
    assert len(receiver.attempts) == len(receiver.taken) + 2
    assert sorted(receiver.attempts, key=lambda one: msgspec.json.decode(one)["seq"]) == receiver.attempts


# -- before the audio -------------------------------------------------------------------------------------------------


def with_bound_ms(world: World, bound_ms: int) -> None:
    """How long a bridge waits for its notification. What a test awaits mustn't be cut short by a busy machine."""
    world.service.engine.limits.announce_timeout_ms = bound_ms


async def answered(world: World) -> tuple[str, dict[str, Any]]:
    """Dial the one contact, who answers: (call id, the call.connected of the feed)."""
    rows = [{"ref": "spring:1", "name": "Alma", "numbers": ["15550001"], "data": {"plan": "family"}}]
    await world.campaign("spring", [])
    await world.manager.call("POST", "/v1/campaigns/spring/contacts", rows)
    await world.run("spring")
    agent = world.agent("agent1")
    call = (await act(agent, await take(agent), "dial"))["call_id"]
    return call, await world.told("spring", "call.connected", call=call)


async def positions(world: World, *kinds: type) -> list[int]:
    """Where in the campaign's log events of these types are, first of each."""
    found: dict[type, int] = {}
    async for batch in world.service.store.read(log_of("spring")):
        for one in batch:
            found.setdefault(type(one.event), one.pos)
    return [found[kind] for kind in kinds]


async def test_TF_34_call_connected_is_received_before_audio_is_bridged(service: World, receiver: Receiver) -> None:
    """And it carries what a desktop shows: contact, call, number, campaign and the contact's data."""
    with_bound_ms(service, LONG_MS)
    durable: dict[str, int] = {}

    def notice(event: dict[str, Any]) -> None:
        durable[event["type"]] = service.service.engine.campaigns["spring"].actor.log.position

    receiver.notice = notice
    await subscribe(service, receiver)
    call, _ = await answered(service)
    await service.told("spring", "call.bridged", call=call)
    connected, bridged = await positions(service, CallConnected, CallBridged)
    assert connected <= durable["call.connected"] < bridged
    told = next(one for one in receiver.events if one["type"] == "call.connected")
    expected = {"call": call, "contact": "spring:1", "campaign": "spring", "number": "15550001", "name": "Alma"}
    assert told["data"].items() >= expected.items()
    assert told["data"]["data"] == {"plan": "family"}


async def test_TF_34_audio_waits_for_call_connected_to_be_sent(
    service: World, receiver: Receiver, pbx: SimulatedPbx
) -> None:
    """Given a receiver that has yet to take what came before, then nobody is bridged until call.connected is sent to it."""
    with_bound_ms(service, LONG_MS)
    await subscribe(service, receiver)
    receiver.held_type = "call.requested"
    call, _ = await answered(service)
    await asyncio.sleep(0.2)
    assert "call.connected" not in {msgspec.json.decode(one)["type"] for one in receiver.attempts}
    assert "redirect" not in pbx.actions  # it is by this action that the PBX bridges
    assert (await service.manager.call("GET", f"/v1/calls/{call}"))["status"] == "connected"
    receiver.held_type = "call.connected"  # sent is enough: audio doesn't wait for the answer
    receiver.let_go.set()
    receiver.let_go = asyncio.Event()
    await service.told("spring", "call.bridged", call=call)
    assert pbx.actions["redirect"] == 1
    assert msgspec.json.decode(receiver.attempts[-1])["type"] == "call.connected"


async def test_a_receiver_that_dawdles_keeps_no_contact_waiting(service: World, receiver: Receiver) -> None:
    with_bound_ms(service, 50)
    await subscribe(service, receiver)
    receiver.held_type = "call.requested"
    call, _ = await answered(service)
    await service.told("spring", "call.bridged", call=call)
    assert "call.connected" not in {one["type"] for one in receiver.events}
    receiver.let_go.set()
    await caught_up(service, receiver, "spring")


# -- outages ----------------------------------------------------------------------------------------------------------


async def test_EX_10_a_receiver_that_was_down_over_a_restart_catches_up(
    tmp_path: Path, pbx: SimulatedPbx, receiver: Receiver
) -> None:
    """Given a receiver that goes down in mid-campaign and a service that is restarted meanwhile, then nothing is lost."""
    settings = settings_for(tmp_path, ami_of(pbx))
    async with running(settings) as world:
        await subscribe(world, receiver)
        await world.campaign("spring", numbers(0, 3))
        await world.run("spring")
        await work(world, "spring", "agent1", 1)
        await caught_up(world, receiver, "spring")
        before = len(receiver.taken)
        await receiver.down()
        await work(world, "spring", "agent1", 1)
        await failing(world)
    async with running(settings) as world:
        await failing(world)
        await world.told("spring", "agent.status", state="available")
        assert len(receiver.taken) == before
        await receiver.up()
        await work(world, "spring", "agent1", 1)
        await world.told("spring", "campaign.status", state="stopped")
        await caught_up(world, receiver, "spring")
        assert len(receiver.taken) > before
        lanes = (await world.admin.call("GET", "/v1/webhooks/crm"))["lanes"]
        assert [(one["behind"], one["attempts"]) for one in lanes] == [(0, 0)]


async def failing(world: World) -> None:
    """The webhook's state says that deliveries fail, and how many notifications wait."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            lanes = (await world.admin.call("GET", "/v1/webhooks/crm"))["lanes"]
            if lanes and lanes[0]["attempts"] and lanes[0]["behind"]:
                return
            await asyncio.sleep(0.02)


async def test_TF_38_who_lost_notifications_catches_up_from_the_feed_with_the_same_bytes(
    service: World, receiver: Receiver
) -> None:
    """Given a receiver that answered and then lost what it took, then the feed gives it again from the last it kept on."""
    await subscribe(service, receiver)
    for place, (ref, agent) in enumerate((("spring", "agent1"), ("autumn", "agent2"))):
        await service.campaign(ref, numbers(100 * place, 3), agents=(agent,))
        await service.run(ref)
    await work(service, "spring", "agent1", 1)
    await caught_up(service, receiver, "spring", "autumn")
    kept = {one["campaign"]: one["cursor"] for one in receiver.events}
    lost_from = {ref: len(receiver.of(ref)) for ref in kept}
    async with asyncio.TaskGroup() as group:
        group.create_task(work(service, "spring", "agent1", 1))
        group.create_task(work(service, "autumn", "agent2", 1))
    await caught_up(service, receiver, "spring", "autumn")
    for ref, cursor in kept.items():
        lost = receiver.of(ref)[lost_from[ref] :]
        assert len(lost) > 10
        assert await feed(service, ref, after=cursor) == lost
        assert await streamed(service, ref, cursor, len(lost)) == lost
    everything = await feed(service)  # one order of all campaigns, in which each keeps its own
    assert sorted(everything) == sorted(receiver.taken)
    assert [one for one in everything if one in set(receiver.of("spring"))] == receiver.of("spring")
    for ref in kept:  # it is by writing that the service finds a stream closed
        await service.manager.call("PATCH", f"/v1/campaigns/{ref}", {"name": "Over"})
