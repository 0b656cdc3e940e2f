"""A world: engine, PBX, agents and faults over one stretch of virtual time, then calm until all of it has stopped."""

import asyncio
import random
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec
import structlog

from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from engine.actor import NotOwner
from engine.app import Engine, Limits, log_of
from engine.core.agent import DefaultState, Line
from engine.core.book import Event
from engine.core.call import CallEnded
from engine.core.campaign import Create, Mode, RetryRule, Settings, Start, Status, Stop
from engine.core.contact import NewContact
from engine.core.directory import DirectoryEvent
from engine.core.message import AddContacts, Allocate
from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.core.reservation import Reservation
from engine.ports import Recorded
from eventstore import Codec, Store, open_store
from simulations.pbx import SimulatedPbx
from simulations.pbx.exchange import EPOCH_S
from simulations.world.agent import ANSWER_WITHIN_S, Agent
from simulations.world.checker import violations
from simulations.world.loop import Stalled, VirtualLoop, life
from simulations.world.people import People
from simulations.world.scenario import PerHour, Scenario
from simulations.world.shift import shift_of
from simulations.world.watch import Watcher

REF = "spring"
CALM_WITHIN_S = 2 * 3_600
"""How long, at most, the campaign takes to stop once faults are over: the longest talk is an hour."""
LEASE_MS = 10_000
CONTACTS_PER_COMMAND = 1_000


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. `digest` is over every event of every log and all that the PBX really dialled."""

    scenario: str
    seed: int
    digest: str
    virtual_s: float
    events: int
    calls: int
    connected: int
    crashes: int
    cuts: int
    originates_cut: int
    pbx_restarts: int
    unknown: int
    violations: list[str]


class World:
    """What people and faults find around them. `engine` is the one that lives now."""

    engine: Engine

    def __init__(self, scenario: Scenario, seed: int, loop: VirtualLoop) -> None:
        self.scenario, self.seed, self.loop = scenario, seed, loop
        self.lives = self.ids = 0
        self.done = {"crashes": 0, "cuts": 0, "originates_cut": 0, "pbx_restarts": 0}
        self.pbx = SimulatedPbx(People(scenario.callees, loop.time), seed=seed, event_lag_ms=(0, 40))
        self._chance = Random(f"{seed}/faults")

    # -- what the engine and the agents need of it ---------------------------------------------------------------------

    def now_ms(self) -> int:
        return round((EPOCH_S + self.loop.time()) * 1_000)

    def now_s(self) -> float:
        return self.loop.time()

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032x}"

    async def submit(self, command: Any) -> Any:
        return await self.engine.submit(REF, command)

    def held(self, agent: str) -> Reservation | None:
        """As an agent's screen shows it; nothing while the engine is away."""
        running = self.engine.campaigns.get(REF)
        known = running.book.agents.get(agent) if running else None
        return running.book.reservations.get(known.reservation) if running and known else None

    # -- the engine's lives --------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """A new process over the logs that are there."""
        self.lives += 1
        before = life.set(self.lives)
        try:
            store = Store(self.segments, Codec(Event | DirectoryEvent), "engine", LEASE_MS)
            ami = AmiSettings(port=self.pbx.port, username=self.pbx.username, secret=self.pbx.secret)
            self.engine = Engine(store, AmiTelephony(ami, self.now_ms), self, self, Limits())
            await asyncio.get_running_loop().create_task(self.engine.start(), name="boot")
        finally:
            life.reset(before)

    async def crash(self) -> None:
        self.done["crashes"] += 1
        self.loop.kill(self.lives)
        await asyncio.sleep(self._chance.uniform(0.5, 5))
        await self.boot()

    # -- the day -------------------------------------------------------------------------------------------------------

    async def live(self, watcher: Watcher | None = None) -> Result:
        self.segments = (await open_store("memory:", Codec(Event | DirectoryEvent), owner="engine")).segments
        await self.pbx.start()
        await self.boot()
        await self._found()
        if watcher:
            watcher.attend(self)
        crew = [self.loop.create_task(one.work(), name=one.name) for one in self._agents()]
        faults = [self.loop.create_task(work, name="faults") for work in self._faults()]
        await asyncio.sleep(self.scenario.hours * 3_600)
        for task in faults:
            task.cancel()
        await asyncio.gather(*faults, return_exceptions=True)
        if self.done["crashes"]:
            await self.crash()  # a fault may have ended in the middle of a start
        is_calm = await self._calm()
        for task in crew:
            task.cancel()
        await asyncio.gather(*crew, return_exceptions=True)
        result = await self._result(is_calm)
        await self.loop.bury()
        return result

    async def _found(self) -> None:
        now = self.now_ms()
        retries = (RetryRule(outcome=Outcome.BUSY, after_s=60, growth=2.0),)
        settings = Settings(max_lines=self.scenario.agents.count, attempts_per_contact=4, retries=retries)
        await self.engine.create(Create(at=now, by="m", ref=REF, name="Spring", mode=Mode.PREVIEW, settings=settings))
        new = [self._contact(place) for place in range(self.scenario.contacts)]
        for begin in range(0, len(new), CONTACTS_PER_COMMAND):
            some = tuple(new[begin : begin + CONTACTS_PER_COMMAND])
            await self.engine.add_contacts(REF, AddContacts(at=now, by="m", contacts=some))
        for place in range(self.scenario.agents.count):
            name = f"agent{place}"
            await self.submit(
                Allocate(
                    at=now,
                    by="m",
                    agent=name,
                    phone=name,
                    line=Line.NAILED,
                    default_state=DefaultState.AVAILABLE,
                    weight=1,
                )
            )
        await self.submit(Start(at=now, by="m"))

    def _contact(self, place: int) -> NewContact:
        ref = f"{REF}:{place:06}"
        return NewContact(ref, Person(ref, Details(numbers=(f"3{place:09}",))))

    def _agents(self) -> list[Agent]:
        habits = self.scenario.agents
        return [
            Agent(f"agent{place}", self, habits, shift_of(place, habits.shifts), Random(f"{self.seed}/agent/{place}"))
            for place in range(habits.count)
        ]

    # -- faults --------------------------------------------------------------------------------------------------------

    def _faults(self) -> list[Any]:
        faults = self.scenario.faults
        return [
            self._now_and_then(faults.crashes, self.crash),
            self._now_and_then(faults.cuts, self._cut),
            self._now_and_then(faults.cut_originates, self._cut_originate),
            self._now_and_then(faults.pbx_restarts, self._restart_pbx),
        ]

    async def _now_and_then(self, per_hour: PerHour, strike: Any) -> None:
        while per_hour:
            await asyncio.sleep(self._chance.expovariate(per_hour / 3_600))
            await strike()

    async def _cut(self) -> None:
        self.done["cuts"] += 1
        self.pbx.cut()

    async def _cut_originate(self) -> None:
        self.done["originates_cut"] += 1
        before, performed = self._chance.random() < 0.5, self._chance.random() < 0.5
        self.pbx.cut_on("Originate", before_response=before, performed=performed)

    async def _restart_pbx(self) -> None:
        self.done["pbx_restarts"] += 1
        self.pbx.restart()

    # -- the evening ---------------------------------------------------------------------------------------------------

    async def _calm(self) -> bool:
        """No more faults: the campaign is asked to stop, and must."""
        until_s = self.loop.time() + CALM_WITHIN_S
        while self.loop.time() < until_s:
            status = self.engine.campaigns[REF].book.campaign.status
            if status is Status.STOPPED:
                await asyncio.sleep(ANSWER_WITHIN_S)
                return not self.pbx.live
            if status is not Status.STOPPING:
                try:
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        await self.submit(Stop(at=self.now_ms(), by="m"))
                except (Refused, NotOwner, TimeoutError):
                    pass
            await asyncio.sleep(1)
        return False

    async def _result(self, is_calm: bool) -> Result:
        logs = {name: await self._read(name) for name in sorted(await self.engine.store.logs())}
        campaign = logs[log_of(REF)]
        dialled = list(self.pbx.originates)
        ends = [one.event for one in campaign if isinstance(one.event, CallEnded)]
        found = violations([one.event for one in campaign], dialled, self.engine.campaigns[REF].book)
        return Result(
            scenario=self.scenario.name,
            seed=self.seed,
            digest=_digest(logs, dialled),
            virtual_s=round(self.loop.time(), 3),
            events=sum(map(len, logs.values())),
            calls=sum(bool(one.number) for one in dialled),
            connected=sum(one.outcome is Outcome.ANSWERED for one in ends),
            unknown=sum(one.outcome is Outcome.UNKNOWN for one in ends),
            violations=found + ([] if is_calm else ["liveness: never stopped, or a leg that nobody hangs up"]),
            **self.done,
        )

    async def _read(self, name: str) -> list[Recorded]:
        return [one async for batch in self.engine.store.read(name) for one in batch]


def _digest(logs: dict[str, list[Recorded]], dialled: Any) -> str:
    """Over what was decided: the stored bytes are sealed under keys that nobody may foresee."""
    whole = msgspec.json.encode([logs, list(dialled)], enc_hook=_person, order="deterministic")
    return blake2b(whole, digest_size=16).hexdigest()


def _person(value: Any) -> Any:
    assert isinstance(value, Person)
    return [value.subject, value.details]


def run(scenario: Scenario, seed: int, watcher: Watcher | None = None) -> Result:
    """The same scenario and seed give the same result, whatever the machine and whoever watches."""
    loop = VirtualLoop()
    before = random.getstate()
    random.seed(seed)  # the pauses before the engine tries again
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        return loop.run_until_complete(World(scenario, seed, loop).live(watcher))
    except Stalled:
        raise AssertionError(f"seed {seed}: everybody waits for somebody else") from None
    finally:
        structlog.configure(**logging)
        random.setstate(before)
        loop.close()
