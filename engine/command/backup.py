"""`ringfold backup`: the logs of a running service in one file, as they were at one moment."""

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

from engine.command.terminal import Config, settings_at
from engine.service import LogEvent
from eventstore import Codec, open_store, verify

SQLITE = "sqlite:///"
PAGES_AT_ONCE = 2_000
"""Of 4 KiB. The service writes between one lot and the next."""


def backup(file: Path, *, config: Config = None) -> None:
    """Copy a SQLite store, the keys to personal data with it, to a new file, while the service runs; then check the copy.

    A PostgreSQL store is backed up by its own means. The token key file is not in it.
    """
    url = settings_at(config).store.url
    if not url.startswith(SQLITE):
        print("ringfold: only SQLite is backed up by this; for PostgreSQL use pg_dump", file=sys.stderr)
        sys.exit(2)
    source = Path(url.removeprefix(SQLITE))
    try:
        copied = _copied(source, file)
    except OSError as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)
    except sqlite3.Error as error:
        print(f"ringfold: {source}: {error}", file=sys.stderr)
        sys.exit(1)
    faults = asyncio.run(_checked(copied))
    if not faults:
        copied.rename(file)
    sys.exit(1 if faults else 0)


def _copied(source: Path, file: Path) -> Path:
    """The copy, under a name that says it isn't checked yet. Raises OSError, sqlite3.Error."""
    if not source.is_file():
        raise FileNotFoundError(f"there is no store at {source}")
    if file.exists():
        raise FileExistsError(f"{file} is there already: a backup replaces none")
    part = file.with_name(file.name + ".part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    reading, writing = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(part)
    try:
        reading.backup(writing, pages=PAGES_AT_ONCE, sleep=0.01)
        writing.execute("PRAGMA journal_mode = DELETE")  # one file, and nothing beside it
    finally:
        reading.close()
        writing.close()
    return part


async def _checked(copied: Path) -> int:
    store = await open_store(f"{SQLITE}{copied}", Codec(LogEvent))
    faults = 0
    try:
        for name in await store.logs():
            report = await verify(store, name)
            faults += len(report.faults)
            print(report)
    finally:
        await store.close()
    return faults
