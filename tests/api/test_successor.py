"""A new campaign from what came of earlier ones."""

from tests.api.asking import FAR, ask, contacts, problem
from tests.service.test_preview import act, take
from tests.world import World


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


async def test_TF_33_what_was_closed_without_a_call_is_found_by_its_disposition(service: World) -> None:
    await service.campaign("spring", [["15550001"], ["15550002"]], dispose_without_attempt=True)
    await service.run("spring")
    agent = service.agent("agent1")
    await act(agent, await take(agent), "disposition", disposition="not_interested")
    await service.ask("spring", "stopped")
    await service.told("spring", "campaign.status", state="stopped")
    body = {"name": "Again", "source": ["spring", "spring"], "select": {"dispositions": ["not_interested"]}}
    made = await ask(service, "POST", "/v1/campaigns/later/from-outcomes", body)
    assert made.body == {"ref": "later", "chosen": 1, "added": 1}
    uncalled = {**body, "select": {"uncalled": True}}
    made = await ask(service, "POST", "/v1/campaigns/latest/from-outcomes", uncalled)
    rows = (await service.manager.call("GET", "/v1/campaigns/latest/contacts"))["contacts"]
    assert [one["ref"] for one in rows] == ["latest:spring:2"]


async def test_a_new_campaigns_settings_are_the_operators_to_allow(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    body = {"name": "Again", "source": ["spring"], "select": {"uncalled": True}}
    inside = {"interaction": "external_url", "external_url": {"url": "http://169.254.169.254/latest"}}
    for settings, field in (({"trunk": "nowhere"}, "settings.trunk"), (inside, "settings.external_url.url")):
        answer = await ask(service, "POST", "/v1/campaigns/later/from-outcomes", {**body, "settings": settings})
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field]
    itself = await ask(service, "POST", "/v1/campaigns/spring/from-outcomes", body)
    problem(itself, 422, "invalid-request")
    assert set(service.service.engine.campaigns) == {"spring"}


async def test_long_refs_are_cut_and_stay_apart(service: World) -> None:
    await service.campaign("spring", [])
    refs = [f"spring:{'x' * 92}{one}" for one in range(3)]
    await contacts(service, *({"ref": ref, "numbers": ["15550001"]} for ref in refs))
    body = {"name": "Again", "source": ["spring"], "select": {"uncalled": True}}
    made = await ask(service, "POST", "/v1/campaigns/later/from-outcomes", body)
    assert made.body["added"] == 3
    rows = (await service.manager.call("GET", "/v1/campaigns/later/contacts"))["contacts"]
    assert {len(one["ref"]) for one in rows} == {100}
