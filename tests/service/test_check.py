"""`ringfold check`: what keeps calls from working is a fault, what doesn't is told."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.ami.check import Finding
from api.token import Role
from simulations.engine_process import EngineProcess, free_port
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


def process(folder: Path, **settings: dict[str, Any]) -> EngineProcess:
    return EngineProcess(folder, {"ami": {"port": free_port(), "secret": "none"}, **settings})


def before_the_pbx(told: str) -> str:
    """What it said of this machine and the store."""
    return told.partition("FAULT no AMI")[0]


async def test_a_machine_where_nothing_was_made_yet_is_ready_and_stays_as_it_is(tmp_path: Path) -> None:
    engine = process(tmp_path / "engine")
    files = sorted(tmp_path.rglob("*"))
    status, told = await engine.command("check")
    said = before_the_pbx(told)
    assert said.count("ok    ") == 5, said
    for words in ("token keys: none yet", "the store: none yet", "engine can be written to", "is free"):
        assert words in said
    assert "FAULT" not in said
    assert status == 1  # there is no PBX
    assert sorted(tmp_path.rglob("*")) == files


async def test_it_may_be_asked_while_the_service_runs(tmp_path: Path, pbx: SimulatedPbx) -> None:
    ami = {"port": pbx.port, "username": pbx.username, "secret": pbx.secret}
    engine = EngineProcess(tmp_path / "engine", {"ami": ami})
    try:
        await engine.start()
        _, told = await engine.command("check")
    finally:
        await engine.kill()
    said = told.partition("ok    logged in")[0]
    assert "ok    HTTP: the service is running at" in said
    assert "ok    token keys: readable for the service alone" in said
    assert "ok    the store opens: sqlite" in said
    assert "FAULT" not in said
    assert "warn  clock: the PBX's is" in told  # the simulated one has a time of its own


async def test_what_is_in_the_way_is_named_with_its_cure(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        engine = process(tmp_path / "engine", http={"port": other.getsockname()[1]})
        engine.token(Role.ADMINISTRATOR, "operator")
        (tmp_path / "engine" / "tokens.key").chmod(0o640)
        (tmp_path / "engine" / "imports").write_text("a file where a folder should be")
        (tmp_path / "engine" / "ringfold.db").write_text("no store " * 500)
        status, told = await engine.command("check")
    assert status == 1
    for fault in (
        "FAULT token keys: ",
        "imports can't be written to\n      cure: let the service's user write to",
        "something else listens there\n      cure: name another host or port",
        "FAULT the store can't be read: the SQLite file can't be used",
    ):
        assert fault in told, told
    assert "Traceback" not in told
    away = process(tmp_path / "away", store={"attic_folder": str(tmp_path / "engine" / "imports")})
    _, told = await away.command("check")
    assert "warn  the folder of calls that ended: " in told
    assert "until then these calls stay in memory" in told
    damaged = tmp_path / "engine" / "tokens.key"
    damaged.write_text("not a key")
    damaged.chmod(0o600)
    _, told = await engine.command("check")
    assert "FAULT token keys: " in told
    assert "Traceback" not in told


async def test_a_store_that_is_away_or_forgets_is_told_of(tmp_path: Path) -> None:
    away = process(tmp_path / "away", store={"url": f"postgresql://nobody@127.0.0.1:{free_port()}/none"})
    _, told = await away.command("check")
    assert "FAULT the store can't be opened: PostgreSQL can't be reached" in told
    assert "Traceback" not in told
    _, told = await process(tmp_path / "memory", store={"url": "memory:"}).command("check")
    assert "warn  the store is in memory" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not")
async def test_rights_are_those_of_the_user_who_asks(tmp_path: Path) -> None:
    """As root everything may be written, which says nothing of the service: that is told too."""
    _, told = await process(tmp_path / "engine").command("check")
    assert "warn  this is root" in told
    as_nobody = (
        "import os, sys; from pathlib import Path; from engine.command.machine import _unwritable\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); print(*map(_unwritable, map(Path, sys.argv[1:])))"
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", as_nobody, "/usr/none/imports", str(tmp_path / "engine"), os.devnull),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    above, closed, file = out.decode().split()
    assert above == "/usr"
    assert tmp_path.is_relative_to(closed) or closed == str(tmp_path / "engine")
    assert file == os.devnull
