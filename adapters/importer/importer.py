"""Imports of this service: files come in, are checked and compared, wait for a yes, and are stored.

Every import is a folder. What its record says is how far it is; after a restart each goes on from there: a check begins
anew, storing goes on from its last note, what waits for its confirmation waits.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from adapters.importer.checker import CheckFailed, checked
from adapters.importer.column import BadHeader, check_targets
from adapters.importer.dialer import BookOf, Engine, Gone, insist
from adapters.importer.forecast import foretell
from adapters.importer.job import Encoding, Findings, Job, Media
from adapters.importer.limits import SWEEP_EVERY_S, ImportLimits
from adapters.importer.number import Numbers, fast_library, is_region
from adapters.importer.person import holds
from adapters.importer.record import OVER, WAITING, Forecast, Progress, Record, Request, State, TagsMode
from adapters.importer.spool import (
    COMPARED,
    FINDINGS,
    FORECAST,
    JOB,
    OF_PEOPLE,
    PROGRESS,
    RECORD,
    SOURCE,
    atomically,
    error_list,
    forget,
    make,
)
from adapters.importer.storing import Storing
from adapters.importer.template import template
from adapters.importer.view import line, shown
from engine.core.importing import ImportMode
from engine.core.message import FinishImport
from engine.core.refusal import Fault, Refused, absent, against_rule, invalid, no_room
from engine.ports import Sealing

BLOCK_BYTES = 1024 * 1024
FOLDER_RETRY_S = 10
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
MAX_REQUIRED = 100
log = structlog.get_logger(__name__)


class Importer:
    """`away` are the errors of an engine that doesn't own a campaign at the moment, `sealing` begins to seal ahead."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        book_of: BookOf,
        limits: ImportLimits,
        away: tuple[type[Exception], ...],
        sealing: Callable[[], Sealing],
    ) -> None:
        self._sealing = sealing
        self._folder, self._engine, self._book_of, self._limits, self._away = folder, engine, book_of, limits, away
        self._records: dict[str, Record] = {}
        self._storing: dict[str, Storing] = {}
        self._unwanted: set[str] = set()
        """Imports that are to end after the chunk in hand."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._checks = asyncio.Semaphore(limits.max_checks)
        self._one_at_a_time = asyncio.Lock()
        self._uploads = 0

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the folder and go on with everything that is there."""
        for record in await asyncio.to_thread(self._read_all):
            self._records[record.id] = record
            self._go_on(record)
        self._spawn("lost", self._end_lost())
        self._spawn("sweep", self._sweep_forever())

    async def stop(self) -> None:
        """At once: what is in hand is gone on with by the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _read_all(self) -> list[Record]:
        found = []
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            record = folder / RECORD
            if record.exists():
                found.append(known := msgspec.json.decode(record.read_bytes(), type=Record))
                if known.state in OVER:
                    forget(folder, OF_PEOPLE)  # it ended just before it could
            elif folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)  # an upload that never came to its end
        return sorted(found, key=lambda one: (one.request.at, one.id))

    async def _end_lost(self) -> None:
        """An import that a campaign's log knows to be under way, and whose folder is gone, ends here."""
        for campaign, deleted in list(self._engine.directory.campaigns.items()):
            book = None if deleted else self._book_of(campaign)
            for begun in list(book.imports.values()) if book is not None else ():
                known = self._records.get(begun.import_id)
                if known is not None and known.state is State.IMPORTING:
                    continue
                log.warning("imports: one was under way and its folder is gone", id=begun.import_id, campaign=campaign)
                now = self._engine.clock.now_ms()
                finish = FinishImport(at=now, by="dialer", import_id=begun.import_id, lost=True)
                with contextlib.suppress(Gone):
                    await insist(partial(self._engine.submit, campaign, finish), self._away)

    def _go_on(self, record: Record) -> None:
        if record.state is State.VALIDATING:
            self._spawn(record.id, self._validate(record))
        elif record.state is State.IMPORTING:
            self._spawn(record.id, self._store(record))

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"import {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        error = None if task.cancelled() else task.exception()
        if error is not None:  # one import's fault: the dialer goes on
            log.error("imports: a task died", task=task.get_name(), exc_info=error)
            record = self._records.get(name)
            if record is not None:
                record.state, record.reason = State.FAILED, "it failed here; the operator's log has the reason"

    async def _sweep_forever(self) -> None:
        while True:
            await self._sweep()
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _sweep(self) -> None:
        """Forget what nobody has touched for long; what is under way is touched."""
        now = self._engine.clock.now_ms()
        for record in list(self._records.values()):
            old = now - record.changed_at > self._limits.keep_s * 1_000
            if old and record.state in (*OVER, *WAITING):
                log.info("import forgotten", id=record.id, campaign=record.request.campaign, state=record.state)
                del self._records[record.id]
                await asyncio.to_thread(forget, self._of(record.id))

    # -- the first step -----------------------------------------------------------------------------------------------

    def request(
        self,
        *,
        campaign: str,
        by: str,
        name: str,
        mode: str,
        media: str,
        encoding: str,
        mapping: str,
        required: tuple[str, ...],
        region: str,
        prefix: bool,
        tags: str,
    ) -> Request:
        """What is asked of a file, checked. Raises Refused naming the field."""
        columns = self._engine.directory.mappings.get(mapping) if mapping else {}
        if columns is None:
            raise absent("mapping", mapping)
        if region and not is_region(region):
            raise invalid("region", f"{region[:20]!r} is no region such as CO")
        if len(required) > MAX_REQUIRED or not all(required):
            raise invalid("required", f"up to {MAX_REQUIRED} columns, separated by commas")
        return Request(
            campaign=campaign,
            by=by,
            at=self._engine.clock.now_ms(),
            name=name,
            mode=_one_of(ImportMode, mode, "mode"),
            media=_one_of(Media, media, "type"),
            encoding=_one_of(Encoding, encoding.lower(), "encoding"),
            columns=columns,
            mapping=mapping,
            required=required,
            region=region,
            prefix=prefix,
            tags=_one_of(TagsMode, tags, "tags"),
        )

    async def receive(self, request: Request, body: AsyncIterator[bytes]) -> str:
        """Take a file in; returns the import's id. Its check begins. Raises Refused, with nothing left behind."""
        if len(self._records) >= self._limits.max_kept:
            raise no_room("too-many-imports", f"{self._limits.max_kept} imports are remembered: delete some")
        if self._uploads >= self._limits.max_uploads:
            raise no_room("too-many-uploads", f"{self._uploads} files are being uploaded already")
        id_ = self._engine.chance.new_id()
        folder = self._of(id_)
        self._uploads += 1
        try:
            await asyncio.to_thread(make, folder)
            async with asyncio.timeout(self._limits.max_upload_s):
                size, digest = await self._take(folder / SOURCE, body)
            state = State.VALIDATING
            record = Record(id=id_, request=request, state=state, size=size, digest=digest, changed_at=request.at)
            await asyncio.to_thread(record.save, folder)
        except BaseException as error:
            await asyncio.to_thread(forget, folder)
            if isinstance(error, TimeoutError):
                reason = f"a file comes within {self._limits.max_upload_s} s"
                raise Refused(Fault.INVALID, "body-too-slow", reason) from None
            if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                log.error("a file can't be kept", error=str(error))
                raise no_room("no-space", "the file can't be kept at the moment") from error
            raise
        finally:
            self._uploads -= 1
        self._records[id_] = record
        log.info("file received", id=id_, campaign=request.campaign, mode=request.mode, bytes=size, by=request.by)
        self._spawn(id_, self._validate(record))
        return id_

    async def _take(self, path: Path, body: AsyncIterator[bytes]) -> tuple[int, str]:
        digest, size, block = blake2b(digest_size=16), 0, bytearray()
        with path.open("wb") as file:

            def write(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            async for part in body:
                size += len(part)
                if size > self._limits.max_file_bytes:
                    reason = f"a file has at most {self._limits.max_file_bytes} bytes"
                    raise Refused(Fault.INVALID, "body-too-large", reason)
                block += part
                if len(block) >= BLOCK_BYTES:
                    await asyncio.to_thread(write, bytes(block))
                    block.clear()
            await asyncio.to_thread(write, bytes(block))
        return size, digest.hexdigest()

    async def _validate(self, record: Record) -> None:
        folder = self._of(record.id)
        try:
            async with self._checks:
                await asyncio.to_thread(atomically, folder / JOB, msgspec.json.encode(self._job(record.request)))
                record.checked = 0
                await checked(folder, self._limits.max_check_s, lambda rows: setattr(record, "checked", rows))
                findings = await self._findings(folder)
                record.checked = findings.rows
                forecast = await foretell(folder, record.request, findings, self._engine, self._book_of)
        except (CheckFailed, Gone) as error:
            await self._become(record, State.FAILED, str(error))
            return
        wrong = findings.errors + forecast.errors
        await self._become(record, State.INVALID if wrong else State.VALID)

    def _job(self, request: Request) -> Job:
        directory = self._engine.directory
        return Job(
            media=request.media,
            encoding=request.encoding,
            columns=request.columns,
            required=request.required,
            region=request.region,
            campaign=request.campaign,
            prefix=request.prefix,
            tags=frozenset(directory.tags),
            agents=frozenset(directory.agents),
            max_rows=self._limits.max_rows,
            max_unpacked_bytes=self._limits.max_unpacked_bytes,
            max_memory_bytes=self._limits.max_check_memory_bytes,
        )

    # -- the second step ----------------------------------------------------------------------------------------------

    async def confirm(self, id_: str, by: str, accept_errors: bool, confirm_removal: bool) -> None:
        """Begin to store. Asked again, it is the same import. Raises Refused."""
        record = self._known(id_)
        if record.state in (State.IMPORTING, State.DONE):
            return
        if record.state not in WAITING:
            raise against_rule("import-not-ready", f"the import is {record.state}")
        findings = await self._findings(self._of(id_))
        if findings.unreadable:
            raise against_rule("import-unreadable", f"the file can't be imported: {findings.unreadable}")
        if not findings.good:
            raise against_rule("import-unreadable", "no row of the file can be imported")
        if record.state is State.INVALID and not accept_errors:
            raise against_rule("import-has-errors", "rows have errors: mend the file, or confirm with accept_errors")
        if record.request.mode is ImportMode.FULL_SYNC and not confirm_removal:
            raise against_rule(
                "import-removal-unconfirmed", "a full sync cancels contacts: confirm with confirm_removal"
            )
        if record.state not in WAITING:  # in the meantime
            raise against_rule("import-not-ready", f"the import is {record.state}")
        record.confirmed_by, before = by, record.state
        try:
            await self._become(record, State.IMPORTING)
        except OSError as error:
            record.state = before
            raise no_room("no-space", "the confirmation can't be kept at the moment") from error
        log.info("import confirmed", id=id_, campaign=record.request.campaign, mode=record.request.mode, by=by)
        self._spawn(id_, self._store(record))

    async def _store(self, record: Record) -> None:
        folder = self._of(record.id)
        # What was foretold is found again, as it is by now.
        await asyncio.to_thread(forget, folder, (COMPARED,))
        try:
            async with self._one_at_a_time:
                await self._stored(folder, record)
        except Gone as error:
            await self._become(record, State.FAILED, str(error))
        else:
            await self._become(record, State.CANCELLED if record.id in self._unwanted else State.DONE)
            log.info("import ended", id=record.id, campaign=record.request.campaign, state=record.state)
        finally:
            self._storing.pop(record.id, None)
            self._unwanted.discard(record.id)

    async def _stored(self, folder: Path, record: Record) -> None:
        """However long there is no room for its notes: it goes on from the last one."""
        while True:
            storing = self._storing[record.id] = Storing(
                folder,
                record,
                self._engine,
                self._book_of,
                self._away,
                self._sealing,
                lambda: record.id in self._unwanted,
            )
            try:
                return await storing.run(await self._findings(folder))
            except OSError as error:
                log.error("an import waits: its folder can't be written", id=record.id, error=str(error))
                await asyncio.sleep(FOLDER_RETRY_S)

    async def cancel(self, id_: str) -> None:
        """End it and forget its file; what was stored stays. One that is over is forgotten altogether."""
        record = self._known(id_)
        if record.state is State.IMPORTING:
            self._unwanted.add(id_)  # its task says when
            return
        if record.state in OVER:
            del self._records[id_]
            await asyncio.to_thread(forget, self._of(id_))
            return
        task = self._tasks.get(id_)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._become(record, State.CANCELLED)

    def under_way(self) -> str:
        """An import that is being checked or stored; "" for none."""
        busy = (State.VALIDATING, State.IMPORTING)
        return next((one.id for one in self._records.values() if one.state in busy), "")

    async def forget_person(self, refs: Collection[str], numbers: Collection[str]) -> list[str]:
        """Give up every import whose files hold one of these, with its files; returns their ids. None may be under way."""
        given_up = []
        for id_ in list(self._records):
            if await asyncio.to_thread(holds, self._of(id_), refs, numbers):
                if self._known(id_).state not in OVER:
                    await self.cancel(id_)
                await self.cancel(id_)
                given_up.append(id_)
        return given_up

    async def _become(self, record: Record, state: State, reason: str = "") -> None:
        """On disk, and to be seen: what begins at once, so that it begins once; what is over when all of it is."""
        folder, now = self._of(record.id), self._engine.clock.now_ms()
        if state not in OVER:
            record.state = state
        after = msgspec.structs.replace(record, state=state, reason=reason, changed_at=now)
        await asyncio.to_thread(after.save, folder)
        if state in OVER:
            await asyncio.to_thread(forget, folder, OF_PEOPLE)
        record.state, record.reason, record.changed_at = state, reason, now

    # -- what is seen of it -------------------------------------------------------------------------------------------

    def campaign_of(self, id_: str) -> str:
        """Raises Refused: there is no such import."""
        return self._known(id_).request.campaign

    async def show(self, id_: str) -> dict[str, Any]:
        record = self._known(id_)
        storing = self._storing.get(id_)
        findings, forecast, progress = await asyncio.to_thread(self._read, self._of(id_))
        return shown(record, findings, forecast, storing.progress if storing else progress)

    def listing(self, visible: Callable[[str], bool]) -> list[dict[str, Any]]:
        """All imports of campaigns that may be seen, the newest first."""
        return [line(one) for one in reversed(self._records.values()) if visible(one.request.campaign)]

    def errors(self, id_: str) -> Iterator[str]:
        """All errors as CSV, in blocks that are read as they are asked for."""
        self._known(id_)
        return error_list(self._of(id_))

    def template(self, media: str) -> bytes:
        return template(_one_of(Media, media, "type"))

    def knows_region(self, region: str) -> bool:
        return is_region(region)

    def reader(self, region: str) -> Callable[[str], str]:
        """Reads a number as E.164, a national one as the region's. It raises ValueError saying why not."""
        return Numbers(region, fast_library()).read

    def check_mapping(self, columns: dict[str, str]) -> None:
        """Raises Refused naming what can't be."""
        try:
            check_targets(columns)
        except BadHeader as error:
            raise invalid("columns", str(error)) from None

    def _read(self, folder: Path) -> tuple[Findings | None, Forecast | None, Progress | None]:
        return (
            _decoded(folder / FINDINGS, Findings),
            _decoded(folder / FORECAST, Forecast),
            _decoded(folder / PROGRESS, Progress),
        )

    async def _findings(self, folder: Path) -> Findings:
        found = await asyncio.to_thread(_decoded, folder / FINDINGS, Findings)
        assert found is not None
        return found

    def _known(self, id_: str) -> Record:
        record = self._records.get(id_)
        if record is None:
            raise absent("import", id_)
        return record

    def _of(self, id_: str) -> Path:
        return self._folder / id_


def _decoded(path: Path, type_: type[T]) -> T | None:
    return msgspec.json.decode(path.read_bytes(), type=type_) if path.exists() else None


def _one_of(kind: type[E], value: str, field: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise invalid(field, f"{value[:40]!r} is none of {', '.join(kind)}") from None
