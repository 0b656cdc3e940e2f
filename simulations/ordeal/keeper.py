"""Who starts the engine again when it has ended, as systemd or a container's restart policy would."""

import asyncio
import contextlib

from simulations.engine_process import EngineProcess

LOOK_EVERY_S = 0.05


class Keeper:
    """`watch` is to run as a task for as long as the engine is to be kept up."""

    def __init__(self, engine: EngineProcess) -> None:
        self.gave_up = 0
        """How often the engine ended by itself: a part of it died, or the store was away while it started."""
        self._engine = engine
        self._is_wanted = self._is_expected = False

    async def start(self) -> None:
        self._is_wanted = self._is_expected = True

    async def kill(self) -> None:
        """SIGKILL, until it is to be started."""
        self._is_wanted = False
        await self._engine.kill()

    async def rest(self) -> None:
        """Whoever stops it from now on means it."""
        self._is_wanted = False

    async def watch(self) -> None:
        while True:
            if self._is_wanted and not self._engine.is_running:
                self.gave_up += not self._is_expected
                self._is_expected = False
                with contextlib.suppress(RuntimeError, TimeoutError):  # it ended again, or isn't ready for long
                    await self._engine.start()
            await asyncio.sleep(LOOK_EVERY_S)
