"""Starting where a part can't be had: the service stands by or says why, can be stopped meanwhile, and keeps nothing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.notify.event import FEED_LOG
from config.settings import Settings
from engine.app import DIRECTORY
from engine.ports import StoreUnavailable
from engine.service import Service, open_log_store
from simulations.engine_process import EngineProcess, free_port
from simulations.pbx import SimulatedPbx
from tests.conftest import ami_of
from tests.world import PATIENCE_S, settings_for


@asynccontextmanager
async def held(settings: Settings, *names: str) -> AsyncIterator[Callable[[], Any]]:
    """These logs owned by another process; yields what lets them go."""
    other = await open_log_store(settings)
    logs = [await other.open_log(name) for name in names]

    async def let_go() -> None:
        for one in logs:
            await one.close()

    yield let_go
    await let_go()
    await other.close()


def process(folder: Path, **settings: dict[str, Any]) -> EngineProcess:
    ami = {"port": free_port(), "secret": "none"}
    return EngineProcess(folder, {"ami": ami, "log": {"json": False}, **settings})


def leases(database: Path) -> dict[str, int]:
    """Logs whose lease isn't given back, and until when (epoch ms) they are kept."""
    connection = sqlite3.connect(database)
    try:
        return dict(connection.execute("select log, until from es_log where until > 0").fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("kept", [FEED_LOG, DIRECTORY])
async def test_a_standby_ends_well_and_soon_when_it_is_told_to(tmp_path: Path, pbx: SimulatedPbx, kept: str) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with held(settings, kept):
        standby = process(tmp_path / "standby", store={"url": settings.store.url})
        starting = asyncio.ensure_future(standby.start())
        async with asyncio.timeout(PATIENCE_S):
            while not standby.log_path.exists() or "standing by" not in standby.log_path.read_text():
                await asyncio.sleep(0.05)
        starting.cancel()

        try:
            async with asyncio.timeout(10):
                status = await standby.stop()
        finally:
            await standby.kill()

        assert status == 0
        assert list(leases(tmp_path / "ringfold.db")) == [kept]


async def test_the_feed_of_another_owner_is_waited_for_before_the_pbx_is_called(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with held(settings, FEED_LOG) as let_go:
        service = Service(settings)
        starting = asyncio.ensure_future(service.start())
        await asyncio.sleep(0.5)
        assert not starting.done()
        assert pbx.connections == 0

        await let_go()
        async with asyncio.timeout(PATIENCE_S):
            await starting
        assert pbx.connections == 1
        await service.stop()


async def test_a_start_that_fails_gives_every_lease_back_and_says_why(tmp_path: Path, pbx: SimulatedPbx) -> None:
    ami = {"port": pbx.port, "username": pbx.username, "secret": "wrong"}
    refused = process(tmp_path, ami=ami)

    with pytest.raises(RuntimeError, match="can't start"):
        await refused.start()

    assert await refused.stop() == 1
    assert leases(tmp_path / "ringfold.db") == {}


async def test_a_port_that_is_taken_gives_every_lease_back(tmp_path: Path, pbx: SimulatedPbx) -> None:
    unlucky = process(tmp_path, ami={"port": pbx.port, "username": pbx.username, "secret": pbx.secret})
    blocker = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", unlucky.port)

    with pytest.raises(RuntimeError, match=r"can't start.*in use"):
        await unlucky.start()
    blocker.close()

    assert await unlucky.stop() == 1
    assert leases(tmp_path / "ringfold.db") == {}


async def test_a_store_that_is_away_at_start_is_told_in_a_line(tmp_path: Path) -> None:
    away = process(tmp_path, store={"url": f"postgresql://nobody@127.0.0.1:{free_port()}/none"})

    with pytest.raises(RuntimeError, match="can't start"):
        await away.start()

    assert await away.stop() == 1
    assert "Traceback" not in away.log_path.read_text()


async def test_a_restart_is_a_new_owner_even_where_host_and_process_number_are_the_same(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    """Containers may share a host name, and each one's first process has the number 1."""
    settings = settings_for(tmp_path, ami_of(pbx))
    async with held(settings, DIRECTORY):
        twin = await open_log_store(settings)
        with pytest.raises(StoreUnavailable):
            await twin.open_log(DIRECTORY)
        await twin.close()
