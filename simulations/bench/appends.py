"""Appends a second: our log on SQLite and PostgreSQL, the `eventsourcing` library's recorder, pgbench.

512 appenders each append one durable event of about 200 bytes and wait for it. Events are made before the clock starts, as
the peers' payloads are: to draw an id and build an event is no part of a log, and was a seventh of an append. The library
has threads instead of coroutines; 8 is where its recorder peaks here, more only wait for its table lock. pgbench's 64
clients insert one row each a transaction. Durability is full everywhere (fsync on, synchronous_commit on, SQLite
synchronous=FULL).
"""

import asyncio
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from engine.core.call import CallEnded
from engine.core.outcome import Outcome, Party
from engine.ports import Append
from eventstore import Codec, open_store
from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.postgres import Postgres

APPENDERS = 512
LIBRARY_THREADS = 8
PGBENCH_CLIENTS = 64
PAYLOAD = b"x" * 200
KEPT = 32
"""Events of an appender's, over and over: no two of a group are the same one."""


def ended(number: int, contact: int) -> CallEnded:
    """Ids as random as in life: compression must not find more than it would there."""
    return CallEnded(
        at=1_700_000_000_000 + number,
        call=secrets.token_hex(16),
        contact=f"bench:{contact}",
        agent="agent1",
        number=0,
        outcome=Outcome.ANSWERED,
        ended_by=Party.CONTACT,
        reason="",
        cause=16,
        sip_code=0,
        ring_ms=4_000,
        talk_ms=60_000,
    )


async def ours(url: str, seconds: float) -> float:
    """Events a second through our log at `url`."""
    store = await open_store(url, Codec(CallEnded), owner="bench", lease_ttl_ms=10_000)
    try:
        opened = await store.open_log(f"bench/{uuid4().hex}")
        kept = [[ended(place, number) for place in range(KEPT)] for number in range(APPENDERS)]
        counts = [0] * APPENDERS

        async def appender(number: int) -> None:
            stream, mine = f"call/{number}", kept[number]
            while time.perf_counter() < until:
                await opened.append([Append(stream, counts[number], (mine[counts[number] % KEPT],))])
                counts[number] += 1

        started = time.perf_counter()
        until = started + seconds
        await asyncio.gather(*(appender(number) for number in range(APPENDERS)))
        elapsed = time.perf_counter() - started
        await opened.close()
        return sum(counts) / elapsed
    finally:
        await store.close()


def library(url: str, seconds: float, batch: int = 1) -> float:
    """Events a second through the `eventsourcing` library's PostgreSQL recorder, so many in each of its inserts."""
    datastore = library_datastore(url, LIBRARY_THREADS)
    recorder = PostgresApplicationRecorder(datastore, events_table_name=f"bench_{uuid4().hex[:12]}")
    recorder.create_table()
    counts = [0] * LIBRARY_THREADS
    until = time.perf_counter() + seconds

    def appender(number: int) -> None:
        originator = uuid4()
        while time.perf_counter() < until:
            versions = range(counts[number] + 1, counts[number] + 1 + batch)
            recorder.insert_events([StoredEvent(originator, one, "call.ended.v1", PAYLOAD) for one in versions])
            counts[number] += batch

    threads = [threading.Thread(target=appender, args=(number,)) for number in range(LIBRARY_THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    datastore.close()
    return sum(counts) / elapsed


def library_datastore(url: str, connections: int) -> PostgresDatastore:
    parts = urlsplit(url)
    return PostgresDatastore(
        dbname=parts.path.lstrip("/"),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        user=parts.username or "postgres",
        password=parts.password or "",
        pool_size=connections,
        max_overflow=connections,
    )


def pgbench(postgres: Postgres, seconds: float, folder: Path, clients: int, rows: int = 1) -> float:
    """Rows a second of so many clients, `rows` in each transaction's one INSERT."""
    script = folder / f"insert{rows}.sql"
    many = f" from generate_series(1, {rows})" if rows > 1 else ""
    script.write_text(f"insert into bench_row(data) select repeat('x', 200){many};\n")  # as long as PAYLOAD
    made = "create table if not exists bench_row(id bigserial primary key, data text)"
    _run([postgres.binary("psql"), postgres.url, "-qc", made])
    said = _run(
        [
            *(postgres.binary("pgbench"), "-n", "-M", "prepared", "-f", script),
            *("-c", str(clients), "-j", "2", "-T", str(max(1, round(seconds))), postgres.url),
        ]
    )
    return rows * next(float(line.split()[2]) for line in said.splitlines() if line.startswith("tps ="))


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return done.stdout


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder, Postgres.running() as postgres:
        for number in range(scale.rounds):
            made.add("log_library_events_s", "eventsourcing's recorder", "ev/s", library(postgres.url, scale.seconds))
            ours_s = asyncio.run(ours(postgres.url, scale.seconds))
            made.add("log_events_s", "our log", "ev/s", ours_s)
            rows_s = pgbench(postgres, scale.seconds, Path(folder), PGBENCH_CLIENTS)
            made.add("log_pgbench_rows_s", "pgbench 64 × 1 row", "rows/s", rows_s)
            sqlite = f"sqlite:///{Path(folder) / f'bench{number}.db'}"
            made.add("log_sqlite_events_s", "our log on SQLite", "ev/s", asyncio.run(ours(sqlite, scale.seconds)))
            made.ratio("log_vs_library", "log ÷ eventsourcing's recorder", "log_events_s", "log_library_events_s")
            made.ratio("log_vs_pgbench", "log ÷ pgbench", "log_events_s", "log_pgbench_rows_s")
            made.ratio("log_sqlite_vs_pgbench", "log on SQLite ÷ pgbench", "log_sqlite_events_s", "log_pgbench_rows_s")
            say(made.last("log_events_s", "log_library_events_s", "log_pgbench_rows_s", "log_vs_library"))
    return made.figures
