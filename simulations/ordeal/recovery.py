"""`python -m simulations recovery`: from SIGKILL of the engine to its next dial, on a real Asterisk with calls in progress.

The moment of the dial is the PBX's own: when it began to call the contact, as its CEL has it. Beside each round an engine
with an empty store is started, on the same machine in the same minute: what the list and the calls cost is the ratio.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from simulations.asterisk import NotInstallable, install
from simulations.bench.figure import save
from simulations.client import LOST, Client, Problem
from simulations.engine_process import EngineProcess
from simulations.ordeal.channel import Channel, living, written
from simulations.ordeal.floor import CAMPAIGN, Floor, act, reserved
from simulations.pbx import Script, SimulatedPbx
from simulations.postgres import NotInstalled

RESULT = Path("build/recovery.json")
DIAL_AGAIN_S = 0.01
"""How often the waiting agent asks, once a dial was refused or lost."""
DIALLED_WITHIN_S = 60
SETTLED_WITHIN_S = 30
LOOK_EVERY_S = 0.02
FAREWELL_S = 60


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One death of the engine. Seconds from SIGKILL; `empty_s` is how long an engine without anything took to be ready."""

    ready_s: float
    dialled_s: float
    empty_s: float
    kept: int
    """Calls that were in progress and still are, by the service and by the PBX."""
    ghosts: int
    """Contacts' channels that live and are no call in progress by the service."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    contacts: int
    calls: int
    store: str
    rounds: list[Round]
    ghosts: int
    """Channels that live once the campaign has stopped, and those of the rounds."""
    stuck: int
    """Calls without an end once the campaign has stopped."""

    @property
    def dialled_s(self) -> float:
        return statistics.median(one.dialled_s for one in self.rounds)

    @property
    def times_empty(self) -> float:
        """Median of the rounds' own ratios: a slow minute of the machine slows both."""
        return statistics.median(one.dialled_s / one.empty_s for one in self.rounds)

    @property
    def is_whole(self) -> bool:
        return not (self.ghosts or self.stuck) and all(one.kept == self.calls for one in self.rounds)


def main(
    *,
    contacts: int = 100_000,
    calls: int = 50,
    rounds: int = 5,
    postgres: bool = False,
    lease_ttl_ms: int = 0,
) -> int:
    """Kill the engine again and again with calls in progress, and measure until it dials the next contact.

    Exits with 1 if a call in progress was lost, a channel is nobody's or a call has no end.

    Parameters
    ----------
    contacts
        In the campaign's list.
    calls
        In progress at each death, an agent talking in each.
    rounds
        Deaths.
    postgres
        A real PostgreSQL in place of SQLite.
    lease_ttl_ms
        The engine's `store.lease_ttl_ms`; 0 leaves its default.
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="ringfold-recovery-") as folder:
        try:
            found = asyncio.run(recovery(Path(folder), contacts, calls, rounds, postgres, lease_ttl_ms, console))
        except (NotInstallable, NotInstalled) as reason:
            console.print(f"not on this machine: {reason}")
            return 1
    name = f"recovery_{found.store}"
    save(RESULT, {f"{name}_s": found.dialled_s, f"{name}_times_empty": found.times_empty})
    console.print(
        f"recovery: {found.contacts:,} contacts, {found.calls} live calls, {found.store}: SIGKILL to next dial median "
        f"{found.dialled_s:.2f} s ({min(one.dialled_s for one in found.rounds):.2f} – "
        f"{max(one.dialled_s for one in found.rounds):.2f}), ×{found.times_empty:.2f} an empty engine's start; "
        f"{found.ghosts} ghosts, {found.stuck} stuck",
        soft_wrap=True,
    )
    return 0 if found.is_whole else 1


async def recovery(
    folder: Path, contacts: int, calls: int, rounds: int, postgres: bool, lease_ttl_ms: int, console: Console
) -> Recovery:
    """Raises NotInstallable, NotInstalled, NotBooted, NotListening."""
    installation = await asyncio.to_thread(install, console.print)
    async with Floor(folder, agents=calls + 1, installation=installation, with_postgres=postgres) as floor:
        if lease_ttl_ms:
            settings = floor.settings()
            settings["store"] = {**settings.get("store", {}), "lease_ttl_ms": lease_ttl_ms}
            floor.engine = floor.process("engine", settings)
        await floor.engine.start()
        await floor.found(_people(contacts), {"max_lines": calls + 1, "reservation_timeout_s": 3_600})
        await floor.ask("running")
        await floor.present()
        talking = {await _bridged(floor, agent): agent for agent in floor.agents[:-1]}
        console.print(f"{contacts:,} contacts, {len(talking)} calls in progress")
        made = []
        for number in range(1, rounds + 1):
            made.append(await _die(floor, frozenset(talking)))
            console.print(f"round {number} of {rounds}: {_line(made[-1])}", soft_wrap=True)
        for call, agent in talking.items():
            await _finish(floor, call, agent)
        has_stopped = await floor.stopped(FAREWELL_S)
        left = await _left(floor)
        open_calls = await _open(floor)
        await floor.engine.stop()
    return Recovery(
        contacts=contacts,
        calls=calls,
        store="postgresql" if postgres else "sqlite",
        rounds=made,
        ghosts=sum(one.ghosts for one in made) + len(left),
        stuck=max(len(open_calls), int(not has_stopped)),
    )


def _people(count: int) -> list[dict[str, Any]]:
    """Everybody answers and stays on the line: the carrier's numbers with a 1."""
    return [
        {"ref": f"{CAMPAIGN}:{place:06}", "name": f"Person {place}", "numbers": [f"1555{place:06}"]}
        for place in range(count)
    ]


async def _die(floor: Floor, talking: frozenset[str]) -> Round:
    """SIGKILL with `talking` calls in progress, and the one waiting agent dials as soon as anybody answers them."""
    empty_s = await _empty_start(floor)
    name = floor.agents[-1]
    client = floor.agent(name)
    held = await reserved(client, name)
    assert held is not None, "the list is at its end"
    killed_s = time.time()
    await floor.engine.kill()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_dial_until_taken(client, name, held), name="the waiting agent")
        await floor.engine.start()
        ready_s = time.time() - killed_s
        call = await asking
    dialled_s = await _dialled_at(floor, call) - killed_s
    await _has_status(floor, call, "bridged")
    kept, ghosts = await _settled(floor, talking | {call})
    await _finish(floor, call, name)
    return Round(ready_s=ready_s, dialled_s=dialled_s, empty_s=empty_s, kept=kept - 1, ghosts=ghosts)


async def _empty_start(floor: Floor) -> float:
    """Seconds until an engine with an empty store is ready, on a PBX of its own that has no channel."""
    pbx = SimulatedPbx(Script(), seed=1, login_penalty_ms=0)
    ami = {"port": await pbx.start(), "username": pbx.username, "secret": pbx.secret}
    with tempfile.TemporaryDirectory(dir=floor.folder) as folder:
        engine = EngineProcess(Path(folder), {"ami": ami})
        started_s = time.monotonic()
        try:
            await engine.start()
            return time.monotonic() - started_s
        finally:
            await engine.kill()
            await pbx.stop()


async def _dial_until_taken(client: Client, agent: str, held: dict[str, Any]) -> str:
    """As an impatient agent would: again and again, whatever the answer; the call in hand ends a doubt."""
    async with asyncio.timeout(DIALLED_WITHIN_S):
        while True:
            try:
                return str((await act(client, held, "dial"))["call_id"])
            except LOST:
                pass
            except Problem as problem:
                if problem.code == "call-in-progress":  # an answer was lost on its way
                    again = await reserved(client, agent)
                    assert again is not None
                    return str(again["call"])
            await asyncio.sleep(DIAL_AGAIN_S)


async def _dialled_at(floor: Floor, call: str) -> float:
    """When the PBX began to call the contact, epoch seconds."""
    async with asyncio.timeout(DIALLED_WITHIN_S):
        while True:
            for row in written(floor.site.asterisk.cel_path):
                if row.channel.leg == call and row.event == "CHAN_START":
                    return row.at_s
            await asyncio.sleep(LOOK_EVERY_S)


async def _bridged(floor: Floor, agent: str) -> str:
    """The agent takes a contact, dials, and talks; returns the call."""
    client = floor.agent(agent)
    held = await reserved(client, agent)
    assert held is not None, "fewer contacts than agents"
    call = str((await act(client, held, "dial"))["call_id"])
    await _has_status(floor, call, "bridged")
    return call


async def _has_status(floor: Floor, call: str, status: str) -> None:
    async with asyncio.timeout(SETTLED_WITHIN_S):
        while (await floor.admin.call("GET", f"/v1/calls/{call}"))["status"] != status:
            await asyncio.sleep(LOOK_EVERY_S)


async def _settled(floor: Floor, calls: frozenset[str]) -> tuple[int, int]:
    """How many of the calls are in progress by the service and by the PBX, and how many contacts' channels are no call."""
    there = {one.leg for one in await living(floor.site.asterisk) if one.is_on(floor.site.asterisk.trunk)}
    bridged = {call for call in calls if (await floor.admin.call("GET", f"/v1/calls/{call}"))["status"] == "bridged"}
    return len(there & bridged), len(there - bridged)


async def _finish(floor: Floor, call: str, agent: str) -> None:
    client = floor.agent(agent)
    await client.call("POST", f"/v1/calls/{call}/hangup", {})
    await _has_status(floor, call, "ended")
    held = await reserved(client, agent)
    assert held is not None, "a call has its contact in hand until it is disposed of"
    await act(client, held, "disposition", disposition="engaged")


async def _left(floor: Floor) -> tuple[Channel, ...]:
    """Channels that live though nobody is at work any more; the PBX is given a moment to clear up."""
    until = time.monotonic() + SETTLED_WITHIN_S
    while (found := await living(floor.site.asterisk)) and time.monotonic() < until:
        await asyncio.sleep(LOOK_EVERY_S)
    return found


async def _open(floor: Floor) -> set[str]:
    """Calls that the feed tells the beginning of, and no end."""
    begun: set[str] = set()
    cursor = ""
    while True:
        page = await floor.admin.call("GET", f"/v1/events?after={cursor}&campaign={CAMPAIGN}&limit=1000")
        for one in page["events"]:
            if one["type"] == "call.requested":
                begun.add(one["data"]["call"])
            elif one["type"] == "call.ended":
                begun.discard(one["data"]["call"])
        if not page["events"]:
            return begun
        cursor = page["cursor"]


def _line(one: Round) -> str:
    return (
        f"ready after {one.ready_s:.2f} s, dialled after {one.dialled_s:.2f} s "
        f"(an empty engine is ready after {one.empty_s:.2f} s); {one.kept} calls go on, {one.ghosts} ghosts"
    )
