"""The real thing, for a few seconds: `python -m simulations ordeal` is the long one, and `make ordeal` runs it."""

from pathlib import Path

import pytest

from simulations.asterisk import Installation
from simulations.ordeal.ordeal import Plan, ordeal
from simulations.postgres import NotInstalled, binaries

SECONDS = 12.0
FAULTS = 3


@pytest.mark.slow
async def test_EX_01_EX_02_killed_frozen_and_cut_off_nothing_is_lost_or_doubled(
    tmp_path: Path, installation: Installation
) -> None:
    """
    Given agents who work through a list on a real Asterisk and a real PostgreSQL,
    when the engine, the PBX, the store and the lines between them fail at random moments,
    then the checkers find nothing in the log and in the PBX's own record: every call has its intent and its one end, as it was.
    """
    try:
        binaries()
    except NotInstalled as reason:
        pytest.skip(str(reason))
    plan = Plan(seconds=SECONDS, seed=3, pause_s=(0.5, 1.5), second=0.3)
    found = await ordeal(tmp_path, plan, installation, with_postgres=True)
    assert found.violations == []
    assert (found.ghosts, found.stuck) == (0, 0)
    assert sum(found.faults.values()) >= FAULTS  # or it proved nothing
    assert found.calls > 0
    assert found.notifications > found.calls
