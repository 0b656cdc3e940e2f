"""ETags and the conditions on them, against a running service: reads that are 304, edits that come second."""

import asyncio
from typing import Any

import pytest

from api.app import ROUTES
from api.edition import EDITS, MAX_TAGS
from api.openapi import shows
from simulations.pbx import SimulatedPbx
from tests.api.asking import Answer, Untouched, ask, problem
from tests.world import World

HOOK = {"url": "http://127.0.0.1:9/", "secret": "whsec_" + "QUJD" * 10}
EDITED: dict[str, tuple[Any, Any]] = {
    "/v1/agents/agent1": ({"name": "One", "phone": "agent1"}, {"name": "Two", "phone": "agent1"}),
    "/v1/campaigns/spring/agents/agent1": ({"weight": 1}, {"weight": 2}),
    "/v1/mappings/crm": ({"columns": {"Phone": "number1"}}, {"columns": {"Telephone": "number1"}}),
    "/v1/webhooks/crm": (HOOK, {**HOOK, "types": ["call.ended"]}),
}
"""Everything that a PUT replaces: what is there, and what somebody else makes of it."""


@pytest.fixture
async def spring(service: World) -> World:
    await service.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
    for path, (body, _) in EDITED.items():
        await service.admin.call("PUT", path, body)
    await service.admin.call("PUT", "/v1/tags/vip")
    await service.admin.call("PUT", "/v1/external/suite/agent/7", {"ref": "agent1"})
    return service


def test_every_edit_and_every_read_of_state_is_conditional() -> None:
    """What has an edit has a read at the same address: there is where its ETag comes from.

    A session is the exception: it shows itself to nobody, and only it can end itself.
    """
    shown = {route.path for route in ROUTES if route.method == "GET"}
    assert {route.path for route in ROUTES if route.method in EDITS} - shown == {"/v1/sessions/current"}
    assert sum(shows(route) for route in ROUTES) > 30


async def test_a_read_that_would_be_the_same_is_304(spring: World) -> None:
    further = ("/v1/campaigns", "/v1/campaigns/spring", "/v1/campaigns/spring/contacts?limit=1", "/v1/tags")
    for path in (*EDITED, *further, "/v1/external/suite/agent/7"):
        first = await ask(spring, "GET", path)
        etag = first.headers["ETag"]
        for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            for method in ("GET", "HEAD"):
                again = await ask(spring, method, path, headers={"If-None-Match": known})
                assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", etag), (path, known)
        for other in ('"x"', "x", "", '"' + "x" * 3_000 + '"'):
            again = await ask(spring, "GET", path, headers={"If-None-Match": other})
            assert (again.status, again.raw) == (200, first.raw)


async def test_a_read_that_would_differ_is_sent_whole(spring: World) -> None:
    """What moves without an edit, such as counters, shows in a read as well."""
    for path in ("/v1/campaigns/spring", "/v1/campaigns/spring/contacts", "/v1/campaigns"):
        etag = (await ask(spring, "GET", path)).headers["ETag"]
        place = spring.service.engine.campaigns["spring"].actor.log.position
        row = [{"ref": f"new:{place}", "numbers": ["15550009"]}]
        await spring.manager.call("POST", "/v1/campaigns/spring/contacts", row)
        again = await ask(spring, "GET", path, headers={"If-None-Match": etag})
        assert again.status == 200
        assert again.headers["ETag"] != etag


async def test_EX_05_who_edits_second_is_refused_wherever_something_is_edited(spring: World, pbx: SimulatedPbx) -> None:
    for path, (body, other) in EDITED.items():
        before = (await ask(spring, "GET", path)).headers["ETag"]
        assert (await ask(spring, "PUT", path, other, headers={"If-Match": before})).status == 200, path
        untouched = Untouched(spring, pbx)
        for method in ("PUT", "DELETE") if "agents" not in path or "campaigns" in path else ("PUT",):
            problem(await ask(spring, method, path, body, headers={"If-Match": before}), 412, "revision-mismatch")
        untouched.check()
        now = (await ask(spring, "GET", path)).headers["ETag"]
        assert (await ask(spring, "PUT", path, body, headers={"If-Match": f'"x", {now}'})).status == 200, path


async def test_of_those_who_edit_at_once_one_wins(spring: World) -> None:
    """The condition is judged while nobody else edits there: no two can find it true."""
    for path, (_, other) in EDITED.items():
        etag = (await ask(spring, "GET", path)).headers["ETag"]
        if path.startswith("/v1/webhooks"):
            bodies = [{**other, "campaigns": [f"c{one}"]} for one in range(6)]
        elif path.startswith("/v1/mappings"):
            bodies = [{"columns": {f"Phone {one}": "number1"}} for one in range(6)]
        elif path.startswith("/v1/campaigns"):
            bodies = [{"weight": one} for one in range(2, 8)]
        else:
            bodies = [{**other, "name": f"Name {one}"} for one in range(6)]
        asked = [ask(spring, "PUT", path, one, headers={"If-Match": etag}) for one in bodies]
        answers: list[Answer] = await asyncio.gather(*asked)
        assert sorted(one.status for one in answers) == [200, 412, 412, 412, 412, 412], path


async def test_counters_are_no_reason_to_refuse_an_edit_of_a_campaign(spring: World) -> None:
    await spring.run("spring")
    etag = (await ask(spring, "GET", "/v1/campaigns/spring")).headers["ETag"]
    await spring.manager.call("POST", "/v1/campaigns/spring/contacts", [{"ref": "late", "numbers": ["15550009"]}])
    assert (await ask(spring, "PATCH", "/v1/campaigns/spring", {"name": "A"}, headers={"If-Match": etag})).status == 202
    answer = await ask(spring, "DELETE", "/v1/campaigns/spring", headers={"If-Match": etag})
    problem(answer, 412, "revision-mismatch")


async def test_conditions_on_what_is_not_there(spring: World) -> None:
    for path, (body, _) in EDITED.items():
        there = {"If-None-Match": "*"}
        problem(await ask(spring, "PUT", path, body, headers=there), 412, "already-there")
        assert (await ask(spring, "PUT", path, body, headers={"If-Match": "*"})).status == 200
    new = {"/v1/agents/agent9": {"name": "Nine", "phone": "agent9"}, "/v1/campaigns/fresh": {"name": "Fresh"}}
    for path, body in new.items():
        problem(await ask(spring, "PUT", path, body, headers={"If-Match": "*"}), 412, "revision-mismatch")
        assert (await ask(spring, "PUT", path, body, headers={"If-None-Match": "*"})).status == 201
        problem(await ask(spring, "PUT", path, body, headers={"If-None-Match": "*"}), 412, "already-there")


async def test_a_condition_that_is_none_is_refused_not_passed_over(spring: World) -> None:
    for path in ("/v1/external/suite/agent/7", "/v1/tags/vip"):
        problem(await ask(spring, "DELETE", path, headers={"If-Match": '"x"'}), 412, "revision-mismatch")
    for wrong in ("x", "", '"', "1", ", ".join(['"a"'] * (MAX_TAGS + 1))):
        answer = await ask(spring, "DELETE", "/v1/tags/vip", headers={"If-Match": wrong})
        problem(answer, 412, "revision-mismatch")
        assert answer.fields == ["If-Match"]
    assert (await ask(spring, "GET", "/v1/tags/vip")).status == 200


async def test_reads_say_which_state_they_have_seen(spring: World) -> None:
    """`as_of`: of the campaign's log, or of the directory's where no campaign is asked for."""
    engine = spring.service.engine
    campaign, directory = engine.campaigns["spring"].actor.log.position, engine.directory_position
    assert min(campaign, directory) > 0
    for path, wanted in (
        ("/v1/campaigns/spring", campaign),
        ("/v1/campaigns/spring/contacts", campaign),
        ("/v1/campaigns/spring/contacts/spring:1", campaign),
        ("/v1/campaigns/spring/calls", campaign),
        ("/v1/campaigns/spring/dispositions", campaign),
        ("/v1/campaigns/spring/agents/agent1", campaign),
        ("/v1/campaigns/spring/digest", campaign),
        ("/v1/explain?contact=spring:1", campaign),
        ("/v1/agents", directory),
        ("/v1/agents/agent1", directory),
        ("/v1/external/suite", directory),
        ("/v1/external/suite/agent/7", directory),
        ("/v1/mappings", directory),
        ("/v1/mappings/crm", directory),
        ("/v1/tags", directory),
        ("/v1/tags/vip", directory),
    ):
        assert (await ask(spring, "GET", path)).body["as_of"] == wanted, path
    for path in ("/v1/campaigns", "/v1/retention"):
        assert [one["as_of"] for one in (await ask(spring, "GET", path)).body["campaigns"]] == [campaign]
