"""XLSX: the first sheet's rows as text. What a workbook is unpacked to is measured before anything parses it."""

import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from math import isnan
from pathlib import Path

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum

from adapters.importer.job import ROUNDED
from adapters.importer.limits import FREE_OF_RATIO_BYTES, MAX_COLUMNS, MAX_ZIP_ENTRIES, MAX_ZIP_RATIO
from adapters.importer.text_file import Unreadable

BLOCK_BYTES = 1024 * 1024
EXACT_TO = 2**53
"""A spreadsheet's numbers are exact up to here; digits beyond it are made up."""
MAX_SHEET_ROWS = 1_048_576
"""The format's own limit."""
Cell = int | float | str | bool | time | date | datetime | timedelta


def rows(path: Path, max_unpacked_bytes: int) -> Iterator[list[str]]:
    """Every row from the sheet's first, the header's too. Raises Unreadable."""
    measure(path, max_unpacked_bytes)
    try:
        with CalamineWorkbook.from_path(path) as workbook:
            yield from _texts(_sheet(workbook))
    except CalamineError as error:
        raise Unreadable(f"the workbook can't be read: {error}") from None


def notes(path: Path) -> list[str]:
    """What the reader of a workbook with several sheets should know."""
    with CalamineWorkbook.from_path(path) as workbook:
        names = [one.name for one in workbook.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
    return [f"only the first of {len(names)} sheets is read: {names[0]!r}"] if len(names) > 1 else []


def measure(path: Path, max_unpacked_bytes: int) -> None:
    """Unpack everything to nowhere, counting: what the archive says of itself may be a lie. Raises Unreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_claims(parts, path.stat().st_size, max_unpacked_bytes)
            for part in parts:
                if part.flag_bits & 1:
                    raise Unreadable("the workbook is encrypted")
                with archive.open(part) as content:
                    while content.read(BLOCK_BYTES):
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise Unreadable(f"this is no intact .xlsx workbook: {error}") from None


def _check_claims(parts: list[zipfile.ZipInfo], size: int, max_unpacked_bytes: int) -> None:
    """Sizes bound what reading a part can yield: `zipfile` stops there, and the checksum then tells."""
    if len(parts) > MAX_ZIP_ENTRIES:
        raise Unreadable(f"the workbook has {len(parts)} parts; at most {MAX_ZIP_ENTRIES} are opened")
    unpacked = sum(part.file_size for part in parts)
    if unpacked > max_unpacked_bytes:
        raise Unreadable(f"the workbook unpacks to {unpacked} bytes; at most {max_unpacked_bytes} are read")
    if unpacked > FREE_OF_RATIO_BYTES and unpacked > MAX_ZIP_RATIO * size:
        raise Unreadable(f"the workbook unpacks to {unpacked // max(size, 1)} times its size: it looks like a bomb")
    if not any(part.filename == "xl/workbook.xml" for part in parts):
        raise Unreadable("this is no .xlsx workbook: it has no xl/workbook.xml")


def _sheet(workbook: CalamineWorkbook) -> CalamineSheet:
    names = [one.name for one in workbook.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
    if not names:
        raise Unreadable("the workbook has no sheet")
    return workbook.get_sheet_by_name(names[0])


def _texts(sheet: CalamineSheet) -> Iterator[list[str]]:
    """Blank rows at the top are passed over by whoever counts rows: they are yielded like any other."""
    if sheet.width > MAX_COLUMNS:
        raise Unreadable(f"there are {sheet.width} columns; a file has at most {MAX_COLUMNS}")
    if sheet.total_height > MAX_SHEET_ROWS:  # all that are missing before the last would be walked
        raise Unreadable(f"a cell claims row {sheet.total_height:,}; a sheet has at most {MAX_SHEET_ROWS:,}")
    for row in sheet.iter_rows():
        yield [text(one) for one in row]


def text(cell: Cell) -> str:
    """A cell as a person would type it. Numbers without a fraction are digits; dates are ISO."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        if isnan(cell):
            return repr(cell)  # a damaged workbook's: no spreadsheet writes it
        if abs(cell) > EXACT_TO:
            return ROUNDED
        return str(int(cell)) if cell == int(cell) else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell)
