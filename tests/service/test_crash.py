"""The engine as a process, killed in the middle of its work: PBX, feed, receiver and log agree about all that happened."""

import asyncio
import base64
import csv
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from api.token import Role
from simulations.client import RECONNECT_AFTER_S, Client, Problem
from simulations.desk import Agent, Habits, Switchboard
from simulations.engine_process import EngineProcess
from simulations.pbx import Script, SimulatedPbx
from simulations.pbx.script import TYPICAL
from simulations.receiver import Receiver, Table
from tests.api.judge import judged_session
from tests.service.test_preview import act, take

CAMPAIGN = "spring"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes here").decode()
SPEED = 80
"""How much faster than life people ring, talk and think."""
AGENTS = 12
CONTACTS = 60
KILLS = 3
PATIENCE_S = 30
JOB_LIMIT_S = 120
HABITS = Habits(look_s=10 / SPEED, wrapup_s=10 / SPEED, skip=0.05, lapse=0.02, lapse_s=2.5, idle_s=0.05)


class Floor:
    """One campaign on a simulated PBX, with an engine that may die: what all of these tests look at."""

    def __init__(self, pbx: SimulatedPbx, engine: EngineProcess, session: aiohttp.ClientSession) -> None:
        self.pbx, self.engine = pbx, engine
        self.admin = engine.client(session, Role.ADMINISTRATOR, "operator")
        self.session = session

    def agent(self, name: str) -> Client:
        return self.engine.client(self.session, Role.AGENT, name)

    async def campaign(self, contacts: list[list[str]], agents: list[str], **settings: Any) -> None:
        """Contacts `{CAMPAIGN}:1`, … ; agents whose names end in 0 are rung for each call."""
        body = {"name": "Spring", "settings": settings}
        await self.admin.call("PUT", f"/v1/campaigns/{CAMPAIGN}", body)
        rows = [{"ref": f"{CAMPAIGN}:{place}", "numbers": numbers} for place, numbers in enumerate(contacts, 1)]
        await self.admin.call("POST", f"/v1/campaigns/{CAMPAIGN}/contacts", rows)
        for name in agents:
            await self.admin.call("PUT", f"/v1/agents/{name}", {"name": name, "phone": name})
            line = "on_demand" if name.endswith("0") else "nailed"
            await self.admin.call("PUT", f"/v1/campaigns/{CAMPAIGN}/agents/{name}", {"line": line})

    async def ask(self, state: str, force: bool = False) -> None:
        body = {"state": state, **({"force": True} if force else {})}
        await self.admin.call("PATCH", f"/v1/campaigns/{CAMPAIGN}", body)

    async def story(self) -> list[dict[str, Any]]:
        """Everything the feed holds about the campaign, in order."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.admin.call("GET", f"/v1/events?after={cursor}&campaign={CAMPAIGN}&limit=1000")
            if not page["events"]:
                return found
            found, cursor = found + page["events"], page["cursor"]

    async def told(self, kind: str, **data: Any) -> dict[str, Any]:
        """The data of the first notification of a kind whose data is at least this, once it has come."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in await self.story():
                    found: dict[str, Any] = event["data"]
                    if event["type"] == kind and all(found.get(key) == value for key, value in data.items()):
                        return found
                await asyncio.sleep(0.02)

    async def bridged_call(self, agent: str = "agent1") -> tuple[Client, dict[str, Any], str]:
        """The agent's client, the contact in their hand, and the call in which the two are talking."""
        client = self.agent(agent)
        held = await take(client, agent)
        call = (await act(client, held, "dial"))["call_id"]
        await self.told("call.bridged", call=call)
        return client, held, call

    async def killed(self, down_s: float = 0) -> None:
        await self.engine.kill()
        await asyncio.sleep(down_s)
        await self.engine.start()


@asynccontextmanager
async def floor(
    folder: Path, script: Script, time_scale: float, drain_timeout_s: int = 30, webhook_timeout_ms: int = 15_000
) -> AsyncIterator[Floor]:
    cel = folder / "cel.csv"
    pbx = SimulatedPbx(script, seed=5, time_scale=time_scale, login_penalty_ms=0, cel_path=cel)
    ami = {
        "port": await pbx.start(),
        "username": pbx.username,
        "secret": pbx.secret,
        "cel_path": str(cel),
        "max_originates_per_second": 200,
    }
    settings: dict[str, dict[str, Any]] = {
        "ami": ami,
        "engine": {"drain_timeout_s": drain_timeout_s},
        "webhooks": {"allow_private_targets": True, "allow_http": True, "timeout_ms": webhook_timeout_ms},
    }
    engine = EngineProcess(folder / "engine", settings)
    try:
        await engine.start()
        async with judged_session() as session:
            yield Floor(pbx, engine, session)
    finally:
        await engine.kill()
        await pbx.stop()


# -- what must hold ---------------------------------------------------------------------------------------------------


class AtThePbx(msgspec.Struct, frozen=True):
    """What the PBX itself wrote down of one leg: from when to when it lived, and whether it was ever up."""

    start_s: float
    end_s: float
    answered: bool


def written_by_the_pbx(path: Path) -> dict[str, AtThePbx]:
    rows: defaultdict[str, dict[str, float]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        for leg, event, at_s, *_ in csv.reader(file):
            rows[leg][event] = float(at_s)
    return {leg: AtThePbx(one["CHAN_START"], one["HANGUP"], "ANSWER" in one) for leg, one in rows.items()}


def assert_no_contact_was_in_two_hands(story: list[dict[str, Any]]) -> None:
    held: dict[str, str] = {}
    for one in story:
        data = one["data"]
        if one["type"] == "contact.reserved":
            assert data["contact"] not in held, data
            held[data["contact"]] = data["agent"]
        elif one["type"] in ("contact.released", "contact.disposed"):
            assert held.pop(data["contact"]) == data["agent"]
    assert not held


def assert_calls_are_what_the_pbx_saw(story: list[dict[str, Any]], pbx: SimulatedPbx) -> None:
    """One originate a call at most, one end each, an outcome that the PBX bears out, no number in two calls at once."""
    of_type = {kind: [one["data"] for one in story if one["type"] == kind] for kind in ("call.requested", "call.ended")}
    requested, ended = ([one["call"] for one in of_type[kind]] for kind in of_type)
    assert len(requested) == len(set(requested))
    assert len(ended) == len(set(ended))
    assert set(requested) <= set(ended)  # an on-demand agent's call may end before the contact's number is dialled
    legs = Counter(one.leg for one in pbx.originates)
    assert set(legs.values()) == {1}
    seen = written_by_the_pbx(pbx.cel_path) if pbx.cel_path else {}
    assert {one.leg for one in pbx.originates if one.number} <= set(requested)
    for one in of_type["call.ended"]:
        there = seen.get(one["call"])
        if there is None:
            assert one["outcome"] in ("unknown", "failed", "cancelled", "agent_unreachable"), one
        else:
            assert (one["outcome"] in ("answered", "abandoned")) == there.answered, (one, there)
            assert one["outcome"] not in ("unknown", "failed"), one  # it could be known, so it is
    spans: defaultdict[str, list[AtThePbx]] = defaultdict(list)
    for dialled in pbx.originates:
        if dialled.number:
            spans[dialled.number].append(seen[dialled.leg])
    for number, calls in spans.items():
        calls.sort(key=lambda one: one.start_s)
        assert all(early.end_s <= late.start_s for early, late in pairwise(calls)), number


def table_of(story: list[dict[str, Any]]) -> Table:
    table = Table(next_seq=len(story) + 1)
    for one in story:
        table.take(one)
    return table


async def assert_the_log_is_whole(floor: Floor, digest: str) -> None:
    """Stops the engine, and has the log checked and replayed."""
    assert await floor.engine.stop() == 0
    code, said = await floor.engine.command("verify")
    assert code == 0, said
    assert digest in said


# -- SIGKILL ----------------------------------------------------------------------------------------------------------


def contacts(chance: random.Random) -> list[list[str]]:
    """Some with several numbers; every fifth shares one with the contact before, as families do."""
    rows: list[list[str]] = []
    for place in range(CONTACTS):
        numbers = [f"+57300{place:04}{position}00" for position in range(chance.choice((1, 2, 2)))]
        rows.append([rows[-1][0], *numbers] if place % 5 == 4 else numbers)
    return rows


@pytest.mark.slow
async def test_EX_01_EX_02_EX_10_a_campaign_worked_to_its_end_though_the_engine_is_killed_again_and_again(
    tmp_path: Path,
) -> None:
    chance = random.Random(11)
    script = Script(mix=msgspec.structs.replace(TYPICAL, talk_ms_least=5_000, talk_ms_mean=30_000))
    names = [f"agent{number}" for number in range(1, AGENTS + 1)]
    receiver = Receiver(SECRET)
    await receiver.start()
    try:
        async with floor(tmp_path, script, 1 / SPEED) as one:
            await one.admin.call("PUT", "/v1/webhooks/manager", {"url": receiver.url, "secret": SECRET})
            settings = {"reservation_timeout_s": 2, "max_lines": AGENTS, "dispose_without_attempt": True}
            await one.campaign(contacts(chance), names, **settings)
            desks = await _worked_through(one, names, chance)
            story = await one.story()
            digest = (await one.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}/digest"))["digest"]
            await _caught_up(receiver, len(story))

            assert [event["seq"] for event in story] == list(range(1, len(story) + 1))
            table = receiver.tables[CAMPAIGN]
            assert table == table_of(story)
            assert (receiver.out_of_order, receiver.forged) == (0, 0)
            assert table.states == ["starting", "running", "stopping", "stopped"]
            assert set(table.agents.values()) == {"offline"}
            assert len(table.final) == CONTACTS  # none lost: those that were skipped or lapsed came round again
            assert sum(desk.lost for desk in desks) > 0  # the agents did feel it
            assert not one.pbx.live
            assert_no_contact_was_in_two_hands(story)
            assert_calls_are_what_the_pbx_saw(story, one.pbx)
            await assert_the_log_is_whole(one, digest)
    finally:
        await receiver.stop()


async def _worked_through(one: Floor, names: list[str], chance: random.Random) -> list[Agent]:
    """Agents work until the campaign has stopped; meanwhile the engine dies at moments nobody chose."""
    board = Switchboard()
    desks = [Agent(name, one.agent(name), board, HABITS, seed=3) for name in names]
    async with asyncio.timeout(JOB_LIMIT_S), asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(one.admin, board))
        for desk in desks:
            group.create_task(desk.work())
        await one.ask("running")
        await one.killed()  # while the agents' phones are being called
        for _ in range(KILLS - 1):
            await board.running.wait()
            more = len(one.pbx.originates) + chance.randrange(8, 20)
            while len(one.pbx.originates) < more and not board.stopping.is_set():
                await asyncio.sleep(0.01)
            assert not board.stopping.is_set(), "the campaign was over before the engine could be killed"
            await asyncio.sleep(chance.uniform(0, 0.2))
            await one.killed(down_s=chance.uniform(0, 0.5))
        await board.stopped.wait()
        watching.cancel()
    return desks


async def _watch(admin: Client, board: Switchboard) -> None:
    async for event in admin.follow(f"campaign={CAMPAIGN}&types=call.ended,campaign.status"):
        board.take(event)


async def _caught_up(receiver: Receiver, seq: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while receiver.tables[CAMPAIGN].next_seq <= seq:
            await asyncio.sleep(0.02)


async def test_EX_02_next_gives_the_same_contact_again_and_its_call_goes_on(tmp_path: Path) -> None:
    async with floor(tmp_path, Script(), 0.05) as one:
        await one.campaign([["15550001"], ["15550002"]], ["agent1"])
        await one.ask("running")
        await one.told("campaign.status", state="running")
        client, held, call = await one.bridged_call()

        await one.killed()

        again = await take(client)
        assert (again["id"], again["token"], again["call"]) == (held["id"], held["token"], call)
        assert (await client.call("GET", f"/v1/calls/{call}"))["status"] == "bridged"
        with pytest.raises(Problem) as refused:
            await act(client, again, "dial")
        assert refused.value.code == "call-in-progress"
        await client.call("POST", f"/v1/calls/{call}/hangup", {})
        ended = await one.told("call.ended", call=call)
        assert (ended["outcome"], ended["ended_by"]) == ("answered", "agent")
        assert [dialled.number for dialled in one.pbx.originates if dialled.number] == ["15550001"]


# -- SIGTERM ----------------------------------------------------------------------------------------------------------


async def test_told_to_stop_it_takes_no_new_call_and_lets_the_live_one_end(tmp_path: Path) -> None:
    async with floor(tmp_path, Script(), 0.05) as one:
        await one.campaign([["15550001"], ["15550002"]], ["agent1", "agent2"])
        await one.ask("running")
        await one.told("campaign.status", state="running")
        _, _, call = await one.bridged_call()
        waiting = one.agent("agent2")
        held = await take(waiting, "agent2")
        story = await one.story()

        one.engine.signal(signal.SIGTERM)
        await _draining(one)
        headers = {"Authorization": f"Bearer {one.engine.token(Role.AGENT, 'agent2')}"}
        dial = f"{one.engine.base}/v1/reservations/{held['id']}/dial"
        async with one.session.post(dial, json={"token": held["token"]}, headers=headers) as answer:
            assert answer.status == 503
            assert (await answer.json())["type"].endswith("/draining")
        one.pbx.hang_up(call)

        assert await one.engine.ended() == 0
        assert [dialled.number for dialled in one.pbx.originates if dialled.number] == ["15550001"]
        await one.engine.start()
        more = (await one.story())[len(story) :]
        ended = [event["data"] for event in more if event["type"] == "call.ended"]
        assert [(end["call"], end["outcome"], end["ended_by"]) for end in ended] == [(call, "answered", "contact")]
        assert (await take(waiting, "agent2"))["id"] == held["id"]


async def test_EX_02_told_twice_it_stops_at_once_and_the_next_start_adopts_the_live_call(tmp_path: Path) -> None:
    async with floor(tmp_path, Script(), 0.05) as one:
        await one.campaign([["15550001"]], ["agent1"])
        await one.ask("running")
        await one.told("campaign.status", state="running")
        client, _, call = await one.bridged_call()

        one.engine.signal(signal.SIGTERM)
        await _draining(one)
        one.engine.signal(signal.SIGTERM)
        assert await one.engine.ended() == 0
        assert call in {leg.uid for leg in one.pbx.live}  # handed over, not hung up

        await one.engine.start()
        assert (await client.call("GET", f"/v1/calls/{call}"))["status"] == "bridged"
        await client.call("POST", f"/v1/calls/{call}/hangup", {})
        ended = await one.told("call.ended", call=call)
        assert (ended["outcome"], ended["ended_by"]) == ("answered", "agent")
        assert len(one.pbx.originates) == 2  # the agent's phone and the contact, once each


async def test_a_drain_that_takes_too_long_hands_the_call_over(tmp_path: Path) -> None:
    async with floor(tmp_path, Script(), 0.05, drain_timeout_s=1) as one:
        await one.campaign([["15550001"]], ["agent1"])
        await one.ask("running")
        await one.told("campaign.status", state="running")
        _, _, call = await one.bridged_call()

        one.engine.signal(signal.SIGTERM)
        assert await one.engine.ended() == 0

        assert call in {leg.uid for leg in one.pbx.live}


async def _draining(one: Floor) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (await one.admin.call("GET", "/v1/health"))["draining"]:
            await asyncio.sleep(RECONNECT_AFTER_S)
