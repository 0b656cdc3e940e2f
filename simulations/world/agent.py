"""Agents at their desks: they preview, dial or skip, talk, close the contact, and take breaks."""

import asyncio
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from engine.actor import NotOwner
from engine.core.agent import Wanted
from engine.core.message import AskAgent, Dial, Dispose, Next, Skip
from engine.core.refusal import Refused
from engine.core.reservation import Phase, Reservation
from simulations.world.scenario import Agents
from simulations.world.shift import Shift

LOOK_EVERY_S = 1
UNCHANGED_S = 10
"""Agents look at their screens when something changes there, at the next of their seconds, and after so long anyway."""
A_WHILE_S = 10**9
"""For ever, as far as a world is concerned."""
FIRST_PATIENCE_S, LONGEST_PATIENCE_S = 3, 60
"""How long an agent waits after a refusal, on average: longer each time: a stopped campaign says no to all, and so does a
window that has closed."""
REACTION_S = 0.5
"""Before the next contact is asked for."""
ANSWER_WITHIN_S = 5
"""After so long without an answer from the engine a client asks again: it may have been killed."""


PERSONAL = 0.5
"""How many callbacks are for the one who promised: the others for anybody."""
OUT_OF_REACH = ("no-number-left", "dial-forbidden", "number-in-call")
"""Refusals of a call that no patience of a minute mends."""


class Desk(Protocol):
    """What an agent needs of the world."""

    def now_ms(self) -> int: ...
    def now_s(self) -> float: ...
    def new_id(self) -> str: ...
    async def submit(self, command: Any) -> Any: ...
    def held(self, agent: str) -> Reservation | None: ...
    def zone(self, contact: str) -> str: ...
    async def change(self, agent: str, within_s: float) -> None: ...


class Agent:
    def __init__(self, name: str, desk: Desk, habits: Agents, shift: Shift, chance: Random) -> None:
        self.name, self.desk, self.habits, self.shift, self.chance = name, desk, habits, shift, chance
        self._taken: Wanted | None = None
        """What the engine last took; a refusal, or no answer, makes the agent ask again."""

    async def work(self) -> None:
        patience_s = FIRST_PATIENCE_S
        while True:
            try:
                held = self.desk.held(self.name)
                if held is not None and held.phase is not Phase.OFFERED:  # also of a campaign that has stopped since
                    await self._treat(held)
                await self._go_home_till_the_next_spell()
                given = await self._given()
                if not isinstance(given, Reservation):
                    patience_s = FIRST_PATIENCE_S
                    await asyncio.sleep(self._about(10))
                    continue
                await self._treat(given)
                patience_s = FIRST_PATIENCE_S
                if self.chance.random() < self.habits.pauses:
                    await self._pause()
            except (Refused, NotOwner, TimeoutError):
                self._taken = None
                await asyncio.sleep(self._about(patience_s))
                patience_s = min(2 * patience_s, LONGEST_PATIENCE_S)

    async def _go_home_till_the_next_spell(self) -> None:
        wait_s = self.shift.wait_s(self.desk.now_s())
        if wait_s:
            await self._ask(Wanted.OFFLINE)
            await asyncio.sleep(min(wait_s, A_WHILE_S))

    async def _given(self) -> Any:
        await self._ask(Wanted.AVAILABLE)
        await asyncio.sleep(self._about(REACTION_S))
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await self._next()

    async def _pause(self) -> None:
        await self._ask(Wanted.PAUSED)
        await asyncio.sleep(self._about(self.habits.pause_s))

    async def _ask(self, wanted: Wanted) -> None:
        if self._taken is not wanted:
            now = self.desk.now_ms()
            await self._do(AskAgent(at=now, by=self.name, agent=self.name, wanted=wanted, reason="break"))
            self._taken = wanted

    async def _next(self) -> Any:
        desk = self.desk
        return await desk.submit(
            Next(at=desk.now_ms(), agent=self.name, reservation=desk.new_id(), token=desk.new_id())
        )

    async def _treat(self, given: Reservation) -> None:
        if given.phase is Phase.OFFERED:
            await asyncio.sleep(self._about(self.habits.preview_s))
            if self.chance.random() < self.habits.skips:
                await self._skip(given)
                return
            try:
                await self._dial(given)
            except Refused as no:
                if no.code not in OUT_OF_REACH:
                    raise
                await self._give_up(given)
                raise
        held = await self._talked()
        if held is not None and held.id == given.id and held.phase is Phase.WRAPUP:
            await asyncio.sleep(self._about(self.habits.wrapup_s))
            if self.habits.callbacks and self.chance.random() < self.habits.callbacks:
                await self._promise(given)
            else:
                await self._dispose(given, self.chance.choice(("engaged", "no_contact", "try_later")))

    async def _talked(self) -> Reservation | None:
        """What the agent has in hand once no call is under way."""
        desk, since_s = self.desk, self.desk.now_s()
        while (held := desk.held(self.name)) is not None and held.phase is Phase.DIALING:
            await desk.change(self.name, UNCHANGED_S)
            now_s = desk.now_s()
            if (held := desk.held(self.name)) is None or held.phase is not Phase.DIALING:
                await asyncio.sleep(LOOK_EVERY_S - (now_s - since_s) % LOOK_EVERY_S)
        return held

    async def _give_up(self, given: Reservation) -> None:
        """All numbers were tried, or none may be dialled now: it is disposed of after an attempt, and skipped without one."""
        try:
            await self._dispose(given, "try_later")
        except Refused:
            await self._skip(given)

    async def _dial(self, given: Reservation) -> None:
        call, leg = self.desk.new_id(), self.desk.new_id()
        await self._do(Dial(at=self.desk.now_ms(), **_hand(given), number=None, call=call, leg=leg))

    async def _skip(self, given: Reservation) -> None:
        await self._do(Skip(at=self.desk.now_ms(), **_hand(given), reason="not now"))

    async def _dispose(self, given: Reservation, disposition: str) -> None:
        await self._do(Dispose(at=self.desk.now_ms(), **_hand(given), disposition=disposition))

    async def _promise(self, given: Reservation) -> None:
        """A callback, at a full minute of the contact's clock."""
        now_ms = self.desk.now_ms()
        there = datetime.fromtimestamp(now_ms / 1_000, ZoneInfo(self.desk.zone(given.contact)))
        due = there.replace(second=0, microsecond=0) + timedelta(
            seconds=60 + self._about(self.habits.callback_s) // 60 * 60
        )
        await self._do(
            Dispose(
                at=now_ms,
                **_hand(given),
                disposition="callback",
                callback_at=round(due.timestamp() * 1_000),
                personal=self.chance.random() < PERSONAL,
            )
        )

    async def _do(self, command: Any) -> None:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await self.desk.submit(command)

    def _about(self, mean_s: float) -> float:
        return self.chance.uniform(0.5, 1.5) * mean_s


def _hand(given: Reservation) -> dict[str, Any]:
    return {"agent": given.agent, "reservation": given.id, "token": given.token}
