"""A real Asterisk with its carrier and phones. Where none can be had, these tests are skipped and say why."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from simulations.asterisk import Installation, NotInstallable, Site, install
from tests.simulations.ami import Ami

HERE = Path(__file__).parent
AGENTS = 8
REQUIRED = "RINGFOLD_REQUIRE_ASTERISK"
"""Set where a skip would be a failure: then what can't be installed is an error."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asterisk)


@pytest.fixture(scope="session")
def installation() -> Installation:
    try:
        return install()
    except NotInstallable as reason:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"no real Asterisk here: {reason}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asterisk(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all tests of the session: leave no channel behind and don't restart it."""
    async with Site(tmp_path_factory.mktemp("asterisk"), agents=AGENTS, installation=installation) as site:
        yield site


@pytest.fixture
async def fresh_asterisk(installation: Installation, tmp_path: Path) -> AsyncIterator[Site]:
    """One of the test's own: to be killed, frozen, restarted."""
    async with Site(tmp_path / "asterisk", agents=AGENTS, installation=installation) as site:
        yield site


@pytest.fixture
async def ami(asterisk: Site) -> AsyncIterator[Ami]:
    """A bare login as the engine's; its channels are hung up afterwards."""
    pbx = asterisk.asterisk
    client = await Ami.login(pbx.ami_port, pbx.username, pbx.secret)
    yield client
    for message in list(client.messages):
        if message["Event"] == "Newchannel" and "Hangup" not in client.names(message.leg):
            await client.act("Hangup", Channel=message.leg)
    await client.close()
