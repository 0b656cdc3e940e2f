"""A campaign and its agents: start, stop, force, agents who come, leave, get lost or work elsewhere."""

from functools import partial

import pytest

from engine.core.agent import AgentAbsent, AgentStatusChanged, DefaultState, Line, PhoneOverdue, Wanted
from engine.core.call import CallEnded, CallRequested
from engine.core.campaign import CampaignStopped, CampaignStopping, Status
from engine.core.outcome import Outcome, Party
from engine.core.refusal import Refused
from engine.core.reservation import ContactReleased, Phase, Release
from engine.core.telephony import BridgeLegs, HangUp, OriginateAgent, OriginateContact
from tests.engine.conversation import Conversation

CONTACTS = {"k1": ["5551"], "k2": ["5552"], "k3": ["5553"]}


def status(talk: Conversation) -> Status:
    return talk.book.campaign.status


# -- start ----------------------------------------------------------------------------------------------------------


def test_TF_21_start_calls_every_agent_who_is_available_by_default_and_no_other() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1")
    talk.allocate("a2", default=DefaultState.OFFLINE)

    said = talk.start()

    assert [one.phone for one in said.effects if isinstance(one, OriginateAgent)] == ["desk-a1"]
    assert status(talk) is Status.STARTING
    assert said.statuses() == [("a1", "logging_in")]


def test_TF_22_agents_log_in_become_available_and_the_campaign_runs_when_all_are_there_or_known_not_to_come() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1")
    talk.allocate("a2")
    talk.start()

    said = talk.phone_ready("a1")
    assert (said.told, said.statuses()) == (
        ["agent.phone_up", "agent.present", "agent.status_changed"],
        [("a1", "available")],
    )
    assert status(talk) is Status.STARTING

    said = talk.ended(talk.leg("a2"), cause=19)
    assert said.told == ["agent.phone_down", "agent.absent", "agent.status_changed", "campaign.running"]
    assert said.one(AgentStatusChanged).reason == "phone-no-answer"
    assert said.statuses() == [("a2", "offline")]


def test_TF_21_on_demand_agents_are_available_at_once_without_a_call() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1", Line.ON_DEMAND)
    said = talk.start()
    assert said.statuses() == [("a1", "logging_in"), ("a1", "available")]
    assert said.asked == []
    assert status(talk) is Status.RUNNING


def test_a_campaign_without_agents_runs_at_once_and_waits_for_them() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    assert talk.start().told == ["campaign.starting", "campaign.running"]
    assert talk.allocate("a1").asked == ["OriginateAgent"]


def test_an_agents_phone_that_is_silent_is_asked_about_and_does_not_hold_up_the_start() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1")
    said = talk.start()
    leg = talk.leg("a1")
    due = said.timer("phone/a1")
    assert due is not None

    said = talk.when(PhoneOverdue(at=due.due, agent="a1", leg=leg))
    assert said.asked == ["Settle"]
    assert talk.absent(leg).told[-1] == "campaign.running"


def test_an_agents_phone_that_the_pbx_refuses_does_not_hold_up_the_start() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1")
    talk.start()
    said = talk.rejected(talk.leg("a1"))
    assert said.one(AgentAbsent).reason == "pbx-down"
    assert status(talk) is Status.RUNNING


# -- stop -----------------------------------------------------------------------------------------------------------


def test_TF_12_stop_without_live_calls_still_tells_stopping_then_stopped() -> None:
    talk = Conversation()
    talk.running(contacts=CONTACTS)
    assert talk.stop().told == ["campaign.stopping", "campaign.stopped"]


def test_TF_12_TF_22_stop_hangs_the_agents_up_and_they_go_offline_before_it_is_stopped() -> None:
    talk = Conversation()
    talk.running("a1", "a2", contacts=CONTACTS)

    said = talk.stop()
    assert said.told[0] == "campaign.stopping"
    assert said.statuses() == [("a1", "logging_out"), ("a2", "logging_out")]
    assert said.asked == ["HangUp", "HangUp"]

    assert talk.ended(talk.leg("a1"), answered=True).statuses() == [("a1", "offline")]
    assert status(talk) is Status.STOPPING
    said = talk.ended(talk.leg("a2"), answered=True)
    assert said.told == ["agent.phone_down", "agent.absent", "agent.status_changed", "campaign.stopped"]


def test_TF_11_stop_lets_the_live_call_end_and_dials_nothing_more() -> None:
    talk = Conversation()
    talk.running("a1", "a2", contacts=CONTACTS)
    call = talk.talking("a1")
    talk.next("a2")
    dial = talk.dial_message("a2")

    said = talk.stop()

    assert said.one(ContactReleased).reason is Release.CAMPAIGN_STOPPING  # what was only previewed goes back
    assert [one.leg for one in said.effects if isinstance(one, HangUp)] == [talk.leg("a2")]
    assert talk.refused(dial) == "reservation-lost"
    assert status(talk) is Status.STOPPING

    said = talk.ended(call, answered=True, far_end=True)
    assert said.one(CallEnded).outcome is Outcome.ANSWERED
    assert status(talk) is Status.STOPPING  # the phones are still up
    talk.ended(talk.leg("a2"), answered=True)
    assert talk.ended(talk.leg("a1"), answered=True).told[-1] == "campaign.stopped"
    talk.dispose("a1")  # the disposition of the last call is still taken
    assert talk.log[-1].disposition == "engaged"


def test_TF_11_a_contact_who_rings_while_the_campaign_stops_is_still_connected() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.ringing(call)
    talk.stop()
    assert talk.ready(call).asked == ["BridgeLegs"]


def test_TF_11_a_call_that_waits_for_its_agents_phone_is_not_dialled_after_stop() -> None:
    talk = Conversation()
    talk.running("a1", line=Line.ON_DEMAND, contacts=CONTACTS)
    talk.next("a1")
    talk.dial("a1")
    leg = talk.leg("a1")

    said = talk.stop()

    assert said.one(CallEnded).outcome is Outcome.CANCELLED
    assert talk.ready(leg).none(OriginateContact)
    assert talk.ended(leg, answered=True).told[-1] == "campaign.stopped"
    assert not any(isinstance(one, CallRequested) for one in talk.log)


def test_TF_13_no_time_turns_stopping_into_stopped_while_a_channel_lives() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    call = talk.talking("a1")
    talk.stop()
    talk.wait(24 * 3_600_000)
    assert talk.resync(talk.seen(call, ready=True, bridged=True), talk.seen(talk.leg("a1"), bridged=True)).told == []
    assert status(talk) is Status.STOPPING


@pytest.mark.parametrize("stopping_first", [False, True])
def test_TF_13_force_hangs_up_and_says_who_did_it(stopping_first: bool) -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    call = talk.talking("a1")
    if stopping_first:
        talk.stop()

    said = talk.stop(force=True)

    assert "campaign.stop_forced" in said.told
    assert HangUp(leg=call) in said.effects
    assert talk.stop(force=True).told == []
    ended = talk.ended(call, answered=True).one(CallEnded)
    assert (ended.outcome, ended.ended_by) == (Outcome.ANSWERED, Party.DIALER)
    assert talk.ended(talk.leg("a1"), answered=True).told[-1] == "campaign.stopped"


def test_stop_while_starting_calls_the_agents_back() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1")
    talk.start()
    leg = talk.leg("a1")

    assert talk.stop().asked == ["HangUp"]
    assert talk.ready(leg).asked == ["HangUp"]  # answered just then
    assert talk.ended(leg, answered=True).told[-1] == "campaign.stopped"


def test_stop_ends_also_when_a_phone_let_go_early_never_was() -> None:
    talk = Conversation()
    talk.add(CONTACTS)
    talk.allocate("a1")
    talk.start()
    leg = talk.leg("a1")
    talk.stop()

    assert talk.originate_failed(leg).asked == ["Settle"]
    assert talk.absent(leg).told[-1] == "campaign.stopped"


def test_TF_07_a_stopped_campaign_starts_again_with_its_default_agents() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.stop()
    talk.ended(talk.leg("a1"), answered=True)
    assert status(talk) is Status.STOPPED
    assert talk.start().asked == ["OriginateAgent"]
    assert talk.phone_ready("a1").told[-1] == "campaign.running"


def test_TF_07_a_campaign_whose_every_contact_is_final_stops_by_itself_as_completed() -> None:
    talk = Conversation()
    talk.running("a1", contacts={"k1": ["5551"]})
    call = talk.talking("a1")
    assert talk.ended(call, answered=True, far_end=True).none(CampaignStopping)  # in wrap-up it is not final

    said = talk.dispose("a1")
    stopping = said.one(CampaignStopping)
    assert (stopping.reason, stopping.by) == ("completed", "dialer")
    assert talk.ended(talk.leg("a1"), answered=True).one(CampaignStopped).reason == "completed"


def test_TF_14_contacts_to_retry_keep_a_campaign_running() -> None:
    talk = Conversation()
    talk.running("a1", contacts={"k1": ["5551"]})
    call = talk.talking("a1")
    talk.ended(call, answered=True, far_end=True)
    talk.dispose("a1", "try_later")
    assert status(talk) is Status.RUNNING


def test_a_campaign_may_stay_running_without_contacts_and_stops_when_told_to_do_so_at_completion() -> None:
    talk = Conversation(stop_when_completed=False, dispose_without_attempt=True)
    talk.running(contacts={"k1": ["5551"]})
    talk.cancel("k1")
    assert status(talk) is Status.RUNNING
    assert "campaign.stopping" in talk.edit(stop_when_completed=True).told


def test_TF_16_TF_02_stop_wait_delete_leaves_a_tombstone() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.stop()
    with pytest.raises(Refused, match="stopping"):
        talk.delete()
    talk.ended(talk.leg("a1"), answered=True)
    assert talk.delete().told == ["campaign.deleted"]
    assert talk.delete().told == []
    for late in (
        talk.start,
        talk.stop,
        partial(talk.add, CONTACTS),
        partial(talk.allocate, "a1"),
        partial(talk.next, "a1"),
    ):
        with pytest.raises(Refused, match="deleted"):
            late()


# -- agents ---------------------------------------------------------------------------------------------------------


def test_TF_20_an_agent_removed_while_busy_finishes_the_call_and_goes() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    call = talk.talking("a1")

    assert talk.withdraw("a1").told == ["agent.withdrawn"]
    assert talk.withdraw("a1").told == []
    said = talk.ended(call, answered=True, far_end=True)
    assert "agent.leaving" in said.told
    talk.ended(talk.leg("a1"), answered=True)
    assert "a1" in talk.book.agents  # the last contact still waits for its disposition
    assert "agent.removed" in talk.dispose("a1").told
    assert talk.book.agents == {}


def test_TF_20_an_idle_agent_is_removed_as_soon_as_the_phone_is_down() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    assert talk.withdraw("a1").asked == ["HangUp"]
    assert talk.ended(talk.leg("a1"), answered=True).told[-1] == "agent.removed"


def test_TF_20_agents_are_added_and_removed_before_the_start() -> None:
    talk = Conversation()
    assert talk.allocate("a1").told == ["agent.allocated"]
    assert talk.allocate("a1").told == []
    assert talk.withdraw("a1").told == ["agent.withdrawn", "agent.removed"]


def test_the_phone_of_an_agent_on_the_line_stays_what_it_is() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    call = talk.talking("a1")
    with pytest.raises(Refused, match="on the line"):
        talk.allocate("a1", phone="elsewhere")
    talk.withdraw("a1")
    with pytest.raises(Refused, match="on the line"):  # nor by way of removing and allocating again
        talk.allocate("a1", Line.ON_DEMAND)
    assert talk.ended(call, answered=True, far_end=True).none(BridgeLegs)


def test_an_agent_who_goes_offline_in_a_call_finishes_it_first() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    call = talk.talking("a1")
    assert talk.ask("a1", Wanted.OFFLINE, "shift over").told == ["agent.asked"]
    said = talk.ended(call, answered=True, far_end=True)
    assert said.statuses() == [("a1", "wrapup"), ("a1", "logging_out")]
    said = talk.ended(talk.leg("a1"), answered=True)
    assert said.one(AgentStatusChanged).reason == "shift over"
    assert talk.hand("a1").phase is Phase.WRAPUP


def test_an_agent_who_logs_out_can_come_back_only_when_offline() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.ask("a1", Wanted.OFFLINE, "lunch")
    with pytest.raises(Refused, match="logging out"):
        talk.ask("a1", Wanted.AVAILABLE)
    talk.ended(talk.leg("a1"), answered=True)
    assert talk.ask("a1", Wanted.AVAILABLE).asked == ["OriginateAgent"]


def test_asking_an_agent_again_for_what_they_were_asked_says_nothing() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    assert talk.ask("a1", Wanted.AVAILABLE).told == []
    talk.ask("a1", Wanted.PAUSED, "lunch")
    assert talk.ask("a1", Wanted.PAUSED, "lunch").told == []
    assert talk.ask("a1", Wanted.PAUSED, "training").told == ["agent.asked"]  # another reason is news


def test_nobody_comes_to_a_campaign_that_does_not_run() -> None:
    talk = Conversation()
    talk.allocate("a1")
    with pytest.raises(Refused, match="created"):
        talk.ask("a1", Wanted.AVAILABLE)


# -- agents who get lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", Line)
def test_an_agent_lost_while_the_contact_rings_hangs_the_contact_up(line: Line) -> None:
    talk = Conversation()
    talk.running("a1", line=line, contacts=CONTACTS)
    talk.next("a1")
    talk.dial("a1")
    if line is Line.ON_DEMAND:
        talk.phone_ready("a1")
    call = talk.call_of("a1")
    talk.created(call)
    talk.ringing(call)

    said = talk.ended(talk.leg("a1"), answered=True, far_end=True)

    assert HangUp(leg=call) in said.effects
    assert talk.ready(call).none(BridgeLegs)  # picked up at that very moment: nobody is there to talk
    ended = talk.ended(call, answered=True).one(CallEnded)
    assert (ended.outcome, ended.ended_by) == (Outcome.ABANDONED, Party.AGENT)


def test_an_agent_lost_before_the_answer_leaves_a_cancelled_call() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.ringing(call)
    talk.ended(talk.leg("a1"), answered=True, far_end=True)

    said = talk.ended(call, cause=16)

    assert (said.one(CallEnded).outcome, said.one(CallEnded).ended_by) == (Outcome.CANCELLED, Party.AGENT)
    assert said.one(ContactReleased).reason is Release.AGENT_OFFLINE


def test_an_agent_lost_between_answer_and_bridge_abandons_the_contact() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.ready(call)
    assert HangUp(leg=call) in talk.ended(talk.leg("a1"), answered=True, far_end=True).effects
    assert talk.ended(call, answered=True).one(CallEnded).outcome is Outcome.ABANDONED


def test_an_agent_who_hangs_up_the_nailed_phone_in_a_call_ends_it_and_goes_offline() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    call = talk.talking("a1")
    talk.ended(talk.leg("a1"), answered=True, far_end=True)
    said = talk.ended(call, answered=True)
    assert (said.one(CallEnded).outcome, said.one(CallEnded).ended_by) == (Outcome.ANSWERED, Party.AGENT)
    assert said.statuses()[-1] == ("a1", "offline")
    assert talk.dispose("a1").told == ["contact.disposed"]


def test_an_idle_agent_who_hangs_up_is_offline_and_gives_the_contact_back() -> None:
    talk = Conversation()
    talk.running("a1", contacts=CONTACTS)
    talk.next("a1")
    said = talk.ended(talk.leg("a1"), answered=True, far_end=True)
    assert said.one(ContactReleased).reason is Release.AGENT_OFFLINE
    assert said.statuses() == [("a1", "offline")]
    assert said.one(AgentAbsent).reason == "phone-hung-up"


# -- two campaigns ----------------------------------------------------------------------------------------------------


def test_TF_24_an_agent_who_is_active_in_one_campaign_is_not_called_by_another() -> None:
    one = Conversation("c1")
    two = Conversation("c2", claims=one.claims)
    one.running("a1", contacts={"k1": ["5551"]})
    two.add({"k2": ["5552"]})
    two.allocate("a1")

    said = two.start()

    assert said.asked == []
    assert said.statuses() == [("a1", "offline")]
    assert said.one(AgentStatusChanged).reason == "active-in:c1"
    with pytest.raises(Refused, match="active in campaign 'c1'"):
        two.ask("a1", Wanted.AVAILABLE)

    one.stop()
    one.ended(one.leg("a1"), answered=True)
    assert two.ask("a1", Wanted.AVAILABLE).asked == ["OriginateAgent"]


def test_EX_01_an_agent_lost_in_a_call_is_free_for_another_campaign_only_when_that_call_is_over() -> None:
    one = Conversation("c1")
    two = Conversation("c2", claims=one.claims)
    one.running("a1", contacts={"k1": ["5551"]})
    call = one.talking("a1")
    two.allocate("a1", default=DefaultState.OFFLINE)
    two.running(contacts={"k2": ["5552"]})

    one.ended(one.leg("a1"), answered=True, far_end=True)
    with pytest.raises(Refused, match="active in campaign 'c1'"):
        two.ask("a1", Wanted.AVAILABLE)

    one.ended(call, answered=True)
    assert two.ask("a1", Wanted.AVAILABLE).asked == ["OriginateAgent"]


def test_EX_01_a_number_in_a_call_of_one_campaign_is_not_dialled_by_another() -> None:
    one = Conversation("c1")
    two = Conversation("c2", claims=one.claims)
    one.running("a1", contacts={"k1": ["5551"]})
    two.running("a2", contacts={"k2": ["5551"]})
    one.talking("a1")
    two.next("a2")
    assert two.refused(two.dial_message("a2")) == "number-in-call"


def test_a_changed_weight_calls_nobody_from_their_break_and_a_changed_phone_nobody_who_is_off() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.ask("a1", Wanted.PAUSED, "lunch")
    talk.allocate("a1", weight=5)
    assert [one.wanted for one in talk.book.agents.values()] == [Wanted.PAUSED]
    talk.ask("a1", Wanted.OFFLINE)
    talk.ended(talk.leg("a1"), answered=True)
    said = talk.allocate("a1", phone="desk-7")
    assert said.none(OriginateAgent)
    assert [one.wanted for one in talk.book.agents.values()] == [Wanted.OFFLINE]


def test_a_hang_up_that_is_asked_for_again_is_said_again_to_the_pbx() -> None:
    talk = Conversation()
    talk.running("a1")
    call = talk.talking("a1")
    assert talk.hang_up("a1").one(HangUp).leg == call
    again = talk.hang_up("a1")
    assert (again.told, again.one(HangUp).leg) == ([], call)
    talk.stop(force=True)
    forced = talk.stop(force=True)
    assert (forced.told, forced.one(HangUp).leg) == ([], call)


def test_EX_01_two_ways_to_write_a_number_are_one_number() -> None:
    talk = Conversation()
    talk.running("a1", "a2", contacts={"k1": ["+5551"], "k2": ["5551"]})
    talk.next("a1")
    talk.dial("a1")
    talk.next("a2")
    assert talk.refused(talk.dial_message("a2")) == "number-in-call"
