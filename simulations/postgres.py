"""A real PostgreSQL of our own: in a folder that goes with it, on a free loopback port, with full durability.

The server's binaries come from the PATH or from where Debian puts them. As root it runs as `nobody`, for it refuses root.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_WITHIN_S = 30
CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_wal_size = '1GB'
"""
SMALL = """
max_wal_size = '16MB'
min_wal_size = '2MB'
"""
"""For a small disk: little of it is kept for the log to come."""


class NotInstalled(Exception):
    """No PostgreSQL server on this machine; says where it was looked for."""


def binaries() -> Path:
    """The folder of initdb, postgres and pgbench. Raises NotInstalled."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for folder in (*installed, *([Path(on_path).resolve().parent] if on_path else [])):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NotInstalled("no initdb on the PATH and none under /usr/lib/postgresql: install Debian's package postgresql")


class Postgres:
    """Use `Postgres.running()`."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def binary(self, name: str) -> Path:
        return self._programs / name

    @property
    def said(self) -> str:
        """Its log, whole."""
        return (self._folder / "server.log").read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """False where it was stopped, and where it ended itself."""
        return self._process is not None and self._process.poll() is None

    @classmethod
    @contextlib.contextmanager
    def running(cls, data: Path | None = None, wal: Path | None = None) -> Iterator["Postgres"]:
        """A server with an empty cluster, gone afterwards. Raises NotInstalled.

        `data`, `wal`: folders for its data and its write-ahead log where they are to be on disks of their own, small ones.
        """
        programs = binaries()
        with tempfile.TemporaryDirectory(prefix="ringfold-postgres-") as folder:
            server = cls(Path(folder), programs)
            server.create(data, wal)
            server.start()
            try:
                yield server
            finally:
                server.stop()

    def create(self, data: Path | None = None, wal: Path | None = None) -> None:
        self._data = data / "data" if data else self._folder / "data"
        arguments = ["-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        if data or wal:
            arguments.append("--wal-segsize=1")
        if wal:
            arguments.append(f"--waldir={wal / 'wal'}")
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for folder in filter(None, (self._folder, data, wal)):
                os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        subprocess.run(
            [self.binary("initdb"), *arguments], check=True, capture_output=True, user=self._user, cwd=self._folder
        )
        with (self._data / "postgresql.conf").open("a") as config:
            config.write(CONFIG + (SMALL if data or wal else "") + f"port = {self.port}\n")

    def start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary("postgres"), "-D", str(self._data)],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )
        until = time.monotonic() + START_WITHIN_S
        while not self.is_ready():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(self.said[-2_000:])
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        to = ("-q", "-h", "127.0.0.1", "-p", str(self.port))
        return subprocess.run([self.binary("pg_isready"), *to], check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one: a crash of all but the disk."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    @property
    def _user(self) -> str | None:
        return "nobody" if os.getuid() == 0 else None
