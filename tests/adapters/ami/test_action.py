"""Nothing that a contact, a CRM or a configuration contains can become more than one value of one header."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ami import action
from adapters.ami.action import FieldRefused
from adapters.ami.settings import HEADER_LINE_MAX_BYTES
from engine.core.telephony import BridgeLegs, HangUp, OriginateAgent, OriginateContact

LEG = "0123456789abcdef" * 2
INJECTIONS = [
    "",
    "1",
    "15551\r\nAction: Command",
    "15551\n",
    "15551\nVariable: X=1",
    "15551,1,G(evil^s^1)",
    "15551@carrier&Local/77@evil/n",
    "${SHELL(id)}",
    "15551;x",
    "+",
    "١٢٣٤٥",
    "15551 ",
    "1" * 21,
    "15551\0",
]


def contact(
    leg: str = LEG, trunk: str = "carrier", number: str = "+15551234", ms: int = 30_000, caller_id: str = ""
) -> OriginateContact:
    return OriginateContact(leg=leg, trunk=trunk, number=number, ring_timeout_ms=ms, caller_id=caller_id)


def test_a_contact_is_originated_straight_over_the_trunk_under_its_own_id() -> None:
    assert action.originate(contact(caller_id="Ringfold <+15550000>")) == {
        "Action": "Originate",
        "Channel": "PJSIP/+15551234@carrier",
        "ChannelId": LEG,
        "Async": "true",
        "Context": "ringfold-contact",
        "Exten": "s",
        "Priority": "1",
        "Timeout": "30000",
        "Variable": f"__CALL_UUID={LEG}",
        "CallerID": "Ringfold <+15550000>",
    }


def test_a_recordings_name_goes_with_the_originate_without_its_suffix() -> None:
    effect = msgspec.structs.replace(contact(), recording=f"summer-24/2026-03-07/{LEG}.wav")

    asked = action.originate(effect)

    assert asked["Variable"] == f"__CALL_UUID={LEG},RINGFOLD_RECORDING=summer-24/2026-03-07/{LEG}"


@pytest.mark.parametrize(
    "name",
    [
        f"../2026-03-07/{LEG}.wav",
        f"a.b/2026-03-07/{LEG}.wav",
        f"/a/2026-03-07/{LEG}.wav",
        f"a,b=c/2026-03-07/{LEG}.wav",
        f"${{X}}/2026-03-07/{LEG}.wav",
        f"a/2026-03-07/{LEG}.wav\n",
        f"a/2026-03-07/{LEG}",
        f"a/2026-03-07/{LEG}.wav,,reboot",
        f"{'a' * 101}/2026-03-07/{LEG}.wav",
    ],
)
def test_a_recordings_name_of_another_form_never_reaches_the_pbx(name: str) -> None:
    with pytest.raises(FieldRefused, match="recording"):
        action.originate(msgspec.structs.replace(contact(), recording=name))


def test_an_agent_is_rung_at_the_phone() -> None:
    asked = action.originate(OriginateAgent(leg=LEG, phone="agent-1", ring_timeout_ms=20_000, caller_id=""))

    assert (asked["Channel"], asked["Context"]) == ("PJSIP/agent-1", "ringfold-agent")
    assert "CallerID" not in asked


def test_bridging_sets_the_agents_channel_before_it_redirects() -> None:
    setvar, redirect = action.bridge(BridgeLegs(leg=LEG, agent_leg="f" * 32, agent_channel="PJSIP/agent1-0000002a"))

    assert setvar == {"Action": "Setvar", "Channel": LEG, "Variable": "AGENTCHAN", "Value": "PJSIP/agent1-0000002a"}
    assert (redirect["Action"], redirect["Channel"], redirect["Context"]) == ("Redirect", LEG, "ringfold-bridge")


@pytest.mark.parametrize("number", INJECTIONS)
def test_a_number_that_is_more_than_digits_is_refused(number: str) -> None:
    with pytest.raises(FieldRefused, match="number"):
        action.originate(contact(number=number))


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "a&b", "a\nb", "a" * 65, "a,b"])
def test_a_trunk_or_phone_that_is_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(FieldRefused, match="trunk"):
        action.originate(contact(trunk=name))
    with pytest.raises(FieldRefused, match="phone"):
        action.originate(OriginateAgent(leg=LEG, phone=name, ring_timeout_ms=1, caller_id=""))


@pytest.mark.parametrize("caller_id", ['"a" <1234>', "a <1;2>", "<1234>", "a\r\nb <1234>", "Bob,FILE(x)=y <1234>", "x"])
def test_a_caller_id_is_a_number_with_at_most_a_plain_name(caller_id: str) -> None:
    with pytest.raises(FieldRefused, match="caller_id"):
        action.originate(contact(caller_id=caller_id))


@pytest.mark.parametrize("leg", ["", "A" * 32, "a" * 31, "a" * 33, "a" * 31 + "\n", "a" * 31 + "/"])
def test_only_our_ids_name_a_leg(leg: str) -> None:
    for build in (
        lambda: action.originate(contact(leg=leg)),
        lambda: action.hang_up(HangUp(leg)),
        lambda: action.status(leg),
        lambda: action.bridge(BridgeLegs(leg=leg, agent_leg=LEG, agent_channel="PJSIP/a-1")),
    ):
        with pytest.raises(FieldRefused, match="leg"):
            build()


@pytest.mark.parametrize("ms", [0, -1, 600_001])
def test_ring_time_is_bounded(ms: int) -> None:
    with pytest.raises(FieldRefused, match="ring_timeout_ms"):
        action.originate(contact(ms=ms))


@pytest.mark.parametrize("channel", ["", "PJSIP", "PJSIP/a,x", "PJSIP/a b", "PJSIP/a\r\n", "Local/1@x/n", "PJSIP/${X}"])
def test_an_agent_channel_is_a_channel_name(channel: str) -> None:
    with pytest.raises(FieldRefused, match="agent_channel"):
        action.bridge(BridgeLegs(leg=LEG, agent_leg=LEG, agent_channel=channel))


@given(st.text(), st.text(), st.text(), st.text())
def test_whatever_the_values_an_accepted_originate_has_no_room_for_a_second_header(
    number: str, trunk: str, leg: str, caller_id: str
) -> None:
    try:
        asked = action.originate(contact(leg=leg, trunk=trunk, number=number, caller_id=caller_id))
    except FieldRefused:
        return
    action.check_lines(tuple(asked.items()))
    assert not any(char in value for value in asked.values() for char in "\r\n\0,&$")


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "a\x85b", "a\u2028b", "a\x1bb"])
def test_the_last_gate_refuses_control_characters_and_never_shows_the_value(value: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        action.check_lines((("Value", value),))
    assert value not in str(refused.value)


def test_the_last_gate_refuses_lines_the_pbx_would_cut() -> None:
    fits = "x" * (HEADER_LINE_MAX_BYTES - len("A: "))
    action.check_lines((("A", fits),))

    with pytest.raises(FieldRefused, match="too long"):
        action.check_lines((("A", fits + "x"),))
    with pytest.raises(FieldRefused, match="too many"):
        action.check_lines((("A", "b"),) * 129)
