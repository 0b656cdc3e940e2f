"""What the engine asks, as AMI actions. Pure.

Every value is checked against an allow-list: Asterisk splits `Variable` at each comma, runs function names found
there, and takes a line break in any value for the next header. Only ids and digits ever get this far.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import chain

from adapters.ami.settings import HEADER_LINE_MAX_BYTES, HEADER_MAX_LINES
from engine.core.telephony import BridgeLegs, HangUp, OriginateAgent, OriginateContact

Action = Mapping[str, str]

AGENT_CONTEXT = "ringfold-agent"
CONTACT_CONTEXT = "ringfold-contact"
BRIDGE_CONTEXT = "ringfold-bridge"
RECORDING_VARIABLE = "RINGFOLD_RECORDING"

LEG = re.compile(r"[0-9a-f]{32}")
NUMBER = re.compile(r"\+?[0-9]{2,20}")
RESOURCE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CHANNEL = re.compile(r"[A-Za-z0-9]{1,16}/[A-Za-z0-9_.@+;:-]{1,128}")
RECORDING = re.compile(r"(?:[A-Za-z0-9_-]{1,100}/[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{32}\.wav)?")
CALLER_ID = re.compile(r"|\+?[0-9]{2,20}|[A-Za-z0-9 _.+-]{1,64} <\+?[0-9]{2,20}>")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What could end a line somewhere, and lone surrogates, which are no text: an environment variable may hold them."""

RING_MAX_MS = 600_000
NORMAL_CLEARING = "16"


class FieldRefused(ValueError):
    """A value that may not reach the PBX. Names the field, never the value: that may be personal."""

    def __init__(self, field: str) -> None:
        super().__init__(f"invalid {field}")
        self.field = field


def originate(effect: OriginateAgent | OriginateContact) -> Action:
    leg = _checked("leg", LEG, effect.leg)
    if isinstance(effect, OriginateAgent):
        channel, context = f"PJSIP/{_checked('phone', RESOURCE, effect.phone)}", AGENT_CONTEXT
    else:
        number, trunk = _checked("number", NUMBER, effect.number), _checked("trunk", RESOURCE, effect.trunk)
        channel, context = f"PJSIP/{number}@{trunk}", CONTACT_CONTEXT
    if not 0 < effect.ring_timeout_ms <= RING_MAX_MS:
        raise FieldRefused("ring_timeout_ms")
    caller_id = _checked("caller_id", CALLER_ID, effect.caller_id)
    variables = f"__CALL_UUID={leg}"
    if isinstance(effect, OriginateContact) and _checked("recording", RECORDING, effect.recording):
        variables += f",{RECORDING_VARIABLE}={effect.recording.removesuffix('.wav')}"  # the dialplan adds it again
    action = {
        "Action": "Originate",
        "Channel": channel,
        "ChannelId": leg,
        "Async": "true",
        "Context": context,
        "Exten": "s",
        "Priority": "1",
        "Timeout": str(effect.ring_timeout_ms),
        "Variable": variables,
    }
    return action | {"CallerID": caller_id} if caller_id else action


def bridge(effect: BridgeLegs) -> tuple[Action, Action]:
    """The agent's channel into the contact's variable, then the contact into the dialplan that bridges it.

    In this order, on one connection: the PBX works a session's actions off one by one.
    """
    leg = _checked("leg", LEG, effect.leg)
    agent = _checked("agent_channel", CHANNEL, effect.agent_channel)
    return (
        {"Action": "Setvar", "Channel": leg, "Variable": "AGENTCHAN", "Value": agent},
        {"Action": "Redirect", "Channel": leg, "Context": BRIDGE_CONTEXT, "Exten": "s", "Priority": "1"},
    )


def hang_up(effect: HangUp) -> Action:
    return {"Action": "Hangup", "Channel": _checked("leg", LEG, effect.leg), "Cause": NORMAL_CLEARING}


def status(leg: str) -> Action:
    return {"Action": "Status", "Channel": _checked("leg", LEG, leg)}


def check_lines(headers: Sequence[tuple[str, str]]) -> None:
    """The last gate before the socket, for every action whatever its origin. Raises FieldRefused."""
    if len(headers) > HEADER_MAX_LINES:
        raise FieldRefused("headers: too many")
    whole = ": ".join(chain.from_iterable(headers))
    if whole.isprintable() and len(whole.encode()) <= HEADER_LINE_MAX_BYTES:
        return  # nearly always: what is well together is well line by line
    for name, value in headers:
        if CONTROL.search(name) or CONTROL.search(value):
            raise FieldRefused(name if name.isalnum() else "header name")
        if len(f"{name}: {value}".encode()) > HEADER_LINE_MAX_BYTES:
            raise FieldRefused(f"{name}: too long")


def _checked(field: str, allowed: re.Pattern[str], value: str) -> str:
    if not allowed.fullmatch(value):
        raise FieldRefused(field)
    return value
