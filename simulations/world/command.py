"""`python -m simulations run scenario.toml --seed 7`: one stretch of a world's time, watched, with its result as JSON."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from simulations.world.moment import Death, Moment
from simulations.world.scenario import Scenario, read_scenario
from simulations.world.watch import LiveWatcher, Watcher
from simulations.world.world import Result, run


def main(scenario: Path, *, seed: int = 1, report: Path | None = None, death: str = "") -> None:
    """Let a scenario happen in virtual time. Exits 1 where something that must hold didn't, 2 for a wrong file.

    Parameters
    ----------
    scenario
        A TOML file such as those in simulations/scenarios.
    seed
        The same one gives the same run.
    report
        An HTML file to write, with pictures.
    death
        Kill the engine at this very moment, as `make proof` prints it: "after commit 17".
    """
    try:
        read = read_scenario(scenario)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"{scenario}: {error}", file=sys.stderr)
        sys.exit(2)
    result, watcher = _watched(read, seed, _death(death))
    if report:
        from simulations.world.report import page  # takes a second to import

        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page(read, result, watcher.samples))
    print(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
    sys.exit(1 if result.violations else 0)


def _death(text: str) -> Death | None:
    moment, _, count = text.rpartition(" ")
    try:
        return Death(Moment(moment), int(count)) if text else None
    except ValueError:
        print(f'--death {text!r}: such as "{Moment.TURN} 500"; moments are {", ".join(Moment)}', file=sys.stderr)
        sys.exit(2)


def _watched(scenario: Scenario, seed: int, death: Death | None) -> tuple[Result, Watcher]:
    console = Console(stderr=True)
    if not console.is_terminal:
        watcher = Watcher()
        return run(scenario, seed, watcher, death), watcher
    with LiveWatcher(console) as live:
        return run(scenario, seed, live, death), live
