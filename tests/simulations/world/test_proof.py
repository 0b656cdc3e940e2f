"""Deaths at every kind of moment, worlds that failed once, and bugs that are planted to see that they are found."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as change

from engine.switchboard import Switchboard
from eventstore.log import Log
from simulations.world.moment import Death, Moment
from simulations.world.proof import Case, drawn, drawn_large, judged, kept
from simulations.world.scenario import Agents, Faults, Scenario, read_scenario
from simulations.world.shrink import smaller
from simulations.world.world import run

SMALL = Scenario(name="small", hours=0.05, contacts=20, agents=Agents(count=2, preview_s=3, wrapup_s=3))
DEATHS = 8
"""Of each kind, spread over the run."""
MOST_TRIED = 100
"""About one world in ten shows what the test looks for."""


def test_EX_02_wherever_the_engine_dies_nothing_is_lost_or_doubled(
    record_property: Callable[[str, object], None],
) -> None:
    # given
    undisturbed = run(SMALL, 9)
    assert undisturbed.calls > 3

    # when
    died = 0
    for moment in Moment:
        passed = undisturbed.moments[moment]
        for count in range(passed // DEATHS, passed, passed // DEATHS):
            result = run(SMALL, 9, death=Death(moment, count))
            # then
            assert result.violations == [], (moment, count)
            died += result.crash_points.get(moment, 0)  # none where the evening's calm came before
    record_property("crash points visited", died)
    assert died >= len(Moment) * DEATHS // 2


@pytest.mark.parametrize("case", kept(), ids=lambda case: f"seed {case.seed}")
def test_what_failed_once_holds(case: object) -> None:
    assert judged(case).violations == []  # type: ignore[arg-type]  # a Case


def _with_cuts(case: Case) -> Case:
    return change(case, scenario=change(case.scenario, faults=change(case.scenario.faults, cuts=5)))


def _is_dialled_late(case: Case) -> bool:
    return any("was dialled though" in one for one in judged(case).violations)


def test_EX_02_a_process_that_stood_still_and_dials_what_its_successor_settled_is_found_and_made_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given an engine that never asks whether it is still the owner
    async def believe(_self: Log) -> None:
        return

    monkeypatch.setattr(Log, "hold", believe)
    monkeypatch.setattr(Switchboard, "may_act", lambda _self, _leg: True)
    # and a world in which that shows, with cuts that have nothing to do with it: any change of the world shows it in others
    seen = next(one for one in kept() if one.seed == 56)
    tried = (change(seen, seed=seed) for seed in range(1, MOST_TRIED))
    case = next(one for one in map(_with_cuts, filter(_is_dialled_late, tried)) if _is_dialled_late(one))

    # when
    result = judged(case)
    less, found = smaller(case, result, judged, within_s=20)

    # then
    assert found.violations
    assert (less.scenario.faults.cuts, less.scenario.faults.freezes) == (0, 60)


def test_every_kind_of_fault_strikes_and_nothing_is_lost() -> None:
    scenario = read_scenario(Path("simulations/scenarios/every_fault.toml"))
    result = run(scenario, 1)
    assert result.violations == []
    assert set(result.faults) == {name for name in Faults.__struct_fields__ if getattr(scenario.faults, name)}
    assert min(result.originates_cut.values()) > 0
    assert min(result.commits_in_doubt.values()) > 0
    assert result.calls > 20


def test_a_proof_closes_with_what_it_saw() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulations", "proof", "--seeds", "3", "--workers", "2"],
        capture_output=True,
        timeout=120,
        check=True,
        text=True,
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"proof: {3 + len(kept())} seeds, ")
    assert last.endswith(" 0 violations")


def test_a_drawn_world_is_the_same_each_time_and_faults_differ_between_seeds() -> None:
    assert drawn(5) == drawn(5)
    assert len({drawn(seed).scenario.faults for seed in range(30)}) > 20
    assert any(drawn(seed).death for seed in range(30))
    assert any(drawn(seed).scenario.rules.linked for seed in range(30))


def test_a_large_world_has_two_hundred_agents_a_hundred_thousand_contacts_and_faults() -> None:
    large = [drawn_large(seed).scenario for seed in range(10)]
    assert drawn_large(5) == drawn_large(5)
    assert {(one.agents.count, one.contacts) for one in large} == {(200, 100_000)}
    assert all(one.faults != Faults() for one in large)
