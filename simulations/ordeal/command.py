"""`python -m simulations ordeal --minutes 3 --seed 7`: the real thing, struck at random moments, judged by the checkers."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from simulations.asterisk import NotInstallable, install
from simulations.ordeal.ordeal import Outcome, Plan, ordeal
from simulations.postgres import NotInstalled

KEPT = Path("build/ordeal")
"""What a run leaves behind in which something was wrong: logs, CEL, the store."""


def main(*, minutes: float = 3, seed: int = 7, agents: int = 8, sqlite: bool = False, runs: int = 1) -> int:
    """Work through a list on a real Asterisk and a real PostgreSQL while both and the engine are killed, frozen and cut off.

    Prints the result of each run as JSON. Exits with 1 if anything that must hold didn't, 3 where the parts can't be had.

    Parameters
    ----------
    minutes
        Of faults, for each run.
    seed
        Of the first run: it draws the faults and their moments. What the machine does between them it can't draw.
    agents
        At work; three quarters of them find a line free.
    sqlite
        The engine's store is SQLite, and faults strike the engine and the PBX alone.
    runs
        How many, each with the next seed.
    """
    is_good = True
    for number in range(seed, seed + runs):
        try:
            found = _run(Plan(seconds=minutes * 60, seed=number, agents=agents, lines=max(1, agents * 3 // 4)), sqlite)
        except (NotInstallable, NotInstalled) as reason:
            print(f"not on this machine: {reason}", file=sys.stderr)
            return 3
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode(), flush=True)
        print(
            f"ordeal: seed {number}, {sum(found.faults.values())} faults, {found.calls} calls, {found.ghosts} ghosts, "
            f"{found.stuck} stuck, {len(found.violations)} violations",
            flush=True,
        )
        is_good = is_good and found.holds
    return 0 if is_good else 1


def _run(plan: Plan, sqlite: bool) -> Outcome:
    installation = install(lambda text: print(text, file=sys.stderr))
    with tempfile.TemporaryDirectory(prefix="ringfold-ordeal-") as folder:
        try:
            found = asyncio.run(ordeal(Path(folder), plan, installation, not sqlite))
        except BaseException:
            _keep(Path(folder), plan.seed)
            raise
        if not found.holds:
            _keep(Path(folder), plan.seed)
    return found


def _keep(folder: Path, seed: int) -> None:
    kept = KEPT / str(seed)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.key"))
    print(f"kept in {kept}", file=sys.stderr)
