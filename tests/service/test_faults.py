"""The world fails around a working service: the line to the PBX, the PBX, the store's ownership, and one of its own parts."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

import adapters.ami.settlement
import engine.campaigns
import engine.core.reaction
from api.token import KeyRing, Role
from engine.core.message import Extend
from engine.core.process import step
from simulations.client import Client, Problem
from simulations.engine_process import EngineProcess
from simulations.pbx import BUSY, Script, SimulatedPbx, answer
from tests.api.judge import judged_session
from tests.conftest import TIME_SCALE, ami_of
from tests.service.test_preview import act, take
from tests.world import PATIENCE_S, World, running, settings_for

LONG_RING_MS = 10_000
"""At this PBX half a second: long enough for whatever is to happen while it rings."""
SLOW, SLOW_BUSY = "+571555001", "+571555002"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubts are settled sooner: this PBX makes its channels at once."""
    monkeypatch.setattr(engine.core.reaction, "APPEARANCE_MS", 100)
    monkeypatch.setattr(adapters.ami.settlement, "ABSENCE_GRACE_MS", 50)
    monkeypatch.setattr(engine.campaigns, "REOPEN_AFTER_MS", 100)


def script() -> Script:
    return Script(numbers={SLOW: answer(ring_ms=LONG_RING_MS), SLOW_BUSY: msgspec.structs.replace(BUSY, ring_ms=4_000)})


@asynccontextmanager
async def on_pbx(folder: Path, cel: bool = False, **ami: Any) -> AsyncIterator[tuple[World, SimulatedPbx]]:
    """A service on a PBX with a slow number and a slow busy one, with or without the PBX's own record to look into."""
    cel_path = folder / "cel.csv" if cel else None
    pbx = SimulatedPbx(script(), seed=1, time_scale=TIME_SCALE, login_penalty_ms=0, cel_path=cel_path)
    await pbx.start()
    try:
        changes = {**ami, **({"cel_path": str(cel_path)} if cel_path else {})}
        settings = settings_for(folder, msgspec.structs.replace(ami_of(pbx), **changes))
        async with running(settings) as world:
            yield world, pbx
    finally:
        await pbx.stop()


async def dialled(world: World, *contacts: list[str]) -> tuple[Client, dict[str, Any], str]:
    """A running campaign whose first contact has just been dialled by its agent."""
    await world.campaign("spring", list(contacts))
    await world.run("spring")
    agent = world.agent("agent1")
    held = await take(agent)
    return agent, held, (await act(agent, held, "dial"))["call_id"]


async def ended(world: World, call: str) -> dict[str, Any]:
    data: dict[str, Any] = (await world.told("spring", "call.ended", call=call))["data"]
    return data


async def reconnected(world: World) -> None:
    claims = world.service.engine.claims
    await world.until(lambda: not claims.pbx_up)
    await world.until(lambda: claims.pbx_up)


def numbers_dialled(pbx: SimulatedPbx) -> list[str]:
    return [one.number for one in pbx.originates if one.number]


# -- the line to the PBX ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before_response", [True, False], ids=["before the response", "after the response"])
async def test_EX_02_the_line_is_cut_at_an_originate_that_was_done(
    service: World, pbx: SimulatedPbx, before_response: bool
) -> None:
    await service.campaign("spring", [["15550001"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    pbx.cut_on("Originate", before_response=before_response)

    call = (await act(agent, held, "dial"))["call_id"]

    await service.told("spring", "call.bridged", call=call)
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    told = await ended(service, call)
    assert (told["outcome"], told["ended_by"]) == ("answered", "agent")
    assert numbers_dialled(pbx) == ["15550001"]


async def test_EX_02_the_line_is_cut_at_an_originate_that_was_never_done(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["15550001", "25550002"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    pbx.cut_on("Originate", performed=False)

    call = (await act(agent, held, "dial"))["call_id"]

    told = await ended(service, call)  # nobody can tell that it was not dialled
    assert (told["outcome"], told["ended_by"]) == ("unknown", "unknown")
    assert numbers_dialled(pbx) == []
    second = (await act(agent, held, "dial"))["call_id"]
    assert (await ended(service, second))["outcome"] == "busy"
    third = (await act(agent, held, "dial"))["call_id"]
    await ended(service, third)
    assert numbers_dialled(pbx) == ["25550002", "25550002"]  # the number in doubt isn't picked by itself
    await act(agent, held, "dial", number="15550001")
    await service.told("spring", "call.bridged")
    assert numbers_dialled(pbx)[-1] == "15550001"  # a person may


async def test_a_line_that_went_dead_without_a_word_is_noticed(tmp_path: Path) -> None:
    async with on_pbx(tmp_path, cel=True, ping_interval_ms=100, dead_after_ms=400) as (world, pbx):
        _, _, call = await dialled(world, ["15550001"])
        await world.told("spring", "call.bridged", call=call)

        pbx.half_open()
        pbx.hang_up(call)

        await reconnected(world)
        told = await ended(world, call)
        assert (told["outcome"], told["ended_by"]) == ("answered", "contact")


async def test_a_pbx_that_stops_reading_for_a_moment_loses_nothing(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["25550001"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)

    pbx.stall()
    call = (await act(agent, held, "dial"))["call_id"]
    await asyncio.sleep(0.2)
    assert numbers_dialled(pbx) == []
    pbx.stall(False)

    assert (await ended(service, call))["outcome"] == "busy"
    assert numbers_dialled(pbx) == ["25550001"]
    assert service.service.engine.claims.pbx_up


async def test_EX_02_a_pbx_that_stops_reading_for_good_is_left_and_what_it_never_read_is_in_doubt(
    tmp_path: Path,
) -> None:
    async with on_pbx(tmp_path, cel=True, ping_interval_ms=100, dead_after_ms=400) as (world, pbx):
        await world.campaign("spring", [["25550001"]])
        await world.run("spring")
        agent = world.agent("agent1")
        held = await take(agent)

        pbx.stall(newcomers=False)
        call = (await act(agent, held, "dial"))["call_id"]

        await reconnected(world)
        assert (await ended(world, call))["outcome"] == "unknown"
        assert numbers_dialled(pbx) == []
        with pytest.raises(Problem) as refused:
            await act(agent, held, "dial")
        assert refused.value.code == "no-number-left"


# -- calls that end while nobody listens ------------------------------------------------------------------------------


@asynccontextmanager
async def outage(world: World, pbx: SimulatedPbx) -> AsyncIterator[None]:
    """No connection, and none to be had."""
    pbx.refuse_connections()
    pbx.cut()
    await world.until(lambda: not world.service.engine.claims.pbx_up)
    yield
    pbx.refuse_connections(False)
    await world.until(lambda: world.service.engine.claims.pbx_up)


async def test_EX_02_what_ended_during_an_outage_is_told_from_the_pbxs_own_record(tmp_path: Path) -> None:
    async with on_pbx(tmp_path, cel=True) as (world, pbx):
        agent, held, call = await dialled(world, [SLOW_BUSY, "15550001"])
        await world.told("spring", "call.ringing", call=call)
        async with outage(world, pbx):
            await world.until(lambda: call not in {leg.uid for leg in pbx.live})

        told = await ended(world, call)
        assert (told["outcome"], told["ended_by"], told["cause"]) == ("busy", "contact", 17)

        call = (await act(agent, held, "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=call)
        async with outage(world, pbx):
            pbx.hang_up(call)
        told = await ended(world, call)
        assert (told["outcome"], told["ended_by"], told["cause"]) == ("answered", "contact", 16)


async def test_EX_02_without_that_record_the_outcome_is_unknown_and_the_number_is_a_persons_choice(
    tmp_path: Path,
) -> None:
    async with on_pbx(tmp_path) as (world, pbx):
        agent, held, call = await dialled(world, [SLOW_BUSY])
        await world.told("spring", "call.ringing", call=call)
        async with outage(world, pbx):
            await world.until(lambda: call not in {leg.uid for leg in pbx.live})

        told = await ended(world, call)
        assert (told["outcome"], told["ended_by"]) == ("unknown", "unknown")
        with pytest.raises(Problem) as refused:
            await act(agent, held, "dial")
        assert refused.value.code == "no-number-left"
        chosen = (await act(agent, held, "dial", number=SLOW_BUSY))["call_id"]
        assert (await ended(world, chosen))["outcome"] == "busy"


async def test_nothing_is_dialled_in_an_outage_and_readiness_says_why(tmp_path: Path) -> None:
    async with on_pbx(tmp_path) as (world, pbx):
        await world.campaign("spring", [["15550001"]])
        await world.run("spring")
        agent = world.agent("agent1")
        held = await take(agent)
        async with outage(world, pbx):
            headers = {"Authorization": f"Bearer {world.service.keys.mint(Role.AGENT, 'agent1', ttl_s=60)}"}
            dial = f"{world.base}/v1/reservations/{held['id']}/dial"
            async with world.session.post(dial, json={"token": held["token"]}, headers=headers) as answered:
                assert answered.status == 503
                assert (await answered.json())["type"].endswith("/pbx-down")
            async with world.session.get(f"{world.base}/readyz") as answered:
                assert answered.status == 503
            assert (await world.manager.call("GET", "/v1/health"))["missing"][0].startswith("pbx: ")
            assert (await take(agent))["id"] == held["id"]  # everything else goes on
        await act(agent, held, "dial")
        await world.told("spring", "call.bridged")
        assert numbers_dialled(pbx) == ["15550001"]


# -- the PBX itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "reached", "outcome"), [("15550001", "call.bridged", "answered"), (SLOW, "call.ringing", "unknown")]
)
async def test_EX_02_the_pbx_restarts(tmp_path: Path, number: str, reached: str, outcome: str) -> None:
    """Mid-call and while it rings: what was known is told, what wasn't is unknown; then the work goes on."""
    async with on_pbx(tmp_path) as (world, pbx):
        agent, held, call = await dialled(world, [number, "25550002"], ["25550002"])
        await world.told("spring", reached, call=call)

        pbx.restart()

        told = await ended(world, call)
        assert (told["outcome"], told["ended_by"]) == (outcome, "unknown")
        await world.told("spring", "agent.status", agent="agent1", state="offline")
        assert not pbx.live
        if outcome == "answered":
            await act(agent, held, "disposition", disposition="engaged")
        await agent.call("PATCH", "/v1/agents/agent1", {"state": "available"})
        back = "available" if outcome == "answered" else "previewing"  # a contact in hand waits a moment for its agent
        await world.told("spring", "agent.status", times=2, agent="agent1", state=back)
        again = await take(agent)
        assert again["contact"]["ref"] == ("spring:2" if outcome == "answered" else "spring:1")
        second = (await act(agent, again, "dial"))["call_id"]
        assert (await ended(world, second))["number"] == "25550002"


async def test_EX_02_a_storm_of_failed_originates_is_told_as_such_and_costs_nobody_their_number(
    service: World, pbx: SimulatedPbx
) -> None:
    names = tuple(f"agent{number}" for number in range(1, 9))
    await service.campaign("spring", [[f"1555000{place}"] for place in range(8)], agents=names)
    await service.run("spring")
    agents = {name: service.agent(name) for name in names}
    held = {name: await take(agent, name) for name, agent in agents.items()}

    pbx.fail_originates(len(names))
    calls = [(await act(agent, held[name], "dial"))["call_id"] for name, agent in agents.items()]

    for call in calls:
        told = await ended(service, call)
        assert (told["outcome"], told["ended_by"]) == ("failed", "pbx")
    assert numbers_dialled(pbx) == []
    for name, agent in agents.items():
        call = (await act(agent, held[name], "dial"))["call_id"]
        await service.told("spring", "call.bridged", call=call)
    assert sorted(numbers_dialled(pbx)) == [f"1555000{place}" for place in range(8)]


async def test_a_wrong_secret_ends_the_start_with_a_clear_word(tmp_path: Path, pbx: SimulatedPbx) -> None:
    wrong = {"port": pbx.port, "username": pbx.username, "secret": "mistaken-secret"}
    process = EngineProcess(tmp_path, {"ami": wrong, "log": {"json": False}})
    with pytest.raises(RuntimeError, match="can't start") as failed:
        await process.start()
    assert await process.ended() == 1
    assert pbx.username in str(failed.value)
    assert "mistaken-secret" not in process.log_path.read_text()


# -- two processes, one store -----------------------------------------------------------------------------------------


def process(folder: Path, name: str, pbx: SimulatedPbx) -> EngineProcess:
    """One of several engines on the same database, with the same keys, on the same PBX."""
    settings: dict[str, dict[str, Any]] = {
        "ami": {"port": pbx.port, "username": pbx.username, "secret": pbx.secret, "reconnect_min_ms": 50},
        "store": {"url": f"sqlite:///{folder / 'ringfold.db'}", "lease_ttl_ms": 1_000},
        "log": {"json": False},
    }
    one = EngineProcess(folder / name, settings)
    KeyRing.open(folder / "tokens.key")
    shutil.copy(folder / "tokens.key", one.folder / "tokens.key")
    return one


class Pair:
    """Two engines: the first serves a bridged call of agent1, the second stands by for the store."""

    def __init__(self, folder: Path, pbx: SimulatedPbx) -> None:
        self.pbx = pbx
        self.first, self.second = (process(folder, name, pbx) for name in ("first", "second"))
        self.call = ""

    async def begin(self, session: aiohttp.ClientSession) -> asyncio.Task[None]:
        await self.first.start()
        admin = self.first.client(session, Role.ADMINISTRATOR, "operator")
        await admin.call("PUT", "/v1/campaigns/spring", {"name": "Spring"})
        rows = [{"ref": f"spring:{place}", "numbers": [f"1555000{place}"]} for place in (1, 2)]
        await admin.call("POST", "/v1/campaigns/spring/contacts", rows)
        for name in ("agent1", "agent2"):
            await admin.call("PUT", f"/v1/agents/{name}", {"name": name, "phone": name})
            await admin.call("PUT", f"/v1/campaigns/spring/agents/{name}", {})
        await admin.call("PATCH", "/v1/campaigns/spring", {"state": "running"})
        await self.shows(admin, "/v1/campaigns/spring", "state", "running")
        self.call = await self.bridged(session, self.first, "agent1")
        starting = asyncio.ensure_future(self.second.start())
        await until_said(self.second, "standing by")
        assert not starting.done()
        return starting

    async def bridged(self, session: aiohttp.ClientSession, serving: EngineProcess, name: str) -> str:
        agent = serving.client(session, Role.AGENT, name)
        call = str((await act(agent, await take(agent, name), "dial"))["call_id"])
        await self.shows(agent, f"/v1/calls/{call}", "status", "bridged")
        return call

    async def shows(self, client: Client, path: str, key: str, value: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await client.call("GET", path))[key] != value:
                await asyncio.sleep(0.02)

    def lives(self, call: str) -> bool:
        return call in {leg.uid for leg in self.pbx.live}

    async def end(self) -> None:
        await self.first.kill()
        await self.second.kill()


async def until_said(one: EngineProcess, words: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not one.log_path.exists() or words not in one.log_path.read_text():
            await asyncio.sleep(0.05)


async def test_EX_02_a_second_process_waits_for_the_store_and_takes_over_when_the_first_is_killed(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    pair = Pair(tmp_path, pbx)
    async with judged_session() as session:
        try:
            starting = await pair.begin(session)
            await asyncio.sleep(1.5)  # longer than a lease: the first one renews its own
            assert not starting.done()

            await pair.first.kill()
            await starting

            agent = pair.second.client(session, Role.AGENT, "agent1")
            assert (await agent.call("GET", f"/v1/calls/{pair.call}"))["status"] == "bridged"
            await pair.bridged(session, pair.second, "agent2")
            await agent.call("POST", f"/v1/calls/{pair.call}/hangup", {})
            await pair.shows(agent, f"/v1/calls/{pair.call}", "outcome", "answered")
            assert sorted(numbers_dialled(pbx)) == ["15550001", "15550002"]
        finally:
            await pair.end()


async def test_EX_01_EX_02_an_owner_that_was_frozen_wakes_up_fenced_and_touches_nothing(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    pair = Pair(tmp_path, pbx)
    async with judged_session() as session:
        try:
            starting = await pair.begin(session)

            pair.first.signal(signal.SIGSTOP)
            await starting  # its lease ran out
            second_call = await pair.bridged(session, pair.second, "agent2")  # a leg the first has never heard of
            pair.first.signal(signal.SIGCONT)

            assert await pair.first.ended() == 1  # whoever runs it starts it again, to stand by
            assert pair.lives(pair.call)
            assert pair.lives(second_call)
            agent = pair.second.client(session, Role.AGENT, "agent2")
            assert (await agent.call("GET", f"/v1/calls/{second_call}"))["status"] == "bridged"
            assert sorted(numbers_dialled(pbx)) == ["15550001", "15550002"]
        finally:
            await pair.end()


# -- a part of our own ------------------------------------------------------------------------------------------------


async def test_EX_02_a_campaign_that_breaks_is_read_again_with_its_live_call_and_the_others_never_notice(
    service: World, pbx: SimulatedPbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.campaign("autumn", [["15550009"]], agents=("agent2",))
    await service.run("autumn")
    agent, held, call = await dialled(service, ["15550001"])
    await service.told("spring", "call.bridged", call=call)
    broken: list[str] = []

    def poisoned(book: Any, message: Any, *rest: Any) -> Any:
        if isinstance(message, Extend) and not broken:
            broken.append(book.campaign.ref)
            raise ZeroDivisionError
        return step(book, message, *rest)

    monkeypatch.setattr(engine.campaigns, "step", poisoned)
    before = service.service.engine.campaigns["spring"]
    body = {"token": held["token"]}
    headers = {"Authorization": f"Bearer {service.service.keys.mint(Role.AGENT, 'agent1', ttl_s=60)}"}
    extend = f"{service.base}/v1/reservations/{held['id']}/extend"
    async with service.session.post(extend, json=body, headers=headers) as answered:
        assert answered.status == 503
        assert "Retry-After" in answered.headers
    assert broken == ["spring"]
    assert (await take(service.agent("agent2"), "agent2"))["contact"]["ref"] == "autumn:1"

    await service.until(lambda: service.service.engine.campaigns["spring"] is not before)
    assert (await take(agent))["call"] == call
    async with service.session.get(f"{service.base}/readyz", headers=headers) as answered:
        assert answered.status == 200
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    told = await ended(service, call)
    assert (told["outcome"], told["ended_by"]) == ("answered", "agent")
    assert numbers_dialled(pbx) == ["15550001"]
