"""A run of rows, and what came of checking it: what goes to a worker and comes back, or is done in place."""

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.importer.column import read_header
from adapters.importer.job import Chunk, Job, Row, RowError, chunk_of
from adapters.importer.number import Numbers
from adapters.importer.row import RowCheck

Rows = Sequence[tuple[int, list[str]]]
"""Places and cells: as many as one chunk holds."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """`refs` and `externals` are all that stand there, with their rows; `notes` as a tally has them."""

    rows: int
    chunk: Chunk
    refs: list[tuple[str, int]]
    externals: list[tuple[str, int]]
    errors: list[RowError]
    notes: dict[str, tuple[int, int]]
    agents: set[str]
    bare: int
    """Numbers that were read without a region."""


class PartCheck:
    """Checks runs of rows of one file, each by itself. Raises BadHeader."""

    def __init__(self, job: Job, header: list[str], fast: Any) -> None:
        self._job, self._fast = job, fast
        self.layout = read_header(header, job.columns, job.required)

    def check(self, rows: Rows) -> Part:
        job, numbers = self._job, Numbers(self._job.region, self._fast)
        one = RowCheck(self.layout, numbers, campaign=job.campaign, prefix=job.prefix, tags=job.tags, agents=job.agents)
        places: list[int] = []
        good: list[Row] = []
        wrong: list[RowError] = []
        for place, cells in rows:
            row, errors = one.check(place, cells)
            if row is None:
                wrong += errors
            else:
                places.append(place)
                good.append(row)
        return Part(
            rows=len(rows),
            chunk=chunk_of(places, good),
            refs=one.refs,
            externals=one.externals,
            errors=wrong,
            notes=one.tally.seen,
            agents=one.agents,
            bare=numbers.bare,
        )
