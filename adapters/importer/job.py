"""What goes into the process that checks a file, and what comes out: plain values in files of the import's folder."""

import struct
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from adapters.importer.limits import CHUNK_ROWS

LENGTH = struct.Struct("<I")
ROUNDED = "\0rounded"
"""Stands in the place of a number whose last digits a spreadsheet has lost."""


class Media(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"


class Encoding(StrEnum):
    """Never guessed beyond what a byte order mark says: the last two only where the caller names them."""

    UTF_8 = "utf-8"
    LATIN_1 = "latin-1"
    CP1252 = "cp1252"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` is our column by the file's own header; `tags` and `agents` those that exist."""

    media: Media
    encoding: Encoding
    columns: dict[str, str]
    required: tuple[str, ...]
    region: str
    campaign: str
    prefix: bool
    tags: frozenset[str]
    agents: frozenset[str]
    max_rows: int
    max_unpacked_bytes: int
    max_memory_bytes: int


class RowError(msgspec.Struct, frozen=True, array_like=True):
    """`row` counts as a spreadsheet does: the header is 1. `column` is the file's own header where it has one."""

    row: int
    column: str
    reason: str


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A contact as it will be stored."""

    ref: str
    numbers: tuple[str, ...]
    name: str = ""
    data: dict[str, str] = {}
    priority: str = "low"
    agent: str = ""
    zone: str = ""
    tags: tuple[str, ...] = ()
    external_id: str = ""
    consent_until: int = 0


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What checking a file came to. `unreadable` says why the rest of the file could not be read, "" where all was."""

    rows: int
    good: int
    rejected: int
    errors: int
    first_errors: tuple[RowError, ...]
    preview: tuple[Row, ...]
    warnings: tuple[str, ...]
    agents: frozenset[str]
    """Whom contacts are assigned to."""
    unreadable: str = ""


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Good rows in the order of the file: their row numbers, refs and external ids; `packed` holds the rows themselves.

    What is compared with the campaign needs the first three only.
    """

    numbers: list[int]
    refs: list[str]
    external_ids: dict[str, str]
    """By ref, for those that have one."""
    packed: bytes

    def rows(self) -> list[Row]:
        return _rows.decode(self.packed)


_rows = msgspec.msgpack.Decoder(list[Row])
_chunk = msgspec.msgpack.Decoder(Chunk)
_encoder = msgspec.msgpack.Encoder()


def chunk_of(numbers: list[int], rows: list[Row]) -> Chunk:
    assert len(rows) <= CHUNK_ROWS
    external_ids = {row.ref: row.external_id for row in rows if row.external_id}
    return Chunk(numbers, [row.ref for row in rows], external_ids, _encoder.encode(rows))


def packed(chunk: Chunk) -> bytes:
    """A chunk as it stands in the file: its length, then itself."""
    data = _encoder.encode(chunk)
    return LENGTH.pack(len(data)) + data


def chunks(path: Path, skip: int = 0) -> Iterator[Chunk]:
    """The chunks of a file, without the first `skip`."""
    with path.open("rb") as file:
        while len(head := file.read(LENGTH.size)) == LENGTH.size:
            (length,) = LENGTH.unpack(head)
            if skip:
                skip -= 1
                file.seek(length, 1)
            else:
                yield _chunk.decode(file.read(length))
