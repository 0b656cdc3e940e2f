"""A whole service in this process and a PBX in another: what attempts, their cost, latencies and memory are measured on.

Agents are coroutines without a thought: they ask, dial, talk as long as the far end likes or hang up at once, and dispose.
They are no HTTP clients, so what is measured is the engine, its log, its AMI connection and its notifications.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from config.settings import Ami, Dialing, Http, Settings, Store, Tokens, Webhooks
from engine.core.agent import DefaultState, Line, Presence, Wanted
from engine.core.call import CallBridged, CallEnded
from engine.core.campaign import Create, Disposition, Mode, Start, Status, Stop
from engine.core.campaign import Settings as CampaignSettings
from engine.core.contact import NewContact
from engine.core.message import AddContacts, Allocate, AskAgent, Dial, Dispose, HangUpCall, Next, NoContact
from engine.core.outcome import Party
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.core.reservation import Reservation
from engine.ports import Recorded
from engine.service import Service
from simulations.engine_process import free_port

REF = "bench"
ADDED_AT_ONCE = 1_000
PATIENCE_S = 60
AGAIN_S = 0.01


class Pbx(msgspec.Struct, frozen=True, kw_only=True):
    """Where it is. Numbers that begin with a 1 answer and stay, with a 6 they hang up by themselves."""

    port: int
    username: str = "ringfold"
    secret: str = "ringfold"  # noqa: S105 - of a simulation on the loopback
    trunk: str = "carrier"


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    agents: int = 100
    contacts: int = 20_000
    talking: int = 0
    """Agents beside them, each in a call that lasts."""
    again_s: int = 1
    """A contact comes back so long after an attempt, and before those who were never called."""


class AgentsMissing(Exception):
    """Agents aren't on the line, so nothing that is measured would be of the crowd that was asked for. Says who, and why."""


class Worked(NamedTuple):
    """Attempts, and those of them in which the two could talk."""

    attempts: int
    joined: int


@asynccontextmanager
async def simulated_pbx(time_scale: float, seed: int = 1) -> AsyncIterator[Pbx]:
    """In a process of its own. `time_scale` against life: at 1 a far end rings 200 ms and talks a second."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulations", "pbx", "--port", str(port), "--seed", str(seed)),
        *("--time-scale", str(time_scale)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            await process.stdout.readline()  # it listens now; the few lines that follow fit the pipe
        yield Pbx(port=port)
    finally:
        process.terminate()
        await process.wait()


class Dialer:
    """Use `Dialer.running()`."""

    def __init__(self, service: Service, crowd: Crowd) -> None:
        self.service, self.engine, self.crowd = service, service.engine, crowd
        self.names = [f"agent{number}" for number in range(1, crowd.agents + crowd.talking + 1)]
        self._bridged: dict[str, asyncio.Future[bool]] = {}
        self._ended: dict[str, asyncio.Future[bool]] = {}
        self.phones_lost = 0
        """Agents' legs that the PBX dropped while they worked."""
        self.engine.followers.append(self._follow)

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, pbx: Pbx, crowd: Crowd) -> "AsyncIterator[Dialer]":
        """A campaign that runs, its agents on the line."""
        service = Service(settings_for(folder, pbx, crowd))
        await service.start()
        try:
            dialer = cls(service, crowd)
            await dialer.begin(pbx)
            yield dialer
        finally:
            await service.stop()

    def now(self) -> int:
        return self.engine.clock.now_ms()

    async def begin(self, pbx: Pbx) -> None:
        """The campaign, its list and agents; returns when all are on the line, and those who talk do.

        Raises AgentsMissing. A campaign runs as soon as everybody's phone was tried, with whoever came.
        """
        engine = self.engine
        settings = CampaignSettings(
            dispositions=(Disposition(code="again", final=False, retry_after_s=self.crowd.again_s),),
            trunk=pbx.trunk,
            max_lines=len(self.names),
            stop_when_completed=False,
        )
        create = Create(at=self.now(), by=REF, ref=REF, name=REF, mode=Mode.PREVIEW, settings=settings)
        await engine.create(create)
        for first in range(0, self.crowd.contacts, ADDED_AT_ONCE):
            places = range(first, min(self.crowd.contacts, first + ADDED_AT_ONCE))
            await engine.add_contacts(
                REF, AddContacts(at=self.now(), by=REF, contacts=tuple(_person(place) for place in places))
            )
        for name in self.names:
            await engine.submit(REF, _allocation(self.now(), name))
        with contextlib.suppress(TimeoutError):  # whoever is missing then is told
            async with asyncio.timeout(PATIENCE_S):
                while not engine.claims.pbx_up:
                    await asyncio.sleep(AGAIN_S)
                await engine.submit(REF, Start(at=self.now(), by=REF))
                await self._is(Status.RUNNING)
        if missing := self._missing():
            raise AgentsMissing(", ".join(missing))
        async with asyncio.timeout(PATIENCE_S):
            for name in self.names[self.crowd.agents :]:
                held = await self.take(name)
                await self.bridged(await self.dial(held, stays=True))

    async def stop(self) -> None:
        """Returns once all phones are down: who dials them next finds them free."""
        await self.engine.submit(REF, Stop(at=self.now(), by=REF, force=True))
        async with asyncio.timeout(PATIENCE_S):
            await self._is(Status.STOPPED)

    async def _is(self, status: Status) -> None:
        while self.engine.campaigns[REF].book.campaign.status is not status:
            await asyncio.sleep(AGAIN_S)

    def _missing(self) -> list[str]:
        """Who isn't there, each with the reason."""
        agents = self.engine.campaigns[REF].book.agents.values()
        return [f"{one.id} is {one.status}: {one.reason}" for one in agents if one.presence is not Presence.PRESENT]

    def _follow(self, _: str, recorded: Sequence[Recorded]) -> None:
        for one in recorded:
            event = one.event
            if isinstance(event, CallBridged):
                _settle(self._bridged.get(event.call), True)
            elif isinstance(event, CallEnded):
                _settle(self._bridged.pop(event.call, None), False)
                _settle(self._ended.pop(event.call, None), True)

    # -- an agent -------------------------------------------------------------------------------------------------------

    async def take(self, name: str) -> Reservation:
        """The next contact, as soon as there is one. Who lost the phone meanwhile comes back first; raises AgentsMissing where
        that fails."""
        chance = self.engine.chance
        while True:
            ask = Next(at=self.now(), agent=name, reservation=chance.new_id(), token=chance.new_id())
            try:
                held: Reservation | NoContact = await self.engine.submit(REF, ask)
            except Refused:
                if self._is_there(name):
                    raise
                await self._return(name)
                continue
            if isinstance(held, Reservation):
                return held
            await asyncio.sleep(AGAIN_S)

    def _is_there(self, name: str) -> bool:
        return self.engine.campaigns[REF].book.agents[name].presence is Presence.PRESENT

    async def _return(self, name: str) -> None:
        """As a person does whose phone went silent."""
        self.phones_lost += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while self.engine.campaigns[REF].book.agents[name].presence is not Presence.ABSENT:
                    await asyncio.sleep(AGAIN_S)
                ask = AskAgent(at=self.now(), by=name, agent=name, wanted=Wanted.AVAILABLE, reason="")
                await self.engine.submit(REF, ask)
                while not self._is_there(name):
                    await asyncio.sleep(AGAIN_S)
                return
        raise AgentsMissing(", ".join(self._missing()))

    async def dial(self, held: Reservation, *, stays: bool) -> str:
        """The call's id, once its intent is durable. `stays`: on the number that waits for us to hang up."""
        chance = self.engine.chance
        call, loop = chance.new_id(), asyncio.get_running_loop()
        self._bridged[call], self._ended[call] = loop.create_future(), loop.create_future()
        contact = self.engine.campaigns[REF].book.contacts.by_ref[held.contact]
        number = contact.numbers[1] if stays else contact.numbers[0]
        while True:
            try:
                dial = Dial(
                    at=self.now(),
                    agent=held.agent,
                    reservation=held.id,
                    token=held.token,
                    number=number,
                    call=call,
                    leg=chance.new_id(),
                )
                await self.engine.submit(REF, dial)
                return call
            except Refused as refused:
                if refused.code not in ("setup-limit", "lines-in-use"):
                    raise
                await asyncio.sleep(AGAIN_S)

    async def bridged(self, call: str) -> bool:
        """Wait until it is, or ended without it."""
        waiting = self._bridged.get(call)
        return await waiting if waiting is not None else False

    async def ended(self, call: str) -> None:
        if (waiting := self._ended.get(call)) is not None:
            await waiting

    async def hang_up(self, call: str, name: str) -> None:
        await self.engine.submit(REF, HangUpCall(at=self.now(), by=name, party=Party.AGENT, call=call))

    async def dispose(self, held: Reservation) -> None:
        dispose = Dispose(at=self.now(), agent=held.agent, reservation=held.id, token=held.token, disposition="again")
        await self.engine.submit(REF, dispose)

    async def attempt(self, name: str, *, hangs_up: bool = False) -> bool:
        """One whole attempt, from the question for a contact to the disposition; whether the two could talk."""
        held = await self.take(name)
        try:
            call = await self.dial(held, stays=hangs_up)
        except Refused:
            if self._is_there(name):
                raise
            return False
        is_joined = await self.bridged(call)
        if hangs_up and is_joined:
            await self.hang_up(call, name)
        await self.ended(call)
        await self.dispose(held)
        return is_joined

    async def work(self, seconds: float, *, hangs_up: bool = False) -> Worked:
        """All agents at once, for so long."""
        until = time.perf_counter() + seconds

        async def one(name: str) -> list[bool]:
            done: list[bool] = []
            while time.perf_counter() < until:
                done.append(await self.attempt(name, hangs_up=hangs_up))
            return done

        done = await asyncio.gather(*(one(name) for name in self.names[: self.crowd.agents]))
        return Worked(sum(map(len, done)), sum(map(sum, done)))


def cpu_s() -> float:
    """Of this process so far."""
    used = os.times()
    return used.user + used.system


def _settle(waiting: "asyncio.Future[bool] | None", result: bool) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(result)


def settings_for(folder: Path, pbx: Pbx, crowd: Crowd) -> Settings:
    """Of a service that such a crowd can work with, its store in the folder."""
    return Settings(
        http=Http(port=free_port()),
        store=Store(url=f"sqlite:///{folder / 'bench.db'}"),
        ami=Ami(port=pbx.port, username=pbx.username, secret=pbx.secret, max_originates_per_second=100_000),
        dialing=Dialing(trunks=(pbx.trunk,), max_calls_in_setup=crowd.agents + crowd.talking),
        tokens=Tokens(key_file=str(folder / "tokens.key")),
        webhooks=Webhooks(allow_private_targets=True, allow_http=True),
    )


def _person(place: int) -> NewContact:
    name = f"{REF}:{place}"
    return NewContact(name, Person(name, Details(numbers=(f"6{place:07}", f"1{place:07}"), name=f"Person {place}")))


def _allocation(at: int, name: str) -> Allocate:
    return Allocate(
        at=at, by=REF, agent=name, phone=name, line=Line.NAILED, default_state=DefaultState.AVAILABLE, weight=1
    )
