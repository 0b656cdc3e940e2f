"""Appends a second: our log on SQLite and PostgreSQL, the `eventsourcing` library's recorder, pgbench.

512 appenders each append one durable event of about 200 bytes and wait for it. The library has threads instead of
coroutines; 8 is where its recorder peaks here, more only wait for its table lock. pgbench's 64 clients insert one row
each a transaction. Durability is full everywhere (fsync on, synchronous_commit on, SQLite synchronous=FULL).
"""

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from engine.core.call import CallEnded
from engine.core.outcome import Outcome, Party
from engine.ports import Append
from eventstore import Codec, open_store
from simulations.bench.figure import Series

APPENDERS = 512
LIBRARY_THREADS = 8
PGBENCH_CLIENTS = 64
PAYLOAD = b"x" * 200


def _event(number: int) -> CallEnded:
    return CallEnded(
        at=1_700_000_000_000 + number,
        call=f"{number:032x}",
        contact=f"bench:{number}",
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
        until = time.perf_counter() + seconds
        counts = [0] * APPENDERS

        async def appender(number: int) -> None:
            stream = f"call/{number}"
            while time.perf_counter() < until:
                await opened.append([Append(stream, counts[number], (_event(number),))])
                counts[number] += 1

        started = time.perf_counter()
        await asyncio.gather(*(appender(number) for number in range(APPENDERS)))
        elapsed = time.perf_counter() - started
        await opened.close()
        return sum(counts) / elapsed
    finally:
        await store.close()


def library(url: str, seconds: float) -> float:
    """Events a second through the `eventsourcing` library's PostgreSQL recorder."""
    parts = urlsplit(url)
    datastore = PostgresDatastore(
        dbname=parts.path.lstrip("/"),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        user=parts.username or "postgres",
        password=parts.password or "",
        pool_size=LIBRARY_THREADS,
        max_overflow=LIBRARY_THREADS,
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name=f"bench_{uuid4().hex[:12]}")
    recorder.create_table()
    counts = [0] * LIBRARY_THREADS
    until = time.perf_counter() + seconds

    def appender(number: int) -> None:
        originator = uuid4()
        while time.perf_counter() < until:
            counts[number] += 1
            recorder.insert_events([StoredEvent(originator, counts[number], "call.ended.v1", PAYLOAD)])

    threads = [threading.Thread(target=appender, args=(number,)) for number in range(LIBRARY_THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    datastore.close()
    return sum(counts) / elapsed


def pgbench(binary: Path, url: str, seconds: float, folder: Path) -> float:
    """Transactions a second of 64 clients, one row each."""
    script = folder / "insert.sql"
    script.write_text("insert into bench_row(data) values (repeat('x', 200));\n")  # as long as PAYLOAD
    psql = binary.with_name("psql")
    subprocess.run(
        [psql, url, "-qc", "create table if not exists bench_row(id bigserial primary key, data text)"], check=True
    )
    done = subprocess.run(
        [
            *(binary, "-n", "-M", "prepared", "-f", script),
            *("-c", str(PGBENCH_CLIENTS), "-j", "2", "-T", str(max(1, round(seconds))), url),
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return next(float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("tps ="))


def rounds(url: str, binary: Path, folder: Path, count: int, seconds: float) -> Iterator[dict[str, Series]]:
    """Interleaved rounds; yields all series after each."""
    series = {
        "sqlite": Series("our log, SQLite", "ev/s", []),
        "postgres": Series("our log, PostgreSQL", "ev/s", []),
        "library": Series("eventsourcing library", "ev/s", []),
        "pgbench": Series("pgbench 64×1", "tx/s", []),
    }
    for number in range(count):
        series["library"].rounds.append(library(url, seconds))
        series["postgres"].rounds.append(asyncio.run(ours(url, seconds)))
        series["pgbench"].rounds.append(pgbench(binary, url, seconds, folder))
        series["sqlite"].rounds.append(asyncio.run(ours(f"sqlite:///{folder / f'bench{number}.db'}", seconds)))
        yield series
