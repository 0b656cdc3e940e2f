"""The simulated world: the same seed is the same day, faults strike, and what its checkers forbid they find."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.ami.telephony import AmiTelephony
from engine.core.agent import AgentStatus
from engine.core.call import CallEnded, CallRequested
from engine.core.outcome import Outcome
from simulations.world.scenario import Agents, Callees, Rules, Scenario, read_scenario
from simulations.world.watch import Watcher
from simulations.world.world import Result, World, run

SHORT = Scenario(name="short", hours=0.1, contacts=60, agents=Agents(count=3, preview_s=3, wrapup_s=3))
STORM_TOML = """
name = "storm"
hours = 0.25
contacts = 150
[agents]
count = 3
preview_s = 3
wrapup_s = 3
[faults]
crashes = 40
cuts = 40
cut_originates = 100
pbx_restarts = 10
"""
STORM = msgspec.toml.decode(STORM_TOML, type=Scenario)


def test_a_seed_is_a_run_also_in_another_process_with_other_hashes(tmp_path: Path) -> None:
    # given
    file = tmp_path / "storm.toml"
    file.write_text(STORM_TOML)
    here = run(STORM, 3)

    # when
    def elsewhere(hashes: str) -> Result:
        command = [sys.executable, "-m", "simulations", "run", str(file), "--seed", "3"]
        env = {**os.environ, "PYTHONHASHSEED": hashes}
        done = subprocess.run(command, env=env, capture_output=True, timeout=120, check=True)
        return msgspec.json.decode(done.stdout, type=Result)

    # then
    assert elsewhere("1") == here
    assert elsewhere("2") == here
    assert run(STORM, 4).digest != here.digest


def test_EX_01_through_crashes_cuts_and_restarts_nothing_is_lost_or_dialled_twice() -> None:
    # when
    result = run(STORM, 1)

    # then
    assert result.violations == []
    assert set(result.faults) == {"crashes", "cuts", "cut_originates", "pbx_restarts"}
    assert result.calls > 10
    assert result.connected > 0


def test_an_originate_that_is_sent_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # given an adapter that dials another leg beside each one that it is asked for
    perform = AmiTelephony.perform

    def twice(self: AmiTelephony, effect: Any) -> None:
        perform(self, effect)
        if type(effect).__name__ == "OriginateContact":
            perform(self, msgspec.structs.replace(effect, leg=effect.leg[::-1]))

    monkeypatch.setattr(AmiTelephony, "perform", twice)

    # then
    assert any("without a durable intent" in one for one in run(SHORT, 1).violations)


def test_a_wrong_scenario_names_the_key(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    for text, key in (
        ('name = "x"\n[agents]\ncuont = 3', "cuont"),
        ('name = "x"\n[faults]\ncuts = -1', "$.faults.cuts"),
        ('name = "x"\n[callees]\nanswer = 0.9\nbusy = 0.9', "$.callees"),
        ('name = "x"\n[callees]\nbusy = 0.5\nanswer_by_hour = {"09" = 0.6}', "$.callees"),
        ('name = "x"\n[callees]\nring_s = [9, 6, 25]', "$.callees.ring_s"),
        ('name = "x"\n[agents]\nshifts = ["08:00-12:00", "13:00-12:00"]', "$.agents.shifts[1]"),
    ):
        file.write_text(text)
        with pytest.raises(msgspec.ValidationError) as refused:
            read_scenario(file)
        assert key in str(refused.value)


def test_TF_24_SG_19_agents_whose_phones_ring_for_each_call_work_for_all_linked_campaigns() -> None:
    # given
    agents = Agents(count=6, preview_s=3, wrapup_s=3, on_demand=0.7, unreachable=0.2)
    linked = Scenario(name="linked", hours=0.2, contacts=200, campaigns=2, agents=agents, rules=Rules(linked=True))
    seen: list[World] = []

    class Witness(Watcher):
        def attend(self, world: World) -> None:
            seen.append(world)

    # when
    result = run(linked, 2, Witness())

    # then
    assert result.violations == []
    (world,) = seen
    on_demand = {name for name in world.agents_of("spring") if name in world.agents_of("summer")}
    assert 0 < len(on_demand) < 6
    calls = {
        ref: [one for one in world.logged[f"campaign/{ref}"] if isinstance(one, CallRequested)] for ref in world.refs
    }
    assert on_demand <= {one.agent for one in calls["spring"]} & {one.agent for one in calls["summer"]}
    legs = [one.agent_leg for some in calls.values() for one in some if one.agent in on_demand]
    assert len(set(legs)) == len(legs)
    ends = [one.outcome for log in world.logged.values() for one in log if isinstance(one, CallEnded)]
    assert Outcome.AGENT_UNREACHABLE in ends


def test_the_shipped_scenarios_are_right() -> None:
    shipped = list(Path("simulations/scenarios").glob("*.toml"))
    assert len(shipped) >= 2
    for one in shipped:
        assert read_scenario(one).name


def test_watching_changes_nothing_and_shows_the_shifts_and_the_hours_with_more_answers() -> None:
    # given
    agents = Agents(count=4, preview_s=3, wrapup_s=3, pauses=0, shifts=("08:00-09:00", "08:00-08:30 08:45-09:00"))
    by_hour = {"09": 0.0}
    scenario = Scenario(
        name="shifts", hours=1.5, contacts=3_000, agents=agents, callees=Callees(answer_by_hour=by_hour)
    )
    watcher = Watcher()

    # when
    watched = run(scenario, 5, watcher)

    # then
    assert watched == run(scenario, 5)
    assert watched.violations == []

    def away(at_s: float) -> int:
        near = min(watcher.samples, key=lambda one: abs(one.at_s - at_s))
        return near.agents.get(AgentStatus.OFFLINE, 0)

    assert [away(at_s) for at_s in (20 * 60, 40 * 60, 55 * 60, 80 * 60)] == [0, 2, 0, 4]

    # and given a shift in the hour in which nobody answers
    late = msgspec.structs.replace(scenario, agents=msgspec.structs.replace(agents, shifts=("09:00-09:30",)))

    # then
    silent = run(late, 5)
    assert (silent.calls > 50, silent.connected) == (True, 0)


def test_a_report_shows_the_run_without_the_network(tmp_path: Path) -> None:
    # given
    file, report = tmp_path / "storm.toml", tmp_path / "out" / "report.html"
    file.write_text(STORM_TOML.replace("storm", "a <storm> & more"))

    # when
    command = [sys.executable, "-m", "simulations", "run", str(file), "--seed", "3", "--report", str(report)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True, text=True)

    # then
    shown = report.read_text()
    assert "a &lt;storm&gt; &amp; more, seed 3" in shown
    assert json.loads(done.stdout)["digest"] in shown
    assert shown.count("<svg") == 1
    loaded = re.findall(r"(?:src|href)=['\"](?!#)|url\((?!#)|@import", shown)
    assert loaded == [], "a report is looked at where there is no network"
