"""The simulated PBX itself: scripts, chance, time, its records for checkers, and every fault it can be asked for."""

import asyncio
import csv
import hashlib
import json
import selectors
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulations.pbx import BUSY, NO_ANSWER, TYPICAL, Dialled, Kind, Mix, Outcome, Script, SimulatedPbx, User, answer
from tests.simulations.ami import Ami
from tests.simulations.flows import (
    AGENT,
    CONTACT,
    OTHER_CONTACT,
    agent_waits,
    bridge,
    bridged,
    contact_answers,
    hang_up,
    returned,
)

TIME_SCALE = 0.2


@pytest.fixture
async def pbx() -> AsyncIterator[SimulatedPbx]:
    pbx = SimulatedPbx(time_scale=TIME_SCALE, login_penalty_ms=0, login_timeout_ms=200)
    await pbx.start()
    yield pbx
    await pbx.stop()


async def login(pbx: SimulatedPbx) -> Ami:
    return await Ami.login(pbx.port, pbx.username, pbx.secret)


@pytest.fixture
async def ami(pbx: SimulatedPbx) -> AsyncIterator[Ami]:
    ami = await login(pbx)
    yield ami
    await ami.close()


# -- scripts --------------------------------------------------------------------------------------------------------


def test_a_map_goes_before_the_mix_and_is_used_attempt_by_attempt() -> None:
    script = Script(numbers={"15551234": [BUSY, NO_ANSWER]}, mix=Mix(weights={Kind.ANSWER: 1}))
    assert [script.number("15551234", attempt, 1).kind for attempt in range(4)] == [
        Kind.BUSY,
        Kind.NO_ANSWER,
        Kind.NO_ANSWER,
        Kind.NO_ANSWER,
    ]
    assert script.number("25551234", 0, 1).kind is Kind.ANSWER


@pytest.mark.parametrize(
    ("number", "kind"), [("+573105822141", Kind.NO_ANSWER), ("+2", Kind.BUSY), ("75", Kind.REJECTED), ("", Kind.DEAD)]
)
def test_first_digit_decides_behind_the_country_code(number: str, kind: Kind) -> None:
    assert Script().number(number, 0, 1).kind is kind


def test_a_numbers_fate_depends_on_seed_and_attempt_alone() -> None:
    # given the same seed, whatever else was drawn between
    numbers = [f"555{i:04}" for i in range(500)]
    forwards = [Script(mix=TYPICAL).number(number, 0, 5) for number in numbers]
    backwards = [Script(mix=TYPICAL).number(number, 0, 5) for number in reversed(numbers)]
    assert forwards == backwards[::-1]
    # and another seed or attempt is another fate
    assert forwards != [Script(mix=TYPICAL).number(number, 0, 6) for number in numbers]
    assert forwards != [Script(mix=TYPICAL).number(number, 1, 5) for number in numbers]


def test_a_mix_keeps_to_its_chances() -> None:
    mix = Mix(weights={Kind.ANSWER: 3, Kind.BUSY: 1}, ring_ms=(1000, 2000, 4000), talk_ms_mean=10_000)
    drawn = [Script(mix=mix).number(str(i), 0, 1) for i in range(4000)]
    answered = [outcome for outcome in drawn if outcome.kind is Kind.ANSWER]
    assert 0.72 < len(answered) / len(drawn) < 0.78
    assert all(1000 <= outcome.ring_ms <= 4000 for outcome in drawn)
    talks = [outcome.talk_ms for outcome in answered if outcome.talk_ms is not None]
    assert len(talks) == len(answered)
    assert 9_000 < sum(talks) / len(talks) < 11_000


# -- what checkers look at ------------------------------------------------------------------------------------------


async def test_only_what_reached_a_far_end_is_recorded_as_dialled(pbx: SimulatedPbx, ami: Ami) -> None:
    # given an agent and a contact who are called, and originates that reach nobody
    await bridged(ami)
    for number, (channel, context) in enumerate(
        [
            ("PJSIP/nosuch", "ringfold-agent"),
            ("PJSIP/15551234@nosuch", "ringfold-contact"),
            ("PJSIP/agent2", "nowhere"),
            ("Local/1@x", "ringfold-contact"),
        ]
    ):
        await ami.originate(channel, context, f"{number:032x}")
    await ami.originate("PJSIP/agent2", "ringfold-agent", AGENT)  # taken
    await asyncio.sleep(0.05)
    # then the record tells of the two, with who was called
    assert [(one.leg, one.phone, one.number, one.trunk) for one in pbx.originates] == [
        (AGENT, "agent1", "", ""),
        (CONTACT, "", "15551234", "carrier"),
    ]
    assert {leg.uid for leg in pbx.live} == {AGENT, CONTACT}
    assert pbx.peak_channels == 2
    await hang_up(ami, AGENT)
    await ami.event("Hangup", CONTACT)
    assert (pbx.live, pbx.peak_channels) == ((), 2)


async def test_executed_functions_are_recorded(pbx: SimulatedPbx, ami: Ami) -> None:
    variables = {"Variable": f"__CALL_UUID={CONTACT},FILE(/x)=y"}
    await ami.originate("PJSIP/15551234@carrier", "ringfold-contact", CONTACT, more=variables)
    await ami.event("Newchannel", CONTACT)
    assert list(pbx.function_writes) == [(CONTACT, "FILE(/x)", "y")]


# -- the connection -------------------------------------------------------------------------------------------------


async def test_idle_connection_without_login_is_closed(pbx: SimulatedPbx) -> None:
    ami = await Ami.connect(pbx.port)
    await ami.until_closed()
    await ami.close()


async def test_md5_login(pbx: SimulatedPbx) -> None:
    ami = await Ami.connect(pbx.port)
    challenge = (await ami.act("Challenge", AuthType="MD5"))["Challenge"]
    key = hashlib.md5((challenge + pbx.secret).encode()).hexdigest()
    response = await ami.act("Login", AuthType="MD5", Username=pbx.username, Key=key)
    assert response["Message"] == "Authentication accepted"
    await ami.close()


async def test_events_are_filtered_by_name_class_and_mask() -> None:
    all_users = [User("narrow", events=frozenset({"Hangup"})), User("classes", read=frozenset({"user"}), events=None)]
    pbx = SimulatedPbx(users=[User(), *all_users], time_scale=TIME_SCALE)
    await pbx.start()
    ami = await login(pbx)
    narrow, classes = await Ami.connect(pbx.port), await Ami.connect(pbx.port)
    for other, name in ((narrow, "narrow"), (classes, "classes")):
        await other.act("Login", Username=name, Secret=pbx.secret)
    # when one call comes and goes
    await contact_answers(ami)
    await hang_up(ami, CONTACT)
    await narrow.event("Hangup", CONTACT)
    # then each hears its own part of it
    assert [m["Event"] for m in narrow.messages if "event" in m] == ["Hangup"]
    assert {m["Event"] for m in classes.messages if "event" in m} == {"UserEvent"}
    # and none after it asked for none
    await ami.act("Events", EventMask="off")
    heard = len(ami.messages)
    await contact_answers_unheard(ami)
    assert not [m for m in ami.messages[heard:] if "event" in m and m["Event"] != "StatusComplete"]
    for one in (ami, narrow, classes):
        await one.close()
    await pbx.stop()


async def contact_answers_unheard(ami: Ami) -> None:
    await ami.originate("PJSIP/15551234@carrier", "ringfold-contact", CONTACT)
    await asyncio.sleep(0.1)
    assert (await ami.act("Getvar", Channel=CONTACT, Variable="CALL_UUID"))["Value"] == CONTACT


async def test_segmented_output_is_the_same_conversation() -> None:
    # given a PBX that cuts what it sends anywhere
    pbx = SimulatedPbx(segmented=True, time_scale=TIME_SCALE)
    await pbx.start()
    ami = await login(pbx)
    reads: list[bytes] = []
    read = ami._reader.read

    async def noting(n: int = -1) -> bytes:
        reads.append(await read(n))
        return reads[-1]

    ami._reader.read = noting  # type: ignore[method-assign]  # to see where the stream was cut
    channel = await bridged(ami)
    await hang_up(ami, CONTACT)
    await returned(ami)
    assert channel.startswith("PJSIP/agent1-")
    # then reads really ended inside messages
    assert sum(not data.endswith(b"\r\n\r\n") for data in reads) > 5
    await ami.close()
    await pbx.stop()


# -- order ----------------------------------------------------------------------------------------------------------


async def test_originate_response_comes_anywhere_and_the_rest_in_order() -> None:
    # given forty answered calls on one PBX
    pbx = SimulatedPbx(users=[User(events=None)], time_scale=TIME_SCALE)
    await pbx.start()
    ami = await login(pbx)
    legs = [f"{number:032x}" for number in range(40)]
    for leg in legs:
        await ami.originate("PJSIP/15551234@carrier", "ringfold-contact", leg)
    for leg in legs:
        await ami.event("OriginateResponse", leg)
        await ami.event("UserEvent", leg)
    places = set()
    for leg in legs:
        names = ami.names(leg)
        places.add(names.index("OriginateResponse"))
        names.remove("OriginateResponse")
        assert sorted(names[2:4]) == ["DialState", "Newstate"]
        assert names[:2] + names[4:] == ["Newchannel", "DialBegin", "Newstate", "DialEnd", "UserEvent"]
    # then the answer to the originate stood before, between and after the facts it tells of
    assert places == {4, 5, 6, 7}
    await ami.close()
    await pbx.stop()


async def test_lagging_events_let_originate_response_overtake_newchannel() -> None:
    pbx = SimulatedPbx(time_scale=TIME_SCALE, event_lag_ms=(150, 250))
    await pbx.start()
    ami = await login(pbx)
    await contact_answers(ami)
    await hang_up(ami, CONTACT)
    assert ami.names(CONTACT)[0] == "OriginateResponse"
    names = [name for name in ami.names(CONTACT) if name not in {"OriginateResponse", "DialState"}]
    assert names == ["Newchannel", "Newstate", "Newstate", "UserEvent", "Hangup"]
    await ami.close()
    await pbx.stop()


async def fate_between_two_contacts(ami: Ami, number: int) -> tuple[str, bool]:
    """Of the second contact (what the bridge said, if it failed) and of the agent's leg (whether it was lost)."""
    agent, first, second = (f"{kind}{number:031x}" for kind in "abc")
    channel = await agent_waits(ami, leg=agent)
    for contact in (first, second):
        await contact_answers(ami, leg=contact)
    await bridge(ami, channel, first)
    await ami.event("BridgeEnter", first)
    await hang_up(ami, first)
    await bridge(ami, channel, second)
    await ami.until(lambda m: m.leg == second and m["Event"] in {"BridgeEnter", "Hangup"})
    results = [m["Result"] for m in ami.messages if m.leg == second and m["UserEvent"] == "RingfoldBridge"]
    if not results:
        await hang_up(ami, second)
    await ami.act("Status", Channel=second)  # what its end did to the agent's leg has been told before the answer
    return "".join(results), "Hangup" in ami.names(agent)


async def test_a_bridge_that_meets_the_agents_leg_between_two_bridges_fails_or_may_cost_the_leg() -> None:
    # given agents whose legs take for ever from a contact back to where they wait, and contacts who follow at once
    pbx = SimulatedPbx(time_scale=TIME_SCALE, return_ms=(1e9, 1e9))
    await pbx.start()
    ami = await login(pbx)
    fates = [await fate_between_two_contacts(ami, number) for number in range(20)]
    # then some are refused, some are joined, and of those some agents' legs end with the talk
    assert set(fates) == {("FAILURE", False), ("", False), ("", True)}
    await ami.close()
    await pbx.stop()


async def test_an_agents_leg_that_is_led_elsewhere_is_on_its_way_back_no_more() -> None:
    # given an agent's leg on its way back, which would take 100 ms
    pbx = SimulatedPbx(time_scale=TIME_SCALE, return_ms=(500, 500))
    await pbx.start()
    ami = await login(pbx)
    channel = await bridged(ami)
    await contact_answers(ami, leg=OTHER_CONTACT)
    await hang_up(ami, CONTACT)
    # when the Bridge action joins it to the next contact, then it stays with them
    await ami.act("Bridge", Channel1=channel, Channel2=OTHER_CONTACT)
    await ami.event("BridgeEnter", OTHER_CONTACT)
    await asyncio.sleep(0.2)
    assert [m["BridgeType"] for m in ami.messages if m["Event"] == "BridgeEnter" and m.leg == AGENT] == [
        "base",
        "basic",
        "basic",
    ]
    # and when it is on its way again and redirected, a Bridge finds it as any leg that waits, however often
    for number in range(10):
        contact = f"e{number:031x}"
        await contact_answers(ami, leg=contact)
        await hang_up(ami, OTHER_CONTACT if number == 0 else f"e{number - 1:031x}")
        await ami.act("Redirect", Channel=AGENT, Context="ringfold-contact", Exten="s", Priority=1)
        await bridge(ami, channel, contact)
        await ami.event("BridgeEnter", contact)
    await ami.close()
    await pbx.stop()


# -- what it writes down --------------------------------------------------------------------------------------------


async def test_channel_event_log_tells_what_nobody_heard(tmp_path: Path) -> None:
    # given conversations that end while nobody listens: by the far end, and by no answer
    pbx = SimulatedPbx(time_scale=TIME_SCALE, cel_path=tmp_path / "cel" / "ringfold.csv")
    await pbx.start()
    ami = await login(pbx)
    agent_channel = await bridged(ami)
    contact_channel = (await ami.event("Newchannel", CONTACT))["Channel"]
    await ami.originate("PJSIP/35551234@carrier", "ringfold-contact", OTHER_CONTACT, timeout_ms=100)
    pbx.end_during_outage(CONTACT)
    await ami.until_closed()
    await asyncio.sleep(0.1)
    await pbx.stop()
    # then the log has it, in the columns and words of the real one
    with (tmp_path / "cel" / "ringfold.csv").open() as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {5}

    def of(leg: str) -> list[str]:
        return [row[1] for row in rows if row[0] == leg]

    assert of(CONTACT) == ["CHAN_START", "ANSWER", "BRIDGE_ENTER", "BRIDGE_EXIT", "HANGUP"]
    assert of(AGENT) == ["CHAN_START", "ANSWER", *["BRIDGE_ENTER", "BRIDGE_EXIT"] * 2, "BRIDGE_ENTER"]
    assert of(OTHER_CONTACT) == ["CHAN_START", "HANGUP"]
    extras = {row[0]: (json.loads(row[3]), row[4]) for row in rows if row[1] == "HANGUP"}
    by_far_end = {"hangupcause": 16, "hangupsource": contact_channel, "dialstatus": ""}
    assert extras[CONTACT] == (by_far_end, contact_channel)
    assert extras[OTHER_CONTACT][0] == {"hangupcause": 19, "hangupsource": "", "dialstatus": ""}
    assert agent_channel in {row[4] for row in rows}


# -- faults ---------------------------------------------------------------------------------------------------------


async def test_cut_leaves_calls_alive(pbx: SimulatedPbx, ami: Ami) -> None:
    await bridged(ami)
    pbx.cut()
    await ami.until_closed()
    again = await login(pbx)
    assert (await again.act("Status", Channel=CONTACT))["Response"] == "Success"
    await again.close()


@pytest.mark.parametrize(
    ("before_response", "performed", "answered", "dialled"),
    [(True, True, False, 1), (True, False, False, 0), (False, True, True, 1)],
    ids=["done, unanswered", "lost", "done, answered"],
)
async def test_cut_on_originate(
    pbx: SimulatedPbx, ami: Ami, before_response: bool, performed: bool, answered: bool, dialled: int
) -> None:
    # given that the line will go at the next originate
    pbx.cut_on("Originate", before_response=before_response, performed=performed)
    ami.send("Originate", Channel="PJSIP/agent1", Context="ringfold-agent", Exten="s", ChannelId=AGENT, Async="true")
    await ami.until_closed()
    # then the client knows as much as it heard, and the record knows what was really dialled
    assert any(m["Message"] == "Originate successfully queued" for m in ami.messages) is answered
    await asyncio.sleep(0.01)
    assert len(pbx.originates) == dialled
    # and the one after it is fine
    again = await login(pbx)
    assert (await again.originate("PJSIP/agent2", "ringfold-agent", OTHER_CONTACT))["Response"] == "Success"
    await again.close()


async def test_half_open_says_nothing_and_does_nothing(pbx: SimulatedPbx, ami: Ami) -> None:
    pbx.half_open()
    ami.send("Originate", Channel="PJSIP/agent1", Context="ringfold-agent", Exten="s", ChannelId=AGENT, Async="true")
    with pytest.raises(TimeoutError):
        await ami.until(lambda m: m["ActionID"] == "t2", limit_s=0.2)
    assert not ami.closed
    assert not pbx.originates
    again = await login(pbx)
    await again.act("Ping")
    await again.close()


async def test_stall_delays_actions_but_not_events(pbx: SimulatedPbx, ami: Ami) -> None:
    await ami.originate("PJSIP/65551234@carrier", "ringfold-contact", CONTACT)
    pbx.stall()
    ping = ami.send("Ping")
    await ami.event("Hangup", CONTACT)
    assert not any(m["ActionID"] == ping for m in ami.messages)
    pbx.stall(False)
    await ami.until(lambda m: m["ActionID"] == ping)


async def test_restart_takes_all_channels_without_a_word(pbx: SimulatedPbx, ami: Ami) -> None:
    await bridged(ami)
    heard = len(ami.messages)
    pbx.restart()
    await ami.until_closed()
    assert not ami.messages[heard:]
    again = await login(pbx)
    booted = await again.until(lambda m: m["Event"] == "FullyBooted")
    assert booted["Uptime"] == "0"
    assert (await again.act("Status", Channel=AGENT))["Message"] == "No such channel"
    # and nothing planned for the dead legs happens any more
    await asyncio.sleep(0.3)
    assert not [m for m in again.messages if m.leg in {AGENT, CONTACT}]
    await again.close()


async def test_announced_restart_says_so(pbx: SimulatedPbx, ami: Ami) -> None:
    pbx.restart(announced=True)
    await ami.until_closed()
    assert ami.messages[-1]["Event"] == "Shutdown"


async def test_calls_end_during_an_outage(pbx: SimulatedPbx, ami: Ami) -> None:
    channel = await agent_waits(ami)
    await contact_answers(ami)
    await bridge(ami, channel)
    await ami.event("BridgeEnter", CONTACT)
    pbx.end_during_outage(CONTACT)
    await ami.until_closed()
    assert "Hangup" not in ami.names(CONTACT)
    again = await login(pbx)
    await again.act("Status")
    await again.until(lambda m: m["Event"] == "StatusComplete")
    assert [m["Uniqueid"] for m in again.messages if m["Event"] == "Status"] == [AGENT]
    await again.close()


async def test_failure_storm(pbx: SimulatedPbx, ami: Ami) -> None:
    pbx.fail_originates(2)
    for number in range(3):
        await ami.originate("PJSIP/15551234@carrier", "ringfold-contact", f"{number:032x}")
    responses = [await ami.event("OriginateResponse", f"{number:032x}") for number in range(3)]
    assert [(m["Response"], m["Reason"]) for m in responses] == [("Failure", "0"), ("Failure", "0"), ("Success", "4")]
    assert len(pbx.originates) == 1


async def test_refused_connections(pbx: SimulatedPbx) -> None:
    pbx.refuse_connections()
    ami = await Ami.connect(pbx.port)
    await ami.until_closed()
    await ami.close()
    pbx.refuse_connections(False)
    await (await login(pbx)).close()


async def test_reader_that_never_reads_is_given_up(pbx: SimulatedPbx) -> None:
    # given a client that asks and asks, and reads nothing
    _reader, writer = await asyncio.open_connection("127.0.0.1", pbx.port, limit=1)
    writer.write(f"Action: Login\r\nUsername: {pbx.username}\r\nSecret: {pbx.secret}\r\n\r\n".encode())
    helper = await login(pbx)
    await contact_answers(helper)
    question = b"Action: Status\r\nVariables: " + b"A," * 400 + b"\r\n\r\n"
    async with asyncio.timeout(20):
        while pbx.connections > 1:
            writer.write(question * 50)
            await asyncio.sleep(0.001)
    # then it alone is dropped
    assert (await helper.act("Ping"))["Ping"] == "Pong"
    writer.close()
    await helper.close()


async def test_the_start_that_is_told_is_the_same_however_often_it_is_asked(pbx: SimulatedPbx, ami: Ami) -> None:
    told = set()
    for _ in range(12):
        status = await ami.act("CoreStatus")
        told.add((status["CoreStartupDate"], status["CoreStartupTime"]))
        await asyncio.sleep(0.1)  # over a second in all: whole seconds of uptime and of the clock turn at two moments
    assert len(told) == 1


# -- time -----------------------------------------------------------------------------------------------------------


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            return super().select(None)
        if not ready and timeout and timeout > 0:
            self._loop.now += timeout
        return ready


def one_hour(seed: int) -> tuple[list[list[tuple[str, str]]], Sequence[Dialled], float]:
    """An hour of a call every 20 s, answered or not as chance will: all that was said, what was dialled, the clock."""

    async def run() -> tuple[list[list[tuple[str, str]]], Sequence[Dialled], float]:
        pbx = SimulatedPbx(Script(mix=TYPICAL, phones={"agent1": answer(3000)}), seed=seed)
        await pbx.start()
        ami = await login(pbx)
        channel = await agent_waits(ami)
        for number in range(180):
            leg = f"{number:032x}"
            await ami.originate(f"PJSIP/555{number:04}@carrier", "ringfold-contact", leg, timeout_ms=15_000)
            await asyncio.sleep(20)
            if any(leg_.uid == leg for leg_ in pbx.live):
                await bridge(ami, channel, leg)
        said = [m.headers for m in ami.messages]
        dialled = tuple(pbx.originates)
        await ami.close()
        await pbx.stop()
        return said, dialled, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(run())


def test_same_seed_same_hour_in_virtual_time() -> None:
    said, dialled, clock = one_hour(seed=3)
    assert clock > 3600
    assert len(dialled) == 181
    assert {m[1] for headers in said for m in headers if m[0] == "cause"} > {"16", "17", "19"}
    assert one_hour(seed=3)[0] == said
    assert one_hour(seed=4)[0] != said


async def test_time_scale_compresses_calls() -> None:
    # given minutes of ringing and talking, a thousand times faster
    pbx = SimulatedPbx(Script(numbers={"1": Outcome(Kind.ANSWER, 60_000, 60_000)}), time_scale=0.001)
    await pbx.start()
    ami = await login(pbx)
    await ami.originate("PJSIP/1@carrier", "ringfold-contact", CONTACT, timeout_ms=90_000)
    ended = await ami.event("Hangup", CONTACT)
    # then the call went through all of them, and ended in its dialplan's ten seconds of waiting
    assert (ended["ChannelStateDesc"], ended["Cause"]) == ("Up", "16")
    await ami.close()
    await pbx.stop()
