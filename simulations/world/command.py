"""`python -m simulations run scenario.toml --seed 7`: one stretch of a world's time, its result as JSON."""

import sys
from pathlib import Path

import msgspec

from simulations.world.scenario import read_scenario
from simulations.world.world import run


def main(scenario: Path, *, seed: int = 1) -> None:
    """Let a scenario happen in virtual time. Exits 1 where something that must hold didn't, 2 for a wrong file.

    Parameters
    ----------
    scenario
        A TOML file such as those in simulations/scenarios.
    seed
        The same one gives the same run.
    """
    try:
        read = read_scenario(scenario)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"{scenario}: {error}", file=sys.stderr)
        sys.exit(2)
    result = run(read, seed)
    print(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
    sys.exit(1 if result.violations else 0)
