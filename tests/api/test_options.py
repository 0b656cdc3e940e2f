"""SG-20: each option of a campaign, flipped while it runs, and what changes for those who work in it.

Every change is in the feed, with what was, what is and who did it.
"""

from typing import Any

import pytest

from api.token import Role
from engine.campaigns import log_of
from tests.api.asking import Answer, ask, contacts, problem, token_of
from tests.world import World

FORM = [
    {"name": "city", "label": "City", "required": True},
    {"name": "rooms", "type": "number"},
    {"name": "kind", "type": "choice", "choices": ["flat", "house"]},
]
QUIET: dict[str, Any] = {"dispose_without_attempt": True, "stop_when_completed": False}


async def flip(service: World, ref: str = "spring", **settings: Any) -> None:
    """Edit settings of a live campaign, and see the change told."""
    before = (await service.manager.call("GET", f"/v1/campaigns/{ref}"))["settings"]
    await service.manager.call("PATCH", f"/v1/campaigns/{ref}", {"settings": settings})
    old = {name: before[name] for name in settings}
    await service.told(ref, "campaign.settings_changed", old=old, new=settings, by="manager")


def token(service: World, agent: str) -> str:
    return token_of(service, Role.AGENT, agent)


async def post(service: World, agent: str, path: str, body: dict[str, Any]) -> Answer:
    return await ask(service, "POST", path, body, token=token(service, agent))


async def take(service: World, agent: str) -> dict[str, Any]:
    """The agent's next contact: the reservation."""
    answer = await post(service, agent, f"/v1/agents/{agent}/next", {"campaign": "spring"})
    assert answer.status == 200, answer.raw
    held: dict[str, Any] = answer.body["reservation"]
    return held


async def nothing(service: World, agent: str) -> str:
    """There is no contact for the agent; why."""
    answer = await post(service, agent, f"/v1/agents/{agent}/next", {"campaign": "spring"})
    assert answer.status == 204, answer.raw
    return str(answer.headers["Ringfold-Reason"])


async def close(
    service: World, agent: str, held: dict[str, Any], disposition: str = "no_contact", **more: Any
) -> Answer:
    body = {"token": held["token"], "disposition": disposition, **more}
    return await post(service, agent, f"/v1/reservations/{held['id']}/disposition", body)


async def release(service: World, agent: str, held: dict[str, Any]) -> None:
    answer = await post(service, agent, f"/v1/reservations/{held['id']}/release", {"token": held["token"]})
    assert answer.status == 202, answer.raw


# -- delivery -----------------------------------------------------------------------------------------------------------


async def test_SG_20_delivery_by_queue_or_by_assignment(service: World) -> None:
    await service.campaign("spring", [["15550001"]], delivery="own_only", **QUIET)
    await service.run("spring")
    assert await nothing(service, "agent1") == "others"
    await flip(service, delivery="own_first")
    assert (await take(service, "agent1"))["contact"]["ref"] == "spring:1"


async def test_SG_20_SG_14_another_agent_where_the_assigned_one_is_unavailable(service: World) -> None:
    await service.campaign("spring", [], others_when_unavailable=False, **QUIET)
    await contacts(service, {"ref": "spring:1", "numbers": ["15550001"], "agent": "agent7"})
    await service.run("spring")
    assert await nothing(service, "agent1") == "others"
    await flip(service, others_when_unavailable=True)
    assert (await take(service, "agent1"))["contact"]["ref"] == "spring:1"


async def test_SG_20_agents_may_dial_other_numbers_of_the_contact(service: World) -> None:
    await service.campaign("spring", [["25550001", "25550002"]], agents_choose_number=False, **QUIET)
    await service.run("spring")
    held = await take(service, "agent1")
    body = {"token": held["token"], "number": "25550002"}
    problem(await post(service, "agent1", f"/v1/reservations/{held['id']}/dial", body), 409, "number-not-open")
    await flip(service, agents_choose_number=True)
    assert (await post(service, "agent1", f"/v1/reservations/{held['id']}/dial", body)).status == 202
    assert (await service.told("spring", "call.requested"))["data"]["number"] == "25550002"


async def test_SG_20_dispose_without_an_attempt(service: World) -> None:
    await service.campaign("spring", [["15550001"]], stop_when_completed=False)
    await service.run("spring")
    held = await take(service, "agent1")
    problem(await close(service, "agent1", held), 409, "no-attempt")
    await flip(service, dispose_without_attempt=True)
    assert (await close(service, "agent1", held)).status == 202


# -- the form -----------------------------------------------------------------------------------------------------------


async def test_SG_20_dispose_with_required_data_missing(service: World) -> None:
    await service.campaign("spring", [["15550001"]], form=FORM, **QUIET)
    await service.run("spring")
    held = await take(service, "agent1")
    assert [one["name"] for one in held["form"]] == ["city", "rooms", "kind"]
    for data, field in (
        ({}, "data.city"),
        ({"city": "Roma", "rooms": "many"}, "data.rooms"),
        ({"city": "Roma", "kind": "tent"}, "data.kind"),
        ({"city": "Roma", "floor": 3}, "data.floor"),
    ):
        answer = await close(service, "agent1", held, data=data)
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field]
    await flip(service, dispose_with_missing_data=True)
    assert (await close(service, "agent1", held, data={"rooms": 3})).status == 202
    told = (await service.told("spring", "contact.disposed"))["data"]
    assert (told["data"], told["agent"], told["by"]) == ({"rooms": 3}, "agent1", None)
    shown = await service.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1")
    assert shown["form_data"] == {"rooms": 3}


async def test_SG_20_what_was_noted_down_is_sealed_in_the_log(service: World) -> None:
    """It is the person's own: neither the event nor the explanation tells it in plain."""
    await service.campaign("spring", [["15550001"]], form=FORM, **QUIET)
    await service.run("spring")
    data = {"city": "Casteldelfino", "rooms": 3}
    assert (await close(service, "agent1", await take(service, "agent1"), data=data)).status == 202
    running = service.service.engine.campaigns["spring"]
    events = [one async for batch in running.actor.log.read() for one in batch]
    (disposed,) = [one for one in events if type(one.event).__name__ == "ContactDisposed"]
    lines, _ = service.service.store.codec.encode([disposed], log_of("spring"))
    assert b'"form":{"sealed_for":"spring:1"' in lines
    assert b"Casteldelfino" not in lines
    explained = await ask(service, "GET", "/v1/explain?campaign=spring&contact=spring:1")
    assert explained.status == 200, explained.raw
    assert b"Casteldelfino" not in explained.raw


async def test_SG_20_carry_over_the_last_forms_data(service: World) -> None:
    again = [{"code": "again", "final": False}]
    await service.campaign("spring", [["15550001"]], form=FORM, dispositions=again, **QUIET)
    await service.run("spring")
    data = {"city": "Roma", "rooms": 3}
    assert (await close(service, "agent1", await take(service, "agent1"), "again", data=data)).status == 202
    held = await take(service, "agent1")
    assert held["form_data"] == {}
    await flip(service, carry_over_form=True)
    assert (await take(service, "agent1"))["form_data"] == data


# -- what agents see ----------------------------------------------------------------------------------------------------


async def test_SG_20_agents_see_all_contacts_or_their_own(service: World) -> None:
    await service.campaign("spring", [], agents=("agent1", "agent2"), **QUIET)
    await contacts(
        service,
        {"ref": "a", "numbers": ["15550001"], "agent": "agent1"},
        {"ref": "b", "numbers": ["15550002"], "agent": "agent2"},
        {"ref": "c", "numbers": ["15550003"], "priority": "high"},
        {"ref": "d", "numbers": ["15550004"], "name": "agent1"},  # no more hers for being called like her
        {"ref": "e", "numbers": ["15550005"], "agent": "agent1"},
    )
    await service.run("spring")
    own = token(service, "agent1")

    async def page(query: str = "") -> tuple[list[str], str | None]:
        answer = await ask(service, "GET", f"/v1/campaigns/spring/contacts{query}", token=own)
        return [one["ref"] for one in answer.body["contacts"]], answer.body["next"]

    assert await page() == (["a", "e"], None)
    first, after = await page("?limit=1")
    assert first == ["a"]
    assert await page(f"?limit=1&after={after}") == (["e"], None)
    for name in ("b", "c", "d", "nobody"):
        answer = await ask(service, "GET", f"/v1/campaigns/spring/contacts/{name}", token=own)
        problem(answer, 403, "forbidden")
    for held in ("a", "e"):  # her own come first; then one that is nobody's
        reservation = await take(service, "agent1")
        assert reservation["contact"]["ref"] == held
        await close(service, "agent1", reservation)
    assert (await take(service, "agent1"))["contact"]["ref"] == "c"
    assert (await page())[0] == ["a", "c", "e"]  # closed or in hand, they are hers
    assert (await ask(service, "GET", "/v1/campaigns/spring/contacts/c", token=own)).body["state"] == "held"
    await flip(service, agents_see_all_contacts=True)
    assert (await page())[0] == ["a", "b", "c", "d", "e"]
    assert (await ask(service, "GET", "/v1/campaigns/spring/contacts/b", token=own)).body["ref"] == "b"
    problem(await ask(service, "GET", "/v1/campaigns/spring/contacts/nobody", token=own), 404, "unknown-contact")
    problem(await ask(service, "GET", "/v1/campaigns/autumn/contacts", token=own), 403, "forbidden")
    await flip(service, agents_see_all_contacts=False)
    assert (await page())[0] == ["a", "c", "e"]


async def test_SG_20_a_page_of_few_among_many_is_found_without_looking_at_all_of_them_at_once(
    service: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walked with `next`, every own contact is shown once, however they lie among the others'."""
    monkeypatch.setattr("api.sight.ROWS_AT_A_TIME", 3)
    monkeypatch.setattr("api.sight.PAGES_PER_REQUEST", 2)
    await service.campaign("spring", [])
    own = {2, 3, 11, 12, 13, 20}
    rows = [
        {"ref": f"c{one}", "numbers": [f"1555{one:04}"], **({"agent": "agent1"} if one in own else {})}
        for one in range(24)
    ]
    await contacts(service, *rows)
    seen: list[str] = []
    after: str | None = ""
    requests = 0
    while after is not None:
        path = f"/v1/campaigns/spring/contacts?limit=2&after={after}"
        body = (await ask(service, "GET", path, token=token(service, "agent1"))).body
        assert len(body["contacts"]) <= 2
        seen += [one["ref"] for one in body["contacts"]]
        after, requests = body["next"], requests + 1
    assert seen == [f"c{one}" for one in sorted(own)]
    assert requests >= 24 / (3 * 2)


async def test_SG_20_the_contacts_history_in_other_campaigns_that_the_agent_is_in(service: World) -> None:
    for ref in ("autumn", "winter", "secret"):
        await service.campaign(ref, [], agents=("agent1", "agent2"), line="on_demand", **QUIET)
        await service.run(ref)
    await contacts(
        service, {"ref": "old", "numbers": ["+1555001"]}, {"ref": "un", "numbers": ["1555001"]}, ref="autumn"
    )
    await contacts(service, {"ref": "crm", "numbers": ["1999"], "external_id": "person-1"}, ref="winter")
    await contacts(service, {"ref": "hush", "numbers": ["1555001"]}, ref="secret")
    for ref, name in (("autumn", "old"), ("winter", "crm"), ("secret", "hush")):
        closing = {"contacts": [name], "disposition": "not_interested"}
        assert (await service.admin.call("POST", f"/v1/campaigns/{ref}/dispositions", closing))["disposed"] == 1
    await service.manager.call("DELETE", "/v1/campaigns/secret/agents/agent1")
    await service.told("secret", "agent.removed", agent="agent1")
    for ref in ("autumn", "winter"):
        await service.ask(ref, "stopped")
        await service.told(ref, "campaign.status", state="stopped")
    await service.campaign("spring", [], **QUIET)
    await contacts(service, {"ref": "new", "numbers": ["1777", "1555001"], "external_id": "person-1"})
    await service.run("spring")
    assert "history" not in await take(service, "agent1")
    await flip(service, history_in_other_campaigns=True)
    history = (await take(service, "agent1"))["history"]
    assert sorted((one["campaign"], one["contact"], one["disposition"]) for one in history) == [
        ("autumn", "old", "not_interested"),
        ("winter", "crm", "not_interested"),
    ]


async def test_SG_20_the_history_has_the_calls_newest_first_and_not_without_end(
    service: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.sight.MAX_HISTORY_CALLS", 2)
    await service.campaign("autumn", [["25550001"]], line="on_demand", **QUIET)
    await service.run("autumn")
    client = service.agent("agent1")
    held = (await client.call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    calls = []
    for _ in range(3):
        dialled = await client.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]})
        calls.append(dialled["call_id"])
        await service.told("autumn", "call.ended", call=calls[-1])
        await service.until(lambda: service.service.engine.campaigns["autumn"].book.agents["agent1"].phone == "down")
    await client.call(
        "POST", f"/v1/reservations/{held['id']}/disposition", {"token": held["token"], "disposition": "no_contact"}
    )
    await service.ask("autumn", "stopped")
    await service.told("autumn", "campaign.status", state="stopped")
    await service.campaign("spring", [["25550001"]], history_in_other_campaigns=True, **QUIET)
    await service.run("spring")
    (line,) = (await take(service, "agent1"))["history"]
    assert [one["call"] for one in line["calls"]] == calls[:0:-1]
    assert {one["outcome"] for one in line["calls"]} == {"busy"}
    assert {one["agent"] for one in line["calls"]} == {"agent1"}


# -- in bulk ------------------------------------------------------------------------------------------------------------


async def test_SG_20_agents_dispose_in_bulk_where_they_may_and_supervisors_always(service: World) -> None:
    await service.campaign("spring", [], supervisors=["sam"], **QUIET)
    names = ("a", "b", "c", "d")
    rows = [
        {"ref": one, "numbers": [f"1555{place}"], "agent": "agent1" if one in "ab" else ""}
        for place, one in enumerate(names)
    ]
    await contacts(service, *rows)
    await service.run("spring")
    path, body = "/v1/campaigns/spring/dispositions", {"contacts": ["a", "b", "c"], "disposition": "no_contact"}
    problem(await post(service, "agent1", path, body), 403, "bulk-not-open")
    await flip(service, agents_dispose_in_bulk=True)
    answer = await post(service, "agent1", path, body)
    assert (answer.status, answer.body["disposed"], answer.body["refused"]) == (200, 2, 1)
    assert [(one["contact"], one["status"], one.get("code")) for one in answer.body["results"]] == [
        ("a", "disposed", None),
        ("b", "disposed", None),
        ("c", "refused", "contact-not-yours"),
    ]
    told = await service.told("spring", "contact.disposed", contact="a")
    assert (told["data"]["agent"], told["data"]["by"], told["data"]["reservation"]) == (None, "agent1", None)
    await flip(service, agents_dispose_in_bulk=False)
    sam = token_of(service, Role.SUPERVISOR, "sam")
    answer = await ask(service, "POST", path, {**body, "contacts": ["a", "c", "d"]}, token=sam)
    assert [one.get("code") for one in answer.body["results"]] == ["contact-closed", None, None]
    problem(await ask(service, "POST", path, body, token=token_of(service, Role.SUPERVISOR, "kim")), 403, "forbidden")


async def test_SG_20_many_are_closed_by_their_calls_too(service: World) -> None:
    await service.campaign("spring", [["25550001"], ["25550002"]], **QUIET)
    await service.run("spring")
    held = await take(service, "agent1")
    dialled = await post(service, "agent1", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]})
    call = dialled.body["call_id"]
    await service.told("spring", "call.ended", call=call)
    body = {"calls": [call, "0" * 32], "contacts": ["spring:2"], "disposition": "no_contact"}
    answer = await ask(service, "POST", "/v1/campaigns/spring/dispositions", body)
    assert [(one["contact"], one.get("call"), one.get("code")) for one in answer.body["results"]] == [
        ("spring:2", None, None),
        ("spring:1", call, None),
        (None, "0" * 32, "unknown-call"),
    ]
    told = await service.told("spring", "contact.disposed", contact="spring:1")
    assert (told["data"]["agent"], told["data"]["by"], told["data"]["call"]) == ("agent1", "admin", call)


async def test_a_request_for_many_names_some_and_not_too_many(service: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.disposition.MAX_AT_ONCE", 2)
    await service.campaign("spring", [["15550001"]])
    path = "/v1/campaigns/spring/dispositions"
    for body, field in (
        ({"disposition": "no_contact"}, "contacts"),
        ({"disposition": "no_contact", "contacts": ["a", "b", "c"]}, "contacts"),
        ({"disposition": "no_contact", "calls": ["x"]}, "calls[0]"),
        ({"contacts": ["spring:1"]}, "disposition"),
        ({"contacts": ["spring:1"], "disposition": "callback"}, "disposition"),
        ({"contacts": ["spring:1"], "disposition": "no_contact", "data": {"x": 1}}, "data.x"),
    ):
        answer = await ask(service, "POST", path, body)
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field], body


# -- the list -----------------------------------------------------------------------------------------------------------


async def test_SG_06_numbers_added_over_http_are_read_as_the_campaigns_region_has_them(service: World) -> None:
    await service.campaign("spring", [], default_region="CO")
    rows = [("a", "3105822141"), ("b", "573105822142"), ("c", "+573105822143"), ("d", "12"), ("e", "+39 06 12345678")]
    answer = await contacts(service, *({"ref": ref, "numbers": [number]} for ref, number in rows))
    assert [(one["ref"], one["status"], one.get("field")) for one in answer["results"]] == [
        ("a", "added", None),
        ("b", "added", None),
        ("c", "added", None),
        ("d", "rejected", "numbers[0]"),
        ("e", "added", None),
    ]
    known = service.service.engine.campaigns["spring"].book.contacts.by_ref
    assert [known[ref].numbers[0] for ref in "abce"] == [f"+57310582214{one}" for one in "123"] + ["+390612345678"]
    await flip(service, default_region="")
    await contacts(service, {"ref": "f", "numbers": ["3105822144"]})
    assert known["f"].numbers == ("3105822144",)
    for region in ("XX", "co"):
        edit = {"settings": {"default_region": region}}
        wrong = await ask(service, "PATCH", "/v1/campaigns/spring", edit)
        problem(wrong, 422, "invalid-request")
        assert wrong.fields == ["settings.default_region"]


async def test_SG_15_a_dialled_contact_sent_again_as_it_is_stays_and_is_no_error(service: World) -> None:
    await service.campaign("spring", [["25550001"]], **QUIET)
    await service.run("spring")
    held = await take(service, "agent1")
    await post(service, "agent1", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]})
    await service.told("spring", "call.ended")
    same = {"ref": "spring:1", "numbers": ["25550001"]}
    again = await contacts(service, same, query="?overwrite=true")
    assert (again["known"], again["rejected"]) == (1, 0)
    other = await contacts(service, {**same, "name": "Ann"}, query="?overwrite=true")
    assert (other["known"], other["rejected"]) == (0, 1)
