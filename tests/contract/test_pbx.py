"""What Ringfold relies on in a PBX, asked of the simulated one and of a real Asterisk, by bare AMI.

Numbers and phones are those of tests/simulations/flows.py.
"""

import asyncio
import contextlib
import struct
import time
import uuid
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from simulations.asterisk import Asterisk, NotInstallable, Site
from simulations.pbx import SimulatedPbx, User
from tests.simulations.ami import Ami, Message
from tests.simulations.flows import agent_waits, bridge, contact_answers, hang_up, returned

REJOINED_WITHIN_S = 2.0
QUIET_S = 0.3
"""How long a test listens for what must not come."""


class Address(msgspec.Struct, frozen=True):
    port: int
    username: str
    secret: str
    recordings: Path
    trunk: str = "carrier"


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[Address]:
    user = User()
    pbx = SimulatedPbx(seed=11, users=[user], monitor=tmp_path)
    yield Address(await pbx.start(), user.name, user.secret, tmp_path / "ringfold")
    await pbx.stop()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asterisk]:
    """A real Asterisk with its carrier and phones, for all tests of this file."""
    try:
        site = Site(tmp_path_factory.mktemp("site"), agents=2)
    except NotInstallable as why:
        pytest.skip(f"no real Asterisk here: {why}")
    asyncio.run(site.start())  # its processes belong to no loop
    yield site.asterisk
    asyncio.run(site.stop())


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.asterisk)])
def address(request: pytest.FixtureRequest, simulated: Address) -> Address:
    if request.param == "simulated":
        return simulated
    real: Asterisk = request.getfixturevalue("real")
    return Address(real.ami_port, real.username, real.secret, real.recordings_path, real.trunk)


@pytest.fixture
async def ami(address: Address) -> AsyncIterator[Ami]:
    ami = await Ami.login(address.port, address.username, address.secret)
    yield ami
    # the real one lives on: leave no call behind
    for leg in {m["Uniqueid"] for m in ami.messages if m["Event"] == "Newchannel"}:
        await ami.act("Hangup", Channel=leg, Cause=16)
    await ami.close()


@pytest.fixture
def agent() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def contact() -> str:
    return uuid.uuid4().hex


async def originate_response(ami: Ami, leg: str) -> Message:
    return await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == leg)


async def hangup(ami: Ami, leg: str) -> Message:
    return await ami.event("Hangup", leg)


# -- the connection -------------------------------------------------------------------------------------------------


async def test_banner_comes_first(address: Address) -> None:
    ami = await Ami.connect(address.port)
    await ami.act("Ping")
    assert ami.banner.startswith("Asterisk Call Manager/")
    await ami.close()


@pytest.mark.parametrize("username", ["known", "unknown"])
async def test_refused_login_is_answered_late_and_closed(address: Address, username: str) -> None:
    # given a wrong secret, or a user that doesn't exist
    ami = await Ami.connect(address.port)
    name = address.username if username == "known" else "nobody"
    started = time.monotonic()
    response = await ami.act("Login", Username=name, Secret="wrong")
    # then both are told the same, no sooner than after a second, and the connection ends
    assert (response["Response"], response["Message"]) == ("Error", "Authentication failed")
    assert time.monotonic() - started > 0.9
    await ami.until_closed()
    await ami.close()


async def test_nothing_is_done_before_login(address: Address) -> None:
    ami = await Ami.connect(address.port)
    response = await ami.act("Hangup", Channel="x")
    assert (response["Response"], response["Message"]) == ("Error", "Permission denied")
    await ami.close()


async def test_login_tells_uptime(ami: Ami) -> None:
    booted = await ami.until(lambda m: m["Event"] == "FullyBooted")
    assert int(booted["Uptime"]) >= 0


async def test_ping(ami: Ami) -> None:
    response = await ami.act("Ping")
    assert (response["Response"], response["Ping"]) == ("Success", "Pong")


async def test_unknown_and_forbidden_actions(ami: Ami) -> None:
    assert (await ami.act("Nonsense"))["Message"].startswith("Invalid/unknown command: Nonsense")
    # a user that could run commands would own the machine
    assert (await ami.act("Command", Command="core show version"))["Response"] == "Error"


async def test_action_limits(ami: Ami) -> None:
    too_long = await ami.act("Ping", X="y" * 1021)
    assert too_long["Message"] == "Failed to parse message: line too long"
    assert (await ami.act("Ping", X="y" * 1019))["Ping"] == "Pong"
    too_many = await ami.act("Ping", **{f"X{i}": "y" for i in range(127)})
    assert too_many["Message"].startswith("Too many lines in message")
    assert (await ami.act("Ping", **{f"X{i}": "y" for i in range(126)}))["Ping"] == "Pong"


async def test_line_ends(ami: Ami) -> None:
    # a bare line feed ends a line, a bare carriage return doesn't, and an empty action is answered without an id
    ami.write(b"Action: Ping\nActionID: bare\n\n")
    ami.write(b"Action: Ping\r\nActionID: in\rside\r\n\r\n")
    ami.write(b"\r\nAction: Ping\r\nActionID: last\r\n\r\n")
    await ami.until(lambda m: m["ActionID"] == "last")
    assert [m["ActionID"] for m in ami.messages if "ping" in m] == ["bare", "in\rside", "last"]
    assert any(m["Message"] == "Missing action in request" and "actionid" not in m for m in ami.messages)


# -- originate ------------------------------------------------------------------------------------------------------


async def test_originate_to_unknown_endpoint(ami: Ami, agent: str) -> None:
    # when an endpoint is called that doesn't exist
    response = await ami.originate("PJSIP/nosuch", "ringfold-agent", agent)
    failed = await originate_response(ami, agent)
    await asyncio.sleep(QUIET_S)
    # then the action is accepted, and its failure is all that is ever said of the leg
    assert response["Message"] == "Originate successfully queued"
    assert (failed["Response"], failed["Reason"]) == ("Failure", "0")
    assert ami.names(agent) == ["OriginateResponse"]


async def test_originate_to_bad_context_is_refused_at_once(ami: Ami, agent: str) -> None:
    response = await ami.originate("PJSIP/agent1", "no-such-context", agent)
    await asyncio.sleep(QUIET_S)
    assert (response["Response"], response["Message"]) == ("Error", "Extension does not exist.")
    assert ami.names(agent) == []


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Channel": "noslash"}, "Invalid channel"),
        ({"Timeout": "soon"}, "Invalid timeout"),
        ({"Priority": "first"}, "Invalid priority"),
        ({"Exten": "nowhere"}, "Extension does not exist."),
        ({"ChannelId": "x" * 150}, "Uniqueid length exceeds maximum of 149"),
        ({"Application": "System"}, "Originate Access Forbidden: app or data blacklisted"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_malformed_originate(ami: Ami, agent: str, headers: dict[str, str], message: str) -> None:
    response = await ami.originate("PJSIP/agent1", "ringfold-agent", agent, more=headers)
    assert (response["Response"], response["Message"]) == ("Error", message)


@pytest.mark.parametrize("taken_as", ["same", "upper case", "prefix"])
async def test_duplicate_channel_id_is_never_dialled(ami: Ami, agent: str, taken_as: str) -> None:
    # given a living leg
    await agent_waits(ami, leg=agent)
    # when another is originated with its id, or one that the PBX takes for it
    again = {"same": agent, "upper case": agent.upper(), "prefix": agent[:8]}[taken_as]
    heard = len(ami.messages)
    action = await ami.originate("PJSIP/agent2", "ringfold-agent", again)
    failed = await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["ActionID"] == action["ActionID"])
    await asyncio.sleep(QUIET_S)
    # then it fails without a channel, and the first lives on
    assert (failed["Response"], failed["Reason"], failed["Uniqueid"]) == ("Failure", "0", again)
    assert not [m for m in ami.messages[heard:] if m["Event"] == "Newchannel"]
    assert (await ami.act("Status", Channel=agent))["Response"] == "Success"


@pytest.mark.parametrize(
    ("digit", "cause", "sip_code"), [("2", 17, 486), ("4", 34, 503), ("5", 1, 404), ("7", 21, 603), ("9", 19, 480)]
)
async def test_refused_contact(ami: Ami, address: Address, contact: str, digit: str, cause: int, sip_code: int) -> None:
    # when a number is called whose far end refuses
    await ami.originate(f"PJSIP/{digit}5551234@{address.trunk}", "ringfold-contact", contact)
    ended = await hangup(ami, contact)
    failed = await originate_response(ami, contact)
    # then only the hang-up tells why; the originate's reason doesn't
    assert int(ended["Cause"]) == cause
    assert ended["TechCause"] in {str(sip_code), ""}  # "" from Asterisk 16
    assert ended["ChannelStateDesc"] != "Up"
    assert (failed["Response"], failed["Reason"]) == ("Failure", "0")
    request = await ami.event("HangupRequest", contact)
    assert request["Cause"] == str(cause)


async def test_originate_times_out(ami: Ami, address: Address, contact: str) -> None:
    await ami.originate(f"PJSIP/35551234@{address.trunk}", "ringfold-contact", contact, timeout_ms=700)
    ended = await hangup(ami, contact)
    failed = await originate_response(ami, contact)
    assert ended["Cause"] in {"19", "0"}  # 0 from Asterisk 16
    assert ended["ChannelStateDesc"] == "Ringing"
    assert (failed["Response"], failed["Reason"]) == ("Failure", "3")
    # nobody hung up: the PBX gave up by itself
    assert "HangupRequest" not in ami.names(contact)


async def test_cancel_while_ringing(ami: Ami, address: Address, contact: str) -> None:
    await ami.originate(f"PJSIP/35551234@{address.trunk}", "ringfold-contact", contact)
    await ami.event("Newstate", contact, ChannelStateDesc="Ringing")
    assert (await ami.act("Hangup", Channel=contact, Cause=16))["Message"] == "Channel Hungup"
    ended = await hangup(ami, contact)
    assert (ended["Cause"], ended["ChannelStateDesc"]) == ("16", "Ringing")
    assert (await originate_response(ami, contact))["Response"] == "Failure"


async def test_comma_in_variable_makes_more_variables_and_runs_functions(
    ami: Ami, address: Address, contact: str
) -> None:
    # when a value that nobody checked reaches the Variable header
    await ami.originate(
        f"PJSIP/15551234@{address.trunk}",
        "ringfold-contact",
        contact,
        more={"Variable": f"__CALL_UUID={contact},NOTE=Bob,CALLERID(num)=999,WITHOUT"},
    )
    await ami.event("UserEvent", contact)
    # then what stands behind the comma is a variable of its own, and a function's name is executed
    assert (await ami.act("Getvar", Channel=contact, Variable="NOTE"))["Value"] == "Bob"
    assert (await ami.act("Getvar", Channel=contact, Variable="CALLERID(num)"))["Value"] == "999"
    assert (await ami.act("Getvar", Channel=contact, Variable="WITHOUT"))["Value"] == ""
    # whereas Setvar takes a value as it is
    await ami.act("Setvar", Channel=contact, Variable="NOTE", Value="Ann,CALLERID(num)=1")
    assert (await ami.act("Getvar", Channel=contact, Variable="NOTE"))["Value"] == "Ann,CALLERID(num)=1"
    assert (await ami.act("Getvar", Channel=contact, Variable="CALLERID(num)"))["Value"] == "999"


# -- a conversation -------------------------------------------------------------------------------------------------


async def test_answered_bridged_and_contact_hangs_up(ami: Ami, address: Address, agent: str, contact: str) -> None:
    # given an agent who waits, and a contact who answers and will hang up after a second
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, "65551234", contact, address.trunk)
    # when they are joined
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    ended = await hangup(ami, contact)
    await returned(ami, leg=agent)
    # then the contact's leg went through all of it in this order
    wanted = {"Newchannel", "UserEvent", "BridgeEnter", "BridgeLeave", "HangupRequest", "Hangup"}
    assert [name for name in ami.names(contact) if name in wanted] == [
        "Newchannel",
        "UserEvent",
        "BridgeEnter",
        "HangupRequest",
        "BridgeLeave",
        "Hangup",
    ]
    assert (ended["Cause"], ended["ChannelStateDesc"]) == ("16", "Up")
    # and the agent's leg is back in the holding bridge
    status = await ami.act("Status", Channel=agent)
    assert status["Response"] == "Success"
    assert "Hangup" not in ami.names(agent)


async def test_leg_is_ready_with_its_id_and_channel_name(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    for leg, prefix in ((agent, "PJSIP/agent1-"), (contact, f"PJSIP/{address.trunk}-")):
        ready = await ami.event("UserEvent", leg, UserEvent="RingfoldReady")
        assert ready["Leg"] == leg
        assert ready["Channel"].startswith(prefix)
        assert f"CALL_UUID={leg}" in ready.all("ChanVariable")
    assert (await ami.event("UserEvent", agent))["Channel"] == channel
    succeeded = await originate_response(ami, contact)
    assert (succeeded["Response"], succeeded["Reason"]) == ("Success", "4")


async def test_contact_hangs_up_before_bridge(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, "65551234", contact, address.trunk)
    ended = await hangup(ami, contact)
    assert ended["ChannelStateDesc"] == "Up"
    assert "HangupRequest" in ami.names(contact)
    # when the engine comes too late
    setvar = await ami.act("Setvar", Channel=contact, Variable="AGENTCHAN", Value=channel)
    redirect = await ami.act("Redirect", Channel=contact, Context="ringfold-bridge", Exten="s", Priority=1)
    assert setvar["Message"] == "No such channel"
    assert redirect["Message"] == f"Channel does not exist: {contact}"


async def test_agent_hangs_up_in_conversation(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, "agent_hangs", agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    # then the agent's party asked for it, and the contact's leg ends too, without having asked
    assert (await hangup(ami, agent))["Cause"] == "16"
    assert (await hangup(ami, contact))["Cause"] == "16"
    assert "HangupRequest" in ami.names(agent)
    assert "HangupRequest" not in ami.names(contact)
    left = await ami.event("UserEvent", contact, UserEvent="RingfoldBridge")
    assert left["Result"] == "SUCCESS"


async def test_agent_gone_before_redirect(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await hang_up(ami, agent)
    # when the contact is sent to an agent who is no more
    await bridge(ami, channel, contact)
    refused = await ami.event("UserEvent", contact, UserEvent="RingfoldBridge")
    # then the dialplan says so, and ends the leg
    assert (refused["Result"], refused["Leg"]) == ("NONEXISTENT", contact)
    assert (await hangup(ami, contact))["Cause"] == "16"
    assert "BridgeEnter" not in ami.names(contact)


async def test_engine_hangs_up_conversation(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    await hang_up(ami, contact)
    await returned(ami, leg=agent)
    assert "HangupRequest" not in ami.names(contact)
    assert "RingfoldBridge" not in [m["UserEvent"] for m in ami.messages if m.leg == contact]


async def test_second_contact_takes_the_agent_from_the_first(
    ami: Ami, address: Address, agent: str, contact: str
) -> None:
    # given a conversation
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    # when by mistake another contact is joined to that agent
    other = uuid.uuid4().hex
    await contact_answers(ami, leg=other, trunk=address.trunk)
    await bridge(ami, channel, other)
    # then the PBX obeys: the first contact is dropped
    await ami.event("BridgeEnter", other)
    assert (await hangup(ami, contact))["Cause"] == "16"


async def test_linkedid_is_not_a_call_id(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await bridge(ami, channel, contact)
    entered = await ami.event("BridgeEnter", contact)
    assert (entered["Uniqueid"], entered["Linkedid"]) == (contact, agent)


# -- recording ------------------------------------------------------------------------------------------------------


async def recorded_contact_answers(ami: Ami, address: Address, contact: str, name: str) -> None:
    variables = {"Variable": f"__CALL_UUID={contact},RINGFOLD_RECORDING={name}"}
    await ami.originate(f"PJSIP/15551234@{address.trunk}", "ringfold-contact", contact, more=variables)
    await ami.event("UserEvent", contact, UserEvent="RingfoldReady")


def recordings_told(ami: Ami, contact: str) -> list[str]:
    return [m["Result"] for m in ami.messages if m.leg == contact and m["UserEvent"] == "RingfoldRecording"]


async def length_s(path: Path) -> float:
    """How long a recording is, once it is closed: its header tells its length. Silent far ends may leave it empty."""
    async with asyncio.timeout(5):
        while not path.exists() or path.read_bytes()[4:8] != struct.pack("<I", path.stat().st_size - 8):
            await asyncio.sleep(0.02)
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


async def test_recording_begins_before_the_bridge_and_ends_with_the_call(
    ami: Ami, address: Address, agent: str, contact: str
) -> None:
    # given a contact who is to be recorded, and an agent
    channel = await agent_waits(ami, leg=agent)
    await recorded_contact_answers(ami, address, contact, f"summer/2026-03-07/{contact}")
    path = address.recordings / "summer" / "2026-03-07" / f"{contact}.wav"
    assert not path.exists()
    # when they are joined for a second
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    await asyncio.sleep(1)
    await hang_up(ami, contact)
    # then it was told before the first word, and the file holds what was talked
    wanted = [m for m in ami.messages if m.leg == contact and m["Event"] in {"UserEvent", "BridgeEnter"}]
    assert [m["UserEvent"] or m["Event"] for m in wanted] == ["RingfoldReady", "RingfoldRecording", "BridgeEnter"]
    assert (wanted[1]["Result"], wanted[1]["Leg"]) == ("STARTED", contact)
    assert await length_s(path) < 5


async def test_a_contact_who_is_not_to_be_recorded_is_not(ami: Ami, address: Address, agent: str, contact: str) -> None:
    before = set(address.recordings.rglob("*.wav"))
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    await hang_up(ami, contact)
    assert recordings_told(ami, contact) == []
    assert set(address.recordings.rglob("*.wav")) == before


async def test_a_contact_who_is_joined_twice_is_not_recorded_over(
    ami: Ami, address: Address, agent: str, contact: str
) -> None:
    channel = await agent_waits(ami, leg=agent)
    await recorded_contact_answers(ami, address, contact, f"summer/2026-03-07/{contact}")
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    # when the engine says it again
    await bridge(ami, channel, contact)
    # then, whether the agent is back in time to be joined anew or the PBX refuses, no second recording begins
    with contextlib.suppress(TimeoutError):
        await ami.until(lambda _: ami.names(contact).count("BridgeEnter") == 2, limit_s=REJOINED_WITHIN_S)
    assert recordings_told(ami, contact) == ["STARTED"]


@pytest.mark.parametrize(
    ("name", "file"), [("../../a.b/c", "ab/c"), ("x,r(y.wav),z", "xrywavz"), ("v;w|$u", "vwu")], ids=str
)
async def test_whatever_a_recording_is_called_it_stays_in_its_folder(
    ami: Ami, address: Address, agent: str, contact: str, name: str, file: str
) -> None:
    # when a name that nobody checked reaches the channel
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)
    await ami.act("Setvar", Channel=contact, Variable="RINGFOLD_RECORDING", Value=name)
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    await asyncio.sleep(QUIET_S)
    await hang_up(ami, contact)
    # then it is no further argument, and no way out
    assert recordings_told(ami, contact) == ["STARTED"]
    assert await length_s(address.recordings / f"{file}.wav") < 5


# -- questions and commands about channels --------------------------------------------------------------------------


async def test_unknown_channel(ami: Ami, contact: str) -> None:
    assert (await ami.act("Hangup", Channel=contact, Cause=16))["Message"] == "No such channel"
    assert (await ami.act("Status", Channel=contact))["Message"] == "No such channel"
    assert (await ami.act("Getvar", Channel=contact, Variable="X"))["Message"] == "No such channel"
    response = await ami.act("Bridge", Channel1=contact, Channel2=contact)
    assert response["Message"] == f"Channel1 does not exist: {contact}"


async def test_status_of_nothing(ami: Ami) -> None:
    response = await ami.act("Status", Variables="CALL_UUID")
    complete = await ami.until(lambda m: m["Event"] == "StatusComplete")
    # an empty list here is a list, not an error
    assert (response["Response"], response["EventList"]) == ("Success", "start")
    assert (complete["EventList"], complete["ListItems"]) == ("Complete", "0")


async def test_status_tells_where_a_leg_stands(ami: Ami, address: Address, agent: str, contact: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await contact_answers(ami, leg=contact, trunk=address.trunk)

    async def status(leg: str) -> Message:
        action = await ami.act("Status", Channel=leg, Variables="CALL_UUID")
        complete = await ami.until(lambda m: m["Event"] == "StatusComplete" and m["ActionID"] == action["ActionID"])
        assert complete["ListItems"] == "1"
        return await ami.until(lambda m: m["Event"] == "Status" and m["ActionID"] == action["ActionID"])

    # given an agent who waits and a contact who waits
    waiting, parked = await status(agent), await status(contact)
    assert (waiting["Application"], waiting["Context"]) == ("BridgeWait", "ringfold-agent")
    assert (parked["Application"], parked["Context"], parked["BridgeID"]) == ("Wait", "ringfold-contact", "")
    assert "CALL_UUID=" + contact in parked.all("Variable")
    assert (parked["ChannelStateDesc"], parked["Uniqueid"]) == ("Up", contact)
    # when they are joined
    await bridge(ami, channel, contact)
    await ami.event("BridgeEnter", contact)
    # then both show the same bridge
    joined, holder = await status(contact), await status(agent)
    assert joined["BridgeID"] == holder["BridgeID"] != waiting["BridgeID"]
    assert (joined["Application"], joined["Context"]) == ("Bridge", "ringfold-bridge")


async def test_core_show_channels_lists_what_lives(ami: Ami, agent: str) -> None:
    await agent_waits(ami, leg=agent)
    action = await ami.act("CoreShowChannels")
    await ami.until(lambda m: m["Event"] == "CoreShowChannelsComplete" and m["ActionID"] == action["ActionID"])
    shown = [m for m in ami.messages if m["Event"] == "CoreShowChannel" and m["Uniqueid"] == agent]
    assert len(shown) == 1
    assert shown[0]["BridgeId"]


async def test_channel_is_named_by_name_or_id(ami: Ami, agent: str) -> None:
    channel = await agent_waits(ami, leg=agent)
    await ami.act("Setvar", Channel=channel, Variable="NOTE", Value="by name")
    assert (await ami.act("Getvar", Channel=agent, Variable="NOTE"))["Value"] == "by name"


async def test_hangup_twice(ami: Ami, agent: str) -> None:
    await agent_waits(ami, leg=agent)
    await hang_up(ami, agent)
    assert (await ami.act("Hangup", Channel=agent, Cause=16))["Message"] == "No such channel"
    assert ami.names(agent).count("Hangup") == 1
