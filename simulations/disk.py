"""A small disk of its own, that can really run full: the kernel says so to whoever writes, and nobody pretends."""

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MB = 1024 * 1024
BALLAST = "ballast"
CHUNKS = (MB, 64 * 1024, 4 * 1024, 512)
"""Bytes at a time: large ones first, and in the end not a sector is left."""


class NotMountable(Exception):
    """No file system can be mounted here; says why."""


class Disk:
    """Use `Disk.mounted`."""

    def __init__(self, at: Path, kind: str) -> None:
        self.at = at
        self.kind = kind
        """`loop`: ext4 in a file; `tmpfs`: in memory."""

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.at)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Until not a byte more can be written."""
        with (self.at / BALLAST).open("ab", buffering=0) as ballast:
            for size in CHUNKS:
                while _is_written(ballast.fileno(), size):
                    pass

    def free(self) -> None:
        (self.at / BALLAST).unlink(missing_ok=True)

    @classmethod
    @contextlib.contextmanager
    def mounted(cls, at: Path, megabytes: int, keep: bool = False) -> Iterator["Disk"]:
        """An empty disk at a folder, gone afterwards; with `keep` what is on it stays in the folder. Raises NotMountable."""
        at.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ringfold-disk-") as folder:
            disk = cls(at, _mount(at, Path(folder) / "disk.img", megabytes))
            try:
                yield disk
            finally:
                disk.free()
                kept = Path(folder) / "kept"
                if keep:
                    shutil.copytree(at, kept, ignore=shutil.ignore_patterns("lost+found"))
                if subprocess.run(["umount", at], check=False, capture_output=True).returncode:
                    subprocess.run(["umount", "--lazy", at], check=True, capture_output=True)  # whoever has it open yet
                if keep:
                    shutil.copytree(kept, at, dirs_exist_ok=True)


def _is_written(file: int, size: int) -> bool:
    try:
        return os.write(file, b"\0" * size) == size
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


def _mount(at: Path, image: Path, megabytes: int) -> str:
    """Returns the kind. A file as a disk is nearest to what people have; in a container there may be memory only."""
    if os.getuid() != 0:
        raise NotMountable("only root may mount a small disk")
    said = []
    ways: dict[str, tuple[list[str | Path], ...]] = {
        "loop": (
            ["truncate", f"--size={megabytes}M", image],
            ["mkfs.ext4", "-q", "-F", "-m", "0", image],  # nothing is reserved for root
            ["mount", "-o", "loop", image, at],
        ),
        "tmpfs": (["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", at],),
    }
    for kind, commands in ways.items():
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            said.append(f"{kind}: {error.filename} isn't there")
        except subprocess.CalledProcessError as error:
            said.append(f"{kind}: {error.stderr.strip()}")
        else:
            return kind
    raise NotMountable("; ".join(said))
