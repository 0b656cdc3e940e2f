"""Dispositions as a CRM sees them: the tree, and closing a call."""

from api.token import Role
from tests.api.asking import ask, clicked, problem, token_of
from tests.world import World


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
    by_name = await ask(service, "GET", "/v1/campaigns/C1/dispositions?external_system=suite", token=crm)
    assert by_name.body["dispositions"] == listed
    foreign = await ask(service, "GET", "/v1/campaigns/C1/dispositions?external_system=other")
    problem(foreign, 404, "unknown-external-system")
    unknown = await ask(service, "GET", "/v1/campaigns/C9/dispositions?external_system=suite")
    problem(unknown, 404, "unknown-campaign")
    call = (await ask(service, "POST", "/v1/calls", clicked(contact="person-1"), token=crm)).body["call_id"]
    assert (await ask(service, "POST", f"/v1/calls/{call}/hangup", {})).status == 202
    await service.told("spring", "call.ended", call=call)
    path = f"/v1/calls/{call}/disposition"
    problem(await ask(service, "POST", path, {"external_disposition": "Lost"}, token=crm), 422, "invalid-request")
    assert (await ask(service, "POST", path, {"external_disposition": "Won: large"}, token=crm)).status == 202
    told = await service.told("spring", "contact.disposed", call=call)
    assert (told["data"]["disposition"], told["data"]["engaged"]) == ("big", True)
    problem(await ask(service, "POST", path, {"disposition": "sale"}, token=crm), 409, "reservation-lost")


async def test_OM_18_a_token_closes_the_calls_of_its_agents_only(service: World, crm: str) -> None:
    call = (await ask(service, "POST", "/v1/calls", clicked(contact="person-1"), token=crm)).body["call_id"]
    await ask(service, "POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "call.ended", call=call)
    path, body = f"/v1/calls/{call}/disposition", {"disposition": "not_interested"}
    other = service.service.keys.mint(Role.CRM, "suite", 600, agents=("agent2",))
    for token in (other, token_of(service, Role.AGENT, "agent2"), token_of(service, Role.CAMPAIGN_MANAGER, "m")):
        problem(await ask(service, "POST", path, body, token=token), 403, "forbidden")
    assert (await ask(service, "POST", path, body, token=token_of(service, Role.AGENT, "agent1"))).status == 202


async def test_OM_09_OM_20_a_disposition_that_does_not_fit_is_named(service: World, crm: str) -> None:
    call = (await ask(service, "POST", "/v1/calls", clicked(contact="person-1"), token=crm)).body["call_id"]
    path = f"/v1/calls/{call}/disposition"
    early = await ask(service, "POST", path, {"disposition": "not_interested"}, token=crm)
    problem(early, 409, "reservation-in-call")
    await ask(service, "POST", f"/v1/calls/{call}/hangup", {})
    await service.told("spring", "call.ended", call=call)
    later = {"at": "2030-01-01T10:00:00+01:00"}
    for body, field in (
        ({"disposition": "other"}, "disposition"),
        ({}, "disposition"),
        ({"disposition": "callback", "external_disposition": "x"}, "disposition"),
        ({"disposition": "callback"}, "callback"),
        ({"disposition": "callback", "callback": later}, "callback.at"),
        ({"disposition": "callback", "callback": {"at": "2020-01-01T10:00:00Z"}}, "callback.at"),
        ({"disposition": "callback", "callback": {"at": "10 o'clock"}}, "callback.at"),
        ({"disposition": "callback", "callback": {"at": "2026-12-01"}}, "callback.at"),
        ({"disposition": "not_interested", "callback": later}, "callback.at"),
    ):
        answer = await ask(service, "POST", path, body, token=crm)
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field], body
