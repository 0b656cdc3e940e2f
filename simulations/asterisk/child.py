"""One process of ours, which doesn't outlive us."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

POLL_S = 0.02
STOP_TIMEOUT_S = 5.0
LOG_TAIL_BYTES = 2_000


class Child:
    """A process in a session of its own, so that Ctrl-C reaches us alone and we end it in order.

    If we are killed instead, the kernel ends it (`setpriv --pdeathsig`). Bound to no event loop: it may be started in
    one and stopped in another.
    """

    def __init__(self, name: str, command: list[str], log: Path, cwd: Path, environment: dict[str, str]) -> None:
        self.name, self.log = name, log
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.is_running:
            self._process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, by force if it doesn't end by itself within STOP_TIMEOUT_S."""
        self.send(number)
        self.send(signal.SIGCONT)  # a frozen one would never hear of it
        if not await self._ended(STOP_TIMEOUT_S):
            await self.kill()

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self._ended(STOP_TIMEOUT_S)

    def said(self) -> str:
        """The end of its output, for error messages."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()

    async def _ended(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while self.is_running and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        return not self.is_running
