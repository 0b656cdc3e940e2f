"""Idempotency-Key, against a running service."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.problem import Problem
from api.repeat import KEPT_MS, MAX_KEYS, Repeats
from api.token import Role
from tests.api.asking import ask, problem, token_of
from tests.world import World

NOW = 1_000_000


async def test_a_repeat_gives_the_first_answer_and_is_done_once(service: World) -> None:
    """TF-05, EX-01: a lost answer is asked for again."""
    await service.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1",))
    path, body, key = "/v1/campaigns/spring/contacts/spring:1/cancel", {"reason": "asked to"}, {"Idempotency-Key": "k1"}
    first = await ask(service, "POST", path, body, headers=key)
    position = service.service.engine.campaigns["spring"].actor.log.position
    again = await ask(service, "POST", path, body, headers=key)
    assert (first.status, again.status, again.raw) == (202, 202, first.raw)
    assert ("Ringfold-Replayed" in first.headers, again.headers["Ringfold-Replayed"]) == (False, "true")
    assert service.service.engine.campaigns["spring"].actor.log.position == position
    problem(await ask(service, "POST", path, {"reason": "other"}, headers=key), 422, "idempotency-key-reused")
    problem(await ask(service, "POST", path, body, headers={"Idempotency-Key": "a b"}), 400, "bad-idempotency-key")
    other = token_of(service, Role.ADMINISTRATOR, "somebody-else")
    answer = await ask(service, "POST", path, body, headers=key, token=other)
    assert "Ringfold-Replayed" not in answer.headers, "another's keys are their own"


async def test_a_refusal_is_decided_anew(service: World) -> None:
    await service.campaign("spring", [["15550001"]], agents=("agent1",))
    path, key = "/v1/campaigns/spring/contacts/spring:9/cancel", {"Idempotency-Key": "k1"}
    problem(await ask(service, "POST", path, {}, headers=key), 404, "unknown-contact")
    row = [{"ref": "spring:9", "numbers": ["15550009"]}]
    await service.manager.call("POST", "/v1/campaigns/spring/contacts", row)
    assert (await ask(service, "POST", path, {}, headers=key)).status == 202


async def test_under_way_is_409_and_old_keys_are_forgotten() -> None:
    repeats, gate, done = Repeats(), asyncio.Event(), 0

    async def slow() -> web.StreamResponse:
        nonlocal done
        await gate.wait()
        done += 1
        return web.Response(status=202, body=b"{}")

    def once(key: str, now: int = NOW) -> asyncio.Task[web.StreamResponse]:
        request = make_mocked_request("POST", "/x", headers={"Idempotency-Key": key})
        return asyncio.ensure_future(repeats.once(request, "me", b"", now, slow))

    first = once("a")
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="not answered yet"):
        await once("a")
    gate.set()
    await first
    await once("a")
    assert done == 1
    await once("a", NOW + KEPT_MS)
    assert done == 2
    for one in range(MAX_KEYS + 5):
        await once(f"k{one}", NOW + KEPT_MS)
    assert len(repeats._known) <= MAX_KEYS
