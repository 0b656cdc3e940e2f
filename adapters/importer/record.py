"""What is remembered of an import, from the upload until it is forgotten.

validating ──► valid, invalid ──confirmed──► importing ──► done
    │               │                            ├──► failed (its campaign is gone)
    ├──► failed     └──► cancelled               └──► cancelled (what was stored stays)
    └──► cancelled
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from adapters.importer.job import Encoding, Media, Row, RowError
from adapters.importer.spool import PROGRESS, RECORD, atomically
from engine.core.importing import ImportMode


class State(StrEnum):
    VALIDATING = "validating"
    VALID = "valid"
    INVALID = "invalid"
    IMPORTING = "importing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (State.DONE, State.FAILED, State.CANCELLED)
WAITING = (State.VALID, State.INVALID)


class TagsMode(StrEnum):
    """What becomes of the tags of a contact that is replaced."""

    REPLACE = "replace"
    ADD = "add"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` as in Job; `by` who sent the file, at epoch ms."""

    campaign: str
    by: str
    at: int
    name: str
    mode: ImportMode
    media: Media
    encoding: Encoding = Encoding.UTF_8
    columns: dict[str, str] = {}
    mapping: str = ""
    required: tuple[str, ...] = ()
    region: str = ""
    prefix: bool = False
    tags: TagsMode = TagsMode.REPLACE


class Record(msgspec.Struct, kw_only=True):
    """`checked` is how many rows the process has told of; nothing else here changes without being written."""

    id: str
    request: Request
    state: State
    size: int
    digest: str
    changed_at: int
    reason: str = ""
    confirmed_by: str = ""
    checked: int = 0

    def save(self, folder: Path) -> None:
        atomically(folder / RECORD, msgspec.json.encode(self))


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What confirming would do, as things stood when the file had been checked."""

    new: int
    known: int
    replaced: int
    rejected: int
    errors: int
    removed: int
    first_errors: tuple[RowError, ...]
    warnings: tuple[str, ...]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Refs of a chunk that are about to be stored: after a crash it tells what was done by whom."""

    new: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()


class Progress(msgspec.Struct, kw_only=True):
    """How far storing is. `known_before` are the campaign's contacts when it began; only those are ever removed."""

    known_before: int
    chunks: int = 0
    pending: Pending | None = None
    added: int = 0
    known: int = 0
    replaced: int = 0
    rejected: int = 0
    errors: int = 0
    errors_bytes: int = 0
    first_errors: list[RowError] = []
    removals: int = -1
    """Contacts to remove; -1 while that isn't known."""
    removed_upto: int = 0
    cancelled: int = 0
    finishing: bool = False

    @property
    def rows(self) -> int:
        return self.added + self.known + self.replaced + self.rejected

    def save(self, folder: Path) -> None:
        atomically(folder / PROGRESS, msgspec.json.encode(self))


__all__ = ["OVER", "WAITING", "Forecast", "Pending", "Progress", "Record", "Request", "Row", "State", "TagsMode"]
