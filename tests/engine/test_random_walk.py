"""The core against chance: two campaigns that share agents and numbers, an unkind PBX, crashes at every point.

Safety is checked after every step, then faults end and liveness is demanded: both campaigns stop. A failure names its
seed; `RINGFOLD_WALKS` is how many seeds are walked, `RINGFOLD_WALK_STEPS` how far each.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core import trunk
from engine.core.agent import DefaultState, Line, Wanted
from engine.core.book import Book
from engine.core.call import CallEnded, CallRequested, CallStatus
from engine.core.campaign import (
    DEFAULT_DISPOSITIONS,
    Create,
    Disposition,
    DncList,
    Mode,
    Modify,
    Preassignment,
    RetryRule,
    Settings,
    Start,
    Status,
    Stop,
)
from engine.core.claims import Claims
from engine.core.contact import DELIVERABLE, OPEN, ContactStatus, NewContact
from engine.core.effect import CancelTimer, Effect, SetTimer, Suppress, Suppressed
from engine.core.form import Field, FieldType
from engine.core.message import (
    AddContacts,
    Allocate,
    AskAgent,
    CancelContact,
    ClickToCall,
    Dial,
    Dispose,
    DisposeAll,
    Extend,
    HangUpCall,
    Message,
    Next,
    Release,
    Resync,
    Skip,
    Withdraw,
)
from engine.core.outcome import Outcome, Party
from engine.core.personal import Details, Person
from engine.core.process import step
from engine.core.reaction import resume
from engine.core.refusal import Refused
from engine.core.reservation import ContactDisposed, Phase
from engine.core.standing import EVERYWHERE, line_of
from engine.core.telephony import HangUp, LegCreated, LegObservation, LegReady, OriginateContact
from tests.engine.conversation import queued, replayed, restored
from tests.engine.random_pbx import RandomPbx

WALKS = int(os.environ.get("RINGFOLD_WALKS", "8"))
STEPS = int(os.environ.get("RINGFOLD_WALK_STEPS", "1500"))
REFS = ("c1", "c2")
AGENTS = {"a1": Line.NAILED, "a2": Line.NAILED, "a3": Line.ON_DEMAND, "a4": Line.ON_DEMAND}
NUMBERS = ("5551", "5552", "5553", "5554", "5555")
MAX_LINES, MAX_CALLS_IN_SETUP = 3, 3
TRUNKS = {"t1": 1, "t2": 1, "t3": 1}
REPLAY_EVERY_STEPS = 40
QUIET_ROUNDS = 400
NOTED: dict[str, Any] = {"note": "called", "count": 2}
LISTED_MS = 5_000
LATER = ("ContactsAssigned", "ContactsUpcoming", "DialRefused", "ContactExhausted")
CLOSINGS = ("noted", "closed with nobody's hand on it", "closed for its agent")
TRUNK_REASONS = tuple(f"trunk {why}" for why in trunk.Why)
NEVER_DIALLED = (Outcome.AGENT_UNREACHABLE, Outcome.FAILED)


class Walk:
    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.pbx = RandomPbx(self.chance)
        self.at = 1_000_000
        self.ids = 0
        self.books: dict[str, Book] = {ref: Book() for ref in REFS}
        self.logs: dict[str, list[Any]] = {ref: [] for ref in REFS}
        self.timers: dict[tuple[str, str], SetTimer] = {}
        self.claims = Claims(MAX_CALLS_IN_SETUP, TRUNKS)
        self.claims.pbx_up = True
        self.intents: set[str] = set()
        self.listed: dict[str, int] = {}
        self.arrived: list[tuple[str, Suppressed]] = []
        self.standing = self.claims.standing
        self.met: Counter[str] = Counter()
        for ref in REFS:
            self.found(ref)

    def found(self, ref: str) -> None:
        settings = Settings(
            max_lines=MAX_LINES,
            trunk="t1",
            further_trunks=("t2",),
            own_trunks_only=ref == "c1",
            form=(Field(name="note", required=True), Field(name="count", type=FieldType.NUMBER)),
            dispose_with_missing_data=ref == "c1",
            agents_dispose_in_bulk=ref == "c2",
            dispose_without_attempt=True,
            stop_when_completed=False,
            preassignment=Preassignment.RANDOM if ref == "c1" else Preassignment.NONE,
            announce_upcoming=ref == "c2",
            attempts_per_contact=4,
            retries=(RetryRule(outcome=Outcome.BUSY, after_s=1, growth=2),),
            dispositions=(*DEFAULT_DISPOSITIONS, Disposition(code="never", dnc=DncList.GLOBAL)),
        )
        self.say(ref, Create(at=self.at, by="m", ref=ref, name=ref, mode=Mode.PREVIEW, settings=settings))
        self.add_contacts(ref, 4)
        for agent in AGENTS:
            self.allocate(ref, agent)

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032x}"

    # -- one message through the core, as an actor does it, crashes included ----------------------------------------

    def say(self, ref: str, message: Message, crash: bool = False) -> None:
        """Decide; write down; perform. A crash strikes before the writing, or at any effect after it."""
        try:
            done = step(self.books[ref], message, self.claims, self.new_id)
        except Refused:
            self.met[f"refused {type(message).__name__}"] += 1
            assert not isinstance(message, LegObservation | Resync)
            return
        if crash and self.chance.random() < 0.4:
            self.crash()  # nothing of it was durable, nothing was performed
            return
        self.logs[ref] += done.events
        for event in done.events:
            self.claims.release(ref, event)
            self.met[type(event).__name__] += 1
            if isinstance(event, ContactDisposed):
                self.met["noted"] += event.form is not None
                self.met["closed with nobody's hand on it"] += not event.reservation
                self.met["closed for its agent"] += bool(event.by and event.reservation)
            if isinstance(event, CallRequested):
                assert event.call not in self.intents, "requested twice"
                self.intents.add(event.call)
                self.met[f"trunk {event.trunk_reason}"] += 1
        reached = self.chance.randrange(len(done.effects) + 1) if crash else len(done.effects)
        for effect in done.effects[:reached]:
            self.perform(ref, effect)
        if crash:
            self.crash()
        arrived, self.arrived = self.arrived, []
        for campaign, seen in arrived:
            self.say(campaign, seen)

    def perform(self, ref: str, effect: Effect) -> None:
        match effect:
            case SetTimer():
                self.timers[ref, effect.key] = effect
            case CancelTimer():
                self.timers.pop((ref, effect.key), None)
            case Suppress():
                numbers = effect.numbers
                version, until = self.standing.versions.get(EVERYWHERE, 0) + 1, self.at + LISTED_MS
                self.standing.put(EVERYWHERE, numbers, until, version)
                self.standing.arrived(EVERYWHERE, effect.contact, numbers)
                self.listed.update((line_of(one), until) for one in numbers)
                self.arrived.append((ref, Suppressed(at=self.at, contact=effect.contact, list=effect.list)))
            case OriginateContact():
                assert self.listed.get(line_of(effect.number), 0) <= self.at, "dialled though on a list"
                assert effect.leg in self.intents, "dialled without an intent"
                assert self.books[ref].campaign.status is Status.RUNNING, "dialled after stop"
                self.pbx.perform(effect, self.at)
            case _:
                self.pbx.perform(effect, self.at)

    def crash(self) -> None:
        """The process is gone, its connection with it; the logs and the PBX are not."""
        self.met["crash"] += 1
        self.timers.clear()
        self.arrived.clear()
        self.claims = Claims(MAX_CALLS_IN_SETUP, TRUNKS)
        self.claims.standing.lists = self.standing.lists  # the directory's log is another one, and stays
        self.claims.standing.versions = self.standing.versions
        self.standing = self.claims.standing
        self.pbx.lose_connection()
        for ref in REFS:
            self.books[ref] = replayed(self.logs[ref])
            self.claims.adopt(self.books[ref])
        for ref in REFS:
            for effect in resume(self.books[ref]):
                self.perform(ref, effect)

    # -- the PBX's side -----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        legs, restarted = self.pbx.connect(self.at)
        self.claims.pbx_up = True
        mine: dict[str, dict[str, Any]] = {ref: {} for ref in REFS}
        for leg in legs:
            owner = self.claims.legs.get(leg.leg)
            if owner is None:
                self.pbx.perform(HangUp(leg=leg.leg), self.at)
            else:
                mine[owner][leg.leg] = leg
        for ref in REFS:
            self.say(ref, Resync(at=self.at, legs=mine[ref], restarted=restarted))

    def disconnect(self) -> None:
        self.pbx.lose_connection()
        self.claims.pbx_up = False

    def hear(self, crash: bool = False) -> bool:
        seen = self.pbx.hear()
        if seen is None:
            return False
        owner = self.claims.legs.get(seen.leg)
        if owner is not None:
            self.say(owner, seen, crash)
        elif isinstance(seen, LegCreated | LegReady):
            self.met["a leg that nobody knows"] += 1
            self.pbx.perform(HangUp(leg=seen.leg), self.at)
        return True

    def ring(self) -> bool:
        """Time passes until the next timer."""
        if not self.timers:
            return False
        (ref, key), timer = min(self.timers.items(), key=lambda item: (item[1].due, item[0]))
        del self.timers[ref, key]
        self.at = max(self.at, timer.due)
        self.say(ref, replace(timer.alarm, at=self.at))
        return True

    # -- people -------------------------------------------------------------------------------------------------------

    def add_contacts(self, ref: str, many: int) -> None:
        new = []
        for _ in range(many):
            name = f"{ref}:{self.new_id()[-6:]}"
            numbers = tuple(self.chance.sample(NUMBERS, self.chance.choice((1, 2))))
            new.append(NewContact(name, Person(name, Details(numbers=numbers))))
        self.say(ref, AddContacts(at=self.at, by="m", contacts=tuple(new)))

    def allocate(self, ref: str, agent: str) -> None:
        default = self.chance.choice([DefaultState.AVAILABLE, DefaultState.AVAILABLE, DefaultState.OFFLINE])
        self.say(
            ref,
            Allocate(at=self.at, by="m", agent=agent, phone=agent, line=AGENTS[agent], default_state=default, weight=1),
        )

    def work(self, ref: str, crash: bool) -> None:
        """An agent does the next thing that agents do, mostly."""
        book = self.books[ref]
        agent = self.chance.choice([*AGENTS, *[*book.attending] * 9])
        known = book.agents.get(agent)
        held = book.reservations.get(known.reservation) if known else None
        if held is None:
            self.say(ref, Next(at=self.at, agent=agent, reservation=self.new_id(), token=self.new_id()), crash)
            return
        hand: dict[str, Any] = {"at": self.at, "agent": agent, "reservation": held.id, "token": held.token}
        match held.phase:
            case Phase.OFFERED:
                others: list[Message] = [
                    Skip(**hand, reason=""),
                    Extend(**hand),
                    Dispose(**hand, disposition="try_later"),
                ]
                person = book.contacts.by_ref[held.contact]
                number = self.chance.choice([None, *person.numbers])
                dial = Dial(**hand, number=number, call=self.new_id(), leg=self.new_id())
                self.say(ref, dial if self.chance.random() < 0.8 else self.chance.choice(others), crash)
            case Phase.DIALING | Phase.WRAPUP if self.chance.random() < 0.1:
                look = Next(at=self.at, agent=agent, reservation=self.new_id(), token=self.new_id(), ahead=True)
                self.say(ref, look, crash)
            case Phase.DIALING if self.chance.random() < 0.1:
                self.say(ref, HangUpCall(at=self.at, by=agent, party=Party.AGENT, call=held.call), crash)
            case Phase.WRAPUP:
                release = Release(**{**hand, "token": None}, by="s", reason="")
                how = self.chance.choice(["engaged", "try_later", "try_later", "callback", "never"])
                back_at = self.at + self.chance.choice((1, 3_000)) if how == "callback" else None
                personal = self.chance.random() < 0.5
                noted = self.chance.choice([NOTED, NOTED, {}, {"count": self.at}])
                dispose = Dispose(**hand, disposition=how, callback_at=back_at, personal=personal, data=noted)
                self.say(ref, release if self.chance.random() < 0.2 else dispose, crash)
            case _:
                pass

    def manage(self, ref: str) -> None:
        """A campaign manager or supervisor does something."""
        agent = self.chance.choice(list(AGENTS))
        deeds: list[Callable[[], None]] = [
            lambda: self.say(ref, Start(at=self.at, by="m")),
            lambda: self.say(ref, Stop(at=self.at, by="m", force=self.chance.random() < 0.2)),
            lambda: self.add_contacts(ref, 1),
            lambda: self.allocate(ref, agent),
            lambda: self.say(ref, Withdraw(at=self.at, by="m", agent=agent)),
            lambda: self.say(ref, Modify(at=self.at, by="m", settings={"reservation_timeout_s": 60})),
            lambda: self.say(ref, Modify(at=self.at, by="m", settings={"own_trunks_only": self.chance.random() < 0.5})),
            lambda: self.allocate(ref, agent),
            lambda: self.close_many(ref, agent),
            lambda: self.cancel_one(ref),
            lambda: self.click(ref, agent),
            lambda: self.click(ref, agent),
        ]
        self.chance.choice(deeds)()

    def close_many(self, ref: str, agent: str) -> None:
        known = list(self.books[ref].contacts.by_ref)
        some = tuple(self.chance.sample(known, min(3, len(known))))
        acting = self.chance.choice(["", agent])
        how = self.chance.choice(["no_contact", "try_later", "never"])
        closing = DisposeAll(at=self.at, by=acting or "s", agent=acting, contacts=some, disposition=how, data=NOTED)
        self.say(ref, closing)

    def click(self, ref: str, agent: str) -> None:
        contact = self.chance.choice(list(self.books[ref].contacts.by_ref))
        request = self.chance.choice([self.new_id(), *list(self.books[ref].requests)[-1:]])
        known = self.books[ref].requests.get(request)
        click = ClickToCall(
            at=self.at,
            by="crm",
            request=request,
            agent=agent,
            contact=contact,
            number=None,
            reservation=self.new_id(),
            token=self.new_id(),
            call=self.new_id(),
            leg=self.new_id(),
        )
        self.say(ref, click)
        assert known is None or self.books[ref].requests[request] == known, "one request, two calls"

    def ask(self, ref: str, agent: str) -> None:
        wanted = self.chance.choice([*[Wanted.AVAILABLE] * 8, Wanted.PAUSED, Wanted.OFFLINE])
        self.say(ref, AskAgent(at=self.at, by=agent, agent=agent, wanted=wanted, reason=""))

    def cancel_one(self, ref: str) -> None:
        contact = self.chance.choice(list(self.books[ref].contacts.by_ref))
        self.say(ref, CancelContact(at=self.at, by="m", contact=contact, reason=""))

    # -- the walk -----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        self.at += self.chance.choice((0, 1, 50, 2_000))
        ref = self.chance.choice(REFS)
        crash = self.chance.random() < 0.01
        dice = self.chance.random()
        if not self.pbx.is_up and dice < 0.2:
            self.connect()
        elif dice < 0.3:
            self.pbx.progress(self.at)
        elif dice < 0.65:
            self.hear(crash)
        elif dice < 0.85:
            self.work(ref, crash)
        elif dice < 0.89:
            self.ask(ref, self.chance.choice(list(AGENTS)))
        elif dice < 0.92:
            self.manage(ref)
        elif dice < 0.98:
            self.start_again()
        elif dice < 0.99:
            self.ring()
        elif dice < 0.995:
            self.disconnect()
        elif dice < 0.996:
            self.pbx.restart()
            self.claims.pbx_up = False

    def start_again(self) -> None:
        """What keeps a walk from ending in silence: campaigns that run, contacts to call."""
        for ref in REFS:
            if self.books[ref].campaign.status is Status.STOPPED:
                self.say(ref, Start(at=self.at, by="m"))
            if self.books[ref].contacts.first(self.at) is None:
                self.add_contacts(ref, 2)

    def calm(self, force: bool) -> None:
        """Faults end and both campaigns are asked to stop: contacts hang up in time, or the force does it for them."""
        if not self.pbx.is_up:
            self.connect()
        for ref in REFS:
            self.say(ref, Stop(at=self.at, by="m", force=force))
        for _ in range(QUIET_ROUNDS):
            for leg in {**self.pbx.originating, **self.pbx.doomed}:
                self.pbx.move(leg, self.at)
            while self.hear():
                pass
            for leg in [] if force else sorted(self.pbx.contacts & self.pbx.channels.keys()):
                self.pbx.end(leg, self.at, far_end=True)
            while self.hear():
                pass
            if not self.ring() and not self.pbx.doomed and not self.pbx.originating:
                return
        raise AssertionError("never quiet")

    # -- what must hold -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        books = self.books.values()
        live = [book.calls[one] for book in books for one in book.live]
        once(call.agent for call in live)
        once(
            book.contacts.by_ref[book.calls[one].contact].numbers[book.calls[one].number]
            for book in books
            for one in book.live
        )
        once(agent for book in books for agent in book.attending)
        assert sum(call.connected_at == 0 for call in live) <= MAX_CALLS_IN_SETUP
        used = Counter(call.trunk for call in live)
        assert all(used[trunk] <= most for trunk, most in TRUNKS.items()), used
        for book in books:
            check_book(book)
        self.check_claims()

    def check_claims(self) -> None:
        fresh = Claims(MAX_CALLS_IN_SETUP, TRUNKS)
        for book in self.books.values():
            fresh.adopt(book)
        for name in ("numbers", "agents", "legs", "in_setup", "on_trunk"):
            assert getattr(self.claims, name) == getattr(fresh, name), name

    def check_replay(self) -> None:
        for ref, book in self.books.items():
            assert replayed(self.logs[ref]).canonical() == book.canonical()
            snapshot = book.snapshot()
            again = restored(snapshot)
            assert again.canonical() == book.canonical()
            for derived in ("live", "phones", "attending", "arriving"):
                assert getattr(again, derived) == getattr(book, derived), derived
            assert again.answers == book.answers
            assert again.requests == book.requests
            assert again.recent == book.recent == replayed(self.logs[ref]).recent
            assert again.contacts.counts == book.contacts.counts
            assert again.contacts._worked == book.contacts._worked
            assert again.contacts._external == book.contacts._external
            assert queued(again) == queued(book) == queued(replayed(self.logs[ref]))
            assert {owner: count for owner, count in again.contacts.dealt.items() if count} == {
                owner: count for owner, count in book.contacts.dealt.items() if count
            }
            assert again.contacts.first(self.at) == book.contacts.first(self.at)
            worked = {one.ref for one in book.contacts.by_ref.values() if one.attempts or one.disposition}
            for contacts in (book.contacts, again.contacts):
                assert {ref for number in NUMBERS for ref in contacts.worked_with([number], "")} == worked

    def check_truth(self) -> None:
        """What the records say against what the PBX knows."""
        for log in self.logs.values():
            ends = [one for one in log if isinstance(one, CallEnded)]
            once(one.call for one in ends)
            for one in ends:
                assert one.outcome is not Outcome.ANSWERED or one.call in self.pbx.joined
                assert one.outcome not in NEVER_DIALLED or one.call not in self.pbx.existed


def check_book(book: Book) -> None:
    held = list(book.reservations.values())
    once(one.contact for one in held)
    once(f"{one.agent} {one.ahead}" for one in held)
    assert len(book.live) <= MAX_LINES
    assert {one.ref for one in book.contacts.by_ref.values() if one.status is ContactStatus.HELD} == {
        one.contact for one in held
    }
    for one in held:
        agent = book.agents[one.agent]
        assert (agent.ahead if one.ahead else agent.reservation) == one.id
        assert not (one.ahead and one.phase is not Phase.OFFERED)
        assert (one.phase is Phase.DIALING) == (one.call in book.live)
    people = list(book.contacts.by_ref.values())
    dealt = Counter(one.agent for one in people if one.status in OPEN and not one.fixed)
    assert dealt == Counter(book.contacts.dealt)
    for owner in dealt:
        loose = [one.ref for one in people if one.agent == owner and one.status in DELIVERABLE and not one.tied]
        for newest in (False, True):
            assert sorted(book.contacts.movable(owner, len(people), newest)) == sorted(loose)
    for call in (book.calls[one] for one in book.live):
        assert call.status is not CallStatus.ENDED
        assert book.reservations[call.reservation].call == call.id
    if book.campaign.status in (Status.STOPPED, Status.CREATED):
        assert not book.live
        assert not book.attending
        assert not book.phones
    if book.campaign.status is not Status.RUNNING:
        assert all(one.phase is not Phase.OFFERED for one in held)


def once(values: Iterable[str]) -> None:
    """Every value once only."""
    twice = [value for value, times in Counter(values).items() if times > 1]
    assert not twice, twice


@pytest.mark.parametrize("seed", range(WALKS))
def test_EX_01_EX_02_whatever_comes_in_whatever_order_the_invariants_hold_and_stop_is_reached(seed: int) -> None:
    walk = Walk(seed)
    for ref in REFS:
        walk.say(ref, Start(at=walk.at, by="m"))
    for taken in range(STEPS):
        walk.step()
        walk.check()
        if taken % REPLAY_EVERY_STEPS == 0:
            walk.check_replay()
    walk.calm(force=seed % 2 == 1)
    walk.check()
    walk.check_replay()
    walk.check_truth()
    assert [book.campaign.status for book in walk.books.values()] == [Status.STOPPED, Status.STOPPED]
    assert not walk.pbx.channels, "a leg that nobody hangs up"


def test_a_walk_meets_what_it_is_meant_to_meet() -> None:
    """Walks that never dial, talk or crash would prove nothing."""
    outcomes: set[Outcome] = set()
    met: Counter[str] = Counter()
    for seed in range(6):
        walk = Walk(seed)
        for ref in REFS:
            walk.say(ref, Start(at=walk.at, by="m"))
        for _ in range(1_500):
            walk.step()
        outcomes |= {one.outcome for log in walk.logs.values() for one in log if isinstance(one, CallEnded)}
        met += walk.met
    assert {
        Outcome.ANSWERED,
        Outcome.ABANDONED,
        Outcome.UNKNOWN,
        Outcome.CANCELLED,
        Outcome.AGENT_UNREACHABLE,
    } <= outcomes
    for name in (
        "crash",
        "CallDoubted",
        "ContactReleased",
        "BridgeFailed",
        "PhoneDoubted",
        "CampaignStopped",
        *LATER,
        *TRUNK_REASONS,
        *CLOSINGS,
    ):
        assert met[name] > 0, name
