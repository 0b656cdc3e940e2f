"""A world: engine, PBX, agents and faults over one stretch of virtual time, then calm until all of it has stopped."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec
import structlog

from adapters.ami.settings import AmiSettings
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
from engine.core.telephony import Settle, TelephonyEffect
from engine.ports import Recorded
from eventstore import Codec, Store
from eventstore.memory import MemoryStore
from simulations.pbx import SimulatedPbx
from simulations.pbx.exchange import EPOCH_S
from simulations.world.agent import ANSWER_WITHIN_S, Agent
from simulations.world.checker import violations
from simulations.world.fault import Storm
from simulations.world.faulty import FaultyStore, FaultyTelephony
from simulations.world.loop import Stalled, VirtualLoop, life
from simulations.world.moment import Death, Moments
from simulations.world.people import People
from simulations.world.scenario import Scenario
from simulations.world.shift import shift_of
from simulations.world.watch import Watcher

REF = "spring"
CALM_WITHIN_S = 2 * 3_600
"""How long, at most, the campaign takes to stop once faults are over: the longest talk is an hour."""
LEASE_MS = 10_000
BOOT_WITHIN_S = 120
RESTART_S = 2
"""What a supervisor waits before it starts a process again."""
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
    unknown: int
    """Calls of which nobody can say any more what became of them."""
    faults: dict[str, int]
    """How often each kind has struck."""
    moments: dict[str, int]
    """Moments at which it could have been killed."""
    crash_points: dict[str, int]
    """Where the engine was killed."""
    originates_cut: dict[str, int]
    commits_in_doubt: dict[str, int]
    """Appends whose answer was lost: durable, or not. The engine had to find out which."""
    violations: list[str]


class World:
    """What people and faults find around them. `engine` is the one that lives now."""

    engine: Engine

    def __init__(self, scenario: Scenario, seed: int, loop: VirtualLoop, death: Death | None = None) -> None:
        self.scenario, self.seed, self.loop = scenario, seed, loop
        self.lives = self.ids = 0
        self.clock_step_ms = 0
        self.crew: dict[str, asyncio.Task[None]] = {}
        self.away: set[asyncio.Task[None]] = set()
        self.fenced: list[str] = []
        self.moments = Moments(loop)
        self.store = FaultyStore(MemoryStore(), loop.time, Random(f"{seed}/store"), self.moments)
        self.storm = Storm(self, death)
        self.pbx = SimulatedPbx(People(scenario.callees, loop.time), seed=seed, event_lag_ms=(0, 40))

    # -- what the engine and the agents need of it ---------------------------------------------------------------------

    def now_ms(self) -> int:
        return round((EPOCH_S + self.loop.time()) * 1_000) + self.clock_step_ms

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
        """A new process over the logs that are there. It is a standby until the last one's lease is over."""
        self.lives += 1
        before = life.set(self.lives)
        try:
            store = Store(self.store, Codec(Event | DirectoryEvent), f"life {self.lives}", LEASE_MS)
            ami = AmiSettings(port=self.pbx.port, username=self.pbx.username, secret=self.pbx.secret)
            telephony = FaultyTelephony(ami, self.now_ms, self.moments, self._told(self.lives))
            self.engine = Engine(store, telephony, self, self, Limits())
            starting = self.loop.create_task(self.engine.start(), name="boot")
        finally:
            life.reset(before)
        await asyncio.wait([starting], timeout=BOOT_WITHIN_S)  # a life that dies before it has started never returns
        if starting.done() and starting.exception() is not None:  # the store was away: the process ends
            self.loop.kill(self.lives)

    async def _inside(self, work: Coroutine[Any, Any, Any]) -> None:
        """What begins tasks that belong to the engine's process must be begun in it."""
        before = life.set(self.lives)
        try:
            task = self.loop.create_task(work)
        finally:
            life.reset(before)
        await task

    async def revive(self) -> None:
        """Whatever became of the last one: an engine lives and has started."""
        while self.loop.is_dead(self.lives) or not self.has_started:
            self.loop.kill(self.lives)
            await asyncio.sleep(RESTART_S)
            await self.boot()

    @property
    def has_started(self) -> bool:
        return REF in self.engine.campaigns

    def _told(self, which: int) -> Callable[[TelephonyEffect], None]:
        """An effect is for the owner alone: another's is a violation, whatever comes of it."""

        def told(effect: TelephonyEffect) -> None:
            owner = self.store.inner.owner(log_of(REF))
            if owner not in (f"life {which}", "") and not isinstance(effect, Settle):  # that one only asks
                what, at_s = type(effect).__name__, self.loop.time()
                self.fenced.append(f"2: life {which} performed {what} at {at_s:.3f} s, {owner} was the owner")

        return told

    # -- the day -------------------------------------------------------------------------------------------------------

    async def live(self, watcher: Watcher | None = None) -> Result:
        await self.pbx.start()
        await self.boot()
        await self._found()
        if watcher:
            watcher.attend(self)
        for agent in self._agents():
            self.crew[agent.name] = self.loop.create_task(agent.work(), name=agent.name)
        faults = [self.loop.create_task(work, name="fault") for work in self.storm.work()]
        await asyncio.sleep(self.scenario.hours * 3_600)
        await _ended(faults)
        await self.storm.calm()
        is_calm = await self._calm()
        await _ended([*self.crew.values(), *self.away])
        result = await self._result(is_calm)
        await self.loop.bury()
        return result

    def send_away(self, name: str, for_s: float) -> None:
        """An agent is gone without a word, and comes back."""
        self.crew.pop(name).cancel()

        async def away() -> None:
            await asyncio.sleep(for_s)
            self.crew[name] = self.loop.create_task(self._agent(int(name.removeprefix("agent"))).work(), name=name)

        self.away.add(self.loop.create_task(away(), name=f"{name} away"))

    async def _found(self) -> None:
        now = self.now_ms()
        retries = (RetryRule(outcome=Outcome.BUSY, after_s=60, growth=2.0),)
        settings = Settings(max_lines=self.scenario.agents.count, attempts_per_contact=4, retries=retries)
        create = Create(at=now, by="m", ref=REF, name="Spring", mode=Mode.PREVIEW, settings=settings)
        await self._inside(self.engine.create(create))
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
        return [self._agent(place) for place in range(self.scenario.agents.count)]

    def _agent(self, place: int) -> Agent:
        habits = self.scenario.agents
        chance = Random(f"{self.seed}/agent/{place}/{self.loop.time()}")
        return Agent(f"agent{place}", self, habits, shift_of(place, habits.shifts), chance)

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
        struck = self.moments.struck
        in_doubt = {"durable": self.store.unknown, "not durable": self.store.refused}
        campaign = logs[log_of(REF)]
        dialled = list(self.pbx.originates)
        ends = [one.event for one in campaign if isinstance(one.event, CallEnded)]
        events, durable_at_s = [one.event for one in campaign], self.store.durable_at_s[log_of(REF)]
        found = violations(events, durable_at_s, dialled, self.engine.campaigns[REF].book)
        return Result(
            scenario=self.scenario.name,
            seed=self.seed,
            digest=_digest(logs, dialled),
            virtual_s=round(self.loop.time(), 3),
            events=sum(map(len, logs.values())),
            calls=sum(bool(one.number) for one in dialled),
            connected=sum(one.outcome is Outcome.ANSWERED for one in ends),
            unknown=sum(one.outcome is Outcome.UNKNOWN for one in ends),
            faults=dict(sorted(self.storm.counts.items())),
            moments={str(moment): count for moment, count in sorted(self.moments.passed.items())},
            crash_points={str(moment): count for moment, count in sorted(struck.items())},
            originates_cut=dict(sorted(self.pbx.cuts_made.items())),
            commits_in_doubt=in_doubt,
            violations=found
            + self.fenced
            + ([] if is_calm else ["liveness: never stopped, or a leg that nobody hangs up"]),
        )

    async def _read(self, name: str) -> list[Recorded]:
        return [one async for batch in self.engine.store.read(name) for one in batch]


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _digest(logs: dict[str, list[Recorded]], dialled: Any) -> str:
    """Over what was decided: the stored bytes are sealed under keys that nobody may foresee."""
    whole = msgspec.json.encode([logs, list(dialled)], enc_hook=_person, order="deterministic")
    return blake2b(whole, digest_size=16).hexdigest()


def _person(value: Any) -> Any:
    assert isinstance(value, Person)
    return [value.subject, value.details]


def run(scenario: Scenario, seed: int, watcher: Watcher | None = None, death: Death | None = None) -> Result:
    """The same scenario and seed give the same result, whatever the machine and whoever watches.

    With a `death` the engine is killed at that very moment, beside all that the scenario has in store for it.
    """
    loop = VirtualLoop()
    before = random.getstate()
    random.seed(seed)  # the pauses before the engine tries again
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        return loop.run_until_complete(World(scenario, seed, loop, death).live(watcher))
    except Stalled:
        raise AssertionError(f"seed {seed}: everybody waits for somebody else") from None
    finally:
        structlog.configure(**logging)
        random.setstate(before)
        loop.close()
