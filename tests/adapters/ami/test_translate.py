"""Given what real PBXes sent, when it is translated, then each leg has exactly the facts it had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ami.translate import LegTracker, audio_bridges, seen
from engine.core.telephony import (
    BridgeRefused,
    LegEnded,
    LegObservation,
    LegReady,
    LegRecorded,
    LegSeen,
    LegState,
    RecordingRefused,
)
from tests.adapters.ami.recording import AT, NAMES, load, messages, names, observe, of, originated

ANSWERED = ["LegCreated", "LegRinging", "LegAnswered", "LegReady"]


def ending(observations: list[LegObservation]) -> LegEnded:
    (ended,) = [seen for seen in observations if isinstance(seen, LegEnded)]
    return ended


@pytest.mark.parametrize(
    ("name", "cause", "sip_code", "ringing", "far_end"),
    [
        ("ringfold_busy", 17, 486, True, True),
        ("ringfold_404", 1, 404, False, True),
        ("ringfold_503", 34, 503, False, True),
        ("ringfold_603", 21, 603, True, True),
        ("ringfold_480", 19, 480, True, True),
        ("ringfold_noanswer", 19, 480, True, False),
        ("ringfold_dead", 19, 480, False, False),
        ("ringfold_cancelled", 16, 0, True, False),
        ("direct_busy", 17, 486, True, True),
        ("direct_404", 1, 404, False, True),
        ("direct_503", 34, 503, False, True),
        ("direct_603", 21, 603, True, True),
        ("direct_noanswer", 19, 480, True, False),
        ("pv_agent_480", 19, 480, False, True),
        ("pv_agent_reject603", 21, 603, True, True),
        ("pv_agent_noanswer", 19, 480, True, False),
        ("pv_agent_dead_contact", 19, 480, False, False),
        ("pv_cancel_while_agent_rings", 16, 0, True, False),
        ("a16_direct_busy", 17, 0, True, True),
        ("a16_direct_503", 34, 0, False, True),
        ("a16_direct_noanswer", 0, 0, True, False),
        ("a16_agent_busy", 17, 0, True, True),
    ],
)
def test_a_leg_that_never_came_up_ends_with_its_own_cause(
    name: str, cause: int, sip_code: int, ringing: bool, far_end: bool
) -> None:
    raw = load(name)
    (leg,) = originated(raw)

    observations = of(observe(raw), leg)

    assert ending(observations) == LegEnded(
        leg=leg, at=AT, cause=cause, sip_code=sip_code, answered=False, ringing=ringing, far_end=far_end
    )
    assert "LegAnswered" not in names(observations)


@pytest.mark.parametrize("name", ["ringfold_agent_unreachable", "a16_notreg", "pv_agent_unknown_endpoint"])
def test_a_phone_that_cannot_be_reached_only_fails_to_originate(name: str) -> None:
    raw = load(name)

    assert names(observe(raw)) == ["OriginateFailed"]


def test_a_failure_told_before_the_channel_is_no_end() -> None:
    raw = load("loc_badexten")
    leg = originated(raw)[0]

    assert names(of(observe(raw), leg)) == ["OriginateFailed", "LegCreated", "LegEnded"]


@pytest.mark.parametrize(
    ("name", "contact_let_go", "agent_let_go"),
    [
        ("ringfold_contact_hangs", True, False),
        ("ringfold_agent_hangs", False, True),
        ("ringfold_dialer_hangs", False, False),
    ],
)
def test_both_legs_of_a_call_and_who_hung_up(name: str, contact_let_go: bool, agent_let_go: bool) -> None:
    raw = load(name)
    agent, contact = originated(raw)

    observations = observe(raw)

    assert names(of(observations, agent)) == [*ANSWERED, "LegEnded"]
    assert names(of(observations, contact)) == [*ANSWERED, "LegBridged", "LegEnded"]
    assert ending(of(observations, contact)).far_end is contact_let_go
    assert ending(of(observations, agent)).far_end is agent_let_go
    assert ending(of(observations, contact)).answered
    assert next(o for o in of(observations, agent) if isinstance(o, LegReady)).channel.startswith("PJSIP/agent")


@pytest.mark.parametrize("name", ["ringfold_agent_gone", "R2b_agent_gone"])
def test_an_agent_who_has_left_is_a_refused_bridge_and_not_yet_an_end(name: str) -> None:
    raw = load(name)
    (contact,) = originated(raw)

    observations = observe(raw)

    assert BridgeRefused(leg=contact, at=AT, result="NONEXISTENT") in observations
    assert names(observations)[-1] == "LegEnded"
    assert "LegBridged" not in names(observations)


@pytest.mark.parametrize(
    ("result", "seen"),
    [
        ("STARTED", LegRecorded(leg="c" * 32, at=AT)),
        ("NO-MIXMONITOR", RecordingRefused(leg="c" * 32, at=AT, result="NO-MIXMONITOR")),
    ],
)
def test_the_dialplan_tells_whether_it_records(result: str, seen: LegObservation) -> None:
    tracker = LegTracker()
    told = {"event": "UserEvent", "userevent": "RingfoldRecording", "uniqueid": "c" * 32, "result": result}

    assert tracker.see(told, AT) == ()  # no leg of ours
    tracker.expect("c" * 32)
    assert tracker.see(told, AT) == (seen,)


def test_legs_are_told_apart_by_their_own_id_although_the_bridge_merges_linkedid() -> None:
    raw = load("R2_bridge_app")
    agent, contact = originated(raw)

    observations = observe(raw)

    assert names(of(observations, contact)) == ["LegCreated", "LegRinging", "LegAnswered", "LegBridged", "LegEnded"]
    assert names(of(observations, agent)) == ["LegCreated", "LegRinging", "LegAnswered", "LegEnded"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_remembered_of_legs_that_ended(name: str) -> None:
    raw = load(name)
    tracker = LegTracker()

    observations = observe(raw, tracker)

    ended = {seen.leg for seen in observations if isinstance(seen, LegEnded)}
    assert ended.isdisjoint(tracker.legs())


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_is_told_once_even_if_the_stream_repeats_itself(name: str) -> None:
    raw = load(name)
    tracker = LegTracker()
    for leg in originated(raw):
        tracker.expect(leg)

    observations = [
        seen for message in messages(raw) if message.get("event") != "Hangup" for seen in tracker.see(message, AT)
    ]
    again = [seen for message in messages(raw) for seen in tracker.see(message, AT)]

    told = {(type(seen), seen.leg) for seen in observations} - {(BridgeRefused, seen.leg) for seen in observations}
    repeated = told & {(type(seen), seen.leg) for seen in again}
    assert {kind.__name__ for kind, _ in repeated} <= {"OriginateFailed"}  # of a leg that never had a channel


def test_the_contact_may_enter_the_bridge_first() -> None:
    tracker = LegTracker()
    contact, agent = "c" * 32, "a" * 32
    for leg in (contact, agent):
        tracker.expect(leg)
    first = {
        "event": "BridgeEnter",
        "uniqueid": contact,
        "context": "ringfold-bridge",
        "bridgeuniqueid": "b1",
        "bridgetechnology": "simple_bridge",
        "bridgenumchannels": "1",
    }
    second = first | {"uniqueid": agent, "context": "ringfold-agent", "bridgenumchannels": "2"}

    assert tracker.see(first, AT) == ()
    assert names(list(tracker.see(second, AT))) == ["LegBridged"]


def test_a_hangup_is_understood_of_a_leg_nobody_tracked() -> None:
    tracker = LegTracker()
    hangup = {"event": "Hangup", "uniqueid": "d" * 32, "channelstate": "6", "cause": "16"}

    (ended,) = tracker.see(hangup, AT)

    assert isinstance(ended, LegEnded)
    assert ended.answered


def test_a_leg_adopted_from_the_list_repeats_nothing_and_can_end() -> None:
    raw = load("ringfold_contact_hangs")
    agent, contact = originated(raw)
    tracker = LegTracker()
    for leg in (agent, contact):
        tracker.adopt(LegSeen(leg=leg, at=AT, channel="PJSIP/x-1", state=LegState.UP, ready=True, bridged=True))

    observations = [seen for message in messages(raw) for seen in tracker.see(message, AT)]

    assert names(observations) == ["LegEnded", "LegEnded"]


def test_a_status_list_shows_which_legs_wait_and_which_talk() -> None:
    statuses = [message for message in messages(load("ringfold_status")) if message.get("event") == "Status"]

    legs = [seen(status, AT, audio_bridges(statuses)) for status in statuses]

    assert [(leg.state, leg.ready, leg.bridged) for leg in legs if leg] == [
        (LegState.UP, False, True),  # the contact, in the dialplan's bridge
        (LegState.UP, True, True),  # the agent: in the waiting place's context, and talking
    ]


headers = st.dictionaries(
    st.sampled_from(
        [
            "uniqueid",
            "destuniqueid",
            "channelstate",
            "cause",
            "techcause",
            "userevent",
            "result",
            "bridgeuniqueid",
            "bridgenumchannels",
            "bridgetechnology",
            "context",
            "dialstatus",
            "response",
            "channel",
        ]
    ),
    st.sampled_from(
        ["a" * 32, "b" * 32, "5", "6", "2", "RingfoldReady", "RingfoldBridge", "Failure", "", "ringfold-bridge"]
    )
    | st.text(max_size=8),
)
event = st.sampled_from(
    [
        "Newchannel",
        "Newstate",
        "DialState",
        "Hangup",
        "HangupRequest",
        "BridgeEnter",
        "UserEvent",
        "OriginateResponse",
        "?",
    ]
)


@given(st.lists(st.tuples(event, headers), max_size=40))
def test_no_sequence_of_events_breaks_the_translation(stream: list[tuple[str, dict[str, str]]]) -> None:
    tracker = LegTracker()

    observations = [seen for name, message in stream for seen in tracker.see({**message, "event": name}, AT)]

    living: set[str] = set()
    for observation in observations:
        if isinstance(observation, LegEnded):
            living.discard(observation.leg)
        elif type(observation).__name__ == "LegCreated":
            assert observation.leg not in living, "created twice without an end between"
            living.add(observation.leg)
