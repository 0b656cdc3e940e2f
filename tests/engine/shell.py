"""What the engine's shell stands on in tests: a clock set by hand, a PBX that does what it is told, a store to come back to."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from engine.app import Engine
from engine.core.agent import DefaultState, Line
from engine.core.book import Book, Event
from engine.core.campaign import Create, Mode, Settings, Start, Status
from engine.core.contact import NewContact
from engine.core.directory import DirectoryEvent
from engine.core.message import AddContacts, Allocate, Dial, Next
from engine.core.personal import Details, Person
from engine.core.reservation import Reservation
from engine.core.telephony import LegReady, LegSeen, LegState, PbxUp, TelephonyEffect
from engine.limits import Limits
from engine.ports import MayAct, Sink, always
from eventstore import Codec, Store, open_store

T = TypeVar("T")
PATIENCE_S = 10


class HandClock:
    def __init__(self, now: int = 1_000_000) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class CountingChance:
    _ids = itertools.count(1)  # over all engines of a test: an id is never given out twice

    def new_id(self) -> str:
        return f"{next(self._ids):032x}"


class ScriptedTelephony:
    """Keeps what it is asked; says what a test lets it say."""

    def __init__(self) -> None:
        self.asked: list[TelephonyEffect] = []
        self.sink: Sink | None = None
        self.stopped = False

    async def start(self, sink: Sink, _may_act: MayAct = always) -> None:
        self.sink = sink

    def perform(self, effect: TelephonyEffect) -> None:
        self.asked.append(effect)

    async def stop(self) -> None:
        self.stopped = True

    def all(self, kind: type[T]) -> list[T]:
        return [one for one in self.asked if isinstance(one, kind)]


class Shell:
    """An engine, its PBX and its clock; `again` is the next process over the same logs."""

    def __init__(self, store: Store, clock: HandClock, limits: Limits) -> None:
        self.store, self.clock, self.limits = store, clock, limits
        self.pbx = ScriptedTelephony()
        self.engine = Engine(store, self.pbx, clock, CountingChance(), limits)

    def again(self, owner: str = "") -> "Shell":
        ours = Store(self.store.segments, Codec(Event | DirectoryEvent), owner or "one", 10_000)
        return Shell(ours, self.clock, self.limits)

    async def start(self, *legs: LegSeen, restarted: bool = False) -> None:
        await self.engine.start()
        self.up(*legs, restarted=restarted)
        await self.settled()

    def up(self, *legs: LegSeen, restarted: bool = False) -> None:
        self.engine.switchboard.hear(PbxUp(at=self.clock.now, legs=legs, restarted=restarted))

    async def settled(self) -> None:
        for one in list(self.engine.campaigns.values()):
            await one.actor.settled()

    def book(self, ref: str = "c1") -> Book:
        return self.engine.campaigns[ref].book

    def seen(self, leg: str, ready: bool = True, bridged: bool = False) -> LegSeen:
        return LegSeen(
            leg=leg, at=self.clock.now, channel=f"PJSIP/{leg}", state=LegState.UP, ready=ready, bridged=bridged
        )

    async def hear_ready(self, leg: str) -> None:
        self.engine.switchboard.hear(LegReady(leg=leg, at=self.clock.now, channel=f"PJSIP/{leg}"))
        await self.settled()

    # -- given ----------------------------------------------------------------------------------------------------

    async def create(self, ref: str = "c1", **settings: Any) -> bool:
        body = Settings(**settings)
        made = Create(at=self.clock.now, by="m", ref=ref, name="Spring", mode=Mode.PREVIEW, settings=body)
        return await self.engine.create(made)

    def contacts(self, *refs: str) -> AddContacts:
        new = tuple(NewContact(one, Person(one, Details(numbers=(f"555{place}",)))) for place, one in enumerate(refs))
        return AddContacts(at=self.clock.now, by="m", contacts=new)

    async def running(self, ref: str = "c1", **settings: Any) -> None:
        """A running campaign with agent a1 on the line and contacts k1 and k2."""
        await self.create(ref, **settings)
        await self.engine.add_contacts(ref, self.contacts(f"{ref}:k1", f"{ref}:k2"))
        allocate = Allocate(
            at=self.clock.now,
            by="m",
            agent="a1",
            phone="desk1",
            line=Line.NAILED,
            default_state=DefaultState.AVAILABLE,
            weight=1,
        )
        await self.engine.submit(ref, allocate)
        await self.engine.submit(ref, Start(at=self.clock.now, by="m"))
        await self.hear_ready(self.book(ref).agents["a1"].leg)
        assert self.book(ref).campaign.status is Status.RUNNING

    async def next(self, ref: str = "c1") -> Reservation:
        chance = self.engine.chance
        given = await self.engine.submit(
            ref, Next(at=self.clock.now, agent="a1", reservation=chance.new_id(), token=chance.new_id())
        )
        assert isinstance(given, Reservation)
        return given

    async def dial(self, ref: str = "c1") -> str:
        return await self.dial_held(await self.next(ref), ref)

    async def dial_held(self, held: Reservation, ref: str = "c1") -> str:
        chance = self.engine.chance
        dial = Dial(
            at=self.clock.now,
            agent="a1",
            reservation=held.id,
            token=held.token,
            number=None,
            call=chance.new_id(),
            leg=chance.new_id(),
        )
        call = await self.engine.submit(ref, dial)
        assert isinstance(call, str)
        return call


async def new_shell(limits: Limits | None = None) -> Shell:
    store = await open_store("memory:", Codec(Event | DirectoryEvent), owner="one")
    return Shell(store, HandClock(), limits or Limits())


@asynccontextmanager
async def started(shell: Shell, *legs: LegSeen, restarted: bool = False) -> AsyncIterator[Shell]:
    await shell.start(*legs, restarted=restarted)
    try:
        yield shell
    finally:
        await shell.engine.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.002)
