"""What a token doesn't reach, what a half-wrong request doesn't do, and how long a stream lasts."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api import campaign
from api.token import KeyRing, Role
from simulations.client import Client, Problem
from tests.world import World

JSON, NDJSON = "application/json", "application/x-ndjson"


async def refused(client: Client, method: str, path: str, body: Any = None) -> tuple[int, str]:
    with pytest.raises(Problem) as problem:
        await client.call(method, path, body)
    return problem.value.status, problem.value.code


async def send(service: World, path: str, raw: bytes, kind: str = JSON, method: str = "POST") -> tuple[int, Any]:
    token = service.service.keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    async with service.session.request(method, service.base + path, data=raw, headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def test_a_supervisor_reaches_no_agent_of_another_campaign(service: World) -> None:
    await service.campaign("own", [["15550001"]], agents=("agent2",))
    await service.campaign("other", [["15550002"]], agents=("agent1",))
    await service.run("other")
    await service.admin.call("PATCH", "/v1/agents/agent1", {"state": "offline"})
    await service.told("other", "agent.status", agent="agent1", state="offline")
    supervisor = service.client(Role.SUPERVISOR, "sam", campaigns=("own",))
    before = len(await service.notifications("other"))
    # Not active anywhere, so that nothing but the token can stand in the way.
    assert await refused(supervisor, "PATCH", "/v1/agents/agent1", {"state": "available"}) == (403, "forbidden")
    assert await refused(supervisor, "POST", "/v1/agents/agent1/next", {}) == (403, "forbidden")
    assert await refused(supervisor, "GET", "/v1/agents/agent1") == (403, "forbidden")
    assert [one["agent"] for one in (await supervisor.call("GET", "/v1/agents"))["agents"]] == ["agent2"]
    assert len(await service.notifications("other")) == before


async def test_a_supervisor_of_one_does_not_act_in_another_where_the_agent_is_shared(service: World) -> None:
    await service.campaign("own", [["15550001"]], agents=("agent1",))
    await service.campaign("other", [["15550002"]], agents=("agent1",))
    await service.run("other")
    await service.admin.call("PATCH", "/v1/agents/agent1", {"state": "offline"})
    await service.told("other", "agent.status", agent="agent1", state="offline")
    supervisor = service.client(Role.SUPERVISOR, "sam", campaigns=("own",))
    assert await refused(supervisor, "PATCH", "/v1/agents/agent1", {"state": "available"}) == (403, "forbidden")


async def test_OM_18_a_token_that_names_agents_acts_for_no_other(service: World) -> None:
    await service.campaign("own", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
    await service.run("own")
    token = service.service.keys.mint(Role.SUPERVISOR, "sam", ttl_s=60, campaigns=("own",), agents=("agent2",))
    supervisor = Client(service.session, service.base, token)
    held = (await service.agent("agent1").call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    path, shown = f"/v1/reservations/{held['id']}", {"token": held["token"]}
    for method, address, body in (
        ("PATCH", "/v1/agents/agent1", {"state": "offline"}),
        ("POST", "/v1/agents/agent1/next", {}),
        ("POST", f"{path}/dial", shown),
        ("POST", f"{path}/extend", shown),
        ("POST", f"{path}/skip", {**shown, "reason": "later"}),
        ("POST", f"{path}/release", {}),
        ("POST", f"{path}/disposition", {**shown, "disposition": "done"}),
        ("POST", "/v1/campaigns/own/dispositions", {"contacts": [held["contact"]["ref"]], "disposition": "done"}),
    ):
        assert await refused(supervisor, method, address, body) == (403, "forbidden"), (method, address)
    call = (await service.agent("agent1").call("POST", f"{path}/dial", shown))["call_id"]
    assert await refused(supervisor, "POST", f"/v1/calls/{call}/hangup") == (403, "forbidden")
    assert (await supervisor.call("POST", "/v1/agents/agent2/next", {}))["reservation"]["contact"]


async def test_a_campaign_managers_token_is_bound_to_the_campaigns_it_names(service: World) -> None:
    await service.campaign("own", [], agents=())
    await service.campaign("other", [], agents=())
    bound = service.client(Role.CAMPAIGN_MANAGER, "m", campaigns=("own",))
    assert [one["ref"] for one in (await bound.call("GET", "/v1/campaigns"))["campaigns"]] == ["own"]
    for method, path, body in (
        ("GET", "/v1/campaigns/other", None),
        ("DELETE", "/v1/campaigns/other", None),
        ("PUT", "/v1/campaigns/third", {"name": "Third"}),
        ("GET", "/v1/events?after=", None),
        ("GET", "/v1/events?after=&campaign=other", None),
        ("GET", "/v1/webhooks", None),
    ):
        assert await refused(bound, method, path, body) == (403, "forbidden"), (method, path)
    assert (await bound.call("GET", "/v1/events?after=&campaign=own"))["events"]


async def test_an_edit_with_an_illegal_transition_stores_neither(service: World) -> None:
    await service.campaign("spring", [], agents=())
    before = await service.manager.call("GET", "/v1/campaigns/spring")
    body = {"name": "Renamed", "settings": {"max_lines": 5}, "state": "stopped"}
    assert await refused(service.manager, "PATCH", "/v1/campaigns/spring", body) == (409, "campaign-not-started")
    assert await service.manager.call("GET", "/v1/campaigns/spring") == before


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"ref":"spring:1","numbers":["15551234"],"ref":"spring:2"}', "appears twice"),
        (b'{"ref":"spring:1","numbers":["15551234"],"data":' + b"[" * 990 + b"]" * 990 + b"}", "nested too deeply"),
        (b'{"ref":"spring:1","numbers":["15551234"],"name":NaN}', "NaN"),
    ],
)
async def test_a_bad_line_of_ndjson_is_that_lines_fault_only(service: World, row: bytes, reason: str) -> None:
    await service.campaign("spring", [], agents=())
    good = b'{"ref":"spring:9","numbers":["15559999"]}'
    status, result = await send(service, "/v1/campaigns/spring/contacts", row + b"\n" + good, NDJSON)
    assert (status, result["rejected"], result["added"]) == (200, 1, 1)
    assert reason in result["results"][0]["reason"]
    assert [one["status"] for one in result["results"]] == ["rejected", "added"]


@pytest.mark.parametrize("control", ["\x00", "\n", "\x7f", "\x85", "\u2028"])
async def test_no_kind_of_control_character_gets_in(service: World, control: str) -> None:
    raw = json.dumps({"name": f"spring{control}"}).encode()  # at the end, where a pattern's `$` would let a newline by
    status, problem = await send(service, "/v1/campaigns/spring", raw, method="PUT")
    assert (status, problem["errors"][0]["field"]) == (422, "name")


async def test_a_problem_does_not_echo_megabytes(service: World) -> None:
    await service.campaign("spring", [], agents=("agent1",))
    raw = json.dumps({"state": "x" * 1_000_000}).encode()
    status, problem = await send(service, "/v1/agents/agent1", raw, method="PATCH")
    assert status == 422
    assert len(json.dumps(problem)) < 3_000


async def test_a_stream_ends_with_its_token(service: World) -> None:
    token = service.service.keys.mint(Role.CAMPAIGN_MANAGER, "m", ttl_s=2)
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
    patience = aiohttp.ClientTimeout(total=20)
    async with service.session.get(service.base + "/v1/events", headers=headers, timeout=patience) as answer:
        assert answer.status == 200
        assert await answer.read() == b""  # the server closed it: nothing happened, nothing was told


async def test_the_loop_turns_while_many_rows_are_checked(service: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.campaign("spring", [], agents=())
    rows = [{"ref": f"spring:{one}", "numbers": [f"1555{one:07}"]} for one in range(1_000)]
    turns, seen, check = 0, set(), campaign._contact

    def counted(*given: Any) -> Any:
        seen.add(turns)
        return check(*given)

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    monkeypatch.setattr(campaign, "_contact", counted)
    counting = asyncio.create_task(count())
    status, result = await send(service, "/v1/campaigns/spring/contacts", json.dumps(rows).encode())
    counting.cancel()
    assert (status, result["added"]) == (200, 1_000)
    assert len(seen) >= 1_000 // campaign.ROWS_AT_A_TIME


@pytest.mark.parametrize(("subject", "ttl_s"), [("", 60), ("x\n", 60), ("a b", 60), ("a", 0), ("a", 10**9)])
def test_no_token_without_a_subject_and_an_end(tmp_path: Path, subject: str, ttl_s: int) -> None:
    keys = KeyRing.open(tmp_path / "tokens.key")
    with pytest.raises(ValueError, match=r"subject|lives"):
        keys.mint(Role.AGENT, subject, ttl_s=ttl_s)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.key"
    made = KeyRing.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing.open(path).kid == made.kid
    assert [one.name for one in tmp_path.iterdir()] == ["tokens.key"]
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        KeyRing.open(path)
