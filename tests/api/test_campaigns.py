"""Campaigns and contacts as a campaign manager's software meets them."""

import asyncio
import json
from typing import Any

import pytest

from simulations.pbx import SimulatedPbx
from tests.api.asking import NDJSON, Answer, Untouched, ask, problem
from tests.world import World

SPRING = "/v1/campaigns/spring"
CONTACTS = f"{SPRING}/contacts"


async def remove(service: World, ref: str) -> None:
    await service.manager.call("DELETE", f"/v1/campaigns/{ref}")
    await service.told(ref, "campaign.deleted")


async def upload(service: World, ref: str, rows: list[Any]) -> Answer:
    return await ask(service, "POST", f"/v1/campaigns/{ref}/contacts", rows)


async def test_TF_01_a_campaign_is_created_once_under_the_callers_ref(service: World, pbx: SimulatedPbx) -> None:
    body = {"name": "Spring", "settings": {"max_lines": 7}}
    ref = "/v1/campaigns/crm-7:spring@2031_a.b"
    created = await ask(service, "PUT", ref, body)
    assert (created.status, created.body["ref"], created.body["state"]) == (201, "crm-7:spring@2031_a.b", "created")
    untouched = Untouched(service, pbx)
    again = await ask(service, "PUT", ref, body)
    assert (again.status, again.body) == (200, created.body)
    for other in ({"name": "Autumn", "settings": {"max_lines": 7}}, {"name": "Spring"}):
        refused = await ask(service, "PUT", ref, other)
        problem(refused, 409, "campaign-ref-used")
        assert refused.fields == ["ref"]
    untouched.check()


async def test_TF_01_two_who_create_at_once_create_one(service: World) -> None:
    answers = await asyncio.gather(*(ask(service, "PUT", SPRING, {"name": "Spring"}) for _ in range(8)))
    assert sorted(one.status for one in answers) == [200] * 7 + [201]
    await service.told("spring", "campaign.created")
    story = await service.notifications("spring")
    assert [one["type"] for one in story] == ["campaign.created"]


async def test_TF_02_TF_15_TF_26_a_deleted_ref_is_refused_for_ever(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    await remove(service, "spring")
    gone = await ask(service, "GET", SPRING)
    problem(gone, 410, "campaign-deleted")
    problem(await ask(service, "GET", CONTACTS), 410, "campaign-deleted")
    problem(await ask(service, "PUT", SPRING, {"name": "Spring"}), 409, "campaign-ref-used")
    problem(await ask(service, "PATCH", SPRING, {"state": "running"}), 409, "campaign-deleted")
    assert (await ask(service, "GET", "/v1/campaigns")).body == {"campaigns": [], "next": None}


async def test_TF_03_a_contact_ref_belongs_to_its_first_campaign(service: World) -> None:
    """TF-03: over all campaigns, live or deleted; a clash names the first owner and hinders no other row."""
    await service.campaign("spring", [["15550001"]], agents=())
    await service.campaign("autumn", [], agents=())
    for step in ("live", "deleted"):
        if step == "deleted":
            await remove(service, "spring")
        rows = [
            {"ref": "spring:1", "numbers": ["15550001"]},
            {"ref": f"autumn:{step}", "numbers": ["15550002"]},
        ]
        found = (await upload(service, "autumn", rows)).body
        assert (found["added"], found["rejected"]) == (1, 1)
        clash = found["results"][0]
        assert (clash["status"], clash["field"]) == ("rejected", "ref")
        assert "'spring'" in clash["reason"]
    held = (await ask(service, "GET", "/v1/campaigns/autumn/contacts")).body["contacts"]
    assert [one["ref"] for one in held] == ["autumn:live", "autumn:deleted"]


async def test_TF_17_TF_18_only_what_is_sent_changes(service: World) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent1",), ring_timeout_s=40)
    before = (await ask(service, "GET", SPRING)).body
    assert (await ask(service, "PATCH", SPRING, {"settings": {"max_lines": 9}})).status == 202
    after = (await ask(service, "GET", SPRING)).body
    assert after["settings"] == before["settings"] | {"max_lines": 9}
    assert (after["agents"], after["contacts"], after["state"]) == (
        before["agents"],
        before["contacts"],
        before["state"],
    )
    await ask(service, "PATCH", SPRING, {"settings": {"ring_timeout_s": None}})  # null: the default again
    assert (await ask(service, "GET", SPRING)).body["settings"]["ring_timeout_s"] == 30


async def test_an_edit_that_changes_nothing_is_no_event(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [], max_lines=9)
    untouched = Untouched(service, pbx)
    bodies: list[dict[str, Any]] = [{}, {"name": "Spring"}, {"settings": {}}, {"settings": {"max_lines": 9}}]
    for body in bodies:
        assert (await ask(service, "PATCH", SPRING, body)).status == 202
    untouched.check()


async def test_TF_19_of_two_edits_the_second_is_refused(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [])
    etag = (await ask(service, "GET", SPRING)).headers["ETag"]
    edits = [ask(service, "PATCH", SPRING, {"name": f"Name {one}"}, headers={"If-Match": etag}) for one in range(5)]
    answers = await asyncio.gather(*edits)
    assert sorted(one.status for one in answers) == [202, 412, 412, 412, 412]
    for one in answers:
        if one.status == 412:
            problem(one, 412, "revision-mismatch")
    won = next(place for place, one in enumerate(answers) if one.status == 202)
    seen = await ask(service, "GET", SPRING)
    assert seen.body["name"] == f"Name {won}"
    assert seen.headers["ETag"] != etag
    untouched = Untouched(service, pbx)
    for wrong in ('"x"', "1", '"77", "78"', "", '"9999999999999999999999"'):
        answer = await ask(service, "PATCH", SPRING, {"state": "running"}, headers={"If-Match": wrong})
        problem(answer, 412, "revision-mismatch")
    untouched.check()
    for right in ("*", seen.headers["ETag"]):
        assert (await ask(service, "PATCH", SPRING, {}, headers={"If-Match": right})).status == 202


async def test_TF_23_clients_set_only_what_clients_may(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["15550001"]])
    await service.run("spring")
    untouched = Untouched(service, pbx)
    for state in ("busy", "wrapup", "wrap_up", "logging_in", "logging_out", "reserved", "dialing", "Available", ""):
        answer = await ask(service, "PATCH", "/v1/agents/agent1", {"state": state})
        problem(answer, 422, "invalid-request")
        assert answer.fields == ["state"]
    answer = await ask(service, "PATCH", "/v1/agents/agent1", {"state": "paused"})
    problem(answer, 422, "invalid-request")
    assert answer.fields == ["reason"]
    untouched.check()
    for body in ({"state": "paused", "reason": "lunch"}, {"state": "available"}, {"state": "offline"}):
        assert (await ask(service, "PATCH", "/v1/agents/agent1", body)).status == 202
        await service.told("spring", "agent.status", agent="agent1", state=body["state"])


async def test_TF_26_TF_27_the_list_is_enough_to_find_ones_own_again(service: World) -> None:
    for ref in ("spring", "autumn"):
        await ask(service, "PUT", f"/v1/campaigns/{ref}", {"name": "Same name"})
    await ask(service, "PATCH", "/v1/campaigns/autumn", {"name": "Prénom, Nom & Söhne"})
    listed = (await ask(service, "GET", "/v1/campaigns")).body["campaigns"]
    assert [(one["ref"], one["name"], one["state"], one["mode"]) for one in listed] == [
        ("autumn", "Prénom, Nom & Söhne", "created", "preview"),
        ("spring", "Same name", "created", "preview"),
    ]


async def test_TF_28_the_single_view(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"], ["15550003"]], agents=("agent1",), max_lines=3)
    await service.run("spring")
    held = (await service.agent("agent1").call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    await service.manager.call("POST", f"{CONTACTS}/spring:3/cancel", {"reason": "asked to"})
    seen = (await ask(service, "GET", SPRING)).body
    assert (seen["state"], seen["settings"]["max_lines"]) == ("running", 3)
    agent = seen["agents"][0]
    assert (agent["agent"], agent["default_state"], agent["state"]) == ("agent1", "available", "previewing")
    assert agent["contact"] == held["contact"]["ref"]
    counts = seen["contacts"]
    assert (counts["waiting"], counts["held"], counts["cancelled"], sum(counts.values())) == (1, 1, 1, 3)
    running = service.service.engine.campaigns["spring"]
    assert seen["as_of"] == running.actor.log.position


async def test_TF_29_contacts_are_not_edited_but_cancelled(service: World, pbx: SimulatedPbx) -> None:
    await service.campaign("spring", [["15550001"]])
    path = f"{CONTACTS}/spring:1"
    before = (await ask(service, "GET", path)).body
    untouched = Untouched(service, pbx)
    for method in ("PUT", "PATCH"):
        problem(await ask(service, method, path, {"numbers": ["15550009"]}), 409, "contact-immutable")
    problem(await ask(service, "DELETE", path), 405, "method-not-allowed")
    known = (await upload(service, "spring", [{"ref": "spring:1", "numbers": ["15550009"]}])).body
    assert (known["known"], known["added"]) == (1, 0)
    untouched.check()
    assert (await ask(service, "GET", path)).body == before
    assert (await ask(service, "POST", f"{path}/cancel", {"reason": "asked to"})).status == 202
    assert (await ask(service, "GET", path)).body["state"] == "cancelled"


@pytest.mark.parametrize("ndjson", [False, True])
async def test_TF_31_a_batch_again_adds_nothing(service: World, pbx: SimulatedPbx, ndjson: bool) -> None:
    await service.campaign("spring", [])
    rows = [{"ref": f"spring:{one}", "numbers": [f"1555{one:04}"], "name": f"N {one}"} for one in range(20)]
    lines = "\n".join(json.dumps(row) for row in rows).encode()

    async def send() -> Answer:
        if ndjson:
            return await ask(service, "POST", CONTACTS, raw=lines + b"\n\n", headers={"Content-Type": NDJSON})
        return await upload(service, "spring", rows)

    first = (await send()).body
    assert (first["added"], first["known"], first["rejected"]) == (20, 0, 0)
    untouched = Untouched(service, pbx)
    again = (await send()).body
    assert (again["added"], again["known"], again["rejected"]) == (0, 20, 0)
    untouched.check()
    part = (await upload(service, "spring", [*rows[:2], {"ref": "spring:x", "numbers": ["15559999"]}])).body
    assert [one["status"] for one in part["results"]] == ["known", "known", "added"]


async def test_a_ref_twice_in_one_batch_is_added_once(service: World) -> None:
    await service.campaign("spring", [])
    rows = [{"ref": "spring:1", "numbers": ["15550001"]}, {"ref": "spring:1", "numbers": ["15550002"]}]
    found = (await upload(service, "spring", rows)).body
    assert [one["status"] for one in found["results"]] == ["added", "rejected"]
    assert (await ask(service, "GET", f"{CONTACTS}/spring:1")).body["numbers"][0]["number"] == "15550001"


async def test_contacts_come_in_pages_that_growth_does_not_shift(service: World) -> None:
    await service.campaign("spring", [[f"1555{one:04}"] for one in range(7)])
    seen: list[str] = []
    path = f"{CONTACTS}?limit=3"
    while True:
        page = (await ask(service, "GET", path)).body
        assert len(page["contacts"]) <= 3
        seen += [one["ref"] for one in page["contacts"]]
        if len(seen) == 3:
            await upload(service, "spring", [{"ref": "spring:8", "numbers": ["15550008"]}])
            await service.manager.call("POST", f"{CONTACTS}/spring:1/cancel", {})
        if page["next"] is None:
            break
        path = f"{CONTACTS}?limit=3&after={page['next']}"
    assert seen == [f"spring:{one}" for one in range(1, 9)]


async def test_the_newest_calls_in_the_order_of_dialling(service: World) -> None:
    await service.campaign("spring", [["25550001", "25550002", "25550003"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = (await agent.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    calls = []
    for _ in range(3):
        path = f"/v1/reservations/{held['id']}/dial"
        calls.append((await agent.call("POST", path, {"token": held["token"]}))["call_id"])
        await service.told("spring", "call.ended", call=calls[-1])
    for limit, wanted in ((3, calls), (2, calls[1:])):
        found = (await ask(service, "GET", f"{SPRING}/calls?limit={limit}")).body["calls"]
        assert [one["id"] for one in found] == wanted
    newest = (await ask(service, "GET", f"{SPRING}/calls?limit=2")).body
    older = (await ask(service, "GET", f"{SPRING}/calls?limit=2&after={newest['next']}")).body
    assert ([one["id"] for one in older["calls"]], older["next"]) == (calls[:1], None)
