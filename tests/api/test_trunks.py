"""SG-02, SG-20: the trunks of a campaign, and who supervises it, over HTTP."""

import asyncio
from pathlib import Path

from api.token import Role
from config.settings import Dialing
from simulations.pbx import Script, SimulatedPbx
from tests.api.asking import ask, problem, token_of
from tests.conftest import TIME_SCALE, ami_of
from tests.world import PATIENCE_S, World, running, settings_for


async def dialled(world: World, agent: str) -> str:
    """The agent takes the next contact and dials it: the call."""
    client = world.agent(agent)
    held = (await client.call("POST", f"/v1/agents/{agent}/next", {}))["reservation"]
    return str((await client.call("POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}))["call_id"])


async def refused_for_lines(world: World, agent: str) -> None:
    token = token_of(world, Role.AGENT, agent)
    held = (await ask(world, "POST", f"/v1/agents/{agent}/next", {}, token=token)).body["reservation"]
    answer = await ask(world, "POST", f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}, token=token)
    problem(answer, 503, "trunk-lines-in-use")


async def test_SG_02_SG_20_trunks_in_order_and_others_only_where_the_campaign_may_use_them(tmp_path: Path) -> None:
    simulated = SimulatedPbx(
        Script(trunks=("carrier", "backup", "spare")), seed=1, time_scale=TIME_SCALE, login_penalty_ms=0
    )
    await simulated.start()
    dialing = Dialing(trunks=("carrier", "backup", "spare"), trunk_lines={"carrier": 1, "backup": 1})
    agents = ("agent1", "agent2", "agent3")
    try:
        async with running(settings_for(tmp_path, ami_of(simulated), dialing=dialing)) as world:
            await world.campaign("spring", [[f"1555000{one}"] for one in range(3)], agents, further_trunks=["backup"])
            shown = await world.manager.call("GET", "/v1/campaigns/spring")
            assert shown["trunks"] == ["carrier", "backup"]
            await world.run("spring")
            took = []
            for agent in agents[:2]:
                call = await dialled(world, agent)
                told = await world.told("spring", "call.requested", call=call)
                took.append((told["data"]["trunk"], told["data"]["trunk_reason"]))
                await world.told("spring", "call.bridged", call=call)
            assert took == [("carrier", "preferred"), ("backup", "others_full")]
            await refused_for_lines(world, "agent3")
            edit = {"settings": {"own_trunks_only": False}}
            await world.manager.call("PATCH", "/v1/campaigns/spring", edit)
            change = await world.told("spring", "campaign.settings_changed")
            assert change["data"] == {
                "old": {"own_trunks_only": True},
                "new": {"own_trunks_only": False},
                "by": "manager",
            }
            record = await world.manager.call("GET", f"/v1/calls/{await dialled(world, 'agent3')}")
            assert (record["trunk"], record["trunk_reason"]) == ("spare", "lent")
            assert [one.trunk for one in simulated.originates if one.number] == ["carrier", "backup", "spare"]
    finally:
        await simulated.stop()


async def test_SG_02_a_trunk_that_is_not_configured_is_named(service: World) -> None:
    await service.campaign("spring", [])
    for settings, field in (
        ({"trunk": "other"}, "settings.trunk"),
        ({"further_trunks": ["other"]}, "settings.further_trunks"),
        ({"further_trunks": ["carrier"]}, "settings.further_trunks"),
        ({"supervisors": ["sam", "sam"]}, "settings.supervisors"),
        ({"supervisors": ["s a m"]}, "settings.supervisors[0]"),
    ):
        answer = await ask(service, "PATCH", "/v1/campaigns/spring", {"settings": settings})
        problem(answer, 422, "invalid-request")
        assert answer.fields == [field]


async def test_SG_02_OM_10_a_supervisor_acts_on_the_campaigns_that_name_them(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    await service.campaign("autumn", [["15550002"]], agents=("agent2",))
    sam = token_of(service, Role.SUPERVISOR, "sam")  # names no campaigns itself
    own = "/v1/campaigns/spring"
    for method, path, body in (("GET", own, None), ("PATCH", own, {"state": "running"}), ("GET", "/v1/events", None)):
        problem(await ask(service, method, path, body, token=sam), 403, "forbidden")
    await service.manager.call("PATCH", own, {"settings": {"supervisors": ["sam"]}})
    change = await service.told("spring", "campaign.settings_changed")
    assert change["data"] == {"old": {"supervisors": []}, "new": {"supervisors": ["sam"]}, "by": "manager"}
    listed = (await ask(service, "GET", "/v1/campaigns", token=sam)).body["campaigns"]
    assert [one["ref"] for one in listed] == ["spring"]
    assert (await ask(service, "GET", own, token=sam)).body["supervisors"] == ["sam"]
    assert (await ask(service, "GET", own + "/contacts/spring:1", token=sam)).status == 200
    assert (await ask(service, "GET", "/v1/agents/agent1", token=sam)).status == 200
    assert (await ask(service, "PATCH", own, {"state": "running"}, token=sam)).status == 202
    assert (await ask(service, "GET", "/v1/events?after=&campaign=spring", token=sam)).status == 200
    for path in ("/v1/campaigns/autumn", "/v1/agents/agent2", "/v1/events?after=&campaign=autumn", "/v1/events?after="):
        problem(await ask(service, "GET", path, token=sam), 403, "forbidden")
    # Supervising isn't configuring, least of all who supervises.
    problem(await ask(service, "PATCH", own, {"settings": {"supervisors": []}}, token=sam), 403, "forbidden")
    # A token that names campaigns is for those alone, whoever its subject is.
    bound = token_of(service, Role.SUPERVISOR, "sam", "autumn")
    problem(await ask(service, "GET", own, token=bound), 403, "forbidden")
    await service.manager.call("PATCH", own, {"settings": {"supervisors": []}})
    problem(await ask(service, "GET", own, token=sam), 403, "forbidden")


async def test_SG_02_a_stream_ends_with_the_supervision(service: World) -> None:
    await service.campaign("spring", [["15550001"]], supervisors=["sam"])
    headers = {
        "Authorization": f"Bearer {token_of(service, Role.SUPERVISOR, 'sam')}",
        "Accept": "text/event-stream",
    }
    async with service.session.get(f"{service.base}/v1/events?campaign=spring", headers=headers) as stream:
        assert stream.status == 200
        await service.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"supervisors": []}})
        await service.manager.call("PATCH", "/v1/campaigns/spring", {"name": "Not for Sam"})
        async with asyncio.timeout(PATIENCE_S):
            told = (await stream.content.read()).decode()  # to its end
    assert "Not for Sam" not in told
