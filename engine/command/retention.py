"""`ringfold retention`: what will be cleaned, and when."""

import sys
import time
from typing import Annotated

from cyclopts import Parameter

from engine.command.past import read_all
from engine.command.terminal import Config, print_until_closed, settings_at
from engine.core.retention import outlook
from engine.service import SystemClock, open_log_store, retention_of


def show_retention(
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="List what would be cleaned; the running service does it.")
    ] = False,
    config: Config = None,
) -> None:
    """Say from the logs which campaigns are to be cleaned, when, and why the others are not. Changes nothing."""

    async def run() -> None:
        settings = settings_at(config)
        store, now = await open_log_store(settings), SystemClock().now_ms()
        try:
            _, _, books = await read_all(store)
            for ref, book in books.items():
                ahead = outlook(retention_of(settings), book.campaign)
                due = "due" if 0 < ahead.clean_at <= now else _utc(ahead.clean_at) if ahead.clean_at else "kept"
                print(f"{due:<20} {ref}: {ahead.why}")
        finally:
            await store.close()

    if not dry_run:
        print("ringfold: the running service cleans; --dry-run lists what", file=sys.stderr)
        sys.exit(2)
    print_until_closed(run())


def _utc(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1_000))
