"""The check of one file, whole: rows in, chunks of contacts and a list of errors out."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from adapters.importer import text_file, workbook
from adapters.importer.column import BadHeader, Layout, read_header
from adapters.importer.job import Findings, Job, Media, Row, RowError, packed
from adapters.importer.limits import (
    CHUNK_ROWS,
    MAX_LISTED_ERRORS,
    PROGRESS_EVERY_ROWS,
    SHOWN_ERRORS,
    SHOWN_ROWS,
)
from adapters.importer.number import Numbers
from adapters.importer.row import RowCheck
from adapters.importer.spool import CHUNKS, ERRORS, FINDINGS, SOURCE, SPARED, atomically, quoted
from adapters.importer.text_file import Unreadable

NOTHING = "the file has a header and no rows"


class Check:
    """Checks `SOURCE` in a folder, and leaves CHUNKS, ERRORS, SPARED and FINDINGS there."""

    def __init__(self, folder: Path, job: Job, fast: Any, tell: Callable[[int], None]) -> None:
        self._folder, self._job, self._tell = folder, job, tell
        self._numbers = Numbers(job.region, fast)
        self._first: list[RowError] = []
        self._preview: list[Row] = []
        self._rows = self._good = self._rejected = self._errors = 0

    def run(self) -> Findings:
        """The findings, which are the last thing written: where they are, all is."""
        layout, check, unreadable = None, None, ""
        with (
            (self._folder / ERRORS).open("w", encoding="utf-8", newline="") as errors,
            (self._folder / CHUNKS).open("wb") as chunks,
        ):
            listed = csv.writer(errors, lineterminator="\n")
            try:
                numbered = self._numbered()
                layout = self._header(numbered)
                check = self._row_check(layout)
                self._check_all(numbered, check, chunks, listed)
                if not self._rows:
                    raise Unreadable(NOTHING)
            except (Unreadable, BadHeader) as error:
                unreadable = str(error)
                self._list([RowError(getattr(error, "row", 1), "", unreadable)], listed)
        self._spare(check)
        warnings = [*(layout.warnings if layout else ()), *(check.tally.lines() if check else ())]
        if self._numbers.bare:
            warnings.append(
                f"numbers without + were read as beginning with a country code, for no region was named: {self._numbers.bare}"
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
            agents=frozenset(check.agents) if check else frozenset(),
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

    def _header(self, numbered: Iterator[tuple[int, list[str]]]) -> Layout:
        place, cells = next(numbered, (1, []))
        try:
            return read_header(cells, self._job.columns, self._job.required)
        except BadHeader as error:
            raise Unreadable(str(error), place) from None

    def _row_check(self, layout: Layout) -> RowCheck:
        job = self._job
        return RowCheck(
            layout,
            self._numbers,
            campaign=job.campaign,
            prefix=job.prefix,
            tags=job.tags,
            agents=job.agents,
        )

    def _check_all(
        self, numbered: Iterator[tuple[int, list[str]]], check: RowCheck, chunks: IO[bytes], listed: Any
    ) -> None:
        places: list[int] = []
        rows: list[Row] = []
        for place, cells in numbered:
            if self._rows == self._job.max_rows:
                raise Unreadable(f"the file has more than {self._job.max_rows} rows", place)
            self._rows += 1
            row, errors = check.check(place, cells)
            if row is None:
                self._rejected += 1
                self._list(errors, listed)
            else:
                self._good += 1
                places.append(place)
                rows.append(row)
                if len(self._preview) < SHOWN_ROWS:
                    self._preview.append(row)
                if len(rows) == CHUNK_ROWS:
                    chunks.write(packed(places, rows))
                    places, rows = [], []
            if self._rows % PROGRESS_EVERY_ROWS == 0:
                self._tell(self._rows)
        if rows:
            chunks.write(packed(places, rows))

    def _list(self, errors: Sequence[RowError], listed: Any) -> None:
        for error in errors:
            self._errors += 1
            if len(self._first) < SHOWN_ERRORS:
                self._first.append(error)
            if self._errors <= MAX_LISTED_ERRORS:
                listed.writerow(quoted(error))

    def _spare(self, check: RowCheck | None) -> None:
        """Refs of rows that are wrong: what a file names, a full sync doesn't remove."""
        refs = check.refs if check is not None else {}
        with (self._folder / SPARED).open("w", encoding="ascii") as file:
            file.writelines(f"{ref}\n" for ref in refs)


__all__ = ["Check"]
