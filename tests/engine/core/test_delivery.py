"""Which contact an agent gets next, and whose it is: queues, the split over agents, callbacks, retries, skips."""

from collections import Counter
from typing import Any

import pytest

from engine.core.agent import Line, Wanted
from engine.core.call import CallAwaitingAgent, CallRequested
from engine.core.campaign import TargetReached
from engine.core.claims import Claims
from engine.core.contact import ContactExhausted, ContactStatus, ContactsUpcoming, NewContact, Priority
from engine.core.dealing import STEP_CONTACTS
from engine.core.effect import ReservationDue
from engine.core.message import AskAgent, Dial, Extend, Next, NoContact
from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.preassign import dealt, shares, shuffled
from engine.core.reservation import ContactDisposed, ContactReleased, ReservationExtended
from tests.engine.conversation import Conversation, nobody

HOUR_MS = 3_600_000


def new(ref: str, *numbers: str, **more: Any) -> NewContact:
    return NewContact(ref, Person(ref, Details(numbers=numbers or (f"+1555{hash(ref) % 10_000:04}",))), **more)


def many(count: int) -> dict[str, list[str]]:
    return {f"k{place}": [f"5{place:06}"] for place in range(count)}


def working(*agents: str, contacts: int = 0, **settings: Any) -> Conversation:
    talk = Conversation(**{"dispose_without_attempt": True, "stop_when_completed": False, **settings})
    talk.running(*agents, contacts=many(contacts))
    talk.deal()
    return talk


# -- the order inside a queue ---------------------------------------------------------------------------------------


def test_priority_then_due_callbacks_then_due_retries_then_fresh_ones() -> None:
    talk = working("a1")
    talk.add_as(
        new("low1"), new("low2"), new("high1", priority=Priority.HIGH), new("normal1", priority=Priority.NORMAL)
    )
    assert [talk.delivered("a1") for _ in range(2)] == ["high1", "normal1"]
    for disposition, back_at in (("try_later", None), ("callback", talk.at + 2 * HOUR_MS)):
        talk.next("a1")
        talk.dispose("a1", disposition, back_at, personal=False)
    talk.add_as(new("fresh"), new("high2", priority=Priority.HIGH))
    talk.wait(3 * HOUR_MS)
    assert [talk.delivered("a1") for _ in range(4)] == ["high2", "low2", "low1", "fresh"]


def test_what_is_not_due_is_not_delivered_and_the_time_is_told() -> None:
    talk = working("a1", contacts=1)
    talk.next("a1")
    talk.dispose("a1", "try_later")
    reply = talk.next("a1").reply
    assert reply == NoContact(reason="not_due", next_due_at=talk.at + HOUR_MS)
    talk.wait(HOUR_MS)
    assert talk.delivered("a1") == "k0"


def test_OM_19_a_skipped_contact_goes_to_the_end_also_one_that_was_due() -> None:
    talk = working("a1", contacts=3)
    talk.next("a1")
    talk.dispose("a1", "try_later")
    talk.wait(HOUR_MS)
    assert talk.next("a1").reply.contact == "k0"
    talk.skip("a1")
    assert [talk.delivered("a1") for _ in range(3)] == ["k1", "k2", "k0"]


def test_OM_07_one_that_lapses_keeps_its_place_also_a_callback() -> None:
    talk = working("a1", contacts=2)
    talk.next("a1")
    talk.dispose("a1", "callback", talk.at + HOUR_MS)
    talk.wait(HOUR_MS)
    assert talk.next("a1").reply.contact == "k0"
    released = talk.release("a1").one(ContactReleased)
    assert (released.due_at, released.callback) == (talk.at, True)
    assert talk.book.contacts.by_ref["k0"].callback == "a1"
    assert talk.next("a1").reply.contact == "k0"


# -- callbacks --------------------------------------------------------------------------------------------------------


def test_OM_20_a_personal_callback_comes_to_its_agent_and_one_for_anybody_to_whoever_asks() -> None:
    talk = working("a1", "a2", contacts=2)
    for personal in (True, False):
        talk.next("a1")
        talk.dispose("a1", "callback", talk.at + HOUR_MS, personal)
    assert nobody(talk.next("a2")) == "not_due"
    talk.wait(HOUR_MS)
    assert talk.delivered("a2") == "k1"
    assert nobody(talk.next("a2")) == "others"
    assert talk.delivered("a1") == "k0"


def test_OM_20_a_personal_callback_goes_to_others_when_its_agent_is_gone_unless_the_campaign_says_no() -> None:
    talk = working("a1", "a2", contacts=1, others_when_unavailable=False)
    talk.next("a1")
    talk.dispose("a1", "callback", talk.at + HOUR_MS)
    talk.wait(HOUR_MS)
    talk.ask("a1", Wanted.OFFLINE)
    talk.ended(talk.leg("a1"), answered=True)
    assert nobody(talk.next("a2")) == "others"
    talk.edit(others_when_unavailable=True)
    assert talk.delivered("a2") == "k0"


@pytest.mark.parametrize(("back_in_ms", "disposition"), [(None, "callback"), (-1, "callback"), (1, "try_later")])
def test_OM_20_a_callback_has_a_time_ahead_and_nothing_else_has(back_in_ms: int | None, disposition: str) -> None:
    talk = working("a1", contacts=1)
    talk.next("a1")
    back_at = None if back_in_ms is None else talk.at + back_in_ms
    with pytest.raises(Exception, match="call") as refused:
        talk.dispose("a1", disposition, back_at)
    assert refused.value.field == "callback_at"  # type: ignore[attr-defined]


def test_TF_14_a_campaign_with_callbacks_or_retries_pending_is_not_completed() -> None:
    talk = working("a1", contacts=1, stop_when_completed=True)
    talk.next("a1")
    talk.dispose("a1", "callback", talk.at + HOUR_MS)
    assert talk.book.campaign.status == "running"
    talk.wait(HOUR_MS)
    talk.next("a1")
    talk.dispose("a1", "no_contact")
    assert talk.book.campaign.status == "stopping"


# -- retries ----------------------------------------------------------------------------------------------------------


def test_a_contact_given_back_after_a_busy_attempt_comes_back_by_the_rule_later_each_time() -> None:
    rule = {"outcome": "busy", "after_s": 60, "growth": 2}
    talk = working("a1", contacts=1, retries=[rule])
    for delay_s in (60, 120, 240):
        talk.next("a1")
        talk.failing("a1")
        assert talk.release("a1").one(ContactReleased).due_at == talk.at + delay_s * 1_000
        assert nobody(talk.next("a1")) == "not_due"
        talk.wait(delay_s * 1_000)


def test_without_a_rule_it_may_be_delivered_again_at_once() -> None:
    talk = working("a1", contacts=1)
    talk.next("a1")
    talk.failing("a1")
    assert talk.release("a1").one(ContactReleased).due_at == 0
    assert talk.next("a1").reply.contact == "k0"


def test_EX_08_a_contact_whose_attempts_are_used_up_is_final() -> None:
    talk = working("a1", contacts=1, attempts_per_contact=2)
    for _ in range(2):
        talk.next("a1")
        talk.failing("a1")
        talk.release("a1")
    assert talk.last.one(ContactExhausted).attempts == 2
    assert talk.book.contacts.by_ref["k0"].status is ContactStatus.FINAL


def test_OM_09_a_disposition_to_retry_grows_and_ends_as_often_as_it_says() -> None:
    again = {"code": "again", "final": False, "retry_after_s": 10, "retry_growth": 3, "retry_at_most": 2}
    talk = working("a1", contacts=1, dispositions=[again])
    for delay_s in (10, 30):
        talk.next("a1")
        assert talk.dispose("a1", "again").one(ContactDisposed).due_at == talk.at + delay_s * 1_000
        talk.wait(delay_s * 1_000)
    talk.next("a1")
    done = talk.dispose("a1", "again").one(ContactDisposed)
    assert (done.final, done.exhausted, done.due_at) == (True, True, 0)


# -- scope ------------------------------------------------------------------------------------------------------------


def test_OM_06_a_contact_who_comes_back_counts_once_as_engaged() -> None:
    again = {"code": "again", "engaged": True, "final": False, "retry_after_s": 1}
    codes = (again, {"code": "sold", "engaged": True}, {"code": "lost"})
    talk = working("a1", contacts=1, dispositions=codes, target_engaged=2, stop_at_target=True)
    for _ in range(3):
        talk.next("a1")
        assert talk.dispose("a1", "again").none(TargetReached)
        talk.wait(2_000)
    assert talk.book.contacts.engaged == 1
    talk.next("a1")
    talk.dispose("a1", "lost")
    assert talk.book.contacts.engaged == 0


def test_SG_15_a_file_does_not_undo_a_callback_that_was_agreed_on() -> None:
    talk = working("a1", contacts=1, dispositions=({"code": "back", "callback": True, "final": False},))
    talk.next("a1")
    talk.dispose("a1", "back", back_at=talk.at + HOUR_MS)
    before = talk.book.contacts.by_ref["k0"]
    reply = talk.add_as(new("k0", "+99"), overwrite=True).reply
    assert reply.refused == {"k0": "it was disposed of already"}
    assert talk.book.contacts.by_ref["k0"] == before


@pytest.mark.parametrize("stops", [False, True])
def test_OM_06_the_target_is_told_once_and_stops_the_campaign_where_it_says_so(stops: bool) -> None:
    talk = working("a1", contacts=4, target_engaged=2, stop_at_target=stops)
    told = []
    for _ in range(2):
        talk.next("a1")
        told += talk.dispose("a1", "engaged").told
    assert told.count("campaign.target_reached") == 1
    assert (talk.book.campaign.status == "stopping") is stops
    if stops:
        assert talk.book.campaign.stop_reason == "target_reached"
    else:
        talk.next("a1")
        assert "campaign.target_reached" not in talk.dispose("a1", "engaged").told
        assert "campaign.target_reached" not in talk.edit(target_engaged=10).told


# -- whose contacts are whose ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, [1, 1, 1, 1], [3, 3, 2, 2]),
        (199, [1] * 100, [2] * 99 + [1]),
        (7, [3, 2, 1], [4, 2, 1]),
        (0, [1, 1], [0, 0]),
        (1, [1, 999], [0, 1]),
    ],
)
def test_OM_11_shares_are_the_quota_and_the_largest_remainders_one_more(
    total: int, weights: list[int], expected: list[int]
) -> None:
    by_agent = {f"a{place:03}": weight for place, weight in enumerate(weights)}
    assert list(shares(total, by_agent).values()) == expected


@pytest.mark.parametrize(("contacts", "agents"), [(199, 100), (10, 4), (1_000, 30), (2_500, 7)])
def test_OM_11_EX_07_the_split_differs_by_at_most_one_and_leaves_nothing(contacts: int, agents: int) -> None:
    talk = working(*(f"a{place:03}" for place in range(agents)), contacts=contacts, preassignment="proportional")
    assert sum(talk.shares().values()) == contacts
    assert max(talk.shares().values()) - min(talk.shares().values()) <= 1
    assert talk.deal() == []


def test_OM_11_weights_decide_and_the_hand_out_is_even_all_along() -> None:
    turns = list(dealt({"a": 4, "b": 2, "c": 1}))
    assert Counter(turns) == {"a": 4, "b": 2, "c": 1}
    for length in range(1, 8):
        so_far = Counter(turns[:length])
        assert all(abs(so_far[agent] - length * weight / 7) < 1 for agent, weight in (("a", 4), ("b", 2), ("c", 1)))


def test_OM_19_a_contact_that_was_not_reached_and_is_skipped_goes_to_the_end_too() -> None:
    talk = working("a1", contacts=3)
    assert talk.next("a1").reply.contact == "k0"
    talk.failing("a1")
    talk.skip("a1")
    assert [talk.delivered("a1") for _ in range(3)] == ["k1", "k2", "k0"]


def test_OM_11_own_contacts_first_then_free_ones_then_those_of_who_is_not_there() -> None:
    talk = working("a1", "a2")
    talk.add_as(new("free"), new("theirs", agent="a2"), new("mine", agent="a1"), new("gone", agent="a9"))
    assert [talk.delivered("a1") for _ in range(3)] == ["mine", "free", "gone"]
    assert nobody(talk.next("a1")) == "others"
    assert talk.delivered("a2") == "theirs"


def test_SG_14_own_only_and_no_others_when_unavailable() -> None:
    talk = working("a1", delivery="own_only", others_when_unavailable=False)
    talk.add_as(new("free"), new("gone", agent="a9"), new("mine", agent="a1"))
    assert talk.delivered("a1") == "mine"
    assert nobody(talk.next("a1")) == "others"
    talk.edit(others_when_unavailable=True)
    assert talk.delivered("a1") == "gone"
    assert nobody(talk.next("a1")) == "others"
    talk.edit(delivery="own_first")
    assert talk.delivered("a1") == "free"


@pytest.mark.parametrize("how", ["skip", "release"])
def test_OM_11_a_release_keeps_the_assignment(how: str) -> None:
    talk = working("a1", "a2", contacts=4, preassignment="proportional")
    contact = talk.next("a1").reply.contact
    getattr(talk, how)("a1")
    assert talk.book.contacts.by_ref[contact].agent == "a1"


def test_OM_12_EX_07_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    def split(seed: int) -> dict[str, str]:
        talk = working("a1", "a2", "a3", contacts=60, preassignment="random", preassignment_seed=seed)
        assert max(talk.shares().values()) - min(talk.shares().values()) <= 1
        return {one.ref: one.agent for one in talk.book.contacts.by_ref.values()}

    assert split(42) == split(42) != split(43)
    assert shuffled(list("abcdef"), 42) == shuffled(list("abcdef"), 42)


def test_OM_12_without_a_seed_one_is_drawn_and_written_down() -> None:
    talk = Conversation(preassignment="random")
    talk.running("a1", "a2", contacts=many(10))
    assert [one.seed > 0 for one in talk.deal()] == [True]


def test_the_random_order_is_the_same_for_ever() -> None:
    assert shuffled(["a", "b", "c", "d", "e"], 7) == ["d", "e", "a", "b", "c"]


def test_OM_21_who_joins_gets_a_fair_share_and_who_leaves_gives_it_back_never_the_contact_in_hand() -> None:
    talk = working("a1", "a2", contacts=12, preassignment="proportional")
    hand = talk.next("a1").reply.contact
    talk.allocate("a3")
    talk.phone_ready("a3")
    moved = [ref for step in talk.deal() for refs in step.contacts.values() for ref in refs]
    assert talk.shares() == {"a1": 4, "a2": 4, "a3": 4}
    assert hand not in moved
    assert len(moved) == 4  # no more than it takes
    talk.withdraw("a3")
    talk.deal()
    assert talk.shares() == {"a1": 6, "a2": 6}
    assert talk.book.contacts.by_ref[hand].agent == "a1"


def test_OM_21_contacts_assigned_from_outside_and_personal_callbacks_stay_whose_they_are() -> None:
    talk = working("a1", contacts=4, preassignment="proportional")
    talk.add_as(new("mine", agent="a1"))
    talk.next("a1")
    back = talk.hand("a1").contact
    talk.dispose("a1", "callback", talk.at + HOUR_MS)
    talk.withdraw("a1")
    talk.allocate("a2")
    talk.phone_ready("a2")
    talk.deal()
    assert talk.book.contacts.by_ref["mine"].agent == "a1"
    assert talk.book.contacts.by_ref[back].owner == "a1"
    assert talk.shares()["a2"] == 3


def test_a_split_that_is_switched_off_makes_everything_free_again() -> None:
    talk = working("a1", "a2", contacts=6, preassignment="proportional")
    talk.edit(preassignment="none")
    talk.deal()
    assert talk.shares() == {"": 6}


def test_a_large_split_goes_in_steps() -> None:
    talk = Conversation(preassignment="proportional")
    talk.running("a1", "a2", contacts=many(2 * STEP_CONTACTS + 1))
    assert [sum(map(len, step.contacts.values())) for step in talk.deal()] == [STEP_CONTACTS, STEP_CONTACTS, 1]
    assert talk.shares() == {"a1": STEP_CONTACTS + 1, "a2": STEP_CONTACTS}


# -- what is ahead ------------------------------------------------------------------------------------------------------


def test_TF_36_about_two_contacts_for_each_agent_at_work_are_told_ahead_in_order() -> None:
    talk = working("a1", "a2", contacts=10)
    told = talk.edit(announce_upcoming=True).one(ContactsUpcoming).contacts
    assert told == ("k0", "k1", "k2", "k3")
    seen = list(told)
    for _ in range(6):
        said = talk.next("a1")
        assert said.reply.contact in seen  # every contact was told before it was delivered
        seen += [ref for one in said.all(ContactsUpcoming) for ref in one.contacts]
        talk.dispose("a1", "no_contact")


# -- lists that change ------------------------------------------------------------------------------------------------


def test_SG_15_overwriting_replaces_what_was_never_dialled_and_refuses_what_was() -> None:
    talk = working("a1", contacts=2)
    talk.next("a1")
    talk.failing("a1")
    talk.release("a1")
    said = talk.add_as(new("k0", "+99"), new("k1", "+98", priority=Priority.HIGH), new("k2", "+97"), overwrite=True)
    assert (said.reply.new, said.reply.replaced, set(said.reply.refused)) == ({"k2"}, {"k1"}, {"k0"})
    assert talk.book.contacts.by_ref["k1"].numbers == ("+98",)
    assert talk.book.contacts.by_ref["k0"].numbers == ("5000000",)
    again = talk.add_as(new("k1", "+98", priority=Priority.HIGH), overwrite=True)
    assert again.told == []


def test_OM_02_an_external_id_names_one_contact() -> None:
    talk = working("a1")
    said = talk.add_as(new("k1", external_id="7"), new("k2", external_id="7"), new("k3", external_id="8"))
    assert set(said.reply.refused) == {"k1"}  # the last to claim it has it
    assert talk.book.contacts.named("8") == "k3"


def test_contacts_are_asked_for_by_nobody_once_all_are_done_and_new_ones_are_delivered() -> None:
    talk = working("a1", contacts=1)
    talk.delivered("a1")
    assert nobody(talk.next("a1")) == "completed"
    talk.add_as(new("later"))
    assert talk.delivered("a1") == "later"


def test_an_attempt_knows_when_it_was_made() -> None:
    talk = working("a1", contacts=1)
    talk.next("a1")
    talk.wait(500)
    asked_at = talk.at
    talk.failing("a1")
    (attempt,) = talk.book.contacts.by_ref["k0"].attempts
    assert (attempt.outcome, attempt.at) == (Outcome.BUSY, asked_at)


# -- looking ahead, and a moment's grace ----------------------------------------------------------------------------------


def test_the_next_contact_is_looked_at_while_the_present_one_rings_and_is_in_hand_after_it() -> None:
    talk = working("a1", "a2", contacts=3)
    talk.next("a1")
    assert talk.refused(Next(at=talk.at, agent="a1", reservation="r", token="t", ahead=True)) == "call-not-begun"
    talk.dial("a1")
    ahead = talk.next("a1", ahead=True).reply
    assert (ahead.contact, ahead.ahead) == ("k1", True)
    assert talk.next("a1", ahead=True).reply == ahead  # asked again, the same
    assert talk.next("a2").reply.contact == "k2"  # nobody else gets it
    early = Dial(at=talk.at, agent="a1", reservation=ahead.id, token=ahead.token, number=None, call="c", leg="l")
    assert talk.refused(early) == "reservation-ahead"

    talk.ended(talk.call_of("a1"), cause=17)
    said = talk.dispose("a1", "no_contact")

    taken = said.one(ReservationExtended)
    assert (taken.reservation, taken.reason, taken.expires_at) == (ahead.id, "in_hand", talk.at + 120_000)
    assert talk.next("a1").reply.id == ahead.id
    assert talk.dial("a1").one(CallRequested).contact == "k1"


def test_what_was_reserved_ahead_lapses_as_any_other_and_goes_back_when_the_agent_pauses() -> None:
    talk = working("a1", contacts=3)
    talk.next("a1")
    talk.dial("a1")
    ahead = talk.next("a1", ahead=True).reply
    talk.wait(120_000)
    assert talk.when(ReservationDue(at=talk.at, reservation=ahead.id)).one(ContactReleased).contact == "k1"
    again = talk.next("a1", ahead=True).reply
    assert talk.ask("a1", Wanted.PAUSED, "lunch").one(ContactReleased).reservation == again.id
    talk.cancel("k1")
    assert talk.hand("a1").contact == "k0"


def test_looking_ahead_can_be_switched_off() -> None:
    talk = working("a1", contacts=2, preview_ahead=False)
    talk.next("a1")
    talk.dial("a1")
    assert talk.refused(Next(at=talk.at, agent="a1", reservation="r", token="t", ahead=True)) == "call-not-begun"


@pytest.mark.parametrize("how", ["logged out", "lost the phone"])
def test_OM_08_the_contact_in_hand_waits_a_moment_for_an_agent_who_is_gone(how: str) -> None:
    talk = working("a1", "a2", contacts=1, release_grace_s=30)
    held = talk.next("a1").reply
    if how == "logged out":
        talk.ask("a1", Wanted.OFFLINE)
    talk.ended(talk.leg("a1"), answered=True)
    assert nobody(talk.next("a2")) == "all_held"
    assert talk.refused(talk.dial_message("a1")) == "agent-not-available"
    assert talk.refused(Extend(at=talk.at, agent="a1", reservation=held.id, token=held.token)) == "agent-not-available"
    talk.wait(30_000)
    gone = talk.when(ReservationDue(at=talk.at, reservation=held.id)).one(ContactReleased)
    assert gone.reason == "agent_offline"
    assert talk.next("a2").reply.contact == "k0"


def test_OM_08_an_agent_who_is_back_in_time_still_has_it() -> None:
    talk = working("a1", contacts=1, release_grace_s=30)
    held = talk.next("a1").reply
    talk.ended(talk.leg("a1"), answered=True)
    talk.wait(10_000)
    talk.ask("a1", Wanted.AVAILABLE)
    talk.phone_ready("a1")
    assert talk.next("a1").reply.id == held.id
    talk.extend("a1")
    assert talk.book.reservations[held.id].expires_at == talk.at + 120_000


# -- campaigns that share their agents ------------------------------------------------------------------------------------


def linked(*groups: str, line: Line = Line.ON_DEMAND) -> list[Conversation]:
    """Campaigns with the same agent, started one after the other."""
    claims = Claims(max_calls_in_setup=9)
    talks = [Conversation(f"c{place}", claims, link_group=group) for place, group in enumerate(groups)]
    for talk in talks:
        talk.add({f"{talk.ref}:k1": [f"55{talk.ref[1]}"]})
        talk.allocate("a1", line)
        talk.start()
    return talks


def test_TF_24_SG_19_campaigns_of_one_group_share_an_agent_who_is_in_one_call_at_a_time() -> None:
    one, other = linked("east", "east")
    assert [talk.book.agents["a1"].status for talk in (one, other)] == ["available", "available"]
    for talk in (one, other):
        talk.next("a1")
    one.dial("a1")
    assert other.refused(other.dial_message("a1")) == "agent-in-call"
    one.phone_ready("a1")
    one.ended(one.call_of("a1"), cause=17)
    assert other.dial("a1").one(CallAwaitingAgent).contact == "c1:k1"


@pytest.mark.parametrize(
    ("groups", "line"),
    [(("east", "west"), Line.ON_DEMAND), (("", ""), Line.ON_DEMAND), (("east", "east"), Line.NAILED)],
)
def test_TF_24_without_a_group_in_common_or_with_a_phone_on_the_line_an_agent_is_one_campaigns(
    groups: tuple[str, str], line: Line
) -> None:
    _, other = linked(*groups, line=line)
    assert other.book.agents["a1"].reason == "active-in:c0"
    ask = AskAgent(at=other.at, by="m", agent="a1", wanted=Wanted.AVAILABLE, reason="")
    assert other.refused(ask) == "agent-active-elsewhere" or other.book.campaign.status == "starting"


def test_a_contact_whose_numbers_all_proved_wrong_is_final_when_it_is_given_back() -> None:
    talk = working("a1", contacts=1)
    talk.next("a1")
    talk.failing("a1", cause=1)
    assert talk.release("a1").one(ContactExhausted).contact == "k0"


def test_a_contact_that_was_dialled_by_another_agent_may_be_closed_without_a_further_attempt() -> None:
    talk = working("a1", contacts=1, dispose_without_attempt=False)
    talk.next("a1")
    talk.failing("a1")
    talk.release("a1")
    talk.next("a1")
    assert talk.dispose("a1", "no_contact").one(ContactDisposed).final
