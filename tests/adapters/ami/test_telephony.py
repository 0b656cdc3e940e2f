"""The port's promises, against a peer that keeps its own side badly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.ami.client import AmiLoginRefused
from adapters.ami.settings import IN_FLIGHT_MAX_ACTIONS
from adapters.ami.telephony import AmiTelephony
from engine.core.telephony import (
    BridgeLegs,
    BridgeRefused,
    HangUp,
    LegAbsent,
    LegAnswered,
    LegCreated,
    LegEnded,
    LegObservation,
    LegSeen,
    LegState,
    OriginateAgent,
    OriginateContact,
    OriginateRejected,
    PbxDown,
    PbxObservation,
    PbxUp,
    Settle,
)
from tests.adapters.ami.peer import Action, Peer, cut, error, message, ok, silence, soon

LEG, OTHER = "1" * 32, "2" * 32
CHANNEL = "PJSIP/carrier-00000001"


class Engine:
    """Where observations go."""

    def __init__(self) -> None:
        self.seen: list[LegObservation | PbxObservation] = []

    def of(self, kind: type[object]) -> list[LegObservation | PbxObservation]:
        return [seen for seen in self.seen if isinstance(seen, kind)]

    def legs(self) -> list[LegObservation]:
        return [seen for seen in self.seen if not isinstance(seen, PbxUp | PbxDown)]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def telephony(peer: Peer, engine: Engine) -> AsyncIterator[AmiTelephony]:
    telephony = AmiTelephony(peer.settings())
    await telephony.start(engine.seen.append)
    yield telephony
    await telephony.stop()


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.ami.settlement.ABSENCE_GRACE_MS", 20)


def dial(leg: str = LEG, number: str = "15551234") -> OriginateContact:
    return OriginateContact(leg=leg, trunk="carrier", number=number, ring_timeout_ms=30_000, caller_id="")


def event(name: str, leg: str = LEG, *lines: str) -> str:
    return message(f"Event: {name}", f"Channel: {CHANNEL}", f"Uniqueid: {leg}", *lines)


def status(action: Action, leg: str, context: str = "ringfold-contact", bridge: str = "") -> str:
    return ok(action, "Channel status will follow") + event(
        "Status",
        leg,
        "ChannelState: 6",
        f"Context: {context}",
        f"BridgeID: {bridge}",
        f"ActionID: {action['ActionID']}",
    )


# -- the connection -------------------------------------------------------------------------------------------------


async def test_start_returns_up(telephony: AmiTelephony, engine: Engine) -> None:
    assert [type(seen) for seen in engine.seen] == [PbxUp]


async def test_a_wrong_secret_stops_the_start(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings(secret="wrong"))

    with pytest.raises(AmiLoginRefused):
        await telephony.start(engine.seen.append)
    await asyncio.sleep(0.1)  # longer than this peer's reconnect waits

    assert peer.names() == ["Login"]


async def test_a_secret_that_cannot_be_sent_stops_the_start(peer: Peer, engine: Engine) -> None:
    with pytest.raises(AmiLoginRefused, match="invalid Secret"):
        await AmiTelephony(peer.settings(secret="a\r\nAction: x")).start(engine.seen.append)

    assert peer.names() == []


async def test_an_absent_pbx_is_down_and_found_when_it_comes(peer: Peer, engine: Engine) -> None:
    peer.refuse()
    telephony = AmiTelephony(peer.settings())
    await telephony.start(engine.seen.append)
    assert [type(seen) for seen in engine.seen] == [PbxDown]

    await peer.listen()
    await soon(lambda: engine.of(PbxUp))

    await telephony.stop()


async def test_a_login_refused_after_it_once_worked_is_tried_again(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.script["Login"] = lambda peer, action: error(action, "Authentication failed")
    peer.drop()
    await soon(lambda: any("AmiLoginRefused" in str(down) for down in engine.of(PbxDown)))
    del peer.script["Login"]

    await soon(lambda: len(engine.of(PbxUp)) == 2)


async def test_stopping_ends_the_connection_for_good(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings())
    await telephony.start(engine.seen.append)

    await telephony.stop()
    await asyncio.sleep(0.1)  # longer than this peer's reconnect waits

    assert peer.logins == 1
    assert [type(seen) for seen in engine.seen] == [PbxUp, PbxDown]


async def test_stopping_during_a_reconnect_wait_makes_no_further_attempt(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings(reconnect_min_ms=30, reconnect_max_ms=30))
    await telephony.start(engine.seen.append)
    peer.drop()
    await soon(lambda: engine.of(PbxDown))

    await telephony.stop()
    await asyncio.sleep(0.1)

    assert peer.logins == 1


# -- at most once ---------------------------------------------------------------------------------------------------


async def test_a_cut_between_originate_and_response_is_never_dialled_again_and_concludes_nothing(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    """EX-02, the adapter's part: what was written and not answered is neither repeated nor called failed."""
    peer.script["Originate"] = cut

    telephony.perform(dial())
    await soon(lambda: len(engine.of(PbxUp)) == 2)
    telephony.perform(Settle(leg=LEG, delay_ms=0))
    await soon(lambda: engine.of(LegAbsent))

    assert peer.names().count("Originate") == 1
    assert [type(seen) for seen in engine.legs()] == [LegAbsent]


async def test_the_channel_of_an_unanswered_originate_is_in_the_list(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.script["Originate"] = cut
    peer.statuses = [f"Channel: {CHANNEL}\r\nUniqueid: {LEG}\r\nChannelState: 5\r\nContext: from-carrier\r\nBridgeID: "]

    telephony.perform(dial())
    await soon(lambda: len(engine.of(PbxUp)) == 2)

    up = engine.of(PbxUp)[1]
    assert isinstance(up, PbxUp)
    (leg,) = up.legs
    assert leg == LegSeen(leg=LEG, at=leg.at, channel=CHANNEL, state=LegState.RINGING, ready=False, bridged=False)


async def test_what_waits_unsent_when_the_connection_ends_is_rejected(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings(max_originates_per_second=1))
    await telephony.start(engine.seen.append)
    telephony.perform(dial())
    telephony.perform(dial(OTHER))
    await soon(lambda: peer.of("Originate"))

    peer.drop()
    await soon(lambda: engine.of(OriginateRejected))

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [(OTHER, "pbx-down")]
    assert [asked["ChannelId"] for asked in peer.of("Originate")] == [LEG]
    await telephony.stop()


async def test_EX_02_what_may_no_longer_be_done_when_its_turn_comes_is_not_sent(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings(max_originates_per_second=1))
    lost: set[str] = set()
    await telephony.start(engine.seen.append, lambda leg: leg not in lost)
    telephony.perform(dial())
    telephony.perform(dial(OTHER))
    await soon(lambda: peer.of("Originate"))

    lost |= {LEG, OTHER}
    telephony.perform(HangUp(leg=LEG))
    await soon(lambda: engine.of(OriginateRejected))

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [(OTHER, "not-owner")]
    assert [asked["ChannelId"] for asked in peer.of("Originate")] == [LEG]
    assert peer.of("Hangup") == []
    await telephony.stop()


async def test_while_down_an_originate_is_rejected(peer: Peer, telephony: AmiTelephony, engine: Engine) -> None:
    peer.refuse()
    await soon(lambda: engine.of(PbxDown))

    telephony.perform(dial())
    telephony.perform(HangUp(leg=OTHER))
    telephony.perform(Settle(leg=OTHER, delay_ms=0))
    await soon(lambda: engine.of(OriginateRejected))

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [(LEG, "pbx-down")]


async def test_no_answer_comes_inside_the_question(telephony: AmiTelephony, engine: Engine) -> None:
    telephony.perform(dial(number="1"))

    assert engine.legs() == []
    await soon(engine.legs)


@pytest.mark.parametrize("number", ["15551,1,G(evil^s^1)", "1555\r\nAction: Command", "15551&Local/7@x"])
async def test_an_injection_is_rejected_by_field_and_never_sent(
    peer: Peer, telephony: AmiTelephony, engine: Engine, number: str
) -> None:
    telephony.perform(dial(number=number))
    await soon(engine.legs)

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [(LEG, "invalid number")]
    assert peer.of("Originate") == []


async def test_the_pbx_refusing_the_action_is_a_rejection_in_its_words(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.script["Originate"] = lambda peer, action: error(action, "Extension does not exist.")

    telephony.perform(dial())
    await soon(engine.legs)

    assert [getattr(seen, "reason", "") for seen in engine.legs()] == ["Extension does not exist."]


async def test_more_originates_than_may_wait_are_overload_and_a_hangup_still_has_room(
    peer: Peer, engine: Engine
) -> None:
    telephony = AmiTelephony(peer.settings(max_originates_per_second=1, max_pending_actions=2))
    await telephony.start(engine.seen.append)

    for i in range(5):
        telephony.perform(dial(f"{i:032x}"))
    telephony.perform(HangUp(leg=f"{0:032x}"))
    await soon(lambda: peer.of("Hangup") and len(engine.legs()) == 2)

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [
        (f"{3:032x}", "overload"),
        (f"{4:032x}", "overload"),
    ]
    assert len(peer.of("Originate")) == 1
    await telephony.stop()


async def test_a_thousand_agents_are_all_called_once_at_start_and_a_contact_needn_t_wait_for_them(
    peer: Peer, engine: Engine
) -> None:
    telephony = AmiTelephony(peer.settings(max_originates_per_second=1_000))
    await telephony.start(engine.seen.append)
    agents = [f"{i:032x}" for i in range(1_000)]

    for leg in agents:
        telephony.perform(OriginateAgent(leg=leg, phone=f"p{leg}", ring_timeout_ms=20_000, caller_id=""))
    telephony.perform(dial("f" * 32))
    await soon(lambda: len(peer.of("Originate")) == 1_001)

    asked = [one["ChannelId"] for one in peer.of("Originate")]
    assert [leg for leg in asked if leg != "f" * 32] == agents
    assert asked.index("f" * 32) <= IN_FLIGHT_MAX_ACTIONS  # what had gone before it was asked for, and no more
    assert engine.legs() == []
    await telephony.stop()


async def test_actions_a_pbx_does_not_answer_hold_back_further_ones(
    peer: Peer, telephony: AmiTelephony, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.ami.telephony.IN_FLIGHT_MAX_ACTIONS", 3)
    held: list[Action] = []
    peer.script["Hangup"] = lambda peer, action: held.append(action)

    for i in range(10):
        telephony.perform(HangUp(leg=f"{i:032x}"))
    await soon(lambda: len(held) == 3)
    await asyncio.sleep(0.03)
    assert len(held) == 3
    peer.say(ok(held[0]))

    await soon(lambda: len(held) == 4)


# -- hanging up and bridging ------------------------------------------------------------------------------------------


async def test_an_originate_that_still_waits_is_withdrawn_by_its_hangup(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings(max_originates_per_second=1))
    await telephony.start(engine.seen.append)
    telephony.perform(dial())
    telephony.perform(dial(OTHER))

    telephony.perform(HangUp(leg=OTHER))
    await soon(engine.legs)

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [(OTHER, "withdrawn")]
    assert peer.of("Hangup") == []
    await telephony.stop()


async def test_an_originate_that_still_waits_is_withdrawn_by_a_question_about_it(peer: Peer, engine: Engine) -> None:
    """The question goes before originates: sent, it would call a leg absent that is dialled a moment later."""
    telephony = AmiTelephony(peer.settings(max_originates_per_second=5))  # the second is due in 0.2 s
    await telephony.start(engine.seen.append)
    telephony.perform(dial())
    telephony.perform(dial(OTHER))

    telephony.perform(Settle(leg=OTHER, delay_ms=20))
    await soon(engine.legs)
    await asyncio.sleep(0.4)

    assert [(seen.leg, getattr(seen, "reason", "")) for seen in engine.legs()] == [(OTHER, "withdrawn")]
    assert [asked["ChannelId"] for asked in peer.of("Originate")] == [LEG]
    assert [asked for asked in peer.of("Status") if asked.get("Channel") == OTHER] == []
    await telephony.stop()


async def test_TF_22_an_agents_phone_is_called_however_long_its_turn_takes(
    peer: Peer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of agents come at once, and the pace is for all: being asked about early withdraws nobody's call."""
    monkeypatch.setattr("adapters.ami.telephony.SILENCE_MARGIN_MS", 50)
    telephony = AmiTelephony(peer.settings(max_originates_per_second=5))  # the second is due in 0.2 s
    await telephony.start(engine.seen.append)
    for leg in (LEG, OTHER):
        telephony.perform(OriginateAgent(leg=leg, phone="desk1", ring_timeout_ms=100, caller_id=""))

    telephony.perform(Settle(leg=OTHER, delay_ms=20))
    await asyncio.sleep(0.1)
    assert engine.legs() == []
    assert [asked for asked in peer.of("Status") if "Channel" in asked] == []

    await soon(lambda: [asked["ChannelId"] for asked in peer.of("Originate")] == [LEG, OTHER])
    await soon(
        lambda: [one["Channel"] for one in peer.of("Status") if "Channel" in one] == [OTHER]
    )  # its time to ring is over
    await telephony.stop()


async def test_a_question_about_an_originate_that_was_sent_in_time_is_asked(peer: Peer, engine: Engine) -> None:
    telephony = AmiTelephony(peer.settings(max_originates_per_second=10))
    await telephony.start(engine.seen.append)
    telephony.perform(dial())
    telephony.perform(dial(OTHER))

    telephony.perform(Settle(leg=OTHER, delay_ms=300))
    await soon(engine.legs)

    assert [(type(seen), seen.leg) for seen in engine.legs()] == [(LegAbsent, OTHER)]
    assert [asked["ChannelId"] for asked in peer.of("Originate")] == [LEG, OTHER]
    await telephony.stop()


async def test_a_hangup_before_the_channel_exists_is_carried_out_when_it_does(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.script["Hangup"] = lambda peer, action: error(action, "No such channel")
    telephony.perform(dial())
    telephony.perform(HangUp(leg=LEG))
    await soon(lambda: peer.of("Hangup"))
    del peer.script["Hangup"]

    peer.say(event("Newchannel"))

    await soon(lambda: len(peer.of("Hangup")) == 2)


async def test_a_hangup_refused_twice_is_left_to_the_legs_own_end(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.script["Hangup"] = lambda peer, action: error(action, "No such channel")
    peer.say(event("Newchannel"))
    await soon(lambda: engine.of(LegCreated))

    telephony.perform(HangUp(leg=LEG))
    await soon(lambda: len(peer.of("Hangup")) == 2)
    await asyncio.sleep(0.03)

    assert len(peer.of("Hangup")) == 2


async def test_a_bridge_sets_the_variable_and_then_redirects(peer: Peer, telephony: AmiTelephony) -> None:
    telephony.perform(BridgeLegs(leg=LEG, agent_leg=OTHER, agent_channel="PJSIP/agent1-00000002"))

    await soon(lambda: peer.of("Redirect"))

    assert peer.names()[-2:] == ["Setvar", "Redirect"]
    assert peer.of("Setvar")[0]["Value"] == "PJSIP/agent1-00000002"


async def test_a_redirect_that_fails_on_a_living_channel_is_a_refused_bridge(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.script["Redirect"] = lambda peer, action: error(action, "Redirect failed")
    peer.script["Status"] = lambda peer, action: status(action, LEG)

    telephony.perform(BridgeLegs(leg=LEG, agent_leg=OTHER, agent_channel="PJSIP/agent1-00000002"))
    await soon(lambda: engine.of(BridgeRefused))

    assert [getattr(seen, "result", "") for seen in engine.of(BridgeRefused)] == ["Redirect failed"]


async def test_a_redirect_of_a_channel_that_is_gone_leaves_the_end_to_its_hangup(
    peer: Peer, telephony: AmiTelephony, engine: Engine
) -> None:
    peer.say(event("Newchannel") + event("Newstate", LEG, "ChannelState: 6"))
    await soon(lambda: len(engine.legs()) == 2)
    peer.script["Redirect"] = lambda peer, action: error(action, f"Channel does not exist: {LEG}")

    telephony.perform(BridgeLegs(leg=LEG, agent_leg=OTHER, agent_channel="PJSIP/agent1-00000002"))
    await soon(lambda: len(peer.of("Status")) == 2)
    peer.say(event("Hangup", LEG, "Cause: 16", "ChannelState: 6"))
    await soon(lambda: engine.of(LegEnded))

    assert engine.of(BridgeRefused) == []


async def test_a_ringing_leg_is_never_redirected(peer: Peer, telephony: AmiTelephony, engine: Engine) -> None:
    peer.say(event("Newchannel") + event("Newstate", LEG, "ChannelState: 5"))
    await soon(lambda: len(engine.legs()) == 2)

    telephony.perform(BridgeLegs(leg=LEG, agent_leg=OTHER, agent_channel="PJSIP/agent1-00000002"))
    await soon(lambda: engine.of(BridgeRefused))

    assert peer.of("Redirect") == []


# -- an agent's leg that isn't home ---------------------------------------------------------------------------------

JOIN = BridgeLegs(leg=LEG, agent_leg=OTHER, agent_channel="PJSIP/agent1-00000002")


def entered(leg: str, technology: str, channels: int = 1) -> str:
    lines = ("Context: ringfold-agent", f"BridgeTechnology: {technology}", "BridgeUniqueid: b1")
    return event("BridgeEnter", leg, *lines, f"BridgeNumChannels: {channels}")


@pytest.fixture(params=["ready", "talked"])
async def away(request: pytest.FixtureRequest, peer: Peer, telephony: AmiTelephony, engine: Engine) -> None:
    """The agent's leg has just been answered, or was with a contact; it isn't in the holding bridge (again) yet."""
    ready = event("UserEvent", OTHER, "UserEvent: RingfoldReady", "Context: ringfold-agent", "ChannelState: 6")
    peer.say(event("Newchannel", OTHER) + ready)
    if request.param == "talked":
        peer.say(entered(OTHER, "holding_bridge") + entered(OTHER, "simple_bridge"))
    peer.say(event("Newchannel") + event("Newstate", LEG, "ChannelState: 6"))
    await soon(lambda: engine.of(LegAnswered) and engine.legs()[-1].leg == LEG)


@pytest.mark.usefixtures("away")
async def test_a_contact_is_joined_once_the_agents_leg_is_home(peer: Peer, telephony: AmiTelephony) -> None:
    telephony.perform(JOIN)
    await asyncio.sleep(0.05)
    assert peer.of("Redirect") == []

    peer.say(entered(OTHER, "holding_bridge", 7))

    await soon(lambda: peer.of("Redirect"))
    assert peer.names()[-2:] == ["Setvar", "Redirect"]


@pytest.mark.usefixtures("away")
async def test_a_contact_waits_for_an_agents_leg_only_so_long(
    peer: Peer, telephony: AmiTelephony, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.ami.homecoming.HOMECOMING_MAX_MS", 30)

    telephony.perform(JOIN)

    await soon(lambda: len(peer.of("Redirect")) == 1)


@pytest.mark.usefixtures("away")
async def test_a_contact_whose_agent_is_gone_is_told_so_by_the_pbx(peer: Peer, telephony: AmiTelephony) -> None:
    telephony.perform(JOIN)

    peer.say(event("Hangup", OTHER, "Cause: 16", "ChannelState: 6"))

    await soon(lambda: len(peer.of("Redirect")) == 1)


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("by_us", [True, False], ids=["hung up by us", "gone by itself"])
async def test_a_contact_who_goes_while_waiting_is_joined_to_nobody(
    peer: Peer, telephony: AmiTelephony, engine: Engine, by_us: bool
) -> None:
    telephony.perform(JOIN)
    if by_us:
        telephony.perform(HangUp(leg=LEG))
        await soon(lambda: peer.of("Hangup"))
    else:
        peer.say(event("Hangup", LEG, "Cause: 16", "ChannelState: 6"))
        await soon(lambda: engine.of(LegEnded))

    peer.say(entered(OTHER, "holding_bridge"))
    await asyncio.sleep(0.05)

    assert peer.of("Redirect") == []


@pytest.mark.usefixtures("away")
async def test_a_late_bridge_of_a_contact_who_is_gone_does_not_take_the_place_of_the_next(
    peer: Peer, telephony: AmiTelephony
) -> None:
    """as where the bridge was kept back until its announcement was out, and the contact hung up meanwhile"""
    telephony.perform(JOIN)
    peer.script["Redirect"] = lambda peer, action: (
        ok(action) if action["Channel"] == LEG else error(action, f"Channel does not exist: {action['Channel']}")
    )
    gone = "3" * 32

    telephony.perform(BridgeLegs(leg=gone, agent_leg=OTHER, agent_channel="PJSIP/agent1-00000002"))
    await soon(lambda: [asked["Channel"] for asked in peer.of("Redirect")] == [gone])
    peer.say(entered(OTHER, "holding_bridge"))

    await soon(lambda: [asked["Channel"] for asked in peer.of("Redirect")] == [gone, LEG])


async def test_after_a_reconnect_nobody_is_waited_for_who_came_home_meanwhile(
    peer: Peer, telephony: AmiTelephony, engine: Engine, away: None
) -> None:
    telephony.perform(JOIN)
    listed = ("ChannelState: 6", "Context: ringfold-agent", "BridgeID: h")
    peer.statuses = ["\r\n".join((f"Channel: {CHANNEL}", f"Uniqueid: {OTHER}", *listed))]
    peer.drop()
    await soon(lambda: len(engine.of(PbxUp)) == 2)
    assert peer.of("Redirect") == []

    telephony.perform(JOIN)

    await soon(lambda: len(peer.of("Redirect")) == 1)


# -- what lives -----------------------------------------------------------------------------------------------------


async def test_the_list_comes_before_what_was_heard_while_asking(peer: Peer, engine: Engine) -> None:
    def listing(peer: Peer, action: Action) -> str | None:
        early = event("Hangup", OTHER, "Cause: 17", "ChannelState: 5") + event("Newchannel", LEG)
        return early + (peer.by_default(action) or "") + event("Hangup", LEG, "Cause: 16", "ChannelState: 6")

    peer.script["Status"] = listing
    peer.statuses = [
        f"Channel: {CHANNEL}\r\nUniqueid: {LEG}\r\nChannelState: 6\r\nContext: ringfold-contact\r\nBridgeID: "
    ]
    telephony = AmiTelephony(peer.settings())

    await telephony.start(engine.seen.append)
    await soon(lambda: len(engine.of(LegEnded)) == 2)

    assert [type(seen) for seen in engine.seen] == [PbxUp, LegEnded, LegEnded]
    assert [seen.leg for seen in engine.legs()] == [OTHER, LEG]
    await telephony.stop()


async def test_channels_that_are_not_ours_are_not_listed(peer: Peer, engine: Engine) -> None:
    peer.statuses = ["Channel: PJSIP/other-1\r\nUniqueid: 1795325407.8\r\nChannelState: 6\r\nContext: x\r\nBridgeID: "]
    telephony = AmiTelephony(peer.settings())
    await telephony.start(engine.seen.append)

    (up,) = engine.seen
    assert isinstance(up, PbxUp)
    assert up.legs == ()
    await telephony.stop()


@pytest.mark.parametrize(
    ("startup", "uptime_s", "restarted"),
    [("12:00:00", 1000, False), ("12:30:00", 0, True), ("13:00:00", 1000, False)],
    ids=["the same PBX", "another start", "another time zone"],
)
async def test_a_restart_is_told_from_a_lost_connection(
    peer: Peer, telephony: AmiTelephony, engine: Engine, startup: str, uptime_s: int, restarted: bool
) -> None:
    peer.startup, peer.uptime_s = startup, uptime_s
    peer.drop()
    await soon(lambda: len(engine.of(PbxUp)) == 2)

    assert [getattr(up, "restarted", None) for up in engine.of(PbxUp)] == [False, restarted]


async def test_a_pbx_that_gives_no_list_is_not_up(peer: Peer, engine: Engine) -> None:
    peer.script["Status"] = lambda peer, action: error(action, "Permission denied")
    telephony = AmiTelephony(peer.settings())
    await telephony.start(engine.seen.append)

    assert engine.of(PbxUp) == []
    assert "Permission denied" in str(engine.of(PbxDown)[0])
    await telephony.stop()


async def test_a_settled_leg_that_lives_is_seen(peer: Peer, telephony: AmiTelephony, engine: Engine) -> None:
    peer.script["Status"] = lambda peer, action: status(action, LEG, "ringfold-bridge", "b1")

    telephony.perform(Settle(leg=LEG, delay_ms=1))
    await soon(engine.legs)

    (leg,) = engine.legs()
    assert leg == LegSeen(leg=LEG, at=leg.at, channel=CHANNEL, state=LegState.UP, ready=False, bridged=True)


async def test_absence_is_believed_only_after_a_late_hangup_had_its_time(
    peer: Peer, telephony: AmiTelephony, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.ami.settlement.ABSENCE_GRACE_MS", 60_000)
    telephony.perform(Settle(leg=LEG, delay_ms=0))
    await soon(lambda: len(peer.of("Status")) == 2)

    peer.say(event("Hangup", LEG, "Cause: 17", "ChannelState: 5"))
    await soon(engine.legs)

    assert [type(seen) for seen in engine.legs()] == [LegEnded]
    assert telephony._settlement._graces == {}


async def test_a_leg_that_appears_after_it_was_found_missing_is_asked_about_again(
    peer: Peer, telephony: AmiTelephony, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An originate that had to wait its turn may be sent just before the question: its channel takes a moment."""
    monkeypatch.setattr("adapters.ami.settlement.ABSENCE_GRACE_MS", 100)
    telephony.perform(dial())
    telephony.perform(Settle(leg=LEG, delay_ms=0))
    await soon(lambda: LEG in telephony._settlement._graces)

    peer.script["Status"] = lambda peer, action: status(action, LEG)
    peer.say(event("Newchannel", LEG, "ChannelState: 0", "Context: ringfold-contact"))
    await soon(lambda: engine.of(LegSeen))
    await asyncio.sleep(0.15)

    assert [type(seen) for seen in engine.legs()] == [LegCreated, LegSeen]


async def test_an_absent_leg_is_looked_up_in_cel(peer: Peer, engine: Engine, tmp_path: Path) -> None:
    cel = tmp_path / "ringfold.csv"
    cel.write_text(
        f'"{LEG}","ANSWER","1","","{CHANNEL}"\n'
        f'"{LEG}","HANGUP","2","{{""hangupcause"":16,""hangupsource"":""{CHANNEL}""}}","{CHANNEL}"\n'
    )
    telephony = AmiTelephony(peer.settings(cel_path=str(cel)))
    await telephony.start(engine.seen.append)

    telephony.perform(Settle(leg=LEG, delay_ms=0))
    telephony.perform(Settle(leg=OTHER, delay_ms=0))
    await soon(lambda: len(engine.legs()) == 2)

    by_leg = {seen.leg: seen for seen in engine.legs()}
    ended = by_leg[LEG]
    assert isinstance(ended, LegEnded)
    assert (ended.cause, ended.answered, ended.far_end) == (16, True, True)
    assert isinstance(by_leg[OTHER], LegAbsent)
    await telephony.stop()


async def test_a_cel_file_that_is_missing_leaves_the_leg_absent(peer: Peer, engine: Engine, tmp_path: Path) -> None:
    telephony = AmiTelephony(peer.settings(cel_path=str(tmp_path / "none")))
    await telephony.start(engine.seen.append)

    telephony.perform(Settle(leg=LEG, delay_ms=0))
    await soon(engine.legs)

    assert [type(seen) for seen in engine.legs()] == [LegAbsent]
    await telephony.stop()


async def test_a_question_dies_with_its_connection(peer: Peer, telephony: AmiTelephony, engine: Engine) -> None:
    peer.script["Status"] = silence
    telephony.perform(Settle(leg=LEG, delay_ms=0))
    await soon(lambda: len(peer.of("Status")) == 2)
    del peer.script["Status"]

    peer.drop()
    await soon(lambda: len(engine.of(PbxUp)) == 2)
    await asyncio.sleep(0.05)

    assert engine.legs() == []


async def test_an_agents_phone_is_rung_at_the_agents_context(peer: Peer, telephony: AmiTelephony) -> None:
    telephony.perform(OriginateAgent(leg=LEG, phone="agent1", ring_timeout_ms=20_000, caller_id="Ringfold <1000>"))

    await soon(lambda: peer.of("Originate"))

    (asked,) = peer.of("Originate")
    assert (asked["Channel"], asked["Context"], asked["Timeout"]) == ("PJSIP/agent1", "ringfold-agent", "20000")
