"""`ringfold log`, `verify` and `copy`: the event log shown, checked, and taken to another store."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.campaigns import CAMPAIGN_PREFIX
from engine.command.terminal import Config, print_until_closed, settings_at
from engine.recovery import replay
from engine.replay import state_digest
from engine.service import LogEvent, open_log_store
from eventstore import Codec, Store, TransferRefused, copy, dump, open_store, verify


def show_log(
    name: str | None = None,
    *,
    after: int = 0,
    stream: str | None = None,
    personal: bool = False,
    config: Config = None,
) -> None:
    """Print a log, a line an event; without a name, the names of all logs. Personal data only when asked for."""

    async def run() -> None:
        settings = settings_at(config)
        store = await open_log_store(settings)
        try:
            if name is None:
                for one in await store.logs():
                    print(one)
                for one in await store.archived():
                    print(f"{one} (archived)")
                return
            archived = name in await store.archived()
            if not archived and name not in await store.logs():
                print(f"ringfold: there is no log {name!r}; `ringfold log` names all", file=sys.stderr)
                sys.exit(1)
            folder = Path(settings.retention.archive_folder) if archived else None
            async for line in dump(store, name, after=after, stream=stream, personal=personal, archive=folder):
                print(line)
        finally:
            await store.close()

    print_until_closed(run())


def verify_logs(*names: str, config: Config = None) -> None:
    """Check logs (default all): gapless, contiguous, checksums; and print each campaign's state digest by replay."""

    async def run() -> int:
        store = await open_log_store(settings_at(config))
        try:
            return await print_verified(store, names)
        finally:
            await store.close()

    sys.exit(1 if asyncio.run(run()) else 0)


async def print_verified(store: Store, names: Sequence[str] = ()) -> int:
    """A line a log (default all), with the state's digest of a campaign that is whole; returns how many faults there are."""
    faults = 0
    for name in names or await store.logs():
        report = await verify(store, name)
        faults += len(report.faults)
        whole = name.startswith(CAMPAIGN_PREFIX) and not report.faults
        print(f"{report}{await digest_by_replay(store, name) if whole else ''}")
    return faults


async def digest_by_replay(store: Store, name: str) -> str:
    return f", state {state_digest(await replay(store.read(name)))}"


def copy_logs(*, to: str, config: Config = None) -> None:
    """Copy everything to another, empty store, given by its URL; the service must be stopped. Then check the copy."""

    async def run() -> int:
        source = await open_log_store(settings_at(config))
        target = await open_store(to, Codec(LogEvent))
        faults = 0
        try:
            async for name, _ in copy(source, target):
                report = await verify(target, name)
                faults += len(report.faults)
                print(report)
        except TransferRefused as error:
            print(f"ringfold: {error}", file=sys.stderr)
            return 1
        finally:
            await source.close()
            await target.close()
        return 1 if faults else 0

    sys.exit(asyncio.run(run()))
