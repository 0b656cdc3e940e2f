"""The whole service on a real Asterisk with real SIP far ends: every outcome, every loss, and the truth about each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api.token import Role
from config.settings import Ami
from simulations.asterisk import Site
from simulations.client import Client
from simulations.engine_process import EngineProcess
from tests.api.judge import judged_session
from tests.world import World, running, settings_for


def ami_of(site: Site) -> Ami:
    pbx = site.asterisk
    return Ami(
        port=pbx.ami_port,
        username=pbx.username,
        secret=pbx.secret,
        cel_path=str(pbx.cel_path),
        reconnect_min_ms=50,
        reconnect_max_ms=500,
    )


@pytest.fixture
async def world(tmp_path: Path, asterisk: Site) -> AsyncIterator[World]:
    """The service in this process, on the PBX that all tests of this folder share."""
    async with running(settings_for(tmp_path, ami_of(asterisk))) as world:
        yield world


async def take(agent: Client, name: str) -> dict[str, Any]:
    held: dict[str, Any] = (await agent.call("POST", f"/v1/agents/{name}/next", {}))["reservation"]
    return held


async def dial(agent: Client, held: dict[str, Any]) -> str:
    answer = await agent.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]})
    return str(answer["call_id"])


async def one_call(world: World, number: str, agent: str = "agent1", line: str = "nailed") -> str:
    """A campaign `one` with one contact, dialled by its agent; returns the call's id."""
    await world.campaign("one", [[number]], agents=(agent,), line=line, ring_timeout_s=15)
    await world.run("one")
    client = world.agent(agent)
    return await dial(client, await take(client, agent))


@pytest.mark.parametrize(
    ("number", "outcome", "by", "cause"),
    [
        ("25550001", "busy", "contact", 17),
        ("35550001", "no_answer", "contact", 19),
        ("45550001", "congestion", "carrier", 34),
        ("55550001", "invalid", "carrier", 1),
        ("65550001", "answered", "contact", 16),
        ("75550001", "rejected", "contact", 21),
        ("95550001", "no_answer", "contact", 19),
    ],
)
async def test_TF_35_every_outcome_on_the_real_pbx(
    world: World, number: str, outcome: str, by: str, cause: int
) -> None:
    call = await one_call(world, number)
    ended = (await world.told("one", "call.ended", patience_s=30, call=call))["data"]
    assert (ended["outcome"], ended["ended_by"], ended["cause"]) == (outcome, by, cause)


async def test_TF_34_the_contact_hears_the_agent_after_it_is_told(world: World) -> None:
    call = await one_call(world, "15550001")
    await world.told("one", "call.bridged", call=call)
    story = [one["type"] for one in await world.notifications("one") if one["data"].get("call") == call]
    assert story == ["call.requested", "call.ringing", "call.connected", "call.bridged"]
    await world.agent("agent1").call("POST", f"/v1/calls/{call}/hangup", {})
    ended = (await world.told("one", "call.ended", call=call))["data"]
    assert (ended["outcome"], ended["ended_by"]) == ("answered", "agent")
    assert ended["talk_ms"] > 0
    # The nailed-up phone stays: the agent is in wrap-up, not gone.
    await world.told("one", "agent.status", agent="agent1", state="wrapup")


async def test_the_agents_bye_mid_call_ends_it_by_the_agent(world: World, asterisk: Site) -> None:
    await asterisk.handset.start()
    try:
        call = await one_call(world, "15550001", agent=asterisk.handset.name)
        await world.told("one", "call.bridged", call=call)
        asterisk.handset.hang_up()
        ended = (await world.told("one", "call.ended", call=call))["data"]
        assert (ended["outcome"], ended["ended_by"]) == ("answered", "agent")
        gone = await world.told("one", "agent.status", agent=asterisk.handset.name, state="offline")
        assert gone["data"]["reason"] == "phone-hung-up"
    finally:
        await asterisk.handset.stop()


async def test_the_agents_bye_while_the_contact_rings_cancels_the_call(world: World, asterisk: Site) -> None:
    await asterisk.handset.start()
    try:
        call = await one_call(world, "35550001", agent=asterisk.handset.name)
        await world.told("one", "call.ringing", call=call)
        asterisk.handset.hang_up()
        ended = (await world.told("one", "call.ended", call=call))["data"]
        assert (ended["outcome"], ended["ended_by"]) == ("cancelled", "agent")
    finally:
        await asterisk.handset.stop()


async def test_cancelled_by_the_agent_while_ringing(world: World) -> None:
    call = await one_call(world, "35550001")
    await world.told("one", "call.ringing", call=call)
    await world.agent("agent1").call("POST", f"/v1/calls/{call}/hangup", {})
    ended = (await world.told("one", "call.ended", call=call))["data"]
    assert (ended["outcome"], ended["ended_by"]) == ("cancelled", "agent")


@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        ("agent_busy", "phone-busy"),
        ("agent_reject", "phone-rejected"),
        ("agent_silent", "phone-no-answer"),
        ("agent_absent", "phone-unreachable"),
    ],
)
async def test_TF_22_a_phone_that_does_not_come(world: World, phone: str, reason: str) -> None:
    await world.campaign("one", [["15550001"]], agents=(phone,), agent_ring_timeout_s=5)
    await world.run("one")
    told = await world.told("one", "agent.status", patience_s=30, agent=phone, state="offline")
    assert told["data"]["reason"] == reason


async def test_OM_13_on_demand_rings_the_agent_then_the_contact(world: World) -> None:
    call = await one_call(world, "65550001", line="on_demand")
    await world.told("one", "call.bridged", call=call)
    ended = (await world.told("one", "call.ended", call=call))["data"]
    assert (ended["outcome"], ended["ended_by"]) == ("answered", "contact")
    await world.until(lambda: not world.service.engine.campaigns["one"].book.phones)


async def test_OM_13_on_demand_agent_unreachable_is_recorded(world: World) -> None:
    call = await one_call(world, "65550001", agent="agent_reject", line="on_demand")
    ended = (await world.told("one", "call.ended", call=call))["data"]
    assert (ended["outcome"], ended["reason"]) == ("agent_unreachable", "phone-rejected")


# -- losses -----------------------------------------------------------------------------------------------------------


class Proxy:
    """Between the engine and the PBX, so that the line can be cut at a chosen word."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._to = port
        self._server: asyncio.Server | None = None
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for pair in self._pairs:
            for end in pair:
                end.transport.abort()
        self._pairs.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._pairs.append((writer, far_writer))
        await asyncio.gather(self._pump(reader, far_writer, True), self._pump(far_reader, writer, False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outward: bool) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
                if outward and self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    self.cuts += 1
                    await asyncio.sleep(0)  # the PBX has the action; its answer finds nobody
                    self.cut()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def through_proxy(folder: Path, site: Site) -> AsyncIterator[tuple[World, Proxy]]:
    proxy = Proxy(site.asterisk.ami_port)
    await proxy.start()
    ami = ami_of(site)
    try:
        straight = Ami(**{**{name: getattr(ami, name) for name in ami.__struct_fields__}, "port": proxy.port})
        async with running(settings_for(folder, straight)) as world:
            yield world, proxy
    finally:
        await proxy.stop()


async def test_EX_02_a_cut_between_originate_and_its_response(tmp_path: Path, asterisk: Site) -> None:
    """The call goes on at the PBX while nobody listens; it is adopted, told as it was, and never dialled again."""
    async with through_proxy(tmp_path, asterisk) as (world, proxy):
        await world.campaign("one", [["15550001"]], ring_timeout_s=15)
        await world.run("one")
        client = world.agent("agent1")
        held = await take(client, "agent1")
        proxy.cut_after = b"ringfold-contact"
        call = await dial(client, held)
        await world.told("one", "call.bridged", call=call, patience_s=30)
        assert proxy.cuts == 1
        await client.call("POST", f"/v1/calls/{call}/hangup", {})
        ended = (await world.told("one", "call.ended", call=call))["data"]
        assert ended["outcome"] == "answered"
        requested = [one for one in await world.notifications("one") if one["type"] == "call.requested"]
        assert len(requested) == 1


async def test_EX_02_what_ended_during_an_outage_is_told_from_cel(tmp_path: Path, asterisk: Site) -> None:
    async with through_proxy(tmp_path, asterisk) as (world, proxy):
        await world.campaign("one", [["25550001"]], ring_timeout_s=15)
        await world.run("one")
        client = world.agent("agent1")
        held = await take(client, "agent1")
        port, proxy._to = proxy._to, 9
        proxy.cut_after = b"ringfold-contact"
        call = await dial(client, held)
        await world.until(lambda: not world.service.engine.claims.pbx_up)
        await asyncio.sleep(1)  # long enough for the busy signal to come and go unheard
        proxy._to = port
        ended = (await world.told("one", "call.ended", call=call, patience_s=30))["data"]
        assert (ended["outcome"], ended["cause"]) == ("busy", 17)


async def test_EX_02_the_pbx_restarts_mid_call(tmp_path: Path, fresh_asterisk: Site) -> None:
    async with running(settings_for(tmp_path, ami_of(fresh_asterisk))) as world:
        await world.campaign("one", [["15550001"], ["65550001"]], ring_timeout_s=15)
        await world.run("one")
        client = world.agent("agent1")
        held = await take(client, "agent1")
        call = await dial(client, held)
        await world.told("one", "call.bridged", call=call)
        await fresh_asterisk.asterisk.kill()
        await fresh_asterisk.asterisk.start()
        ended = (await world.told("one", "call.ended", call=call, patience_s=30))["data"]
        assert (ended["outcome"], ended["ended_by"]) == ("answered", "unknown")
        await world.told("one", "agent.status", agent="agent1", state="offline")
        # The agent comes back and works on: the campaign never stopped.
        await client.call("POST", f"/v1/reservations/{held['id']}/disposition", _engaged(held))
        await client.call("PATCH", "/v1/agents/agent1", {"state": "available"})
        await world.told("one", "agent.status", times=2, agent="agent1", state="available")
        again = await dial(client, await take(client, "agent1"))
        assert (await world.told("one", "call.ended", call=again))["data"]["outcome"] == "answered"


def _engaged(held: dict[str, Any]) -> dict[str, str]:
    return {"token": held["token"], "disposition": "engaged"}


async def test_EX_01_EX_02_the_engine_is_killed_with_live_calls_and_comes_back(tmp_path: Path, asterisk: Site) -> None:
    """SIGKILL with one call bridged, one ringing: both are adopted, nothing is dialled twice, nothing is lost."""
    pbx = asterisk.asterisk
    ami = {"port": pbx.ami_port, "username": pbx.username, "secret": pbx.secret, "cel_path": str(pbx.cel_path)}
    engine = EngineProcess(tmp_path, {"ami": ami, "dialing": {"trunks": [pbx.trunk]}})
    await engine.start()
    try:
        async with judged_session() as session:
            story = await _kill_mid_call(engine, session)
    finally:
        await engine.stop()
    requested = [one["data"]["call"] for one in story if one["type"] == "call.requested"]
    ended = {one["data"]["call"]: one["data"] for one in story if one["type"] == "call.ended"}
    assert len(requested) == len(set(requested)) == 2
    assert set(ended) == set(requested)
    assert [one["seq"] for one in story] == list(range(1, len(story) + 1))
    assert ended[requested[0]]["outcome"] == "answered"
    assert ended[requested[1]]["outcome"] == "cancelled"
    assert await _dialled(asterisk, requested) == 2


async def _kill_mid_call(engine: EngineProcess, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    admin = engine.client(session, Role.ADMINISTRATOR, "admin")
    await admin.call("PUT", "/v1/campaigns/kill", {"name": "Kill", "settings": {"ring_timeout_s": 60}})
    rows = [{"ref": "kill:1", "numbers": ["15550001"]}, {"ref": "kill:2", "numbers": ["35550002"]}]
    await admin.call("POST", "/v1/campaigns/kill/contacts", rows)
    for name in ("agent1", "agent2"):
        await admin.call("PUT", f"/v1/agents/{name}", {"name": name, "phone": name})
        await admin.call("PUT", f"/v1/campaigns/kill/agents/{name}", {})
    await admin.call("PATCH", "/v1/campaigns/kill", {"state": "running"})
    await _told(admin, "campaign.status", state="running")
    calls = []
    for name in ("agent1", "agent2"):
        client = engine.client(session, Role.AGENT, name)
        calls.append(await dial(client, await take(client, name)))
    await _told(admin, "call.bridged", call=calls[0])
    await _told(admin, "call.ringing", call=calls[1])
    await engine.kill()
    await engine.start()
    states: list[str] = []
    for _ in range(100):  # the restarted engine says what it adopted, once the PBX has told it what lives
        states = [(await admin.call("GET", f"/v1/calls/{call}"))["status"] for call in calls]
        if (await admin.call("GET", "/v1/agents/agent1"))["state"] == "busy":
            break
        await asyncio.sleep(0.1)
    assert states == ["bridged", "ringing"]
    for call in calls:
        await admin.call("POST", f"/v1/calls/{call}/hangup", {})
        await _told(admin, "call.ended", call=call)
    await admin.call("PATCH", "/v1/campaigns/kill", {"state": "stopped"})
    await _told(admin, "campaign.status", state="stopped")
    page = await admin.call("GET", "/v1/events?after=&campaign=kill&limit=1000")
    story: list[dict[str, Any]] = page["events"]
    return story


async def _told(admin: Client, kind: str, **data: Any) -> None:
    async with asyncio.timeout(30):
        while True:
            events = (await admin.call("GET", "/v1/events?after=&campaign=kill&limit=1000"))["events"]
            for one in events:
                if one["type"] == kind and all(one["data"].get(key) == value for key, value in data.items()):
                    return
            await asyncio.sleep(0.05)


async def _dialled(site: Site, calls: list[str]) -> int:
    """How many channels the PBX itself says it made for these calls."""
    rows = site.asterisk.cel_path.read_text().splitlines()
    return sum("CHAN_START" in row and any(call in row for call in calls) for row in rows)
