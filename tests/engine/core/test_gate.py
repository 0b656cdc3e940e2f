"""What may be dialled: which number, how often, when, and whom not. Every refusal by a rule is written down."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.agent import Line
from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.claims import Claims
from engine.core.contact import NewContact
from engine.core.directory import Directory, ListNumbers, NumbersListed, UnlistNumbers
from engine.core.directory import decide as decide_directory
from engine.core.gate import date_of
from engine.core.message import EraseContacts
from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.recent import DAY_MS, REMEMBERED_MS, Recent
from engine.core.refusal import Refused
from engine.core.reservation import ContactReserved, DialRefused
from engine.core.standing import EVERYWHERE, Standing, list_of
from tests.engine.conversation import Conversation

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
MONDAY = 1_795_392_000_000
"""2026-11-23 00:00 UTC, a Monday."""
OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "18:00"}


def holding(*numbers: str, claims: Claims | None = None, ref: str = "c1", **settings: Any) -> Conversation:
    """An agent with a contact of these numbers in hand, on a Monday at noon UTC."""
    talk = Conversation(ref, claims, **{"dispose_without_attempt": True, "stop_when_completed": False, **settings})
    talk.at = MONDAY + 12 * HOUR_MS
    talk.running(f"a-{ref}", contacts={f"{ref}:k1": list(numbers or ("+15551",))})
    talk.next(f"a-{ref}")
    return talk


def dialled(talk: Conversation, number: str | None = None) -> str:
    """The number that was dialled."""
    request = talk.when(talk.dial_message(f"a-{talk.ref}", number)).one(CallRequested)
    return talk.book.contacts.by_ref[request.contact].numbers[request.number]


def forbidden(talk: Conversation, number: str | None = None) -> str:
    """The rule that forbade it; nothing was dialled, and it is written down."""
    said = talk.when(talk.dial_message(f"a-{talk.ref}", number))
    assert isinstance(said.reply, Refused)
    assert said.reply.code == "dial-forbidden"
    assert said.none(CallRequested)
    return said.one(DialRefused).rule


def list_numbers(standing: Standing, *numbers: str, name: str = EVERYWHERE, until: int = 0) -> None:
    standing.put(name, numbers, until, standing.versions.get(name, 0) + 1)


# -- by the callee's clock ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "offset_h", "rule"),
    [(8, 0, "window"), (9, 0, ""), (17, 0, ""), (18, 0, "window"), (12, -5, "window"), (15, -5, ""), (12, 6, "window")],
)
def test_EX_11_calls_are_made_inside_the_window_of_the_callees_clock(hour: int, offset_h: int, rule: str) -> None:
    talk = holding(windows=[OFFICE])
    talk.at, talk.offsets = MONDAY + hour * HOUR_MS, (offset_h * 60,)
    assert forbidden(talk) == rule if rule else dialled(talk)


def test_EX_11_where_the_zone_is_ambiguous_every_zone_must_allow_it() -> None:
    talk = holding(windows=[OFFICE])
    talk.offsets = (-5 * 60, 0)
    talk.at = MONDAY + 12 * HOUR_MS
    assert forbidden(talk) == "window"
    talk.at = MONDAY + 15 * HOUR_MS
    assert dialled(talk)


def test_EX_11_an_unknown_zone_fails_closed_only_where_the_clock_matters() -> None:
    talk = holding(windows=[OFFICE])
    talk.offsets = ()
    assert forbidden(talk) == "zone"
    talk.edit(windows=[])
    assert dialled(talk)


@pytest.mark.parametrize(("day", "rule"), [(0, ""), (5, "window"), (6, "window")])
def test_EX_11_the_weekday_is_the_callees(day: int, rule: str) -> None:
    talk = holding(windows=[OFFICE])
    talk.at = MONDAY + day * DAY_MS + 12 * HOUR_MS
    assert forbidden(talk) == rule if rule else dialled(talk)


def test_EX_11_a_holiday_is_the_callees_date() -> None:
    talk = holding(holidays=["2026-11-24"])
    talk.at, talk.offsets = MONDAY + 23 * HOUR_MS, (0,)
    assert dialled(talk)
    other = holding("+15552", ref="c2", holidays=["2026-11-24"])
    other.at, other.offsets = MONDAY + 23 * HOUR_MS, (120,)
    assert forbidden(other) == "holiday"


@given(st.dates())
def test_a_date_is_told_from_its_day_as_the_calendar_has_it(date: Any) -> None:
    day = date.toordinal() - 719_163  # 1970-01-01
    assert date_of(day) == date.isoformat()


@pytest.mark.parametrize("year", range(1970, 2402))
def test_a_date_is_told_at_every_years_edges(year: int) -> None:
    """A leap day comes every fourth year, not every hundredth, but every four hundredth."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    for month, day in ((1, 1), (2, 28), *(((2, 29),) if leap else ()), (3, 1), (12, 31)):
        date = dt.date(year, month, day)
        assert date_of(date.toordinal() - 719_163) == date.isoformat()


@pytest.mark.parametrize(
    ("minute", "is_open"),
    [(9 * 60 + 29, False), (9 * 60 + 30, True), (17 * 60 + 44, True), (17 * 60 + 45, False), (17 * 60 + 59, False)],
)
def test_EX_11_a_window_opens_and_closes_to_the_minute(minute: int, is_open: bool) -> None:
    talk = holding(windows=[{**OFFICE, "start": "09:30", "end": "17:45"}])
    talk.at, talk.offsets = MONDAY + minute * MINUTE_MS, (0,)
    if is_open:
        assert dialled(talk)
        return
    assert forbidden(talk) == "window"
    clock = f"{minute // 60:02}:{minute % 60:02}"
    assert talk.last.one(DialRefused).detail == f"it is mon {clock} where the callee is, outside the calling windows"


def test_EX_11_each_refusal_says_why_in_words_and_figures() -> None:
    told = holding(windows=[OFFICE])
    told.offsets = ()
    assert forbidden(told) == "zone"
    assert told.last.one(DialRefused).detail.startswith("the contact's time zone is not known")
    closed = holding("+15552", ref="c2", holidays=["2026-11-23"])
    closed.offsets = (0,)
    assert forbidden(closed) == "holiday"
    assert closed.last.one(DialRefused).detail == "it is 2026-11-23 where the callee is, a holiday"
    capped = holding("+15553", ref="c3", attempts_per_number=1)
    capped.failing("a-c3")
    assert forbidden(capped) == "attempts-number"
    assert capped.last.one(DialRefused).detail == "1 attempts on the number, the campaign's most"
    capped.edit(attempts_per_number=0, attempts_per_contact=1)
    assert forbidden(capped) == "attempts-contact"
    assert capped.last.one(DialRefused).detail == "1 attempts on the contact, the campaign's most"
    capped.edit(attempts_per_contact=0, person_attempts_per_day=1)
    assert forbidden(capped) == "cap-person"
    assert capped.last.one(DialRefused).detail == "1 attempts on the person in 24 hours over all campaigns"


def test_EX_11_the_last_look_is_when_the_agents_phone_has_come() -> None:
    talk = Conversation(windows=[OFFICE])
    talk.at = MONDAY + 18 * HOUR_MS - 5_000
    talk.running("a1", line=Line.ON_DEMAND, contacts={"k1": ["+15551"]})
    talk.next("a1")
    assert talk.dial("a1").one(CallAwaitingAgent).contact == "k1"
    talk.wait(6_000)
    said = talk.phone_ready("a1")
    assert said.none(CallRequested)
    assert said.one(DialRefused).rule == "window"
    assert said.one(CallEnded).outcome is Outcome.CANCELLED


# -- do-not-call ---------------------------------------------------------------------------------------------------------


def test_EX_11_a_listed_number_is_not_dialled_however_it_is_written_and_the_version_is_told() -> None:
    talk = holding("15551", "+15552")
    list_numbers(talk.claims.standing, "+15551")
    assert forbidden(talk, "15551") == "dnc"
    assert talk.last.one(DialRefused).version == 1
    assert dialled(talk) == "+15552"  # by itself the engine takes one that is allowed


def test_EX_11_a_campaigns_own_list_binds_that_campaign_only_and_a_date_ends_it() -> None:
    talk = holding("+15551")
    list_numbers(talk.claims.standing, "+15551", name=list_of("other"))
    list_numbers(talk.claims.standing, "+15551", name=list_of("c1"), until=talk.at + HOUR_MS)
    assert forbidden(talk) == "dnc"
    talk.extend("a-c1")
    talk.wait(HOUR_MS)
    assert dialled(talk) == "+15551"


def test_a_list_in_the_directory_counts_its_versions_and_says_nothing_twice() -> None:
    directory = Directory()
    for numbers, expected in ((("+1", "+2"), 2), (("1", "+2"), 0), (("+3", "+3"), 1)):
        events, count = decide_directory(directory, ListNumbers(at=1, by="m", list=EVERYWHERE, numbers=numbers))
        assert count == expected
        for event in events:
            directory.apply(event)
    assert directory.standing.versions == {EVERYWHERE: 2}
    events, count = decide_directory(directory, UnlistNumbers(at=1, by="m", list=EVERYWHERE, numbers=("+1", "+9")))
    assert count == 1
    for event in events:
        directory.apply(event)
    assert directory.standing.listed("+1", "c1", 1) is None
    assert directory.standing.listed("+2", "c1", 1) == (EVERYWHERE, 3)


def test_numbers_on_a_list_are_personal_data() -> None:
    (event,), _ = decide_directory(Directory(), ListNumbers(at=1, by="m", list=EVERYWHERE, numbers=("+1",)))
    assert isinstance(event, NumbersListed)
    assert event.person == Person("dnc/global", Details(numbers=("+1",)))
    assert "+1" not in repr(event)


def test_EX_11_consent_that_ran_out_or_is_required_and_unknown_forbids() -> None:
    talk = holding()
    talk.add_as(NewContact("c1:k2", Person("c1:k2", Details(numbers=("+15559",))), consent_until=talk.at + HOUR_MS))
    talk.dispose("a-c1", "no_contact")
    talk.next("a-c1")
    talk.edit(consent_required=True)
    talk.wait(HOUR_MS)
    assert forbidden(talk) == "consent"
    other = holding("+15552", ref="c2", consent_required=True)
    assert forbidden(other) == "consent"


# -- how often ---------------------------------------------------------------------------------------------------------


def test_EX_08_attempts_on_a_number_and_on_a_contact_have_a_most() -> None:
    talk = holding("+15551", "+15552", attempts_per_number=1, attempts_per_contact=3)
    talk.failing("a-c1", number="+15551")
    assert forbidden(talk, "+15551") == "attempts-number"
    talk.failing("a-c1")
    assert forbidden(talk) == "attempts-number"
    talk.edit(attempts_per_number=0)
    talk.failing("a-c1")
    assert forbidden(talk, "+15551") == "attempts-contact"


def test_EX_08_the_days_cap_counts_every_campaign_and_survives_a_restart() -> None:
    claims = Claims(max_calls_in_setup=50)
    one = holding("+15551", claims=claims, number_attempts_per_day=1)
    other = holding("15551", claims=claims, ref="c2", number_attempts_per_day=1)
    one.failing("a-c1")
    assert forbidden(other) == "cap-number"
    one.crash()
    assert forbidden(one) == "cap-number"
    other.extend("a-c2")
    other.wait(DAY_MS)
    assert dialled(other)


def test_EX_08_the_persons_cap_counts_all_their_numbers() -> None:
    talk = holding("+15551", "+15552", person_attempts_per_day=1)
    talk.failing("a-c1", number="+15551")
    assert forbidden(talk, "+15552") == "cap-person"


def test_EX_08_a_number_that_stands_twice_in_a_contact_is_counted_once() -> None:
    talk = holding("+15551", "15551", person_attempts_per_day=2)
    talk.failing("a-c1")
    assert dialled(talk)


def test_TF_32_with_a_person_the_attempts_on_their_numbers_are_forgotten_but_not_anothers() -> None:
    # given two who share a number; both were dialled on it, and one on another
    talk = Conversation("c1", stop_when_completed=False)
    talk.running("a-c1", contacts={"c1:k1": ["+15551", "+15552"], "c1:k2": ["15551"]})
    for number in ("+15551", "+15552"):
        talk.next("a-c1")
        talk.failing("a-c1", number=number)
    talk.dispose("a-c1", "no_contact")
    talk.wait(DAY_MS // 2)
    talk.next("a-c1")
    talk.failing("a-c1", number="15551")
    standing = talk.claims.standing
    assert [standing.attempts(one, 0) for one in ("+15551", "+15552")] == [2, 1]

    # when
    talk.when(EraseContacts(at=talk.at, by="m", contacts=("c1:k1",)))

    # then
    assert [standing.attempts(one, 0) for one in ("+15551", "+15552")] == [1, 0]
    assert standing.last_attempt("+15551") == talk.book.contacts.by_ref["c1:k2"].attempts[0].at
    assert talk.book.recent.times("15552") == []


def test_TF_32_of_a_line_that_stands_twice_in_anothers_contact_each_attempt_is_kept_once() -> None:
    talk = Conversation("c1", stop_when_completed=False)
    talk.running("a-c1", contacts={"c1:k1": ["+15551"], "c1:k2": ["+15551", "15551"]})
    for _ in range(2):
        talk.next("a-c1")
        talk.failing("a-c1", number="+15551")
        talk.dispose("a-c1", "no_contact")
        talk.wait(3 * DAY_MS)
    talk.when(EraseContacts(at=talk.at, by="m", contacts=("c1:k1",)))
    assert talk.claims.standing.attempts("+15551", 0) == 1
    talk.when(EraseContacts(at=talk.at, by="m", contacts=("c1:k2",)))
    assert talk.claims.standing.last_attempt("+15551") == 0


def test_TF_32_an_older_attempt_of_another_is_known_again_once_the_newest_goes_with_its_person() -> None:
    talk = Conversation("c1", stop_when_completed=False)
    talk.running("a-c1", contacts={"c1:k1": ["+15551"], "c1:k2": ["15551"]})
    for _ in range(2):
        talk.next("a-c1")
        talk.failing("a-c1")
        talk.dispose("a-c1", "no_contact")
        talk.wait(3 * DAY_MS)
    standing = talk.claims.standing
    (first,) = (one.at for one in talk.book.contacts.by_ref["c1:k1"].attempts)
    assert standing.attempts("+15551", 0) == 1
    talk.when(EraseContacts(at=talk.at, by="m", contacts=("c1:k2",)))
    assert standing.last_attempt("+15551") == first


def test_an_attempt_is_forgotten_when_no_cap_looks_back_so_far() -> None:
    recent = Recent()
    for day in range(20):
        recent.add("1", day * DAY_MS)
    assert recent.times("1") == [18 * DAY_MS, 19 * DAY_MS][-len(recent.times("1")) :]


def test_a_number_that_is_dialled_no_more_takes_no_room_for_ever() -> None:
    recent = Recent()
    for month in range(3):
        for number in range(100):
            recent.add(f"{month}{number}", 1 + month * (REMEMBERED_MS + 100) + number)
    assert not any(recent.times(f"0{number}") for number in range(100))
    assert all(recent.times(f"{month}{number}") for month in (1, 2) for number in range(100))


# -- which number -------------------------------------------------------------------------------------------------------


def test_OM_14_in_order_tries_each_number_once_before_any_again() -> None:
    talk = holding("+1", "+2", "+3")
    tried = []
    for _ in range(4):
        tried.append(dialled(talk))
        talk.ended(talk.call_of("a-c1"), cause=17)
    assert tried == ["+1", "+2", "+3", "+1"]


def test_OM_14_round_robin_takes_the_number_longest_not_tried() -> None:
    talk = holding("+1", "+2", "+3", number_strategy="round_robin")
    tried = [dialled(talk, "+2")]
    talk.ended(talk.call_of("a-c1"), cause=17)
    for _ in range(4):
        tried.append(dialled(talk))
        talk.ended(talk.call_of("a-c1"), cause=17)
    assert tried == ["+2", "+1", "+3", "+2", "+1"]


def taught(second: int, first: int) -> Conversation:
    """A campaign that learned how many of ten calls people answered on their first and on their second number."""
    talk = Conversation(dispose_without_attempt=True, stop_when_completed=False, number_strategy="best")
    talk.at = MONDAY + 12 * HOUR_MS
    talk.running("a1", contacts={f"k{place}": [f"+1{place:03}", f"+2{place:03}"] for place in range(40)})
    for round_ in range(10):
        talk.next("a1")
        for place, answered in ((0, first), (1, second)):
            number = talk.book.contacts.by_ref[talk.hand("a1").contact].numbers[place]
            talk.dial("a1", number)
            talk.ended(talk.call_of("a1"), cause=17, answered=round_ < answered)
        talk.dispose("a1", "no_contact")
    return talk


def test_EX_08_the_best_number_is_the_one_that_people_answer_at_this_hour_and_a_control_arm_shows_it() -> None:
    talk = taught(second=9, first=1)
    chosen = {}
    for _ in range(12):
        contact = talk.next("a1").reply.contact
        said = talk.dial("a1")
        chosen[contact] = (said.one(CallRequested).number, said.one(CallRequested).strategy)
        talk.ended(talk.call_of("a1"), cause=17)
        talk.dispose("a1", "no_contact")
    assert {one for one in chosen.values() if one[1] == "best"} == {(1, "best")}
    assert {one for one in chosen.values() if one[1] == "control"} == {(0, "control")}


def test_EX_08_what_was_learned_is_of_the_hour_and_each_number_is_tried_before_any_again() -> None:
    talk = taught(second=9, first=1)
    talk.crash()
    talk.resync(talk.seen(talk.leg("a1"), ready=True))
    talk.next("a1")
    tried = [talk.dial("a1").one(CallRequested).number]
    talk.ended(talk.call_of("a1"), cause=17)
    tried.append(talk.dial("a1").one(CallRequested).number)
    assert tried == [1, 0]
    talk.ended(talk.call_of("a1"), cause=17)
    talk.dispose("a1", "no_contact")
    talk.wait(6 * HOUR_MS)
    talk.next("a1")
    assert talk.dial("a1").one(CallRequested).number == 0  # nothing is known of this hour


def test_EX_08_a_number_cools_down_for_the_engine_but_an_agent_may_choose_it() -> None:
    talk = holding("+1", "+2", number_cooldown_s=60)
    for expected in ("+1", "+2"):
        assert dialled(talk) == expected
        talk.ended(talk.call_of("a-c1"), cause=17)
    assert talk.refused(talk.dial_message("a-c1")) == "no-number-left"
    assert dialled(talk, "+2") == "+2"
    talk.ended(talk.call_of("a-c1"), cause=17)
    talk.wait(60_000)
    assert dialled(talk) == "+1"


def test_EX_08_a_number_that_does_not_exist_is_dialled_no_more() -> None:
    talk = holding("+1", "+2")
    talk.failing("a-c1", cause=1)
    for _ in range(2):
        assert dialled(talk) == "+2"
        talk.ended(talk.call_of("a-c1"), cause=17)
    assert talk.refused(talk.dial_message("a-c1", "+1")) == "number-invalid"


def test_where_the_dialer_chooses_the_agent_may_dial_the_main_number_only() -> None:
    talk = holding("+1", "+2", agents_choose_number=False)
    assert talk.refused(talk.dial_message("a-c1", "+2")) == "number-not-open"
    assert dialled(talk, "+1") == "+1"


# -- click-to-call -------------------------------------------------------------------------------------------------------


def clicking(**settings: Any) -> Conversation:
    talk = Conversation(dispose_without_attempt=True, stop_when_completed=False, **settings)
    talk.at = MONDAY + 12 * HOUR_MS
    talk.running("a1", "a2", contacts={"k1": ["+1"], "k2": ["+2"]})
    return talk


def test_OM_16_OM_18_EX_09_a_click_reserves_and_dials_in_one_and_once() -> None:
    talk = clicking()
    said = talk.click("a1", "k2", request="r1")
    assert said.one(ContactReserved).contact == "k2"
    assert said.one(CallRequested).call == said.reply
    again = talk.click("a1", "k2", request="r1")
    assert (again.told, again.reply) == ([], said.reply)
    talk.crash()
    assert talk.click("a1", "k2", request="r1").reply == said.reply


def test_OM_16_a_click_on_the_contact_in_the_agents_own_hand_dials_it() -> None:
    talk = clicking()
    talk.next("a1")
    said = talk.click("a1", "k1")
    assert said.none(ContactReserved)
    assert said.one(CallRequested).contact == "k1"


@pytest.mark.parametrize(
    ("agent", "contact", "code"),
    [
        ("a9", "k2", "agent-not-in-campaign"),
        ("a1", "k9", "contact-not-in-campaign"),
        ("a1", "k1", "contact-held"),
        ("a2", "k2", "agent-holds-another"),
        ("a1", "k3", "contact-closed"),
    ],
)
def test_OM_16_every_refusal_of_a_click_is_its_own(agent: str, contact: str, code: str) -> None:
    talk = clicking()
    talk.add({"k3": ["+3"]})
    talk.cancel("k3")
    talk.next("a2")
    assert talk.refused(talk.click_message(agent, contact)) == code


def test_EX_11_a_click_that_a_rule_forbids_leaves_the_contact_where_it_was() -> None:
    talk = clicking()
    list_numbers(talk.claims.standing, "+2")
    said = talk.click("a1", "k2")
    assert isinstance(said.reply, Refused)
    assert said.told == ["contact.dial_refused"]
    assert talk.book.contacts.by_ref["k2"].status == "waiting"
    assert talk.click("a1", "k1").one(CallRequested).contact == "k1"
