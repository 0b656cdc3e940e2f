"""The adapter against the project's simulated PBX: whole calls, and the faults a network and a PBX have."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from engine.core.telephony import (
    BridgeLegs,
    HangUp,
    LegAbsent,
    LegBridged,
    LegEnded,
    LegObservation,
    LegReady,
    LegRinging,
    OriginateAgent,
    OriginateContact,
    OriginateFailed,
    PbxDown,
    PbxObservation,
    PbxUp,
    Settle,
)
from simulations.pbx import Script, SimulatedPbx, User
from tests.adapters.ami.peer import soon

AGENT, CONTACT = "a" * 32, "c" * 32


class House:
    """A simulated PBX, the adapter connected to it, and what the adapter told."""

    def __init__(self, pbx: SimulatedPbx, telephony: AmiTelephony) -> None:
        self.pbx, self.telephony = pbx, telephony
        self.seen: list[LegObservation | PbxObservation] = []

    def of(self, kind: type[object], leg: str = "") -> list[LegObservation | PbxObservation]:
        return [seen for seen in self.seen if isinstance(seen, kind) and (not leg or getattr(seen, "leg", "") == leg)]

    def names(self, leg: str) -> list[str]:
        return [type(seen).__name__ for seen in self.seen if getattr(seen, "leg", "") == leg]

    async def until(self, kind: type[object], leg: str = "", times: int = 1) -> None:
        await soon(lambda: len(self.of(kind, leg)) >= times)

    def dial(self, number: str, leg: str = CONTACT, ms: int = 30_000) -> None:
        self.telephony.perform(
            OriginateContact(leg=leg, trunk="carrier", number=number, ring_timeout_ms=ms, caller_id="")
        )

    async def talk(self, number: str, phone: str = "agent1") -> None:
        """An agent and a contact who hear each other."""
        self.telephony.perform(OriginateAgent(leg=AGENT, phone=phone, ring_timeout_ms=30_000, caller_id=""))
        await self.until(LegReady, AGENT)
        self.dial(number)
        await self.until(LegReady, CONTACT)
        ready = self.of(LegReady, AGENT)[0]
        assert isinstance(ready, LegReady)
        self.telephony.perform(BridgeLegs(leg=CONTACT, agent_leg=AGENT, agent_channel=ready.channel))
        await self.until(LegBridged, CONTACT)


@pytest.fixture(params=[(False, (0, 0)), (True, (0, 40))], ids=["prompt", "segmented and lagging"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    segmented, lag_ms = request.param
    pbx = SimulatedPbx(Script(), time_scale=0.1, segmented=segmented, event_lag_ms=lag_ms, users=(User("u", "s"),))
    port = await pbx.start()
    settings = AmiSettings(port=port, username="u", secret="s", reconnect_min_ms=10, reconnect_max_ms=50)
    house = House(pbx, AmiTelephony(settings))
    await house.telephony.start(house.seen.append)
    yield house
    await house.telephony.stop()
    await pbx.stop()


ANSWERED = ["LegCreated", "LegRinging", "LegAnswered", "LegReady"]


async def test_a_contact_who_hangs_up(house: House) -> None:
    await house.talk("6551234")
    await house.until(LegEnded, CONTACT)

    assert [name for name in house.names(CONTACT) if name != "OriginateFailed"] == [*ANSWERED, "LegBridged", "LegEnded"]
    (ended,) = house.of(LegEnded, CONTACT)
    assert isinstance(ended, LegEnded)
    assert (ended.answered, ended.far_end) == (True, True)
    assert house.of(LegEnded, AGENT) == []


async def test_an_agents_leg_outlives_contacts_who_follow_at_once(house: House) -> None:
    house.pbx.exchange.return_ms = (0, 300)
    await house.talk("15551234")
    ready = house.of(LegReady, AGENT)[0]
    assert isinstance(ready, LegReady)
    last = CONTACT
    for number in range(12):
        contact = f"{number:032x}"
        house.dial("15551234", contact)
        await house.until(LegReady, contact)
        house.telephony.perform(HangUp(leg=last))
        await house.until(LegEnded, last)
        house.telephony.perform(BridgeLegs(leg=contact, agent_leg=AGENT, agent_channel=ready.channel))
        await house.until(LegBridged, contact)
        last = contact

    assert house.names(AGENT) == ANSWERED


async def test_an_agent_who_hangs_up(house: House) -> None:
    await house.talk("1551234", phone="agent_hangs")
    await house.until(LegEnded, CONTACT)
    await house.until(LegEnded, AGENT)

    (contact,), (agent,) = house.of(LegEnded, CONTACT), house.of(LegEnded, AGENT)
    assert isinstance(contact, LegEnded)
    assert isinstance(agent, LegEnded)
    assert (contact.far_end, agent.far_end) == (False, True)


async def test_a_call_that_outlives_the_connection_is_found_talking(house: House) -> None:
    await house.talk("1551234")

    house.pbx.cut()
    await house.until(PbxUp, times=2)

    up = house.of(PbxUp)[1]
    assert isinstance(up, PbxUp)
    assert {leg.leg: leg.bridged for leg in up.legs} == {AGENT: True, CONTACT: True}
    assert not up.restarted
    house.telephony.perform(HangUp(leg=CONTACT))
    await house.until(LegEnded, CONTACT)


async def test_a_restarted_pbx_is_known_as_such(house: House) -> None:
    await house.talk("1551234")
    await asyncio.sleep(1.1)  # a PBX's start is told to the second

    house.pbx.restart()
    await house.until(PbxUp, times=2)

    up = house.of(PbxUp)[1]
    assert isinstance(up, PbxUp)
    assert up.restarted
    assert up.legs == ()


@pytest.mark.parametrize("performed", [True, False], ids=["dialled", "not dialled"])
async def test_a_cut_between_originate_and_response_dials_at_most_once_and_is_settled(
    house: House, performed: bool
) -> None:
    """EX-02, the adapter's part: the fate of an unanswered originate is asked for and never assumed."""
    house.pbx.cut_on("Originate", before_response=True, performed=performed)

    house.dial("3551234")
    await house.until(PbxUp, times=2)
    house.telephony.perform(Settle(leg=CONTACT, delay_ms=0))
    await soon(lambda: "LegSeen" in house.names(CONTACT) or "LegAbsent" in house.names(CONTACT))

    assert len(house.pbx.originates) == int(performed)
    assert house.of(LegEnded) == []
    assert bool(house.of(LegAbsent)) is not performed


async def test_a_half_open_connection_is_noticed_and_replaced(house: House) -> None:
    await house.until(PbxUp)
    house.pbx.half_open()

    await asyncio.wait_for(house_up_again(house), 8)

    assert "silent for" in str(house.of(PbxDown)[0])


async def house_up_again(house: House) -> None:
    while len(house.of(PbxUp)) < 2:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "cause"), [("2551234", 17), ("4551234", 34), ("5551234", 1), ("7551234", 21), ("9551234", 19)]
)
async def test_each_refusal_ends_the_leg_with_its_own_cause(house: House, number: str, cause: int) -> None:
    house.dial(number)
    await house.until(LegEnded, CONTACT)

    (ended,) = house.of(LegEnded, CONTACT)
    assert isinstance(ended, LegEnded)
    assert (ended.cause, ended.answered, ended.far_end) == (cause, False, True)


async def test_ringing_out(house: House) -> None:
    house.dial("3551234", ms=1_000)
    await house.until(LegEnded, CONTACT)

    (ended,) = house.of(LegEnded, CONTACT)
    assert isinstance(ended, LegEnded)
    assert house.of(LegRinging, CONTACT)
    assert (ended.cause, ended.answered, ended.far_end) == (19, False, False)


async def test_an_absent_phone_fails_and_settles_to_absent(house: House) -> None:
    house.telephony.perform(OriginateAgent(leg=AGENT, phone="agent_absent", ring_timeout_ms=1_000, caller_id=""))
    await house.until(OriginateFailed, AGENT)

    house.telephony.perform(Settle(leg=AGENT, delay_ms=10))
    await house.until(LegAbsent, AGENT)

    assert house.names(AGENT) == ["OriginateFailed", "LegAbsent"]
