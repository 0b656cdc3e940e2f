"""The whole service with its store on a real PostgreSQL: a campaign's life, and the database's crashes in the midst of it."""

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from api.token import Role
from config.settings import Settings, Store
from engine import actor
from engine.campaigns import log_of
from engine.core.call import CallEnded, CallRequested
from engine.recovery import replay
from engine.service import LogEvent
from eventstore import Codec, open_store, verify
from simulations.client import Client, Problem
from simulations.engine_process import EngineProcess, free_port
from simulations.pbx import SimulatedPbx
from simulations.postgres import NotInstalled, Postgres
from tests.api.asking import ask, problem, token_of
from tests.api.judge import judged_session
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.service.test_webhooks import Receiver, caught_up, receiver, subscribe
from tests.world import PATIENCE_S, World, running, settings_for

__all__ = ["receiver"]

DESKS = ("agent1", "agent2", "agent3", "agent4")
CRASHES = 3
LONG_LEASE_MS = 600_000

numbers = itertools.count(1)


def on(url: str, folder: Path, pbx: SimulatedPbx) -> Settings:
    return settings_for(folder, ami_of(pbx), store=Store(url=url, lease_ttl_ms=1_000))


class Database(NamedTuple):
    url: str
    server: Postgres

    @asynccontextmanager
    async def crashed(self) -> AsyncIterator[None]:
        """The whole server dies with everything that isn't on its disk, and comes back afterwards."""
        await asyncio.to_thread(self.server.stop, signal.SIGQUIT)
        try:
            yield
        finally:
            await asyncio.to_thread(self.server.start)


@pytest.fixture(scope="module")
def fragile_server() -> Iterator[Postgres]:
    """A server for this file alone, for it will be crashed."""
    try:
        with Postgres.running() as server:
            yield server
    except NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture
async def fragile(fragile_server: Postgres) -> Database:
    """An empty database of the test's own on the server that may be crashed."""
    name = f"fragile_{next(numbers)}"
    connection = await asyncpg.connect(fragile_server.url)
    await connection.execute(f"create database {name}")
    await connection.close()
    return Database(fragile_server.url_of(name), fragile_server)


async def whole(url: str, ref: str, pbx: SimulatedPbx) -> bytes:
    """What must hold of a log whatever happened; returns the state by replay.

    Undamaged; every call asked for once, dialled at most once and only if it was asked for, and ended exactly once.
    """
    store = await open_store(url, Codec(LogEvent))
    try:
        for name in await store.logs():
            assert (await verify(store, name)).faults == []
        events = [one.event async for batch in store.read(log_of(ref)) for one in batch]
        requested = Counter(one.call for one in events if isinstance(one, CallRequested))
        ended = Counter(one.call for one in events if isinstance(one, CallEnded))
        assert ended == requested
        assert set(requested.values()) <= {1}
        dialled = Counter(one.leg for one in pbx.originates)
        assert set(dialled.values()) <= {1}
        assert {one.leg for one in pbx.originates if one.number} <= set(requested)
        return (await replay(store.read(log_of(ref)))).canonical()
    finally:
        await store.close()


async def stopped(world: World, ref: str) -> bytes:
    """Stop the campaign; returns its live state."""
    await world.ask(ref, "stopped")
    await world.told(ref, "campaign.status", state="stopped")
    running = world.service.engine.campaigns[ref]
    await running.actor.settled()
    return running.book.canonical()


async def test_EX_02_a_campaign_from_create_to_stopped_over_a_restart(
    postgres_url: str, tmp_path: Path, pbx: SimulatedPbx, receiver: Receiver
) -> None:
    """Given a restart while two calls are up, then the one that goes on is adopted, and the one that ended has ended."""
    settings = on(postgres_url, tmp_path, pbx)
    async with running(settings) as world:
        assert world.service.store.kind == "postgres"
        await subscribe(world, receiver)
        await world.campaign(
            "spring", [["25550001", "15550002"], ["15550003"], ["15550004"]], agents=("agent1", "agent2")
        )
        await world.run("spring")
        agent = world.agent("agent1")
        held = await take(agent)
        busy = (await act(agent, held, "dial"))["call_id"]
        assert (await world.told("spring", "call.ended", call=busy))["data"]["outcome"] == "busy"
        call = (await act(agent, held, "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=call)
        other = world.agent("agent2")
        gone = (await act(other, await take(other, "agent2"), "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=gone)
    assert {one.uid for one in pbx.live} >= {call, gone}  # talking on, with nobody to listen
    assert pbx.hang_up(gone)
    async with running(settings) as world:
        agent = world.agent("agent1")
        assert (await take(agent))["id"] == held["id"]
        unheard = await world.told("spring", "call.ended", call=gone)
        assert (unheard["data"]["outcome"], unheard["data"]["ended_by"]) == ("answered", "unknown")
        assert (await world.manager.call("GET", f"/v1/calls/{call}"))["status"] == "bridged"
        await agent.call("POST", f"/v1/calls/{call}/hangup", {})
        ended = await world.told("spring", "call.ended", call=call)
        assert (ended["data"]["outcome"], ended["data"]["ended_by"]) == ("answered", "agent")
        await act(agent, held, "disposition", disposition="engaged")
        assert (await take(agent))["contact"]["ref"] == "spring:3"
        live = await stopped(world, "spring")
        await caught_up(world, receiver, "spring")
        await world.until(lambda: not pbx.live)
    assert await whole(postgres_url, "spring", pbx) == live


async def test_EX_02_the_database_crashes_mid_call_and_the_service_goes_on_by_itself(
    fragile: Database, tmp_path: Path, pbx: SimulatedPbx, receiver: Receiver
) -> None:
    """Given a crash, then nothing is dialled whose intent isn't durable, and what the PBX said meanwhile isn't lost."""
    async with running(on(fragile.url, tmp_path, pbx)) as world:
        await subscribe(world, receiver)
        await world.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
        await world.run("spring")
        first, second = world.agent("agent1"), world.agent("agent2")
        talking, waiting = await take(first), await take(second, "agent2")
        call = (await act(first, talking, "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=call)
        dialled = len(pbx.originates)
        async with fragile.crashed():
            dialling = asyncio.ensure_future(act(second, waiting, "dial"))
            await asyncio.wait([dialling], timeout=0.3)
            assert pbx.hang_up(call)
            await asyncio.wait([dialling], timeout=0.2)
            assert not dialling.done()
            assert len(pbx.originates) == dialled
        async with asyncio.timeout(PATIENCE_S):
            late = (await dialling)["call_id"]
        ended = await world.told("spring", "call.ended", call=call)
        assert (ended["data"]["outcome"], ended["data"]["ended_by"]) == ("answered", "contact")
        await act(first, talking, "disposition", disposition="engaged")
        await world.told("spring", "call.bridged", call=late)
        await second.call("POST", f"/v1/calls/{late}/hangup", {})
        await world.told("spring", "call.ended", call=late)
        await act(second, waiting, "disposition", disposition="engaged")
        await world.told("spring", "campaign.status", state="stopped", reason="completed")
        live = await stopped(world, "spring")
        await caught_up(world, receiver, "spring")
        await world.until(lambda: not pbx.live)
        assert [one.leg for one in pbx.originates if one.number] == [call, late]
    assert await whole(fragile.url, "spring", pbx) == live


async def test_EX_01_EX_02_agents_work_on_through_crash_after_crash(
    fragile: Database, tmp_path: Path, pbx: SimulatedPbx, receiver: Receiver
) -> None:
    disposed: list[str] = []

    async def work(world: World, name: str) -> None:
        """Until there is nothing more to do, and so the campaign stops by itself."""
        agent = world.agent(name)
        try:
            while (answer := await agent.call("POST", f"/v1/agents/{name}/next", {})) is not None:
                held = answer["reservation"]
                for _ in held["numbers"]:
                    call = (await act(agent, held, "dial"))["call_id"]
                    await world.told("spring", "call.ended", call=call)
                await act(agent, held, "disposition", disposition="no_contact")
                disposed.append(held["contact"]["ref"])
        except Problem as problem:
            if problem.code != "campaign-not-running":
                raise

    async def keep_crashing() -> None:
        for number in range(1, CRASHES + 1):
            async with asyncio.timeout(PATIENCE_S):
                while len(disposed) < 3 * number:
                    await asyncio.sleep(0.01)
            async with fragile.crashed():
                pass

    async with running(on(fragile.url, tmp_path, pbx)) as world:
        await subscribe(world, receiver)
        contacts = [[f"2555{place:04}", f"7555{place:04}"] for place in range(20)]
        await world.campaign("spring", contacts, agents=DESKS)
        await world.run("spring")
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_crashing())
            for name in DESKS:
                group.create_task(work(world, name))
        assert Counter(disposed) == Counter(f"spring:{place}" for place in range(1, 21))
        live = await stopped(world, "spring")
        await caught_up(world, receiver, "spring")
    assert await whole(fragile.url, "spring", pbx) == live
    assert Counter(one.number for one in pbx.originates if one.number) == Counter(
        one for two in contacts for one in two
    )


async def refused(world: World, method: str, path: str, body: object, token: str) -> None:
    """Not done, and said so: come back later."""
    async with asyncio.timeout(PATIENCE_S):
        answer = await ask(world, method, path, body, token=token)
    problem(answer, 503, answer.code)
    assert int(answer.headers["Retry-After"]) >= 1


async def test_EX_02_an_outage_that_outlasts_the_patience_is_told_and_the_process_goes_on_by_itself_when_it_is_over(
    fragile: Database, tmp_path: Path, pbx: SimulatedPbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given commands whose fate can't be settled yet, then they are answered 503, nothing is dialled meanwhile, and health
    says why; when the database is back the same process carries out what was decided."""
    monkeypatch.setattr(actor, "STORE_PATIENCE_S", 0.3)
    async with running(on(fragile.url, tmp_path, pbx)) as world:
        await world.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
        await world.run("spring")
        first, second = world.agent("agent1"), world.agent("agent2")
        talking, waiting = await take(first), await take(second, "agent2")
        call = (await act(first, talking, "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=call)
        register = {"name": "Three", "phone": "agent3"}
        dial, token = f"/v1/reservations/{waiting['id']}/dial", {"token": waiting["token"]}
        agent2 = token_of(world, Role.AGENT, "agent2")
        async with fragile.crashed():
            async with asyncio.TaskGroup() as group:
                group.create_task(refused(world, "POST", dial, token, agent2))
                group.create_task(refused(world, "PUT", "/v1/agents/agent3", register, token_of(world)))
            await refused(world, "POST", dial, token, agent2)  # at once, and it isn't decided again
            assert (await ask(world, "GET", "/readyz", token="")).status == 503
            missing = (await ask(world, "GET", "/v1/health")).body["missing"]
            assert any(one.startswith("store: ") for one in missing), missing
            assert any(one.startswith("campaign spring: ") for one in missing), missing
            assert [one.leg for one in pbx.originates if one.number] == [call]
        late = (await world.told("spring", "call.bridged", times=2))["data"]["call"]
        assert [one.leg for one in pbx.originates if one.number] == [call, late]
        assert (await take(second, "agent2"))["call"] == late
        await world.ready()
        assert (await world.admin.call("GET", "/v1/agents/agent3"))["name"] == "Three"
        for agent, one in ((first, call), (second, late)):
            await agent.call("POST", f"/v1/calls/{one}/hangup", {})
            await world.told("spring", "call.ended", call=one)
        live = await stopped(world, "spring")
    assert await whole(fragile.url, "spring", pbx) == live


def process(folder: Path, url: str, pbx: SimulatedPbx, lease_ttl_ms: int = 1_000) -> EngineProcess:
    ami: dict[str, Any] = {"port": pbx.port, "username": pbx.username, "secret": pbx.secret}
    settings: dict[str, dict[str, Any]] = {
        "store": {"url": url, "lease_ttl_ms": lease_ttl_ms},
        "ami": {**ami, "reconnect_min_ms": 50, "reconnect_max_ms": 200},
        "dialing": {"trunks": ["carrier"]},
    }
    return EngineProcess(folder, settings)


async def test_EX_02_a_standby_takes_over_when_the_owner_is_killed(
    postgres_url: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    """Given a second process that waits for the store, then a SIGKILL of the first costs neither the call nor the agent."""
    first, second = (process(tmp_path / name, postgres_url, pbx) for name in ("first", "second"))

    try:
        await first.start()
        standby = asyncio.create_task(second.start())
        async with judged_session() as session:
            admin = first.client(session, Role.ADMINISTRATOR, "admin")
            manager = first.client(session, Role.CAMPAIGN_MANAGER, "manager")
            await manager.call("PUT", "/v1/campaigns/spring", {"name": "Spring"})
            rows = [{"ref": "spring:1", "numbers": ["15550001"]}]
            await manager.call("POST", "/v1/campaigns/spring/contacts", rows)
            await admin.call("PUT", "/v1/agents/agent1", {"name": "One", "phone": "agent1"})
            await manager.call("PUT", "/v1/campaigns/spring/agents/agent1", {"line": "on_demand"})
            await manager.call("PATCH", "/v1/campaigns/spring", {"state": "running"})
            agent = first.client(session, Role.AGENT, "agent1")
            held = await take(agent)
            call = (await act(agent, held, "dial"))["call_id"]
            await status(manager, call, "bridged")
            assert not standby.done()
            await first.kill()
            await standby
            assert {one.uid for one in pbx.live} >= {call}
            agent = second.client(session, Role.AGENT, "agent1")
            manager = second.client(session, Role.CAMPAIGN_MANAGER, "manager")
            await status(manager, call, "bridged")
            assert (await take(agent))["id"] == held["id"]
            await agent.call("POST", f"/v1/calls/{call}/hangup", {})
            await status(manager, call, "ended")
            await act(agent, held, "disposition", disposition="engaged")
            assert [one.leg for one in pbx.originates if one.number] == [call]
        assert await second.stop() == 0
    finally:
        await first.kill()
        await second.kill()
    await whole(postgres_url, "spring", pbx)


async def test_EX_02_a_restart_after_a_kill_waits_for_no_lease_and_a_start_beside_one_that_is_frozen_does(
    postgres_url: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    """Given leases that last longer than this test, then the kernel's word that their owner is dead is enough; no other is."""
    first, second = (process(tmp_path / name, postgres_url, pbx, LONG_LEASE_MS) for name in ("first", "second"))
    try:
        await first.start()
        await first.kill()
        await first.start()
        first.signal(signal.SIGSTOP)
        standby = asyncio.create_task(second.start())
        await asyncio.wait([standby], timeout=3)
        assert not standby.done()
        first.signal(signal.SIGCONT)
        await first.kill()
        await standby
    finally:
        await first.kill()
        await second.kill()


async def status(manager: Client, call: str, wanted: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await manager.call("GET", f"/v1/calls/{call}"))["status"] != wanted:
            await asyncio.sleep(0.02)


async def test_a_store_that_cant_be_opened_is_told_in_a_sentence(
    postgres_url: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    nowhere = process(tmp_path / "nowhere", f"postgresql://postgres@127.0.0.1:{free_port()}/ringfold", pbx)
    with pytest.raises(RuntimeError, match="PostgreSQL can't be reached") as ended:
        await nowhere.start()
    assert "Traceback" not in str(ended.value)
    strange = process(tmp_path / "strange", f"{postgres_url}_that_isnt_there", pbx)
    code, said = await strange.command("log")
    assert code == 1
    assert said.startswith("ringfold: PostgreSQL doesn't let us in: ")
    assert "does not exist" in said
    assert "Traceback" not in said
