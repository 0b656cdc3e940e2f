"""A call: every observation of its leg in every status and situation."""

import msgspec
import pytest

from engine.core import outcome
from engine.core.call import (
    Call,
    CallAwaitingAgent,
    CallBridged,
    CallConnected,
    CallEnded,
    CallRequested,
    CallRinging,
    CallStatus,
    decide,
    end,
    evolve,
)
from engine.core.outcome import Outcome, Party
from engine.core.telephony import LegEnded
from simulations.states import AT, LATER, SITUATIONS, call_cells, call_in, observations
from tests.engine.core.truth import compare, table

WORDS = {
    "placed": "call.placed",
    "ringing": "call.ringing",
    "connected": "call.connected",
    "joined": "call.bridged",
    "at once": "call.connected, call.bridged",
    "no bridge": "call.bridge_failed",
    "doubt": "call.doubted (originate_failed)",
    "silence": "call.doubted (silence)",
    "ask": "call.doubted (reconnected)",
    "busy": "call.ended (busy by contact)",
    "our end": "call.ended (cancelled by dialer)",
    "agent let go": "call.ended (cancelled by agent)",
    "gave up": "call.ended (abandoned by contact)",
    "left alone": "call.ended (abandoned by dialer)",
    "agent left": "call.ended (abandoned by agent)",
    "they left": "call.ended (answered by contact)",
    "we left": "call.ended (answered by agent)",
    "never was": "call.ended (failed by pbx)",
    "unknown": "call.ended (unknown by unknown)",
    "lost": "call.ended (abandoned by unknown)",
    "talked": "call.ended (answered by unknown)",
    "made": "call.recording_started",
    "not made": "call.recording_failed",
}
AS_IT_GOES = """
                                awaiting_agent requested placed ringing connected bridged ended
created                         | – | placed    | –         | –         | –         | –         | –
ringing                         | – | ringing   | ringing   | –         | –         | –         | –
answered                        | – | –         | –         | –         | –         | –         | –
ready                           | – | connected | connected | connected | –         | –         | –
bridged                         | – | at once   | at once   | at once   | joined    | –         | –
bridge refused                  | – | no bridge | no bridge | no bridge | no bridge | no bridge | –
recorded                        | – | –         | –         | –         | –         | –         | –
recording refused               | – | –         | –         | –         | –         | –         | –
ended unanswered, busy (17)     | – | busy      | busy      | busy      | busy      | busy      | –
ended unanswered, normal (16)   | – | our end   | our end   | our end   | our end   | our end   | –
ended answered, by the far end  | – | gave up   | gave up   | gave up   | gave up   | they left | –
ended answered, by our side     | – | left alone | left alone | left alone | left alone | we left | –
originate rejected              | – | never was | never was | never was | never was | never was | –
originate failed                | – | doubt     | –         | –         | –         | –         | –
absent                          | – | unknown   | unknown   | unknown   | lost      | talked    | –
seen, down                      | – | placed    | –         | –         | –         | –         | –
seen, ringing                   | – | ringing   | ringing   | –         | –         | –         | –
seen, up                        | – | placed    | –         | –         | –         | –         | –
seen, waiting in our dialplan   | – | connected | connected | connected | –         | –         | –
seen, bridged                   | – | at once   | at once   | at once   | joined    | –         | –
silence                         | – | silence   | silence   | silence   | –         | –         | –
not listed after a reconnect    | – | ask       | ask       | ask       | ask       | ask       | –
not listed, the PBX restarted   | – | ask       | ask       | ask       | lost      | talked    | –
"""
# Let go by the agent: nobody is to be connected any more, and the end is theirs unless the contact was quicker.
LET_GO = {
    "ended answered, by our side": "| – | agent left | agent left | agent left | agent left | we left | –",
    "ready": "| – | – | – | – | – | – | –",
    "bridged": "| – | – | – | – | joined | – | –",
    "ended unanswered, busy (17)": "| – | agent let go | agent let go | agent let go | agent let go | agent let go | –",
    "ended unanswered, normal (16)": "| – | agent let go | agent let go | agent let go | agent let go | agent let go | –",
    "seen, down": "| – | – | – | – | – | – | –",
    "seen, ringing": "| – | – | – | – | – | – | –",
    "seen, up": "| – | – | – | – | – | – | –",
    "seen, waiting in our dialplan": "| – | – | – | – | – | – | –",
    "seen, bridged": "| – | – | – | – | joined | – | –",
}
# The PBX said that it could not originate: a leg that was never seen and is absent then was never dialled.
FAILED = {
    "originate failed": "| – | – | – | – | – | – | –",
    "absent": "| – | never was | unknown | unknown | lost | talked | –",
    "not listed, the PBX restarted": "| – | never was | ask | ask | lost | talked | –",
}

RECORDED = {
    "recorded": "| – | made | made | made | made | made | –",
    "recording refused": "| – | not made | not made | not made | not made | not made | –",
}


def _with(changes: dict[str, str]) -> str:
    lines = [line for line in AS_IT_GOES.splitlines() if line.split("|")[0].strip() not in changes]
    return "\n".join([*lines, *(f"{name} {answers}" for name, answers in changes.items())])


TABLES = dict(zip(SITUATIONS, (AS_IT_GOES, _with(LET_GO), _with(FAILED), _with(RECORDED)), strict=True))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_observation_in_every_status_has_its_answer(situation: str) -> None:
    """TF-35 in the small: whatever is seen of a leg, the call ends once, with one outcome, or goes on."""
    compare(table(TABLES[situation], WORDS), call_cells(situation))


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("status", CallStatus)
@pytest.mark.parametrize("name", observations())
def test_an_observation_heard_twice_is_recorded_once(name: str, status: CallStatus, situation: str) -> None:
    call = call_in(status, **SITUATIONS[situation])
    before = msgspec.msgpack.encode(call)

    events = decide(call, observations()[name])
    assert msgspec.msgpack.encode(call) == before  # deciding changes nothing
    for event in events:
        call = evolve(call, event)

    assert decide(call, observations()[name]) == ()


@pytest.mark.parametrize("status", [one for one in CallStatus if one is not CallStatus.ENDED])
def test_an_ended_call_stays_as_it_ended(status: CallStatus) -> None:
    call = call_in(status)
    ended = evolve(call, end(call, LATER, Outcome.NO_ANSWER, Party.CONTACT, ""))
    assert all(decide(ended, seen) == () for seen in observations().values())


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (1, (Outcome.INVALID, Party.CARRIER)),
        (3, (Outcome.UNAVAILABLE, Party.CARRIER)),
        (17, (Outcome.BUSY, Party.CONTACT)),
        (18, (Outcome.NO_ANSWER, Party.CONTACT)),
        (19, (Outcome.NO_ANSWER, Party.CONTACT)),
        (20, (Outcome.UNAVAILABLE, Party.CONTACT)),
        (21, (Outcome.REJECTED, Party.CONTACT)),
        (27, (Outcome.UNAVAILABLE, Party.CARRIER)),
        (28, (Outcome.INVALID, Party.CARRIER)),
        (34, (Outcome.CONGESTION, Party.CARRIER)),
        (38, (Outcome.CONGESTION, Party.CARRIER)),
        (42, (Outcome.CONGESTION, Party.CARRIER)),
        (44, (Outcome.CONGESTION, Party.CARRIER)),
        (16, (Outcome.CANCELLED, Party.DIALER)),
        (26, (Outcome.CANCELLED, Party.DIALER)),
        (127, (Outcome.UNAVAILABLE, Party.CARRIER)),
    ],
)
def test_the_cause_of_an_unanswered_leg_tells_the_outcome(cause: int, expected: tuple[Outcome, Party]) -> None:
    assert outcome.unanswered(cause, ringing=True, hung_up_by=None) == expected
    assert outcome.unanswered(cause, ringing=True, hung_up_by=Party.AGENT) == (Outcome.CANCELLED, Party.AGENT)


def test_without_a_cause_a_leg_that_rang_was_not_answered_and_one_that_did_not_was_not_reached() -> None:
    assert outcome.unanswered(0, ringing=True, hung_up_by=None) == (Outcome.NO_ANSWER, Party.CONTACT)
    assert outcome.unanswered(0, ringing=False, hung_up_by=None) == (Outcome.UNAVAILABLE, Party.CARRIER)


@pytest.mark.parametrize(
    ("cause", "ringing", "reason"),
    [
        (17, True, "phone-busy"),
        (21, True, "phone-rejected"),
        (19, True, "phone-no-answer"),
        (16, True, "phone-cancelled"),
        (20, False, "phone-unreachable"),
        (0, False, "phone-unreachable"),
    ],
)
def test_TF_22_an_agent_who_does_not_come_has_a_reason(cause: int, ringing: bool, reason: str) -> None:
    assert outcome.agent_reason(cause, ringing) == reason


def test_the_record_has_ring_and_talk_times_cause_and_sip_code() -> None:
    given: list[CallRequested | CallRinging | CallConnected | CallBridged] = [
        CallRequested(
            at=100,
            call="x",
            contact="k1",
            number=1,
            reservation="r1",
            agent="a1",
            agent_leg="l",
            trunk="carrier",
            by_choice=True,
        ),
        CallRinging(at=200, call="x"),
        CallConnected(at=1_200, call="x", contact="k1", agent="a1", number=1),
        CallBridged(at=1_250, call="x"),
    ]
    call: Call | None = None
    for event in given:
        call = evolve(call, event)
    assert call is not None

    seen = LegEnded(leg="x", at=9_250, cause=16, sip_code=200, answered=True, ringing=True, far_end=True)

    assert decide(call, seen) == (
        CallEnded(
            at=9_250,
            call="x",
            contact="k1",
            agent="a1",
            number=1,
            outcome=Outcome.ANSWERED,
            ended_by=Party.CONTACT,
            reason="",
            cause=16,
            sip_code=200,
            ring_ms=1_000,
            talk_ms=8_000,
        ),
    )


def test_a_clock_that_is_put_back_during_a_call_makes_no_time_negative() -> None:
    call: Call | None = None
    for event in (
        CallRequested(
            at=9_000_000,
            call="x",
            contact="k1",
            number=0,
            reservation="r1",
            agent="a1",
            agent_leg="l",
            trunk="carrier",
            by_choice=False,
        ),
        CallRinging(at=9_000_100, call="x"),
    ):
        call = evolve(call, event)
    assert call is not None
    (ended,) = decide(
        call, LegEnded(leg="x", at=5_000, cause=17, sip_code=486, answered=False, ringing=True, far_end=True)
    )
    assert isinstance(ended, CallEnded)
    assert (ended.ring_ms, ended.talk_ms) == (0, 0)


def test_what_was_asked_while_the_agents_phone_rang_is_kept_when_the_contact_is_dialled() -> None:
    asked = CallAwaitingAgent(
        at=AT, call="x", contact="k1", number=1, reservation="r1", agent="a1", trunk="carrier", by_choice=True
    )
    dialled = CallRequested(
        at=LATER,
        call="x",
        contact="k1",
        number=1,
        reservation="r1",
        agent="a1",
        agent_leg="l",
        trunk="carrier",
        by_choice=True,
    )

    call = evolve(evolve(None, asked), dialled)

    assert (call.asked_at, call.requested_at, call.by_choice, call.status) == (AT, LATER, True, CallStatus.REQUESTED)
