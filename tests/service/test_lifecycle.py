"""A campaign's life as its manager sees it: by commands that promise nothing and notifications that tell."""

import asyncio
from typing import Any

import pytest

from simulations.client import Problem
from simulations.pbx import SimulatedPbx
from tests.world import World

FAR = [["15550001"], ["15550002"]]


def states(story: list[dict[str, Any]]) -> list[str]:
    return [one["data"]["state"] for one in story if one["type"] == "campaign.status"]


def of_agent(story: list[dict[str, Any]], agent: str) -> list[str]:
    return [one["data"]["state"] for one in story if one["type"] == "agent.status" and one["data"]["agent"] == agent]


async def test_TF_05_TF_06_TF_07_states_come_by_notification_each_once(service: World) -> None:
    await service.campaign("spring", FAR)
    answer = await service.ask("spring", "running")
    assert set(answer) == {"command_id"}  # TF-05: a command was taken, no state is claimed
    await service.told("spring", "campaign.status", state="running")
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopped")
    story = await service.notifications("spring")
    assert states(story) == ["starting", "running", "stopping", "stopped"]
    assert len({one["id"] for one in story}) == len(story)
    assert [one["seq"] for one in story] == list(range(1, len(story) + 1))


async def test_TF_08_TF_09_asking_again_is_no_event(service: World) -> None:
    await service.campaign("spring", FAR)
    await service.run("spring")
    before = len(await service.notifications("spring"))
    await service.ask("spring", "running")
    assert len(await service.notifications("spring")) == before
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopped")
    before = len(await service.notifications("spring"))
    await service.ask("spring", "stopped")
    assert len(await service.notifications("spring")) == before


async def test_TF_12_TF_22_TF_25_stop_without_calls_and_the_agents_way(service: World) -> None:
    await service.campaign("spring", FAR, agents=("agent1", "agent2"))
    await service.run("spring")
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopped")
    story = await service.notifications("spring")
    assert states(story)[-2:] == ["stopping", "stopped"]
    for agent in ("agent1", "agent2"):
        assert of_agent(story, agent) == ["logging_in", "available", "logging_out", "offline"]
        assert all(one["campaign"] == "spring" for one in story)  # TF-25


@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        ("agent_busy", "phone-busy"),
        ("agent_reject", "phone-rejected"),
        ("agent_silent", "phone-no-answer"),
        ("agent_absent", "phone-unreachable"),
    ],
)
async def test_TF_21_TF_22_a_phone_that_does_not_come_is_offline_with_a_reason(
    service: World, phone: str, reason: str
) -> None:
    await service.campaign("spring", FAR, agents=("agent1", phone), agent_ring_timeout_s=5)
    await service.run("spring")
    told = await service.told("spring", "agent.status", agent=phone, state="offline")
    assert told["data"]["reason"] == reason
    story = await service.notifications("spring")
    assert of_agent(story, phone) == ["logging_in", "offline"]
    assert of_agent(story, "agent1") == ["logging_in", "available"]


async def test_TF_21_an_agent_offline_by_default_is_not_called(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", FAR)
    await service.admin.call("PUT", "/v1/agents/agent2", {"name": "Two", "phone": "agent2"})
    await service.manager.call("PUT", "/v1/campaigns/spring/agents/agent2", {"default_state": "offline"})
    await service.run("spring")
    assert not [one for one in pbx.originates if one.phone == "agent2"]


async def test_TF_11_TF_10_stop_lets_live_calls_end_first(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", FAR)
    await service.run("spring")
    agent = service.agent("agent1")
    held = (await agent.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    call = (await agent.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopping")
    with pytest.raises(Problem) as refused:  # TF-10
        await service.ask("spring", "running")
    assert (refused.value.status, refused.value.code) == (409, "campaign-stopping")
    await asyncio.sleep(0.2)
    assert states(await service.notifications("spring"))[-1] == "stopping"
    dialled = len(pbx.originates)
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "campaign.status", state="stopped")
    story = await service.notifications("spring")
    ended = next(one["seq"] for one in story if one["type"] == "call.ended")
    stopped = next(one["seq"] for one in story if one["data"].get("state") == "stopped")
    assert ended < stopped
    assert len(pbx.originates) == dialled
    # What was talked about may still be written down.
    body = {"token": held["token"], "disposition": "engaged"}
    await agent.call("POST", f"/v1/reservations/{held['id']}/disposition", body)


async def test_TF_13_force_hangs_up_and_is_told(service: World) -> None:
    await service.campaign("spring", FAR)
    await service.run("spring")
    agent = service.agent("agent1")
    held = (await agent.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    call = (await agent.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    await service.ask("spring", "stopped", force=True)
    await service.told("spring", "campaign.stop_forced", by="manager")
    ended = await service.told("spring", "call.ended", call=call)
    assert ended["data"]["ended_by"] == "dialer"
    await service.told("spring", "campaign.status", state="stopped")


async def test_TF_15_TF_16_the_remove_recipe(service: World) -> None:
    await service.campaign("spring", FAR)
    await service.run("spring")
    with pytest.raises(Problem) as refused:
        await service.manager.call("DELETE", "/v1/campaigns/spring")
    assert (refused.value.status, refused.value.code) == (409, "campaign-not-stopped")
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopped")
    await service.manager.call("DELETE", "/v1/campaigns/spring")
    await service.told("spring", "campaign.deleted")
    with pytest.raises(Problem) as used:  # TF-02
        await service.manager.call("PUT", "/v1/campaigns/spring", {"name": "Spring"})
    assert (used.value.status, used.value.code) == (409, "campaign-ref-used")
    listed = await service.manager.call("GET", "/v1/campaigns")
    assert listed["campaigns"] == []


async def test_TF_07_TF_14_completed_is_a_stop_reason(service: World) -> None:
    await service.campaign("spring", [["25550001"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = (await agent.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    call = (await agent.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}))["call_id"]
    await service.told("spring", "call.ended", call=call)
    body = {"token": held["token"], "disposition": "no_contact"}
    await agent.call("POST", f"/v1/reservations/{held['id']}/disposition", body)
    stopped = await service.told("spring", "campaign.status", state="stopped")
    assert stopped["data"]["reason"] == "completed"


async def test_TF_17_TF_18_settings_are_live_and_touch_nothing_else(service: World) -> None:
    await service.campaign("spring", FAR)
    await service.run("spring")
    before = await service.manager.call("GET", "/v1/campaigns/spring")
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"reservation_timeout_s": 45}})
    told = await service.told("spring", "campaign.settings_changed")
    assert told["data"]["old"] == {"reservation_timeout_s": 120}
    assert told["data"]["new"] == {"reservation_timeout_s": 45}
    assert told["data"]["by"] == "manager"
    after = await service.manager.call("GET", "/v1/campaigns/spring")
    assert after["settings"]["reservation_timeout_s"] == 45
    assert (after["state"], after["agents"], after["contacts"]) == (
        before["state"],
        before["agents"],
        before["contacts"],
    )


async def test_TF_20_a_busy_agent_who_is_removed_finishes_the_call(service: World) -> None:
    await service.campaign("spring", FAR, agents=("agent1", "agent2"))
    await service.run("spring")
    agent = service.agent("agent1")
    held = (await agent.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    call = (await agent.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    await service.manager.call("DELETE", "/v1/campaigns/spring/agents/agent1")
    await asyncio.sleep(0.2)
    assert (await service.manager.call("GET", f"/v1/calls/{call}"))["status"] == "bridged"
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "call.ended", call=call)
    body = {"token": held["token"], "disposition": "engaged"}
    await agent.call("POST", f"/v1/reservations/{held['id']}/disposition", body)
    await service.told("spring", "agent.removed", agent="agent1")
    seen = await service.manager.call("GET", "/v1/campaigns/spring")
    assert [one["agent"] for one in seen["agents"]] == ["agent2"]
