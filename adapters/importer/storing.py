"""The second step: a checked file into its campaign, in small commands with pauses, so that dialing isn't disturbed.

It can be ended at any moment and goes on from its last note. Before a chunk is stored, the note says which of its rows are
new; so whoever comes after a crash in the middle counts what is there already as this import's, and adds nothing twice.
"""

import asyncio
import gc
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from adapters.importer.dialer import Answer, BookOf, Engine, Gone, insist
from adapters.importer.job import Chunk, Findings, Row, RowError, chunks
from adapters.importer.limits import (
    COMMAND_ROWS,
    COMMANDS_AT_ONCE,
    MAX_LISTED_ERRORS,
    NEW_ROWS,
    PAUSE_SHARE,
    SEALED_AT_ONCE,
    SEALED_FROM_ROWS,
    SETTLED_CHUNKS,
    SHOWN_ERRORS,
)
from adapters.importer.record import Pending, Progress, Record
from adapters.importer.spool import CHUNKS, PROGRESS, REMOVALS, SPARED, STORED, atomically, csv_lines
from adapters.importer.verdict import (
    REMOVING,
    REPLACING,
    Placed,
    Verdict,
    are_new,
    contact_of,
    judge,
    person_of,
    used_elsewhere,
)
from engine.core.book import Book
from engine.core.contact import OPEN, ContactStatus
from engine.core.directory import UseContactRefs
from engine.core.importing import ImportMode
from engine.core.message import AddContacts, Added, CancelContacts, FinishImport, StartImport
from engine.core.personal import Person
from engine.ports import Sealing

T = TypeVar("T")
LOOK_ROWS = 2_000
"""Contacts that are looked at before others get their turn."""
REASONS = {ImportMode.CLOSE_OPEN: "closed by an import", ImportMode.FULL_SYNC: "not in the synced file"}


class _Adding(NamedTuple):
    """A command under way, with its rows."""

    part: Sequence[Placed]
    began_s: float
    answer: asyncio.Task[Answer[Added]]


class _Prepared(NamedTuple):
    """A chunk with its rows, and those of their people who were sealed ahead, by ref."""

    chunk: Chunk
    rows: Sequence[Placed]
    people: dict[str, Person]


class Storing:
    """Stores one import.

    `away` are the errors after which its campaign is waited for. Once `ending` says so it ends after the chunk in hand,
    with what was stored until then.
    """

    def __init__(
        self,
        folder: Path,
        record: Record,
        engine: Engine,
        book_of: BookOf,
        away: tuple[type[Exception], ...],
        sealing: Callable[[], Sealing],
        ending: Callable[[], bool],
    ) -> None:
        self.progress = Progress(known_before=0)
        self._folder, self._record, self._request = folder, record, record.request
        self._engine, self._book_of, self._away = engine, book_of, away
        self._sealing, self._ending = sealing, ending
        self._by = f"{record.confirmed_by} (import {record.id})"

    async def run(self, findings: Findings) -> None:
        """To the end. Raises Gone where the campaign is."""
        resumed = await self._begin(findings)
        if not self.progress.finishing:
            await self._store(resumed, findings.good)
            if self._request.mode in REMOVING and not self._ending():
                await self._remove()
            self.progress.finishing = True
            await self._note()
        await self._finish(findings)

    # -- begin and end ------------------------------------------------------------------------------------------------

    async def _begin(self, findings: Findings) -> bool:
        """Whether an earlier run is gone on with."""
        known = self._folder / PROGRESS
        if known.exists():
            self.progress = msgspec.json.decode(known.read_bytes(), type=Progress)
            _cut(self._folder / STORED, self.progress.errors_bytes)
            resumed = True
        else:
            self.progress = Progress(known_before=len(self._book().contacts.by_ref))
            await self._note()
            resumed = False
        if self.progress.finishing:
            return resumed
        begin = StartImport(
            at=self._engine.clock.now_ms(),
            by=self._record.confirmed_by,
            import_id=self._record.id,
            name=self._request.name,
            mode=self._request.mode,
            rows=findings.good,
            digest=self._record.digest,
        )
        await self._insist(partial(self._engine.submit, self._request.campaign, begin))
        return resumed

    async def _finish(self, findings: Findings) -> None:
        """Said again after a crash: an import that has ended ends no second time."""
        progress = self.progress
        finish = FinishImport(
            at=self._engine.clock.now_ms(),
            by=self._record.confirmed_by,
            import_id=self._record.id,
            added=progress.added,
            known=progress.known,
            replaced=progress.replaced,
            rejected=findings.rejected + progress.rejected,
            cancelled=progress.cancelled,
        )
        await self._insist(partial(self._engine.submit, self._request.campaign, finish))

    # -- contacts -----------------------------------------------------------------------------------------------------

    async def _store(self, resumed: bool, good: int) -> None:
        ahead = self._sealing() if good >= SEALED_FROM_ROWS else nullcontext()
        async with ahead as sealing, aclosing(self._prepared(sealing)) as prepared:
            async for ready in prepared:
                if self._ending():
                    break
                before = self.progress.pending if resumed else None
                resumed = False
                errors = await (self._store_chunk(ready) if before is None else self._store_again(ready, before))
                await self._list(errors)
                self.progress.chunks += 1
                self.progress.pending = None
                if self.progress.chunks % SETTLED_CHUNKS == 0:
                    _settle()
        await self._note()

    async def _prepared(self, sealing: Sealing | None) -> "AsyncGenerator[_Prepared]":
        """The chunks that are left, each made ready while the one before is stored."""
        rest = chunks(self._folder / CHUNKS, skip=self.progress.chunks)

        def begin() -> asyncio.Task[_Prepared | None]:
            return asyncio.create_task(self._prepare(rest, sealing), name=f"import {self._record.id} prepares")

        coming = begin()
        try:
            while (ready := await coming) is not None:
                coming = begin()
                yield ready
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _prepare(self, rest: Iterator[Chunk], sealing: Sealing | None) -> "_Prepared | None":
        chunk, rows = await asyncio.to_thread(_read, rest)
        if chunk is None:
            return None
        people: dict[str, Person] = {}
        if sealing is None:
            return _Prepared(chunk, rows, people)
        for part in _parts(rows, SEALED_AT_ONCE):  # also who is known: the log leaves their seals alone
            some = [person_of(row) for _, row in part]
            await sealing.seal(some)
            people.update((one.subject, one) for one in some)
        return _Prepared(chunk, rows, people)

    async def _store_chunk(self, ready: _Prepared) -> list[RowError]:
        chunk, rows, people = ready
        if await are_new(self._book, self._engine, chunk):
            verdict = Verdict(new={row.ref: row for _, row in rows})
        else:
            verdict = await self._judged(rows)
        self.progress.pending = Pending(new=frozenset(verdict.new), replaced=frozenset(verdict.replaced))
        await self._note()
        self.progress.known += verdict.known
        return verdict.wrong + await self._submit(rows, verdict.new, verdict.replaced, people)

    async def _store_again(self, ready: _Prepared, before: Pending) -> list[RowError]:
        """The chunk that was in hand when the last run ended: some of it is stored."""
        _, rows, people = ready
        ours = before.new | before.replaced
        verdict = await self._judged([one for one in rows if one[1].ref not in ours])
        self.progress.known += verdict.known
        known = self._book().contacts.by_ref
        landed_new = {ref for ref in before.new if ref in known}
        self.progress.added += len(landed_new)
        again = await self._judged([one for one in rows if one[1].ref in before.replaced])
        self.progress.replaced += again.known
        new = {row.ref: row for _, row in rows if row.ref in before.new - landed_new}
        return verdict.wrong + again.wrong + await self._submit(rows, new, again.replaced, people)

    async def _judged(self, rows: Sequence[Placed]) -> Verdict:
        request, whole = self._request, Verdict()
        for part in _parts(rows, COMMAND_ROWS):
            used = self._engine.directory.contacts
            found = judge(self._book(), used, request.campaign, request.mode, request.tags, part)
            whole.new |= found.new
            whole.replaced |= found.replaced
            whole.known += found.known
            whole.wrong += found.wrong
            await asyncio.sleep(0)
        return whole

    async def _submit(
        self, rows: Sequence[Placed], new: dict[str, Row], replaced: dict[str, Row], people: dict[str, Person]
    ) -> list[RowError]:
        """Store these in the order of the file, and count what became of them; returns those that were refused."""
        if len(new) < len(rows):
            wanted = new | replaced
            rows = [(place, wanted[row.ref]) for place, row in rows if row.ref in wanted]
        free, errors = await self._claimed(rows)
        under_way: deque[_Adding] = deque()
        try:
            for part in _parts(free, COMMAND_ROWS if replaced else NEW_ROWS):
                if len(under_way) == COMMANDS_AT_ONCE:
                    errors += await self._counted(under_way.popleft())
                under_way.append(self._adding(part, people))
            while under_way:
                errors += await self._counted(under_way.popleft())
        finally:
            for one in under_way:
                one.answer.cancel()
            await asyncio.gather(*(one.answer for one in under_way), return_exceptions=True)
        return errors

    async def _claimed(self, rows: Sequence[Placed]) -> tuple[Sequence[Placed], list[RowError]]:
        """Those whose refs no other campaign used first, and errors of the others."""
        if not rows:
            return rows, []
        refs = UseContactRefs(
            at=self._engine.clock.now_ms(), campaign=self._request.campaign, refs=tuple(row.ref for _, row in rows)
        )
        clashes = await self._insist(partial(self._engine.use_refs, refs))  # in one: each of several waits for a commit
        if not clashes:
            return rows, []
        free = [one for one in rows if one[1].ref not in clashes]
        return free, [used_elsewhere(place, row, clashes[row.ref]) for place, row in rows if row.ref in clashes]

    def _adding(self, part: Sequence[Placed], people: dict[str, Person]) -> "_Adding":
        command = AddContacts(
            at=self._engine.clock.now_ms(),
            by=self._by,
            contacts=tuple(contact_of(row, people.get(row.ref)) for _, row in part),
            overwrite=self._request.mode in REPLACING,
        )
        add = partial(self._engine.submit, self._request.campaign, command)
        asking = asyncio.create_task(insist(add, self._away), name=f"import {self._record.id} adds")
        return _Adding(part, time.monotonic(), asking)

    async def _counted(self, adding: "_Adding") -> list[RowError]:
        """What became of a command; returns its rows that were refused."""
        reply, is_repeated = await adding.answer
        errors = [
            RowError(place, "ref", f"contact {row.ref}: {reply.refused[row.ref]}")
            for place, row in (adding.part if reply.refused else ())
            if row.ref in reply.refused
        ]
        new, replaced = len(reply.new), len(reply.replaced)
        if is_repeated and (pending := self.progress.pending) is not None:  # what is there already is of the first time
            told = reply.new | reply.replaced | reply.refused.keys()
            landed = {row.ref for _, row in adding.part} - told
            new += len(landed & pending.new)
            replaced += len(landed & pending.replaced)
        self.progress.added += new
        self.progress.replaced += replaced
        self.progress.known += len(adding.part) - new - replaced - len(errors)
        await asyncio.sleep(PAUSE_SHARE * (time.monotonic() - adding.began_s))
        return errors

    # -- removal of those that the file doesn't name --------------------------------------------------------------------

    async def _remove(self) -> None:
        refs = await self._removals()
        by, reason = self._by, REASONS[self._request.mode]
        while self.progress.removed_upto < len(refs) and not self._ending():
            start = self.progress.removed_upto
            part = tuple(refs[start : start + COMMAND_ROWS])
            command = CancelContacts(at=self._engine.clock.now_ms(), by=by, contacts=part, reason=reason)
            started = time.monotonic()
            await self._insist(partial(self._engine.submit, self._request.campaign, command))
            self.progress.removed_upto = start + len(part)
            await self._note()
            await asyncio.sleep(PAUSE_SHARE * (time.monotonic() - started))
        known = self._book().contacts.by_ref
        self.progress.cancelled = 0
        for seen in _parts(refs, LOOK_ROWS):
            self.progress.cancelled += sum(known[ref].status is ContactStatus.CANCELLED for ref in seen)
            await asyncio.sleep(0)

    async def _removals(self) -> Sequence[str]:
        """Chosen once, and then kept to: after a crash the same ones are looked at again."""
        path = self._folder / REMOVALS
        if self.progress.removals < 0:
            spared = await asyncio.to_thread(spared_refs, self._folder)
            refs = await unnamed(self._book(), spared, self.progress.known_before)
            await asyncio.to_thread(atomically, path, "".join(f"{ref}\n" for ref in refs).encode())
            self.progress.removals = len(refs)
            await self._note()
        return await asyncio.to_thread(lambda: path.read_text("ascii").split())

    # -- notes --------------------------------------------------------------------------------------------------------

    async def _list(self, errors: list[RowError]) -> None:
        if not errors:
            return
        progress = self.progress
        progress.rejected += len(errors)  # one a row: the rest of a row was right
        progress.errors += len(errors)
        progress.first_errors += errors[: SHOWN_ERRORS - len(progress.first_errors)]
        if progress.errors <= MAX_LISTED_ERRORS:
            progress.errors_bytes = await asyncio.to_thread(_added, self._folder / STORED, csv_lines(errors))

    async def _note(self) -> None:
        await asyncio.to_thread(self.progress.save, self._folder)

    def _book(self) -> Book:
        book = self._book_of(self._request.campaign)
        if book is None:
            raise Gone(f"campaign {self._request.campaign!r} is not there any more")
        return book

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        return (await insist(ask, self._away)).reply


def spared_refs(folder: Path) -> set[str]:
    """Every ref that the file names, also in rows that are wrong."""
    with (folder / SPARED).open(encoding="ascii") as file:
        return {line.rstrip("\n") for line in file}


async def unnamed(book: Book, spared: set[str], known_before: int) -> list[str]:
    """Open contacts that a file doesn't name, among the first so many."""
    found: list[str] = []
    left = known_before
    for page in book.contacts.by_ref.walk(LOOK_ROWS):
        found += [one.ref for one in page[:left] if one.ref not in spared and one.status in OPEN]
        left -= len(page)
        if left <= 0:
            break
        await asyncio.sleep(0)
    return found


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _read(rest: Iterator[Chunk]) -> tuple[Chunk | None, Sequence[Placed]]:
    """The next chunk with its rows, None behind the last."""
    chunk = next(rest, None)
    return chunk, list(zip(chunk.numbers, chunk.rows(), strict=True)) if chunk is not None else []


def _settle() -> None:
    """The collector needn't look at queues again and again: with a million contacts in them one look takes 20 ms."""
    gc.collect(1)
    gc.freeze()


def _cut(path: Path, size: int) -> None:
    """Leave the list of errors as the last note knew it."""
    if path.exists():
        os.truncate(path, min(size, path.stat().st_size))


def _added(path: Path, text: str) -> int:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        return file.tell()


__all__ = ["Storing", "spared_refs", "unnamed"]
