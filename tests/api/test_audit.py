"""Whoever is refused is written down: who, for what and why; bounded, and never what they sent as a token."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.audit import ALL_LINES_PER_S, LINES_PER_S, SUMMED_AFTER_S
from api.token import Role
from tests.api.asking import ask, token_of
from tests.api.wrong_tokens import WRONG
from tests.world import PATIENCE_S, World

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
    before = service.service.engine.measures.answers["GET", "/v1/webhooks", 403]
    token = token_of(service, role, "agent1")
    for _ in range(3 * LINES_PER_S):
        await ask(service, "GET", "/v1/webhooks", token=token)
    assert service.service.engine.measures.answers["GET", "/v1/webhooks", 403] == before + 3 * LINES_PER_S
