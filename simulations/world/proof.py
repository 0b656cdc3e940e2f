"""`make proof`: many seeds, each a world of its own; what must hold is checked in all of them.

Seeds that failed once are kept in kept.toml and come first. A new one that fails is made smaller for as long as it still
fails, and printed with the command that has it again.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
import tomli_w
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulations.world.moment import Death, Moment
from simulations.world.scenario import Agents, Callees, Faults, Rules, Scenario
from simulations.world.shrink import smaller
from simulations.world.world import Result, run

KEPT = Path(__file__).with_name("kept.toml")
FAILED = Path("build/proof")
QUIET_SHARE = 0.2
"""Worlds without any fault but one death at a chosen moment: what fails there is easiest to read."""
PHONES_SHARE = 0.4
"""Worlds with agents whose phones ring for each call."""
BATCHES_SHARE = 0.3
"""Worlds whose receiver takes several notifications at once."""
RULED_SHARE = 0.2
"""How many worlds have each of the rules."""
SHRINK_WITHIN_S = 120
LARGE_AGENTS, LARGE_CONTACTS = 200, 100_000


class Case(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One world: a seed, what happens in it, the one death that it was made for, if any; and why it is kept, if it is."""

    seed: int
    scenario: Scenario
    death: Death | None = None
    why: str = ""


class Kept(msgspec.Struct, frozen=True):
    case: tuple[Case, ...] = ()


class Tally(msgspec.Struct):
    """What all worlds together have seen."""

    seeds: int = 0
    calls: int = 0
    virtual_s: float = 0
    unknown: int = 0
    faults: dict[str, int] = {}
    crash_points: dict[str, int] = {}
    originates_cut: dict[str, int] = {}
    commits_in_doubt: dict[str, int] = {}
    violations: int = 0

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.calls += result.calls
        self.virtual_s += result.virtual_s
        self.unknown += result.unknown
        self.violations += len(result.violations)
        for name in ("faults", "crash_points", "originates_cut", "commits_in_doubt"):
            setattr(self, name, dict(Counter(getattr(self, name)) + Counter(getattr(result, name))))

    def closing_line(self) -> str:
        crashes, cut = sum(self.crash_points.values()), sum(self.originates_cut.values())
        unknown = self.unknown + sum(self.commits_in_doubt.values())
        return (
            f"proof: {self.seeds:,} seeds, {crashes:,} crash points, {cut:,} originates cut, {unknown:,} unknown settled, "
            f"{self.violations:,} violations"
        )


def drawn(seed: int) -> Case:
    """A world from a seed: most have some kinds of faults, many or few of each; some only one death, at any moment."""
    chance = Random(f"proof/{seed}")
    agents = Agents(
        count=chance.choice((2, 4, 8, 12)),
        preview_s=chance.uniform(1, 6),
        wrapup_s=chance.uniform(1, 6),
        skips=chance.uniform(0, 0.2),
        pauses=chance.uniform(0, 0.1),
        pause_s=60,
    )
    callees = Callees(answer=chance.uniform(0.1, 0.7), talk_s=chance.uniform(5, 60))
    is_quiet = chance.random() < QUIET_SHARE
    scenario = Scenario(
        name=f"proof {seed}",
        hours=0.1 if is_quiet else chance.uniform(0.1, 0.4),
        contacts=chance.choice((10, 100, 400)),
        campaigns=chance.choice((1, 1, 2)),
        agents=agents,
        callees=callees,
        rules=_rules(chance),
        faults=Faults() if is_quiet else _faults(chance),
    )
    case = Case(seed=seed, scenario=scenario, death=_death(chance) if is_quiet else None)
    case = _with_callbacks(case) if chance.random() < RULED_SHARE else case
    case = _with_crm(case, chance.choice(("server", "disposition"))) if chance.random() < RULED_SHARE else case
    case = _with_phones(case, chance) if chance.random() < PHONES_SHARE else case
    return _with_batches(case) if chance.random() < BATCHES_SHARE else case


def _with_callbacks(case: Case) -> Case:
    change = msgspec.structs.replace
    agents = change(case.scenario.agents, callbacks=0.5, callback_s=120)
    return change(case, scenario=change(case.scenario, agents=agents))


def _with_crm(case: Case, trigger: Literal["server", "disposition"]) -> Case:
    change = msgspec.structs.replace
    return change(case, scenario=change(case.scenario, rules=change(case.scenario.rules, crm=trigger)))


def _with_phones(case: Case, chance: Random) -> Case:
    change, scenario = msgspec.structs.replace, case.scenario
    agents = change(scenario.agents, on_demand=chance.choice((0.5, 1)), unreachable=chance.choice((0, 0.1)))
    rules = change(scenario.rules, linked=scenario.campaigns > 1 and chance.random() < 0.7)
    return change(case, scenario=change(scenario, agents=agents, rules=rules))


def _with_batches(case: Case) -> Case:
    change = msgspec.structs.replace
    return change(case, scenario=change(case.scenario, receiver_batch=20))


def drawn_large(seed: int) -> Case:
    """As many agents and contacts as an installation is made for, a quarter of an hour or so, and a few faults of each kind."""
    chance = Random(f"proof/large/{seed}")
    faults = Faults(**{kind: chance.choice((0, 4, 12)) for kind in Faults.__struct_fields__})
    scenario = Scenario(
        name=f"proof large {seed}",
        hours=chance.uniform(0.1, 0.3),
        contacts=LARGE_CONTACTS,
        campaigns=chance.choice((1, 2)),
        agents=Agents(count=LARGE_AGENTS, preview_s=chance.uniform(5, 15), wrapup_s=chance.uniform(5, 20)),
        callees=Callees(answer=chance.uniform(0.1, 0.7), talk_s=chance.uniform(20, 120)),
        rules=Rules(in_setup=100),
        faults=faults,
    )
    return Case(seed=seed, scenario=scenario)


def _rules(chance: Random) -> Rules:
    """Most leave everything to be called at once; the others are in each other's way, and end within the world's hours."""
    choices: dict[str, tuple[Any, ...]] = {
        "lines": (1, 3),
        "in_setup": (1, 2),
        "per_contact": (2, 0),
        "per_number_a_day": (2, 3),
        "window": ("08:02-08:12", "07:00-17:00"),
        "zones": (("UTC", "Europe/Athens", "America/Lima"),),
        "retry_s": (5,),
        "shared_numbers": (0.2, 0.8),
        "listed": (60,),
        "clicks": (20, 200),
    }
    return Rules(**{key: chance.choice(some) for key, some in choices.items() if chance.random() < RULED_SHARE})


def _faults(chance: Random) -> Faults:
    """A few kinds or all of them, seldom or often: where everything is always broken nobody is ever called."""
    kinds = list(Faults.__struct_fields__)
    some = chance.sample(kinds, min(chance.randint(1, len(kinds)) for _ in range(2)))
    return Faults(**{kind: chance.choice((5, 15, 40)) for kind in some})


def _death(chance: Random) -> Death:
    moment = chance.choice(list(Moment))
    return Death(moment, chance.randint(1, 6_000 if moment is Moment.TURN else 150))


def kept() -> tuple[Case, ...]:
    return msgspec.toml.decode(KEPT.read_bytes(), type=Kept).case


def main(*, seeds: int = 100, first: int = 1, large: int = 0, workers: int = os.cpu_count() or 1) -> None:
    """Run the kept seeds, then new ones. Exits 1 where something that must hold didn't.

    Parameters
    ----------
    seeds
        How many new worlds.
    first
        The first one's seed.
    large
        How many large worlds beside them, of 200 agents and 100,000 contacts: a minute or two of CPU and 1 GB each.
    workers
        How many processes share them.
    """
    cases = [*kept(), *map(drawn_large, range(first, first + large)), *map(drawn, range(first, first + seeds))]
    console, tally, began_s = Console(stderr=True), Tally(), time.monotonic()
    failed: list[tuple[Case, Result]] = []
    columns = (TextColumn("worlds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=len(cases))
        for case, result in _results(cases, workers):
            tally.add(result)
            shown.advance(task)
            if result.violations:
                failed.append((case, result))
                shown.print(f"seed {case.seed}: {result.violations[0]}")
    for case, result in failed[:3]:
        print(_told(case, result))
    passed_s = time.monotonic() - began_s
    print(msgspec.json.format(msgspec.json.encode(tally), indent=2).decode())
    if large:
        print(f"{large:,} of them with {LARGE_AGENTS:,} agents and {LARGE_CONTACTS:,} contacts")
    print(f"{tally.virtual_s / 3_600:,.1f} hours in {passed_s:,.0f} s: {tally.virtual_s / passed_s:,.0f} × real time")
    print(tally.closing_line())
    sys.exit(1 if tally.violations else 0)


def judged(case: Case) -> Result:
    return run(case.scenario, case.seed, death=case.death)


def _results(cases: list[Case], workers: int) -> Iterator[tuple[Case, Result]]:
    if workers == 1:
        yield from ((case, judged(case)) for case in cases)
        return
    with ProcessPoolExecutor(workers) as pool:
        asked = {pool.submit(judged, case): case for case in cases}
        for done in as_completed(asked):
            yield asked[done], done.result()


def _told(case: Case, result: Result) -> str:
    """The smallest world found that still fails, where it is written, and how to have it again."""
    least, found = smaller(case, result, judged, SHRINK_WITHIN_S)
    FAILED.mkdir(parents=True, exist_ok=True)
    file = FAILED / f"seed-{case.seed}.toml"
    file.write_text(tomli_w.dumps(msgspec.to_builtins(least.scenario)))
    death = f' --death "{least.death.moment} {least.death.count}"' if least.death else ""
    agents, contacts, faults = least.scenario.agents.count, least.scenario.contacts, sum(found.faults.values())
    lines = [
        f"seed {case.seed} fails; the least: {agents} agents, {contacts} contacts, {found.events} events, {faults} faults",
        *(f"  {one}" for one in found.violations[:10]),
        f"again: python -m simulations run {file} --seed {case.seed}{death}",
    ]
    return "\n".join(lines)
