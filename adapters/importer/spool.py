"""An import's folder: the file as it came, what checking it made of it, and how far storing is. Whole or not there."""

import csv
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from adapters.importer.job import RowError

SOURCE = "source"
JOB = "job.json"
CHUNKS = "chunks"
SPARED = "refs"
"""Every legible ref of the file, one a line."""
ERRORS = "errors.check.csv"
COMPARED = "errors.compare.csv"
STORED = "errors.store.csv"
FINDINGS = "findings.json"
FORECAST = "forecast.json"
RECORD = "record.json"
PROGRESS = "progress.json"
REMOVALS = "removals"
ERROR_LISTS = (ERRORS, COMPARED, STORED)
ERROR_HEADER = "row,column,reason\n"
OF_PEOPLE = (SOURCE, JOB, CHUNKS, SPARED, REMOVALS)
"""What isn't needed any more once an import is over, and holds personal data."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""
BLOCK_CHARS = 64 * 1024


def atomically(path: Path, data: bytes) -> None:
    """The file holds these bytes or what it held before, whatever happens; of two at once it holds one."""
    partly = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    with partly.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partly.replace(path)


def quoted(error: RowError) -> tuple[str, str, str]:
    """A line of a list that people open in a spreadsheet: nothing in it is a formula."""
    return str(error.row or ""), harmless(error.column), harmless(error.reason)


def harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_lines(errors: list[RowError]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(quoted(one) for one in errors)
    return out.getvalue()


def error_list(folder: Path) -> Iterator[str]:
    """All errors as CSV, in blocks."""
    yield ERROR_HEADER
    for name in ERROR_LISTS:
        path = folder / name
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                while block := file.read(BLOCK_CHARS):
                    yield block


def make(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)


def forget(folder: Path, names: tuple[str, ...] | None = None) -> None:
    """Remove these files, or the whole folder."""
    if names is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in names:
        (folder / name).unlink(missing_ok=True)
