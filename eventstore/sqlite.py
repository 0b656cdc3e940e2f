"""The embedded store: SQLite in WAL mode, fully synchronous, one writer thread and one reader thread."""

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import structlog

from engine.ports import KeptAnswer, Unreadable
from eventstore.snapshot import subject_of
from eventstore.store import Disconnected, Head, Part, Placed, Segment, batches
from eventstore.worker import Worker

T = TypeVar("T")
Small = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]
ANSWER = ("at", "print", "status", "headers", "body")
SCHEMA = Path(__file__).with_name("sql") / "sqlite.sql"
BUSY_TIMEOUT_MS = 5_000
MAX_VARIABLES = 500
NEWEST = """
select max(pos) from es_snapshot where name = ?1 and log = ?2
and exists (select 1 from es_key where subject = 'snapshot ' || name || ' ' || log || ' ' || pos)
"""
"""Position of the newest snapshot that is whole: its key comes last (`snapshot.subject_of`)."""
PARTS = """
select part, data from es_snapshot where name = ? and log = ? and pos = ? and part > ? order by part limit ?
"""
PUT_PART = "insert or replace into es_snapshot values (?, ?, ?, ?, ?)"
OLDER_PARTS = "select pos, part from es_snapshot where name = ? and log = ? and pos < ? limit 2"
SAME_PARTS = "select pos, part from es_snapshot where name = ? and log = ? and pos = ? limit 2"
DELETE_PART = "delete from es_snapshot where name = ? and log = ? and pos = ? and part = ?"
PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Faults that may pass: another writer holds the file, the disk is full or ailing. Trying again is right."""

EMPTY_WAL_WITHIN_S, EMPTY_WAL_AGAIN_S = 0.25, 0.01
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
CLOSED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})

warn = structlog.get_logger(__name__)


class SqliteStore:
    """Implements SegmentStore. Open it with `SqliteStore.open`."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer, self._reader = Worker("sqlite writer"), Worker("sqlite reader")
        self._write_to: sqlite3.Connection
        self._read_from: sqlite3.Connection
        self._holds_deleted = False
        """The write-ahead log does. It is emptied when something else is deleted for good, or answers are looked through."""
        self._lock: int | None = None
        self._small: list[Small] = []
        self._still = asyncio.Event()
        """None of these is being written."""
        self._still.set()

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        store = cls(path)
        await store._write(store._connect)
        return store

    def _connect(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # keys of personal data live in here
        self._write_to = self._connection()
        self._write_to.execute("pragma journal_mode = wal")
        self._write_to.execute("pragma synchronous = full")
        with self._transaction() as connection:
            migrate(connection)
        self._read_from = self._connection()

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("pragma secure_delete = on")  # an erased key leaves no bytes behind in free pages
        connection.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
        return connection

    async def _write(self, work: Callable[[], T]) -> T:
        return await self._writer.do(partial(_telling, work))

    async def _together(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A small write, in one transaction with all that wait while the one before is made: a commit costs a flush of the
        disk, whatever is in it. So many logs, leases and checkpoints cost hardly more than one.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._small.append((work, done))
        if self._still.is_set():
            self._still.clear()
            asyncio.get_running_loop().call_soon(self._commit_small)  # let all who are ready join the first
        return await done

    def _commit_small(self) -> None:
        if not self._small:
            self._still.set()
            return
        waiting, self._small = self._small, []
        works = [work for work, _ in waiting]
        self._writer.tell(
            partial(_telling, partial(self._all_or_each, works)),
            partial(self._committed, [done for _, done in waiting]),
        )

    def _committed(
        self, waiting: Sequence[asyncio.Future[Any]], results: Sequence[Any], error: BaseException | None
    ) -> None:
        for done, result in zip(waiting, results if error is None else [error] * len(waiting), strict=True):
            if done.done():  # whoever waited was cancelled; it is written all the same
                continue
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)
        self._commit_small()

    def _all_or_each(self, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """Their results; where one fails the others don't: then each has a transaction of its own."""
        try:
            with self._transaction() as connection:
                return [work(connection) for work in works]
        except sqlite3.Error:
            if len(works) == 1:
                raise
        return [self._alone(work) for work in works]

    def _alone(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        def within() -> Any:
            with self._transaction() as connection:
                return work(connection)

        try:
            return _telling(within)
        except (Disconnected, sqlite3.Error) as error:
            return error

    async def _read(self, work: Callable[[], T]) -> T:
        return await self._reader.do(partial(_telling, work))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._write_to.execute("begin immediate")
        try:
            yield self._write_to
            self._write_to.execute("commit")
        except BaseException:
            if self._write_to.in_transaction:  # a full disk has rolled it back already
                self._write_to.execute("rollback")
            raise

    def _empty_wal(self) -> None:
        """Of the write-ahead log nothing is left that was deleted. SQLite gives it up at once where pages are just being moved,
        by us or another process: it is tried again. Where somebody reads in a long transaction commits don't wait for them."""
        is_late, self._holds_deleted = self._holds_deleted, True
        until_s = time.monotonic() + (0 if is_late else EMPTY_WAL_WITHIN_S)
        self._write_to.execute("pragma busy_timeout = 0")
        try:
            while self._write_to.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
                if time.monotonic() >= until_s:
                    if not is_late:
                        warn.warning("the write-ahead log still has what was deleted", file=self._path.name)
                    return
                time.sleep(EMPTY_WAL_AGAIN_S)
            self._holds_deleted = False
        finally:
            self._write_to.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")

    def _move_into_file(self) -> None:
        """What the write-ahead log has, by the reader's thread: or SQLite does it within somebody's commit, 4 MB at a time."""
        with contextlib.suppress(sqlite3.Error):  # SQLite tries it again by itself
            self._read_from.execute("pragma wal_checkpoint(passive)").fetchone()

    # -- leases and segments ------------------------------------------------------------------------------------------

    def _is_alone(self) -> bool:
        """Whether no other process that ever owned a log here is alive: the kernel drops a dead one's lock.

        So a restart after a crash needn't wait for the dead owner's leases to end.
        """
        if self._lock is None:
            handle = os.open(self._path.with_name(self._path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                return False
            self._lock = handle
            return True
        return False

    async def acquire(self, log: str, owner: str, ttl_ms: int) -> Head | None:
        def work() -> Head | None:
            now = _now_ms()
            if self._is_alone():
                with self._transaction() as connection:
                    connection.execute("update es_log set until = 0")
                self._empty_wal()  # whoever died may have come no further than to erase somebody
            with self._transaction() as connection:
                connection.execute("insert or ignore into es_log values (?, 0, '', 0, 0, 0, x'')", (log,))
                row = connection.execute(
                    "update es_log set epoch = epoch + 1, owner = ?, until = ?"
                    " where log = ? and (until <= ? or owner = ?) returning epoch, seq, pos, hash",
                    (owner, now + ttl_ms, log, now, owner),
                ).fetchone()
            return Head(*row) if row else None

        return await self._write(work)

    async def renew(self, log: str, epoch: int, ttl_ms: int) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            done = connection.execute(
                "update es_log set until = ? where log = ? and epoch = ?", (_now_ms() + ttl_ms, log, epoch)
            )
            return done.rowcount == 1

        return await self._together(work)

    async def release(self, log: str, epoch: int) -> None:
        def work() -> None:
            with self._transaction() as connection:
                connection.execute("update es_log set until = 0 where log = ? and epoch = ?", (log, epoch))

        await self._write(work)

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if beside is not None and not _follows(
                connection, beside
            ):  # first: one that is written can't be taken back
                return False
            if not _append(connection, Placed(log, segment)):
                return False
            if beside is not None:
                _append(connection, beside)
            _keep_keys(connection, list(keys.items()))
            return True

        return await self._together(work)

    async def head(self, log: str) -> Head | None:
        def work() -> Head | None:
            row = self._read_from.execute("select epoch, seq, pos, hash from es_log where log = ?", (log,)).fetchone()
            return Head(*row) if row else None

        return await self._read(work)

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        def work() -> list[Segment]:
            rows = self._read_from.execute(
                "select seq, pos, n, epoch, at, codec, hash, data from es_segment where log = ?1 and pos >= coalesce("
                " (select max(pos) from es_segment where log = ?1 and pos <= ?2), 0) and pos + n - 1 >= ?2"
                " order by pos limit ?3",
                (log, after_pos + 1, limit),
            )
            return [Segment(*row) for row in rows]

        return await self._read(work)

    async def logs(self) -> Sequence[str]:
        query = "select log from es_log where log not in (select log from es_dropped) order by log"
        rows = await self._read(lambda: self._read_from.execute(query).fetchall())
        return [row[0] for row in rows]

    async def drop(self, log: str, pos: int, segments: int) -> bool:
        def work() -> bool:
            with self._transaction() as connection:
                connection.execute("insert or ignore into es_dropped values (?, ?)", (log, pos))
                _drop(connection, "log = ?", (log,))
                connection.execute(
                    "delete from es_segment where log = ?1 and pos in"
                    " (select pos from es_segment where log = ?1 order by pos limit ?2)",
                    (log, segments),
                )
                left = connection.execute("select 1 from es_segment where log = ? limit 1", (log,)).fetchone()
            return left is None

        return await self._write(work)

    async def dropped(self) -> Mapping[str, int]:
        return await self._read(lambda: dict(self._read_from.execute("select log, pos from es_dropped").fetchall()))

    async def put_back(self, log: str, segments: Sequence[Segment]) -> None:
        def work() -> None:
            rows = [_row(log, one) for one in segments]
            with self._transaction() as connection:
                connection.executemany("insert or ignore into es_segment values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

        await self._write(work)

    async def undrop(self, log: str, head: Head) -> None:
        def work() -> None:
            with self._transaction() as connection:
                connection.execute(
                    "insert into es_log values (?, ?, '', 0, ?, ?, ?) on conflict (log) do update set"
                    " epoch = max(epoch, excluded.epoch), seq = excluded.seq, pos = excluded.pos, hash = excluded.hash",
                    (log, head.epoch, head.seq, head.pos, head.hash),
                )
                connection.execute("delete from es_dropped where log = ?", (log,))

        await self._write(work)

    # -- keys, checkpoints, snapshots ---------------------------------------------------------------------------------

    async def keys(self, subjects: Sequence[str]) -> Mapping[str, bytes]:
        def work() -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for some in batches(subjects, MAX_VARIABLES):
                marks = ", ".join("?" * len(some))
                query = f"select subject, key from es_key where key is not null and subject in ({marks})"  # noqa: S608 - marks only
                found.update(self._read_from.execute(query, some))
            return found

        return await self._read(work)

    async def shred(self, subject: str) -> bool:
        def work() -> bool:
            with self._transaction() as connection:
                done = connection.execute(
                    "update es_key set key = null where subject = ? and key is not null", (subject,)
                )
                erased = done.rowcount == 1
            if erased:  # the write-ahead log holds the page as it was
                self._empty_wal()
            return erased

        return await self._write(work)

    async def checkpoint(self, name: str, log: str) -> int:
        def work() -> int:
            query = "select pos from es_checkpoint where name = ? and log = ?"
            row = self._read_from.execute(query, (name, log)).fetchone()
            return int(row[0]) if row else 0

        return await self._read(work)

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("insert or replace into es_checkpoint values (?, ?, ?)", (name, log, pos))

        await self._together(work)

    async def checkpoints(self) -> Sequence[tuple[str, str, int]]:
        return await self._read(
            lambda: self._read_from.execute("select name, log, pos from es_checkpoint order by name, log").fetchall()
        )

    async def newest_snapshot(self, name: str, log: str) -> int | None:
        def work() -> int | None:
            row = self._read_from.execute(NEWEST, (name, log)).fetchone()
            return int(row[0]) if row[0] is not None else None

        return await self._read(work)

    async def parts(self, name: str, log: str, pos: int, after: str, limit: int) -> Sequence[Part]:
        values = (name, log, pos, after, limit)
        return await self._read(lambda: self._read_from.execute(PARTS, values).fetchall())

    async def save_snapshot(
        self, name: str, log: str, pos: int, parts: AsyncIterable[Sequence[Part]], key: bytes
    ) -> None:
        """By and by, for all commits wait behind a write, and a snapshot may have hundreds of MB. It counts from when its
        key stands there."""
        subject = subject_of(name, log, pos)

        def put(statement: str, *values: Any) -> None:
            with self._transaction() as connection:
                connection.execute(statement, values)

        def put_some(some: Sequence[Part]) -> None:
            with self._transaction() as connection:
                connection.executemany(PUT_PART, [(name, log, pos, part, data) for part, data in some])

        def drop_some(which: str) -> bool:
            with self._transaction() as connection:
                found = connection.execute(which, (name, log, pos)).fetchall()
                for older, part in found:
                    connection.execute("delete from es_key where subject = ?", (subject_of(name, log, older),))
                    connection.execute(DELETE_PART, (name, log, older, part))
            return bool(found)

        await self._write(partial(put, "delete from es_key where subject = ?", subject))
        while await self._write(partial(drop_some, SAME_PARTS)):  # of a save that was broken off
            pass
        moved = self._reader.do(self._move_into_file)
        async for some in parts:
            await moved
            await self._write(partial(put_some, some))
            moved = self._reader.do(self._move_into_file)
        await self._write(partial(put, "insert or replace into es_key values (?, ?)", subject, key))
        with contextlib.suppress(Disconnected):  # it is whole; the next one finds what is left of those before
            while await self._write(partial(drop_some, OLDER_PARTS)):
                await self._reader.do(self._move_into_file)

    async def drop_snapshots(self, log: str) -> None:
        def work() -> None:
            with self._transaction() as connection:
                _drop(connection, "log = ?", (log,))
            self._empty_wal()  # they held people, and so does it

        await self._write(work)

    async def answer(self, owner: str, key: str) -> KeptAnswer | None:
        def work() -> KeptAnswer | None:
            query = "select at, print, status, headers, body from es_answer where owner = ? and key = ?"
            row = self._read_from.execute(query, (owner, key)).fetchone()
            return KeptAnswer(**dict(zip(ANSWER, row, strict=True)) | {"headers": json.loads(row[3])}) if row else None

        return await self._read(work)

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        one = answer

        def work() -> None:
            with self._transaction() as connection:
                connection.execute(
                    "insert or replace into es_answer values (?, ?, ?, ?, ?, ?, ?)",
                    (owner, key, one.at, one.print, one.status, json.dumps(one.headers), one.body),
                )
                connection.execute(
                    "delete from es_answer where owner = ?1 and at <"
                    " (select at from es_answer where owner = ?1 order by at desc limit 1 offset ?2)",
                    (owner, most - 1),
                )

        await self._write(work)

    async def forget_answers(self, before: int) -> None:
        def work() -> None:
            with self._transaction() as connection:
                gone = connection.execute("delete from es_answer where at < ?", (before,)).rowcount
            # They may have told of people, and the write-ahead log holds the pages as they were.
            if gone or self._holds_deleted:
                self._empty_wal()

        await self._write(work)

    async def close(self) -> None:
        def work() -> None:
            self._write_to.close()
            if self._lock is not None:
                os.close(self._lock)

        await self._still.wait()
        await self._read(self._read_from.close)  # behind what goes on there, whose reader may have been cancelled
        await self._write(work)
        self._writer.stop()
        self._reader.stop()


def _follows(connection: sqlite3.Connection, placed: Placed) -> bool:
    """Whether a segment is the next of its log, and its owner's. Who asks is the only one who writes."""
    query = "select 1 from es_log where log = ? and epoch = ? and seq = ?"
    one = placed.segment
    return connection.execute(query, (placed.log, one.epoch, one.seq - 1)).fetchone() is not None


def _append(connection: sqlite3.Connection, placed: Placed) -> bool:
    log, one = placed
    moved = connection.execute(
        "update es_log set seq = ?, pos = ?, hash = ? where log = ? and epoch = ? and seq = ?",
        (one.seq, one.pos + one.n - 1, one.hash, log, one.epoch, one.seq - 1),
    )
    if moved.rowcount == 0:
        return False
    connection.execute(
        "insert into es_segment values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _row(log, one),
    )
    return True


def _keep_keys(connection: sqlite3.Connection, keys: Sequence[tuple[str, bytes]]) -> None:
    """Many by one statement: behind each the thread waits for the interpreter, up to 5 ms where the loop is busy."""
    for some in batches(keys, MAX_VARIABLES // 2):
        marks = ", ".join(["(?, ?)"] * len(some))
        connection.execute(f"insert or ignore into es_key values {marks}", [*chain.from_iterable(some)])  # noqa: S608 - marks only


def _row(log: str, one: Segment) -> tuple[str | int | bytes, ...]:
    """As es_segment has it."""
    return log, one.seq, one.pos, one.n, one.epoch, one.at, one.codec, one.hash, one.data


def _drop(connection: sqlite3.Connection, which: str, values: tuple[str | int, ...]) -> None:
    """Some snapshots and their keys."""
    found = connection.execute(f"select distinct name, log, pos from es_snapshot where {which}", values).fetchall()  # noqa: S608 - ours
    for one in found:
        connection.execute("delete from es_key where subject = ?", (subject_of(*one),))
        connection.execute("delete from es_snapshot where name = ? and log = ? and pos = ?", one)


def _telling(work: Callable[[], T]) -> T:
    """Run it; what may pass is told as Disconnected, so that whoever asked tries again, and what won't in words of ours."""
    try:
        return work()
    except sqlite3.DatabaseError as error:
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is its detail; 0 where Python raised it
        if kind in PASSING:
            raise Disconnected(str(error)) from error
        if kind in DAMAGED:
            raise Unreadable(f"the SQLite file can't be used: {error}") from error
        if kind in CLOSED:
            raise PermissionError(f"the SQLite file can't be opened for writing: {error}") from error
        raise


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, inside the caller's transaction."""
    done = int(connection.execute("pragma user_version").fetchone()[0])
    migrations = SCHEMA.read_text("utf-8").split("-- migration ")[1:]
    if done > len(migrations):
        raise Unreadable(f"the database has schema {done}, this program knows {len(migrations)}: it is older")
    for number, migration in enumerate(migrations[done:], done + 1):
        for statement in _statements(migration.partition("\n")[2]):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {number}")


def _statements(script: str) -> Iterator[str]:
    """Single statements, so that they stay inside the transaction (executescript would commit it)."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
