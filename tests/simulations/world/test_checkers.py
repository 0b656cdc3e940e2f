"""Each checker finds the bug that is planted for it, and says nothing of the same world without it."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from adapters.ami.telephony import AmiTelephony
from adapters.crm.dispatch import Dispatch
from adapters.crm.due import Due
from adapters.crm.event import Result as CrmResult
from adapters.notify.lane import Lane
from adapters.notify.parcel import Parcel
from adapters.notify.webhook import Webhook
from adapters.outward.sender import Answer
from engine.actor import Actor
from engine.core import consequence, delivery, dialing, disposing, gate, roll
from engine.core.agent import PhoneCalled
from engine.core.blocks import Blocks
from engine.core.book import Book, Snapshot, restore
from engine.core.call import CallRequested, CallRinging
from engine.core.campaign import Drained, Status
from engine.core.campaign import decide as campaign_decides
from engine.core.claims import Claims
from engine.core.contact import Contact, ContactStatus
from engine.core.interaction import ExternalUrl
from engine.core.recent import StillRecent
from engine.core.reservation import ContactDisposed
from engine.core.roll import Contacts
from engine.core.standing import Standing
from engine.core.telephony import HangUp, OriginateAgent, OriginateContact, Settle
from simulations.world.checker import MOST_TOLD, Checkers, Durable
from simulations.world.checker.intent import Intents
from simulations.world.scenario import Agents, Callees, Faults, Rules, Scenario
from simulations.world.world import run

Plant = Callable[[pytest.MonkeyPatch], None]

BUSY = Callees(answer=0.2, busy=0.7, invalid=0, ring_s=(1.5, 3, 6), talk_s=10)
WORLD = Scenario(
    name="checked",
    hours=0.1,
    contacts=20,
    agents=Agents(count=5, preview_s=2, wrapup_s=2, pauses=0),
    callees=BUSY,
    rules=Rules(retry_s=5),
)
CHATTY = msgspec.structs.replace(WORLD, callees=Callees(answer=0.8, busy=0.1, talk_s=60))


def _ruled(**rules: Any) -> Scenario:
    return msgspec.structs.replace(WORLD, rules=Rules(**{"retry_s": 5, **rules}))


# -- the bugs ---------------------------------------------------------------------------------------------------------


def held_contacts_are_given_out_again(patch: pytest.MonkeyPatch) -> None:
    first = Contacts.first

    def forgetful(self: Contacts, at: int, owner: str = "") -> Contact | None:
        held = (self.by_ref[ref] for ref in self.by_ref)
        return next((one for one in held if one.status is ContactStatus.HELD), None) or first(self, at, owner)

    patch.setattr(Contacts, "first", forgetful)


def a_number_is_never_in_a_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Claims, "call_to", lambda _self, _number: None)


def an_agent_is_never_busy(patch: pytest.MonkeyPatch) -> None:
    dial = Claims._dial

    def careless(self: Claims, book: Book, call: Any) -> None:
        dial(self, book, call)
        self.busy.clear()

    patch.setattr(Claims, "_dial", careless)


def recovery_redials(patch: pytest.MonkeyPatch) -> None:
    perform = AmiTelephony.perform
    made: dict[str, OriginateContact] = {}

    def eager(self: AmiTelephony, effect: Any) -> None:
        if isinstance(effect, OriginateContact):
            made[effect.leg] = effect
        if isinstance(effect, Settle) and effect.leg in made:
            effect = made[effect.leg]
        perform(self, effect)

    patch.setattr(AmiTelephony, "perform", eager)


def stopped_is_said_too_early(patch: pytest.MonkeyPatch) -> None:
    follows = consequence._campaign_next

    def hasty(book: Book, at: int) -> Any:
        if book.campaign.status is Status.STOPPING:
            return campaign_decides(book.campaign, Drained(at=at))
        return follows(book, at)

    patch.setattr(consequence, "_campaign_next", hasty)


def a_snapshot_forgets_channels(patch: pytest.MonkeyPatch) -> None:

    def forgetful(snapshot: Snapshot) -> Book:
        book = restore(snapshot)
        for call in list(book.calls.values()):
            book.calls.put(msgspec.structs.replace(call, channel=""))
        return book

    patch.setattr("engine.recovery.restore", forgetful)


def a_snapshot_forgets_attempts(patch: pytest.MonkeyPatch) -> None:

    def forgetful(snapshot: Snapshot) -> Book:
        return restore(snapshot._replace(recent=StillRecent(Blocks(), Blocks(), 0)))

    patch.setattr("engine.recovery.restore", forgetful)


def what_happened_is_not_written_down(patch: pytest.MonkeyPatch) -> None:
    write = Actor._write

    async def careless(self: Actor, events: list[Any]) -> Any:
        return await write(self, [one for one in events if not isinstance(one, CallRinging)])

    patch.setattr(Actor, "_write", careless)


def the_gate_forgets_the_lists(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Standing, "listed", lambda *_: None)


def the_gate_is_asked_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dialing, "late", lambda *_: None)


def phones_are_called_by_themselves(patch: pytest.MonkeyPatch) -> None:
    write = Actor._write

    async def careless(self: Actor, events: list[Any]) -> Any:
        return await write(self, [one for one in events if not isinstance(one, PhoneCalled)])

    patch.setattr(Actor, "_write", careless)


def phones_ring_as_they_did_before(patch: pytest.MonkeyPatch) -> None:
    perform = AmiTelephony.perform
    rung: dict[str, OriginateAgent] = {}

    def forgetful(self: AmiTelephony, effect: Any) -> None:
        if isinstance(effect, OriginateAgent):
            effect = rung.setdefault(effect.phone, effect)
        perform(self, effect)

    patch.setattr(AmiTelephony, "perform", forgetful)


def phones_stay_where_they_are(patch: pytest.MonkeyPatch) -> None:
    perform = AmiTelephony.perform

    def idle(self: AmiTelephony, effect: Any) -> None:
        if not (isinstance(effect, HangUp) and effect.leg in rung):
            perform(self, effect)
        if isinstance(effect, OriginateAgent):
            rung.add(effect.leg)

    rung: set[str] = set()
    patch.setattr(AmiTelephony, "perform", idle)


def the_gate_forgets_the_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "_by_clock", lambda *_: None)


def the_gate_forgets_the_zone(patch: pytest.MonkeyPatch) -> None:
    by_clock = gate._by_clock
    patch.setattr(gate, "_by_clock", lambda settings, _offsets, at: by_clock(settings, (0,), at))


def the_gate_forgets_the_caps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "_by_count", lambda *_: None)


def who_fails_is_told_the_next(patch: pytest.MonkeyPatch) -> None:
    attempt = Webhook._attempt

    async def impatient(self: Webhook, parcel: Parcel, nth: int, written: Any) -> Answer:
        answer = await attempt(self, parcel, nth, written)
        return answer if nth < 3 else Answer(status=204)

    patch.setattr(Webhook, "_attempt", impatient)


def a_start_goes_on_with_what_is_new(patch: pytest.MonkeyPatch) -> None:
    place = Lane._place

    def forgetful(self: Lane, done_pos: int) -> None:
        place(self, max(done_pos, self._known.merged_pos))

    patch.setattr(Lane, "_place", forgetful)


def one_line_too_many(patch: pytest.MonkeyPatch) -> None:
    free_line = dialing._free_line

    def off_by_one(book: Book, claims: Claims, number: str) -> None:
        free_line(SimpleNamespace(live=list(book.live)[1:], campaign=book.campaign), claims, number)  # type: ignore[arg-type]

    patch.setattr(dialing, "_free_line", off_by_one)


def one_in_setup_too_many(patch: pytest.MonkeyPatch) -> None:
    free_line = dialing._free_line

    def off_by_one(book: Book, claims: Claims, number: str) -> None:
        fewer = SimpleNamespace(
            call_to=claims.call_to,
            pbx_up=claims.pbx_up,
            in_setup=list(claims.in_setup)[1:],
            max_calls_in_setup=claims.max_calls_in_setup,
        )
        free_line(book, fewer, number)  # type: ignore[arg-type]

    patch.setattr(dialing, "_free_line", off_by_one)


def nobody_is_hung_up(patch: pytest.MonkeyPatch) -> None:
    _unperformed(patch, HangUp)


def the_pbx_is_never_asked(patch: pytest.MonkeyPatch) -> None:
    _unperformed(patch, Settle)


def _unperformed(patch: pytest.MonkeyPatch, kind: type) -> None:
    perform = AmiTelephony.perform

    def idle(self: AmiTelephony, effect: Any) -> None:
        if not isinstance(effect, kind):
            perform(self, effect)

    patch.setattr(AmiTelephony, "perform", idle)


def stopping_leaves_reservations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "let_go", lambda *_: [])


def callbacks_are_made_too_early(patch: pytest.MonkeyPatch) -> None:
    first = Contacts.first
    patch.setattr(Contacts, "first", lambda self, at, owner="": first(self, at + 3_600_000, owner))


def callbacks_are_anybodys(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Contact, "owner", property(lambda self: self.agent))


def a_release_forgets_the_callback(patch: pytest.MonkeyPatch) -> None:
    released = delivery.released

    def forgetful(*about: Any) -> Any:
        return msgspec.structs.replace(released(*about), callback=False)

    patch.setattr(delivery, "released", forgetful)


def the_book_forgets_callbacks(patch: pytest.MonkeyPatch) -> None:
    evolve = roll.evolve

    def forgetful(contacts: Contacts, event: Any) -> None:
        evolve(contacts, msgspec.structs.replace(event, callback="") if isinstance(event, ContactDisposed) else event)

    patch.setattr(roll, "evolve", forgetful)


def nobody_writes_the_callback_down(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disposing, "_called_back", lambda command, _agent: (command.at + 1_000, ""))


LOOKING = msgspec.structs.replace(WORLD, contacts=200, agents=Agents(count=5, preview_s=60, wrapup_s=2, pauses=0))
FORGETFUL = msgspec.structs.replace(CHATTY, faults=Faults(outages=60, pbx_restarts=20))


def the_crm_is_asked_once(patch: pytest.MonkeyPatch) -> None:
    def hasty(self: Dispatch, due: Due, attempts: int, result: Any, answer: Answer, at: int, retry_at: int = 0) -> Any:
        return tried(self, due, attempts, CrmResult.DELIVERED, answer, at, retry_at)

    tried = Dispatch._tried
    patch.setattr(Dispatch, "_tried", hasty)


def a_start_believes_that_the_crm_knows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatch, "done_pos", lambda _, __, seen: seen)


def the_crm_is_told_by_another_key(patch: pytest.MonkeyPatch) -> None:
    call = Dispatch._call

    async def numbered(self: Dispatch, external: ExternalUrl, due: Due, book: Book) -> Answer:
        return await call(self, external, msgspec.structs.replace(due, pos=due.pos + 1_000), book)

    patch.setattr(Dispatch, "_call", numbered)


TROUBLED = msgspec.structs.replace(WORLD, faults=Faults(crashes=60, receiver_troubles=60))
BESIDE = msgspec.structs.replace(WORLD, campaigns=2, rules=Rules(retry_s=5, shared_numbers=0.9, clicks=100))
RUNG = Agents(count=5, preview_s=2, wrapup_s=2, pauses=0, on_demand=1, unreachable=0.1)
RINGING = msgspec.structs.replace(WORLD, agents=RUNG)
CROWDED = msgspec.structs.replace(
    _ruled(window="08:02-08:03"), contacts=200, agents=msgspec.structs.replace(RUNG, count=30)
)
LINKED = msgspec.structs.replace(
    WORLD,
    campaigns=2,
    agents=RUNG,
    callees=Callees(answer=0.8, busy=0.1, talk_s=20),
    rules=Rules(retry_s=5, linked=True, clicks=600),
)
DYING = msgspec.structs.replace(WORLD, faults=Faults(crashes=120, pbx_restarts=60))
PROMISING = msgspec.structs.replace(
    WORLD,
    contacts=40,
    agents=Agents(count=6, preview_s=30, wrapup_s=2, pauses=0, callbacks=0.7, callback_s=60),
    callees=Callees(answer=0.9, busy=0, talk_s=5),
    rules=Rules(zones=("UTC", "Asia/Kolkata")),
)
TELLING = msgspec.structs.replace(
    WORLD, callees=BUSY, rules=Rules(retry_s=5, crm="disposition"), faults=Faults(crashes=60, receiver_troubles=120)
)
PLANTED: Sequence[tuple[Plant, Scenario, str, str]] = (
    (held_contacts_are_given_out_again, WORLD, "1", "in reservations"),
    (a_number_is_never_in_a_call, _ruled(shared_numbers=0.9), "1", "a number of contact"),
    (a_number_is_never_in_a_call, BESIDE, "1", "a number of contact"),
    (an_agent_is_never_busy, LINKED, "1", "agent agent"),
    (phones_stay_where_they_are, LINKED, "1", "and has leg"),
    (phones_stay_where_they_are, RINGING, "liveness", "nobody hangs up the phone"),
    (recovery_redials, DYING, "2", "was dialled twice"),
    (phones_ring_as_they_did_before, RINGING, "2", "was rung twice"),
    (phones_are_called_by_themselves, RINGING, "2", "without a durable intent"),
    (stopped_is_said_too_early, CHATTY, "3", "stopped, and call"),
    (a_snapshot_forgets_channels, WORLD, "4", "read through its snapshot"),
    (a_snapshot_forgets_attempts, WORLD, "4", "attempts of late"),
    (what_happened_is_not_written_down, WORLD, "4", "isn't the live state"),
    (the_gate_forgets_the_lists, _ruled(listed=300), "6", "on the list"),
    (the_gate_is_asked_once, CROWDED, "6", "outside the windows"),
    (the_gate_forgets_the_clock, _ruled(window="08:02-08:03"), "6", "outside the windows"),
    (the_gate_forgets_the_zone, _ruled(window="08:00-08:30", zones=("UTC", "Asia/Tokyo")), "6", "in Asia/Tokyo"),
    (the_gate_forgets_the_caps, _ruled(per_number_a_day=2, per_contact=0), "6", "times within a day"),
    (the_gate_forgets_the_caps, _ruled(per_contact=2), "6", "attempts"),
    (who_fails_is_told_the_next, TROUBLED, "5", "was told before"),
    (a_start_goes_on_with_what_is_new, TROUBLED, "5", "was told before"),
    (one_line_too_many, _ruled(lines=2), "7", "3 lines of campaign/spring in use, 2 allowed"),
    (one_in_setup_too_many, _ruled(in_setup=2), "7", "3 calls in setup, 2 allowed"),
    (nobody_is_hung_up, CHATTY, "liveness", "was to stop, and is stopping"),
    (the_pbx_is_never_asked, FORGETFUL, "liveness", "never ended"),
    (stopping_leaves_reservations, LOOKING, "liveness", "was never released"),
    (callbacks_are_made_too_early, PROMISING, "8", "ms later"),
    (callbacks_are_anybodys, PROMISING, "8", "promised"),
    (a_release_forgets_the_callback, PROMISING, "8", "as none"),
    (the_book_forgets_callbacks, PROMISING, "8", "nobody will make it"),
    (nobody_writes_the_callback_down, PROMISING, "8", "the log has none"),
    (the_crm_is_asked_once, TELLING, "9", "was never told"),
    (a_start_believes_that_the_crm_knows, TELLING, "9", "was never told"),
    (the_crm_is_told_by_another_key, TELLING, "9", "which is None"),
)
SEEDS = range(3, 11)
"""Tried until one shows the bug: a short world may have no occasion for it, and whatever changes in the engine moves them."""


@pytest.mark.parametrize(
    ("plant", "scenario", "invariant", "text"), PLANTED, ids=lambda one: getattr(one, "__name__", "")
)
def test_EX_03_a_planted_bug_is_found_by_its_checker(
    plant: Plant, scenario: Scenario, invariant: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shows(seed: int) -> bool:
        with monkeypatch.context() as patch:
            plant(patch)
            found = run(scenario, seed).violations
        return any(one.startswith(f"{invariant}: ") and text in one for one in found)

    # when the bug is there
    seed = next(filter(shows, SEEDS), None)

    # then it is found, and nothing is in the same world without it
    assert seed is not None
    assert run(scenario, seed).violations == []


def test_EX_03_a_request_that_begins_two_calls_is_found() -> None:
    intents, found = Intents(), list[str]()
    for call in ("a", "b"):
        begun = CallRequested(
            at=1,
            call=call,
            contact=call,
            number=0,
            reservation="",
            agent=call,
            agent_leg="",
            trunk="",
            by_choice=False,
            request="deal",
        )
        found += intents.see(Durable("campaign/spring", 1, begun, 0.0))
    assert found == ["2: deal began call b beside a"]


def test_EX_03_no_more_is_told_of_one_run_than_anybody_reads() -> None:
    checkers = Checkers(1, 1)
    for _ in range(2 * MOST_TOLD):
        checkers.tell("2: nonsense")
    assert len(checkers.violations) == MOST_TOLD
