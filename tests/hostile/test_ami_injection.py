"""Whatever a text holds, only what was meant reaches the PBX: judged by the bytes on the wire, and by what it then did.

Where a text goes into an action, each with who writes it:

| action | header | what is put there | who writes it |
|---|---|---|---|
| Originate | Channel | an agent's phone | administrators, by the API |
| Originate | Channel | a contact's number | imports, campaign managers, CRMs, agents who click |
| Originate | Channel | a trunk | the settings |
| Originate | CallerID | a campaign's caller id | campaign managers |
| Originate | Variable | the recording's name, which begins with the campaign's ref | campaign managers' software |
| Setvar | Value | the name of an agent's channel | the PBX |
| Redirect, Hangup, Status, Originate | Channel, ChannelId, Variable | a leg's id | the engine |
| Login | Username, Secret | the settings' | the operator |

The dialplan uses AGENTCHAN as an argument of Bridge and RINGFOLD_RECORDING as one of MixMonitor, whose third is a command line.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.ami.client import AmiLoginRefused
from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from engine.core.telephony import (
    BridgeLegs,
    BridgeRefused,
    HangUp,
    LegObservation,
    OriginateAgent,
    OriginateContact,
    OriginateRejected,
    PbxObservation,
    Settle,
    TelephonyEffect,
)
from simulations.pbx import Script, SimulatedPbx
from simulations.pbx.session import Session
from simulations.pbx.wire import Actions
from tests.adapters.ami.peer import soon
from tests.api.asking import ask
from tests.conftest import TIME_SCALE, ami_of
from tests.service.test_preview import act, take
from tests.world import running, settings_for

LEG, AGENT_LEG, LAST = "1" * 32, "2" * 32, "3" * 32
MARK = "Zzq"
"""In every payload, so that a part of one is found wherever it went."""
PAYLOADS = {
    "cr": f"\rAction: {MARK}",
    "lf": f"\nAction: {MARK}",
    "crlf": f"\r\nAction: {MARK}",
    "end of an action": f"\r\n\r\nAction: Originate\r\nChannel: PJSIP/{MARK}\r\n\r\n",
    "header": f"\r\nVariable: {MARK}=1",
    "nul": f"\0{MARK}",
    "tab": f"\t{MARK}",
    "next line": f"\x85{MARK}",
    "line separator": f"\u2028{MARK}",
    "paragraph separator": f"\u2029{MARK}",
    "vertical tab": f"\x0b{MARK}",
    "lone surrogate": f"\ud80d{MARK}",
    "second channel": f"&PJSIP/{MARK}",
    "comma": f",{MARK}=1",
    "bar": f"|{MARK}",
    "expression": f"${{{MARK}}}",
    "function": f",SHELL({MARK})=1",
    "arithmetic": f"$[{MARK}]",
    "bracket": f"){MARK}",
    "caret": f"^{MARK}",
    "semicolon": f";{MARK}",
    "backslash": f"\\{MARK}",
    "quote": f'"{MARK}',
    "apostrophe": f"'{MARK}",
    "backtick": f"`{MARK}`",
    "path": f"/../{MARK}",
    "other host": f"@{MARK}",
    "option": f"/n/{MARK}",
    "angle": f"<{MARK}>",
    "colon": f": {MARK}",
    "equals": f"={MARK}",
    "percent": f"%0d%0a{MARK}",
    "arabic digits": f"\u0661\u0662{MARK}",
    "full-width digits": f"\uff11{MARK}",
    "right to left": f"\u202e{MARK}",
    "very long": MARK * 700,
    "longer than a message": MARK * 400_000,
}

CONTACT = OriginateContact(
    leg=LEG,
    trunk="carrier",
    number="15550001",
    ring_timeout_ms=30_000,
    caller_id="Ringfold <+15550000>",
    recording=f"spring/2026-03-07/{LEG}.wav",
)
AGENT = OriginateAgent(leg=LEG, phone="agent1", ring_timeout_ms=20_000, caller_id="15550000")
BRIDGE = BridgeLegs(leg=LEG, agent_leg=AGENT_LEG, agent_channel="PJSIP/agent1-0000002a")
PLACES: dict[str, tuple[TelephonyEffect, str]] = {
    "number": (CONTACT, "number"),
    "trunk": (CONTACT, "trunk"),
    "contact's caller id": (CONTACT, "caller_id"),
    "recording": (CONTACT, "recording"),
    "contact's leg": (CONTACT, "leg"),
    "phone": (AGENT, "phone"),
    "agent's caller id": (AGENT, "caller_id"),
    "agent's leg": (AGENT, "leg"),
    "agent's channel": (BRIDGE, "agent_channel"),
    "leg to bridge": (BRIDGE, "leg"),
    "leg to hang up": (HangUp(leg=LEG), "leg"),
    "leg to ask after": (Settle(leg=LEG, delay_ms=0), "leg"),
}
OWN = {"login", "corestatus", "status", "ping"}
"""What the adapter asks by itself, too."""
PART_OF_A_CHANNELS_NAME = {("agent's channel", "semicolon"), ("agent's channel", "other host")}
"""Real channels have such names (`Local/1@there-0001;2`), and no argument of the dialplan ends there."""


class Tapped(SimulatedPbx):
    """The simulated PBX, with every byte that is sent to it."""

    def __init__(self) -> None:
        super().__init__(Script(), seed=1, time_scale=TIME_SCALE, login_penalty_ms=0)
        self.sent = b""

    def session(self) -> Session:
        session = super().session()
        take = session.data_received

        def data_received(data: bytes) -> None:
            self.sent += data
            take(data)

        session.data_received = data_received  # type: ignore[method-assign]
        return session

    @property
    def asked(self) -> list[list[tuple[str, str]]]:
        """Sorted headers of each action as the PBX reads them, but for those that are asked of themselves."""
        actions = [action for action in Actions().feed(self.sent) if action.name not in OWN]
        return [sorted(action.rest("actionid")) for action in actions]

    @property
    def asked_after(self) -> set[str]:
        """The channels whose status was asked; "" where all were."""
        return {action["channel"] for action in Actions().feed(self.sent) if action.name == "status"}


@pytest.fixture
async def tapped() -> AsyncIterator[Tapped]:
    pbx = Tapped()
    await pbx.start()
    yield pbx
    await pbx.stop()


def spliced(value: str, payload: str) -> tuple[str, ...]:
    middle = len(value) // 2
    return payload, payload + value, value[:middle] + payload + value[middle:], value + payload


def dialled(effect: OriginateContact) -> list[tuple[str, str]]:
    """The originate of a contact, header by header, written down here by hand."""
    recording = effect.recording.removesuffix(".wav")
    headers = [
        ("action", "Originate"),
        ("channel", f"PJSIP/{effect.number}@{effect.trunk}"),
        ("channelid", effect.leg),
        ("async", "true"),
        ("context", "ringfold-contact"),
        ("exten", "s"),
        ("priority", "1"),
        ("timeout", "30000"),
        ("variable", f"__CALL_UUID={effect.leg},RINGFOLD_RECORDING={recording}"),
        ("callerid", effect.caller_id),
    ]
    return sorted(headers)


def bridged(effect: BridgeLegs) -> list[list[tuple[str, str]]]:
    leg = ("channel", effect.leg)
    setvar = [("action", "Setvar"), leg, ("variable", "AGENTCHAN"), ("value", effect.agent_channel)]
    redirect = [("action", "Redirect"), leg, ("context", "ringfold-bridge"), ("exten", "s"), ("priority", "1")]
    return [sorted(setvar), sorted(redirect)]


@pytest.mark.parametrize("place", PLACES)
async def test_no_text_in_any_place_of_an_action_becomes_more_than_was_meant(tapped: Tapped, place: str) -> None:
    effect, field = PLACES[place]
    last = msgspec.structs.replace(CONTACT, leg=LAST)
    heard: list[LegObservation | PbxObservation] = []
    meant: list[list[tuple[str, str]]] = []
    tried = 0
    settings = AmiSettings(
        port=tapped.port, username=tapped.username, secret=tapped.secret, max_originates_per_second=10_000
    )
    telephony = AmiTelephony(settings)
    await telephony.start(heard.append)
    try:
        for name, payload in PAYLOADS.items():
            for value in spliced(getattr(effect, field), payload):
                telephony.perform(msgspec.structs.replace(effect, **{field: value}))
                tried += 1
                if (place, name) in PART_OF_A_CHANNELS_NAME and value.startswith("PJSIP/"):
                    meant += bridged(msgspec.structs.replace(BRIDGE, agent_channel=value))
            await asyncio.sleep(0)
        telephony.perform(last)
        await soon(lambda: [one.leg for one in tapped.originates] == [LAST])
    finally:
        await telephony.stop()

    assert tapped.asked == [*meant, dialled(last)]
    assert tapped.asked_after <= {"", LEG}
    assert meant or MARK.encode() not in tapped.sent
    assert [function for _, function, _ in tapped.function_writes] == []
    told = [one for one in heard if isinstance(one, OriginateRejected | BridgeRefused)]
    if isinstance(effect, OriginateContact | OriginateAgent | BridgeLegs):
        assert len(told) >= tried - len(meant) // 2  # each that wasn't sent is told of
    assert MARK not in "".join(one.reason for one in told if isinstance(one, OriginateRejected))


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("field", ["username", "secret"])
async def test_a_login_is_one_action_whatever_its_name_and_secret_hold(tapped: Tapped, field: str, name: str) -> None:
    value = f"a{PAYLOADS[name]}"
    right = AmiSettings(port=tapped.port, username=tapped.username, secret=tapped.secret)
    telephony = AmiTelephony(msgspec.structs.replace(right, **{field: value}))

    with pytest.raises(AmiLoginRefused) as refused:
        await telephony.start(lambda _: None)
    await telephony.stop()

    actions = list(Actions().feed(tapped.sent))
    assert [(one.name, one[field], len(one.rest())) for one in actions] in ([], [("login", value, 5)])
    assert field == "username" or MARK not in str(refused.value)


TEXTS = {name: payload for name, payload in PAYLOADS.items() if len(payload) < 5_000}
"""Those that fit into a request beside others."""


CALLED = 8
"""Contacts."""


def writings(name: str, payload: str) -> Iterator[tuple[str, str, Any]]:
    """One request for each text that the API takes and that comes near a call."""
    spring = "/v1/campaigns/spring"
    contact = {"ref": "spring:1", "numbers": ["25550001"]}
    yield "PUT", "/v1/agents/agent1", {"name": f"One{payload}", "phone": "agent1"}
    yield "PUT", "/v1/agents/agent2", {"name": "Two", "phone": f"agent2{payload}"}
    yield "PATCH", spring, {"name": f"Spring{payload}"}
    yield "PATCH", spring, {"settings": {"caller_id": f"15550000{payload}"}}
    yield "POST", f"{spring}/contacts", [{**contact, "ref": f"2{payload}"}]
    yield "POST", f"{spring}/contacts", [{**contact, "ref": "bad-number", "numbers": [f"25550001{payload}"]}]
    for field, value in (("name", f"Zoe{payload}"), ("data", {f"k{payload}": payload}), ("tags", [f"vip{payload}"])):
        yield "POST", f"{spring}/contacts", [{**contact, "ref": f"{field}-{name.replace(' ', '-')}", field: value}]


async def test_what_people_write_by_the_api_is_refused_or_stays_off_the_wire(tapped: Tapped, tmp_path: Path) -> None:
    """Names, references, fields, numbers, phones, caller ids; then some who were taken with such a text are called."""
    async with running(settings_for(tmp_path, ami_of(tapped))) as world:
        await world.campaign("spring", [["25550001"]])
        for name, payload in TEXTS.items():
            for method, path, body in writings(name, payload):
                answer = await ask(world, method, path, body)
                assert answer.status < 500, (name, method, path, answer.raw)
        shown = await world.manager.call("GET", "/v1/campaigns/spring/contacts?limit=500")
        assert sum(MARK in str(one) for one in shown["contacts"]) > CALLED
        await world.run("spring")
        agent = world.agent("agent1")
        for _ in range(CALLED):
            held = await take(agent)
            call = (await act(agent, held, "dial"))["call_id"]
            await world.told("spring", "call.ended", call=call)
            await act(agent, held, "disposition", disposition="no_contact")

    assert len([one for one in tapped.originates if one.number]) == CALLED
    assert {one.number for one in tapped.originates} == {"", "25550001"}
    assert MARK.encode() not in tapped.sent
