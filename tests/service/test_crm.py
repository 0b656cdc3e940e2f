"""The CRM's side of preview by the whole service: what agents are shown, what the CRM is told, and where nothing may lead."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from config.settings import Credential, Crm
from simulations.client import Problem
from simulations.pbx import SimulatedPbx
from tests.adapters.crm.office import Receiver
from tests.adapters.notify.house import until
from tests.api.asking import Untouched, ask
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for

ROWS = [
    {"ref": "spring:1", "name": "Ann <b>& Co</b>", "numbers": ["15550001", "15550002"], "data": {"plan": "a/b?c=d&e"}},
    {"ref": "spring:2", "name": "Bo", "numbers": ["15550003"]},
]
CRM = Crm(
    hosts=("127.0.0.1", "crm.example"),
    private_hosts=("127.0.0.0/8",),
    allow_http=True,
    credentials={"sales": Credential(hosts=("127.0.0.1",), value="Bearer very-secret")},
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.start()
    yield one
    await one.stop()


@asynccontextmanager
async def world_of(folder: Path, pbx: SimulatedPbx, crm: Crm = CRM) -> AsyncIterator[World]:
    async with running(settings_for(folder, ami_of(pbx), crm=crm)) as world:
        yield world


@pytest.fixture
async def world(tmp_path: Path, pbx: SimulatedPbx) -> AsyncIterator[World]:
    async with world_of(tmp_path, pbx) as one:
        yield one


async def spring(world: World, **settings: Any) -> None:
    await world.campaign("spring", [], **settings)
    await world.admin.call("PUT", "/v1/agents/agent1", {"name": "Ms. O'Hara", "phone": "agent1"})
    await world.manager.call("POST", "/v1/campaigns/spring/contacts", ROWS)
    await world.run("spring")


def external(url: str, **more: Any) -> dict[str, Any]:
    return {"interaction": "external_url", "external_url": {"url": url, **more}}


async def talked(world: World, held: dict[str, Any]) -> str:
    """Dial, talk, hang up; returns the call."""
    agent = world.agent("agent1")
    call: str = (await act(agent, held, "dial"))["call_id"]
    await world.told("spring", "call.bridged", call=call)
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    await world.told("spring", "call.ended", call=call)
    return call


async def interactions(world: World, call: str, status: str = "delivered", count: int = 1) -> list[dict[str, Any]]:
    """What the service says of a call's interactions, once so many are of a status."""
    found: list[dict[str, Any]] = []
    for _ in range(500):
        found = (await world.manager.call("GET", f"/v1/calls/{call}/interactions"))["interactions"]
        if sum(one["status"] == status for one in found) == count:
            return found
        await world.manager.call("GET", "/v1/health")
    raise AssertionError(found)


# -- what the agent is shown --------------------------------------------------------------------------------------------


async def test_SG_18_script_and_tabs_come_with_the_contact_and_its_data_in_them(world: World) -> None:
    script = "# Good day {contact.name}\n\n*{agent.name}* calls about {contact.data.plan}{contact.data.none}.\n"
    tabs = [
        {"title": "Order", "url": "https://crm.example/orders/{contact.data.plan}?of={contact.name}"},
        {"title": "Terms", "text": "<p>{campaign.name}: {contact.number}</p>"},
    ]
    await spring(world, script=script, tabs=tabs)
    held = await take(world.agent("agent1"))
    assert held["script"] == (
        "# Good day Ann &lt;b&gt;&amp; Co&lt;/b&gt;\n\n*Ms. O&#x27;Hara* calls about a/b?c=d&amp;e.\n"
    )
    assert held["tabs"] == [
        {"title": "Order", "url": "https://crm.example/orders/a%2Fb%3Fc%3Dd%26e?of=Ann%20%3Cb%3E%26%20Co%3C%2Fb%3E"},
        {"title": "Terms", "text": "<p>Spring: 15550001</p>"},
    ]
    await world.manager.call(
        "PATCH", "/v1/campaigns/spring", {"settings": {"script": "Hello {contact.name}", "tabs": []}}
    )
    held = await take(world.agent("agent1"))  # the same contact, by the settings of now
    assert (held["script"], held["tabs"]) == ("Hello Ann &lt;b&gt;&amp; Co&lt;/b&gt;", [])


async def test_OM_03_a_form_or_an_external_url_by_the_agents_button(world: World) -> None:
    await spring(world, external_url={"url": "https://crm.example/c/{contact.ref}", "fields": {"agent": "{agent.id}"}})
    agent = world.agent("agent1")
    held = await take(agent)
    assert (held["interaction"], held["external_url"], held["screen_pop_url"]) == ("form", None, None)
    await world.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"interaction": "external_url"}})
    held = await take(agent)
    assert held["interaction"] == "external_url"
    assert held["external_url"] == {"method": "GET", "url": "https://crm.example/c/spring%3A1?agent=agent1"}
    post = {
        "url": "https://crm.example/c",
        "method": "POST",
        "format": "form",
        "fields": {"plan": "{contact.data.plan}"},
    }
    await world.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"external_url": post}})
    held = await take(agent)
    assert held["external_url"] == {
        "method": "POST",
        "url": "https://crm.example/c",
        "format": "form",
        "fields": {"plan": "a/b?c=d&e"},
    }


async def test_OM_04_automatic_is_handed_to_the_client_with_call_connected(world: World) -> None:
    pop = "https://crm.example/pop/{contact.ref}?call={call.id}&number={call.number}&by={agent.name}"
    await spring(world, screen_pop_url=pop, **external("https://crm.example/open/{call.id}", trigger="automatic"))
    held = await take(world.agent("agent1"))
    assert held["screen_pop_url"] == "https://crm.example/pop/spring%3A1?call=&number=&by=Ms.%20O%27Hara"
    assert held["external_url"] is None  # not by a button, but when the call is connected
    call = (await act(world.agent("agent1"), held, "dial", number="15550002"))["call_id"]
    told = (await world.told("spring", "call.connected", call=call))["data"]
    assert told["screen_pop_url"] == f"https://crm.example/pop/spring%3A1?call={call}&number=15550002&by=Ms.%20O%27Hara"
    assert told["external_url"] == {"method": "GET", "url": f"https://crm.example/open/{call}"}


async def test_OM_05_a_notification_read_again_after_edits_says_what_it_said(world: World) -> None:
    pop = "https://crm.example/pop/{campaign.name}?call={call.id}&by={agent.name}"
    await spring(world, screen_pop_url=pop, **external("https://crm.example/open/{call.id}", trigger="automatic"))
    call = await talked(world, await take(world.agent("agent1")))
    before = await world.told("spring", "call.connected", call=call)
    assert before["data"]["screen_pop_url"].startswith("https://crm.example/pop/")

    edited = {"screen_pop_url": "https://crm.example/other/{call.id}", "interaction": "form"}
    await world.manager.call("PATCH", "/v1/campaigns/spring", {"name": "Another", "settings": edited})
    known = await world.manager.call("GET", "/v1/agents/agent1")
    await world.manager.call("PUT", "/v1/agents/agent1", {"name": "Renamed", "phone": known["phone"]})

    again = [one for one in await world.notifications("spring") if one["id"] == before["id"]]
    assert again == [before]


# -- what the CRM is told -------------------------------------------------------------------------------------------------


async def test_OM_04_the_service_tells_the_crm_when_the_contact_answers(world: World, receiver: Receiver) -> None:
    fields = {"call": "{call.id}", "who": "{contact.name}", "number": "{call.number}"}
    address = f"http://127.0.0.1:{receiver.port}/answered"
    await spring(
        world, **external(address, method="POST", format="json", fields=fields, trigger="server", credential="sales")
    )
    held = await take(world.agent("agent1"))
    assert held["external_url"] is None
    call = await talked(world, held)
    (row,) = await interactions(world, call)
    assert (row["trigger"], row["attempts"], row["http_status"], row["last_error"]) == ("server", 1, 200, None)
    assert row["at"].endswith("Z")
    (one,) = receiver.taken
    assert one.body == f'{{"call":"{call}","who":"Ann <b>& Co</b>","number":"15550001"}}'.encode()
    assert one.headers["Authorization"] == "Bearer very-secret"
    shown = await ask(world, "GET", "/v1/campaigns/spring")
    assert b"very-secret" not in shown.raw  # the secret is the operator's, its name the campaign's
    assert b'"credential":"sales"' in shown.raw
    assert "very-secret" not in repr(world.service.settings)


async def test_OM_04_the_service_tells_the_crm_of_a_disposition(world: World, receiver: Receiver) -> None:
    address = f"http://127.0.0.1:{receiver.port}/d/{{disposition.code}}?is={{disposition.label}}&call={{call.id}}"
    await spring(world, **external(address, trigger="disposition"))
    held = await take(world.agent("agent1"))
    call = await talked(world, held)
    assert await interactions(world, call, count=0) == []  # it isn't told of the call itself
    await act(world.agent("agent1"), held, "disposition", disposition="not_interested")
    (row,) = await interactions(world, call)
    assert row["trigger"] == "disposition"
    (one,) = receiver.taken
    assert one.path == f"/d/not_interested?is=Not%20interested&call={call}"


async def test_OM_04_a_restart_in_between_loses_no_call(tmp_path: Path, pbx: SimulatedPbx, receiver: Receiver) -> None:
    """Given a CRM that is down while a contact answers, and a service that is restarted, then the CRM is told once it is up."""
    await receiver.stop()
    address = f"http://127.0.0.1:{receiver.port}/{{call.id}}"
    async with world_of(tmp_path, pbx) as world:
        await spring(world, **external(address, trigger="server"))
        call = await talked(world, await take(world.agent("agent1")))
        (row,) = await interactions(world, call, "failed")
        assert (row["http_status"], row["last_error"]) == (None, "no connection")
        assert row["retry_at"] is not None
    await receiver.start()
    async with world_of(tmp_path, pbx) as world:
        await until(lambda: bool(receiver.taken))
        (row,) = await interactions(world, call)
        assert row["attempts"] > 1
    assert [one.path for one in receiver.taken] == [f"/{call}"]
    async with world_of(tmp_path, pbx) as world:
        (row,) = await interactions(world, call)
    assert len(receiver.requests) == 1


# -- where nothing may lead -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (external("https://evil.example/{contact.ref}"), "settings.external_url.url"),
        (external("https://crm.example.evil.example/"), "settings.external_url.url"),
        (external("https://crm.example@evil.example/"), "settings.external_url.url"),
        (external("https://169.254.169.254/latest/meta-data/", trigger="server"), "settings.external_url.url"),
        (external("https://localhost/", trigger="server"), "settings.external_url.url"),
        (external("https://[::1]/", trigger="server"), "settings.external_url.url"),
        (external("https://127.1/", trigger="server"), "settings.external_url.url"),
        (external("https://2130706433/", trigger="server"), "settings.external_url.url"),
        (external("https://{contact.data.host}/"), "settings.external_url.url"),
        (external("https://crm.example/{contact.age}"), "settings.external_url.url"),
        (external("https://crm.example/", trigger="server", credential="none"), "settings.external_url.credential"),
        (external("https://crm.example/", trigger="server", credential="sales"), "settings.external_url.credential"),
        ({"screen_pop_url": "https://evil.example/"}, "settings.screen_pop_url"),
        ({"tabs": [{"title": "A", "url": "https://evil.example/"}]}, "settings.tabs[0].url"),
        ({"script": "{contact}"}, "settings.script"),
        ({"script": "a\rb"}, "settings.script"),
        ({"external_url": {"url": "https://crm.example/\n"}}, "settings.external_url.url"),
    ],
)
async def test_OM_04_SG_18_what_may_not_be_is_refused_when_it_is_stored(
    world: World, pbx: SimulatedPbx, settings: dict[str, Any], field: str
) -> None:
    await world.campaign("spring", [])
    before = Untouched(world, pbx)
    for method, path, body in (
        ("PUT", "/v1/campaigns/autumn", {"name": "Autumn", "settings": settings}),
        ("PATCH", "/v1/campaigns/spring", {"settings": settings}),
    ):
        answer = await ask(world, method, path, body)
        assert (answer.status, answer.fields) == (422, [field]), answer.raw
    before.check()


async def test_where_the_operator_lists_no_host_no_address_can_be_stored(service: World) -> None:
    answer = await ask(
        service, "PUT", "/v1/campaigns/spring", {"name": "S", "settings": external("https://crm.example/")}
    )
    assert (answer.status, answer.fields) == (422, ["settings.external_url.url"])
    assert "[crm] hosts" in answer.body["detail"]
    await service.campaign("autumn", [], script="No address needed, {contact.name}")
    assert "crm" not in await service.service.store.logs()


async def test_an_address_whose_host_is_listed_no_more_hinders_no_other_edit(tmp_path: Path, pbx: SimulatedPbx) -> None:
    async with world_of(tmp_path, pbx) as world:
        await world.campaign("spring", [], screen_pop_url="https://crm.example/{contact.ref}")
    async with world_of(tmp_path, pbx, Crm(hosts=("other.example",))) as world:
        await world.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"max_lines": 7}})
        settings = {"screen_pop_url": "https://crm.example/{contact.name}"}
        with pytest.raises(Problem, match="has not listed"):
            await world.manager.call("PATCH", "/v1/campaigns/spring", {"settings": settings})


async def test_plain_http_needs_the_operators_word(tmp_path: Path, pbx: SimulatedPbx) -> None:
    async with world_of(tmp_path, pbx, Crm(hosts=("crm.example",))) as world:
        with pytest.raises(Problem, match="https://"):
            await world.campaign("spring", [], screen_pop_url="http://crm.example/")
        await world.campaign("spring", [], screen_pop_url="https://crm.example/")


@pytest.mark.parametrize(
    ("crm", "error"),
    [
        (Crm(hosts=("127.0.0.1",), allow_http=True), "the address is private"),
        (Crm(hosts=("127.0.0.1",), allow_http=True, private_hosts=("127.0.0.0/8",), timeout_ms=50), "within 50 ms"),
    ],
)
async def test_OM_04_what_the_operator_sets_holds_for_each_call(
    tmp_path: Path, pbx: SimulatedPbx, receiver: Receiver, crm: Crm, error: str
) -> None:
    receiver.always = 0  # no answer at all
    async with world_of(tmp_path, pbx, crm) as world:
        await spring(world, **external(f"http://127.0.0.1:{receiver.port}/", trigger="server"))
        call = await talked(world, await take(world.agent("agent1")))
        (row,) = await interactions(world, call, "failed")
    assert row["last_error"].endswith(error)
    assert bool(receiver.requests) == (error == "within 50 ms")


async def test_an_agent_sees_the_interactions_of_own_calls_only(world: World, receiver: Receiver) -> None:
    await spring(world, **external(f"http://127.0.0.1:{receiver.port}/", trigger="server"))
    call = await talked(world, await take(world.agent("agent1")))
    await interactions(world, call)
    assert len((await world.agent("agent1").call("GET", f"/v1/calls/{call}/interactions"))["interactions"]) == 1
    with pytest.raises(Problem, match="not yours"):
        await world.agent("agent2").call("GET", f"/v1/calls/{call}/interactions")
