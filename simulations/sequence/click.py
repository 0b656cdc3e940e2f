"""What may be clicked, and in which order: a sequence is drawn whole from its seed, before anything happens."""

from enum import StrEnum
from random import Random

import msgspec


class Kind(StrEnum):
    # a campaign manager's
    CREATE = "create"
    CREATE_OTHERWISE = "create with another body"
    START = "start"
    STOP = "stop"
    FORCE = "force a stop"
    DELETE = "delete"
    RENAME = "rename"
    EDIT = "edit settings"
    EDIT_LATE = "edit what was edited since"
    EDIT_TWICE = "edit, two at once"
    ALLOCATE = "allocate an agent"
    ALLOCATE_OFFLINE = "allocate an agent, offline"
    WITHDRAW = "withdraw an agent"
    ADD = "add contacts"
    ADD_AGAIN = "add the same contacts again"
    ADD_ANOTHERS = "add another campaign's contacts"
    CANCEL = "cancel a contact"
    # an agent's, or a supervisor's
    AVAILABLE = "available"
    PAUSE = "pause"
    OFFLINE = "offline"
    NEXT = "next"
    DIAL = "dial"
    DIAL_LATE = "dial what was let go"
    SKIP = "skip"
    EXTEND = "extend"
    RELEASE = "release"
    DISPOSE = "dispose"
    HANG_UP = "hang up"
    # a CRM's
    CLICK = "click to call"
    CLICK_AGAIN = "click to call, the same request"
    # nobody's
    WAIT = "time passes"
    KILL = "the engine is killed"
    CUT = "the PBX's connection breaks"


WEIGHTS: dict[Kind, float] = {
    Kind.CREATE: 0.5,
    Kind.CREATE_OTHERWISE: 0.5,
    Kind.START: 4,
    Kind.STOP: 1.5,
    Kind.FORCE: 0.7,
    Kind.DELETE: 0.5,
    Kind.NEXT: 14,
    Kind.DIAL: 18,
    Kind.DISPOSE: 8,
    Kind.HANG_UP: 4,
    Kind.AVAILABLE: 3,
    Kind.CLICK: 5,
    Kind.WAIT: 8,
    Kind.KILL: 0.15,
    Kind.CUT: 0.3,
}
"""How often each is drawn; 1 where nothing is said."""
FOUNDING = (Kind.CREATE, Kind.ADD, Kind.ALLOCATE, Kind.ALLOCATE, Kind.START)
"""Of each campaign, in this order, with whatever else between: or most sequences would have nothing to act on."""
FOUNDED_WITHIN = 0.3
"""Of a sequence's length."""
REFS = ("spring", "summer")
AGENTS = ("ana", "bo", "cem")
USUAL_PAUSE_MS, LONG_PAUSE_MS = (0, 0, 1, 20, 300), 3_000


class Click(msgspec.Struct, frozen=True):
    """`roll`, from 0 to 1, chooses among what there is at that moment; the pause is before it."""

    kind: Kind
    ref: str
    agent: str
    roll: float
    pause_ms: int


def drawn(seed: int, length: int) -> tuple[Click, ...]:
    chance = Random(f"sequence/{seed}")
    kinds, weights = list(Kind), [WEIGHTS.get(kind, 1) for kind in Kind]
    clicks = [_click(chance, kind, chance.choice(REFS)) for kind in chance.choices(kinds, weights, k=length)]
    within = max(1, round(length * FOUNDED_WITHIN))
    for ref in REFS:
        places = sorted(chance.randrange(within) for _ in FOUNDING)
        for place, kind in reversed(list(zip(places, FOUNDING, strict=True))):
            clicks.insert(place, _click(chance, kind, ref))
    return tuple(clicks)


def _click(chance: Random, kind: Kind, ref: str) -> Click:
    pause_ms = LONG_PAUSE_MS if kind is Kind.WAIT else chance.choice(USUAL_PAUSE_MS)
    return Click(kind, ref, chance.choice(AGENTS), chance.random(), pause_ms)
