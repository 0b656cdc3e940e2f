"""The engine as its users run it: a process of its own, with a settings file, that can be killed and started again."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp

from api.token import KeyRing, Role
from simulations.client import Client

READY_WITHIN_S = 30
STOP_WITHIN_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def to_toml(tables: dict[str, dict[str, Any]]) -> str:
    """Flat tables of text, numbers, booleans and lists of text."""

    def value(one: Any) -> str:
        if isinstance(one, bool):
            return str(one).lower()
        if isinstance(one, list | tuple):
            return "[" + ", ".join(value(item) for item in one) + "]"
        return f'"{one}"' if isinstance(one, str) else str(one)

    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value(one)}\n" for key, one in table.items())
        for name, table in tables.items()
    )


class EngineProcess:
    """`ringfold serve` in a work folder. `settings` are added to what a loopback run needs."""

    def __init__(self, folder: Path, settings: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.config = folder / "ringfold.toml"
        self.log_path = folder / "ringfold.log"
        self._process: asyncio.subprocess.Process | None = None
        tables: dict[str, dict[str, Any]] = {
            "http": {"host": "127.0.0.1", "port": self.port},
            "store": {"url": f"sqlite:///{folder / 'ringfold.db'}"},
            "tokens": {"key_file": str(folder / "tokens.key")},
            "engine": {"drain_timeout_s": 30},
            "imports": {"folder": str(folder / "imports")},
            "retention": {"archive_folder": str(folder / "archive")},
        }
        for name, table in settings.items():
            tables[name] = {**tables.get(name, {}), **table}
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(to_toml(tables), encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def token(self, role: Role, subject: str, campaigns: tuple[str, ...] = ()) -> str:
        keys = KeyRing.open(self.folder / "tokens.key")
        return keys.mint(role, subject, ttl_s=3_600, campaigns=campaigns)

    def client(self, session: aiohttp.ClientSession, role: Role, subject: str) -> Client:
        return Client(session, self.base, self.token(role, subject))

    async def start(self) -> None:
        """Start and wait until it is ready. Raises RuntimeError with the end of its log."""
        with self.log_path.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "engine", "serve", "--config", str(self.config), stdout=out, stderr=out
            )
        async with aiohttp.ClientSession() as session, asyncio.timeout(READY_WITHIN_S):
            while True:
                if self._process.returncode is not None:
                    raise RuntimeError(f"the engine ended at once: {self._tail()}")
                try:
                    async with session.get(f"{self.base}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL: no goodbye."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it ends by itself or by a signal; returns its exit status."""
        assert self._process is not None
        async with asyncio.timeout(STOP_WITHIN_S):
            return await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL if that isn't heard. Returns the exit status."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()
        return self._process.returncode or 0

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a `ringfold` command with the same settings; returns its exit status and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "engine",
            *words,
            "--config",
            str(self.config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    def _tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-2_000:]
