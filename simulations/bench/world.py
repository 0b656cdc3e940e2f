"""How much faster than life the simulated world goes: a hundred agents, eight hours.

Each round is cut short where a whole day would take too long: a first short stretch tells what fits, and `sim_hours` what
was run.
"""

import time
from pathlib import Path

import msgspec

from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.world.scenario import Scenario, read_scenario
from simulations.world.world import run

SCENARIO = Path(__file__).parents[1] / "scenarios" / "hundred_agents.toml"
ROUND_WITHIN_S = 25
PROBE_HOURS = 0.03


def _speedup(scenario: Scenario, seed: int) -> float:
    """Virtual ÷ real time. The world's own checkers are at work, as always; raises where they find a fault."""
    began = time.perf_counter()
    result = run(scenario, seed)
    elapsed = time.perf_counter() - began
    if result.violations:
        raise RuntimeError(f"the world is not as it must be: {result.violations[:3]}")
    return result.virtual_s / elapsed


def measure(scale: Scale, say: Say) -> Figures:
    made, day = Rounds(), read_scenario(SCENARIO)
    day = msgspec.structs.replace(day, contacts=scale.of(day.contacts, 500))
    probe = _speedup(msgspec.structs.replace(day, hours=min(PROBE_HOURS, day.hours * scale.share)), 1)
    say(f"a first stretch at ×{probe:,.0f}")
    hours = min(day.hours * scale.share, ROUND_WITHIN_S * probe / 3_600)
    for number in range(scale.rounds):
        made.add(
            "sim_speedup", "virtual ÷ real time", "×", _speedup(msgspec.structs.replace(day, hours=hours), number + 1)
        )
        made.add("sim_hours", "hours that were simulated", "h", hours)
        say(made.last("sim_speedup", "sim_hours"))
    return made.figures
