"""CSV: rows of text from a file that may be anything.

The encoding is what the byte order mark says, else what the caller names, never what fits; the delimiter is the one of
`, ; tab` that the header line has most of. What breaks the rows apart (a quote that isn't closed, an encoding that isn't
kept) ends the reading: nobody knows where the next row would begin.
"""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from adapters.importer.job import Encoding
from adapters.importer.limits import MAX_CELL_CHARS, MAX_LINE_CHARS

DELIMITERS = ",;\t"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, ""),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SEARCH_BYTES = 1024 * 1024


class Unreadable(Exception):
    """The file can't be read any further. `row` is where, counted as a spreadsheet does; 0 where it is the whole."""

    def __init__(self, reason: str, row: int = 0) -> None:
        super().__init__(reason)
        self.row = row


def rows(path: Path, encoding: Encoding) -> Iterator[list[str]]:
    """Every record, the header first; blank lines are empty ones. Raises Unreadable."""
    chosen = _encoding(path, encoding)
    csv.field_size_limit(MAX_CELL_CHARS)
    count = 0
    with path.open(encoding=chosen, newline="") as file:
        try:
            first = file.readline(MAX_LINE_CHARS)
            file.seek(0)
            lines = _lines(file)
            for cells in csv.reader(lines, delimiter=_delimiter(first), strict=True):
                count += 1
                yield cells
        except csv.Error as error:
            raise Unreadable(_explained(str(error)), count + 1) from None
        except UnicodeDecodeError:
            raise Unreadable(
                f"line {_line_of_fault(path, chosen)} is not {chosen.removesuffix('-sig')}: {_advice(chosen)}"
            ) from None
        except Unreadable as error:
            raise Unreadable(str(error), count + 1) from None


def _lines(file: IO[str]) -> Iterator[str]:
    while line := file.readline(MAX_LINE_CHARS):
        if len(line) == MAX_LINE_CHARS and line[-1] not in "\r\n":
            raise Unreadable(f"a line has more than {MAX_LINE_CHARS} characters")
        if "\0" in line:
            raise Unreadable("has a NUL: this is no text, or in UTF-16 without a byte order mark")
        yield line


def _encoding(path: Path, named: Encoding) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise Unreadable("the file is empty")
    for mark, name in MARKS:
        if head.startswith(mark):
            if not name:
                raise Unreadable("the file is in UTF-32: save it in UTF-8")
            return name
    if head.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise Unreadable("this is a workbook, not CSV: say so in its type, or save it as .xlsx")
    return named.value


def _delimiter(header: str) -> str:
    """The first of the most frequent outside of quotes."""
    bare = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=bare.count)


def _explained(error: str) -> str:
    if "field larger" in error:
        return f"a cell has more than {MAX_CELL_CHARS} characters: maybe a quote that is not closed"
    if "unexpected end" in error:
        return "a quote that is opened here is not closed before the end of the file"
    if "expected after" in error:
        return "something follows a closing quote; a quote inside of a cell is written twice"
    return error


def _line_of_fault(path: Path, encoding: str) -> int:
    """The line of the first byte that can't be."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while block := file.read(SEARCH_BYTES):
            try:
                line += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
    return line


def _advice(encoding: str) -> str:
    if encoding.startswith("utf-8"):
        return "save it in UTF-8, or name its encoding (cp1252, latin-1)"
    return "save it in UTF-8"
