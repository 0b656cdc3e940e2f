"""The checkers of the simulated world over a run of the real thing, from the log and the PBX's CEL, merged by their time.

Both clocks are this machine's. What can't be told afterwards is left out: a log says when an event was decided, a moment before
it became durable, and not who asked for a call. So "dialled before its intent was durable" is only seen to the millisecond,
and "nobody asked for it" is not judged. That a replay is the live state is `ringfold verify`'s and the digest's business.
"""

import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from engine.core.agent import PhoneCalled
from engine.core.call import CallEnded, CallPlaced, CallRequested
from engine.core.outcome import Outcome
from engine.ports import Recorded
from simulations.ordeal.channel import Row
from simulations.world.checker import Asked, Checkers, Durable, LegAnswered, LegDialled, LegGone
from simulations.world.checker.step import Step

UNWRITTEN_S = 1.0
"""What a PBX that is killed may not have brought to its CEL any more."""
OUTLIVES_S = 15.0
"""A contact's channel that is there for longer than this after its call's end is nobody's."""
TOLD = "5:"
"""What receivers were told isn't in the log nor in the CEL: the run compares it with what its own receiver heard."""
ANSWERED = (Outcome.ANSWERED, Outcome.ABANDONED)
NEVER_DIALLED = (Outcome.UNKNOWN, Outcome.FAILED, Outcome.CANCELLED, Outcome.AGENT_UNREACHABLE)


class Leg(msgspec.Struct):
    """A contact's channel by the PBX's CEL, in epoch seconds. `is_lost`: it lived when the PBX was killed."""

    start_s: float
    answered_s: float = 0.0
    end_s: float = 0.0
    is_lost: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    violations: list[str]
    ghosts: int
    """Channels of any kind that no event of the log speaks of, and contacts' that outlived their calls."""
    stuck: int
    """Calls without an end."""
    calls: int
    legs: int
    lost_legs: int
    """Killed with the PBX."""
    outcomes: dict[str, int]


class _Moment(NamedTuple):
    """In the order in which they are judged where two have the same time: the intent before what follows from it."""

    at_s: float
    rank: int
    step: Step


def judge(
    log: str,
    events: Sequence[Recorded],
    rows: Sequence[Row],
    deaths: Sequence[float],
    trunk: str,
    lines: int,
    setup: int,
) -> Verdict:
    """`deaths` are when the PBX was killed, epoch seconds; `lines` and `setup` the limits that were in force."""
    legs = legs_of((one for one in rows if one.channel.is_on(trunk)), deaths)
    _add_unwritten(legs, events, deaths)
    checkers = Checkers(lines, setup)
    for moment in sorted([*_from_log(log, events), *_from_pbx(legs)], key=lambda one: one[:2]):
        checkers.see(moment.step)
    checkers.end()
    ends = [one.event for one in events if isinstance(one.event, CallEnded)]
    for end in ends:
        for what in _untrue(end, legs.get(end.call)):
            checkers.tell(what)
    begun = {one.event.call for one in events if isinstance(one.event, CallRequested)}
    phones = {one.event.leg for one in events if isinstance(one.event, PhoneCalled)}
    outcomes = [str(one.outcome) for one in ends]
    return Verdict(
        violations=[one for one in checkers.violations if not one.startswith(TOLD)],
        ghosts=len({one.channel.leg for one in rows} - begun - phones) + len(_outliving(ends, legs)),
        stuck=len(begun - {one.call for one in ends}),
        calls=len(begun),
        legs=len(legs),
        lost_legs=sum(one.is_lost for one in legs.values()),
        outcomes={name: outcomes.count(name) for name in sorted(set(outcomes))},
    )


def _outliving(ends: Sequence[CallEnded], legs: dict[str, Leg]) -> list[str]:
    return [one.call for one in ends if one.call in legs and legs[one.call].end_s > one.at / 1_000 + OUTLIVES_S]


def legs_of(rows: Iterable[Row], deaths: Sequence[float]) -> dict[str, Leg]:
    """Channels by their id. One without an end that began before a death of the PBX ended there."""
    legs: dict[str, Leg] = {}
    for row in rows:
        leg = legs.setdefault(row.channel.leg, Leg(start_s=row.at_s))
        if row.event == "ANSWER":
            leg.answered_s = row.at_s
        elif row.event == "HANGUP":
            leg.end_s = row.at_s
    for leg in legs.values():
        place = bisect.bisect(deaths, leg.start_s)
        if not leg.end_s and place < len(deaths):
            leg.end_s, leg.is_lost = deaths[place], True
    return legs


def _add_unwritten(legs: dict[str, Leg], events: Sequence[Recorded], deaths: Sequence[float]) -> None:
    """Channels that the engine heard of just before the PBX was killed, and that never came to its CEL."""
    for one in events:
        if isinstance(one.event, CallPlaced) and one.event.call not in legs:
            at_s = one.event.at / 1_000
            death = next((death for death in deaths if 0 <= death - at_s <= UNWRITTEN_S), None)
            if death is not None:
                legs[one.event.call] = Leg(start_s=at_s, end_s=death, is_lost=True)


def _from_log(log: str, events: Sequence[Recorded]) -> Iterable[_Moment]:
    """In the order of the log, whatever a clock did."""
    at_s = 0.0
    for one in events:
        at_s = max(at_s, one.event.at / 1_000)
        if isinstance(one.event, CallRequested):
            yield _Moment(at_s, 0, Asked(one.event.call, one.event.at, at_s))
        yield _Moment(at_s, 0, Durable(log, one.pos, one.event, at_s))


def _from_pbx(legs: dict[str, Leg]) -> Iterable[_Moment]:
    for name, leg in legs.items():
        yield _Moment(leg.start_s, 1, LegDialled(name, leg.start_s, ""))
        if leg.answered_s:
            yield _Moment(leg.answered_s, 2, LegAnswered(name, leg.answered_s))
        if leg.end_s:
            yield _Moment(leg.end_s, 3, LegGone(name, leg.end_s))


def _untrue(end: CallEnded, leg: Leg | None) -> Iterable[str]:
    """What the log says of a call's end that the PBX's own record doesn't bear out."""
    if leg is None:
        if end.outcome not in NEVER_DIALLED:
            yield f"2: call {end.call} is told as {end.outcome}, and the PBX has no record of it"
        return
    if leg.is_lost:
        return  # the PBX took what it knew with it
    if (end.outcome in ANSWERED) != bool(leg.answered_s):
        yield f"2: call {end.call} is told as {end.outcome}, and was {'' if leg.answered_s else 'not '}answered at the PBX"
    elif end.outcome is Outcome.UNKNOWN:
        yield f"2: call {end.call} is told as unknown, and the PBX has a record of its end"
