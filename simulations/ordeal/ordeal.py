"""One run: agents work through a list while everything around them is killed; then calm, an end, and the judgement."""

import asyncio
import base64
import secrets
import time
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from config.settings import load
from engine.campaigns import log_of
from engine.ports import Recorded
from engine.service import open_log_store
from simulations.asterisk import Installation
from simulations.client import LOST, Problem
from simulations.ordeal.channel import Channel, living, written
from simulations.ordeal.crew import Crew
from simulations.ordeal.fault import Fault, Storm
from simulations.ordeal.floor import CAMPAIGN, Floor
from simulations.ordeal.judge import Verdict, judge
from simulations.receiver import Receiver, Table

CALM_WITHIN_S = 120.0
"""After the last fault: until everything has ended."""
LOOK_EVERY_S = 0.1
DIGITS = "1613126713451861"
"""First digits of the numbers, by which the carrier knows what to do: many who answer and stay, some for each other end."""
CONTACTS_PER_AGENT_MINUTE = 40
PAUSE_S = (1.0, 6.0)
SECOND_FAULT = 0.25


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    seed: int
    agents: int = 8
    lines: int = 6
    in_setup: int = 4
    pause_s: tuple[float, float] = PAUSE_S
    second: float = SECOND_FAULT


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to. `violations` begin with the invariant's number, as in the simulated world."""

    seed: int
    seconds: float
    store: str
    faults: dict[str, int]
    not_struck: dict[str, str]
    """Faults that this machine can't have, each with the reason."""
    engine_ended_itself: int
    calls: int
    outcomes: dict[str, int]
    legs: int
    lost_legs: int
    notifications: int
    repeated: int
    lost_answers: int
    violations: list[str]
    ghosts: int
    stuck: int
    digest: str

    @property
    def holds(self) -> bool:
        return not (self.violations or self.ghosts or self.stuck)


async def ordeal(folder: Path, plan: Plan, installation: Installation, with_postgres: bool) -> Outcome:
    """Raises NotInstalled, NotBooted, NotListening."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    receiver = Receiver(secret)
    await receiver.start()
    try:
        async with Floor(
            folder,
            agents=plan.agents,
            installation=installation,
            with_postgres=with_postgres,
            through_lines=True,
            on_disk=True,
            in_setup=plan.in_setup,
        ) as floor:
            await floor.engine.start()
            await floor.admin.call("PUT", "/v1/webhooks/receiver", {"url": receiver.url, "secret": secret})
            await floor.found(_people(plan), _settings(plan))
            storm = Storm(floor, Random(f"{plan.seed}/faults"), pause_s=plan.pause_s, second=plan.second)
            crew = Crew(floor, plan.seed)
            await _work(floor, plan, storm, crew)
            return await _judged(floor, plan, storm, crew, receiver)
    finally:
        await receiver.stop()


def _people(plan: Plan) -> list[dict[str, Any]]:
    """More than can be worked through; every ninth has a number in common with the one before, as families do."""
    chance = Random(f"{plan.seed}/people")
    rows: list[dict[str, Any]] = []
    for place in range(round(CONTACTS_PER_AGENT_MINUTE * plan.agents * max(1, plan.seconds / 60))):
        numbers = [f"{chance.choice(DIGITS)}555{place:05}{number}" for number in range(chance.choice((1, 1, 2)))]
        if place % 9 == 8:
            numbers[0] = rows[-1]["numbers"][0]
        rows.append({"ref": f"{CAMPAIGN}:{place:05}", "name": f"Person {place}", "numbers": numbers})
    return rows


def _settings(plan: Plan) -> dict[str, Any]:
    return {
        "max_lines": plan.lines,
        "reservation_timeout_s": 5,
        "ring_timeout_s": 15,
        "dispose_without_attempt": True,
        "number_attempts_per_day": 2,
    }


async def _work(floor: Floor, plan: Plan, storm: Storm, crew: Crew) -> None:
    """Until the time is over, everything is mended, the campaign has stopped and nobody has anything in hand."""
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(floor.keeper.watch(), name="keeper")
        await floor.keeper.start()
        working = group.create_task(crew.work(), name="crew")
        await _until_taken(floor, "running")
        async with asyncio.timeout(CALM_WITHIN_S):
            await crew.board.running.wait()
        await storm.rage(plan.seconds)
        async with asyncio.timeout(CALM_WITHIN_S):
            await _until_taken(floor, "stopped")
            await crew.close_up(working)
        await floor.keeper.rest()
        keeping.cancel()


async def _until_taken(floor: Floor, state: str) -> None:
    """Ask again where nobody answered: asked twice is asked once."""
    while True:
        try:
            return await floor.ask(state)
        except LOST:
            pass
        except Problem as problem:
            if problem.status == 409:
                return None
            if problem.status != 503:
                raise
        await asyncio.sleep(LOOK_EVERY_S)


async def _judged(floor: Floor, plan: Plan, storm: Storm, crew: Crew, receiver: Receiver) -> Outcome:
    told = Table()
    for one in await _story(floor):
        told.next_seq = one["seq"] + 1
        told.take(one)
    left = await _left(floor)
    missing = await _missing(receiver, told)
    digest = str((await floor.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}/digest"))["digest"])
    await floor.engine.stop()
    code, said = await floor.engine.command("verify")
    verdict = await _verdict(floor, plan, storm)
    violations = [*verdict.violations, *missing]
    if code or digest not in said:
        violations.append(f"4: the log replayed isn't the live state: {said.strip()[-300:]}")
    return Outcome(
        seed=plan.seed,
        seconds=plan.seconds,
        store="postgresql" if floor.postgres else "sqlite",
        faults={str(name): count for name, count in sorted(storm.struck.items())},
        not_struck={str(Fault.STORE_DISK_FULL): floor.diskless} if floor.diskless else {},
        engine_ended_itself=floor.keeper.gave_up,
        calls=verdict.calls,
        outcomes=verdict.outcomes,
        legs=verdict.legs,
        lost_legs=verdict.lost_legs,
        notifications=receiver.received,
        repeated=receiver.repeated,
        lost_answers=sum(desk.lost for desk in crew.desks),
        violations=violations,
        ghosts=verdict.ghosts + len(left),
        stuck=verdict.stuck,
        digest=digest,
    )


async def _verdict(floor: Floor, plan: Plan, storm: Storm) -> Verdict:
    """From the log as it lies in the store, and the PBX's own record."""
    store = await open_log_store(load(floor.engine.config))
    try:
        events: list[Recorded] = []
        async for batch in store.read(log_of(CAMPAIGN)):
            events += batch
    finally:
        await store.close()
    pbx = floor.site.asterisk
    return judge(
        log_of(CAMPAIGN), events, written(pbx.cel_path), storm.pbx_deaths, pbx.trunk, plan.lines, plan.in_setup
    )


async def _story(floor: Floor) -> list[dict[str, Any]]:
    """All that the feed tells of the campaign."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await floor.admin.call("GET", f"/v1/events?after={cursor}&campaign={CAMPAIGN}&limit=1000")
        if not page["events"]:
            return found
        found, cursor = found + page["events"], page["cursor"]


async def _missing(receiver: Receiver, told: Table) -> list[str]:
    """What the receiver of webhooks wasn't told as the feed tells it."""
    until = time.monotonic() + CALM_WITHIN_S
    while receiver.tables.get(CAMPAIGN, Table()).next_seq < told.next_seq and time.monotonic() < until:
        await asyncio.sleep(LOOK_EVERY_S)
    heard = receiver.tables.get(CAMPAIGN, Table())
    found = [] if heard == told else [f"5: the receiver heard {heard.next_seq - 1} of {told.next_seq - 1}, or others"]
    if receiver.out_of_order or receiver.forged:
        found.append(f"5: {receiver.out_of_order} notifications out of order, {receiver.forged} forged")
    return found


async def _left(floor: Floor) -> tuple[Channel, ...]:
    """Channels that live though nobody is at work any more; the PBX is given a moment to clear up."""
    until = time.monotonic() + CALM_WITHIN_S / 4
    while (found := await living(floor.site.asterisk)) and time.monotonic() < until:
        await asyncio.sleep(LOOK_EVERY_S)
    return found
