"""What was acknowledged is there: after kill -9, after the database's crash, behind a lock, on a full disk."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventstore.sqlite as sqlite_store
from engine.ports import ANY, Append
from eventstore import Codec, Store, open_store, verify
from eventstore.sqlite import SqliteStore
from simulations.postgres import NotInstalled, Postgres
from tests.eventstore.events import Counted, TestEvent
from tests.eventstore.writer import BESIDE, LOG, OWNER

ROOT = Path(__file__).parents[2]
KILLS = 4
APPENDERS = 8


async def numbers_in(store: Store) -> Counter[int]:
    return Counter([one.event.n async for batch in store.read(LOG) for one in batch])


# -- kill -9 ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def killed_writer(url: str, first: int, chance: random.Random) -> list[int]:
    """The numbers that a writer acknowledged until it was killed, at a random moment of its work."""
    command = [sys.executable, "-m", "tests.eventstore.writer", url, str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(chance.randrange(1, 400))]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL
    return acknowledged


async def test_EX_02_kill_9_of_the_writer_loses_nothing_that_was_acknowledged(url: str) -> None:
    chance = random.Random(7)
    acknowledged: list[int] = []
    for number in range(KILLS):
        acknowledged += killed_writer(url, number * 1_000_000, chance)
        store = await open_store(url, Codec(TestEvent), owner=OWNER)
        found = await numbers_in(store)
        assert set(acknowledged) <= set(found)
        assert set(found.values()) == {2}  # both halves of every append, each once
        assert (await verify(store, LOG)).faults == []
        told = [one.event.n async for batch in store.read(BESIDE) for one in batch]
        ends = [batch[-1].pos async for batch in store.read(LOG)]
        assert told == ends  # what stands beside a segment is there if it is
        await store.close()


# -- the database's own crash -----------------------------------------------------------------------------------------


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server of the test's own, for it will be crashed."""
    try:
        with Postgres.running() as server:
            yield server
    except NotInstalled as reason:
        pytest.skip(str(reason))


async def test_EX_02_the_writer_goes_on_by_itself_after_a_crash_of_the_database(postgres: Postgres) -> None:
    store = await open_store(postgres.url, Codec(TestEvent), owner=OWNER)
    log = await store.open_log(LOG)
    acknowledged: list[int] = []
    numbers = iter(range(10**9))
    enough = asyncio.Event()

    async def appender() -> None:
        while not enough.is_set():
            number = next(numbers)
            await log.append([Append("s", ANY, [Counted(n=number)])])
            acknowledged.append(number)

    async def until_acknowledged(count: int) -> None:
        async with asyncio.timeout(30):
            while len(acknowledged) < count:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(APPENDERS):
            tasks.create_task(appender())
        for _ in range(3):
            await until_acknowledged(len(acknowledged) + 200)
            await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
            await asyncio.to_thread(postgres.start)
        await until_acknowledged(len(acknowledged) + 200)
        enough.set()
    await log.close()
    found = await numbers_in(store)
    assert set(found) == set(acknowledged)  # every append was settled: nothing missing, nothing that nobody was told of
    assert set(found.values()) == {1}
    assert (await verify(store, LOG)).faults == []
    await store.close()


# -- SQLite's own troubles --------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


async def test_a_locked_database_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "BUSY_TIMEOUT_MS", 20)  # far shorter than the lock is held
    store = await open_store(f"sqlite:///{path}", Codec(TestEvent), owner=OWNER)
    log = await store.open_log(LOG)
    await log.append([Append("s", 0, [Counted(n=1)])])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    waiting = [asyncio.ensure_future(log.append([Append("s", n, [Counted(n=n + 1)])])) for n in (1, 2)]
    _, pending = await asyncio.wait(waiting, timeout=0.3)
    assert len(pending) == 2
    other.execute("rollback")
    other.close()
    await asyncio.gather(*waiting)
    assert await numbers_in(store) == {1: 1, 2: 1, 3: 1}
    assert (await verify(store, LOG)).faults == []
    await log.close()
    await store.close()


async def limit_pages(store: Store, more: int) -> None:
    """Room for `more` pages beyond those in use, as on a full disk; a large number lifts the limit."""
    segments = store.segments
    assert isinstance(segments, SqliteStore)

    def work() -> None:
        used = int(segments._write_to.execute("pragma page_count").fetchone()[0])
        segments._write_to.execute(f"pragma max_page_count = {used + more}")

    await segments._write(work)


def large(n: int) -> Append:
    """Some pages' worth, which no compression makes small."""
    return Append("s", ANY, [Counted(n=n, at=random.Random(n * 1_000 + i).getrandbits(60)) for i in range(1_000)])


async def test_a_full_disk_is_waited_for_and_nothing_acknowledged_is_lost(path: Path) -> None:
    store = await open_store(f"sqlite:///{path}", Codec(TestEvent), owner=OWNER)
    log = await store.open_log(LOG)
    await log.append([large(1)])
    await limit_pages(store, 0)
    waiting = asyncio.ensure_future(log.append([large(2)]))
    await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    assert log.trouble == "database or disk is full"
    await limit_pages(store, 10_000)
    await waiting
    assert log.trouble == ""
    await log.append([large(3)])
    assert await numbers_in(store) == {1: 1_000, 2: 1_000, 3: 1_000}
    assert (await verify(store, LOG)).faults == []
    await log.close()
    await store.close()


# -- a reader that was cancelled --------------------------------------------------------------------------------------

ROWS = 1_000_000
MANY = f"with recursive c(n) as (select 1 union all select n + 1 from c where n < {ROWS}) select n from c"


async def test_a_store_is_closed_behind_a_read_whose_reader_has_gone(tmp_path: Path) -> None:
    """The query goes on in its thread: to close the connection under it may end the process."""
    store = await SqliteStore.open(tmp_path / "log.db")
    began, loop = asyncio.Event(), asyncio.get_running_loop()
    read: list[tuple[int]] = []

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        read.extend(store._read_from.execute(MANY).fetchall())

    reader = asyncio.create_task(store._read(work))
    await began.wait()
    reader.cancel()
    await store.close()
    assert len(read) == ROWS
    with pytest.raises(sqlite3.ProgrammingError):
        store._read_from.execute("select 1")
