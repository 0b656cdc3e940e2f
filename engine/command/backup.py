"""`ringfold backup` and `ringfold restore`: all logs in one file, and back."""

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from adapters.notify.event import FEED_LOG, FEED_STREAM, FeedRestored
from engine.campaigns import CAMPAIGN_PREFIX
from engine.command.log import print_verified
from engine.command.terminal import Config, settings_at
from engine.core.book import stream_of
from engine.core.campaign import Status, Stop
from engine.core.claims import Claims
from engine.core.process import step
from engine.ports import ANY, Append, StoreUnavailable, Unreadable
from engine.recovery import read_book
from engine.service import LogEvent, SystemChance, SystemClock, open_log_store
from eventstore import Codec, Store, TransferRefused, copy, open_store
from eventstore.backup import BackupRefused, assert_free, beside, give_to_owner, put_in_place, save, take

RESTORED_BY = "restore"


def backup(file: Path, *, config: Config = None) -> None:
    """Copy a SQLite store, the keys to personal data with it, to a new file, while the service runs; then check the copy.

    A PostgreSQL store is backed up by its own means. The token key file is not in it.
    """
    source = settings_at(config).store.file
    if source is None:
        print("ringfold: only SQLite is backed up by this; for PostgreSQL use pg_dump", file=sys.stderr)
        sys.exit(2)

    def work() -> int:
        assert_free(file)
        with beside(file) as folder:
            made = folder / file.name
            save(source, made)
            faults = asyncio.run(_with_store(made, print_verified))
            if not faults:
                put_in_place(made, file)
        return 1 if faults else 0

    sys.exit(_refusing(work))


def restore(
    file: Path,
    *,
    leave_running: Annotated[
        bool, Parameter(negative="", help="Let campaigns that ran then dial as soon as the service starts.")
    ] = False,
    config: Config = None,
) -> None:
    """Check a backup and make it the store that the settings name, where none is yet; the service must be stopped.

    Campaigns that ran are stopped in it: nobody knows any more who was called since, or asked not to be. The store may be
    SQLite or PostgreSQL, whatever the backup was made of.
    """
    settings = settings_at(config)
    url = settings.store.url
    if url.startswith("memory:"):
        print("ringfold: [store] url is memory: there is nothing to restore to", file=sys.stderr)
        sys.exit(2)
    place = settings.store.file

    async def to_postgres(source: Store) -> int:
        if await print_verified(source):
            return 1
        target = await open_log_store(settings)
        try:
            if await target.logs():
                raise BackupRefused("the database holds logs already: nothing is replaced; give it an empty one")
            async for _ in copy(source, target):
                pass
            return await _checked(target, leave_running)
        finally:
            await target.close()

    def work() -> int:
        if place is None:
            with beside(file) as folder:
                take(file, folder / file.name)
                return asyncio.run(
                    _with_store(folder / file.name, to_postgres, Path(settings.retention.archive_folder))
                )
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        assert_free(place)
        with beside(place) as folder:
            made = folder / place.name
            take(file, made)
            faults = asyncio.run(_with_store(made, lambda store: _checked(store, leave_running)))
            if not faults:
                give_to_owner(made, place.parent)
                put_in_place(made, place)
        return 1 if faults else 0

    sys.exit(_refusing(work))


async def _checked(store: Store, leave_running: bool) -> int:
    faults = await print_verified(store)
    if not faults:
        await _renew_feed(store)
        if not leave_running:
            await _stop_campaigns(store)
    return faults


async def _renew_feed(store: Store) -> None:
    """So that what clients are told from now on is never taken for what they were told since the backup."""
    if FEED_LOG not in await store.logs():
        return
    opened = await store.open_log(FEED_LOG)
    try:
        await opened.append([Append(FEED_STREAM, ANY, [FeedRestored(feed=SystemChance().new_id())])])
    finally:
        await opened.close()


async def _stop_campaigns(store: Store) -> None:
    """As if each had been asked to stop at the moment of the backup. What that asks of the PBX follows on the start."""
    for name in await store.logs():
        if not name.startswith(CAMPAIGN_PREFIX):
            continue
        opened = await store.open_log(name)
        try:
            book = (await read_book(store, opened)).book
            if book.campaign.status not in (Status.STARTING, Status.RUNNING):
                continue
            claims = Claims(max_calls_in_setup=1)
            claims.adopt(book)
            events = step(book, Stop(at=SystemClock().now_ms(), by=RESTORED_BY), claims, SystemChance().new_id).events
            await opened.append([Append(stream_of(one), ANY, [one]) for one in events])
            print(f"{name}: it ran, and is asked to stop; look at it before you start it again")
        finally:
            await opened.close()


async def _with_store(
    file: Path, work: Callable[[Store], Coroutine[Any, Any, int]], archive: Path | None = None
) -> int:
    store = await open_store(f"sqlite:///{file}", Codec(LogEvent), archive=archive)
    try:
        return await work(store)
    finally:
        await store.close()


def _refusing(work: Callable[[], int]) -> int:
    """The exit status: 2 where nothing was done, with the reason."""
    try:
        return work()
    except (BackupRefused, TransferRefused, OSError) as error:
        print(f"ringfold: {error}", file=sys.stderr)
        return 2
    except (sqlite3.Error, StoreUnavailable, Unreadable) as error:
        print(f"ringfold: it can't be read: {error}", file=sys.stderr)
        return 1
