"""Preview dialing as a conversation: next, dial, talk, dispose; retries, skips, lapses."""

import pytest

from engine.core.agent import Line, Wanted
from engine.core.call import CallAwaitingAgent, CallConnected, CallEnded, CallRequested, HangupRequested
from engine.core.contact import ContactCancelled, ContactStatus
from engine.core.effect import ReservationDue
from engine.core.message import Added, Dial, Dispose, HangUpCall, NoContact, Skip
from engine.core.outcome import Outcome, Party
from engine.core.reservation import (
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    Phase,
    Release,
    ReservationExtended,
)
from engine.core.telephony import BridgeLegs, BridgeRefused, OriginateAgent, OriginateContact
from tests.engine.conversation import Conversation, nobody

TWO_NUMBERS = {"k1": ["5551", "5552"]}


def test_OM_13_a_nailed_agent_previews_dials_talks_and_disposes() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1")

    said = talk.next("a1")
    assert said.told == ["contact.reserved", "agent.status_changed"]
    assert said.statuses() == [("a1", "previewing")]
    due = said.timer(f"reservation/{talk.hand('a1').id}")
    assert due is not None
    assert due.due == talk.at + 60_000

    said = talk.dial("a1")
    call = talk.call_of("a1")
    assert said.told == ["call.requested", "agent.status_changed"]
    assert said.asked == ["OriginateContact"]
    assert said.one(OriginateContact) == OriginateContact(
        leg=call, trunk="carrier", number="5551", ring_timeout_ms=30_000, caller_id=""
    )
    assert said.statuses() == [("a1", "busy")]
    assert said.reply == call
    assert said.timer(f"call/{call}") is not None

    assert talk.created(call).told == ["call.placed"]
    assert talk.ringing(call).told == ["call.ringing"]
    assert talk.answered(call).told == []

    said = talk.ready(call)
    agent = talk.book.agents["a1"]
    assert said.told == ["call.connected"]
    assert said.effects == [BridgeLegs(leg=call, agent_leg=agent.leg, agent_channel=agent.channel)]

    assert talk.bridged(call).told == ["call.bridged"]
    talk.wait(5_000)

    said = talk.ended(call, answered=True, far_end=True)
    assert said.told == ["call.ended", "agent.status_changed"]
    ended = said.one(CallEnded)
    assert (ended.outcome, ended.ended_by, ended.talk_ms) == (Outcome.ANSWERED, Party.CONTACT, 5_000)
    assert said.statuses() == [("a1", "wrapup")]

    said = talk.dispose("a1", "engaged")
    assert said.told == ["contact.disposed", "agent.status_changed"]
    disposed = said.one(ContactDisposed)
    assert (disposed.call, disposed.engaged, disposed.final) == (call, True, True)
    assert said.statuses() == [("a1", "available")]
    assert said.asked == []  # a nailed agent's phone stays up between calls
    assert talk.book.contacts.by_ref["k1"].status is ContactStatus.FINAL


def test_OM_13_an_on_demand_agents_phone_rings_first_and_the_contact_is_dialled_when_it_is_there() -> None:
    talk = Conversation()
    talk.running("a1", line=Line.ON_DEMAND, contacts=TWO_NUMBERS)
    talk.next("a1")

    said = talk.dial("a1", "5552")
    call, leg = talk.call_of("a1"), talk.leg("a1")
    assert said.told == ["call.awaiting_agent", "agent.phone_called", "agent.status_changed"]
    assert said.asked == ["OriginateAgent"]
    assert said.one(OriginateAgent).phone == "desk-a1"

    assert talk.created(leg).told == []
    assert talk.ringing(leg).told == []
    assert talk.answered(leg).told == []

    said = talk.ready(leg)
    assert said.told == ["agent.phone_up", "call.requested"]
    requested = said.one(CallRequested)
    assert (requested.call, requested.agent_leg, requested.number, requested.by_choice) == (call, leg, 1, True)
    assert said.one(OriginateContact).number == "5552"

    talk.ready(call)
    talk.bridged(call)
    said = talk.ended(call, answered=True, far_end=True)
    assert said.told == ["call.ended", "agent.status_changed", "agent.phone_closing"]
    assert said.asked == ["HangUp"]  # an on-demand agent's phone lives as long as the call
    assert talk.ended(leg, answered=True).told == ["agent.phone_down"]
    assert talk.dispose("a1").statuses() == [("a1", "available"), ("a1", "logging_out"), ("a1", "offline")]


@pytest.mark.parametrize(
    ("cause", "reason"),
    [(17, "phone-busy"), (19, "phone-no-answer"), (21, "phone-rejected"), (20, "phone-unreachable")],
)
def test_an_on_demand_agent_whose_phone_does_not_come_leaves_the_contact_undialled(cause: int, reason: str) -> None:
    talk = Conversation()
    talk.running("a1", line=Line.ON_DEMAND, contacts=TWO_NUMBERS)
    talk.next("a1")
    talk.dial("a1")

    said = talk.ended(talk.leg("a1"), cause)

    ended = said.one(CallEnded)
    assert (ended.outcome, ended.ended_by, ended.reason) == (Outcome.AGENT_UNREACHABLE, Party.AGENT, reason)
    assert said.asked == []
    assert talk.hand("a1").phase is Phase.OFFERED  # the agent may try again
    assert talk.dial("a1").one(CallAwaitingAgent).number == 0  # and the main number is still untried


def test_OM_08_an_agent_who_holds_a_contact_gets_that_one_again() -> None:
    talk = Conversation()
    talk.running("a1")
    first = talk.next("a1").reply

    again = talk.next("a1")

    assert (again.events, again.reply) == ([], first)


def test_OM_08_next_during_call_and_wrapup_gives_the_contact_in_hand() -> None:
    talk = Conversation()
    talk.running("a1")
    call = talk.talking("a1")
    assert talk.next("a1").reply == talk.hand("a1")
    talk.ended(call, answered=True, far_end=True)
    assert talk.next("a1").reply == talk.hand("a1")


def test_EX_01_two_agents_never_get_the_same_contact() -> None:
    talk = Conversation()
    talk.running("a1", "a2", "a3")
    given = [talk.next(agent).reply for agent in ("a1", "a2")]
    assert [one.contact for one in given] == ["k1", "k2"]
    assert nobody(talk.next("a3")) == "all_held"


def test_OM_14_an_attempt_that_reached_nobody_offers_the_contact_again_with_its_next_number() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1", contacts=TWO_NUMBERS)
    talk.next("a1")
    talk.dial("a1")
    talk.wait(20_000)

    said = talk.ended(talk.call_of("a1"), cause=17)

    assert said.told == ["call.ended", "contact.reservation_extended", "agent.status_changed"]
    assert said.one(ReservationExtended).reason == "attempt_over"
    assert said.one(ReservationExtended).expires_at == talk.at + 60_000
    assert talk.dial("a1").one(OriginateContact).number == "5552"
    talk.ended(talk.call_of("a1"), cause=19)
    outcomes = [(one.number, one.outcome) for one in talk.book.contacts.by_ref["k1"].attempts]
    assert outcomes == [(0, Outcome.BUSY), (1, Outcome.NO_ANSWER)]
    assert talk.dial("a1").one(OriginateContact).number == "5551"  # all tried: the main one again


def test_OM_14_the_agent_picks_the_number() -> None:
    talk = Conversation()
    talk.running("a1", contacts=TWO_NUMBERS)
    talk.next("a1")
    said = talk.dial("a1", "5552")
    assert said.one(OriginateContact).number == "5552"
    assert said.one(CallRequested).by_choice


def test_OM_14_numbers_that_do_not_exist_or_whose_fate_is_unknown_are_not_dialled_by_themselves() -> None:
    talk = Conversation()
    talk.running("a1", contacts=TWO_NUMBERS)
    talk.next("a1")
    talk.dial("a1")
    talk.ended(talk.call_of("a1"), cause=1)
    talk.dial("a1")
    talk.absent(talk.call_of("a1"))

    assert talk.refused(talk.dial_message("a1")) == "no-number-left"
    assert talk.refused(talk.dial_message("a1", "5551")) == "number-invalid"
    assert talk.refused(talk.dial_message("a1", "777")) == "invalid-request"
    assert talk.dial("a1", "5552").one(OriginateContact).number == "5552"  # a person may decide to


def test_TF_35_every_attempt_ends_in_exactly_one_record() -> None:
    talk = Conversation()
    talk.running("a1", contacts=TWO_NUMBERS)
    talk.next("a1")
    for _ in range(3):
        talk.dial("a1")
        call = talk.call_of("a1")
        talk.ended(call, cause=17)
        assert talk.ended(call, cause=19).told == []
        assert talk.rejected(call).told == []
        assert talk.absent(call).told == []
    records = [one.call for one in talk.log if isinstance(one, CallEnded)]
    assert len(records) == len(set(records)) == 3


def test_OM_09_a_disposition_to_retry_brings_the_contact_back_when_it_is_due() -> None:
    talk = Conversation()
    talk.running("a1", contacts={"k1": ["5551"]})
    talk.next("a1")
    talk.dial("a1")
    talk.ended(talk.call_of("a1"), cause=17)

    said = talk.dispose("a1", "try_later")

    assert said.one(ContactDisposed).due_at == talk.at + 3_600_000
    none = talk.next("a1").reply
    assert none == NoContact(reason="not_due", next_due_at=talk.at + 3_600_000)
    talk.wait(3_600_000)
    assert talk.next("a1").reply.contact == "k1"


def test_OM_09_only_the_campaigns_own_dispositions_are_taken() -> None:
    talk = Conversation(dispositions=({"code": "sold", "engaged": True},), dispose_without_attempt=True)
    talk.running("a1")
    talk.next("a1")
    held = talk.hand("a1")

    def dispose(code: str) -> Dispose:
        return Dispose(at=talk.at, agent="a1", reservation=held.id, token=held.token, disposition=code)

    assert talk.refused(dispose("engaged")) == "invalid-request"
    assert talk.when(dispose("sold")).one(ContactDisposed).disposition == "sold"


def test_a_retry_that_is_due_goes_before_contacts_that_wait() -> None:
    talk = Conversation(dispositions=({"code": "later", "final": False, "retry_after_s": 10},))
    talk.running("a1", contacts={"k1": ["5551"], "k2": ["5552"]})
    call = talk.talking("a1")
    talk.ended(call, answered=True, far_end=True)
    talk.dispose("a1", "later")
    talk.wait(10_000)
    assert talk.next("a1").reply.contact == "k1"


def test_OM_19_a_skipped_contact_goes_behind_the_others() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")

    said = talk.skip("a1")

    assert (said.one(ContactReleased).reason, said.one(ContactReleased).note) == (Release.SKIPPED, "later")
    assert talk.next("a1").reply.contact == "k2"
    talk.skip("a1")
    assert talk.next("a1").reply.contact == "k1"


def test_OM_07_EX_06_a_reservation_lapses_exactly_when_it_is_due_and_another_agent_can_get_the_contact() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1", "a2")
    talk.next("a1")
    held = talk.hand("a1")

    assert talk.when(ReservationDue(at=held.expires_at - 1, reservation=held.id)).told == []
    said = talk.when(ReservationDue(at=held.expires_at, reservation=held.id))

    assert said.told == ["contact.released", "agent.status_changed"]
    assert said.one(ContactReleased).reason is Release.EXPIRED
    assert talk.next("a2").reply.contact == "k1"  # it kept its place


def test_EX_06_a_heartbeat_moves_the_end_and_sets_the_timer_again() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1")
    talk.next("a1")
    first = talk.hand("a1")
    talk.wait(59_000)

    said = talk.extend("a1")

    due = said.timer(f"reservation/{first.id}")
    assert due is not None
    assert due.due == talk.at + 60_000
    assert talk.when(ReservationDue(at=first.expires_at, reservation=first.id)).told == []


def test_OM_07_a_contact_in_a_call_or_its_wrapup_is_never_taken_away() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1")
    call = talk.talking("a1")
    held = talk.hand("a1")
    due = ReservationDue(at=held.expires_at + 600_000, reservation=held.id)
    assert talk.when(due).told == []
    talk.ended(call, answered=True, far_end=True)
    assert talk.when(due).told == []


def test_EX_06_a_token_of_a_lapsed_reservation_opens_nothing() -> None:
    talk = Conversation()
    talk.running("a1", "a2")
    talk.next("a1")
    lapsed = talk.hand("a1")
    stale_dial = talk.dial_message("a1")
    talk.when(ReservationDue(at=lapsed.expires_at, reservation=lapsed.id))
    talk.next("a2")

    assert talk.refused(stale_dial) == "reservation-lost"
    foreign = talk.hand("a2")
    stolen = Skip(at=talk.at, agent="a1", reservation=foreign.id, token=foreign.token, reason="")
    assert talk.refused(stolen) == "reservation-lost"  # a token is bound to its agent
    guessed = Skip(at=talk.at, agent="a2", reservation=foreign.id, token=lapsed.token, reason="")
    assert talk.refused(guessed) == "reservation-lost"


def test_a_supervisor_releases_a_contact_without_the_token() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    assert talk.release("a1", by="sue").one(ContactReleased).reason is Release.RELEASED


@pytest.mark.parametrize(
    ("wanted", "why"), [(Wanted.PAUSED, Release.AGENT_PAUSED), (Wanted.OFFLINE, Release.AGENT_OFFLINE)]
)
def test_an_agent_who_pauses_or_leaves_gives_the_offered_contact_back(wanted: Wanted, why: Release) -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    said = talk.ask("a1", wanted, "lunch")
    assert said.one(ContactReleased).reason is why


def test_an_agent_who_pauses_during_a_call_finishes_it_and_disposes_first() -> None:
    talk = Conversation()
    talk.running("a1")
    call = talk.talking("a1")
    assert talk.ask("a1", Wanted.PAUSED, "lunch").told == ["agent.asked"]
    assert talk.ended(call, answered=True, far_end=True).statuses() == [("a1", "wrapup")]
    assert talk.dispose("a1").statuses() == [("a1", "paused")]
    assert talk.ask("a1", Wanted.AVAILABLE).statuses() == [("a1", "available")]


def test_the_agent_hangs_up_a_call_that_rings_and_it_is_cancelled_by_them() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.created(call)
    talk.ringing(call)

    said = talk.hang_up("a1")
    assert (said.told, said.asked) == (["call.hangup_requested"], ["HangUp"])
    assert talk.hang_up("a1").told == []

    ended = talk.ended(call, cause=16).one(CallEnded)
    assert (ended.outcome, ended.ended_by) == (Outcome.CANCELLED, Party.AGENT)


def test_a_call_hung_up_before_the_pbx_knew_of_it_is_hung_up_again_when_it_shows_and_never_connected() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.hang_up("a1")
    assert talk.created(call).asked == ["HangUp"]
    assert talk.ready(call).asked == ["HangUp"]
    assert not any(isinstance(one, CallConnected) for one in talk.log)


def test_an_awaited_call_is_cancelled_at_once_when_the_agent_hangs_up() -> None:
    talk = Conversation()
    talk.running("a1", line=Line.ON_DEMAND)
    talk.next("a1")
    talk.dial("a1")
    said = talk.hang_up("a1")
    assert said.one(CallEnded).outcome is Outcome.CANCELLED
    assert said.none(OriginateContact)
    assert said.asked == ["HangUp"]  # the phone that still rings
    assert talk.ready(talk.leg("a1")).asked == ["HangUp"]  # answered just then: nobody is dialled for it


def test_the_contact_who_is_not_bridged_is_abandoned_and_hung_up() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.ready(call)

    said = talk.when(BridgeRefused(leg=call, at=talk.at, result="NONEXISTENT"))

    assert (said.told, said.asked) == (["call.bridge_failed"], ["HangUp"])
    ended = talk.ended(call, answered=True)
    assert ended.one(CallEnded).outcome is Outcome.ABANDONED


def test_EX_01_a_number_of_two_contacts_is_in_one_call_at_a_time() -> None:
    talk = Conversation()
    talk.running("a1", "a2", contacts={"k1": ["5551"], "k2": ["5551"]})
    talk.next("a1")
    talk.next("a2")
    talk.dial("a1")

    assert talk.refused(talk.dial_message("a2")) == "number-in-call"

    talk.ended(talk.call_of("a1"), cause=17)
    assert talk.dial("a2").one(OriginateContact).number == "5551"


def test_lines_and_calls_in_setup_are_bounded() -> None:
    talk = Conversation(max_lines=1)
    talk.running("a1", "a2")
    talk.next("a1")
    talk.next("a2")
    talk.dial("a1")
    assert talk.refused(talk.dial_message("a2")) == "lines-in-use"

    talk.edit(max_lines=5)
    talk.claims.max_calls_in_setup = 1
    assert talk.refused(talk.dial_message("a2")) == "setup-limit"
    talk.ready(talk.call_of("a1"))  # answered: no longer in setup
    assert talk.dial("a2").asked == ["OriginateContact"]


def test_calls_in_setup_are_bounded_also_when_the_agents_phones_ring_first() -> None:
    talk = Conversation()
    talk.running("a1", "a2", line=Line.ON_DEMAND)
    talk.claims.max_calls_in_setup = 1
    talk.next("a1")
    talk.next("a2")
    talk.dial("a1")
    assert talk.refused(talk.dial_message("a2")) == "setup-limit"
    talk.ended(talk.leg("a1"), cause=19)
    assert talk.dial("a2").asked == ["OriginateAgent"]


def test_nothing_is_dialled_while_the_pbx_is_away() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    talk.claims.pbx_up = False
    assert talk.refused(talk.dial_message("a1")) == "pbx-down"


def test_TF_17_settings_count_from_the_next_decision_on() -> None:
    talk = Conversation(reservation_timeout_s=60)
    talk.running("a1")
    talk.next("a1")
    before = talk.hand("a1").expires_at

    said = talk.edit(reservation_timeout_s=10, trunk="other", ring_timeout_s=15)

    assert said.told == ["campaign.settings_changed"]
    assert talk.hand("a1").expires_at == before
    talk.extend("a1")
    assert talk.hand("a1").expires_at == talk.at + 10_000
    dialled = talk.dial("a1").one(OriginateContact)
    assert (dialled.trunk, dialled.ring_timeout_ms) == ("other", 15_000)


def test_TF_29_a_cancelled_contact_is_never_delivered() -> None:
    talk = Conversation()
    talk.running("a1")
    assert talk.cancel("k1").told == ["contact.cancelled"]
    assert talk.cancel("k1").told == []
    assert talk.next("a1").reply.contact == "k2"


def test_TF_29_cancelling_the_contact_in_hand_takes_it_away_unless_it_is_in_a_call() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")

    said = talk.cancel("k1")
    assert said.told == ["contact.released", "contact.cancelled", "agent.status_changed"]
    assert said.one(ContactCancelled).by == "m"

    talk.talking("a1")
    with pytest.raises(Exception, match="in a call"):
        talk.cancel("k2")


def test_TF_31_adding_contacts_again_adds_nothing() -> None:
    talk = Conversation()
    said = talk.add({"k1": ["5551"], "k2": ["5552"]})
    assert said.reply == Added(new=frozenset({"k1", "k2"}))
    assert talk.add({"k1": ["5551"], "k2": ["5552"]}).told == []
    assert talk.add({"k2": ["9"], "k3": ["5553"]}).reply == Added(new=frozenset({"k3"}))
    assert talk.book.contacts.by_ref["k2"].numbers == ("5552",)


def test_contacts_are_added_in_chunks_of_a_thousand_and_delivered_in_order_of_arrival() -> None:
    talk = Conversation()
    said = talk.add({f"k{place}": [str(place)] for place in range(2_001)})
    assert [len(one.contacts) for one in said.events] == [1_000, 1_000, 1]
    first = talk.book.contacts.first(talk.at)
    assert first is not None
    assert (first.ref, first.rank) == ("k0", 1)
    assert talk.book.contacts.by_ref["k2000"].rank == 2_001


def test_next_says_why_there_is_no_contact() -> None:
    talk = Conversation(stop_when_completed=False)
    talk.running("a1", contacts={})
    assert nobody(talk.next("a1")) == "none_added"
    talk.add({"k1": ["5551"]})
    talk.cancel("k1")
    assert nobody(talk.next("a1")) == "completed"


def test_only_an_agent_who_is_there_and_available_gets_a_contact() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.ask("a1", Wanted.PAUSED, "lunch")
    with pytest.raises(Exception, match="paused"):
        talk.next("a1")
    with pytest.raises(Exception, match="no allocation"):
        talk.next("a9")


def test_a_call_that_is_unknown_or_over_is_not_hung_up() -> None:
    talk = Conversation()
    talk.running("a1")
    assert talk.refused(HangUpCall(at=talk.at, by="m", party=Party.DIALER, call="nope")) == "unknown-call"
    call = talk.talking("a1")
    talk.ended(call, answered=True, far_end=True)
    assert talk.when(HangUpCall(at=talk.at, by="m", party=Party.DIALER, call=call)).told == []


def test_a_dialled_contact_is_disposed_of_without_having_been_reached() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    talk.dial("a1")
    call = talk.call_of("a1")
    talk.ended(call, cause=17)
    assert talk.dispose("a1", "no_contact").one(ContactDisposed).call == call


def test_dispose_without_attempt_where_the_campaign_allows_it() -> None:
    talk = Conversation(dispose_without_attempt=True)
    talk.running("a1")
    talk.next("a1")
    assert talk.dispose("a1", "not_interested").told[0] == "contact.disposed"


def test_every_originate_stands_behind_its_intent() -> None:
    talk = Conversation()
    talk.running("a1")
    reserved = talk.next("a1").one(ContactReserved)
    said = talk.dial("a1")
    assert said.one(CallRequested).call == said.one(OriginateContact).leg
    assert said.one(CallRequested).reservation == reserved.reservation
    assert said.none(HangupRequested)


def test_dial_twice_in_a_row_dials_once() -> None:
    talk = Conversation()
    talk.running("a1")
    talk.next("a1")
    again: Dial = talk.dial_message("a1")
    talk.dial("a1")
    assert talk.refused(again) == "call-in-progress"
