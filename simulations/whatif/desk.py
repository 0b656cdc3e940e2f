"""Agents of a rerun at their desks: they do what the day's agents did, as far as the dialer lets them."""

import asyncio
from collections import Counter, deque
from random import Random
from typing import Any, Protocol

import msgspec

from engine.core.agent import Agent as Known
from engine.core.agent import Presence, Wanted
from engine.core.book import Book
from engine.core.campaign import Status
from engine.core.message import ClickToCall, Dial, Dispose, Extend, Next, NoContact, Release, Skip
from engine.core.refusal import Refused
from engine.core.reservation import Phase, Reservation
from simulations.whatif.habit import (
    DEFAULT_AGAIN_MS,
    DEFAULT_WRAPUP_MS,
    Act,
    Closing,
    Habits,
    Offer,
    Reaction,
    Recall,
)

AFTER_REFUSAL_S = 30
"""How long an agent waits who is refused a contact, unless something happens before."""
LEAST_S = 0.1
"""Nobody is quicker: an agent who is refused everything mustn't stop the clock."""
PASSING = ("lines-in-use", "setup-limit", "number-in-call", "pbx-down")
"""Refusals of a call that mend themselves."""
AGAIN_S = 2
"""After one of them an agent clicks again."""
IDLE_S = 3_600
"""How long, at most, an agent waits before looking again whether there is a contact."""


class House(Protocol):
    """What a desk needs of the rerun."""

    refusals: Counter[str]

    @property
    def book(self) -> Book: ...
    def now_ms(self) -> int: ...
    def new_id(self) -> str: ...
    async def submit(self, command: Any) -> Any: ...


class Memories:
    """What all agents of a rerun recall together."""

    def __init__(self, habits: Habits) -> None:
        again = Offer(DEFAULT_AGAIN_MS, Act.RELEASE)
        self.first = Recall(habits.first, Offer(DEFAULT_AGAIN_MS, Act.DIAL))
        self.again = Recall(habits.again, again)
        self.closings = Recall(habits.closings, Closing(DEFAULT_WRAPUP_MS, ""))

    @property
    def drawn(self) -> int:
        return self.first.drawn + self.again.drawn + self.closings.drawn


class Desk:
    """One agent. `ring` wakes whoever waits there: something happened to the agent, or a contact may be had."""

    def __init__(self, agent: str, house: House, habits: Habits, memories: Memories, seed: int) -> None:
        self.agent = agent
        self._house, self._memories = house, memories
        self._reactions: dict[bool, list[Reaction]] = {
            lapsed: [one for one in habits.reactions.get(agent, ()) if one.after_lapse is lapsed]
            for lapsed in (False, True)
        }
        self._reacted = Counter[bool]()
        self._ahead = habits.ahead.get(agent, 0.0)
        self._chance = Random(f"{seed}/{agent}")
        self._bell = asyncio.Event()
        self._tried: set[str] = set()
        """Reservations in which a call was made: the agent chooses again."""
        self._lapsed = False
        self._clicks: deque[ClickToCall] = deque()

    def ring(self) -> None:
        self._bell.set()

    def click(self, command: ClickToCall) -> None:
        """Somebody at this desk clicked in another system: who does so has nothing else in hand, or puts it off till then."""
        self._clicks.append(command)
        self.ring()

    @property
    def _known(self) -> Known | None:
        return self._house.book.agents.get(self.agent)

    @property
    def _held(self) -> Reservation | None:
        known = self._known
        return self._house.book.reservations.get(known.reservation) if known is not None else None

    @property
    def _is_free(self) -> bool:
        known = self._known
        return (
            known is not None
            and known.presence is Presence.PRESENT
            and known.wanted is Wanted.AVAILABLE
            and self._house.book.campaign.status is Status.RUNNING
        )

    async def work(self) -> None:
        """For ever."""
        is_waiting = False
        while True:
            held = self._held
            if held is not None:
                await self._treat(held)
                is_waiting = False
            elif not self._is_free:
                await self._heard(IDLE_S)
                is_waiting = False
            elif self._clicks:
                await self._call(self._clicks.popleft())
            elif not is_waiting:  # just now free: it takes a moment to ask for a contact
                await asyncio.sleep(self._reaction_s())
                is_waiting = True
            else:
                await self._take()

    async def _call(self, click: ClickToCall) -> None:
        while True:
            ids = {name: self._house.new_id() for name in ("reservation", "token", "call", "leg")}
            if await self._refused(msgspec.structs.replace(click, at=self._house.now_ms(), **ids)) not in PASSING:
                return
            await self._heard(AGAIN_S)

    def _reaction_s(self) -> float:
        lapsed, self._lapsed = self._lapsed, False
        known = self._reactions[lapsed] or self._reactions[False]
        if not known:
            return LEAST_S
        self._reacted[lapsed] += 1
        return max(known[(self._reacted[lapsed] - 1) % len(known)].after_ms / 1_000, LEAST_S)

    async def _take(self) -> None:
        self._bell.clear()
        try:
            given = await self._house.submit(self._next(ahead=False))
        except Refused:
            await self._heard(AFTER_REFUSAL_S)
            return
        if isinstance(given, NoContact):
            due_s = ((given.next_due_at or 0) - self._house.now_ms()) / 1_000
            await self._heard(min(due_s, IDLE_S) if due_s > 0 else IDLE_S)

    def _next(self, ahead: bool) -> Next:
        house = self._house
        return Next(at=house.now_ms(), agent=self.agent, reservation=house.new_id(), token=house.new_id(), ahead=ahead)

    async def _heard(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._bell.wait()
        except TimeoutError:
            pass
        self._bell.clear()

    # -- a contact in hand --------------------------------------------------------------------------------------------

    async def _treat(self, held: Reservation) -> None:
        match held.phase:
            case Phase.OFFERED:
                await self._consider(held)
            case Phase.DIALING:
                await self._heard(IDLE_S)
            case Phase.WRAPUP:
                closing = self._memories.closings.next(held.contact, self.agent, self._chance)
                await asyncio.sleep(closing.after_ms / 1_000)
                if self._is_still(held):
                    await self._close(held, closing)

    def _is_still(self, held: Reservation) -> bool:
        now = self._held
        return now is not None and (now.id, now.phase) == (held.id, held.phase)

    async def _consider(self, held: Reservation) -> None:
        memory = self._memories.again if held.id in self._tried else self._memories.first
        offer = memory.next(held.contact, self.agent, self._chance)
        passed_ms = 0
        for beat_ms in offer.beats_ms:
            await asyncio.sleep((beat_ms - passed_ms) / 1_000)
            passed_ms = beat_ms
            await self._asked(Extend(at=self._house.now_ms(), **_hand(held)))
        if offer.act is Act.LEAVE:
            while self._is_still(held):
                await self._heard(IDLE_S)
            self._lapsed = True
            return
        await asyncio.sleep(max(0, offer.after_ms - passed_ms) / 1_000)
        if self._is_still(held):
            await self._act(held, offer)

    async def _act(self, held: Reservation, offer: Offer) -> None:
        match offer.act:
            case Act.DIAL:
                await self._dial(held, offer)
            case Act.SKIP:
                await self._skip(held, offer.note)
            case Act.CLOSE if offer.closing is not None:
                await self._close(held, offer.closing)
            case _:
                await self._release(held)

    async def _dial(self, held: Reservation, offer: Offer) -> None:
        numbers = self._house.book.contacts.by_ref[held.contact].numbers
        chosen = numbers[offer.number] if offer.number is not None and offer.number < len(numbers) else None
        if not await self._dialled(held, chosen) and not (chosen and await self._dialled(held, None)):
            await self._skip(held, "")
            return
        self._tried.add(held.id)
        if self._chance.random() < self._ahead:
            await self._asked(self._next(ahead=True))

    async def _dialled(self, held: Reservation, number: str | None) -> bool:
        """What will be free in a moment is waited for, as agents do."""
        while self._is_still(held):
            call, leg = self._house.new_id(), self._house.new_id()
            dial = Dial(at=self._house.now_ms(), **_hand(held), number=number, call=call, leg=leg)
            refused = await self._refused(dial)
            if refused not in PASSING:
                return not refused
            await self._heard(AGAIN_S)
        return True

    async def _skip(self, held: Reservation, note: str) -> None:
        if not await self._asked(Skip(at=self._house.now_ms(), **_hand(held), reason=note)):
            await self._release(held)

    async def _release(self, held: Reservation) -> None:
        release = Release(at=self._house.now_ms(), by=self.agent, **_hand(held), reason="")
        if not await self._asked(release) and self._is_still(held):
            await self._heard(AFTER_REFUSAL_S)

    async def _close(self, held: Reservation, closing: Closing) -> None:
        """With what was chosen on the day; where the settings forbid that now, with any other that they allow."""
        others = (one for one in self._house.book.campaign.settings.dispositions if not one.callback)
        for code in (closing.disposition, *(one.code for one in others if one.code != closing.disposition)):
            if code and await self._asked(self._disposal(held, closing, code)):
                return
        await self._release(held)

    def _disposal(self, held: Reservation, closing: Closing, code: str) -> Dispose:
        now = self._house.now_ms()
        back_at = now + closing.back_ms if closing.back_ms and code == closing.disposition else None
        return Dispose(
            at=now,
            **_hand(held),
            disposition=code,
            callback_at=back_at,
            personal=closing.personal,
            data=closing.data,
        )

    async def _asked(self, command: Any) -> bool:
        """Whether it was done."""
        return not await self._refused(command)

    async def _refused(self, command: Any) -> str:
        """Why it was refused, counted by what was asked and why; empty where it was done."""
        try:
            await self._house.submit(command)
        except Refused as refused:
            self._house.refusals[f"{type(command).__name__.lower()}: {refused.code}"] += 1
            return refused.code
        return ""


def _hand(held: Reservation) -> dict[str, Any]:
    return {"agent": held.agent, "reservation": held.id, "token": held.token}
