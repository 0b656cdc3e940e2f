"""External ids: bound once, by those whose they are."""

from api.token import Role
from tests.api.asking import ask, problem, token_of
from tests.world import World


async def test_OM_02_an_external_id_is_bound_once(service: World, crm: str) -> None:
    await service.campaign("summer", [])
    clash = await ask(service, "PUT", "/v1/external/suite/campaign/C1", {"ref": "summer"})
    problem(clash, 409, "external-id-used")
    problem(await ask(service, "PUT", "/v1/external/suite/agent/U7", {"ref": "nobody"}), 404, "unknown-agent")
    assert (await ask(service, "GET", "/v1/external/suite", token=crm)).body["ids"][2] == {
        "kind": "campaign",
        "id": "C1",
        "ref": "spring",
    }
    await ask(service, "DELETE", "/v1/external/suite/campaign/C1")
    assert (await ask(service, "PUT", "/v1/external/suite/campaign/C1", {"ref": "summer"})).status == 200


async def test_a_token_that_names_campaigns_binds_and_knows_its_own(service: World, crm: str) -> None:
    await service.campaign("summer", [], agents=("agent3",))
    bound = token_of(service, Role.CAMPAIGN_MANAGER, "m", "summer")
    for method, path, body in (
        ("PUT", "/v1/external/suite/campaign/C2", {"ref": "spring"}),
        ("PUT", "/v1/external/suite/agent/U9", {"ref": "agent1"}),
        ("DELETE", "/v1/external/suite/campaign/C1", None),
        ("DELETE", "/v1/external/suite/agent/U1", None),
    ):
        problem(await ask(service, method, path, body, token=bound), 403, "forbidden")
    for kind, name, ref in (("campaign", "C2", "summer"), ("agent", "U3", "agent3")):
        assert (await ask(service, "PUT", f"/v1/external/suite/{kind}/{name}", {"ref": ref}, token=bound)).status == 200
    mine = (await ask(service, "GET", "/v1/external/suite", token=bound)).body["ids"]
    assert [one["ref"] for one in mine] == ["agent3", "summer"]
    everything = (await ask(service, "GET", "/v1/external/suite")).body["ids"]
    assert len(everything) == 5
    other = service.service.keys.mint(Role.CRM, "other", 600, systems=("other",))
    problem(await ask(service, "GET", "/v1/external/suite", token=other), 403, "forbidden")


async def test_a_system_of_another_form_names_nothing(service: World) -> None:
    for name in ("%C2%84", "a%20b", "s" * 65):
        problem(await ask(service, "GET", f"/v1/external/{name}"), 404, "not-found")


async def test_what_is_no_external_id_is_refused(service: World) -> None:
    await service.campaign("spring", [])
    problem(await ask(service, "PUT", "/v1/external/suite/trunk/7", {"ref": "spring"}), 404, "not-found")
    problem(await ask(service, "PUT", f"/v1/external/suite/agent/{'x' * 101}", {"ref": "agent1"}), 404, "not-found")
    answer = await ask(service, "PUT", "/v1/external/suite/agent/a%0Ab", {"ref": "agent1"})
    problem(answer, 422, "invalid-request")
    assert answer.fields == ["id"]
