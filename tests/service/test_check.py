"""`ringfold check`: what keeps calls from working is a fault, what doesn't is told."""

from pathlib import Path

import pytest

from adapters.ami.check import Finding
from simulations.engine_process import EngineProcess
from simulations.pbx import Script, SimulatedPbx


@pytest.mark.parametrize(
    ("finding", "is_fault", "told"),
    [
        (Finding(ok=True, what="it is there", warning=True), False, "ok    it is there"),
        (
            Finding(ok=False, what="no file", cure="make one", warning=True),
            False,
            "warn  no file\n      cure: make one",
        ),
        (Finding(ok=False, what="no call", cure="mend it"), True, "FAULT no call\n      cure: mend it"),
    ],
)
def test_a_warning_is_told_and_is_no_fault(finding: Finding, is_fault: bool, told: str) -> None:
    assert (finding.is_fault, str(finding)) == (is_fault, told)


async def test_the_command_tells_warnings_and_faults_apart(tmp_path: Path) -> None:
    pbx = SimulatedPbx(Script(), seed=1, time_scale=0.05, login_penalty_ms=0)
    ami = {
        "port": await pbx.start(),
        "username": pbx.username,
        "secret": pbx.secret,
        "cel_path": str(tmp_path / "none"),
    }
    try:
        status, told = await EngineProcess(tmp_path / "engine", {"ami": ami}).command("check")
    finally:
        await pbx.stop()
    assert "warn  CEL file: missing or not readable\n      cure: load cel_custom" in told
    assert "FAULT event Newchannel: does not arrive" in told  # the simulated PBX has no channels of its own
    assert status == 1
