"""What is SQLite's alone: all writes wait for one another, so a large one goes in pieces."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventstore import Codec, Store, open_store, snapshot
from eventstore.sqlite import SqliteStore
from tests.eventstore.events import TestEvent

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from eventstore.sqlite import SqliteStore

async def die():
    store = await SqliteStore.open(Path(sys.argv[1]))
    with store._transaction() as connection:
        connection.execute("insert into es_key values ('ann', ?)", (bytes.fromhex(sys.argv[2]),))
    store._empty_wal = lambda: os.kill(os.getpid(), signal.SIGKILL)
    await store.shred("ann")

asyncio.run(die())
"""
PARTS = {str(number): bytes([number]) * 100 for number in range(5)}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'a.db'}", Codec(TestEvent))
    yield opened
    await opened.close()


@pytest.mark.parametrize("pieces", range(9))
async def test_a_snapshot_that_is_broken_off_leaves_the_one_before(
    store: Store, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """given a write that ends behind any of its pieces, then the newest whole one is read, and the next save clears up"""
    await store.save_snapshot("s", "a", 5, {"x": b"first"}.items())
    segments = store.segments
    assert isinstance(segments, SqliteStore)
    monkeypatch.setattr(snapshot, "WRITTEN_BYTES", 1)
    left, write = pieces, segments._write

    async def cut(work: Callable[[], Any]) -> Any:
        nonlocal left
        if not left:
            raise asyncio.CancelledError
        left -= 1
        return await write(work)

    monkeypatch.setattr(segments, "_write", cut)
    with pytest.raises(asyncio.CancelledError):
        await store.save_snapshot("s", "a", 9, PARTS.items())
    monkeypatch.undo()
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == ((9, PARTS) if pieces == 8 else (5, {"x": b"first"}))
    await store.save_snapshot("s", "a", 12, {"x": b"last"}.items())
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (12, {"x": b"last"})
    assert segments._read_from.execute("select count(*) from es_snapshot").fetchone() == (1,)


async def test_who_is_erased_while_a_snapshot_is_written_leaves_no_key_behind(store: Store, tmp_path: Path) -> None:
    """neither in the file nor in its write-ahead log, whose pages are moved just then"""
    segments = store.segments
    assert isinstance(segments, SqliteStore)
    save = asyncio.create_task(
        store.save_snapshot("s", "a", 9, {f"{n:03}": os.urandom(65_536) for n in range(300)}.items())
    )
    erased = 0
    while not save.done():
        key = os.urandom(32)
        with_key = partial(segments._write_to.execute, "insert or replace into es_key values ('ann', ?)", (key,))
        await segments._write(with_key)
        assert any(key in path.read_bytes() for path in tmp_path.iterdir())
        assert await segments.shred("ann")
        assert not any(key in path.read_bytes() for path in tmp_path.iterdir())
        erased += 1
    await save
    assert erased > 10


async def test_a_snapshot_that_is_dropped_leaves_no_key_behind(store: Store, tmp_path: Path) -> None:
    await store.save_snapshot("s", "a", 9, PARTS.items())
    key = (await store.segments.keys([snapshot.subject_of("s", "a", 9)]))[snapshot.subject_of("s", "a", 9)]
    assert any(key in path.read_bytes() for path in tmp_path.iterdir())
    await store.drop_snapshots("a")
    assert not any(key in path.read_bytes() for path in tmp_path.iterdir())


async def test_who_is_erased_while_somebody_reads_is_gone_from_the_write_ahead_log_later(
    store: Store, tmp_path: Path
) -> None:
    """a backup, for one"""
    segments, key = store.segments, os.urandom(32)
    assert isinstance(segments, SqliteStore)
    await segments._write(partial(segments._write_to.execute, "insert into es_key values ('ann', ?)", (key,)))
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from es_key").fetchone()
        assert await store.shred("ann")
        assert not await store.shred("ann")
        await store.save_snapshot("s", "a", 1, {"x": b"1"}.items())
        await store.drop_snapshots("a")
        assert any(key in path.read_bytes() for path in tmp_path.iterdir())
    await store.forget_answers(0)
    assert not any(key in path.read_bytes() for path in tmp_path.iterdir())


async def test_what_a_crash_left_in_the_write_ahead_log_is_gone_with_the_next_owner(tmp_path: Path) -> None:
    """given a process that died between a key's erasure and the emptying of the write-ahead log"""
    key = os.urandom(32)
    died = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path / "a.db"), key.hex()], check=False, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert any(key in path.read_bytes() for path in tmp_path.iterdir())
    opened = await open_store(f"sqlite:///{tmp_path / 'a.db'}", Codec(TestEvent))
    log = await opened.open_log("a")
    assert not any(key in path.read_bytes() for path in tmp_path.iterdir())
    await log.close()
    await opened.close()


async def test_commits_go_on_while_a_snapshot_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """given a snapshot of many parts, then what is asked meanwhile is done between two of them"""
    monkeypatch.setattr(snapshot, "WRITTEN_BYTES", 1)
    order: list[str] = []
    save = asyncio.create_task(store.save_snapshot("s", "a", 9, {str(n): bytes(100) for n in range(200)}.items()))
    save.add_done_callback(lambda _: order.append("snapshot"))
    for _ in range(5):
        await asyncio.sleep(0)
        await store.segments.save_checkpoint("c", "a", 1)
        order.append("commit")
    await save
    await asyncio.sleep(0)
    assert order == ["commit"] * 5 + ["snapshot"]
