"""Starting where a part can't be had: the service stands by or says why, can be stopped meanwhile, and keeps nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from engine.__main__ import open_log_store
from engine.app import DIRECTORY
from engine.ports import StoreUnavailable
from simulations.pbx import SimulatedPbx
from tests.conftest import ami_of
from tests.world import settings_for


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
