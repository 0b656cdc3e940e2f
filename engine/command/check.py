"""`ringfold check`: is everything there that the service needs?"""

import asyncio
import sys

from adapters.ami.check import Finding
from adapters.ami.check import check as check_pbx
from config.settings import Settings
from engine.command.machine import is_there, look
from engine.command.terminal import Config, settings_at
from engine.ports import StoreUnavailable, Unreadable
from engine.service import ami_settings, open_log_store


def check(*, config: Config = None) -> None:
    """Check settings, keys, folders, store, clock and PBX, and say in words what is missing and how to mend it.

    Exits with 0 where calls can be made, though something may be warned of; with 1 where there is a fault; with 2 where
    the settings are wrong. The service may run meanwhile; nobody is dialled.
    """
    sys.exit(asyncio.run(_check(settings_at(config))))


async def _check(settings: Settings) -> int:
    """Each part is told of as soon as it is known: what comes last may take seconds."""
    bad = 0
    for part in (look(settings), _store(settings), check_pbx(ami_settings(settings))):
        for found in await part:
            bad += found.is_fault
            print(found, flush=True)
    return 1 if bad else 0


async def _store(settings: Settings) -> list[Finding]:
    """None is made here: it would belong to whoever checks."""
    file = settings.store.file
    if file is not None and not is_there(file):
        return [Finding(ok=True, what=f"the store: none yet, the first start makes {file}")]
    try:
        store = await open_log_store(settings)
    except (StoreUnavailable, OSError) as error:
        cure = "see [store] url, and that its server runs and lets this user in, or that the file may be written"
        return [Finding(ok=False, what=f"the store can't be opened: {error}", cure=cure)]
    except Unreadable as error:
        cure = "start the version that wrote it, or restore a backup: docs/operations.md"
        return [Finding(ok=False, what=f"the store can't be read: {error}", cure=cure)]
    await store.close()
    if store.kind == "memory":
        cure = "set [store] url to sqlite:///PATH or postgresql://…"
        return [Finding(ok=False, what="the store is in memory: a restart forgets all", cure=cure, warning=True)]
    return [Finding(ok=True, what=f"the store opens: {store.kind}")]
