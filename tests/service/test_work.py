"""What agents, CRMs and managers do all day, over HTTP: callbacks, clicks, lists, external ids."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.token import Role
from simulations.client import Problem
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, problem, token_of
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for

FAR = "25550001"
"""A number that is busy."""


async def contacts(service: World, *rows: dict[str, Any], ref: str = "spring", query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = await service.manager.call("POST", f"/v1/campaigns/{ref}/contacts{query}", list(rows))
    return answer


async def refused(service: World, token: str, body: dict[str, Any]) -> str:
    answer = await ask(service, "POST", "/v1/calls", body, token=token)
    assert answer.status >= 400, answer.body
    return f"{answer.status} {answer.code}"


# -- contacts with all they may bear -----------------------------------------------------------------------------------


async def test_SG_07_SG_11_SG_14_contacts_bear_priority_agent_zone_tags_and_the_crms_id(service: World) -> None:
    await service.campaign("spring", [], agents=("agent1", "agent2"))
    row = {
        "ref": "spring:1",
        "numbers": ["+573105822141"],
        "priority": "high",
        "agent": "agent2",
        "zone": "America/Bogota",
        "tags": ["vip"],
        "external_id": "crm-1",
        "consent_until": "2030-01-01T00:00:00Z",
    }
    assert (await contacts(service, row))["added"] == 1
    shown = await service.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1")
    assert (shown["priority"], shown["assigned_to"], shown["zone"]) == ("high", "agent2", "America/Bogota")
    assert (shown["tags"], shown["external_id"], shown["consent_until"]) == (
        ["vip"],
        "crm-1",
        "2030-01-01T00:00:00.000Z",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zone", "Mars/Olympus"),
        ("priority", "urgent"),
        ("agent", "a b"),
        ("consent_until", "tomorrow"),
        ("consent_until", "2030-01-01T00:00:00"),
        ("tags", "vip"),
    ],
)
async def test_TF_30_a_field_that_is_wrong_is_named_and_nothing_is_stored(
    service: World, field: str, value: Any
) -> None:
    await service.campaign("spring", [])
    answer = await contacts(service, {"ref": "spring:1", "numbers": ["+573105822141"], field: value})
    assert (answer["rejected"], answer["results"][0]["field"]) == (1, field)
    assert (await service.manager.call("GET", "/v1/campaigns/spring/contacts"))["contacts"] == []


async def test_SG_15_overwriting_replaces_what_was_never_dialled(service: World) -> None:
    await service.campaign("spring", [[FAR], ["15550002"]])
    await service.run("spring")
    held = await take(service.agent("agent1"))
    call = (await act(service.agent("agent1"), held, "dial"))["call_id"]
    await service.told("spring", "call.ended", call=call)
    answer = await contacts(
        service,
        {"ref": "spring:1", "numbers": ["15559999"]},
        {"ref": "spring:2", "numbers": ["15558888"]},
        {"ref": "spring:3", "numbers": ["15557777"]},
        query="?overwrite=true",
    )
    assert (answer["added"], answer["replaced"], answer["rejected"]) == (1, 1, 1)
    shown = await service.manager.call("GET", "/v1/campaigns/spring/contacts/spring:2")
    assert [one["number"] for one in shown["numbers"]] == ["15558888"]


# -- callbacks ----------------------------------------------------------------------------------------------------------


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


# -- click-to-call -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def crm(service: World) -> str:
    """A running campaign that the external system `suite` knows by its own ids, and that system's token."""
    await service.campaign("spring", [], agents=("agent1", "agent2"))
    await contacts(
        service,
        {"ref": "spring:1", "numbers": ["15550001"], "external_id": "person-1"},
        {"ref": "spring:2", "numbers": ["15550002"], "external_id": "person-2"},
    )
    for kind, name, ref in (("campaign", "C1", "spring"), ("agent", "U1", "agent1"), ("agent", "U2", "agent2")):
        await service.manager.call("PUT", f"/v1/external/suite/{kind}/{name}", {"ref": ref})
    await service.run("spring")
    return service.service.keys.mint(Role.CRM, "suite", 600, agents=("agent1",), systems=("suite",))


def clicked(**more: Any) -> dict[str, Any]:
    return {"external_system": "suite", "campaign": "C1", "agent": "U1", "request_id": "r1", **more}


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


async def test_OM_09_OM_17_a_crm_lists_the_dispositions_and_closes_a_call_by_its_own_name_for_one(
    service: World, crm: str
) -> None:
    tree = [
        {"code": "sale", "engaged": True},
        {"code": "big", "parent": "sale", "engaged": True, "external_id": "Won: large"},
    ]
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"dispositions": tree}})
    listed = (await ask(service, "GET", "/v1/campaigns/spring/dispositions", token=crm)).body["dispositions"]
    assert [(one["code"], [child["code"] for child in one["children"]]) for one in listed] == [("sale", ["big"])]
    call = (await ask(service, "POST", "/v1/calls", clicked(contact="person-1"), token=crm)).body["call_id"]
    assert (await ask(service, "POST", f"/v1/calls/{call}/hangup", {})).status == 202
    await service.told("spring", "call.ended", call=call)
    path = f"/v1/calls/{call}/disposition"
    problem(await ask(service, "POST", path, {"external_disposition": "Lost"}, token=crm), 422, "invalid-request")
    assert (await ask(service, "POST", path, {"external_disposition": "Won: large"}, token=crm)).status == 202
    told = await service.told("spring", "contact.disposed", call=call)
    assert (told["data"]["disposition"], told["data"]["engaged"]) == ("big", True)
    problem(await ask(service, "POST", path, {"disposition": "sale"}, token=crm), 409, "reservation-lost")


async def test_OM_02_an_external_id_is_bound_once(service: World, crm: str) -> None:
    await service.campaign("summer", [])
    clash = await ask(service, "PUT", "/v1/external/suite/campaign/C1", {"ref": "summer"})
    problem(clash, 409, "external-id-used")
    problem(await ask(service, "PUT", "/v1/external/suite/agent/U7", {"ref": "nobody"}), 404, "unknown-agent")
    assert (await ask(service, "GET", "/v1/external/suite", token=crm)).body["ids"][0] == {
        "kind": "campaign",
        "id": "C1",
        "ref": "spring",
    }
    await ask(service, "DELETE", "/v1/external/suite/campaign/C1")
    assert (await ask(service, "PUT", "/v1/external/suite/campaign/C1", {"ref": "summer"})).status == 200


# -- do-not-call ---------------------------------------------------------------------------------------------------------


async def test_EX_11_a_listed_number_is_refused_with_the_rule_and_told(service: World) -> None:
    await service.campaign("spring", [["+15550001"]])
    await service.run("spring")
    listed = await service.admin.call("POST", "/v1/dnc", {"numbers": ["1 555 0001", "+15550009"]})
    assert (listed["listed"], listed["numbers"], listed["version"]) == (2, 2, 1)
    agent = service.agent("agent1")
    held = await take(agent)
    with pytest.raises(Problem) as error:
        await act(agent, held, "dial")
    assert (error.value.status, error.value.code) == (409, "dial-forbidden")
    told = (await service.told("spring", "contact.dial_refused", contact="spring:1"))["data"]
    assert (told["rule"], told["list_version"], told["number"]) == ("dnc", 1, "+15550001")
    await service.admin.call("DELETE", "/v1/dnc", {"numbers": ["+15550001"]})
    assert (await service.admin.call("GET", "/v1/dnc?number=%2B15550001"))["listed"] is False
    assert (await act(agent, held, "dial"))["call_id"]


async def test_EX_11_a_disposition_lists_the_contacts_numbers_everywhere(service: World) -> None:
    never = [{"code": "never", "dnc": "global"}]
    await service.campaign("spring", [["15550001", "15550002"]], dispositions=never, dispose_without_attempt=True)
    await service.campaign("summer", [["+15550002"]], agents=("agent2",))
    await service.run("spring")
    await service.run("summer")
    agent, other = service.agent("agent1"), service.agent("agent2")
    await act(agent, await take(agent), "disposition", disposition="never")
    async with asyncio.timeout(5):
        while (await service.admin.call("GET", "/v1/dnc"))["numbers"] < 2:
            await asyncio.sleep(0.02)
    with pytest.raises(Problem) as error:
        await act(other, await take(other, "agent2"), "dial")
    assert error.value.code == "dial-forbidden"


async def test_a_campaigns_own_list_is_its_managers_and_the_global_one_is_not(service: World) -> None:
    await service.campaign("spring", [])
    bound = token_of(service, Role.CAMPAIGN_MANAGER, "m", "spring")
    body = {"numbers": ["+15550001"], "until": "2030-01-01T00:00:00Z"}
    assert (await ask(service, "POST", "/v1/campaigns/spring/dnc", body, token=bound)).body["listed"] == 1
    problem(await ask(service, "POST", "/v1/dnc", body, token=bound), 403, "forbidden")
    past = {"numbers": ["+15550001"], "until": "2020-01-01T00:00:00Z"}
    problem(await ask(service, "POST", "/v1/campaigns/spring/dnc", past, token=bound), 422, "invalid-request")
    wrong = await ask(service, "POST", "/v1/dnc", {"numbers": ["+15550001", "call me"]})
    assert wrong.fields == ["numbers[1]"]
    assert (await service.admin.call("GET", "/v1/dnc"))["numbers"] == 0


async def test_OM_06_the_scope_is_shown_and_told(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]], target_engaged=1, dispose_without_attempt=True)
    await service.run("spring")
    agent = service.agent("agent1")
    await act(agent, await take(agent), "disposition", disposition="engaged")
    told = await service.told("spring", "campaign.target_reached")
    assert told["data"] == {"target": 1, "engaged": 1}
    assert (await service.manager.call("GET", "/v1/campaigns/spring"))["scope"] == {"target": 1, "engaged": 1}


async def test_the_next_contact_is_shown_ahead(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    await act(agent, held, "dial")
    ahead = (await agent.call("POST", "/v1/agents/agent1/next", {"ahead": True}))["reservation"]
    assert (ahead["contact"]["ref"], ahead["ahead"]) == ("spring:2", True)


# -- why, and why not ------------------------------------------------------------------------------------------------------


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


# -- a new campaign from what came of others ---------------------------------------------------------------------------------


async def test_TF_33_a_new_campaign_takes_contacts_by_what_came_of_them(service: World) -> None:
    await service.campaign("spring", [[FAR], ["15550002"], ["15550003"], ["15550004"]], dispose_without_attempt=True)
    await service.run("spring")
    agent = service.agent("agent1")
    for disposition in ("no_contact", "not_interested"):
        held = await take(agent)
        call = (await act(agent, held, "dial"))["call_id"]
        await service.told("spring", "call.ringing" if disposition == "not_interested" else "call.ended", call=call)
        if disposition == "not_interested":
            await agent.call("POST", f"/v1/calls/{call}/hangup", {})
            await service.told("spring", "call.ended", call=call)
        await act(agent, held, "disposition", disposition=disposition)
    await service.manager.call("POST", "/v1/campaigns/spring/contacts/spring:4/cancel", {})
    body = {"name": "Again", "source": ["spring"], "select": {"uncalled": True, "outcomes": ["busy"]}}
    early = await ask(service, "POST", "/v1/campaigns/later/from-outcomes", body)
    problem(early, 409, "campaign-not-stopped")
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopped")

    made = await ask(service, "POST", "/v1/campaigns/later/from-outcomes", body)

    assert (made.status, made.body) == (201, {"ref": "later", "chosen": 2, "added": 2})
    rows = (await service.manager.call("GET", "/v1/campaigns/later/contacts"))["contacts"]
    assert [one["ref"] for one in rows] == ["later:spring:1", "later:spring:3"]
    assert [one["numbers"][0]["number"] for one in rows] == [FAR, "15550003"]
    assert {one["numbers"][0]["attempts"] for one in rows} == {0}
    again = await ask(service, "POST", "/v1/campaigns/later/from-outcomes", body)
    assert (again.status, again.body["added"]) == (201, 0)
    other = {**body, "select": {"dispositions": ["not_interested"]}}
    third = await ask(service, "POST", "/v1/campaigns/third/from-outcomes", other)
    assert third.body["chosen"] == 1
    problem(await ask(service, "POST", "/v1/campaigns/x/from-outcomes", {**body, "select": {}}), 422, "invalid-request")
