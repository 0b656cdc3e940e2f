"""`python -m simulations mutation engine/core/gate.py`: the score of the core's tests, module by module."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
MUTMUT = Path(".tools/mutation/bin/mutmut")
"""Of an environment of its own: `make mutation` makes it."""
WORK, RESULT = Path("build/mutation"), Path("build/mutation.json")
COPIED = ("engine", "simulations/__init__.py", "simulations/states.py", "tests/__init__.py", "tests/engine")
LEFT_OUT = (
    "test_states.py",
    "test_app.py",
    "test_actor.py",
    "test_caps.py",
    "test_random_walk.py",
    "test_suppression.py",
)
"""What wants more than the core and the health of a campaign."""
SETTINGS = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
[tool.mutmut]
source_paths = ["engine"]
only_mutate = [{modules}]
also_copy = ["simulations"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-seed=0"]
pytest_add_cli_args_test_selection = ["tests/engine/core", "tests/engine/test_health.py"]
use_git_change_detection = false
"""
SAID = re.compile(r"^\s*(\S+)\.x\S*__mutmut_\d+: (.+)$", re.MULTILINE)
NICE = 10
KILLED = frozenset({"killed", "timeout", "caught by type check", "segfault", "suspicious"})
UNTRIED = frozenset({"not checked", "skipped"})


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Of one module. What no test runs has survived."""

    killed: int
    survived: int
    untried: int
    """The time was over first."""

    @property
    def share(self) -> float:
        return self.killed / max(1, self.killed + self.survived)


def main(*modules: str, minutes: float = 30, children: int = 2) -> int:
    """Alter every line of modules of the core in turn, and count for how many of the mutants some test fails.

    Prints killed and survived for each module with its score, writes them to build/mutation.json, and names the survivors:
    `cd build/mutation && ../../.tools/mutation/bin/mutmut show NAME` shows what was altered. Exits with 2 where the tests
    fail on the core as it is, 3 without the environment.

    Parameters
    ----------
    modules
        Such as engine/core/gate.py; none are all of the core, which takes hours.
    minutes
        At most; what was not tried by then is counted as such, and tried first by the next run of the same modules.
    children
        Processes at a time. They run with a low priority.
    """
    if not (ROOT / MUTMUT).exists():
        print("no environment: make mutation makes it", file=sys.stderr)
        return 3
    chosen = modules or tuple(sorted(str(one.relative_to(ROOT)) for one in (ROOT / "engine/core").glob("*.py")))
    missing = [one for one in chosen if not (ROOT / one).is_file()]
    if missing:
        print(f"no such module: {', '.join(missing)}", file=sys.stderr)
        return 2
    _prepare(chosen)
    _run(minutes, children)
    said = subprocess.run(
        [ROOT / MUTMUT, "results", "--all", "true"], cwd=WORK, capture_output=True, text=True, check=False
    )
    scores = scored(said.stdout)
    if not any(one.killed for one in scores.values()):
        print((WORK / "mutmut.log").read_text(errors="replace")[-2_000:], file=sys.stderr)
        return 2
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode({name: _shown(one) for name, one in scores.items()})))
    _print(scores, survivors(said.stdout))
    return 0


def scored(said: str) -> dict[str, Score]:
    """From mutmut's list of all mutants: the score of each module."""
    counts: dict[str, Counter[str]] = {}
    for name, what in SAID.findall(said):
        counts.setdefault(name, Counter())[what] += 1
    return {name: _score(found) for name, found in sorted(counts.items())}


def survivors(said: str) -> list[str]:
    """The mutants that some test ran and none noticed, and those that none ran."""
    lines = (line.strip() for line in said.splitlines() if SAID.match(line))
    return [line for line in lines if line.partition(": ")[2] not in KILLED | UNTRIED]


def _score(counts: Counter[str]) -> Score:
    killed, untried = (sum(counts[one] for one in kind) for kind in (KILLED, UNTRIED))
    return Score(killed=killed, survived=counts.total() - killed - untried, untried=untried)


def _shown(one: Score) -> dict[str, float]:
    return {"killed": one.killed, "survived": one.survived, "untried": one.untried, "score": round(one.share, 3)}


def _prepare(modules: Iterable[str]) -> None:
    """A lean copy of the core and its tests, apart from everything that they don't need."""
    listed = ", ".join(f'"{one}"' for one in modules)
    settings = SETTINGS.format(modules=listed)
    if not (WORK / "pyproject.toml").exists() or (WORK / "pyproject.toml").read_text("utf-8") != settings:
        shutil.rmtree(WORK, ignore_errors=True)  # what was found of other modules would be counted too
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "pyproject.toml").write_text(settings, "utf-8")
    for name in COPIED:
        target = WORK / name
        if (ROOT / name).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__", *LEFT_OUT))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def _run(minutes: float, children: int) -> None:
    with (WORK / "mutmut.log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / MUTMUT, "run", "--max-children", str(children)],
            cwd=WORK,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.nice(NICE),  # noqa: PLW1509 - one thread
            start_new_session=True,
        )
        try:
            process.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 15)
            process.wait()


def _print(scores: dict[str, Score], alive: list[str]) -> None:
    table = Table("module", "killed", "survived", "untried", "score %", box=None)
    for name, one in scores.items():
        table.add_row(name, str(one.killed), str(one.survived), str(one.untried), f"{100 * one.share:.1f}")
    console = Console()
    console.print(table)
    for line in alive:
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    killed, survived = (sum(getattr(one, kind) for one in scores.values()) for kind in ("killed", "survived"))
    console.print(
        f"mutation: {killed + survived} mutants, {killed} killed, score {killed / max(1, killed + survived):.3f}"
    )
