"""The check of one file, whole: rows in, chunks of contacts and a list of errors out."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from adapters.importer import text_file, workbook
from adapters.importer.column import EXTERNAL_ID, REF, BadHeader, Layout
from adapters.importer.job import Findings, Job, Media, Row, RowError, chunk_of, packed
from adapters.importer.limits import (
    CHUNK_ROWS,
    LONG_FILE_BYTES,
    MAX_LISTED_ERRORS,
    PROGRESS_EVERY_ROWS,
    SHOWN_CHARS,
    SHOWN_ERRORS,
    SHOWN_ROWS,
)
from adapters.importer.number import fast_library
from adapters.importer.part import Part, PartCheck, Rows
from adapters.importer.row import Tally
from adapters.importer.spool import CHUNKS, ERRORS, FINDINGS, SOURCE, SPARED, atomically, quoted
from adapters.importer.text_file import Unreadable
from adapters.importer.worker import Workers

NOTHING = "the file has a header and no rows"


class Check:
    """Checks `SOURCE` in a folder, and leaves CHUNKS, ERRORS, SPARED and FINDINGS there."""

    def __init__(self, folder: Path, job: Job, workers: int, tell: Callable[[int], None]) -> None:
        """`workers`: processes to check a long file with; 0 is in this one."""
        self._folder, self._job, self._tell = folder, job, tell
        self._workers = workers if (folder / SOURCE).stat().st_size >= LONG_FILE_BYTES else 0
        self._tally = Tally()
        self._refs: dict[str, int] = {}
        self._externals: dict[str, int] = {}
        """With the row where each first stood."""
        self._agents: set[str] = set()
        self._first: list[RowError] = []
        self._preview: list[Row] = []
        self._rows = self._good = self._rejected = self._errors = self._bare = 0

    def run(self) -> Findings:
        """The findings, which are the last thing written: where they are, all is."""
        layout, unreadable = None, ""
        with (
            (self._folder / ERRORS).open("w", encoding="utf-8", newline="") as errors,
            (self._folder / CHUNKS).open("wb") as chunks,
        ):
            listed = csv.writer(errors, lineterminator="\n")
            try:
                numbered = self._numbered()
                place, header = next(numbered, (1, []))
                try:
                    check = PartCheck(self._job, header, fast_library())
                except BadHeader as error:
                    raise Unreadable(str(error), place) from None
                layout = check.layout
                self._check_all(self._runs(numbered), header, check, chunks, listed)
                if not self._rows:
                    raise Unreadable(NOTHING)
            except Unreadable as error:
                unreadable = str(error)
                self._list([RowError(getattr(error, "row", 1), "", unreadable)], listed)
        with (self._folder / SPARED).open("w", encoding="ascii") as file:
            file.writelines(f"{ref}\n" for ref in self._refs)  # what a file names, a full sync doesn't remove
        warnings = [*(layout.warnings if layout else ()), *self._tally.lines()]
        if self._bare:
            warnings.append(
                f"numbers without + were read as beginning with a country code, for no region was named: {self._bare}"
            )
        if self._job.media is Media.XLSX and not unreadable:
            warnings += workbook.notes(self._folder / SOURCE)
        findings = Findings(
            rows=self._rows,
            good=self._good,
            rejected=self._rejected,
            errors=self._errors,
            first_errors=tuple(self._first),
            preview=tuple(self._preview),
            warnings=tuple(warnings),
            agents=frozenset(self._agents),
            unreadable=unreadable,
        )
        atomically(self._folder / FINDINGS, msgspec.json.encode(findings))
        return findings

    def _numbered(self) -> Iterator[tuple[int, list[str]]]:
        """Rows that aren't blank, with their place."""
        source = self._folder / SOURCE
        if self._job.media is Media.XLSX:
            found = workbook.rows(source, self._job.max_unpacked_bytes)
        else:
            found = text_file.rows(source, self._job.encoding)
        for place, cells in enumerate(found, 1):
            if "".join(cells).strip():
                yield place, cells

    def _runs(self, numbered: Iterator[tuple[int, list[str]]]) -> Iterator[Rows]:
        """Chunks of rows; what can't be read ends them, behind the rows before it."""
        rows: list[tuple[int, list[str]]] = []
        read = 0
        try:
            for place, cells in numbered:
                if read == self._job.max_rows:
                    raise Unreadable(f"the file has more than {self._job.max_rows} rows", place)
                read += 1
                rows.append((place, cells))
                if len(rows) == CHUNK_ROWS:
                    yield rows
                    rows = []
        except Unreadable:
            if rows:
                yield rows
            raise
        if rows:
            yield rows

    def _check_all(
        self, runs: Iterator[Rows], header: list[str], check: PartCheck, chunks: IO[bytes], listed: Any
    ) -> None:
        workers = Workers(self._workers, self._job, header) if self._workers else None
        try:
            for part in workers.checked(runs) if workers is not None else map(check.check, runs):
                self._take(part, check.layout, chunks, listed)
        finally:
            if workers is not None:
                workers.close()

    def _take(self, part: Part, layout: Layout, chunks: IO[bytes], listed: Any) -> None:
        twice = [
            *_twice(self._refs, part.refs, layout.header(layout.single[REF]), "{}"),
            *_twice(self._externals, part.externals, layout.header(layout.single[EXTERNAL_ID]), "{!r}"),
        ]
        chunk = part.chunk
        if twice:
            wrong = {one.row for one in twice}
            kept = [one for one in zip(chunk.numbers, chunk.rows(), strict=True) if one[0] not in wrong]
            chunk = chunk_of([place for place, _ in kept], [row for _, row in kept])
        if chunk.numbers:
            chunks.write(packed(chunk))
        if len(self._preview) < SHOWN_ROWS:
            self._preview += chunk.rows()[: SHOWN_ROWS - len(self._preview)]
        self._list(sorted(part.errors + twice, key=lambda one: one.row), listed)
        for what, (count, first) in part.notes.items():
            self._tally.note(what, first, count)
        self._agents |= part.agents
        self._bare += part.bare
        self._good += len(chunk.numbers)
        self._rejected += part.rows - len(chunk.numbers)
        before, self._rows = self._rows, self._rows + part.rows
        if before // PROGRESS_EVERY_ROWS != self._rows // PROGRESS_EVERY_ROWS:
            self._tell(self._rows)

    def _list(self, errors: Sequence[RowError], listed: Any) -> None:
        for error in errors:
            self._errors += 1
            if len(self._first) < SHOWN_ERRORS:
                self._first.append(error)
            if self._errors <= MAX_LISTED_ERRORS:
                listed.writerow(quoted(error))


def _twice(known: dict[str, int], found: Sequence[tuple[str, int]], column: str, form: str) -> list[RowError]:
    """Errors for those that stood in another row before; the others are known from now on."""
    wrong = []
    for one, row in found:
        first = known.setdefault(one, row)
        if first != row:
            wrong.append(RowError(row, column, f"{form.format(one[:SHOWN_CHARS])} stands in row {first} already"))
    return wrong


__all__ = ["Check"]
