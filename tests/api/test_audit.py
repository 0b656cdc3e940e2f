"""Whoever is refused is written down: who, for what and why; bounded, and never what they sent as a token."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api.audit import ALL_LINES_PER_S, LINES_PER_S, SUMMED_AFTER_S
from api.token import Role
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, token_of
from tests.api.test_metrics import read
from tests.api.wrong_tokens import WRONG
from tests.conftest import ami_of
from tests.world import PATIENCE_S, World, running, settings_for

Lines = list[Any]


def audited(lines: Lines) -> Lines:
    return [one for one in lines if one.get("audit")]


async def test_a_refusal_is_told_with_who_and_why(service: World) -> None:
    await service.campaign("spring", [["15550001"]])
    agent = token_of(service, Role.AGENT, "agent2")
    with capture_logs() as lines:
        unknown = await ask(service, "GET", "/v1/campaigns", token=WRONG["expired"](service.service.keys))
        role = await ask(service, "DELETE", "/v1/campaigns/spring", token=agent)
        other = await ask(service, "PATCH", "/v1/agents/agent1", {"state": "offline"}, token=agent)
        await ask(service, "GET", "/v1/campaigns")
    assert [(one["status"], one["code"], one["path"]) for one in audited(lines)] == [
        (401, "unauthenticated", "/v1/campaigns"),
        (403, "forbidden", "/v1/campaigns/spring"),
        (403, "forbidden", "/v1/agents/agent1"),
    ]
    first, second, third = audited(lines)
    assert (first["reason"], first["peer"], "subject" in first) == ("expired", "127.0.0.1", False)
    assert {(one["role"], one["subject"], len(one["jti"])) for one in (second, third)} == {("agent", "agent2", 32)}
    assert [one["route"] for one in audited(lines)] == ["/v1/campaigns", "/v1/campaigns/{ref}", "/v1/agents/{agent}"]
    assert [one["trace_id"] for one in audited(lines)] == [one.body["trace_id"] for one in (unknown, role, other)]


async def test_nothing_that_was_sent_as_a_token_is_told(service: World) -> None:
    tokens = [make(service.service.keys) for make in WRONG.values()]
    with capture_logs() as lines:
        for token in tokens:
            await ask(service, "GET", "/v1/campaigns", token="", headers={"Authorization": f"Bearer {token}"})
    told = repr(lines)
    assert audited(lines)
    assert not [token for token in tokens if len(token) > 20 and token[10:30] in told]


async def test_a_flood_of_refusals_is_summed_up(service: World) -> None:
    """Given more refusals than lines, when a second has passed, then their sum is told, and none is missing."""
    asked = 10 * LINES_PER_S
    with capture_logs() as lines:
        await asyncio.gather(*(ask(service, "GET", "/v1/campaigns", token="x") for _ in range(asked)))
        async with asyncio.timeout(SUMMED_AFTER_S + PATIENCE_S):
            while not [one for one in lines if "count" in one]:
                await asyncio.sleep(0.05)
    sums = [one for one in lines if "count" in one]
    single = [one for one in audited(lines) if "status" in one]
    assert LINES_PER_S <= len(single) <= asked // 2
    assert len(single) + sum(one["count"] for one in sums) == asked
    assert (sums[0]["sources"], sums[0]["busiest"]) == (1, "127.0.0.1")


async def test_many_who_are_refused_write_no_more_lines_than_all_may(service: World) -> None:
    subjects = [f"agent{number}" for number in range(2 * ALL_LINES_PER_S)]
    tokens = [token_of(service, Role.AGENT, one) for one in subjects]
    with capture_logs() as lines:
        await asyncio.gather(*(ask(service, "GET", "/v1/webhooks", token=one) for one in tokens))
        await service.service.stop()  # what wasn't told yet is told at the end
    single = [one for one in audited(lines) if "status" in one]
    assert len(single) + sum(one["count"] for one in audited(lines) if "count" in one) == len(subjects)
    assert len({one["subject"] for one in single}) == len(single)


@pytest.mark.parametrize("role", [Role.AGENT, Role.CRM])
async def test_refusals_are_counted_whether_told_or_not(service: World, role: Role) -> None:
    token = token_of(service, role, "agent1")
    for _ in range(3 * LINES_PER_S):
        await ask(service, "GET", "/v1/webhooks", token=token)
        await ask(service, "GET", "/v1/webhooks", token="")
    found = await read(service)
    assert {labels: n for (name, labels), n in found.items() if name == "ringfold_refusals_total"} == {
        ("forbidden", role.value, "/v1/webhooks"): 3 * LINES_PER_S,
        ("unauthenticated", "none", "/v1/webhooks"): 3 * LINES_PER_S,
    }


async def test_who_asks_too_much_is_told_and_counted_as_well(tmp_path: Path, pbx: SimulatedPbx) -> None:
    """429: with the subject, and which it was: their share of requests, or how many are under way."""
    settings = settings_for(tmp_path, ami_of(pbx))
    http = msgspec.structs.replace(settings.http, requests_per_second=1, burst_requests=2, max_in_flight=1)
    async with running(msgspec.structs.replace(settings, http=http)) as service:
        quick, busy = (token_of(service, Role.CRM, one) for one in ("quick", "busy"))
        with capture_logs() as lines:
            for _ in range(3):
                await ask(service, "GET", "/v1/campaigns", token=quick)
            polling = asyncio.create_task(ask(service, "GET", "/v1/events?after=now&wait=30", token=busy))
            await service.until(lambda: bool(service.service.notifier._feed._waiters))
            await ask(service, "GET", "/v1/campaigns", token=busy)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        assert [(one["subject"], one["status"], one["code"], one["route"]) for one in audited(lines)] == [
            ("quick", 429, "too-many-requests", "/v1/campaigns"),
            ("busy", 429, "too-many-in-flight", "/v1/campaigns"),
        ]
        found = await read(service)
        assert found["ringfold_refusals_total", ("too-many-requests", "crm", "/v1/campaigns")] == 1
        assert found["ringfold_refusals_total", ("too-many-in-flight", "crm", "/v1/campaigns")] == 1
