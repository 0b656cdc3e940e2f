"""The service under a supervisor that speaks systemd's notify protocol: ready, alive, stopping. And the unit that says so."""

import asyncio
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from config.settings import Settings
from engine.command.serve import NEEDS_SOMEBODY, STOP_WITHIN_S
from simulations.engine_process import EngineProcess
from simulations.pbx import SimulatedPbx

UNIT = Path(__file__).parents[2] / "deploy" / "ringfold.service"
PATIENCE_S = 30
MOST_EXPOSED = 2.0


async def test_it_tells_when_it_is_ready_alive_and_stopping(
    tmp_path: Path, pbx: SimulatedPbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    heard.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    ami = {"port": pbx.port, "username": pbx.username, "secret": pbx.secret}
    engine = EngineProcess(tmp_path / "engine", {"ami": ami})
    loop = asyncio.get_running_loop()
    said: list[str] = []

    async def until(state: str, times: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while said.count(state) < times:
                said.append((await loop.sock_recv(heard, 1_000)).decode())

    try:
        await engine.start()
        await until("READY=1", 1)
        await until("WATCHDOG=1", said.count("WATCHDOG=1") + 3)
        assert "STOPPING=1" not in said
        assert await engine.stop() == 0
        await until("STOPPING=1", 1)
    finally:
        await engine.kill()
        heard.close()


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """With a program that is there."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/ringfold/.venv/bin/ringfold", sys.executable), "utf-8")
    return unit


async def analyzed(*words: str) -> tuple[int, str]:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine: apt-get install systemd")
    child = await asyncio.create_subprocess_exec(
        *(analyze, *words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=os.environ
    )
    told, _ = await child.communicate()
    return child.returncode or 0, told.decode()


async def test_the_unit_is_one_that_systemd_takes(unit: Path) -> None:
    _, told = await analyzed("verify", str(unit))
    assert [line for line in told.splitlines() if UNIT.name in line] == []


async def test_the_unit_leaves_the_service_little_that_it_could_do_harm_with(unit: Path) -> None:
    """Of 10.0: what is left is the network, which it is for."""
    status, told = await analyzed(
        "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}", str(unit)
    )
    assert status == 0, told
    unit.write_text(unit.read_text("utf-8").replace("CapabilityBoundingSet=\n", ""), "utf-8")
    status, told = await analyzed(
        "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}", str(unit)
    )
    assert status != 0, "the measure doesn't notice what is taken away"


def settings_of_the_unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_and_the_service_agree() -> None:
    """A user that comes and goes can own no file in /etc; a stop may last as long as the service takes; 2 is for good."""
    unit = settings_of_the_unit()
    (start,), (credential,) = unit["ExecStart"], unit["LoadCredential"]
    name, _, source = credential.partition(":")
    assert start.split()[1:] == ["serve", "--config", f"%d/{name}"]
    assert source == "/etc/ringfold/ringfold.toml"
    assert int(unit["TimeoutStopSec"][0]) >= Settings().engine.drain_timeout_s + STOP_WITHIN_S + 5
    assert unit["RestartPreventExitStatus"] == [str(NEEDS_SOMEBODY)]
    assert "ProcSubset" not in unit  # prometheus_client tells nothing of the process where /proc/stat is hidden
