"""Why and why not: over HTTP from the live state, by the operator from the logs alone."""

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.token import Role
from simulations.client import Problem
from simulations.pbx import SimulatedPbx
from tests.api.asking import FAR, ask, contacts, problem, token_of
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for


async def test_EX_03_a_contact_is_explained_from_the_rules_and_from_the_log(service: World) -> None:
    await service.campaign("spring", [["+15550001", FAR]], dispose_without_attempt=True)
    await service.admin.call("POST", "/v1/dnc", {"numbers": ["+15550001"]})
    path = "/v1/explain?contact=spring:1"
    assert (await service.manager.call("GET", path))["waits_for"] == [
        "the campaign, which is created",
        "an agent: none who may have it is available",
    ]
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    with pytest.raises(Problem):
        await act(agent, held, "dial", number="+15550001")
    call = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.ended", call=call)
    told = await service.manager.call("GET", path)
    assert told["numbers"][0]["rule"] == "dnc"
    assert (told["numbers"][0]["list_version"], told["next_number"]) == (1, 1)
    assert (told["numbers"][1]["last_outcome"], told["numbers"][1]["attempts_24h_everywhere"]) == ("busy", 1)
    assert told["waits_for"] == ["agent 'agent1', who has it in hand (offered)"]
    story = [one["event"] for one in told["history"]]
    assert story[:4] == ["contacts.added", "contact.reserved", "contact.dial_refused", "call.requested"]
    assert story[-2:] == ["call.ended", "contact.reservation_extended"]
    positions = [one["position"] for one in told["history"]]
    assert positions == sorted(positions)
    assert held["token"] not in str(told)
    await act(agent, held, "disposition", disposition="no_contact")
    assert (await service.manager.call("GET", path))["waits_for"] == ["nothing: it is final (disposition 'no_contact')"]


async def test_EX_03_the_operator_asks_the_logs_without_the_service(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with running(settings) as world:
        await world.campaign("spring", [["+15550001"]])
        await world.admin.call("POST", "/v1/dnc", {"numbers": ["+15550001"]})
    told = await ringfold(tmp_path, "explain", "spring:1")
    assert (told["numbers"][0]["rule"], told["numbers"][0]["list_version"]) == ("dnc", 1)
    assert [one["event"] for one in told["history"]] == ["contacts.added"]
    by_number = await ringfold(tmp_path, "explain", "--number", "15550001")
    assert [(one["campaign"], one["contact"]) for one in by_number["contacts"]] == [("spring", "spring:1")]
    assert [(one["list"], one["until"]) for one in by_number["lists"]] == [("global", 0)]


async def ringfold(folder: Path, *arguments: str) -> Any:
    config = folder / "ringfold.toml"
    database = folder / "ringfold.db"
    config.write_text(f'[store]\nurl = "sqlite:///{database}"\n[tokens]\nkey_file = "{folder / "tokens.key"}"\n')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", *arguments, "--config", str(config)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return json.loads(output)


async def test_EX_03_a_number_is_explained_for_all_campaigns_that_one_may_see(service: World) -> None:
    await service.campaign("spring", [["+15550001"]])
    await service.campaign("summer", [["15550001"], ["15550002"]])
    await service.admin.call("POST", "/v1/campaigns/summer/dnc", {"numbers": ["+15550001"]})
    told = await service.manager.call("GET", "/v1/explain?number=%2B15550001")
    assert [(one["campaign"], one["numbers"][0]["rule"]) for one in told["contacts"]] == [
        ("spring", None),
        ("summer", "dnc"),
    ]
    assert [one["list"] for one in told["lists"]] == ["campaign/summer"]
    bound = token_of(service, Role.CAMPAIGN_MANAGER, "m", "spring")
    mine = await ask(service, "GET", "/v1/explain?number=15550001", token=bound)
    assert ([one["campaign"] for one in mine.body["contacts"]], mine.body["lists"]) == (["spring"], [])
    problem(await ask(service, "GET", "/v1/explain?contact=summer:1", token=bound), 403, "forbidden")
    problem(await ask(service, "GET", "/v1/explain?contact=nobody"), 404, "unknown-contact")
    problem(await ask(service, "GET", "/v1/explain"), 422, "invalid-request")


async def test_EX_03_who_may_get_a_contact_and_until_when_a_number_rests(service: World) -> None:
    settings: dict[str, Any] = {"number_cooldown_s": 3_600, "others_when_unavailable": False}
    await service.campaign("spring", [[FAR]], agents=("agent1", "agent2"), **settings)
    row = {"ref": "spring:2", "numbers": ["15550002"], "agent": "agent2"}
    await contacts(service, row)
    await service.run("spring")
    path = "/v1/explain?contact=spring:"
    assert (await service.manager.call("GET", path + "1"))["agents"] == ["agent1", "agent2"]
    assert (await service.manager.call("GET", path + "2"))["agents"] == ["agent2"]
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"delivery": "own_only"}})
    free = await service.manager.call("GET", path + "1")
    assert (free["agents"], free["waits_for"]) == ([], ["an agent: none who may have it is available"])
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"delivery": "own_first"}})
    agent = service.agent("agent1")
    call = (await act(agent, await take(agent), "dial"))["call_id"]
    ended = await service.told("spring", "call.ended", call=call)
    told = await service.manager.call("GET", path + "1")
    rests = datetime.fromisoformat(told["numbers"][0]["cools_until"])
    assert 3_590 < (rests - datetime.fromisoformat(ended["time"])).total_seconds() <= 3_600
    assert "a person: no number may be dialled by itself now" in told["waits_for"]
