"""Simulated agents at their desks: each works through the HTTP surface with a token of its own, as a CRM screen would."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import msgspec

from simulations.client import LOST, Client, Problem

CALL_LIMIT_S = 120


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent works: mean seconds of looking and of wrap-up, and how often they skip or let a contact lapse."""

    look_s: float
    wrapup_s: float
    skip: float = 0.03
    lapse: float = 0.004
    lapse_s: float = 2.5
    idle_s: float = 0.2


class Switchboard:
    """What the feed says of calls, for agents who wait for theirs to end. One stream serves all desks."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ended: dict[str, dict[str, Any]] = {}
        self.stopping = asyncio.Event()
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()

    def take(self, event: dict[str, Any]) -> None:
        data = event["data"]
        if event["type"] == "call.ended":
            waiting = self._waiting.pop(data["call"], None)
            if waiting is None:
                self._ended[data["call"]] = data
            elif not waiting.done():
                waiting.set_result(data)
        elif event["type"] == "campaign.status":
            state = {"running": self.running, "stopping": self.stopping, "stopped": self.stopped}.get(data["state"])
            if state is not None:
                state.set()

    async def end_of(self, call: str) -> dict[str, Any]:
        if call in self._ended:
            return self._ended.pop(call)
        ended = self._waiting.setdefault(call, asyncio.get_running_loop().create_future())
        async with asyncio.timeout(CALL_LIMIT_S):
            return await ended


class Agent:
    """`lost` counts answers that a broken connection kept from this desk; `problems` are the refusals it worked through."""

    def __init__(self, name: str, client: Client, board: Switchboard, habits: Habits, seed: int) -> None:
        self.name = name
        self.lost = 0
        self.problems: list[str] = []
        self._client = client
        self._board = board
        self._habits = habits
        self._chance = random.Random(f"{seed}/{name}")

    async def work(self) -> None:
        """Until the campaign stops. Whatever is lost on the way, the contact in hand says how far things are."""
        await self._board.running.wait()
        while not self._board.stopping.is_set():
            try:
                answer = await self._client.call("POST", f"/v1/agents/{self.name}/next", {})
                if answer is not None:
                    await self._handle(answer["reservation"])
                    continue
            except LOST:
                self.lost += 1
            except Problem as problem:
                if problem.status not in (409, 503):
                    raise
                self.problems.append(problem.code)  # lost to the clock, to the campaign's stop, to an outage: go on
                if problem.code == "agent-not-available":
                    await self._return()
            await asyncio.sleep(self._habits.idle_s)

    async def _return(self) -> None:
        """The phone fell, or the campaign is over."""
        with suppress(Problem, *LOST):
            await self._client.call("PATCH", f"/v1/agents/{self.name}", {"state": "available"})

    async def _handle(self, held: dict[str, Any]) -> None:
        habits, path = self._habits, f"/v1/reservations/{held['id']}"
        if held["call"] is None:
            await self._pause(habits.look_s)
            dice = self._chance.random()
            if dice < habits.skip:
                await self._client.call("POST", f"{path}/skip", {"token": held["token"], "reason": "busy season"})
                return
            if dice < habits.skip + habits.lapse:
                await asyncio.sleep(habits.lapse_s)
                return
        outcome = await self._dial_all(path, held)
        await self._pause(habits.wrapup_s)
        if outcome is not None:
            body = {"token": held["token"], "disposition": self._disposition(outcome)}
            await self._client.call("POST", f"{path}/disposition", body)

    async def _dial_all(self, path: str, held: dict[str, Any]) -> str | None:
        """Dial the contact's numbers in turn until one answers; returns the last outcome.

        A contact met again after a lost connection may be in a call, past one, or between two.
        """
        outcome = await self._last_outcome(held["call"]) if held["call"] else None
        untried = sum(one["last_outcome"] is None for one in held["numbers"]) - (held["phase"] == "dialing")
        for _ in range(max(untried, outcome is None)):
            if outcome == "answered":
                break
            try:
                answer = await self._client.call("POST", f"{path}/dial", {"token": held["token"]})
            except Problem as problem:
                if problem.code == "no-number-left":  # tried before, in a reservation that lapsed: nothing more to do
                    return outcome or str(held["numbers"][-1]["last_outcome"])
                if problem.code == "number-in-call":
                    break
                raise
            outcome = str((await self._board.end_of(answer["call_id"]))["outcome"])
        return outcome

    async def _last_outcome(self, call: str) -> str:
        record = await self._client.call("GET", f"/v1/calls/{call}")
        return str(record["outcome"] or (await self._board.end_of(call))["outcome"])

    def _disposition(self, outcome: str) -> str:
        if outcome != "answered":
            return "no_contact"
        return self._chance.choices(("engaged", "not_interested", "wrong_person"), (3, 5, 1))[0]

    async def _pause(self, mean_s: float) -> None:
        await asyncio.sleep(self._chance.uniform(0.5, 1.5) * mean_s)
