"""`ringfold check`: is everything there that the service needs?"""

import asyncio
import sys

from adapters.ami.check import check as check_pbx
from engine.command.terminal import Config, settings_at
from engine.service import ami_settings, open_log_store


def check(*, config: Config = None) -> None:
    """Check the settings, the store and the PBX, and say in words what is missing."""

    async def run() -> int:
        settings = settings_at(config)
        store = await open_log_store(settings)
        await store.close()
        print(f"ok    the store opens: {store.kind}")
        bad = 0
        for found in await check_pbx(ami_settings(settings)):
            bad += found.is_fault
            print(found)
        return 1 if bad else 0

    sys.exit(asyncio.run(run()))
