"""How much faster than life the simulated world goes: a hundred agents, eight hours.

Each round is cut short where a whole day would take too long, and its list of contacts with it: a first short stretch tells
what fits, and `sim_hours` what was run. Only the agents' hours count as virtual time, not the quiet evening after them.
"""

import time
from pathlib import Path

import msgspec

from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.world.scenario import Scenario, read_scenario
from simulations.world.world import run

SCENARIO = Path(__file__).parents[1] / "scenarios" / "hundred_agents.toml"
ROUND_WITHIN_S = 25
PROBE_HOURS = 0.1


def _speedup(scenario: Scenario, seed: int) -> float:
    """Virtual ÷ real time, from the founding to the last judgment. The world's own checkers are at work, as always.

    Raises where they find a fault.
    """
    began = time.perf_counter()
    result = run(scenario, seed)
    elapsed = time.perf_counter() - began
    if result.violations:
        raise RuntimeError(f"the world is not as it must be: {result.violations[:3]}")
    return scenario.hours * 3_600 / elapsed


def _shortened(day: Scenario, hours: float) -> Scenario:
    return msgspec.structs.replace(day, hours=hours, contacts=max(500, round(day.contacts * hours / day.hours)))


def measure(scale: Scale, say: Say) -> Figures:
    made, day = Rounds(), read_scenario(SCENARIO)
    most_hours = day.hours * scale.share
    probe = _speedup(_shortened(day, min(PROBE_HOURS, most_hours)), 1)
    say(f"a first stretch at ×{probe:,.0f}")
    hours = min(most_hours, ROUND_WITHIN_S * probe / 3_600)
    for number in range(scale.rounds):
        made.add("sim_speedup", "virtual ÷ real time", "×", _speedup(_shortened(day, hours), number + 1))
        made.add("sim_hours", "hours that were simulated", "h", hours)
        say(made.last("sim_speedup", "sim_hours"))
    return made.figures
