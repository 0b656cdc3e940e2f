"""Contacts with all that they may bear, one by one over HTTP."""

from typing import Any

import pytest

from tests.api.asking import FAR, contacts
from tests.service.test_preview import act, take
from tests.world import World


async def test_contacts_bear_priority_agent_zone_tags_and_the_crms_id(service: World) -> None:
    await service.campaign("spring", [], agents=("agent1", "agent2"))
    await service.admin.call("PUT", "/v1/tags/vip", {})
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


async def test_SG_11_priority_is_low_by_default_and_high_goes_first(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    await contacts(service, {"ref": "spring:2", "numbers": ["15550002"], "priority": "high"})
    await service.run("spring")
    assert (await service.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1"))["priority"] == "low"
    assert (await take(service.agent("agent1")))["contact"]["ref"] == "spring:2"


async def test_SG_07_tags_must_exist(service: World) -> None:
    await service.campaign("spring", [])
    await service.admin.call("PUT", "/v1/tags/vip", {})
    rows = [
        {"ref": f"spring:{one}", "numbers": ["15550001"], "tags": tags}
        for one, tags in ((1, ["vip", "x"]), (2, ["vip"]))
    ]
    answer = await contacts(service, *rows)
    assert (answer["added"], answer["results"][0]["field"]) == (1, "tags[1]")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zone", "Mars/Olympus"),
        ("priority", "urgent"),
        ("agent", "a b"),
        ("consent_until", "tomorrow"),
        ("consent_until", "2030-01-01T00:00:00"),
        ("consent_until", "2030-01-01"),
        ("consent_until", "1970-01-01T00:00:00Z"),
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


async def test_a_replaced_contact_is_not_found_by_the_crms_former_id(service: World) -> None:
    await service.campaign("spring", [])
    row = {"ref": "spring:1", "numbers": ["15550001"], "external_id": "old"}
    await contacts(service, row)
    assert (await contacts(service, {**row, "external_id": "new"}, query="?overwrite=true"))["replaced"] == 1
    known = service.service.engine.campaigns["spring"].book.contacts
    assert (known.named("new"), known.named("old")) == ("spring:1", None)
    assert (await contacts(service, {**row, "ref": "spring:2", "external_id": "old"}))["added"] == 1


async def test_how_many_open_contacts_are_whose_is_shown(service: World) -> None:
    await service.campaign("spring", [], agents=("agent1", "agent2"), preassignment="proportional")
    await contacts(service, *({"ref": f"spring:{one}", "numbers": [f"1555000{one}"]} for one in range(5)))
    before = await service.manager.call("GET", "/v1/campaigns/spring")
    assert (before["shares"], before["unassigned"]) == ({}, 5)
    await service.run("spring")
    after = await service.manager.call("GET", "/v1/campaigns/spring")
    assert (after["shares"], after["unassigned"]) == ({"agent1": 3, "agent2": 2}, 0)
