"""A receiver in trouble, and a service that is killed meanwhile: both at once, over HTTP, with processes that really die."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.pbx import Script
from simulations.receiver import Table
from tests.adapters.notify.house import SECRET
from tests.adapters.notify.receiver import Receiver
from tests.adapters.notify.receiver import Script as Trouble
from tests.service.test_crash import CAMPAIGN, Floor, assert_the_log_is_whole, floor, table_of
from tests.service.test_preview import act, take

OTHERS = ("autumn", "winter")
VANISHED = "vanished"
TROUBLES: tuple[Trouble, ...] = (500, "stall", "lost", VANISHED)
TIMEOUT_MS = 300
PATIENCE_S = 30


@pytest.mark.slow
async def test_TF_38_EX_10_outages_of_the_receiver_and_kills_of_the_service_together_lose_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Given a receiver that answers 500, stalls, loses its answers and vanishes, when the service is
    killed in each of these while calls go on, then in the end the receiver's own table is the fold of the log."""
    receiver = Receiver()
    await receiver.start()
    try:
        async with floor(tmp_path, Script(), 0.02, webhook_timeout_ms=TIMEOUT_MS) as one:
            await one.admin.call("PUT", "/v1/webhooks/manager", {"url": receiver.url, "secret": SECRET})
            await one.campaign([[f"1555000{place}"] for place in range(len(TROUBLES) + 1)], ["agent1"])
            for ref in OTHERS:
                await one.admin.call("PUT", f"/v1/campaigns/{ref}", {"name": ref})
            await one.ask("running")
            await one.told("campaign.status", state="running")
            for trouble in TROUBLES:
                await _killed_in(trouble, one, receiver)
            receiver.always = 204
            await _something_happens(one, "well again")
            await one.ask("stopped")
            await one.told("campaign.status", state="stopped")

            stories = {ref: await _story(one, ref) for ref in (CAMPAIGN, *OTHERS)}
            await _until(lambda: all(len(receiver.told[ref]) >= len(story) for ref, story in stories.items()))
            assert dict(receiver.told) == stories
            assert receiver.skipped == 0
            assert receiver.repeated > 0, "answers were lost, and nothing came twice"
            for ref, story in stories.items():
                assert receiver.seqs(ref) == list(range(1, len(story) + 1))
            table = table_of(receiver.told[CAMPAIGN])
            await _is_what_the_service_knows(one, table)
            digest = (await one.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}/digest"))["digest"]
            await assert_the_log_is_whole(one, digest)
            told = sum(map(len, stories.values()))
            record_property("kills, requests, delivered", f"{len(TROUBLES)}, {len(receiver.requests)}, {told}")
    finally:
        await receiver.stop()


async def _killed_in(trouble: Trouble, one: Floor, receiver: Receiver) -> None:
    """The trouble begins, lasts through the service's death, and is met again by its successor."""
    if trouble == VANISHED:
        await receiver.stop()
    receiver.always = 204 if trouble == VANISHED else trouble
    await _something_happens(one, f"before {trouble}")
    await _tried(one, receiver, trouble)
    await one.killed()
    await _something_happens(one, f"after {trouble}")
    await _tried(one, receiver, trouble)
    if trouble == VANISHED:
        await receiver.start()


async def _something_happens(one: Floor, name: str) -> None:
    """In each campaign; in one of them a contact is called and disposed of."""
    for ref in (CAMPAIGN, *OTHERS):
        await one.admin.call("PATCH", f"/v1/campaigns/{ref}", {"name": name})
    if not name.startswith("after"):
        agent = one.agent("agent1")
        held = await take(agent, "agent1")
        call = (await act(agent, held, "dial"))["call_id"]
        await one.told("call.bridged", call=call)
        await agent.call("POST", f"/v1/calls/{call}/hangup", {})
        await one.told("call.ended", call=call)
        await act(agent, held, "disposition", disposition="engaged")


async def _tried(one: Floor, receiver: Receiver, trouble: Trouble) -> None:
    """This process of the service has met the trouble."""
    before = len(receiver.requests)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            seen = (await one.admin.call("GET", "/v1/webhooks/manager/deliveries"))["deliveries"]
            if any(not 200 <= each["status"] < 300 for each in seen) and (
                trouble == VANISHED or len(receiver.requests) > before
            ):
                return
            await asyncio.sleep(0.02)


async def _story(one: Floor, ref: str) -> list[dict[str, Any]]:
    page = await one.admin.call("GET", f"/v1/events?after=&campaign={ref}&limit=1000")
    events: list[dict[str, Any]] = page["events"]
    assert len(events) < 1_000
    return events


async def _is_what_the_service_knows(one: Floor, table: Table) -> None:
    """Asked by another way than the feed."""
    shown = await one.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}")
    assert table.state == shown["state"] == "stopped"
    assert len(table.final) == shown["contacts"]["final"] == len(TROUBLES) + 1
    calls = (await one.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}/calls"))["calls"]
    assert table.ended == {each["id"] for each in calls}
    assert table.outcomes == {"answered": len(calls)}


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.02)
