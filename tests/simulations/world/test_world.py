"""The simulated world: the same seed is the same day, faults strike, and what its checkers forbid they find."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.ami.telephony import AmiTelephony
from simulations.world.scenario import Agents, Scenario, read_scenario
from simulations.world.world import Result, run

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
    assert min(result.crashes, result.cuts, result.originates_cut, result.pbx_restarts) > 0
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
    assert any("without an intent" in one for one in run(SHORT, 1).violations)


def test_a_wrong_scenario_names_the_key(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    for text, key in (
        ('name = "x"\n[agents]\ncuont = 3', "cuont"),
        ('name = "x"\n[faults]\ncuts = -1', "$.faults.cuts"),
        ('name = "x"\n[callees]\nanswer = 0.9\nbusy = 0.9', "$.callees"),
    ):
        file.write_text(text)
        with pytest.raises(msgspec.ValidationError) as refused:
            read_scenario(file)
        assert key in str(refused.value)


def test_the_shipped_scenarios_are_right() -> None:
    shipped = list(Path("simulations/scenarios").glob("*.toml"))
    assert len(shipped) >= 2
    for one in shipped:
        assert read_scenario(one).name
