"""One table says who may what; here every route of it is walked with every role."""

import re
from typing import Any

import pytest

from api.app import ROUTES
from api.problem import CATALOGUE
from api.route import Route
from api.token import Role
from simulations.pbx import SimulatedPbx
from tests.api.asking import Untouched, ask, problem, token_of
from tests.world import World

NONE = "0" * 32
PARTS = {
    "system": "suite",
    "kind": "agent",
    "id": "7",
    "ref": "spring",
    "agent": "agent1",
    "contact": "spring:1",
    "reservation": NONE,
    "call": NONE,
    "webhook": "crm",
}
PARTS |= {"import": NONE, "mapping": "crm", "tag": "vip"}

MAY = {
    Role.AGENT: {
        "GET /v1/campaigns",
        "GET /v1/campaigns/{ref}",
        "GET /v1/agents/{agent}",
        "PATCH /v1/agents/{agent}",
        "POST /v1/agents/{agent}/next",
        "POST /v1/reservations/{reservation}/dial",
        "POST /v1/reservations/{reservation}/extend",
        "POST /v1/reservations/{reservation}/skip",
        "POST /v1/reservations/{reservation}/release",
        "POST /v1/reservations/{reservation}/disposition",
        "GET /v1/calls/{call}",
        "GET /v1/calls/{call}/interactions",
        "GET /v1/calls/{call}/events",
        "GET /v1/calls/{call}/recording",
        "POST /v1/calls/{call}/hangup",
        "POST /v1/calls",
        "POST /v1/calls/{call}/disposition",
        "GET /v1/campaigns/{ref}/dispositions",
        "POST /v1/campaigns/{ref}/dispositions",
        "GET /v1/campaigns/{ref}/contacts",
        "GET /v1/campaigns/{ref}/contacts/{contact}",
        "POST /v1/sessions",
        "DELETE /v1/sessions/current",
    },
    Role.METRICS: {"GET /metrics", "GET /v1/health"},
    Role.CRM: {
        "GET /v1/campaigns",
        "GET /v1/campaigns/{ref}",
        "GET /v1/campaigns/{ref}/contacts",
        "GET /v1/campaigns/{ref}/contacts/{contact}",
        "GET /v1/campaigns/{ref}/calls",
        "GET /v1/calls/{call}",
        "GET /v1/calls/{call}/interactions",
        "GET /v1/calls/{call}/events",
        "POST /v1/calls",
        "POST /v1/calls/{call}/disposition",
        "GET /v1/campaigns/{ref}/dispositions",
        "GET /v1/dnc",
        "GET /v1/campaigns/{ref}/dnc",
        "GET /v1/external/{system}",
        "GET /v1/external/{system}/{kind}/{id}",
        "GET /v1/explain",
        "GET /v1/events",
        "POST /v1/events/tickets",
        "POST /v1/sessions",
        "DELETE /v1/sessions/current",
    },
}
"""Written down a second time, for those who come from outside: widening the table must be meant."""


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def address(route: Route) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: PARTS[part[1]], route.path)


def test_every_route_has_roles_and_stands_once() -> None:
    assert all(route.roles for route in ROUTES)
    names = [named(route) for route in ROUTES]
    assert len(names) == len(set(names))


def test_every_route_says_what_it_does_takes_and_gives() -> None:
    """What isn't declared isn't published: see `Route`."""
    for route in ROUTES:
        assert route.summary, named(route)
        assert route.gives or route.handler.__name__ == "immutable", named(route)
        assert set(route.problems) <= set(CATALOGUE), named(route)


@pytest.mark.parametrize("role", MAY)
def test_what_agents_and_crms_may_is_what_is_written_here(role: Role) -> None:
    assert {named(route) for route in ROUTES if role in route.roles} == MAY[role]


def test_only_administrators_and_managers_configure() -> None:
    """SG-01: campaigns are created, deleted and filled by nobody else."""
    configuring = {
        "PUT /v1/campaigns/{ref}",
        "DELETE /v1/campaigns/{ref}",
        "POST /v1/campaigns/{ref}/contacts",
        "PUT /v1/agents/{agent}",
        "PUT /v1/webhooks/{webhook}",
        "DELETE /v1/webhooks/{webhook}",
        "POST /v1/imports",
        "POST /v1/imports/{import}/confirm",
        "PUT /v1/mappings/{mapping}",
        "PUT /v1/tags/{tag}",
    }
    found = {named(route): route.roles for route in ROUTES if named(route) in configuring}
    assert set(found) == configuring
    assert set(found.values()) == {frozenset({Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER})}


def test_only_administrators_export_and_erase_people() -> None:
    found = {named(route): route.roles for route in ROUTES if "/persons/" in route.path}
    assert set(found) == {"POST /v1/persons/erase", "POST /v1/persons/export"}
    assert set(found.values()) == {frozenset({Role.ADMINISTRATOR})}


def test_only_administrators_revoke_tokens() -> None:
    found = {named(route): route.roles for route in ROUTES if "/tokens/" in route.path}
    assert set(found) == {"POST /v1/tokens/revoke", "GET /v1/tokens/revoked"}
    assert set(found.values()) == {frozenset({Role.ADMINISTRATOR})}


async def test_without_a_token_every_route_is_closed(service: World) -> None:
    for route in ROUTES:
        answer = await ask(service, route.method, address(route), body={}, token="")
        problem(answer, 401, "unauthenticated")


async def test_a_role_that_is_not_in_the_table_is_refused(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    tokens = {role: token_of(service, role, "agent1", "spring") for role in Role}
    refused = 0
    for route in ROUTES:
        for role in set(Role) - route.roles:
            answer = await ask(service, route.method, address(route), body={}, token=tokens[role])
            problem(answer, 403, "forbidden")
            refused += 1
    assert refused > len(ROUTES)
    assert set(service.service.engine.campaigns) == {"spring"}


async def test_an_agents_token_acts_for_that_agent_only(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
    await service.run("spring")
    held = (await service.agent("agent1").call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    other = token_of(service, Role.AGENT, "agent2")
    own = {"token": held["token"]}
    reservation = f"/v1/reservations/{held['id']}"
    untouched = Untouched(service, pbx)
    for method, path, body, status in (
        ("GET", "/v1/agents/agent1", None, 403),
        ("PATCH", "/v1/agents/agent1", {"state": "offline"}, 403),
        ("POST", "/v1/agents/agent1/next", {}, 403),
        ("POST", f"{reservation}/dial", {**own, "agent": "agent1"}, 403),
        # Even with the token of a reservation that is somebody else's.
        ("POST", f"{reservation}/dial", own, 409),
        ("POST", f"{reservation}/extend", own, 409),
        ("POST", f"{reservation}/skip", {**own, "reason": "mine"}, 409),
        ("POST", f"{reservation}/release", own, 409),
        ("POST", f"{reservation}/release", {}, 422),
        ("POST", f"{reservation}/disposition", {**own, "disposition": "engaged"}, 409),
    ):
        answer = await ask(service, method, path, body, token=other)
        assert answer.status == status, (method, path, answer.raw)
    untouched.check()
    call = (await service.agent("agent1").call("POST", f"{reservation}/dial", own))["call_id"]
    await service.told("spring", "call.bridged", call=call)
    for method, path in (("GET", f"/v1/calls/{call}"), ("POST", f"/v1/calls/{call}/hangup")):
        problem(await ask(service, method, path, token=other), 403, "forbidden")
    assert (await service.agent("agent1").call("GET", f"/v1/calls/{call}"))["status"] == "bridged"


async def test_an_agent_sees_only_campaigns_that_have_them(service: World) -> None:
    """OM-10: whether there are others is not told."""
    await service.campaign("spring", [], agents=("agent1",))
    await service.campaign("autumn", [], agents=("agent2",))
    one = token_of(service, Role.AGENT, "agent1")
    listed = (await ask(service, "GET", "/v1/campaigns", token=one)).body["campaigns"]
    assert [campaign["ref"] for campaign in listed] == ["spring"]
    assert (await ask(service, "GET", "/v1/campaigns/spring", token=one)).status == 200
    there = await ask(service, "GET", "/v1/campaigns/autumn", token=one)
    nowhere = await ask(service, "GET", "/v1/campaigns/winter", token=one)
    problem(there, 403, "forbidden")
    problem(nowhere, 403, "forbidden")
    assert there.body["detail"].replace("autumn", "winter") == nowhere.body["detail"]


async def test_a_supervisor_has_campaigns_of_their_own(service: World, pbx: SimulatedPbx) -> None:
    """SG-01, OM-10."""
    await service.campaign("spring", [["15550001"]], agents=("agent1",))
    await service.campaign("autumn", [["15550002"]], agents=("agent2",))
    token = token_of(service, Role.SUPERVISOR, "sam", "spring")
    listed = (await ask(service, "GET", "/v1/campaigns", token=token)).body["campaigns"]
    assert [campaign["ref"] for campaign in listed] == ["spring"]
    reads = ["", "/contacts", "/contacts/autumn:1", "/calls"]
    for path in reads:
        own = path.replace("autumn", "spring")
        assert (await ask(service, "GET", f"/v1/campaigns/spring{own}", token=token)).status == 200
        problem(await ask(service, "GET", f"/v1/campaigns/autumn{path}", token=token), 403, "forbidden")
        problem(await ask(service, "GET", f"/v1/campaigns/winter{path}", token=token), 403, "forbidden")
    untouched = Untouched(service, pbx)
    acts: list[tuple[str, str, Any]] = [
        ("PATCH", "", {"state": "running"}),
        ("PUT", "/agents/agent1", {}),
        ("DELETE", "/agents/agent2", None),
        ("POST", "/contacts/autumn:1/cancel", {}),
    ]
    for method, path, body in acts:
        problem(await ask(service, method, f"/v1/campaigns/autumn{path}", body, token=token), 403, "forbidden")
    untouched.check()
    assert (await ask(service, "PATCH", "/v1/campaigns/spring", {"state": "running"}, token=token)).status == 202
    events = "/v1/events?after="
    assert (await ask(service, "GET", f"{events}&campaign=spring", token=token)).status == 200
    problem(await ask(service, "GET", f"{events}&campaign=autumn", token=token), 403, "forbidden")
    problem(await ask(service, "GET", events, token=token), 403, "forbidden")


async def test_unknown_addresses_and_methods(service: World) -> None:
    problem(await ask(service, "GET", "/v2/campaigns"), 404, "not-found")
    problem(await ask(service, "GET", "/v1/campaigns/spring/nothing"), 404, "not-found")
    answer = await ask(service, "POST", "/v1/campaigns/spring", {})
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    answer = await ask(service, "DELETE", "/v1/events")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_a_head_is_a_get_without_its_body(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    got = await ask(service, "GET", "/v1/campaigns/spring")
    head = await ask(service, "HEAD", "/v1/campaigns/spring")
    assert (head.status, head.headers["ETag"], head.raw) == (200, got.headers["ETag"], b"")
    assert head.headers["Content-Length"] == str(len(got.raw))
    assert (await ask(service, "HEAD", "/v1/campaigns/winter")).status == 404
    stream = await ask(service, "HEAD", "/v1/events", headers={"Accept": "text/event-stream"})
    assert stream.status == 200


async def test_a_token_that_names_campaigns_is_for_those_alone_whatever_its_role(service: World) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent1",))
    await service.campaign("summer", [["15550002"]], agents=("agent1", "agent2"))
    for role, subject in ((Role.AGENT, "agent1"), (Role.ADMINISTRATOR, "root"), (Role.CAMPAIGN_MANAGER, "m")):
        bound = token_of(service, role, subject, "spring")
        assert (await ask(service, "GET", "/v1/campaigns/spring", token=bound)).status == 200
        problem(await ask(service, "GET", "/v1/campaigns/summer", token=bound), 403, "forbidden")
    manager = token_of(service, Role.CAMPAIGN_MANAGER, "m", "spring")
    problem(await ask(service, "DELETE", "/v1/campaigns/summer", token=manager), 403, "forbidden")
    assert "summer" in service.service.engine.campaigns


async def test_a_token_that_names_campaigns_changes_no_phone_that_rings_elsewhere(service: World) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent1",))
    await service.campaign("summer", [["15550002"]], agents=("agent1", "agent2"))
    bound = token_of(service, Role.CAMPAIGN_MANAGER, "m", "spring")
    body = {"name": "Ann", "phone": "agent9"}
    problem(await ask(service, "PUT", "/v1/agents/agent1", body, token=bound), 403, "forbidden")
    problem(await ask(service, "GET", "/v1/agents/agent2", token=bound), 403, "forbidden")
    assert (await ask(service, "PUT", "/v1/agents/agent7", body, token=bound)).status == 201
    listed = (await ask(service, "GET", "/v1/agents", token=bound)).body["agents"]
    assert [one["agent"] for one in listed] == ["agent1", "agent7"]
    assert service.service.engine.campaigns["summer"].book.agents["agent1"].phone_name == "agent1"


async def test_a_monitoring_token_reads_figures_and_names_nothing(service: World) -> None:
    """Given a campaign at work, when its health is read with a token of the role metrics, then the campaign isn't named."""
    await service.campaign("spring", [["15550001"]])
    await service.run("spring")
    token = token_of(service, Role.METRICS, "prometheus")
    told = await ask(service, "GET", "/metrics", token=token)
    assert b"ringfold_campaigns" in told.raw
    assert b"spring" not in told.raw
    health = (await ask(service, "GET", "/v1/health", token=token)).body
    assert (health["ready"], health["campaigns"]) == (True, [])
    assert len((await ask(service, "GET", "/v1/health")).body["campaigns"]) == 1


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM])
async def test_a_token_that_names_campaigns_hears_of_those_alone_whatever_its_role(service: World, role: Role) -> None:
    """Neither by the feed, nor by a ticket for it, nor by a webhook: those hear of every campaign."""
    for ref in ("spring", "summer"):
        await service.campaign(ref, [])
        await service.told(ref, "campaign.created")
    bound = token_of(service, role, "somebody", "spring")
    own = (await ask(service, "GET", "/v1/events?after=&campaign=spring", token=bound)).body["events"]
    assert {one["campaign"] for one in own} == {"spring"}
    for other in ("", "&campaign=summer", "&campaign=winter"):
        problem(await ask(service, "GET", f"/v1/events?after={other}", token=bound), 403, "forbidden")
    for body in ({}, {"campaign": "summer"}):
        problem(await ask(service, "POST", "/v1/events/tickets", body, token=bound), 403, "forbidden")
    await ask(service, "PUT", "/v1/webhooks/crm", {"url": "http://127.0.0.1:9/"})
    for method, path in (("GET", ""), ("GET", "/crm"), ("PUT", "/crm"), ("DELETE", "/crm"), ("POST", "/crm/ping")):
        put = {"url": "http://127.0.0.1:9/"} if method == "PUT" else {}
        problem(await ask(service, method, f"/v1/webhooks{path}", put, token=bound), 403, "forbidden")
