"""A campaign handed out whole: the same lines over HTTP and from the logs, to whom they may go, and a trace of it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api import export
from api.token import Role
from config.settings import Settings
from simulations.pbx import SimulatedPbx
from tests.api.asking import NDJSON, Answer, ask, problem, token_of
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.world import PATIENCE_S, World, running, settings_for

ROOT = Path(__file__).parents[2]
ENDS = "65550001"
"""Answers, and hangs up a second of its life later."""
SPRING = "/v1/campaigns/spring/export"


@pytest.fixture
def settings(tmp_path: Path, pbx: SimulatedPbx) -> Settings:
    return settings_for(tmp_path, ami_of(pbx))


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with running(settings) as world:
        yield world


async def worked(world: World) -> str:
    """Two contacts; the first was called, came back, and was called again. Returns the first call."""
    form = [{"name": "remark", "type": "text"}]
    await world.campaign("spring", [], form=form)
    people = [
        {"ref": "spring:1", "numbers": [ENDS, "15550009"], "name": "Bo", "data": {"city": "Cali"}},
        {"ref": "spring:2", "numbers": ["15550002"], "name": "Ana"},
    ]
    await world.manager.call("POST", "/v1/campaigns/spring/contacts", people)
    await world.run("spring")
    agent = world.agent("agent1")
    held = await take(agent)
    call = str((await act(agent, held, "dial"))["call_id"])
    await world.told("spring", "call.ended", call=call)
    await act(agent, held, "disposition", disposition="engaged", data={"remark": "likes mornings"})
    return call


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.raw
    return [json.loads(one) for one in answer.raw.splitlines()]


def of_kind(kind: str, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in told if one["kind"] == kind]


async def traces(world: World) -> list[tuple[str, str]]:
    """Who was given which campaign, by the directory's log."""
    found = []
    async for batch in world.service.store.read("directory"):
        found += [(one.event.ref, one.event.by) for one in batch if type(one.event).__name__ == "CampaignExported"]
    return found


async def command(settings: Settings, *words: str) -> tuple[int, str, str]:
    """`ringfold` in a process of its own, with the settings' store."""
    environment = {"RINGFOLD_STORE__URL": settings.store.url, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", *words),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_an_export_holds_the_campaign_its_contacts_calls_and_dispositions(world: World) -> None:
    call = await worked(world)

    answer = await ask(world, "GET", SPRING, token=token_of(world, Role.CAMPAIGN_MANAGER, "max"))

    told = lines(answer)
    assert answer.headers["Content-Type"] == NDJSON
    assert [one["kind"] for one in told] == ["campaign", "contact", "contact", "call", "disposition", "end"]
    first, bo, ana, dialled, closed, end = told
    shown = await world.manager.call("GET", "/v1/campaigns/spring")
    now = {"as_of": 0, "agents": [], "dialing": {}}  # what moves; the last is of this moment and no part of a record
    assert first["campaign"] | now == shown | now
    assert (bo["contact"]["name"], bo["contact"]["data"]) == ("Bo", {"city": "Cali"})
    assert [one["number"] for one in bo["contact"]["numbers"]] == [ENDS, "15550009"]
    assert [one["attempts"] for one in bo["contact"]["numbers"]] == [1, 0]
    assert ana["contact"]["ref"] == "spring:2"
    assert dialled["call"] == {
        name: value for name, value in (await world.manager.call("GET", f"/v1/calls/{call}")).items() if name != "as_of"
    }
    assert (closed["contact"], closed["agent"], closed["call"]) == ("spring:1", "agent1", call)
    assert (closed["disposition"], closed["final"], closed["form_data"]) == (
        "engaged",
        True,
        {"remark": "likes mornings"},
    )
    assert (end["contacts"], end["calls"], end["dispositions"]) == (2, 1, 1)
    assert 0 < closed["position"] <= end["as_of"]
    assert await traces(world) == [("spring", "max")]


async def test_it_is_for_who_may_see_the_campaign_and_nothing_is_written_down_for_the_others(world: World) -> None:
    await worked(world)
    elsewhere = token_of(world, Role.CAMPAIGN_MANAGER, "eve", "summer")
    for token in (elsewhere, *(token_of(world, role, "agent1") for role in (Role.SUPERVISOR, Role.AGENT, Role.CRM))):
        problem(await ask(world, "GET", SPRING, token=token), 403, "forbidden")
    problem(await ask(world, "GET", "/v1/campaigns/none/export"), 404, "unknown-campaign")
    head = await ask(world, "HEAD", SPRING)
    assert (head.status, head.raw) == (200, b"")
    assert await traces(world) == []


async def test_the_command_prints_the_same_from_the_logs_and_of_a_deleted_campaign_too(
    world: World, settings: Settings
) -> None:
    await worked(world)
    live = lines(await ask(world, "GET", SPRING))
    await world.ask("spring", "stopped")
    await world.told("spring", "campaign.status", state="stopped")
    await world.manager.call("DELETE", "/v1/campaigns/spring")
    problem(await ask(world, "GET", SPRING), 410, "campaign-deleted")

    status, out, _ = await command(settings, "export", "spring")

    told = [json.loads(one) for one in out.splitlines()]
    assert status == 0
    assert told[0]["campaign"]["state"] == "deleted"
    assert told[-1]["kind"] == "end"
    for kind in ("call", "disposition"):
        assert [one | {"as_of": 0} for one in of_kind(kind, told)] == [
            one | {"as_of": 0} for one in of_kind(kind, live)
        ]
    numbers = [[one["contact"]["numbers"] for one in of_kind("contact", some)] for some in (told, live)]
    assert numbers[0] == numbers[1]
    status, out, err = await command(settings, "export", "nothing")
    assert (status, out, err) == (1, "", "ringfold: there is no campaign 'nothing'\n")


async def test_an_erased_person_is_in_no_export(world: World, settings: Settings) -> None:
    await worked(world)
    erased = await ask(world, "POST", "/v1/persons/erase", {"contact": "spring:1"})
    assert erased.status == 200, erased.raw

    told = lines(await ask(world, "GET", SPRING))

    _, printed, _ = await command(settings, "export", "spring")
    for text in (json.dumps(told), printed):
        assert '"spring:1"' in text
        assert not any(secret in text for secret in (ENDS, "Bo", "Cali", "mornings"))
        assert "Ana" in text


async def test_contacts_that_come_while_it_is_read_break_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block a contact: between two of them others are added, and every one that was there at first is in it."""
    monkeypatch.setattr(export, "BLOCK_ROWS", 1)
    await world.campaign("spring", [[f"1555{number:04}"] for number in range(200)], agents=())

    async def add() -> None:
        for number in range(20):
            row = {"ref": f"spring:new{number}", "numbers": [f"1666{number:04}"]}
            await world.manager.call("POST", "/v1/campaigns/spring/contacts", [row])

    answer, _ = await asyncio.gather(ask(world, "GET", SPRING), add())

    told = of_kind("contact", lines(answer))
    refs = [one["contact"]["ref"] for one in told]
    assert len(set(refs)) == len(refs)
    assert refs[:200] == [f"spring:{number}" for number in range(1, 201)]
    positions = [one["as_of"] for one in told]
    assert positions == sorted(positions)
    assert lines(answer)[-1]["contacts"] == len(refs)


async def test_so_many_at_a_time_and_who_stops_reading_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_EXPORTS", 1)
    monkeypatch.setattr(export, "READ_WITHIN_S", 0.5)
    tail = "x" * 900
    people = [
        {"ref": f"spring:{number}", "numbers": [f"1555{number:05}"], "data": {"note": tail}} for number in range(9_000)
    ]
    await world.campaign("spring", [], agents=())
    await world.manager.call("POST", "/v1/campaigns/spring/contacts", people[:4_500])
    await world.manager.call("POST", "/v1/campaigns/spring/contacts", people[4_500:])
    headers = {"Authorization": f"Bearer {token_of(world)}"}
    async with aiohttp.ClientSession(read_bufsize=1_024) as deaf:
        answer = await deaf.get(world.base + SPRING, headers=headers)
        async with asyncio.timeout(PATIENCE_S):
            while not await traces(world):
                await asyncio.sleep(0.02)
        refused = await ask(world, "GET", SPRING)
        problem(refused, 503, "too-many-exports")
        assert int(refused.headers["Retry-After"]) > 0

        async with asyncio.timeout(PATIENCE_S):
            while (again := await ask(world, "HEAD", SPRING)).status != 200:
                await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()  # cut off, and it looks so
    assert again.status == 200
    assert lines(await ask(world, "GET", SPRING))[-1]["contacts"] == 9_000
