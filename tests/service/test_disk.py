"""The store's disk runs full, a real one, under a service with a call in progress: nothing is lost, and it goes on."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from api.token import Role
from config.settings import Settings
from engine import actor
from simulations.disk import Disk, NotMountable
from simulations.pbx import SimulatedPbx
from simulations.postgres import NotInstalled, Postgres
from tests.api.asking import ask, token_of
from tests.conftest import ami_of
from tests.service.test_postgres import on, refused, stopped, whole
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for

SQLITE_MB, DATA_MB, WAL_MB = 16, 128, 32
TRIES = 500
NAME = "x" * 90
Twice = tuple[Callable[[], None], Callable[[], None]]
"""What makes the disk full, and what has to be done until all can be well again."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "STORE_PATIENCE_S", 0.3)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that PostgreSQL's user gets into as well."""
    with tempfile.TemporaryDirectory(prefix="ringfold-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def disk(place: Path) -> Iterator[Disk]:
    with small(place / "disk", SQLITE_MB) as one:
        yield one


@contextlib.contextmanager
def small(at: Path, megabytes: int) -> Iterator[Disk]:
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(Disk.mounted(at, megabytes))
        except NotMountable as reason:
            pytest.skip(f"no small disk: {reason}")
        yield disk


async def test_EX_02_the_disk_of_sqlite_runs_full_mid_call_and_is_freed(disk: Disk, pbx: SimulatedPbx) -> None:
    settings = settings_for(disk.at, ami_of(pbx))
    await survived(settings, pbx, (disk.fill, disk.free), "full")


@pytest.mark.postgres
@pytest.mark.parametrize("which", ["data", "log"])
async def test_EX_02_a_disk_of_postgresql_runs_full_mid_call_and_is_freed(
    place: Path, pbx: SimulatedPbx, which: str
) -> None:
    """Where its data has no room it says so; where its log has none it ends itself, and somebody has to start it again."""
    with small(place / "data", DATA_MB) as data, small(place / "log", WAL_MB) as log, contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(Postgres.running(data.at, log.at))
        except NotInstalled as reason:
            pytest.skip(str(reason))
        disk = data if which == "data" else log

        def fill() -> None:
            disk.fill()
            if disk is log:
                asyncio.run(use_up(server))

        def restore() -> None:
            disk.free()
            if not server.is_running:
                server.start()

        said = "No space left on device" if disk is data else ""
        await survived(on(server.url, place, pbx), pbx, (fill, restore), said)
        assert ("PANIC" in server.said) == (disk is log)


async def use_up(server: Postgres) -> None:
    """PostgreSQL writes on in pieces of its log that it has made already, until the next one can't be made."""
    connection = await asyncpg.connect(server.url)
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        for _ in range(WAL_MB):
            await connection.execute("select pg_logical_emit_message(false, 'ballast', repeat('x', 1000000))")
    while server.is_running:  # it tries to come up again, and gives in
        await asyncio.sleep(0.05)


async def survived(settings: Settings, pbx: SimulatedPbx, disk: Twice, said: str) -> None:
    """Given two agents, one in a call and one with a contact in hand, when the disk is full, then neither is lost, nothing
    is dialled and health says why; the moment there is room again, what was decided is carried out."""
    fill, restore = disk
    async with running(settings) as world:
        await world.campaign("spring", [["15550001"], ["15550002"]], agents=("agent1", "agent2"))
        await world.run("spring")
        first, second = world.agent("agent1"), world.agent("agent2")
        talking, waiting = await take(first), await take(second, "agent2")
        call = (await act(first, talking, "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=call)

        await asyncio.to_thread(fill)
        await until_nothing_more_is_taken(world)
        assert pbx.hang_up(call)
        dial, token = f"/v1/reservations/{waiting['id']}/dial", {"token": waiting["token"]}
        await refused(world, "POST", dial, token, token_of(world, Role.AGENT, "agent2"))
        missing = (await ask(world, "GET", "/v1/health")).body["missing"]
        assert any(one.startswith("campaign spring: ") and said in one for one in missing), missing
        assert (await ask(world, "GET", "/readyz", token="")).status == 503
        assert [one.leg for one in pbx.originates if one.number] == [call]
        assert not world.service.engine.failed.done()

        await asyncio.to_thread(restore)
        ended = await world.told("spring", "call.ended", call=call, patience_s=60)
        assert (ended["data"]["outcome"], ended["data"]["ended_by"]) == ("answered", "contact")
        assert [one.leg for one in pbx.originates if one.number] == [
            call
        ]  # the dial was refused before it was decided on
        await act(first, talking, "disposition", disposition="engaged")
        late = (await act(second, waiting, "dial"))["call_id"]
        await world.told("spring", "call.bridged", call=late)
        await second.call("POST", f"/v1/calls/{late}/hangup", {})
        await world.told("spring", "call.ended", call=late)
        await world.ready()
        live = await stopped(world, "spring")
    assert await whole(settings.store.url, "spring", pbx) == live


async def until_nothing_more_is_taken(world: World) -> None:
    """A full disk may have room yet in files that are there: names are changed until that is used up."""
    for number in range(TRIES):
        answer = await ask(world, "PATCH", "/v1/campaigns/spring", {"name": f"{number} {NAME}"})
        if answer.status == 503:
            return
        assert answer.status == 202, answer.raw
    raise AssertionError(f"{TRIES} writes went through on a full disk")
