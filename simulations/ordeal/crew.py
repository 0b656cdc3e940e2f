"""Who works while everything breaks: agents at their desks, and each of them hangs up after a while."""

import asyncio
from contextlib import suppress
from random import Random

from simulations.client import LOST, Problem
from simulations.desk import Agent, Habits, Switchboard
from simulations.ordeal.floor import CAMPAIGN, Floor, act, reserved

HABITS = Habits(look_s=0.3, wrapup_s=0.2, skip=0.05, lapse=0.02, lapse_s=2.5, idle_s=0.2)
TALK_S = (0.3, 6.0)
RING_S = (0.5, 6.0)
"""After so long an agent gives up, where the contact's phone rings for ever."""
ASK_AGAIN_S = 0.2
NEWS = "types=call.bridged,call.ringing,call.ended,campaign.status"
AWAY = (*LOST, TimeoutError)


class Crew:
    """Every agent of a floor, until the campaign is to stop."""

    def __init__(self, floor: Floor, seed: int) -> None:
        self.board = Switchboard()
        self.desks = [Agent(name, floor.agent(name), self.board, HABITS, seed) for name in floor.agents]
        self._floor, self._chance = floor, Random(f"{seed}/talk")
        self._talks: asyncio.TaskGroup | None = None
        self._at_work: list[asyncio.Task[None]] = []

    async def work(self) -> None:
        """Until cancelled; the desks are left when the campaign is to stop. Raises what one of them couldn't work through."""
        async with asyncio.TaskGroup() as group:
            self._talks = group
            group.create_task(self._listen(), name="feed")
            self._at_work = [group.create_task(desk.work(), name=desk.name) for desk in self.desks]

    async def close_up(self, working: asyncio.Task[None]) -> None:
        """Once the campaign is to stop: all leave, disposing of what a broken connection left in their hand, and it stops."""
        await asyncio.wait(self._at_work)
        while not self.board.stopped.is_set():
            for name in self._floor.agents:
                await self._put_down(name)
            await asyncio.sleep(ASK_AGAIN_S)
        for name in self._floor.agents:
            await self._put_down(name)
        working.cancel()

    async def _put_down(self, name: str) -> None:
        client = self._floor.agent(name)
        with suppress(Problem, *AWAY):
            held = await reserved(client, name)
            if held is not None:
                await act(client, held, "disposition", disposition="no_contact")

    async def _listen(self) -> None:
        assert self._talks is not None
        async for event in self._floor.admin.follow(f"campaign={CAMPAIGN}&{NEWS}"):
            self.board.take(event)
            if event["type"] in ("call.bridged", "call.ringing"):
                after_s = self._chance.uniform(*(TALK_S if event["type"] == "call.bridged" else RING_S))
                self._talks.create_task(self._hang_up(event["data"]["call"], after_s), name="hang-up")

    async def _hang_up(self, call: str, after_s: float) -> None:
        """Asked again until somebody has heard it; a call that is over meanwhile needs none."""
        await asyncio.sleep(after_s)
        while True:
            try:
                await self._floor.admin.call("POST", f"/v1/calls/{call}/hangup", {})
            except AWAY:
                pass
            except Problem as problem:
                if problem.status != 503:
                    return
            else:
                return
            await asyncio.sleep(ASK_AGAIN_S)
