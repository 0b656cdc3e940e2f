"""Each clause of the lines of requirements that other tests only touch, over HTTP at a running service."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulations.client import Problem
from simulations.pbx import SimulatedPbx
from tests.api.asking import Answer, ask
from tests.service.test_preview import act, take
from tests.world import World

SPRING = "/v1/campaigns/spring"
ENVELOPE = {"id", "type", "version", "time", "cursor", "campaign", "seq", "data"}
TAKEN = "202"
EXPECTED: dict[str, dict[str, str]] = {
    "created": {
        "start": TAKEN,
        "stop": "409 campaign-not-started",
        "force": "409 campaign-not-started",
        "delete": TAKEN,
    },
    "running": {"start": TAKEN, "stop": TAKEN, "force": TAKEN, "delete": "409 campaign-not-stopped"},
    "stopping": {
        "start": "409 campaign-stopping",
        "stop": TAKEN,
        "force": TAKEN,
        "delete": "409 campaign-not-stopped",
    },
    "stopped": {"start": TAKEN, "stop": TAKEN, "force": TAKEN, "delete": TAKEN},
    "deleted": {
        "start": "409 campaign-deleted",
        "stop": "409 campaign-deleted",
        "force": "409 campaign-deleted",
        "delete": "409 campaign-deleted",
    },
}
"""State by state, what each command is answered."""
BODIES: dict[str, Any] = {
    "start": {"state": "running"},
    "stop": {"state": "stopped"},
    "force": {"state": "stopped", "force": True},
    "delete": None,
}


def said(answer: Answer) -> str:
    code = str(answer.body["type"]).rpartition("/")[2] if answer.status >= 400 else ""
    return f"{answer.status} {code}".strip()


async def of_campaign(service: World) -> list[dict[str, Any]]:
    return [one for one in await service.notifications("spring") if one["type"].startswith("campaign.")]


async def in_state(service: World, state: str) -> None:
    """The campaign `spring`, with one contact who talks until hung up; while it stops a call is in progress."""
    await service.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
    await service.told("spring", "campaign.created")
    if state == "created":
        return
    if state != "deleted":
        await service.run("spring")
    if state == "stopping":
        agent = service.agent("agent1")
        held = await take(agent)
        call = (await act(agent, held, "dial"))["call_id"]
        await service.told("spring", "call.bridged", call=call)
    if state in ("stopping", "stopped"):
        await service.ask("spring", "stopped")
        await service.told("spring", "campaign.status", state=state)
    if state == "deleted":
        await service.manager.call("DELETE", SPRING)
        await service.told("spring", "campaign.deleted")


@pytest.mark.parametrize("command", BODIES)
@pytest.mark.parametrize("state", EXPECTED)
async def test_TF_07_TF_08_TF_09_TF_10_TF_13_TF_15_every_command_in_every_state(
    service: World, state: str, command: str
) -> None:
    await in_state(service, state)
    before = await of_campaign(service)
    method = "DELETE" if command == "delete" else "PATCH"
    answer = await ask(service, method, SPRING, BODIES[command])
    assert said(answer) == EXPECTED[state][command]
    if answer.status == 202:
        assert set(answer.body) == {"command_id"}, "no state is claimed"
    repeats = {("running", "start"), ("stopping", "stop"), ("stopped", "stop"), ("stopped", "force")}
    if answer.status != 202 or (state, command) in repeats:
        await asyncio.sleep(0.1)
        assert await of_campaign(service) == before, "nobody is told of what changed nothing"


@pytest.mark.parametrize("state", EXPECTED)
async def test_TF_17_TF_18_TF_20_TF_27_settings_name_and_agents_are_edited_in_any_state_but_deleted(
    service: World, state: str
) -> None:
    await in_state(service, state)
    await service.admin.call("PUT", "/v1/agents/agent3", {"name": "Three", "phone": "agent3"})
    agents = f"{SPRING}/agents"
    edits: list[tuple[str, str, Any]] = [
        ("PATCH", SPRING, {"settings": {"reservation_timeout_s": 45}}),
        ("PATCH", SPRING, {"name": "Late spring"}),
        ("PUT", f"{agents}/agent3", {"default_state": "offline"}),
        ("DELETE", f"{agents}/agent3", None),
    ]
    answers = [await ask(service, *one) for one in edits]
    if state == "deleted":
        assert {one.status for one in answers} <= {409, 410}
        return
    assert all(one.status in (200, 201, 202) for one in answers), [one.raw for one in answers]
    told = await service.told("spring", "campaign.settings_changed")
    assert (told["data"]["old"], told["data"]["new"]) == ({"reservation_timeout_s": 120}, {"reservation_timeout_s": 45})
    await service.told("spring", "agent.removed", agent="agent3")
    seen = (await ask(service, "GET", SPRING)).body
    assert (seen["name"], seen["state"], seen["settings"]["reservation_timeout_s"]) == ("Late spring", state, 45)
    unknown = await ask(service, "PATCH", SPRING, {"settings": {"xyzzy": 1}})
    assert said(unknown) == "422 invalid-request"


async def test_TF_11_once_a_stop_was_taken_nothing_is_begun_and_what_is_in_hand_may_be_finished(
    service: World, pbx: SimulatedPbx
) -> None:
    await in_state(service, "running")
    first, second = service.agent("agent1"), service.agent("agent2")
    talking, looking = await take(first), await take(second, "agent2")
    call = (await act(first, talking, "dial"))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    dialled = len(pbx.originates)

    await service.ask("spring", "stopped")

    for agent, held in ((second, looking), (first, talking)):
        with pytest.raises(Problem) as refused:
            await act(agent, held, "dial")
        assert refused.value.status == 409
    with pytest.raises(Problem) as refused:
        await second.call("POST", "/v1/agents/agent2/next", {})
    assert refused.value.status == 409
    click = {"campaign": "spring", "agent": "agent2", "contact": "spring:2", "request_id": "r1"}
    assert (await ask(service, "POST", "/v1/calls", click)).status == 409
    await asyncio.sleep(0.2)
    assert (await service.manager.call("GET", SPRING))["state"] == "stopping"
    await first.call("POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "campaign.status", state="stopped")
    await act(first, talking, "disposition", disposition="engaged")
    assert len(pbx.originates) == dialled


@pytest.mark.parametrize("pending", ["try_later", "callback"])
async def test_TF_14_with_retries_or_callbacks_pending_it_is_not_completed(service: World, pending: str) -> None:
    await service.campaign("spring", [["25550001"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.ended", call=call)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    at = {"callback": {"at": tomorrow}} if pending == "callback" else {}
    await act(agent, held, "disposition", disposition=pending, **at)
    assert await agent.call("POST", "/v1/agents/agent1/next", {}) is None  # nothing is callable now
    await asyncio.sleep(0.2)
    assert (await service.manager.call("GET", SPRING))["state"] == "running"
    await service.manager.call("POST", f"{SPRING}/contacts/spring:1/cancel", {"reason": "asked to"})
    stopped = await service.told("spring", "campaign.status", state="stopped")
    assert stopped["data"]["reason"] == "completed"


async def test_TF_24_SG_19_campaigns_of_one_link_group_share_an_agent_whose_phone_is_rung_for_each_call(
    service: World,
) -> None:
    for ref, number in (("spring", "15550001"), ("autumn", "15550002")):
        await service.campaign(ref, [[number]], line="on_demand", link_group="seasons")
    await service.run("spring")
    await service.run("autumn")
    for ref in ("spring", "autumn"):
        await service.told(ref, "agent.status", agent="agent1", state="available")
    agent = service.agent("agent1")
    given = await agent.call("POST", "/v1/agents/agent1/next", {"campaign": "autumn"})
    assert given["reservation"]["contact"]["ref"] == "autumn:1"


async def test_TF_35_a_failed_originate_is_a_record_and_the_first_connect_is_the_last_number(
    service: World, pbx: SimulatedPbx
) -> None:
    await service.campaign("spring", [["15550001", "15550002"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    pbx.fail_originates(1)
    failed = (await act(agent, held, "dial"))["call_id"]
    ended = await service.told("spring", "call.ended", call=failed)
    assert (ended["data"]["outcome"], ended["data"]["ended_by"]) == ("failed", "pbx")
    talked = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.bridged", call=talked)
    await agent.call("POST", f"/v1/calls/{talked}/hangup", {})
    await service.told("spring", "call.ended", call=talked)
    with pytest.raises(Problem) as refused:
        await act(agent, held, "dial")
    assert (refused.value.status, refused.value.code) == (409, "contact-answered")
    records = (await service.manager.call("GET", f"{SPRING}/calls"))["calls"]
    assert [(one["id"], one["outcome"]) for one in records] == [(failed, "failed"), (talked, "answered")]


async def test_TF_34_TF_37_a_click_is_told_in_the_same_envelope_with_what_a_crm_needs(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    await service.run("spring")
    await service.told("spring", "agent.status", agent="agent1", state="available")
    body = {"campaign": "spring", "agent": "agent1", "contact": "spring:1", "request_id": "crm-7"}
    answer = await ask(service, "POST", "/v1/calls", body)
    assert answer.status == 202
    call = answer.body["call_id"]
    await service.told("spring", "call.bridged", call=call)
    story = await service.notifications("spring")
    assert all(set(one) == ENVELOPE and one["campaign"] == "spring" for one in story)
    of_call = [one for one in story if one["data"].get("call") == call]
    assert [one["type"] for one in of_call if one["type"].startswith("call.")] == [
        "call.requested",
        "call.ringing",
        "call.connected",
        "call.bridged",
    ]
    connected = next(one["data"] for one in of_call if one["type"] == "call.connected")
    assert (connected["contact"], connected["number"], connected["agent"]) == ("spring:1", "15550001", "agent1")
