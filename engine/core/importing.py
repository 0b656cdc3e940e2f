"""Imports of contact files: when one began and what came of it. The contacts themselves are added like any others."""

from enum import StrEnum

import msgspec


class ImportMode(StrEnum):
    ADD = "add"
    OVERWRITE = "overwrite"
    CLOSE_OPEN = "close_open"
    FULL_SYNC = "full_sync"


class ImportStarted(msgspec.Struct, frozen=True, kw_only=True, tag="import.started.v1"):
    """`digest` is the file's, `rows` those that will be stored."""

    at: int
    import_id: str
    name: str
    mode: ImportMode
    rows: int
    digest: str
    by: str


class ImportFinished(msgspec.Struct, frozen=True, kw_only=True, tag="import.finished.v1"):
    """`lost`: its files were gone before it came to its end, and nobody can count what it came to."""

    at: int
    import_id: str
    added: int
    known: int
    replaced: int
    rejected: int
    cancelled: int
    lost: bool = False


ImportEvent = ImportStarted | ImportFinished
