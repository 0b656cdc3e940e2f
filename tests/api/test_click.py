"""Click-to-call: whose it is, which contact is meant, once however often asked, and what is told of it."""

import asyncio
from pathlib import Path
from typing import Any

from api.token import Role
from simulations.pbx import SimulatedPbx
from tests.api.asking import Answer, ask, clicked, contacts, problem, refused, token_of
from tests.conftest import ami_of
from tests.service.test_preview import take
from tests.world import World, running, settings_for


def own(**more: Any) -> dict[str, Any]:
    """A click by our own refs."""
    return {"campaign": "spring", "agent": "agent1", "request_id": "r1", **more}


async def click(service: World, token: str | None = None, **more: Any) -> Answer:
    return await ask(service, "POST", "/v1/calls", own(**more), token=token)


async def test_OM_02_OM_16_OM_18_EX_09_a_click_by_external_ids_is_one_call_however_often_it_is_asked(
    service: World, crm: str
) -> None:
    answers = await asyncio.gather(
        *(ask(service, "POST", "/v1/calls", clicked(contact="person-2"), token=crm) for _ in range(5))
    )
    assert {one.status for one in answers} == {202}
    (call,) = {one.body["call_id"] for one in answers}
    assert answers[0].headers["Location"] == f"/v1/calls/{call}"
    told = await service.told("spring", "call.requested", call=call)
    assert (told["data"]["contact"], told["data"]["agent"]) == ("spring:2", "agent1")
    shown = await ask(service, "GET", f"/v1/calls/{call}", token=crm)
    assert shown.body["contact"] == "spring:2"
    story = [one for one in await service.notifications("spring") if one["type"] == "call.requested"]
    assert len(story) == 1


async def test_OM_16_every_refusal_is_its_own(service: World, crm: str) -> None:
    await take(service.agent("agent2"), "agent2")  # holds spring:1
    ring = service.service.keys
    anybody = ring.mint(Role.CRM, "suite", 600)
    assert [
        await refused(service, crm, clicked(contact="person-2", external_system="other")),
        await refused(service, anybody, clicked(contact="person-2", external_system="other")),
        await refused(service, crm, clicked(contact="person-2", campaign="C9")),
        await refused(service, crm, clicked(contact="person-2", agent="U9")),
        await refused(service, crm, clicked(contact="person-2", agent="U2")),
        await refused(service, anybody, clicked(contact="person-2", agent="U2")),
        await refused(service, crm, clicked(contact="person-9")),
        await refused(service, crm, clicked(contact="person-1")),
        await refused(service, crm, clicked(number="15551111")),
        await refused(service, crm, clicked()),
        await refused(service, crm, clicked(contact="person-2", request_id="a b")),
    ] == [
        "403 forbidden",
        "404 unknown-external-system",
        "404 unknown-campaign",
        "404 unknown-agent",
        "403 forbidden",
        "409 agent-holds-another",
        "409 contact-not-in-campaign",
        "409 contact-held",
        "409 adhoc-not-allowed",
        "422 invalid-request",
        "422 invalid-request",
    ]
    assert not [one for one in await service.notifications("spring") if one["type"] == "call.requested"]


async def test_OM_16_a_number_of_nobody_is_called_where_the_campaign_allows_it(service: World, crm: str) -> None:
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"adhoc_numbers": True}})
    answer = await ask(service, "POST", "/v1/calls", clicked(number="15551111"), token=crm)
    assert answer.status == 202, answer.body
    again = await ask(service, "POST", "/v1/calls", clicked(number="15551111"), token=crm)
    assert again.body == answer.body
    call = await service.manager.call("GET", f"/v1/calls/{answer.body['call_id']}")
    assert (call["contact"], call["number"]) == ("spring:adhoc:r1", "15551111")


async def test_EX_09_a_request_is_the_same_call_after_a_restart(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with running(settings) as world:
        await world.campaign("spring", [["15550001"], ["15550002"]])
        await world.run("spring")
        first = (await click(world, contact="spring:2")).body
        await world.told("spring", "call.bridged", call=first["call_id"])
    async with running(settings) as world:
        again = await click(world, contact="spring:2")
        assert (again.status, again.body) == (202, first)
        calls = (await world.manager.call("GET", "/v1/campaigns/spring/calls"))["calls"]
        assert [one["id"] for one in calls] == [first["call_id"]]


async def test_a_request_id_does_not_name_two_calls(service: World, crm: str) -> None:
    assert (await click(service, contact="spring:2")).status == 202
    for other in (own(contact="spring:1"), own(contact="spring:2", agent="agent2"), own(number="15550001")):
        problem(await ask(service, "POST", "/v1/calls", other), 409, "request-id-used")
    assert (await click(service, number="+15550002")).status == 202  # the same contact by its number


async def test_OM_16_a_number_of_a_contact_is_that_contact(service: World, crm: str) -> None:
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"adhoc_numbers": True}})
    call = (await click(service, number="+15550002")).body["call_id"]
    assert (await service.manager.call("GET", f"/v1/calls/{call}"))["contact"] == "spring:2"


async def test_OM_16_the_number_that_is_asked_for_is_the_one_that_is_dialled(
    service: World, crm: str, pbx: SimulatedPbx
) -> None:
    await contacts(service, {"ref": "spring:3", "numbers": ["15550003", "15550004"]})
    call = (await click(service, number="+15550004")).body["call_id"]
    requested = (await service.told("spring", "call.requested", call=call))["data"]
    assert (requested["contact"], requested["number"]) == ("spring:3", "15550004")


async def test_a_refused_click_on_a_number_of_nobody_leaves_nobody_to_be_called(service: World, crm: str) -> None:
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"adhoc_numbers": True}})
    await service.admin.call("POST", "/v1/dnc", {"numbers": ["+15551111"]})
    problem(await click(service, number="15551111"), 409, "dial-forbidden")
    assert (await service.told("spring", "contact.cancelled"))["data"]["contact"] == "spring:adhoc:r1"
    await service.admin.call("DELETE", "/v1/dnc", {"numbers": ["+15551111"]})
    again = await click(service, number="15551111")
    assert again.status == 202
    assert (await ask(service, "GET", f"/v1/calls/{again.body['call_id']}")).body["contact"] == "spring:adhoc:r1.2"
    # An agent who isn't there: not even a contact is made.
    await service.admin.call("PATCH", "/v1/agents/agent2", {"state": "paused", "reason": "lunch"})
    problem(await click(service, agent="agent2", number="15552222", request_id="r2"), 409, "agent-not-available")
    assert (await ask(service, "GET", "/v1/campaigns/spring/contacts/spring:adhoc:r2")).status == 404


async def test_OM_16_OM_18_the_other_refusals_of_our_own_refs(service: World, crm: str) -> None:
    await service.campaign("summer", [["15550003"]], agents=("agent3",))
    await service.manager.call("POST", "/v1/campaigns/spring/contacts/spring:1/cancel", {})
    admin = token_of(service)
    assert [
        await refused(service, admin, own(contact="spring:2", campaign="winter")),
        await refused(service, admin, own(contact="summer:1", campaign="summer")),
        await refused(service, admin, own(contact="summer:1", campaign="summer", agent="agent3")),
        await refused(service, admin, own(contact="spring:2", agent="agent3")),
        await refused(service, admin, own(contact="spring:2", agent="nobody")),
        await refused(service, admin, own(contact="summer:1")),
        await refused(service, admin, own(contact="spring:1")),
        await refused(service, admin, own(contact="spring:2", number="15559999")),
    ] == [
        "404 unknown-campaign",
        "409 campaign-not-running",
        "409 campaign-not-running",
        "409 agent-not-in-campaign",
        "404 unknown-agent",
        "409 contact-not-in-campaign",
        "409 contact-closed",
        "422 invalid-request",
    ]


async def test_OM_18_SG_01_who_may_click_for_whom(service: World, crm: str) -> None:
    body = own(contact="spring:2")
    agent2, elsewhere = token_of(service, Role.AGENT, "agent2"), token_of(service, Role.SUPERVISOR, "sam", "summer")
    manager = token_of(service, Role.CAMPAIGN_MANAGER, "m")
    bound = service.service.keys.mint(Role.CRM, "suite", 600, agents=("agent2",))
    for token in (agent2, elsewhere, manager, bound):
        assert await refused(service, token, body) == "403 forbidden"
    agent1, supervisor = token_of(service, Role.AGENT, "agent1"), token_of(service, Role.SUPERVISOR, "sam", "spring")
    first = await click(service, agent1, contact="spring:2")
    assert (first.status, (await click(service, supervisor, contact="spring:2")).body) == (202, first.body)


async def test_OM_02_external_ids_may_hold_what_they_like(service: World, crm: str) -> None:
    await contacts(service, {"ref": "spring:3", "numbers": ["15550003"], "external_id": "Ann & Co / 7"})
    await service.manager.call("PUT", "/v1/external/suite/campaign/Q1%2F26%20west", {"ref": "spring"})
    body = clicked(campaign="Q1/26 west", contact="Ann & Co / 7")
    answer = await ask(service, "POST", "/v1/calls", body, token=crm)
    assert answer.status == 202, answer.raw
    assert (await ask(service, "GET", answer.headers["Location"], token=crm)).body["contact"] == "spring:3"


async def test_EX_09_what_becomes_of_a_call_is_streamed_for_it_alone(service: World, crm: str) -> None:
    other = (await click(service, contact="spring:1", agent="agent2", request_id="r0")).body["call_id"]
    asked = await ask(service, "POST", "/v1/calls", clicked(contact="person-2"), token=crm)
    call, cursor = asked.body["call_id"], asked.headers["Ringfold-Cursor"]
    kinds: list[str] = []
    while "call.bridged" not in kinds:
        page = (await ask(service, "GET", f"/v1/calls/{call}/events?after={cursor}&wait=5", token=crm)).body
        kinds += [one["type"] for one in page["events"]]
        assert all(one["data"]["call"] == call for one in page["events"])
        cursor = page["cursor"]
    assert kinds[0] == "call.requested"
    await ask(service, "POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "call.ended", call=call)
    rest = (await ask(service, "GET", f"/v1/calls/{call}/events?after={cursor}&wait=5", token=crm)).body
    assert (rest["events"][-1]["type"], rest["status"]) == ("call.ended", "ended")
    whole = (await ask(service, "GET", f"/v1/calls/{call}/events", token=crm)).body["events"]
    assert [one["type"] for one in whole] == [*kinds, *(one["type"] for one in rest["events"])]
    agent1 = token_of(service, Role.AGENT, "agent1")
    assert (await ask(service, "GET", f"/v1/calls/{call}/events", token=agent1)).status == 200
    problem(await ask(service, "GET", f"/v1/calls/{other}/events", token=agent1), 403, "forbidden")
    problem(await ask(service, "GET", f"/v1/calls/{call}/events?after=x"), 422, "invalid-request")
