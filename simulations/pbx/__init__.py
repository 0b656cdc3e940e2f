"""A PBX in a box: an AMI server that behaves as a recorded Asterisk did, with scripted far ends and faults."""

from simulations.pbx.exchange import Dialled
from simulations.pbx.pbx import SimulatedPbx
from simulations.pbx.script import (
    BUSY,
    CONGESTION,
    DEAD,
    INVALID,
    NO_ANSWER,
    REJECTED,
    TYPICAL,
    UNAVAILABLE,
    Kind,
    Mix,
    Outcome,
    Script,
    answer,
)
from simulations.pbx.session import DEFAULT_EVENTS, User

__all__ = [
    "BUSY",
    "CONGESTION",
    "DEAD",
    "DEFAULT_EVENTS",
    "INVALID",
    "NO_ANSWER",
    "REJECTED",
    "TYPICAL",
    "UNAVAILABLE",
    "Dialled",
    "Kind",
    "Mix",
    "Outcome",
    "Script",
    "SimulatedPbx",
    "User",
    "answer",
]
