"""The simulated PBX against what a real one said: same conversation, same facts per channel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from simulations.pbx import DEFAULT_EVENTS, Outcome, Script, SimulatedPbx, User
from simulations.pbx.script import Kind
from tests.simulations.ami import Ami, messages
from tests.simulations.flows import AGENT, CONTACT, FLOWS, Flow, agent_waits, attempt, hang_up, ring_agent
from tests.simulations.reduction import Fact, reduce

RECORDINGS = Path(__file__).parent / "recordings"
OLDER = RECORDINGS / "older"
UNFILTERED = User(events=None)


@asynccontextmanager
async def simulation(
    seed: int = 1, script: Script | None = None, version: int = 22
) -> AsyncIterator[tuple[SimulatedPbx, Ami]]:
    pbx = SimulatedPbx(script, seed=seed, time_scale=0.2, users=[UNFILTERED], version=version)
    ami = await Ami.login(await pbx.start(), UNFILTERED.name, UNFILTERED.secret)
    try:
        yield pbx, ami
    finally:
        await ami.close()
        await pbx.stop()


def recorded(path: Path) -> dict[str, list[Fact]]:
    return reduce(messages(path.read_bytes()))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.__name__)
async def test_same_conversation_same_facts(flow: Flow, seed: int) -> None:
    # given what a real PBX said in this conversation
    expected = recorded(RECORDINGS / f"{flow.__name__}.raw")
    # when the simulated one has it
    async with simulation(seed) as (_, ami):
        await flow(ami)
        # then every channel went through the same facts in the same order
        assert reduce(ami.messages) == expected


# Recordings made with other dialplans: there the originated leg's own facts, up to the dialplan, must agree.

REFUSED = {
    "R2c_busy": ("2", 22),
    "a16_direct_503": ("4", 16),
    "a16_direct_busy": ("2", 16),
    "a16_direct_noanswer": ("3", 16),
    "direct_404": ("5", 22),
    "direct_503": ("4", 22),
    "direct_603": ("7", 22),
    "direct_busy": ("2", 22),
    "direct_noanswer": ("3", 22),
    "pv_agent_dead_contact": ("0", 22),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_contact_as_recorded(name: str) -> None:
    digit, version = REFUSED[name]
    expected = list(recorded(OLDER / f"{name}.raw").values())
    async with simulation(version=version) as (_, ami):
        await attempt(ami, digit, timeout_ms=2000)
        assert sorted(reduce(ami.messages).values()) == sorted(expected)


AGENTS = {
    "a16_agent_busy": ("agent_busy", 16),
    "pv_agent_480": ("agent_gone_fishing", 22),
    "pv_agent_busy486": ("agent_busy", 22),
    "pv_agent_noanswer": ("agent_silent", 22),
    "pv_agent_reject603": ("agent_reject", 22),
    "unanswered_agent_busy": ("agent_busy", 22),
}


@pytest.mark.parametrize("name", AGENTS)
async def test_refusing_agent_as_recorded(name: str) -> None:
    phone, version = AGENTS[name]
    # this phone is set to "do not disturb": it refuses without ringing
    script = Script(phones={"agent_gone_fishing": Outcome(Kind.UNAVAILABLE, ring_ms=0)})
    expected = list(recorded(OLDER / f"{name}.raw").values())
    async with simulation(script=script, version=version) as (_, ami):
        await ring_agent(ami, phone)
        assert sorted(reduce(ami.messages).values()) == sorted(expected)


@pytest.mark.parametrize(
    "name", ["a16_notreg", "pv_agent_not_registered", "pv_agent_unknown_endpoint", "unanswered_notreg"]
)
async def test_unreachable_agent_as_recorded(name: str) -> None:
    # given a recording (16 and 22) in which an unreachable phone brings an OriginateResponse and nothing else
    expected = list(recorded(OLDER / f"{name}.raw").values())
    assert expected == [[("Failure", "0")]]
    async with simulation() as (pbx, ami):
        await ami.originate("PJSIP/nosuch", "ringfold-agent", AGENT)
        await ami.until(lambda m: m["Event"] == "OriginateResponse")
        assert list(reduce(ami.messages).values()) == expected
        assert not pbx.originates


async def test_cancelled_agent_as_recorded() -> None:
    expected = list(recorded(OLDER / "pv_cancel_while_agent_rings.raw").values())
    async with simulation() as (_, ami):
        await ami.originate("PJSIP/agent_silent", "ringfold-agent", AGENT)
        await ami.event("DialState", AGENT)
        await ami.event("Newstate", AGENT)
        await hang_up(ami, AGENT)
        await ami.until(lambda m: m["Event"] == "OriginateResponse")
        assert sorted(reduce(ami.messages).values()) == sorted(expected)


async def test_bad_context_as_recorded() -> None:
    expected = next(messages((OLDER / "pv_bad_context.raw").read_bytes()))
    async with simulation() as (_, ami):
        response = await ami.originate("PJSIP/agent1", "nowhere", AGENT)
        assert (response["Response"], response["Message"]) == (expected["Response"], expected["Message"])


DIALLED_BY_DIALPLAN = {
    "a16_pv_busy": ("2", 16),
    "pv_480": ("9", 22),
    "pv_busy": ("2", 22),
    "pv_congestion503": ("4", 22),
    "pv_decline603": ("7", 22),
    "pv_invalid404": ("5", 22),
}


@pytest.mark.parametrize("name", DIALLED_BY_DIALPLAN)
async def test_far_end_refuses_alike_when_the_dialplan_dialled(name: str) -> None:
    # given a recording in which an agent's leg dialled the contact: the leg that ends with a refusal is the contact's
    digit, version = DIALLED_BY_DIALPLAN[name]
    contact = next(
        facts
        for leg, facts in recorded(OLDER / f"{name}.raw").items()
        if "originate" not in leg and ("UserEvent", "RingfoldReady", "") not in facts and facts[0][0] == "Newchannel"
        if not any(fact == ("Newstate", "Up") for fact in facts)
    )
    async with simulation(version=version) as (_, ami):
        await attempt(ami, digit)
        assert without_ringing(reduce(ami.messages)[CONTACT]) == without_ringing(contact)


def without_ringing(facts: list[Fact]) -> list[Fact]:
    """Whether a far end that refuses at once rang before is up to it, not to the PBX; so is the state shown."""
    kept = [fact for fact in facts if fact not in {("Newstate", "Ringing"), ("DialState", "RINGING")}]
    return [tuple(part for part in fact if part not in {"Ringing", "Down"}) for fact in kept]


async def test_agent_returns_to_the_holding_bridge_as_recorded() -> None:
    # given recordings of agents' loops with older dialplans, by Bridge() and by the Bridge action
    for name in ("R1_bridgeaction_loop", "R2_bridge_app"):
        agent = next(f for leg, f in recorded(OLDER / f"{name}.raw").items() if leg.startswith("g-"))
        wanted = [fact for fact in agent if fact[0].startswith("Bridge")]
        async with simulation() as (_, ami):
            channel = await agent_waits(ami)
            await ami.originate("PJSIP/15551234@carrier", "ringfold-contact", CONTACT)
            await ami.event("UserEvent", CONTACT)
            await ami.act("Bridge", Channel1=channel, Channel2=CONTACT)
            await ami.event("BridgeEnter", CONTACT)
            await hang_up(ami, CONTACT)
            await ami.until(lambda _: ami.names(AGENT).count("BridgeEnter") == 3)
            await hang_up(ami, AGENT)
            # then its leg goes through the same bridges
            assert [fact for fact in reduce(ami.messages)[AGENT] if fact[0].startswith("Bridge")] == wanted


HARNESS = Path(__file__).parents[1] / "asterisk" / "recordings"


@pytest.mark.parametrize("path", sorted(HARNESS.glob("*.raw")), ids=lambda path: path.stem)
def test_harness_recordings_show_nothing_the_simulation_does_not(path: Path) -> None:
    # given all that a leg may go through, as far as the shipped filter lets it be heard: the simulated PBX agrees with
    # these flows' recordings by the test above
    known = {heard(facts) for flow in FLOWS for facts in recorded(RECORDINGS / f"{flow.__name__}.raw").values()}
    # then no leg that another harness recorded went through anything else
    for leg, facts in recorded(path).items():
        assert heard(facts) in known, f"{leg} in {path.name}"


def heard(facts: list[Fact]) -> tuple[Fact, ...]:
    """Facts that pass the shipped filter; what the originate came to has no event of its own here."""
    return tuple(fact for fact in facts if fact[0] in DEFAULT_EVENTS | {"Success", "Failure"})


def test_every_recording_is_used_and_readable() -> None:
    names = {path.stem for path in OLDER.glob("*.raw")}
    used = {*REFUSED, *AGENTS, *DIALLED_BY_DIALPLAN, "R1_bridgeaction_loop", "R2_bridge_app", "pv_bad_context"}
    used |= {"a16_notreg", "pv_agent_not_registered", "pv_agent_unknown_endpoint", "unanswered_notreg"}
    assert names == used | {"pv_cancel_while_agent_rings"}
    assert {path.stem for path in RECORDINGS.glob("*.raw")} == {flow.__name__ for flow in FLOWS}
