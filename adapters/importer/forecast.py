"""What confirming a checked file would do, row by row, as the campaign stands now. Nothing is stored."""

import asyncio
from pathlib import Path

import msgspec

from adapters.importer.dialer import BookOf, Engine, Gone
from adapters.importer.job import Findings, RowError, chunks
from adapters.importer.limits import COMMAND_ROWS, MAX_LISTED_ERRORS, SHOWN_ERRORS
from adapters.importer.record import Forecast, Request
from adapters.importer.spool import CHUNKS, COMPARED, FORECAST, atomically, csv_lines
from adapters.importer.storing import spared_refs, unnamed
from adapters.importer.verdict import REMOVING, are_new, judge
from engine.core.book import Book


async def foretell(folder: Path, request: Request, findings: Findings, engine: Engine, book_of: BookOf) -> Forecast:
    """Compare every good row with the campaign, leaving FORECAST and COMPARED. Raises Gone."""
    counts = dict.fromkeys(("new", "known", "replaced", "rejected"), 0)
    first: list[RowError] = []
    with (folder / COMPARED).open("w", encoding="utf-8", newline="") as listed:
        rest = chunks(folder / CHUNKS)
        while (chunk := await asyncio.to_thread(next, rest, None)) is not None:
            if await are_new(lambda: _book(book_of, request.campaign), engine, chunk):
                counts["new"] += len(chunk.refs)
                continue
            rows = list(zip(chunk.numbers, await asyncio.to_thread(chunk.rows), strict=True))
            for start in range(0, len(rows), COMMAND_ROWS):
                book, used = _book(book_of, request.campaign), engine.directory.contacts
                part = rows[start : start + COMMAND_ROWS]
                found = judge(book, used, request.campaign, request.mode, request.tags, part)
                counts["new"] += len(found.new)
                counts["known"] += found.known
                counts["replaced"] += len(found.replaced)
                counts["rejected"] += len(found.wrong)
                first += found.wrong[: SHOWN_ERRORS - len(first)]
                if found.wrong and counts["rejected"] <= MAX_LISTED_ERRORS:
                    listed.write(csv_lines(found.wrong))
                await asyncio.sleep(0)
    removed = 0
    if request.mode in REMOVING and not findings.unreadable:
        book = _book(book_of, request.campaign)
        spared = await asyncio.to_thread(spared_refs, folder)
        removed = len(await unnamed(book, spared, len(book.contacts.by_ref)))
    strangers = sorted(findings.agents - _book(book_of, request.campaign).agents.keys())
    warnings = [f"contacts are assigned to agents who are not in the campaign: {_some(strangers)}"] if strangers else []
    if removed:
        warnings.append(f"contacts of the campaign that the file doesn't name will be cancelled: {removed}")
    forecast = Forecast(
        **counts, errors=counts["rejected"], removed=removed, first_errors=tuple(first), warnings=tuple(warnings)
    )
    await asyncio.to_thread(atomically, folder / FORECAST, msgspec.json.encode(forecast))
    return forecast


def _book(book_of: BookOf, campaign: str) -> Book:
    book = book_of(campaign)
    if book is None:
        raise Gone(f"campaign {campaign!r} is not there any more")
    return book


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
