"""When the PBX or the engine comes back: what lives is adopted, what can't be known is never dialled again by itself."""

from collections.abc import Callable

import pytest

from engine.core.agent import Line, Phone
from engine.core.call import CallDoubted, CallEnded, CallOverdue, CallStatus, Doubt
from engine.core.effect import SetTimer
from engine.core.outcome import Outcome, Party
from engine.core.telephony import BridgeLegs, HangUp, LegEnded, LegState, OriginateAgent, OriginateContact, Settle
from tests.engine.conversation import Conversation, Said

REACHED = (CallStatus.REQUESTED, CallStatus.PLACED, CallStatus.RINGING, CallStatus.CONNECTED, CallStatus.BRIDGED)


def in_call(status: CallStatus) -> tuple[Conversation, str, str]:
    """Given a nailed agent whose call has come as far as `status`; the conversation, the call, the agent's leg."""
    talk = Conversation()
    talk.running("a1", contacts={"k1": ["5551"], "k2": ["5552"]})
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    hear: dict[CallStatus, Callable[[str], Said]] = {
        CallStatus.PLACED: talk.created,
        CallStatus.RINGING: talk.ringing,
        CallStatus.CONNECTED: talk.ready,
        CallStatus.BRIDGED: talk.bridged,
    }
    for one in REACHED[1 : REACHED.index(status) + 1]:
        hear[one](call)
    assert talk.book.calls[call].status is status
    return talk, call, talk.leg("a1")


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("status", REACHED)
def test_EX_02_a_call_that_is_not_listed_is_asked_about_and_never_dialled_again(
    status: CallStatus, crashed: bool
) -> None:
    talk, call, agent = in_call(status)
    if crashed:
        talk.crash()

    said = talk.resync(talk.seen(agent, ready=True))

    assert said.told == ["call.doubted"]
    assert said.one(Settle).leg == call
    assert said.none(OriginateContact)
    ended = talk.absent(call).one(CallEnded)
    expected = {CallStatus.CONNECTED: Outcome.ABANDONED, CallStatus.BRIDGED: Outcome.ANSWERED}
    assert (ended.outcome, ended.ended_by) == (expected.get(status, Outcome.UNKNOWN), Party.UNKNOWN)


@pytest.mark.parametrize("status", REACHED)
def test_EX_02_a_restarted_pbx_ended_every_leg_it_does_not_list(status: CallStatus) -> None:
    talk, call, agent = in_call(status)

    said = talk.resync(restarted=True)

    if status in (CallStatus.REQUESTED, CallStatus.PLACED, CallStatus.RINGING):
        # It may have been asked for after the PBX was back, or have ended before the PBX did: only asking tells.
        assert (said.one(CallDoubted).call, said.one(Settle).leg) == (call, call)
        said = talk.absent(call)
    ended = said.one(CallEnded)
    expected = {CallStatus.CONNECTED: Outcome.ABANDONED, CallStatus.BRIDGED: Outcome.ANSWERED}
    assert (ended.call, ended.outcome) == (call, expected.get(status, Outcome.UNKNOWN))
    assert said.none(Settle)
    assert talk.book.agents["a1"].phone is Phone.DOWN
    assert "a1" not in talk.claims.agents
    assert agent not in talk.claims.legs
    assert said.none(OriginateContact)


@pytest.mark.parametrize("status", [CallStatus.PLACED, CallStatus.RINGING])
def test_EX_02_what_ended_before_the_pbx_died_is_told_as_it_ended(status: CallStatus) -> None:
    """Found by `python -m simulations ordeal --seed 3`: a busy callee was told as unknown, and the PBX had written it down."""
    talk, call, _ = in_call(status)
    said = talk.resync(restarted=True)
    assert said.one(Settle).leg == call
    busy = LegEnded(leg=call, at=talk.at, cause=17, sip_code=0, answered=False, ringing=False, far_end=True, later=True)
    assert talk.when(busy).one(CallEnded).outcome is Outcome.BUSY


@pytest.mark.parametrize("how", ["absent", "restarted", "looked up"])
def test_EX_02_nobody_is_said_to_have_talked_through_an_outage(how: str) -> None:
    talk = Conversation()
    talk.running("a1")
    call, agent = talk.talking("a1"), talk.leg("a1")
    talk.wait(5_000)
    lost_at = talk.at
    talk.wait(600_000)
    said = talk.resync(talk.seen(agent, ready=True), restarted=how == "restarted", heard_until=lost_at)
    if how == "absent":
        said = talk.absent(call)
    elif how == "looked up":
        said = talk.when(
            LegEnded(leg=call, at=talk.at, cause=16, sip_code=0, answered=True, ringing=False, far_end=True, later=True)
        )
    assert said.one(CallEnded).talk_ms == 5_000


def test_EX_02_a_call_that_outlived_an_outage_talked_until_its_end() -> None:
    talk = Conversation()
    talk.running("a1")
    call, agent = talk.talking("a1"), talk.leg("a1")
    talk.wait(5_000)
    lost_at = talk.at
    talk.wait(10_000)
    talk.resync(talk.seen(agent, ready=True), heard_until=lost_at)
    talk.when(talk.seen(call, bridged=True))  # asked about, it answered
    talk.wait(5_000)
    assert talk.ended(call, answered=True).one(CallEnded).talk_ms == 20_000


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("status", REACHED)
def test_EX_02_a_call_that_lives_is_adopted_as_far_as_it_has_come(status: CallStatus, crashed: bool) -> None:
    talk, call, agent = in_call(status)
    if crashed:
        talk.crash()

    said = talk.resync(talk.seen(agent, bridged=True), talk.seen(call, ready=True, bridged=True))

    assert talk.book.calls[call].status is CallStatus.BRIDGED
    assert said.none(OriginateContact)
    assert said.none(CallEnded)
    assert talk.ended(call, answered=True, far_end=True).one(CallEnded).outcome is Outcome.ANSWERED


@pytest.mark.parametrize("status", REACHED[:4])
def test_EX_02_a_contact_who_waits_for_the_bridge_gets_it(status: CallStatus) -> None:
    talk, call, agent = in_call(status)
    talk.crash()

    said = talk.resync(talk.seen(agent, ready=True), talk.seen(call, ready=True))

    assert [one.leg for one in said.effects if isinstance(one, BridgeLegs)] == [call]


def test_a_call_that_still_rings_is_adopted_ringing() -> None:
    talk, call, agent = in_call(CallStatus.REQUESTED)
    said = talk.resync(talk.seen(agent, ready=True), talk.seen(call, LegState.RINGING))
    assert said.told == ["call.ringing"]


def test_EX_02_a_crash_between_intent_and_originate_ends_unknown_and_is_not_redialled() -> None:
    talk, call, agent = in_call(CallStatus.REQUESTED)

    said = talk.crash()
    assert said.none(OriginateContact)
    talk.resync(talk.seen(agent, ready=True))
    talk.absent(call)

    assert talk.hand("a1").contact == "k1"
    assert talk.refused(talk.dial_message("a1")) == "no-number-left"  # a person decides
    assert talk.dial("a1", "5551").asked == ["OriginateContact"]


def test_EX_02_a_refused_originate_that_left_no_leg_failed() -> None:
    talk, call, _ = in_call(CallStatus.REQUESTED)
    said = talk.originate_failed(call)
    assert (said.told, said.asked) == (["call.doubted"], ["Settle"])
    assert talk.originate_failed(call).told == []
    ended = talk.absent(call).one(CallEnded)
    assert (ended.outcome, ended.ended_by) == (Outcome.FAILED, Party.PBX)


def test_an_originate_that_the_pbx_says_failed_may_yet_tell_how_the_leg_ended() -> None:
    talk, call, _ = in_call(CallStatus.REQUESTED)
    talk.originate_failed(call)
    assert talk.ended(call, cause=17).one(CallEnded).outcome is Outcome.BUSY
    assert talk.absent(call).told == []


def test_an_originate_that_was_never_sent_failed_and_the_agent_may_try_again() -> None:
    talk, call, _ = in_call(CallStatus.REQUESTED)
    assert talk.rejected(call).one(CallEnded).outcome is Outcome.FAILED
    assert talk.dial("a1").one(OriginateContact).number == "5551"


@pytest.mark.parametrize("status", REACHED[:3])
def test_a_call_of_which_nothing_is_heard_is_asked_about_in_time(status: CallStatus) -> None:
    talk, call, _ = in_call(status)
    (due,) = [one for one in talk.crash().effects if isinstance(one, SetTimer) and one.key == f"call/{call}"]
    assert isinstance(due.alarm, CallOverdue)

    said = talk.when(CallOverdue(at=due.due, call=call))

    assert talk.book.calls[call].doubt is Doubt.SILENCE
    assert said.one(Settle) == Settle(leg=call, delay_ms=0)


def test_a_call_being_hung_up_is_hung_up_again_after_a_reconnect() -> None:
    talk, call, agent = in_call(CallStatus.RINGING)
    talk.hang_up("a1")
    said = talk.resync(talk.seen(agent, ready=True), talk.seen(call, LegState.RINGING))
    assert (said.told, said.effects) == ([], [HangUp(leg=call)])


def test_an_agents_phone_that_closes_is_hung_up_again_after_a_reconnect() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.stop()
    said = talk.resync(talk.seen(talk.leg("a1"), ready=True))
    assert (said.told, said.effects) == ([], [HangUp(leg=talk.leg("a1"))])


def test_an_agents_phone_that_came_up_meanwhile_is_adopted() -> None:
    talk = Conversation()
    talk.add({"k1": ["5551"]})
    talk.allocate("a1")
    talk.start()
    talk.crash()
    said = talk.resync(talk.seen(talk.leg("a1"), ready=True))
    assert said.told == ["agent.phone_up", "agent.present", "agent.status_changed", "campaign.running"]


def test_an_agents_phone_that_is_not_listed_is_asked_about_and_never_called_again_by_itself() -> None:
    talk = Conversation()
    talk.running("a1")
    leg = talk.leg("a1")
    said = talk.resync()
    assert (said.told, said.asked) == (["agent.phone_doubted"], ["Settle"])
    said = talk.absent(leg)
    assert said.statuses() == [("a1", "offline")]
    assert said.none(OriginateAgent)


def test_an_agents_phone_that_is_seen_after_all_stays() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.resync()
    assert talk.when(talk.seen(talk.leg("a1"), ready=True)).told == []
    assert talk.book.agents["a1"].phone is Phone.UP


def test_a_call_that_waited_for_its_agent_is_dialled_once_after_a_crash() -> None:
    talk = Conversation()
    talk.running("a1", line=Line.ON_DEMAND)
    talk.next("a1")
    talk.dial("a1")
    talk.crash()

    said = talk.resync(talk.seen(talk.leg("a1"), ready=True))

    assert said.told == ["agent.phone_up", "call.requested"]
    assert said.asked == ["OriginateContact"]
    assert talk.resync(talk.seen(talk.leg("a1"), ready=True)).none(OriginateContact)


def test_a_call_that_waited_for_its_agent_ends_when_the_phone_is_gone_after_a_restart() -> None:
    talk = Conversation()
    talk.running("a1", line=Line.ON_DEMAND)
    talk.next("a1")
    talk.dial("a1")
    assert talk.resync(restarted=True).one(Settle).leg == talk.leg("a1")
    said = talk.absent(talk.leg("a1"))
    assert said.one(CallEnded).outcome is Outcome.AGENT_UNREACHABLE
    assert said.none(OriginateContact)


@pytest.mark.parametrize("restarted", [False, True])
def test_the_agents_phone_is_gone_and_the_contacts_leg_lives_after_a_reconnect(restarted: bool) -> None:
    talk, call, agent = in_call(CallStatus.RINGING)

    said = talk.resync(talk.seen(call, ready=True), restarted=restarted)

    if not restarted:  # not listed is no proof: asked about, and only then given up
        assert Settle(leg=agent, delay_ms=0) in said.effects
        said = talk.absent(agent)
    assert HangUp(leg=call) in said.effects
    assert talk.ended(call, answered=True).one(CallEnded).outcome is Outcome.ABANDONED


def test_EX_06_a_crash_keeps_the_exact_end_of_a_reservation() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1")
    talk.next("a1")
    held = talk.hand("a1")
    said = talk.crash()
    due = said.timer(f"reservation/{held.id}")
    assert due is not None
    assert due.due == held.expires_at


def test_OM_07_a_crash_during_a_call_leaves_the_contact_without_a_timer() -> None:
    talk, _, _ = in_call(CallStatus.BRIDGED)
    assert talk.crash().timer(f"reservation/{talk.hand('a1').id}") is None


def test_EX_01_a_crash_forgets_no_claim() -> None:
    talk, call, agent = in_call(CallStatus.RINGING)
    before = (talk.claims.numbers, talk.claims.agents, talk.claims.legs, talk.claims.in_setup)
    talk.crash()
    assert (talk.claims.numbers, talk.claims.agents, talk.claims.legs, talk.claims.in_setup) == before
    assert talk.claims.legs == {agent: "c1", call: "c1"}


def test_what_a_pbx_says_of_legs_that_are_nobodys_is_ignored() -> None:
    talk = Conversation()
    talk.running("a1")
    stranger = "f" * 32
    for hear in (talk.created, talk.ringing, talk.answered, talk.ready, talk.bridged, talk.absent, talk.rejected):
        assert hear(stranger).effects == []
    assert talk.when(CallOverdue(at=talk.at, call=stranger)).told == []


def test_EX_02_a_contact_found_waiting_when_asked_about_gets_the_bridge() -> None:
    """The bridge got lost with the connection, and the leg comes back by its own settlement, not by the list."""
    talk, call, _ = in_call(CallStatus.CONNECTED)

    said = talk.when(talk.seen(call, ready=True))

    assert [one.leg for one in said.effects if isinstance(one, BridgeLegs)] == [call]
    assert said.told == []
