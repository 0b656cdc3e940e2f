"""Whether an import's folder holds a person: by refs and numbers, however people write those."""

import mmap
import re
from collections.abc import Collection
from pathlib import Path

from adapters.importer.spool import PROGRESS, RECORD

OURS = (RECORD, PROGRESS)
"""Files of the folder that say nothing of people."""
BETWEEN = rb"[ ().\-/]{0,3}"
"""What people write between two digits."""


def holds(folder: Path, refs: Collection[str], numbers: Collection[str]) -> bool:
    """Looks through every file as it is; a workbook itself is packed, what was read from it is not. Blocks."""
    pattern = re.compile(b"|".join([*map(_ref, refs), *map(_number, numbers)]) or rb"(?!)")
    files = (one for one in folder.rglob("*") if one.is_file() and one.name not in OURS)
    return any(_found(pattern, one) for one in files)


def _found(pattern: re.Pattern[bytes], path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None


def _ref(ref: str) -> bytes:
    return rb"(?<![A-Za-z0-9_.:@-])" + re.escape(ref.encode()) + rb"(?![A-Za-z0-9_.:@-])"


def _number(number: str) -> bytes:
    return rb"(?<![0-9])" + BETWEEN.join(bytes([digit]) for digit in number.lstrip("+").encode()) + rb"(?![0-9])"
