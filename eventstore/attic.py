"""An attic on the disk: what was put away of a campaign while this process has it.

A file without a name, so that it goes with the process however that ends. It is written at its end only, and no place in it
is used twice: what is taken of a book still finds each block as it was then.
"""

import os
import tempfile
import weakref
from pathlib import Path

import structlog
import zstandard

LENGTH_BITS = 24
"""Of a place: the lower ones are the block's length in the file, the others where it begins."""
LEVEL = 1
"""Of zstd: a block waits for it, twenty microseconds or so."""

log = structlog.get_logger(__name__)


class FileAttic:
    """Implements engine.core.blocks.Attic."""

    def __init__(self, folder: Path) -> None:
        """`folder`: made when missing, for its owner only. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed once nobody can ask for a block any more
        self._fd, self._end = file.fileno(), 0
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._is_full = False
        weakref.finalize(self, file.close)

    def put(self, block: bytes) -> int | None:
        data = self._compressor.compress(block)
        if len(data) >> LENGTH_BITS:
            return None
        try:
            if os.pwrite(self._fd, data, self._end) < len(data):
                raise OSError("the disk has no room for all of it")
        except OSError as error:
            if not self._is_full:
                log.warning("nothing can be put away, it stays in memory", error=str(error))
            self._is_full = True
            return None
        self._is_full = False
        place = self._end << LENGTH_BITS | len(data)
        self._end += len(data)
        return place

    def get(self, place: int) -> bytes:
        data = os.pread(self._fd, place & ((1 << LENGTH_BITS) - 1), place >> LENGTH_BITS)
        try:
            return zstandard.ZstdDecompressor().decompress(data)
        except zstandard.ZstdError as error:
            raise OSError(f"what was put away isn't as it was: {error}") from error
