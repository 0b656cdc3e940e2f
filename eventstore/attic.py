"""An attic on the disk: what was put away of a campaign while this process has it.

A file without a name, so that it goes with the process however that ends. It is written at its end only, and no place in it
is used twice: what is taken of a book still finds each block as it was then.
"""

import os
import tempfile
import threading
import weakref
from pathlib import Path

import structlog
import zstandard

from engine.core.blocks import AtticUnreadable

LENGTH_BITS = 24
"""Of a place: the lower ones are the block's length in the file, the others where it begins."""
LEVEL = 1
"""Of zstd: the loop waits for it, twenty microseconds or so."""
LEAST_FREE_BYTES = 256 * 1024 * 1024
"""Left on the disk: a log that shares it needs the room more."""

log = structlog.get_logger(__name__)


class FileAttic:
    """Implements engine.core.blocks.Attic. The file is made for the first block."""

    def __init__(self, folder: Path) -> None:
        """`folder`: made when missing, for its owner only."""
        self._folder = folder
        self._fd: int | None = None
        self._end = 0
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._of_thread = threading.local()
        self._is_full = False

    def put(self, block: bytes) -> int | None:
        data = self._compressor.compress(block)
        if len(data) >> LENGTH_BITS:
            return None
        try:
            self._append(data)
        except OSError as error:
            if not self._is_full:
                log.warning("nothing can be put away, it stays in memory", folder=str(self._folder), error=str(error))
            self._is_full = True
            return None
        self._is_full = False
        place = self._end << LENGTH_BITS | len(data)
        self._end += len(data)
        return place

    def _append(self, data: bytes) -> None:
        if self._fd is None:
            self._fd = self._made()
        about = os.fstatvfs(self._fd)
        if about.f_bavail * about.f_frsize < LEAST_FREE_BYTES:
            raise OSError(f"the disk has less than {LEAST_FREE_BYTES >> 20} MiB left")
        if os.pwrite(self._fd, data, self._end) < len(data):
            raise OSError("the disk has no room for all of it")

    def _made(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - as long as anybody may ask for a block
        weakref.finalize(self, file.close)
        return file.fileno()

    def get(self, place: int) -> bytes:
        assert self._fd is not None  # there is a place
        try:
            data = os.pread(self._fd, place & ((1 << LENGTH_BITS) - 1), place >> LENGTH_BITS)
            return self._decompressor.decompress(data)
        except (OSError, zstandard.ZstdError) as error:
            raise AtticUnreadable(f"a page of calls that was put away: {error}") from error

    @property
    def _decompressor(self) -> zstandard.ZstdDecompressor:
        """This thread's: to make one takes longer than a block."""
        kept: zstandard.ZstdDecompressor | None = getattr(self._of_thread, "decompressor", None)
        if kept is None:
            kept = self._of_thread.decompressor = zstandard.ZstdDecompressor()
        return kept
