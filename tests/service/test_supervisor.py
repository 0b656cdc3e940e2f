"""The service under a supervisor that speaks systemd's notify protocol: ready, alive, stopping. And the unit that says so."""

import asyncio
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from simulations.engine_process import EngineProcess
from simulations.pbx import SimulatedPbx

UNIT = Path(__file__).parents[2] / "deploy" / "ringfold.service"
PATIENCE_S = 30


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


async def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine: apt-get install systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/ringfold/.venv/bin/ringfold", sys.executable), "utf-8")
    child = await asyncio.create_subprocess_exec(
        *(analyze, "verify", str(unit)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ,
    )
    told, _ = await child.communicate()
    about = [line for line in told.decode().splitlines() if UNIT.name in line]
    assert about == []
