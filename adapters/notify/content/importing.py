"""What is told of imports. The contacts themselves are told as any others are."""

from typing import ClassVar, assert_never

import msgspec

from adapters.notify.content.base import Content, Count, Fact
from engine.core import importing
from engine.core.importing import ImportEvent, ImportMode


class ImportStarted(Content, frozen=True, kw_only=True):
    """A file was checked and is being stored."""

    TYPE: ClassVar[str] = "import.started"

    import_id: str = msgspec.field(name="import")
    name: str
    mode: ImportMode
    rows: Count
    """Those that will be stored."""
    by: str


class ImportFinished(Content, frozen=True, kw_only=True):
    """A file is stored: what came of its rows."""

    TYPE: ClassVar[str] = "import.finished"

    import_id: str = msgspec.field(name="import")
    added: Count
    known: Count
    """Contacts that were there already, and stayed as they were."""
    replaced: Count
    rejected: Count
    cancelled: Count
    """Contacts that the file no longer names."""
    lost: bool
    """The file was gone before all of it was stored."""


def fact(event: ImportEvent) -> Fact:
    match event:
        case importing.ImportStarted():
            started = ImportStarted(
                import_id=event.import_id, name=event.name, mode=event.mode, rows=event.rows, by=event.by
            )
            return Fact(at=event.at, data=started)
        case importing.ImportFinished():
            finished = ImportFinished(
                import_id=event.import_id,
                added=event.added,
                known=event.known,
                replaced=event.replaced,
                rejected=event.rejected,
                cancelled=event.cancelled,
                lost=event.lost,
            )
            return Fact(at=event.at, data=finished)
        case _:
            assert_never(event)
