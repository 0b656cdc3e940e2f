"""A SQLite store saved into a file while a service writes to it, and a saved file put where a store is to be."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

BESIDE = ("", "-wal", "-shm")
"""What a store's file name may end in. A journal that is left of another store would be read into the new one."""


class BackupRefused(Exception):
    """Something is there that would be lost, or isn't there that is needed. Nothing was changed."""


@contextlib.contextmanager
def beside(file: Path) -> Iterator[Path]:
    """A folder on the same file system for what isn't finished; it goes with all that is left in it."""
    if not file.parent.is_dir():
        raise BackupRefused(f"there is no folder {file.parent}")
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:  # for its owner only
        yield Path(folder)


def save(store: Path, file: Path) -> None:
    """Copy the store, keys to personal data with it, as it is at one moment. Raises BackupRefused, OSError, sqlite3.Error.

    In one step, so within one read transaction: a copy in several would begin anew after each write of the service, and
    never end. Writers aren't held up by a reader; only their journal grows while it lasts.
    """
    if not store.is_file():
        raise BackupRefused(f"there is no store at {store}")
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with (  # not read-only: such a connection leaves a journal behind where no service runs
        contextlib.closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=rw", uri=True)) as source,
        contextlib.closing(sqlite3.connect(file)) as target,
    ):
        source.backup(target)
        target.execute("pragma journal_mode = delete")  # one file, and nothing beside it
    _flush(file)


def give_to_owner(file: Path, folder: Path) -> None:
    """Who restores is often root, and the service is not: the store is then the folder's owner's. Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def take(saved: Path, file: Path) -> None:
    """Copy a saved file to where it is worked on. Raises BackupRefused, OSError."""
    if not saved.is_file():
        raise BackupRefused(f"there is no file {saved}")
    left = [f"{saved}{end}" for end in BESIDE[1:] if Path(f"{saved}{end}").exists()]
    if left:
        raise BackupRefused(f"{left[0]} is beside it: it is a store in use, not a backup; `ringfold backup` makes one")
    shutil.copyfile(saved, file)
    file.chmod(0o600)


def put_in_place(made: Path, file: Path) -> None:
    """Give a finished file its name, where nothing is yet. Raises BackupRefused, OSError."""
    assert_free(file)
    _flush(made)
    os.link(made, file)  # unlike a rename it replaces nothing, whoever was quicker
    _flush(file.parent)


def assert_free(file: Path) -> None:
    """Raises BackupRefused where a store is, was, or is still being written to by a process that lives."""
    for end in BESIDE:
        if Path(f"{file}{end}").exists():
            raise BackupRefused(f"{file}{end} is there already: nothing is replaced; move it away first")
    try:
        with Path(f"{file}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError:
        raise BackupRefused(f"a service is still at work on {file}: stop it first") from None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
