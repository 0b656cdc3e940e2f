"""Fixtures that more than one folder of tests uses."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from config.settings import Ami
from simulations.pbx import Script, SimulatedPbx, User
from tests import notified
from tests.world import World, running, settings_for

pytest_plugins = ["tests.postgres_fixture"]

TIME_SCALE = 0.05
"""Ring and talk times at the simulated PBX, against life."""


@pytest.fixture(autouse=True)
def notifications_fit_their_schemas(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In every test: what clients are told is what the catalogue says."""
    notified.watch(monkeypatch)
    yield
    found, notified.faults = notified.faults, []
    assert not found, found[:5]


@pytest.fixture(autouse=True)
def snapshots_need_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test asks for they do at once, however long the last one took."""
    monkeypatch.setattr("engine.snapshots.RESTS", 0)


@pytest.fixture
async def pbx() -> AsyncIterator[SimulatedPbx]:
    """A simulated PBX whose far ends answer by the number's first digit, as the scripted carrier of the real one does."""
    simulated = SimulatedPbx(Script(), seed=1, time_scale=TIME_SCALE, login_penalty_ms=0)
    await simulated.start()
    yield simulated
    await simulated.stop()


def ami_of(pbx: SimulatedPbx) -> Ami:
    user = User()
    return Ami(port=pbx.port, username=user.name, secret=user.secret, reconnect_min_ms=50, reconnect_max_ms=200)


@pytest.fixture
async def service(tmp_path: Path, pbx: SimulatedPbx) -> AsyncIterator[World]:
    """The whole service against the simulated PBX."""
    async with running(settings_for(tmp_path, ami_of(pbx))) as world:
        yield world


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted with `record_property`, for whoever reads the run: how much was tried is part of the proof."""
    counted = [
        f"{one.nodeid}: {name} {value}"
        for one in terminalreporter.getreports("passed")
        if one.when == "call"
        for name, value in one.user_properties
    ]
    if counted:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(counted))
