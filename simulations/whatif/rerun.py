"""A day run again: the production engine, mailboxes, log and AMI adapter, in virtual time that begins at the day's midnight."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, get_args

import msgspec

from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from adapters.zones import PhoneZones
from engine.app import DIRECTORY, Engine
from engine.campaigns import log_of
from engine.core.book import Book, stream_of
from engine.core.campaign import CampaignEvent, Create, Modify, patched
from engine.core.contact import ContactsAdded, ContactsAssigned
from engine.core.directory import ListNumbers, UnlistNumbers
from engine.core.directory import stream_of as directory_stream_of
from engine.core.message import AddContacts, ClickToCall
from engine.core.refusal import Refused
from engine.core.reservation import ContactDisposed, ContactReleased
from engine.limits import Limits
from engine.ports import ANY, Append, Recorded
from engine.service import LogEvent
from eventstore import Codec, Store
from eventstore.memory import MemoryStore
from simulations.pbx import SimulatedPbx
from simulations.whatif.day import Day, Input, PhoneHungUp
from simulations.whatif.desk import Desk, Memories
from simulations.whatif.fate import Callees, Fates
from simulations.whatif.habit import Habits
from simulations.world.loop import VirtualLoop, in_virtual_time

LEASE_MS = 3 * 86_400_000
"""Longer than a day: nobody else is there."""
PING_EVERY_MS, DEAD_AFTER_MS = 60_000, 180_000
"""The connection to a PBX in memory doesn't break: to ask all the time would cost more than the calls."""
EVENTS_PER_APPEND = 1_000
CONTACTS_PER_COMMAND = 1_000
FREEING = (ContactReleased, ContactDisposed, ContactsAdded, ContactsAssigned, *get_args(CampaignEvent))
"""After these an agent who waits may have a contact."""


class Changes(NamedTuple):
    """Settings of the campaign that are other than they were, by name, all day long."""

    settings: dict[str, Any]


class Ran(NamedTuple):
    """What came of a rerun. `refusals` are commands that were refused, `drawn` counts what the day couldn't tell."""

    events: list[Any]
    refusals: Counter[str]
    drawn: dict[str, int]


def rerun(day: Day, habits: Habits, fates: Fates, changes: Changes, limits: Limits, seed: int) -> Ran:
    """The same arguments give the same events."""
    return in_virtual_time(lambda loop: _Rerun(day, habits, fates, changes, limits, seed, loop).live(), seed)


class _Rerun:
    def __init__(
        self,
        day: Day,
        habits: Habits,
        fates: Fates,
        changes: Changes,
        limits: Limits,
        seed: int,
        loop: VirtualLoop,
    ) -> None:
        self.refusals = Counter[str]()
        self._day, self._habits, self._changes, self._seed, self._loop = day, habits, changes, seed, loop
        self._ids = 0
        self._memories = Memories(habits)
        trunks = [*limits.trunk_lines, *_trunks(day), *(changes.settings.get("further_trunks") or ())]
        if "trunk" in changes.settings:
            trunks.append(changes.settings["trunk"])
        self._callees = Callees(fates, trunks, lambda: round(loop.time() * 1_000))
        self._pbx = SimulatedPbx(self._callees, seed=seed, event_lag_ms=(0, 40))
        self._store = Store(MemoryStore(), Codec(LogEvent), "what-if", LEASE_MS)
        self._limits = limits
        self._desks: dict[str, Desk] = {}
        self._crew: list[asyncio.Task[None]] = []

    # -- what the engine and the desks need ---------------------------------------------------------------------------

    @property
    def book(self) -> Book:
        return self._engine.campaigns[self._day.campaign].book

    def now_ms(self) -> int:
        return self._day.begins + round(self._loop.time() * 1_000)

    def new_id(self) -> str:
        """None that the day's log has: a rerun goes on where that stood."""
        self._ids += 1
        return blake2b(f"{self._seed}/{self._ids}".encode(), digest_size=16).hexdigest()

    async def submit(self, command: Any) -> Any:
        return await self._engine.submit(self._day.campaign, command)

    # -- the day ------------------------------------------------------------------------------------------------------

    async def live(self) -> Ran:
        day = self._day
        await self._write(DIRECTORY, [(directory_stream_of(one), one) for one in day.directory])
        if day.before:
            await self._write(log_of(day.campaign), [(stream_of(one), one) for one in day.before])
        await self._pbx.start()
        await self._boot()
        for agent in day.book.agents:
            self._seat(agent)
        if day.before and self._changes.settings:
            await self._asked(Modify(at=0, by="what-if", settings=self._changes.settings))
        for one in day.inputs:
            await self._until(one.at)
            await self._come(one)
        await self._until(day.ends)
        await self._end()
        events = [one.event async for batch in self._store.read(log_of(day.campaign)) for one in batch]
        drawn = {"fates of calls": self._callees.drawn, "acts of agents": self._memories.drawn}
        return Ran([one for one in events[len(day.before) :] if one.at < day.ends], self.refusals, drawn)

    async def _write(self, name: str, events: Sequence[tuple[str, Any]]) -> None:
        log = await self._store.open_log(name)
        for begin in range(0, len(events), EVENTS_PER_APPEND):
            some = events[begin : begin + EVENTS_PER_APPEND]
            await log.append([Append(stream, ANY, [event]) for stream, event in some])
        await log.close()

    async def _boot(self) -> None:
        ami = AmiSettings(
            port=self._pbx.port,
            username=self._pbx.username,
            secret=self._pbx.secret,
            ping_interval_ms=PING_EVERY_MS,
            dead_after_ms=DEAD_AFTER_MS,
        )
        telephony = AmiTelephony(ami, self.now_ms)
        self._engine = Engine(self._store, telephony, self, self, self._limits, PhoneZones())
        self._engine.followers.append(self._happened)
        await self._engine.start()

    async def _until(self, at: int) -> None:
        await asyncio.sleep(max(0.0, (at - self.now_ms()) / 1_000))

    async def _end(self) -> None:
        for one in self._crew:
            one.cancel()
        await asyncio.gather(*self._crew, return_exceptions=True)
        for one in self._crew:
            if not one.cancelled() and one.exception() is not None:
                raise one.exception() or AssertionError
        await self._engine.stop()
        await self._pbx.stop()
        await self._loop.bury()

    def _seat(self, agent: str) -> None:
        if agent not in self._desks:
            desk = self._desks[agent] = Desk(agent, self, self._habits, self._memories, self._seed)
            self._crew.append(self._loop.create_task(desk.work(), name=agent))

    def _happened(self, name: str, recorded: Sequence[Recorded]) -> None:
        """Wake those whom it concerns, once the engine has done with it."""
        if name != log_of(self._day.campaign):
            return
        for one in recorded:
            agent = getattr(one.event, "agent", "")
            if agent in self._desks:
                self._desks[agent].ring()
            if isinstance(one.event, FREEING):
                for desk in self._desks.values():
                    desk.ring()

    # -- what comes from outside --------------------------------------------------------------------------------------

    async def _come(self, one: Input) -> None:
        match one.what:
            case PhoneHungUp(agent=agent):
                known = self.book.agents.get(agent)
                if known is not None and known.leg:
                    self._pbx.hang_up(known.leg)
            case Create():
                settings = patched(one.what.settings, self._changes.settings)
                await self._engine.create(_timed(one.what, self.now_ms(), settings=settings))
            case Modify():
                edited = one.what.settings or {}
                kept = {name: value for name, value in edited.items() if name not in self._changes.settings}
                if kept:
                    await self._asked(Modify(at=0, by=one.what.by, settings=kept))
            case ListNumbers() | UnlistNumbers():
                await self._engine.direct(_timed(one.what, self.now_ms()))
            case AddContacts():
                await self._add(one.what)
            case ClickToCall(agent=agent):
                self._seat(agent)
                self._desks[agent].click(one.what)
            case _:
                await self._asked(one.what)
                if agent := getattr(one.what, "agent", ""):
                    self._seat(agent)

    async def _add(self, command: AddContacts) -> None:
        for begin in range(0, len(command.contacts), CONTACTS_PER_COMMAND):
            some = command.contacts[begin : begin + CONTACTS_PER_COMMAND]
            await self._engine.add_contacts(self._day.campaign, _timed(command, self.now_ms(), contacts=some))

    async def _asked(self, command: Any) -> None:
        try:
            await self.submit(_timed(command, self.now_ms()))
        except Refused as refused:
            self.refusals[f"{type(command).__name__.lower()}: {refused.code}"] += 1


def _timed(command: Any, at: int, **changes: Any) -> Any:
    return msgspec.structs.replace(command, at=at, **changes)


def _trunks(day: Day) -> set[str]:
    """All that the campaign ever had, and those it gets during the day."""
    found = {trunk for one in (day.book.campaign.settings,) for trunk in one.trunks}
    for one in day.inputs:
        if isinstance(one.what, Create):
            found |= set(one.what.settings.trunks)
        elif isinstance(one.what, Modify) and one.what.settings:
            found |= {one.what.settings.get("trunk", ""), *one.what.settings.get("further_trunks", ())}
    return found - {""}
