"""A day in the life, on the real Asterisk: a list with faults, three agents, a CRM, a number not to be called, the end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.token import Role
from simulations.client import Problem
from tests.api.asking import Answer, ask
from tests.asterisk.test_service import dial, take, world
from tests.world import World

__all__ = ["world"]

ANSWERS, BUSY = "+1201555{:04}", "+2023456{:04}"
"""Numbers of countries whose first digit the carrier knows: 1 answers, 2 is busy."""
HEADER = "ref,number1,number2,number3,name,priority,agent,city"
SPRING = "/v1/campaigns/spring"


def row(place: int, *numbers: str, priority: str = "", agent: str = "") -> str:
    return ",".join(
        [f"spring:{place}", *numbers, *[""] * (3 - len(numbers)), f"Person {place}", priority, agent, "Cali"]
    )


GOOD = [
    row(1, BUSY.format(101), BUSY.format(102), ANSWERS.format(103), priority="high"),
    *(
        row(place, ANSWERS.format(place * 10), ANSWERS.format(place * 10 + 1), BUSY.format(place))
        for place in range(2, 9)
    ),
    row(9, ANSWERS.format(900), agent="agent3"),
]
WRONG = [row(10), row(11, "12"), row(12, ANSWERS.format(120), priority="urgent")]


async def upload(world: World, rows: list[str]) -> dict[str, Any]:
    """The import once it was checked."""
    answer = await ask(
        world,
        "POST",
        "/v1/imports?campaign=spring&mode=add&region=US&name=spring.csv",
        raw="\n".join([HEADER, *rows]).encode(),
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status == 202, answer.raw
    return await settled(world, answer.body["id"], "validating")


async def settled(world: World, name: str, passing: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            shown: dict[str, Any] = await world.manager.call("GET", f"/v1/imports/{name}")
            if shown["state"] != passing:
                return shown
            await asyncio.sleep(0.05)


async def act(world: World, agent: str, held: dict[str, Any], what: str, **body: Any) -> Any:
    path = f"/v1/reservations/{held['id']}/{what}"
    return await world.agent(agent).call("POST", path, {"token": held["token"], **body})


async def ended(world: World, call: str) -> dict[str, Any]:
    told: dict[str, Any] = (await world.told("spring", "call.ended", patience_s=30, call=call))["data"]
    return told


async def talk(world: World, agent: str, call: str) -> None:
    await world.told("spring", "call.bridged", patience_s=30, call=call)
    await world.agent(agent).call("POST", f"/v1/calls/{call}/hangup", {})
    assert (await ended(world, call))["outcome"] == "answered"


async def test_a_day_in_the_life(world: World) -> None:
    agents = ("agent1", "agent2", "agent3")
    await world.campaign("spring", [], agents=agents, ring_timeout_s=15, reservation_timeout_s=4)

    # A list with faults: every one is named, nothing is stored; corrected, it is.
    faulty = await upload(world, [*GOOD, *WRONG])
    assert faulty["state"] == "invalid"
    assert {one["row"] for one in faulty["errors"]} == {11, 12, 13}
    assert all(one["column"] and one["reason"] for one in faulty["errors"])
    assert (await world.manager.call("GET", f"{SPRING}/contacts"))["contacts"] == []
    checked = await upload(world, GOOD)
    assert checked["state"] == "valid", checked
    await world.manager.call("POST", f"/v1/imports/{checked['id']}/confirm", {})
    assert (await settled(world, checked["id"], "importing"))["state"] == "done"
    assert (await world.manager.call("GET", SPRING))["contacts"]["waiting"] == len(GOOD)
    await world.run("spring")

    # The first agent gets the one of high priority, tries its numbers, and talks on the third.
    first = await take(world.agent("agent1"), "agent1")
    assert first["contact"]["ref"] == "spring:1"
    for _ in range(2):
        assert (await ended(world, await dial(world.agent("agent1"), first)))["outcome"] == "busy"
    await talk(world, "agent1", await dial(world.agent("agent1"), first))
    await act(world, "agent1", first, "disposition", disposition="engaged")

    # The second skips one, and promises a callback to the next.
    skipped = await take(world.agent("agent2"), "agent2")
    await act(world, "agent2", skipped, "skip", reason="not now")
    second = await take(world.agent("agent2"), "agent2")
    assert second["contact"]["ref"] != skipped["contact"]["ref"]
    await talk(world, "agent2", await dial(world.agent("agent2"), second))
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    await act(world, "agent2", second, "disposition", disposition="callback", callback={"at": soon})

    # The third lets the contact that was assigned to them lapse; another may have had it then, but it stays theirs.
    third = await take(world.agent("agent3"), "agent3")
    assert third["contact"]["ref"] == "spring:9"
    lapsed = await world.told("spring", "contact.released", patience_s=10, contact="spring:9")
    assert lapsed["data"]["reason"] == "expired"
    with pytest.raises(Problem):
        await dial(world.agent("agent3"), third)

    # A CRM has the third agent call it after all.
    crm = world.service.keys.mint(Role.CRM, "suite", 600, agents=("agent3",))
    click = {"request_id": "deal-7", "campaign": "spring", "agent": "agent3", "contact": "spring:9"}
    clicked: list[Answer] = [await ask(world, "POST", "/v1/calls", click, token=crm) for _ in range(2)]
    assert [one.status for one in clicked] == [202, 202]
    assert clicked[0].body == clicked[1].body
    call = clicked[0].body["call_id"]
    await talk(world, "agent3", call)
    closing = {"disposition": "not_interested"}
    assert (await ask(world, "POST", f"/v1/calls/{call}/disposition", closing, token=crm)).status == 202

    # The callback comes back to who promised it.
    await asyncio.sleep(2)
    back = await take(world.agent("agent2"), "agent2")
    assert back["contact"]["ref"] == second["contact"]["ref"]
    await act(world, "agent2", back, "disposition", disposition="engaged")

    # A number that isn't to be called is not, and the reason can be had.
    listed = await take(world.agent("agent1"), "agent1")
    numbers = [one["number"] for one in listed["numbers"]]
    await world.admin.call("POST", "/v1/dnc", {"numbers": numbers})
    with pytest.raises(Problem) as refused:
        await dial(world.agent("agent1"), listed)
    assert refused.value.code == "dial-forbidden"
    told = await world.manager.call("GET", f"/v1/explain?contact={listed['contact']['ref']}")
    assert {one["rule"] for one in told["numbers"]} == {"dnc"}
    assert "contact.dial_refused" in [one["event"] for one in told["history"]]
    await act(world, "agent1", listed, "release", reason="not to be called")

    # The end: stop, wait for stopped, remove.
    await world.ask("spring", "stopped")
    await world.told("spring", "campaign.status", patience_s=20, state="stopped")
    await world.manager.call("DELETE", SPRING)
    await world.told("spring", "campaign.deleted", patience_s=10)
    story = await world.notifications("spring")
    assert [one["seq"] for one in story] == list(range(1, len(story) + 1))
