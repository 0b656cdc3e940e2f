"""What it takes to originate: the request as the AMI hands it over, and how far ends' refusals show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from simulations.pbx.script import Kind

if TYPE_CHECKING:
    from simulations.pbx.leg import Leg

CONTEXTS = frozenset({"ringfold-agent", "ringfold-contact", "ringfold-bridge"})


class Refusal(msgspec.Struct, frozen=True):
    """How a far end's final reply shows: Q.850 cause, SIP code, DialStatus, and whether it rings first."""

    cause: int
    sip_code: int
    dial_status: bytes
    rings: bool


REFUSALS = {
    Kind.BUSY: Refusal(17, 486, b"BUSY", True),
    Kind.CONGESTION: Refusal(34, 503, b"CONGESTION", False),
    Kind.INVALID: Refusal(1, 404, b"NOANSWER", False),
    Kind.REJECTED: Refusal(21, 603, b"NOANSWER", True),
    Kind.UNAVAILABLE: Refusal(19, 480, b"NOANSWER", True),
}

SIP_OF_OWN_CAUSE = {1: 404, 17: 486, 19: 480, 21: 403, 34: 503}
"""The SIP code that the PBX shows when we ourselves cancel a ringing leg for such a cause."""


class Originate(msgspec.Struct, frozen=True):
    """An Originate action that passed validation. `timeout_ms` is the time to ring."""

    channel: str
    context: str
    exten: str
    timeout_ms: int
    uid: str
    variables: tuple[tuple[str, str], ...]
    caller: str
    answered: Callable[[bool, int, Leg | None], None]
    """Tell what became of it: success, reason, and the leg if it lives."""
