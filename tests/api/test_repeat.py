"""Idempotency-Key, against a running service."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.problem import Problem
from api.repeat import REPLAYED, Repeats
from api.token import Role
from engine.housekeeping import ANSWERS_KEPT_MS
from engine.ports import KeptAnswer, StoreUnavailable
from eventstore import Codec, Store
from eventstore.memory import MemoryStore
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, problem, token_of
from tests.conftest import ami_of
from tests.eventstore.events import TestEvent
from tests.world import World, running, settings_for


class Clock:
    now = 1_000_000

    def now_ms(self) -> int:
        return self.now


class Fragile(MemoryStore):
    """Away when told."""

    away = False

    async def answer(self, owner: str, key: str) -> KeptAnswer | None:
        if self.away:
            raise StoreUnavailable("away")
        return await super().answer(owner, key)

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await super().keep_answer(owner, key, answer, most)


@pytest.fixture
def store() -> Fragile:
    return Fragile()


def over(segments: MemoryStore) -> Store:
    return Store(segments, Codec(TestEvent), "one", 1_000)


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


async def test_under_way_is_409_and_what_was_given_is_given_again(store: Fragile) -> None:
    clock = Clock()
    repeats, gate, done = Repeats(over(store), clock), asyncio.Event(), 0

    async def slow() -> web.StreamResponse:
        nonlocal done
        await gate.wait()
        done += 1
        return web.Response(status=202, body=b"{}", headers={"Location": "/x"})

    def once(key: str, raw: bytes = b"") -> asyncio.Task[web.StreamResponse]:
        request = make_mocked_request("POST", "/x", headers={"Idempotency-Key": key})
        return asyncio.ensure_future(repeats.once(request, "me", raw, slow))

    first = once("a")
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="not answered yet"):
        await once("a")
    with pytest.raises(Problem, match="another request"):
        await once("a", b"other")
    gate.set()
    await first
    again = await once("a")
    assert (done, again.headers["Location"]) == (1, "/x")
    with pytest.raises(Problem, match="another request"):
        await once("a", b"other")
    repeats = Repeats(over(store), clock)  # another process
    assert (await once("a")).headers["Ringfold-Replayed"] == "true"
    clock.now += ANSWERS_KEPT_MS
    await once("a", b"other")
    assert done == 2, "after a day the key is free"


async def test_what_failed_or_was_refused_is_not_kept(store: Fragile) -> None:
    repeats, clock = Repeats(over(store), Clock()), Clock()
    assert clock.now_ms()
    outcomes: list[Any] = [Problem(409, "no-attempt", "no"), RuntimeError("x"), asyncio.CancelledError(), 503, 202]
    for one in outcomes:

        async def do(one: Any = one) -> web.StreamResponse:
            if isinstance(one, BaseException):
                raise one
            return web.Response(status=one, body=b"{}")

        request = make_mocked_request("POST", "/x", headers={"Idempotency-Key": "a"})
        with contextlib.suppress(Problem, RuntimeError, asyncio.CancelledError):
            answer = await repeats.once(request, "me", b"", do)
            assert REPLAYED not in answer.headers
    assert (await over(store).answer("me", "a")) is not None


async def test_a_store_that_is_away_refuses_before_and_hides_no_answer_after(store: Fragile) -> None:
    """Before anything is done the client is told to come again; what was done is answered."""
    done = 0

    async def do() -> web.StreamResponse:
        nonlocal done
        done += 1
        store.away = True
        return web.Response(status=202, body=b"{}")

    repeats = Repeats(over(store), Clock())
    request = make_mocked_request("POST", "/x", headers={"Idempotency-Key": "a"})
    assert (await repeats.once(request, "me", b"", do)).status == 202
    with pytest.raises(StoreUnavailable):
        await repeats.once(request, "me", b"", do)
    assert done == 1


async def test_a_token_has_so_many_requests_under_way_and_another_is_served(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    http = msgspec.structs.replace(settings.http, max_in_flight=3)
    async with running(msgspec.structs.replace(settings, http=http)) as service:
        greedy, modest = token_of(service), token_of(service)
        polls = [asyncio.ensure_future(ask(service, "GET", "/v1/events?wait=2", token=greedy)) for _ in range(3)]
        await service.until(lambda: service.service.notifier is not None)
        await asyncio.sleep(0.3)
        refused = await ask(service, "GET", "/v1/campaigns", token=greedy)
        problem(refused, 429, "too-many-in-flight")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await ask(service, "GET", "/v1/campaigns", token=modest)).status == 200
        assert [(await one).status for one in polls] == [200] * 3
        assert (await ask(service, "GET", "/v1/campaigns", token=greedy)).status == 200
