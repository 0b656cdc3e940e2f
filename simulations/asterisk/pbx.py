"""A real Asterisk as a process of ours, on loopback, with the configuration that we ship."""

import asyncio
import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.asterisk import configuration
from simulations.asterisk.child import Child
from simulations.asterisk.configuration import Folders, Plan
from simulations.asterisk.installation import Installation, install
from simulations.asterisk.port import free_port

BOOT_TIMEOUT_S = 30.0
BOOT_POLL_S = 0.05
LOGIN_TIMEOUT_S = 5.0


class NotBooted(Exception):
    """Asterisk came to its end, or to nothing. Carries the end of its log."""


class Asterisk:
    """One PBX, its ports and secret the same over all its restarts.

    `carrier_port` and `phones` (name to SIP port, None for a phone that isn't there) say where the far ends are; they
    need not run yet. Use as `async with`, or start and stop. Only processes of its own are ever ended.
    """

    username = "ringfold"
    trunk = "carrier"

    def __init__(
        self,
        work: Path,
        *,
        carrier_port: int,
        phones: Mapping[str, int | None],
        installation: Installation | None = None,
    ) -> None:
        self._installation = installation or install(say=lambda _: None)
        self._folders = Folders.under(work.resolve())
        self._child: Child | None = None
        self.phones = tuple(phones)
        self.secret = secrets.token_hex(12)
        self.ami_port, self.sip_port = free_port(), free_port()
        plan = Plan(
            ami_port=self.ami_port,
            secret=self.secret,
            sip_port=self.sip_port,
            carrier_port=carrier_port,
            phones=phones,
        )
        configuration.write(plan, self._folders, self._installation)

    @property
    def version(self) -> str:
        return self._installation.version

    @property
    def major(self) -> int:
        return self._installation.major

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running

    @property
    def pid(self) -> int:
        """0 while it doesn't run."""
        return self._child.pid if self._child is not None and self._child.is_running else 0

    @property
    def cel_path(self) -> Path:
        return self._folders.log / "cel-custom" / "ringfold.csv"

    @property
    def recordings_path(self) -> Path:
        """Where the shipped dialplan's recordings go."""
        return self._folders.var / "monitor" / "ringfold"

    @property
    def log_path(self) -> Path:
        return self._folders.log / "messages.log"

    async def start(self) -> None:
        """Return when the manager interface says FullyBooted. Raises NotBooted."""
        if self.is_running:
            return
        command = [*self._installation.asterisk(), "-f", "-C", str(self._folders.etc / "asterisk.conf")]
        self._child = Child(
            "asterisk",
            command,
            log=self._folders.log / "output.log",
            cwd=self._folders.var,
            environment={"MALLOC_ARENA_MAX": "2"},
        )
        try:
            await self._booted(self._child)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Ask it to shut down: channels are hung up and logins told, as with `core stop now`."""
        if self._child is not None:
            await self._child.stop()

    async def kill(self) -> None:
        """As a crash: no word to anybody."""
        if self._child is not None:
            await self._child.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def freeze(self) -> None:
        """Let it hang: its sockets stay open and nobody answers."""
        if self._child is not None:
            self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._child is not None:
            self._child.send(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _booted(self, child: Child) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < deadline:
            if not child.is_running:
                raise NotBooted(f"Asterisk ended while booting: {child.said()}")
            try:
                async with asyncio.timeout(LOGIN_TIMEOUT_S):
                    if await self._answers():
                        return
            except (OSError, EOFError, TimeoutError):
                pass  # not listening yet, or not for logins
            await asyncio.sleep(BOOT_POLL_S)
        raise NotBooted(f"Asterisk wasn't up after {BOOT_TIMEOUT_S} s: {child.said()}")

    async def _answers(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ami_port)
        try:
            login = f"Action: Login\r\nUsername: {self.username}\r\nSecret: {self.secret}\r\n\r\n"
            writer.write(login.encode())
            heard = b""
            while b"Event: FullyBooted" not in heard:
                heard = heard[-64:] + (data := await reader.read(4_096))
                if not data:
                    return False
            return True
        finally:
            writer.close()
