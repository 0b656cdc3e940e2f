"""The production store: PostgreSQL by asyncpg. An append is one statement, conditional on epoch and segment number."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from engine.ports import KeptAnswer, StoreUnavailable, Unreadable
from eventstore.owner import is_dead
from eventstore.snapshot import subject_of
from eventstore.store import Disconnected, Head, NotTogether, Part, Placed, Segment

SCHEMA = Path(__file__).with_name("sql") / "postgres.sql"
MAX_CONNECTIONS = 10
COMMAND_TIMEOUT_S = 10
MAX_SAVING = 2
"""Snapshots at a time: each has a connection for as long as its parts are made, and appends need some, too."""

LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    TimeoutError,
)
"""The connection went, or the server can't work just now (no disk, no memory): it may or may not have happened."""
SHUT = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""The server doesn't let us in: a wrong user or password, no such database, or one where we may not make tables."""

ACQUIRE = """
insert into es_log as held values ($1, 1, $2, now() + $3::bigint * interval '1 ms', 0, 0, '')
on conflict (log) do update set epoch = held.epoch + 1, owner = excluded.owner, until = excluded.until
where held.until <= now() or held.owner in (excluded.owner, $4)
returning epoch, seq, pos, hash
"""
"""$4: who is known to be dead, or the new owner again."""
RENEW = "update es_log set until = now() + $3::bigint * interval '1 ms' where log = $1 and epoch = $2"
RELEASE = "update es_log set until = now() where log = $1 and epoch = $2"
APPEND = """
with mine as (
    update es_log set seq = $2::bigint, pos = $3::bigint + $4::integer - 1, hash = $8
    where log = $1 and epoch = $5 and seq = $2::bigint - 1 returning 1
), sealed as (
    insert into es_key select * from unnest($10::text[], $11::bytea[]) where exists (select from mine)
    on conflict (subject) do nothing
)
insert into es_segment
select $1, $2, $3, $4, $5, $6::bigint, $7::smallint, $8::bytea, $9::bytea from mine
"""
APPEND_BOTH = """
with wanted(log, seq, pos, n, epoch, at, codec, hash, data) as (values
    ($1::text, $2::bigint, $3::bigint, $4::integer, $5::bigint, $6::bigint, $7::smallint, $8::bytea, $9::bytea),
    ($12::text, $13::bigint, $14::bigint, $15::integer, $16::bigint, $17::bigint, $18::smallint, $19::bytea, $20::bytea)
), held as (
    select from es_log join wanted using (log) where es_log.epoch = wanted.epoch and es_log.seq = wanted.seq - 1
    for update of es_log
), moved as (
    update es_log set seq = wanted.seq, pos = wanted.pos + wanted.n - 1, hash = wanted.hash from wanted
    where es_log.log = wanted.log and (select count(*) from held) = 2 returning es_log.log
), sealed as (
    insert into es_key select * from unnest($10::text[], $11::bytea[]) where exists (select from moved)
    on conflict (subject) do nothing
)
insert into es_segment select wanted.* from wanted join moved using (log)
"""
"""The rows are locked first, as they are by then: where one isn't as expected none is changed."""
SEGMENTS = """
select seq, pos, n, epoch, at, codec, hash, data from es_segment
where log = $1 and pos + n - 1 >= $2
and pos >= coalesce((select max(pos) from es_segment where log = $1 and pos <= $2), 0)
order by pos limit $3
"""
LOGS = "select log from es_log where log not in (select log from es_dropped) order by log"
DELETE = """
delete from es_segment where log = $1
and pos in (select pos from es_segment where log = $1 order by pos limit $2)
"""
UNDROP = """
insert into es_log as here values ($1, $2, '', now(), $3, $4, $5)
on conflict (log) do update set
epoch = greatest(here.epoch, excluded.epoch), seq = excluded.seq, pos = excluded.pos, hash = excluded.hash
"""
PARTS = """
select part, data from es_snapshot where name = $1 and log = $2 and pos = $3 and part > $4 order by part limit $5
"""
KEEP_ANSWER = """
insert into es_answer values ($1, $2, $3, $4, $5, $6, $7) on conflict (owner, key) do update set
at = excluded.at, print = excluded.print, status = excluded.status, headers = excluded.headers, body = excluded.body
"""
OLDEST_ANSWERS = """
delete from es_answer where owner = $1
and at < (select at from es_answer where owner = $1 order by at desc limit 1 offset $2)
"""


class PostgresStore:
    """Implements SegmentStore. Open it with `PostgresStore.open`."""

    kind = "postgres"

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._saving = asyncio.Semaphore(MAX_SAVING)

    @classmethod
    async def open(cls, url: str) -> "PostgresStore":
        """Raises StoreUnavailable, Unreadable."""
        try:
            # No floor: the pool's own way of keeping one prints a traceback for every try while the server is away.
            pool = await asyncpg.create_pool(
                url, min_size=0, max_size=MAX_CONNECTIONS, command_timeout=COMMAND_TIMEOUT_S, reset=_as_it_is
            )
            async with pool.acquire() as connection, connection.transaction():
                await migrate(connection)
        except LOST as error:
            raise StoreUnavailable(f"PostgreSQL can't be reached: {error}") from error
        except SHUT as error:
            raise StoreUnavailable(f"PostgreSQL doesn't let us in: {error}") from error
        return cls(pool)

    @asynccontextmanager
    async def _connection(self) -> "AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]":
        try:
            async with self._pool.acquire() as connection:
                yield connection
        except LOST as error:
            raise Disconnected(str(error)) from error

    async def acquire(self, log: str, owner: str, ttl_ms: int) -> Head | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(ACQUIRE, log, owner, ttl_ms, owner)
            if row is None:
                former = await connection.fetchval("select owner from es_log where log = $1", log)
                if former and is_dead(former):  # so a restart after a crash needn't wait for its leases to end
                    row = await connection.fetchrow(ACQUIRE, log, owner, ttl_ms, former)
        return Head(*row) if row else None

    async def renew(self, log: str, epoch: int, ttl_ms: int) -> bool:
        async with self._connection() as connection:
            return bool(await connection.execute(RENEW, log, epoch, ttl_ms) == "UPDATE 1")

    async def release(self, log: str, epoch: int) -> None:
        async with self._connection() as connection:
            await connection.execute(RELEASE, log, epoch)

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        values = (*_row(log, segment), list(keys), list(keys.values()))
        async with self._connection() as connection:
            if beside is None:
                return bool(await connection.execute(APPEND, *values) == "INSERT 0 1")
            try:
                return bool(await connection.execute(APPEND_BOTH, *values, *_row(*beside)) == "INSERT 0 2")
            except LOST:
                raise
            except asyncpg.PostgresError as error:  # a cluster whose logs are apart, for one
                raise NotTogether(str(error)) from error

    async def head(self, log: str) -> Head | None:
        async with self._connection() as connection:
            row = await connection.fetchrow("select epoch, seq, pos, hash from es_log where log = $1", log)
        return Head(*row) if row else None

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        async with self._connection() as connection:
            return [Segment(*row) for row in await connection.fetch(SEGMENTS, log, after_pos + 1, limit)]

    async def logs(self) -> Sequence[str]:
        async with self._connection() as connection:
            return [row[0] for row in await connection.fetch(LOGS)]

    async def drop(self, log: str, pos: int, segments: int) -> bool:
        async with self._connection() as connection, connection.transaction():
            await connection.execute("insert into es_dropped values ($1, $2) on conflict (log) do nothing", log, pos)
            await _drop(connection, "log = $1", log)
            await connection.execute(DELETE, log, segments)
            return not await connection.fetchval("select exists (select 1 from es_segment where log = $1)", log)

    async def dropped(self) -> Mapping[str, int]:
        async with self._connection() as connection:
            return {row[0]: row[1] for row in await connection.fetch("select log, pos from es_dropped")}

    async def put_back(self, log: str, segments: Sequence[Segment]) -> None:
        rows = [_row(log, one) for one in segments]
        insert = "insert into es_segment values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing"
        async with self._connection() as connection, connection.transaction():
            await connection.executemany(insert, rows)

    async def undrop(self, log: str, head: Head) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(UNDROP, log, head.epoch, head.seq, head.pos, head.hash)
            await connection.execute("delete from es_dropped where log = $1", log)

    async def keys(self, subjects: Sequence[str]) -> Mapping[str, bytes]:
        query = "select subject, key from es_key where key is not null and subject = any($1)"
        async with self._connection() as connection:
            return {row[0]: row[1] for row in await connection.fetch(query, list(subjects))}

    async def shred(self, subject: str) -> bool:
        query = "update es_key set key = null where subject = $1 and key is not null"
        async with self._connection() as connection:
            return bool(await connection.execute(query, subject) == "UPDATE 1")

    async def checkpoint(self, name: str, log: str) -> int:
        async with self._connection() as connection:
            return (
                await connection.fetchval("select pos from es_checkpoint where name = $1 and log = $2", name, log) or 0
            )

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None:
        query = "insert into es_checkpoint values ($1, $2, $3) on conflict (name, log) do update set pos = excluded.pos"
        async with self._connection() as connection:
            await connection.execute(query, name, log, pos)

    async def checkpoints(self) -> Sequence[tuple[str, str, int]]:
        async with self._connection() as connection:
            rows = await connection.fetch("select name, log, pos from es_checkpoint order by name, log")
        return [(row[0], row[1], row[2]) for row in rows]

    async def newest_snapshot(self, name: str, log: str) -> int | None:
        query = "select max(pos) from es_snapshot where name = $1 and log = $2"
        async with self._connection() as connection:
            pos: int | None = await connection.fetchval(query, name, log)
        return pos

    async def parts(self, name: str, log: str, pos: int, after: str, limit: int) -> Sequence[Part]:
        async with self._connection() as connection:
            return [(row[0], row[1]) for row in await connection.fetch(PARTS, name, log, pos, after, limit)]

    async def save_snapshot(
        self, name: str, log: str, pos: int, parts: AsyncIterable[Sequence[Part]], key: bytes
    ) -> None:
        insert = (
            "insert into es_snapshot values ($1, $2, $3, $4, $5)"
            " on conflict (name, log, pos, part) do update set data = excluded.data"
        )
        keep = "insert into es_key values ($1, $2) on conflict (subject) do update set key = excluded.key"
        async with self._saving, self._connection() as connection, connection.transaction():
            # The key first: of two saves at one place the other waits for it, and then deletes what this one wrote.
            await connection.execute(keep, subject_of(name, log, pos), key)
            await connection.execute(
                "delete from es_snapshot where name = $1 and log = $2 and pos = $3", name, log, pos
            )
            async for some in parts:
                await connection.executemany(insert, [(name, log, pos, part, data) for part, data in some])
            await _drop(connection, "name = $1 and log = $2 and pos < $3", name, log, pos)

    async def drop_snapshots(self, log: str) -> None:
        async with self._connection() as connection, connection.transaction():
            await _drop(connection, "log = $1", log)

    async def answer(self, owner: str, key: str) -> KeptAnswer | None:
        query = "select at, print, status, headers, body from es_answer where owner = $1 and key = $2"
        async with self._connection() as connection:
            row = await connection.fetchrow(query, owner, key)
        return KeptAnswer(**{**row, "headers": json.loads(row["headers"])}) if row else None

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        one = answer
        values = (owner, key, one.at, one.print, one.status, json.dumps(one.headers), one.body)
        async with self._connection() as connection, connection.transaction():
            await connection.execute(KEEP_ANSWER, *values)
            await connection.execute(OLDEST_ANSWERS, owner, most - 1)

    async def forget_answers(self, before: int) -> None:
        async with self._connection() as connection:
            await connection.execute("delete from es_answer where at < $1", before)

    async def close(self) -> None:
        await self._pool.close()


async def _as_it_is(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """To have the server forget a session's state is a round trip between two groups of a log, and ours have none."""


def _row(log: str, one: Segment) -> tuple[str | int | bytes, ...]:
    """As es_segment has it."""
    return log, one.seq, one.pos, one.n, one.epoch, one.at, one.codec, one.hash, one.data


async def _drop(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", which: str, *values: str | int) -> None:
    """Some snapshots and their keys."""
    found = await connection.fetch(f"select distinct name, log, pos from es_snapshot where {which}", *values)  # noqa: S608 - ours
    for one in found:
        await connection.execute("delete from es_key where subject = $1", subject_of(*one))
        await connection.execute("delete from es_snapshot where name = $1 and log = $2 and pos = $3", *one)


async def migrate(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
    """Bring the schema up to date, inside the caller's transaction; two that start at once wait for each other."""
    await connection.execute("create table if not exists es_schema(version integer primary key)")
    await connection.execute("lock table es_schema in exclusive mode")
    done = await connection.fetchval("select coalesce(max(version), 0) from es_schema")
    migrations = SCHEMA.read_text("utf-8").split("-- migration ")[1:]
    if done > len(migrations):
        raise Unreadable(f"the database has schema {done}, this program knows {len(migrations)}: it is older")
    for number, migration in enumerate(migrations[done:], done + 1):
        await connection.execute(migration.partition("\n")[2])
        await connection.execute("insert into es_schema values ($1)", number)
