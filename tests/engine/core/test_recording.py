"""Which calls are recorded, under which name, and what the call's record says of it."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.agent import Line
from engine.core.call import CallEnded, CallRequested
from engine.core.campaign import Settings
from engine.core.recording import day, name_of
from engine.core.telephony import LegRecorded, OriginateContact, RecordingRefused
from tests.engine.conversation import Conversation

CALL = "c" * 32
REFUSED = "NO-MIXMONITOR"


def heard(talk: Conversation, call: str, refused: bool = False) -> list[str]:
    seen = RecordingRefused(leg=call, at=talk.at, result=REFUSED) if refused else LegRecorded(leg=call, at=talk.at)
    return talk.when(seen).told


def record(talk: Conversation, call: str) -> tuple[str, str]:
    ended = talk.ended(call, answered=True, far_end=True).one(CallEnded)
    return ended.recording, ended.recording_fault


# -- the name -----------------------------------------------------------------------------------------------------------


@given(st.integers(min_value=0, max_value=253_402_300_799_999))
def test_the_day_is_the_calendars(at: int) -> None:
    assert day(at) == datetime.fromtimestamp(at // 1_000, UTC).strftime("%Y-%m-%d").rjust(10, "0")


@given(st.from_regex(r"[A-Za-z0-9_.:@-]{1,100}", fullmatch=True))
def test_whatever_a_ref_holds_the_name_is_safe(ref: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}/2026-03-07/c{32}\.wav", name_of(ref, 1_772_841_600_000, CALL))


@pytest.mark.parametrize(("ref", "folder"), [("..", "__"), ("a.b:c@d-e_f", "a_b_c_d-e_f"), ("../../x", "______x")])
def test_a_ref_leads_nowhere_else(ref: str, folder: str) -> None:
    assert name_of(ref, 0, CALL) == f"{folder}/1970-01-01/{CALL}.wav"


# -- which calls --------------------------------------------------------------------------------------------------------


def test_nothing_is_recorded_and_no_agent_listens_unless_a_campaign_says_so() -> None:
    assert (Settings().record, Settings().agents_may_listen) == (False, False)


def test_the_name_is_in_the_log_before_anything_is_dialled() -> None:
    talk = Conversation(record=True)
    talk.running("a1")
    talk.next("a1")

    said = talk.dial("a1")

    requested, originate = said.one(CallRequested), said.one(OriginateContact)
    assert requested.recording == f"c1/1970-01-01/{requested.call}.wav"
    assert originate.recording == requested.recording


def test_an_on_demand_agents_call_too() -> None:
    talk = Conversation(record=True)
    talk.running("a1", line=Line.ON_DEMAND)
    talk.next("a1")
    talk.dial("a1")

    said = talk.phone_ready("a1")

    assert said.one(OriginateContact).recording == said.one(CallRequested).recording != ""


@pytest.mark.parametrize("first", [True, False])
def test_the_flag_is_live_and_takes_effect_at_the_next_call(first: bool) -> None:
    talk = Conversation(record=first)
    talk.running("a1")
    before = talk.talking("a1")

    talk.edit(record=not first)
    heard(talk, before)

    assert bool(record(talk, before)[0]) is first  # the call under way stays as it was begun
    talk.dispose("a1")
    after = talk.talking("a1")
    heard(talk, after)
    assert bool(record(talk, after)[0]) is not first


# -- what the record says -------------------------------------------------------------------------------------------------


def test_OM_05_the_recordings_name_is_in_the_calls_record() -> None:
    talk = Conversation(record=True)
    talk.running("a1")
    call = talk.talking("a1")

    assert heard(talk, call) == ["call.recording_started"]
    assert heard(talk, call) == []  # told once

    assert record(talk, call) == (f"c1/1970-01-01/{call}.wav", "")


def test_a_pbx_that_cannot_record_is_named_and_the_call_goes_on() -> None:
    talk = Conversation(record=True)
    talk.running("a1")
    call = talk.talking("a1")

    assert heard(talk, call, refused=True) == ["call.recording_failed"]
    assert talk.last.asked == []

    assert record(talk, call) == ("", REFUSED)


def test_a_talk_of_whose_recording_nothing_was_heard_says_so() -> None:
    talk = Conversation(record=True)
    talk.running("a1")
    call = talk.talking("a1")

    assert record(talk, call) == (f"c1/1970-01-01/{call}.wav", "unheard")


def test_without_a_talk_there_is_no_recording() -> None:
    talk = Conversation(record=True)
    talk.running("a1")
    talk.next("a1")
    talk.dial("a1")

    ended = talk.ended(talk.call_of("a1"), cause=17).one(CallEnded)

    assert (ended.recording, ended.recording_fault) == ("", "")


def test_a_call_that_is_not_to_be_recorded_records_nothing_of_it() -> None:
    talk = Conversation()
    talk.running("a1")
    call = talk.talking("a1")

    assert heard(talk, call) == []
    assert heard(talk, call, refused=True) == []
    assert record(talk, call) == ("", "")
