"""`ringfold archive`: the logs that left the store for files of their own, and one of them put back."""

import asyncio
import sys
from pathlib import Path

import msgspec
from cyclopts import App

from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.command.terminal import Config, print_until_closed, settings_at
from engine.core import directory as directories
from engine.core.archive import RestoreCampaign
from engine.core.directory import Directory
from engine.ports import ANY, Append, EventLog, StoreUnavailable
from engine.service import SystemClock, open_log_store
from eventstore import Store, archived_in, restore, verify

RESTORER = "operator:archive-restore"
"""The `by` of the event."""

commands = App(name="archive", help="Logs of deleted campaigns that left the store for files of their own.")


@commands.command(name="list")
def show_archives(*, config: Config = None) -> None:
    """Name the logs whose files are in the archive's folder."""
    for name in archived_in(Path(settings_at(config).retention.archive_folder)):
        print(name)


@commands.command(name="verify")
def verify_archives(*campaigns: str, config: Config = None) -> None:
    """Check files (default all) against their manifests, and the logs in them as `ringfold verify` does."""

    async def run() -> int:
        settings = settings_at(config)
        folder, faults = Path(settings.retention.archive_folder), 0
        store = await open_log_store(settings)
        try:
            for name in [log_of(one) for one in campaigns] or archived_in(folder):
                try:
                    report = await verify(store, name, folder)
                except (StoreUnavailable, ValueError, msgspec.MsgspecError) as error:
                    print(f"{name}\n  FAULT {error}")
                    faults += 1
                    continue
                faults += len(report.faults)
                print(report)
        finally:
            await store.close()
        return 1 if faults else 0

    sys.exit(asyncio.run(run()))


@commands.command(name="restore")
def restore_campaign(campaign: str, *, config: Config = None) -> None:
    """Put a deleted campaign's log back into the store; the service must be stopped. The campaign stays deleted.

    It is archived again as late as if it had been deleted now.
    """

    async def run() -> None:
        settings = settings_at(config)
        store = await open_log_store(settings)
        try:
            log = await store.open_log(DIRECTORY)
            try:
                await _restore(store, log, campaign, Path(settings.retention.archive_folder))
            finally:
                await log.close()
        finally:
            await store.close()

    print_until_closed(run())


async def _restore(store: Store, log: EventLog, campaign: str, folder: Path) -> None:
    """Exits with 1 where there is nothing to put back."""
    directory = Directory()
    async for batch in log.read():
        for one in batch:
            directory.apply(one.event)
    if campaign not in directory.archives.archived:
        print(f"ringfold: the log of campaign {campaign!r} isn't archived", file=sys.stderr)
        sys.exit(1)
    try:
        if log_of(campaign) in await store.archived():
            await restore(store, log_of(campaign), folder)
        report = await verify(store, log_of(campaign))
    except ValueError as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(1)
    command = RestoreCampaign(at=SystemClock().now_ms(), ref=campaign, by=RESTORER)
    events, _ = directories.decide(directory, command)
    await log.append([Append(directories.stream_of(one), ANY, [one]) for one in events])
    print(report)
