"""A world: engine, PBX, agents and faults over one stretch of virtual time, then calm until all of it has stopped."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from adapters.ami.settings import AmiSettings
from adapters.crm import Crm, Permit
from adapters.notify import Notifier
from adapters.notify.event import FEED_LOG
from adapters.zones import PhoneZones
from engine.app import Engine
from engine.campaigns import CAMPAIGN_PREFIX, Running, log_of
from engine.core.book import Book
from engine.core.call import CallEnded
from engine.core.message import ClickToCall, Dial, Dispose
from engine.core.outcome import Outcome
from engine.core.personal import Person
from engine.core.reservation import Reservation
from engine.core.telephony import Settle, TelephonyEffect
from engine.limits import Limits
from engine.ports import Notification, Recorded
from engine.service import LogEvent
from eventstore import Codec, Store
from eventstore.log import learn_keys
from eventstore.memory import MemoryStore
from eventstore.store import Segment
from simulations.pbx import SimulatedPbx
from simulations.pbx.exchange import EPOCH_S
from simulations.pbx.leg import Leg
from simulations.world.agent import ANSWER_WITHIN_S, Agent
from simulations.world.attic import MemoryAttic
from simulations.world.checker import (
    Asked,
    Checkers,
    CrmTold,
    Durable,
    LegAnswered,
    LegDialled,
    LegGone,
    PhoneRung,
    Promised,
    Told,
)
from simulations.world.checker.replay import disagreements
from simulations.world.crm import HOST, Interaction, interactions
from simulations.world.fault import Storm
from simulations.world.faulty import FaultyStore, FaultyTelephony
from simulations.world.loop import Stalled, VirtualLoop, in_virtual_time, life
from simulations.world.moment import Death, Moments
from simulations.world.office import Desk, Office
from simulations.world.people import People
from simulations.world.receiver import WEBHOOK, Courier, Receiver, notifications, webhook
from simulations.world.scenario import Scenario
from simulations.world.shift import shift_of
from simulations.world.watch import Watcher

REFS = ("spring", "summer", "autumn", "winter")
REF = REFS[0]
CALM_WITHIN_S = 2 * 3_600
"""How long, at most, the campaign takes to stop once faults are over: the longest talk is an hour."""
CLOSED_WITHIN_S = 3_600
"""How long, at most, agents then take to close what they have in hand: one may be away for half an hour."""
TOLD_WITHIN_S = 5_400
"""How long, at most, notifications then take: after many failures retries are an hour apart."""
LEASE_MS = 10_000
BOOT_WITHIN_S = 120
MOST_BOOTS = 1_000
"""Without one that ends well: then the engine is broken, and no fault of the world."""
RESTART_S = 2
"""What a supervisor waits before it starts a process again."""
SNAPSHOT_EVERY_EVENTS, KEEP_EVERY_REFS = 250, 20
"""Often enough that those who are started again begin from one."""


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
    told: dict[str, int]
    """Notifications that the receiver took, how often one came again, and requests that failed."""
    crm_told: dict[str, int]
    """The same of what the CRM was told."""
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
        self._watching: dict[str, asyncio.Future[None]] = {}
        """Agents who look at their screens until something changes there."""
        self.moments = Moments(loop)
        self.refs = REFS[: scenario.campaigns]
        self.lines = scenario.rules.lines or scenario.agents.count
        self.checkers = Checkers(self.lines, scenario.rules.in_setup, scenario.rules.crm)
        self.logged: dict[str, list[Any]] = {}
        """Events by log, as they became durable."""
        self._codec = Codec(LogEvent)
        inner = MemoryStore()
        self.store = FaultyStore(inner, loop.time, Random(f"{seed}/store"), self.moments, self._durable)
        self.storm, self.office = Storm(self, death), Office(self)
        self.receiver = Receiver(notifications, self._taken, loop.time, Random(f"{seed}/receiver"))
        self.crm_end = Receiver(interactions, self._noted, loop.time, Random(f"{seed}/crm"))
        self.people = People(scenario.callees, scenario.agents, seed, loop.time)
        self.pbx = SimulatedPbx(self.people, seed=seed, event_lag_ms=(0, 40), return_ms=(0, 500))

    # -- what the engine and the agents need of it ---------------------------------------------------------------------

    def now_ms(self) -> int:
        return round((EPOCH_S + self.loop.time()) * 1_000) + self.clock_step_ms

    def now_s(self) -> float:
        return self.loop.time()

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032x}"

    def agents_of(self, ref: str) -> list[str]:
        agents = (f"agent{place}" for place in range(self.scenario.agents.count))
        return [agent for agent in agents if ref in self.campaigns_of(agent)]

    def campaigns_of(self, agent: str) -> Sequence[str]:
        if self.scenario.rules.linked and self.people.rings_for_each_call(agent):
            return self.refs
        return (self.refs[int(agent.removeprefix("agent")) % len(self.refs)],)

    async def submit(self, command: Any, ref: str = REF) -> Any:
        if isinstance(command, Dial | ClickToCall):
            self.checkers.see(Asked(command.call, command.at, self.loop.time()))
        answer = await self.engine.submit(ref, command)
        if isinstance(command, Dispose) and command.callback_at is not None:
            self.checkers.see(Promised(command.reservation, command.callback_at, self.loop.time()))
        return answer

    def held(self, agent: str, ref: str = REF) -> Reservation | None:
        """As an agent's screen shows it; nothing while the engine is away."""
        running = self.engine.campaigns.get(ref)
        known = running.book.agents.get(agent) if running else None
        return running.book.reservations.get(known.reservation) if running and known else None

    async def change(self, agent: str, within_s: float) -> None:
        """Until something of this agent's became durable, or the engine is another, or so much time has passed."""
        changed = self._watching[agent] = self.loop.create_future()
        timer = self.loop.call_later(within_s, self._change, agent)
        try:
            await changed
        finally:
            timer.cancel()

    def _change(self, agent: str) -> None:
        changed = self._watching.pop(agent, None)
        if changed is not None and not changed.done():
            changed.set_result(None)

    # -- the engine's lives --------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """A new process over the logs that are there. It is a standby until the last one's lease is over."""
        self.lives += 1
        before = life.set(self.lives)
        try:
            store = Store(self.store, Codec(LogEvent), f"life {self.lives}", LEASE_MS)
            ami = AmiSettings(port=self.pbx.port, username=self.pbx.username, secret=self.pbx.secret)
            telephony = FaultyTelephony(ami, self.now_ms, self.moments, self._told(self.lives))
            limits = Limits(
                max_calls_in_setup=self.scenario.rules.in_setup,
                snapshot_every_events=SNAPSHOT_EVERY_EVENTS,
                keep_every_refs=KEEP_EVERY_REFS,
            )
            self.engine = Engine(store, telephony, self, self, limits, PhoneZones(), attic=MemoryAttic)
            self.notifier = self._notifier(store, self.engine)
            self.crm = self._crm(store, self.engine)
            for agent in list(self._watching):
                self._change(agent)
            starting = self.loop.create_task(self._start(self.engine, self.notifier, self.crm), name="boot")
        finally:
            life.reset(before)
        starting.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, though it comes late
        await asyncio.wait([starting], timeout=BOOT_WITHIN_S)  # a life that dies before it has started never returns
        if starting.done() and starting.exception() is not None:  # the store was away: the process ends
            self.loop.kill(self.lives)

    def _notifier(self, store: Store, engine: Engine) -> Notifier:
        def book_of(name: str) -> Book | None:
            running = engine.campaigns.get(name.removeprefix(CAMPAIGN_PREFIX))
            return running.book if running else None

        webhooks = {WEBHOOK: webhook(self.scenario.receiver_batch)}
        notifier = Notifier(
            store,
            book_of,
            lambda: webhooks,
            self,
            rng=Random(f"{self.seed}/notifier/{self.lives}"),
            sender=Courier(self.receiver, self),
        )
        engine.followers.append(notifier.follow)
        engine.switchboard.announcer = notifier
        return notifier

    def _crm(self, store: Store, engine: Engine) -> Crm:
        crm = Crm(
            store,
            engine.campaigns.keys,
            lambda ref: engine.campaigns[ref].book if ref in engine.campaigns else None,
            lambda agent: agent,
            self,
            Permit((HOST,) if self.scenario.rules.crm else ()),
            rng=Random(f"{self.seed}/crm/{self.lives}"),
            sender=Courier(self.crm_end, self),
        )
        engine.followers.append(crm.follow)
        return crm

    async def _start(self, engine: Engine, notifier: Notifier, crm: Crm) -> None:
        try:
            await notifier.own()
            await engine.start()
            await notifier.start()
            crm.start()
        finally:
            # a process would end: this one goes on, which is worse
            engine.failed.add_done_callback(asyncio.Future.exception)

    async def inside(self, work: Coroutine[Any, Any, Any]) -> None:
        """What begins tasks that belong to the engine's process must be begun in it."""
        before = life.set(self.lives)
        try:
            task = self.loop.create_task(work)
        finally:
            life.reset(before)
        await task

    async def revive(self) -> None:
        """Whatever became of the last one: an engine lives and has started."""
        boots = 0
        while self.loop.is_dead(self.lives) or not self.has_started:
            boots += 1
            assert boots < MOST_BOOTS, f"seed {self.seed}: the engine doesn't start"
            self.loop.kill(self.lives)
            await asyncio.sleep(RESTART_S)
            await self.boot()

    @property
    def has_failed(self) -> bool:
        """What ends a process by itself: notifications can't go on, or a log is another's."""
        outward = self.notifier.failed or self.crm.failed
        return outward is not None or self.engine.failed.done()

    @property
    def has_started(self) -> bool:
        return all(ref in self.engine.campaigns for ref in self.refs)

    def _told(self, which: int) -> Callable[[TelephonyEffect], None]:
        """An effect is for the owner alone: another's is a violation, whatever comes of it."""

        def told(effect: TelephonyEffect) -> None:
            owners = {self.store.inner.owner(log_of(ref)) for ref in self.refs}
            if not owners & {f"life {which}", ""} and not isinstance(effect, Settle):  # that one only asks
                what, at_s, owner = type(effect).__name__, self.loop.time(), " and ".join(sorted(owners))
                self.checkers.tell(f"2: life {which} performed {what} at {at_s:.3f} s, {owner} was the owner")

        return told

    # -- what the checkers see -----------------------------------------------------------------------------------------

    async def _durable(self, log: str, segment: Segment) -> None:
        if log == FEED_LOG:  # an order of references to the others, of which nothing is judged
            return
        lines = self._codec.unpack(segment.codec, segment.data)
        await learn_keys(self.store.inner, self._codec, log, lines)
        for one in self._codec.decode(lines, log, segment.pos):
            self.logged.setdefault(log, []).append(one.event)
            self.checkers.see(Durable(log, one.pos, one.event, self.loop.time()))
            self._change(getattr(one.event, "agent", ""))

    def _witness(self, leg: Leg, event: str) -> None:
        at_s = self.loop.time()
        if event == "CHAN_START":
            dialled = self.pbx.originates[-1]
            if dialled.number:
                self.checkers.see(LegDialled(leg.uid, at_s, dialled.number))
            else:
                self.checkers.see(PhoneRung(leg.uid, at_s, dialled.phone))
        elif event == "ANSWER":
            self.checkers.see(LegAnswered(leg.uid, at_s))
        elif event in ("HANGUP", "LOST"):
            self.checkers.see(LegGone(leg.uid, at_s))

    def _taken(self, one: Notification) -> None:
        self.checkers.see(Told(one.campaign, one.seq, one.id, one.type, one.data, self.loop.time()))

    def _noted(self, one: Interaction) -> None:
        self.checkers.see(CrmTold(one.key, one.call, one.contact, self.loop.time()))

    # -- the day -------------------------------------------------------------------------------------------------------

    async def live(self, watcher: Watcher | None = None) -> Result:
        await self.pbx.start()
        self.pbx.exchange.witness = self._witness
        await self.boot()
        for ref in self.refs:
            await self.office.found(ref)
        if watcher:
            watcher.attend(self)
        for agent in self._agents():
            self.crew[agent.name] = self.loop.create_task(agent.work(), name=agent.name)
        supervising = self.loop.create_task(self.storm.supervise(), name="supervisor")
        others = [self.loop.create_task(work) for work in (*self.storm.work(), *self.office.work())]
        await asyncio.sleep(self.scenario.hours * 3_600)
        await _ended(others)
        await self.storm.calm()
        await self._calm()
        await _ended([*self.crew.values(), *self.away, supervising])
        live = await self._settle()
        logs = {name: await self.read(name) for name in sorted(await self.engine.store.logs())}
        await self._replay(logs, live)
        result = self._result(logs)
        await self.loop.bury()
        return result

    def send_away(self, name: str, for_s: float) -> None:
        """An agent is gone without a word, and comes back."""
        self.crew.pop(name).cancel()

        async def away() -> None:
            await asyncio.sleep(for_s)
            self.crew[name] = self.loop.create_task(self._agent(int(name.removeprefix("agent"))).work(), name=name)

        self.away.add(self.loop.create_task(away(), name=f"{name} away"))

    def _agents(self) -> list[Agent]:
        return [self._agent(place) for place in range(self.scenario.agents.count)]

    def _agent(self, place: int) -> Agent:
        habits = self.scenario.agents
        chance = Random(f"{self.seed}/agent/{place}/{self.loop.time()}")
        name = f"agent{place}"
        desk = Desk(self, self.campaigns_of(name))
        return Agent(name, desk, habits, shift_of(place, habits.shifts), chance)

    # -- the evening ---------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        """No more faults: campaigns are asked to stop, and must; agents close what they have in hand; all of it is told."""
        await asyncio.gather(*(self.office.stop(ref, CALM_WITHIN_S) for ref in self.refs))
        await self._until(lambda: not any(one.book.reservations for one in self._running), CLOSED_WITHIN_S)
        await asyncio.sleep(ANSWER_WITHIN_S)
        await self._until(self._is_all_told, TOLD_WITHIN_S)

    async def _until(self, true: Callable[[], bool], within_s: float) -> None:
        until_s = self.loop.time() + within_s
        while self.loop.time() < until_s and not true():
            await asyncio.sleep(1)

    @property
    def _running(self) -> list[Running]:
        return [self.engine.campaigns[ref] for ref in self.refs]

    def _is_all_told(self) -> bool:
        lanes = self.notifier.lanes(WEBHOOK)
        return bool(lanes) and not any(one.behind for one in lanes) and not self.checkers.interactions.untold

    async def _settle(self) -> dict[str, bytes]:
        """The engine comes to rest and is ended, so that log, live state and snapshot are of one moment: the state by log."""
        for one in self._running:
            await one.actor.settled()
        live = {log_of(ref): one.book.canonical() for ref, one in zip(self.refs, self._running, strict=True)}
        self.loop.kill(self.lives)
        self.checkers.end()
        for what in self.checkers.callbacks.lost(self._called_back):
            self.checkers.tell(what)
        if not self._is_all_told():
            self.checkers.tell("liveness: the manager or the CRM wasn't told of everything")
        for leg in self.pbx.live:
            self.checkers.tell(f"liveness: nobody hangs up {leg.name} at the PBX")
        if any(one.actor.lost is not None for one in self._running):
            self.checkers.tell("liveness: the engine that lives doesn't own the campaigns")
            return {}
        return live

    def _called_back(self, log: str, contact: str) -> tuple[int, str]:
        known = self.engine.campaigns[log.removeprefix(CAMPAIGN_PREFIX)].book.contacts.by_ref[contact]
        return known.due_at, known.callback

    async def _replay(self, logs: dict[str, list[Recorded]], live: dict[str, bytes]) -> None:
        for log, state in live.items():
            for what in await disagreements(self.engine.store, log, self.logged[log], logs[log], state):
                self.checkers.tell(what)

    def _result(self, logs: dict[str, list[Recorded]]) -> Result:
        struck = self.moments.struck
        in_doubt = {"durable": self.store.unknown, "not durable": self.store.refused}
        dialled = list(self.pbx.originates)
        ends = [one.event for log in logs.values() for one in log if isinstance(one.event, CallEnded)]
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
            told=_counts(self.receiver),
            crm_told=_counts(self.crm_end),
            violations=self.checkers.violations,
        )

    async def read(self, name: str) -> list[Recorded]:
        return [one async for batch in self.engine.store.read(name) for one in batch]


def _counts(end: Receiver[Any]) -> dict[str, int]:
    return {"new": end.new, "again": end.again, "failed": end.failed}


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
    try:
        return in_virtual_time(lambda loop: World(scenario, seed, loop, death).live(watcher), seed)
    except Stalled:
        raise AssertionError(f"seed {seed}: everybody waits for somebody else") from None
