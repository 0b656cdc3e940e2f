"""What is compared: figures of one day, from its events alone, be it the real one or a rerun."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median, quantiles
from typing import Any, NamedTuple

from engine.core.agent import AgentRemoved, AgentStatus, AgentStatusChanged
from engine.core.call import CallEnded, CallRequested
from engine.core.contact import ContactsAdded
from engine.core.outcome import Outcome
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved, Release
from simulations.whatif.day import Day

HOUR_MS = 3_600_000
WORK = (AgentStatus.AVAILABLE, AgentStatus.PREVIEWING, AgentStatus.BUSY, AgentStatus.WRAPUP)
"""What an agent at work does; AVAILABLE is waiting."""


class Figure(NamedTuple):
    """`unit` is `` for what is counted, `%`, `h` or `s`."""

    name: str
    unit: str


CALLS = Figure("calls", "")
CONNECTED = Figure("connected", "")
REACHED = Figure("connected per call", "%")
ABANDONED = Figure("abandoned", "")
ENGAGED = Figure("engaged", "")
RESERVED = Figure("reservations", "")
LAPSED = Figure("reservations lapsed", "")
SKIPPED = Figure("skips", "")
WAITING = Figure("agents' waiting", "h")
WAITING_SHARE = Figure("waiting, of the time at work", "%")
TRIED = Figure("contacts tried for the first time", "")
FIRST_ATTEMPT = Figure("time to first attempt, median", "s")
FIRST_ATTEMPT_90 = Figure("time to first attempt, 9 of 10", "s")
FIGURES = (
    CALLS,
    CONNECTED,
    REACHED,
    ABANDONED,
    ENGAGED,
    RESERVED,
    LAPSED,
    SKIPPED,
    WAITING,
    WAITING_SHARE,
    TRIED,
    FIRST_ATTEMPT,
    FIRST_ATTEMPT_90,
)
"""In the order in which they are shown."""


class Hours(NamedTuple):
    """By hour of the day, from its midnight: counts, and the hours that agents waited."""

    calls: list[int]
    connected: list[int]
    waiting: list[float]


class Figures(NamedTuple):
    values: dict[Figure, float]
    hours: Hours


def figures_of(day: Day, events: Sequence[Any]) -> Figures:
    calls = [one for one in events if isinstance(one, CallRequested)]
    ends = [one for one in events if isinstance(one, CallEnded)]
    connected = [one for one in ends if one.outcome is Outcome.ANSWERED]
    releases = Counter(one.reason for one in events if isinstance(one, ContactReleased))
    spent = list(_spent(day, events))
    at_work_ms = sum(ended - began for status, began, ended in spent if status in WORK)
    waits = [(began, ended) for status, began, ended in spent if status is AgentStatus.AVAILABLE]
    waiting_ms = sum(ended - began for began, ended in waits)
    first = sorted(_first_attempts_s(day, events))
    values = {
        CALLS: len(calls),
        CONNECTED: len(connected),
        REACHED: 100 * len(connected) / len(ends) if ends else 0,
        ABANDONED: sum(one.outcome is Outcome.ABANDONED for one in ends),
        ENGAGED: sum(one.engaged for one in events if isinstance(one, ContactDisposed)),
        RESERVED: sum(isinstance(one, ContactReserved) for one in events),
        LAPSED: releases[Release.EXPIRED],
        SKIPPED: releases[Release.SKIPPED],
        WAITING: waiting_ms / HOUR_MS,
        WAITING_SHARE: 100 * waiting_ms / at_work_ms if at_work_ms else 0,
        TRIED: len(first),
        FIRST_ATTEMPT: median(first) if first else 0,
        FIRST_ATTEMPT_90: quantiles(first, n=10)[-1] if len(first) > 1 else sum(first),
    }
    return Figures(
        values,
        Hours(
            _by_hour(day, (one.at for one in calls)),
            _by_hour(day, (one.at for one in connected)),
            _hours_spent(day, waits),
        ),
    )


def _spent(day: Day, events: Sequence[Any]) -> Iterable[tuple[AgentStatus, int, int]]:
    """How agents spent the day: stretches of one status each, (status, from, to), cut at its ends."""
    now = {one.id: (one.status, day.begins) for one in day.book.agents.values()}
    for one in events:
        if isinstance(one, AgentStatusChanged | AgentRemoved):
            status, since = now.pop(one.agent, (AgentStatus.OFFLINE, one.at))
            if one.at > since:
                yield status, since, one.at
            if isinstance(one, AgentStatusChanged):
                now[one.agent] = one.status, one.at
    for status, since in now.values():
        if day.ends > since:
            yield status, since, day.ends


def _first_attempts_s(day: Day, events: Sequence[Any]) -> Iterable[float]:
    """Of contacts that were never tried before: from when they came, or the day began, to the first call."""
    came = {one.ref: day.begins for page in day.book.contacts.by_ref.walk(1_000) for one in page if not one.attempts}
    for one in events:
        if isinstance(one, ContactsAdded):
            came |= {new.ref: one.at for new in one.contacts}
        elif isinstance(one, CallRequested) and one.contact in came:
            yield (one.at - came.pop(one.contact)) / 1_000


def _edges(day: Day) -> list[int]:
    return [*range(day.begins, day.ends, HOUR_MS), day.ends]


def _by_hour(day: Day, moments: Iterable[int]) -> list[int]:
    counted = Counter((at - day.begins) // HOUR_MS for at in moments)
    return [counted[hour] for hour in range(len(_edges(day)) - 1)]


def _hours_spent(day: Day, stretches: Iterable[tuple[int, int]]) -> list[float]:
    spent = [0.0] * (len(_edges(day)) - 1)
    for began, ended in stretches:
        for hour, (first, last) in enumerate(pairwise(_edges(day))):
            spent[hour] += max(0, min(ended, last) - max(began, first)) / HOUR_MS
    return spent
