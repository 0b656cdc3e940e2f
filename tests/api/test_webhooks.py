"""Webhooks over HTTP: put, shown without their secret, replayed, removed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from simulations.pbx import SimulatedPbx
from tests.api.asking import Untouched, ask, problem
from tests.world import World

HOOKS, HOOK = "/v1/webhooks", "/v1/webhooks/crm"
SECRET = "whsec_" + "QUJD" * 10
PATIENCE_S = 15


class Receiver:
    """Takes notifications and keeps them."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


async def test_a_webhook_from_put_to_delete(service: World, pbx: SimulatedPbx, receiver: Receiver) -> None:
    body = {"url": receiver.url, "secret": SECRET, "types": ["campaign.renamed"], "campaigns": ["spring"]}
    problem(await ask(service, "GET", HOOK), 404, "unknown-webhook")
    made = await ask(service, "PUT", HOOK, body)
    assert made.status == 201
    untouched = Untouched(service, pbx)
    assert (await ask(service, "PUT", HOOK, body)).status == 200
    untouched.check()
    shown = await ask(service, "GET", HOOK)
    assert {key: shown.body[key] for key in ("id", "url", "types", "campaigns")} == {
        "id": "crm",
        "url": receiver.url,
        "types": ["campaign.renamed"],
        "campaigns": ["spring"],
    }
    for answer in (made, shown, await ask(service, "GET", HOOKS)):
        assert b"whsec_" not in answer.raw  # a secret is told by the one who made it, never by us
    changed = await ask(service, "PUT", HOOK, body | {"types": []})
    assert (changed.status, changed.body["types"]) == (200, [])
    assert [one["id"] for one in (await ask(service, "GET", HOOKS)).body["webhooks"]] == ["crm"]
    assert (await ask(service, "DELETE", HOOK)).status == 204
    problem(await ask(service, "DELETE", HOOK), 404, "unknown-webhook")
    assert (await ask(service, "GET", HOOKS)).body == {"webhooks": []}


async def test_deliveries_are_shown_and_replayed(service: World, receiver: Receiver) -> None:
    body = {"url": receiver.url, "secret": SECRET, "types": ["campaign.renamed"]}
    await ask(service, "PUT", HOOK, body)
    await service.campaign("spring", [], agents=())
    for name in ("A", "B"):
        await service.manager.call("PATCH", "/v1/campaigns/spring", {"name": name})
    await service.until(lambda: len(receiver.got) == 2)
    assert [one["data"]["new"] for one in receiver.got] == ["A", "B"]
    found: list[dict[str, Any]] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < 2:  # the receiver has it before we have its answer
                found = (await ask(service, "GET", f"{HOOK}/deliveries?limit=10")).body["deliveries"]
                await asyncio.sleep(0.02)
    assert [(one["status"], one["error"]) for one in found] == [(204, ""), (204, "")]
    assert [one["notification"] for one in found] == [one["id"] for one in reversed(receiver.got)]
    wrong = await ask(service, "POST", f"{HOOK}/replay", {"after": "xyzzy"})
    problem(wrong, 422, "invalid-request")
    assert wrong.fields == ["after"]
    again = await ask(service, "POST", f"{HOOK}/replay", {"after": ""})
    assert again.status == 202
    await service.until(lambda: len(receiver.got) == 4)
    assert receiver.got[2:] == receiver.got[:2]  # EX-10: the same ids and bodies
