"""A world that fails, made smaller for as long as it still fails the same invariant."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from simulations.world.scenario import Faults, Scenario
from simulations.world.world import Result

if TYPE_CHECKING:
    from simulations.world.proof import Case


def smaller(case: "Case", result: Result, judged: Callable[["Case"], Result], within_s: float) -> tuple["Case", Result]:
    """Kinds of faults are left out, then time, agents and contacts. What is tried is a run of its own."""
    wanted = {_invariant(one) for one in result.violations}
    until_s = time.monotonic() + within_s
    improved = True
    while improved:
        improved = False
        for scenario in _less(case.scenario):
            if time.monotonic() > until_s:
                return case, result
            tried = msgspec.structs.replace(case, scenario=scenario)
            found = judged(tried)
            if wanted & {_invariant(one) for one in found.violations}:
                case, result, improved = tried, found, True
                break
    return case, result


def _invariant(violation: str) -> str:
    return violation.partition(":")[0]


def _less(scenario: Scenario) -> Iterator[Scenario]:
    change = msgspec.structs.replace
    for name in Faults.__struct_fields__:
        if getattr(scenario.faults, name):
            yield change(scenario, faults=change(scenario.faults, **{name: 0}))
    if scenario.hours > 0.02:  # a bit over a minute
        yield change(scenario, hours=scenario.hours / 2)
    if scenario.agents.count > 1:
        yield change(scenario, agents=change(scenario.agents, count=scenario.agents.count // 2))
    if scenario.contacts > 1:
        yield change(scenario, contacts=scenario.contacts // 2)
