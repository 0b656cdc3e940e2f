"""No room now: 503 with the time to come back, and nothing done."""

import msgspec
import pytest

from simulations.pbx import SimulatedPbx
from tests.api.asking import Answer, Untouched, ask, problem, token_of
from tests.world import World

SPRING = "/v1/campaigns/spring"


def try_again(answer: Answer, code: str) -> None:
    problem(answer, 503, code)
    assert int(answer.headers["Retry-After"]) >= 1


async def holding(service: World) -> tuple[str, str]:
    """A running campaign whose agent holds a contact: the address to dial it at, and the token."""
    await service.campaign("spring", [["15550001"]])
    await service.run("spring")
    held = (await service.agent("agent1").call("POST", "/v1/agents/agent1/next", {}))["reservation"]
    return f"/v1/reservations/{held['id']}/dial", held["token"]


async def test_without_the_pbx_nothing_is_dialled(service: World, pbx: SimulatedPbx) -> None:
    dial, token = await holding(service)
    pbx.refuse_connections()
    pbx.cut()
    await service.until(lambda: not service.service.engine.claims.pbx_up)
    untouched = Untouched(service, pbx)
    try_again(await ask(service, "POST", dial, {"token": token}), "pbx-down")
    untouched.check()
    ready = await ask(service, "GET", "/readyz")
    assert (ready.status, ready.body) == (503, {"ready": False})
    assert int(ready.headers["Retry-After"]) >= 1
    health = await ask(service, "GET", "/v1/health")
    assert "pbx" in health.body["missing"][0]
    assert "pbx" in [one["reason"] for one in health.body["campaigns"][0]["dialing"]["waits_for"]]  # EX-13
    pbx.refuse_connections(False)
    await service.until(lambda: service.service.engine.claims.pbx_up)
    assert (await ask(service, "GET", "/readyz")).status == 200


async def test_while_draining_no_call_is_taken_and_the_rest_goes_on(service: World, pbx: SimulatedPbx) -> None:
    dial, token = await holding(service)
    service.service.engine.draining = True
    untouched = Untouched(service, pbx)
    try_again(await ask(service, "POST", dial, {"token": token}), "draining")
    untouched.check()
    assert (await ask(service, "GET", "/readyz")).status == 503
    health = await ask(service, "GET", "/v1/health")
    assert (health.body["missing"], health.body["draining"]) == (["draining"], True)
    assert (await ask(service, "GET", "/livez")).body == {"live": True}
    assert (await ask(service, "PATCH", SPRING, {"name": "Still edited"})).status == 202


async def test_a_full_mailbox_refuses_and_takes_nothing(
    service: World, pbx: SimulatedPbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    dial, token = await holding(service)
    running = service.service.engine.campaigns["spring"]
    untouched = Untouched(service, pbx)
    monkeypatch.setattr(running.actor, "_mailbox_messages", 0)
    row = {"ref": "spring:1", "numbers": ["15550001"]}  # known: the directory has nothing to write
    for method, path, body in (
        ("POST", dial, {"token": token}),
        ("PATCH", SPRING, {"name": "New"}),
        ("PATCH", SPRING, {"state": "stopped"}),
        ("POST", f"{SPRING}/contacts", [row]),
        ("POST", f"{SPRING}/contacts/spring:1/cancel", {}),
        ("PUT", f"{SPRING}/agents/agent1", {"weight": 2}),
        ("PATCH", "/v1/agents/agent1", {"state": "offline"}),
    ):
        try_again(await ask(service, method, path, body), "mailbox-full")
    untouched.check()
    monkeypatch.undo()
    assert (await ask(service, "POST", dial, {"token": token})).status == 202


async def test_a_campaign_lost_to_another_owner_is_unavailable(service: World) -> None:
    await service.campaign("spring", [])
    running = service.service.engine.campaigns["spring"]
    running.actor.lost = RuntimeError("another owner has it")
    try_again(await ask(service, "PATCH", SPRING, {"name": "New"}), "unavailable")
    running.actor.lost = None


async def test_a_failure_that_nobody_foresaw_says_nothing_of_the_inside(
    service: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.campaign("spring", [])
    token = token_of(service)

    def broken(*_: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(service.service.engine, "campaign", broken)
    answer = await ask(service, "GET", SPRING, token=token)
    problem(answer, 500, "internal")
    assert b"secret" not in answer.raw
    assert b"Traceback" not in answer.raw


async def test_a_body_that_does_not_come_is_not_waited_for(service: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from api import route

    short = msgspec.structs.replace(route.HttpLimits(), max_upload_s=1)
    monkeypatch.setattr(route.Call, "limits", property(lambda _: short), raising=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.service.port)
    writer.write(
        b"PUT /v1/campaigns/spring HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer " + token_of(service).encode() + b"\r\n\r\n{"
    )
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
