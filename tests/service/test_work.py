"""What agents do all day, over HTTP: callbacks, the scope, the next contact ahead."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from simulations.client import Problem
from tests.api.asking import ask, contacts
from tests.service.test_preview import act, take
from tests.world import World


async def test_OM_20_a_callback_is_at_the_contacts_own_clock_and_comes_back_to_its_agent(service: World) -> None:
    await service.campaign("spring", [], agents=("agent1", "agent2"), dispose_without_attempt=True)
    await contacts(service, {"ref": "spring:1", "numbers": ["15550001"], "zone": "America/Bogota"})
    await service.run("spring")
    agent = service.agent("agent1")
    soon = datetime.now(UTC) + timedelta(seconds=2)
    there = (soon - timedelta(hours=5)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    await act(agent, await take(agent), "disposition", disposition="callback", callback={"at": there})
    told = await service.told("spring", "contact.disposed", contact="spring:1")
    due = datetime.fromisoformat(told["data"]["due_at"])
    assert abs((due - soon).total_seconds()) < 0.01
    assert (told["data"]["callback"], told["data"]["final"]) == ("agent1", False)
    nothing = await ask(service, "POST", "/v1/agents/agent1/next", {})
    assert (nothing.status, nothing.headers["Ringfold-Reason"]) == (204, "not_due")
    await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()) + 0.05)
    assert await service.agent("agent2").call("POST", "/v1/agents/agent2/next", {}) is None
    assert (await take(agent))["contact"]["ref"] == "spring:1"


async def test_OM_20_where_the_zone_is_not_certain_the_time_must_say_it(service: World) -> None:
    await service.campaign("spring", [["15550001"]], dispose_without_attempt=True)
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    with pytest.raises(Problem) as error:
        await act(agent, held, "disposition", disposition="callback", callback={"at": "2030-01-01T10:00:00"})
    assert error.value.status == 422
    with pytest.raises(Problem) as error:
        await act(agent, held, "disposition", disposition="callback")
    assert error.value.status == 422


async def test_OM_06_the_scope_is_shown_and_told(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]], target_engaged=1, dispose_without_attempt=True)
    await service.run("spring")
    agent = service.agent("agent1")
    await act(agent, await take(agent), "disposition", disposition="engaged")
    told = await service.told("spring", "campaign.target_reached")
    assert told["data"] == {"target": 1, "engaged": 1}
    assert (await service.manager.call("GET", "/v1/campaigns/spring"))["scope"] == {
        "target": 1,
        "engaged": 1,
        "reached": True,
    }


async def test_the_next_contact_is_shown_ahead(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    await act(agent, held, "dial")
    ahead = (await agent.call("POST", "/v1/agents/agent1/next", {"ahead": True}))["reservation"]
    assert (ahead["contact"]["ref"], ahead["ahead"]) == ("spring:2", True)
