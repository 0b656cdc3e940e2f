"""Webhooks over HTTP: put, shown without their secret, replayed, removed."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError

from simulations.pbx import SimulatedPbx
from tests.adapters.notify.test_signing import verified_by
from tests.api.asking import Untouched, ask, problem
from tests.world import World

HOOKS, HOOK = "/v1/webhooks", "/v1/webhooks/crm"
SECRET = "whsec_" + "QUJD" * 10
PATIENCE_S = 15


class Receiver:
    """Takes notifications and keeps them."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.sent: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.sent.append((dict(request.headers), body))
        found = json.loads(body)
        self.got += found if isinstance(found, list) else [found]
        return web.Response(status=self.status)


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
    assert (await ask(service, "GET", HOOKS)).body == {"webhooks": [], "next": None}


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


# -- secrets ------------------------------------------------------------------------------------------------------------


def fits(secret: str, sent: tuple[dict[str, str], bytes]) -> bool:
    try:
        StandardWebhook(secret).verify(sent[1], sent[0])
    except WebhookVerificationError:
        return False
    return True


async def renamed(service: World, receiver: Receiver, name: str) -> tuple[dict[str, str], bytes]:
    """What the receiver gets when a campaign is renamed."""
    before = len(receiver.sent)
    await service.manager.call("PATCH", "/v1/campaigns/spring", {"name": name})
    await service.until(lambda: len(receiver.sent) > before)
    return receiver.sent[-1]


async def test_a_secret_is_made_and_told_once(service: World, receiver: Receiver) -> None:
    await service.campaign("spring", [], agents=())
    body = {"url": receiver.url, "types": ["campaign.renamed"]}
    made = await ask(service, "PUT", HOOK, body)
    assert made.status == 201
    secret = made.body["secret"]
    for answer in (await ask(service, "PUT", HOOK, body), await ask(service, "GET", HOOK)):
        assert answer.status == 200
        assert "secret" not in answer.body
    sent = await renamed(service, receiver, "A")
    assert fits(secret, sent)
    (public,) = made.body["public_keys"]
    assert verified_by(public, *sent)


@pytest.mark.parametrize("grace_s", [600, 0])
async def test_two_secrets_and_keys_while_they_are_rotated(service: World, receiver: Receiver, grace_s: int) -> None:
    await service.campaign("spring", [], agents=())
    made = await ask(service, "PUT", HOOK, {"url": receiver.url, "types": ["campaign.renamed"]})
    rotated = await ask(service, "POST", f"{HOOK}/rotate", {"grace_s": grace_s})
    assert rotated.status == 200
    former, present = made.body["secret"], rotated.body["secret"]
    assert former != present
    assert rotated.body["public_keys"][0] != made.body["public_keys"][0]
    sent = await renamed(service, receiver, "A")
    assert fits(present, sent)
    assert fits(former, sent) == (grace_s > 0)
    assert verified_by(rotated.body["public_keys"][0], *sent)
    assert verified_by(made.body["public_keys"][0], *sent) == (grace_s > 0)
    assert (rotated.body["former_secret_until"] is None) == (grace_s == 0)
    own = await ask(service, "POST", f"{HOOK}/rotate", {"secret": SECRET, "grace_s": 0})
    assert "secret" not in own.body
    again = await ask(service, "POST", f"{HOOK}/rotate", {"secret": SECRET, "grace_s": 600})
    assert again.body["public_keys"] == own.body["public_keys"]  # asked again, nothing more changes
    assert fits(SECRET, await renamed(service, receiver, "B"))


# -- trying out, resuming, coming again ------------------------------------------------------------------------------------


async def test_a_ping_and_an_example_are_sent_at_once_and_are_no_news(service: World, receiver: Receiver) -> None:
    await ask(service, "PUT", HOOK, {"url": receiver.url, "secret": SECRET})
    await service.until(lambda: "crm" in service.service.notifier.reports())
    position = service.service.notifier.position
    ping = await ask(service, "POST", f"{HOOK}/ping", {})
    assert (ping.status, ping.body["status"], ping.body["error"]) == (200, 204, "")
    tested = await ask(service, "POST", f"{HOOK}/test", {"type": "call.ended"})
    assert tested.body["status"] == 204
    assert [(one["type"], one["seq"], one["cursor"]) for one in receiver.got] == [
        ("webhook.ping", 0, ""),
        ("call.ended", 0, ""),
    ]
    assert receiver.got[1]["id"].startswith("test_")
    assert all(fits(SECRET, one) for one in receiver.sent)
    assert service.service.notifier.position == position
    receiver.status = 500
    failed = await ask(service, "POST", f"{HOOK}/ping", {})
    assert (failed.status, failed.body["status"], failed.body["error"]) == (200, 500, "HTTP 500")


async def test_a_receiver_that_is_gone_is_shown_parked_and_resumed(service: World, receiver: Receiver) -> None:
    receiver.status = 410
    await ask(service, "PUT", HOOK, {"url": receiver.url, "secret": SECRET, "types": ["campaign.created"]})
    await service.campaign("spring", [], agents=())
    async with asyncio.timeout(PATIENCE_S):
        while not (shown := (await ask(service, "GET", HOOK)).body)["parked"]:
            await asyncio.sleep(0.02)
    assert (shown["parked_for"], shown["attempts"]["refused"]) == ("gone", 1)
    assert shown["behind"] >= 1
    receiver.status = 204
    assert (await ask(service, "POST", f"{HOOK}/resume", {})).status == 202
    await service.until(lambda: len(receiver.got) == 2)
    assert receiver.got[0] == receiver.got[1]
    assert (await ask(service, "GET", HOOK)).body["parked"] is False


async def test_batches_by_http(service: World, receiver: Receiver) -> None:
    await service.campaign("spring", [], agents=())
    batch = {"max_items": 10, "max_wait_ms": 50}
    body = {"url": receiver.url, "secret": SECRET, "types": ["campaign.renamed"], "batch": batch}
    shown = await ask(service, "PUT", HOOK, body)
    assert shown.body["batch"] == batch
    for name in "ABC":
        await service.manager.call("PATCH", "/v1/campaigns/spring", {"name": name})
    await service.until(lambda: len(receiver.got) == 3)
    assert all(isinstance(json.loads(content), list) for _, content in receiver.sent)
    assert [one["data"]["new"] for one in receiver.got] == ["A", "B", "C"]


async def test_a_replay_from_a_time(service: World, receiver: Receiver) -> None:
    await ask(service, "PUT", HOOK, {"url": receiver.url, "secret": SECRET})
    await service.campaign("spring", [], agents=())
    await service.until(lambda: len(receiver.got) == 1)
    for wrong in ({"after": "", "since": "2026-01-01T00:00:00Z"}, {}, {"since": "yesterday"}):
        assert (await ask(service, "POST", f"{HOOK}/replay", wrong)).status == 422
    ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    assert (await ask(service, "POST", f"{HOOK}/replay", {"since": ahead})).status == 202
    await asyncio.sleep(0.2)
    assert len(receiver.got) == 1
    assert (await ask(service, "POST", f"{HOOK}/replay", {"since": "2020-01-01T00:00:00Z"})).status == 202
    await service.until(lambda: len(receiver.got) == 2)
    assert receiver.got[0] == receiver.got[1]


async def test_webhooks_are_bounded_and_those_that_are_there_can_still_be_changed(
    service: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.core.webhook.MAX_WEBHOOKS", 2)
    url = {"url": "http://127.0.0.1:9/"}
    for name in ("one", "two"):
        assert (await ask(service, "PUT", f"/v1/webhooks/{name}", url)).status == 201
    problem(await ask(service, "PUT", "/v1/webhooks/three", url), 409, "too-many-webhooks")
    assert (await ask(service, "PUT", "/v1/webhooks/two", url | {"types": ["call.ended"]})).status == 200
    assert (await ask(service, "DELETE", "/v1/webhooks/one")).status == 204
    assert (await ask(service, "PUT", "/v1/webhooks/three", url)).status == 201
