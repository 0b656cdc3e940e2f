"""`ringfold retention`: what will be cleaned and archived, and when."""

import sys
import time
from typing import Annotated

from cyclopts import Parameter

from engine.command.past import read_all
from engine.command.terminal import Config, print_until_closed, settings_at
from engine.core.retention import Outlook, archiving, outlook
from engine.service import SystemClock, open_log_store, retention_of


def show_retention(
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="List what would be cleaned and archived; the running service does it.")
    ] = False,
    config: Config = None,
) -> None:
    """Say from the logs which campaigns are to be cleaned, and which deleted ones' logs archived, when, and why the
    others are not. Changes nothing.
    """

    async def run() -> None:
        settings = settings_at(config)
        store, now = await open_log_store(settings), SystemClock().now_ms()
        try:
            directory, _, books = await read_all(store)
            rule = retention_of(settings)
            for ref, book in books.items():
                _say(ref, outlook(rule, book.campaign), now)
            for ref, deleted_at in directory.retired.items():
                _say(ref, archiving(rule, directory.archives, ref, deleted_at), now)
        finally:
            await store.close()

    if not dry_run:
        print("ringfold: the running service cleans; --dry-run lists what", file=sys.stderr)
        sys.exit(2)
    print_until_closed(run())


def _say(ref: str, ahead: Outlook, now: int) -> None:
    due = "due" if 0 < ahead.due_at <= now else _utc(ahead.due_at) if ahead.due_at else "kept"
    print(f"{due:<20} {ref}: {ahead.why}")


def _utc(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1_000))
