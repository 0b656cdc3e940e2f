"""Preview dialing over HTTP: next, dial, the next number, disposition, skip, expiry; two agents never on one contact."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from simulations.client import Client, Problem
from simulations.pbx import SimulatedPbx
from tests.world import World


async def take(agent: Client, name: str = "agent1") -> dict[str, Any]:
    answer = await agent.call("POST", f"/v1/agents/{name}/next", {})
    assert answer is not None
    held: dict[str, Any] = answer["reservation"]
    return held


async def act(agent: Client, held: dict[str, Any], what: str, **body: Any) -> Any:
    return await agent.call("POST", f"/v1/reservations/{held['id']}/{what}", {"token": held["token"], **body})


async def test_OM_01_OM_08_OM_13_OM_14_OM_15_one_contact_from_next_to_disposition(service: World) -> None:
    await service.campaign("spring", [["25550001", "15550002"], ["15550003"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    assert held["contact"]["ref"] == "spring:1"
    assert [one["number"] for one in held["numbers"]] == ["25550001", "15550002"]
    assert (await take(agent))["id"] == held["id"]  # OM-08: theirs until they are done with it
    first = (await act(agent, held, "dial"))["call_id"]
    busy = await service.told("spring", "call.ended", call=first)
    assert (busy["data"]["outcome"], busy["data"]["number"]) == ("busy", "25550001")
    second = (await act(agent, held, "dial"))["call_id"]  # OM-14: the next number
    connected = await service.told("spring", "call.connected", call=second)
    assert connected["data"]["number"] == "15550002"
    assert connected["data"]["contact"] == "spring:1"
    await service.told("spring", "call.bridged", call=second)
    await agent.call("POST", f"/v1/calls/{second}/hangup", {})
    ended = await service.told("spring", "call.ended", call=second)
    assert (ended["data"]["outcome"], ended["data"]["ended_by"]) == ("answered", "agent")
    assert (await take(agent))["id"] == held["id"]  # OM-15: it stays until the disposition
    await act(agent, held, "disposition", disposition="engaged")
    assert (await take(agent))["contact"]["ref"] == "spring:2"
    records = (await service.manager.call("GET", "/v1/campaigns/spring/calls"))["calls"]
    assert [(one["outcome"], one["number"]) for one in records] == [("busy", "25550001"), ("answered", "15550002")]


async def test_OM_13_an_on_demand_agent_is_rung_first(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["15550001"]], line="on_demand")
    await service.run("spring")
    assert not pbx.originates  # nobody is rung before there is a call
    agent = service.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    assert [one.phone or one.number for one in pbx.originates] == ["agent1", "15550001"]
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "call.ended", call=call)
    await service.until(lambda: not pbx.live)  # the phone is let go with the call


async def test_OM_13_an_on_demand_agent_who_rejects_is_one_call_record(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent_reject",), line="on_demand")
    await service.run("spring")
    agent = service.agent("agent_reject")
    held = await take(agent, "agent_reject")
    call = (await act(agent, held, "dial"))["call_id"]
    ended = await service.told("spring", "call.ended", call=call)
    assert (ended["data"]["outcome"], ended["data"]["reason"]) == ("agent_unreachable", "phone-rejected")
    assert [one.phone or one.number for one in pbx.originates] == ["agent_reject"]  # the contact was never dialled


async def test_OM_07_EX_06_a_reservation_lapses_exactly_and_goes_to_another(service: World) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent1", "agent2"), reservation_timeout_s=1)
    await service.run("spring")
    first, second = service.agent("agent1"), service.agent("agent2")
    held = await take(first)
    assert await second.call("POST", "/v1/agents/agent2/next", {}) is None
    await act(first, held, "extend")
    lapsed = await service.told("spring", "contact.released", reason="expired")
    reserved = [one for one in await service.notifications("spring") if one["type"].startswith("contact.reserv")]
    promised = datetime.fromisoformat(reserved[-1]["data"]["expires_at"])
    late_s = (datetime.fromisoformat(lapsed["time"]) - promised).total_seconds()
    assert 0 <= late_s < 5  # exactness is a benchmark's figure; here: never early, and by itself
    with pytest.raises(Problem) as refused:
        await act(first, held, "dial")
    assert refused.value.code == "reservation-lost"
    assert (await take(second, "agent2"))["contact"]["ref"] == "spring:1"


async def test_OM_19_a_skipped_contact_goes_behind(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"], ["15550003"]])
    await service.run("spring")
    agent = service.agent("agent1")
    order = []
    for _ in range(4):
        held = await take(agent)
        order.append(held["contact"]["ref"])
        await act(agent, held, "skip", reason="not now")
    assert order == ["spring:1", "spring:2", "spring:3", "spring:1"]
    told = await service.told("spring", "contact.released", reason="skipped")
    assert told["data"]["note"] == "not now"


async def test_OM_09_dispositions_are_the_campaigns_own(service: World) -> None:
    own = [
        {"code": "sold", "engaged": True},
        {"code": "later", "final": False, "retry_after_s": 0},
    ]
    await service.campaign("spring", [["25550001"]], dispositions=own)
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.ended", call=call)
    with pytest.raises(Problem) as refused:
        await act(agent, held, "disposition", disposition="engaged")
    assert refused.value.status == 422
    assert refused.value.body["errors"][0]["field"].endswith("disposition")
    await act(agent, held, "disposition", disposition="later")
    again = await take(agent)  # to retry, and due at once
    assert again["contact"]["ref"] == "spring:1"
    assert again["id"] != held["id"]


async def test_EX_01_many_agents_race_for_few_contacts(service: World) -> None:
    names = tuple(f"agent{number}" for number in range(1, 21))
    await service.campaign("spring", [[f"1555{place:04}"] for place in range(8)], agents=names)
    await service.run("spring")
    clients = {name: service.agent(name) for name in names}
    for _ in range(5):
        answers = await asyncio.gather(
            *(client.call("POST", f"/v1/agents/{name}/next", {}) for name, client in clients.items())
        )
        held = {
            name: answer["reservation"] for name, answer in zip(clients, answers, strict=True) if answer is not None
        }
        assert len(held) == 8
        assert len({one["contact"]["ref"] for one in held.values()}) == 8
        await asyncio.gather(*(act(clients[name], one, "release", reason="race") for name, one in held.items()))


async def test_OM_10_only_allocated_agents_see_the_campaign(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    await service.admin.call("PUT", "/v1/agents/stranger", {"name": "S", "phone": "agent9"})
    stranger = service.agent("stranger")
    assert (await stranger.call("GET", "/v1/campaigns"))["campaigns"] == []
    with pytest.raises(Problem) as refused:
        await stranger.call("GET", "/v1/campaigns/spring")
    assert refused.value.status in (403, 404)
    assert [one["ref"] for one in (await service.agent("agent1").call("GET", "/v1/campaigns"))["campaigns"]] == [
        "spring"
    ]


@pytest.mark.parametrize(
    ("number", "outcome", "by"),
    [
        ("25550001", "busy", "contact"),
        ("35550001", "no_answer", "contact"),
        ("45550001", "congestion", "carrier"),
        ("55550001", "invalid", "carrier"),
        ("75550001", "rejected", "contact"),
        ("95550001", "no_answer", "contact"),
        ("65550001", "answered", "contact"),
    ],
)
async def test_TF_35_every_attempt_is_one_record_with_its_outcome(
    service: World, number: str, outcome: str, by: str
) -> None:
    await service.campaign("spring", [[number]], ring_timeout_s=15)
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    ended = await service.told("spring", "call.ended", call=call)
    assert (ended["data"]["outcome"], ended["data"]["ended_by"]) == (outcome, by)
    records = (await service.manager.call("GET", "/v1/campaigns/spring/calls"))["calls"]
    assert [one["id"] for one in records] == [call]


async def test_TF_34_connected_is_told_before_the_audio(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    story = [one["type"] for one in await service.notifications("spring") if one["data"].get("call") == call]
    assert story.index("call.connected") < story.index("call.bridged")
