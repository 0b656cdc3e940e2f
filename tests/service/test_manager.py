"""The reference campaign manager at a running service: it clicks, believes nothing but what it is told, and judges that."""

import asyncio
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simulations.client import Client, Problem
from simulations.manager import CampaignManager, Judge
from simulations.manager.command import table_of
from simulations.pbx import Script
from tests.adapters.importer.files import checked, csv_of
from tests.service.test_crash import CAMPAIGN, floor
from tests.service.test_preview import act
from tests.world import World

REFS = ("spring", "summer", "autumn")
AGENTS = ("agent1", "agent2", "agent3", "agent4")
CLICKS = 150
KILLS = 5
FAR = [[f"1555{place:04}"] for place in range(40)]


@asynccontextmanager
async def at_work(client: Client, after: dict[str, Any] | None = None) -> AsyncIterator[CampaignManager]:
    """`after`: the last that it was told, by which its table and its cursor stand."""
    manager = CampaignManager(client)
    if after is not None:
        manager.judge.overview.take(after)
    following = asyncio.create_task(manager.follow(), name="following")
    try:
        yield manager
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def desk(client: Client, name: str, chance: random.Random) -> None:
    """Whatever an agent may do, in any order; being refused is part of the work."""
    while True:
        with suppress(Problem):
            await _act_somehow(client, name, chance)
        await asyncio.sleep(chance.uniform(0, 0.1))


async def _act_somehow(client: Client, name: str, chance: random.Random) -> None:
    if chance.random() < 0.2:
        await client.call("PATCH", f"/v1/agents/{name}", {"state": chance.choice(("available", "paused"))})
    answer = await client.call("POST", f"/v1/agents/{name}/next", {})
    if answer is None:
        return
    held = answer["reservation"]
    if chance.random() < 0.3:
        await act(client, held, chance.choice(("skip", "release")), reason="any")
        return
    call = held["call"] or (await act(client, held, "dial"))["call_id"]
    await asyncio.sleep(chance.uniform(0, 0.5))
    with suppress(Problem):  # it may have ended by itself
        await client.call("POST", f"/v1/calls/{call}/hangup", {})
    await act(client, held, "disposition", disposition=chance.choice(("engaged", "no_contact")))


async def read_again(client: Client) -> Judge:
    """Another manager, who was away all the time and reads everything afterwards."""
    judge = Judge()
    while True:
        page = await client.call("GET", f"/v1/events?after={judge.overview.cursor}&limit=1000")
        for told in page["events"]:
            judge.take(told)
        if not page["events"]:
            return judge


async def test_TF_05_to_TF_16_whatever_is_clicked_the_table_is_what_is_told_and_what_is(service: World) -> None:
    chance = random.Random(4)
    async with at_work(service.manager) as manager:
        for ref in REFS:
            await service.campaign(ref, FAR, agents=AGENTS)
        desks = [asyncio.create_task(desk(service.agent(name), name, random.Random(name))) for name in AGENTS]
        refused: set[str] = set()
        for _ in range(CLICKS):
            refused.add(await _click(service.manager, manager, chance))
            await asyncio.sleep(chance.choice((0, 0, 0.02, 0.2)))
        shown = Console(file=io.StringIO(), width=160)
        shown.print(table_of(manager))
        assert all(ref in shown.file.getvalue() for ref in REFS)  # type: ignore[attr-defined]
        for ref in REFS:
            await manager.remove(ref)
        for one in desks:
            one.cancel()
        await asyncio.gather(*desks, return_exceptions=True)
        assert {row.state for row in manager.rows.values()} == {"deleted"}
        assert manager.judge.faults == []
        assert await manager.differences() == []
        assert {"", "campaign-stopping"} <= refused
        assert all(manager.judge.states[state] >= len(REFS) for state in ("running", "stopping", "stopped"))
        assert sum(row.ended for row in manager.rows.values()) > 0
        later = await read_again(service.manager)
        assert (later.faults, later.overview.rows) == ([], manager.rows)


async def _click(client: Client, manager: CampaignManager, chance: random.Random) -> str:
    """The code of the refusal, if it was refused."""
    ref, agent = chance.choice(REFS), chance.choice(AGENTS)
    match chance.randrange(8):
        case 0 | 1 | 2:
            return await manager.start(ref)
        case 3 | 4:
            return await manager.stop(ref)
        case 5:
            return await _asked(client, "PATCH", f"/v1/campaigns/{ref}", {"state": "stopped", "force": True})
        case 6:
            return await _asked(client, "PATCH", f"/v1/campaigns/{ref}", {"name": f"{ref} {chance.random()}"})
        case _:
            method = chance.choice(("PUT", "DELETE"))
            body = {"line": "nailed"} if method == "PUT" else None
            return await _asked(client, method, f"/v1/campaigns/{ref}/agents/{agent}", body)


async def _asked(client: Client, method: str, path: str, body: Any) -> str:
    try:
        await client.call(method, path, body)
    except Problem as problem:
        return problem.code
    return ""


async def test_TF_16_the_recipe_removes_what_was_started_a_moment_ago(service: World) -> None:
    """Given a table that still says stopped, for the start hasn't been told of yet."""
    await service.campaign("spring", FAR[:3])
    async with at_work(service.manager) as manager:
        assert await manager.start("spring") == ""
        await manager.until("spring", lambda row: row.state == "running")
        assert await manager.stop("spring") == ""
        await manager.until("spring", lambda row: row.state == "stopped")
    late = CampaignManager(service.manager)
    late.judge = manager.judge
    assert await late.start("spring") == ""
    assert late.rows["spring"].state == "stopped"
    removing = asyncio.create_task(late.remove("spring"))
    await service.told("spring", "campaign.status", times=2, state="stopping")
    following = asyncio.create_task(late.follow())
    await removing
    following.cancel()
    assert (late.rows["spring"].state, late.judge.faults) == ("deleted", [])


@pytest.mark.slow
async def test_TF_06_TF_37_TF_38_EX_02_a_manager_follows_through_every_kill_and_misses_nothing(tmp_path: Path) -> None:
    """What was taken before the kill is told after it; the engine dies between the answer and what it leads to."""
    async with floor(tmp_path, Script(), 0.02) as place, at_work(place.admin) as manager:
        await place.campaign(FAR, ["agent1", "agent2"])
        for _ in range(KILLS):
            assert await manager.start(CAMPAIGN) == ""
            await place.killed()
            await manager.until(CAMPAIGN, lambda row: row.state == "running")
            assert await manager.stop(CAMPAIGN) == ""
            await place.killed()
            await manager.until(CAMPAIGN, lambda row: row.state == "stopped")
        await manager.remove(CAMPAIGN)
        assert manager.judge.faults == []
        assert manager.judge.states["running"] == KILLS
        assert await manager.differences() == []
        later = await read_again(place.admin)
        assert (later.faults, later.overview.rows) == ([], manager.rows)


async def test_TF_04_an_import_warns_of_refs_without_the_campaigns_prefix(service: World) -> None:
    await service.campaign("spring", [])
    content = csv_of(("ref", "number1"), ("spring:1", "+573105822141"), ("2", "+573105822142"), ("3", "+573105822143"))
    shown = await checked(service, content)
    assert shown["state"] == "valid"
    (warning,) = shown["warnings"]
    assert "'spring:'" in warning
    assert "2" in warning


async def test_TF_24_an_agent_at_work_is_refused_to_a_second_campaign_that_names_the_first(service: World) -> None:
    await service.campaign("spring", FAR[:3])
    await service.campaign("summer", [])
    await service.run("spring")
    await service.run("summer")
    with pytest.raises(Problem) as refused:
        await service.manager.call("PATCH", "/v1/agents/agent1", {"state": "available", "campaign": "summer"})
    assert (refused.value.status, refused.value.code) == (409, "agent-active-elsewhere")
    assert "spring" in refused.value.body["detail"]


async def test_TF_36_who_comes_next_is_told_before_they_are_delivered(service: World) -> None:
    await service.campaign("spring", FAR[:10], agents=("agent1", "agent2"), announce_upcoming=True)
    await service.run("spring")
    told = await service.told("spring", "contacts.upcoming")
    assert told["data"]["contacts"][:2] == ["spring:1", "spring:2"]
    assert 2 <= len(told["data"]["contacts"]) <= 4
    client = service.agent("agent1")
    held = (await client.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    assert held["contact"]["ref"] in told["data"]["contacts"]
