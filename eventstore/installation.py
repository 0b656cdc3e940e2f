"""One installation's logs behind one URL: what the engine and its followers are given."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from engine.core.blocks import Blocks, SavedParts
from engine.core.measure import Measures
from engine.ports import (
    Archived,
    Beside,
    EventLog,
    KeptAnswer,
    LogArchived,
    Recorded,
    StoreUnavailable,
)
from eventstore import inspection
from eventstore import snapshot as snapshots
from eventstore.archive import Archive, ArchivedLogs, drop
from eventstore.archive import restore as put_back
from eventstore.codec import Codec
from eventstore.inspection import Report
from eventstore.log import Loan, Log, read
from eventstore.memory import MemoryStore
from eventstore.owner import this_process
from eventstore.postgres import PostgresStore
from eventstore.sqlite import SqliteStore
from eventstore.store import SegmentStore
from eventstore.transfer import copy_store

DEFAULT_TTL_MS = 10_000


class Store:
    """Implements engine.ports.EventStore over any segment store."""

    def __init__(
        self, segments: SegmentStore, codec: Codec, owner: str, lease_ttl_ms: int, archive: Path | None = None
    ) -> None:
        self.segments = segments
        self.codec = codec
        self.kind = segments.kind
        self.measures = Measures()
        self._owner, self._ttl_ms = owner, lease_ttl_ms
        self._archive = Archive(archive) if archive is not None else None
        self._leaving: set[str] = set()
        """Logs that this process has taken from the store, or tried to."""
        self._accompanying: tuple[Log, Callable[[str, Sequence[Recorded]], Beside | None]] | None = None

    async def open_log(self, name: str) -> Log:
        return await Log.own(self.segments, self.codec, name, self._owner, self._ttl_ms, self.measures, self._lent)

    def accompany(self, log: EventLog, place: Callable[[str, Sequence[Recorded]], Beside | None]) -> None:
        assert isinstance(log, Log)
        self._accompanying = log, place

    def _lent(self, name: str, events: Sequence[Recorded]) -> Loan | None:
        """What the log that accompanies the others is appended beside these events."""
        if self._accompanying is None or self._accompanying[0].name == name:
            return None
        log, place = self._accompanying
        beside = place(name, events)
        return log.lend(beside) if beside is not None else None

    async def logs(self) -> Sequence[str]:
        return await self.segments.logs()

    async def position(self, log: str) -> int:
        """The last one of a log, archived or not; 0 where there is none of that name, or nothing in it."""
        left = (await self.segments.dropped()).get(log)
        if left is not None:
            return left
        head = await self.segments.head(log)
        return head.pos if head is not None else 0

    async def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        source = await self._source(log)
        gap = False
        async for batch in read(source, self.codec, log, after):
            if batch[0].pos != after + 1:
                gap = True
                break
            yield batch
            after = batch[-1].pos
        left = source is self.segments and (gap or log in self._leaving) and log in await self.segments.dropped()
        if gap and not left:
            raise StoreUnavailable(f"log {log!r} doesn't hold what follows position {after}")
        if left:  # while it was read: the rest is in its file
            async for batch in self.read(log, after):
                yield batch

    async def _source(self, log: str) -> SegmentStore:
        """Where a log is. Raises LogArchived."""
        if log not in await self.segments.dropped():
            return self.segments
        files = self.files()
        if self._archive is None or files is None:
            raise LogArchived(f"log {log!r} was archived, and no archive's folder is set")
        self._archive.manifest(log)
        return files

    def files(self) -> SegmentStore | None:
        """The archived logs, to be read as the others are; None where no folder is set."""
        return cast(SegmentStore, ArchivedLogs(self._archive, self.segments)) if self._archive is not None else None

    async def archived(self) -> Mapping[str, int]:
        return await self.segments.dropped()

    async def archive(self, log: str) -> Archived:
        if self._archive is None:
            raise FileNotFoundError("no archive's folder is set")
        return await self._archive.put(self.segments, log)

    async def drop(self, archived: Archived) -> None:
        if self._archive is None:
            raise FileNotFoundError("no archive's folder is set")
        self._leaving.add(archived.log)
        await drop(self.segments, self._archive, archived)

    async def checkpoint(self, name: str, log: str) -> int:
        return await self.segments.checkpoint(name, log)

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None:
        await self.segments.save_checkpoint(name, log, pos)

    async def snapshot(self, name: str, log: str) -> tuple[int, SavedParts] | None:
        return await snapshots.saved(self.segments, name, log)

    async def save_snapshot(self, name: str, log: str, pos: int, parts: Iterable[tuple[str, bytes]]) -> None:
        await snapshots.save(self.segments, name, log, pos, parts)

    async def drop_snapshots(self, log: str) -> None:
        await self.segments.drop_snapshots(log)

    def still_keys(self, log: str) -> tuple[Blocks, list[str]]:
        return self.codec.keys.still(log)

    def adopt_keys(self, log: str, buckets: Blocks, erased: Sequence[str]) -> None:
        self.codec.keys.adopt(log, buckets, erased)

    def open_keys(self, log: str) -> bool:
        return self.codec.keys.open_some(log)

    def drop_keys(self, log: str) -> None:
        self.codec.keys.drop(log)

    async def answer(self, owner: str, key: str) -> KeptAnswer | None:
        return await self.segments.answer(owner, key)

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        await self.segments.keep_answer(owner, key, answer, most)

    async def forget_answers(self, before: int) -> None:
        await self.segments.forget_answers(before)

    async def shred(self, subject: str) -> bool:
        knew = self.codec.keys.forget(subject)
        return await self.segments.shred(subject) or knew

    async def close(self) -> None:
        await self.segments.close()


async def open_store(
    url: str, codec: Codec, owner: str = "", lease_ttl_ms: int = DEFAULT_TTL_MS, archive: Path | None = None
) -> Store:
    """A store by URL: `memory:`, `sqlite:///path`, `postgresql://…`; `archive` is the folder of archived logs.

    Raises StoreUnavailable, ValueError.
    """
    owner = owner or this_process()
    scheme, _, rest = url.partition(":")
    segments: SegmentStore
    if scheme == "memory":
        segments = MemoryStore()
    elif scheme == "sqlite":
        segments = await SqliteStore.open(Path(rest.removeprefix("///")))
    elif scheme in ("postgresql", "postgres"):
        segments = await PostgresStore.open(url)
    else:
        raise ValueError(f"no store is called {scheme!r}: memory:, sqlite:///path or postgresql://")
    return Store(segments, codec, owner, lease_ttl_ms, archive)


def dump(
    store: Store,
    log: str,
    after: int = 0,
    stream: str | None = None,
    personal: bool = False,
    archive: Path | None = None,
) -> AsyncIterator[str]:
    """`archive`: the folder to read the log's file from, instead of the store."""
    return inspection.dump(_either(store, archive), store.codec, log, after, stream, personal)


async def verify(store: Store, log: str, archive: Path | None = None) -> Report:
    """As above. Raises what can't be read of an archive's file."""
    if archive is not None:
        await Archive(archive).checked(log)
    return await inspection.verify(_either(store, archive), store.codec, log)


async def restore(store: Store, log: str, archive: Path) -> None:
    """Put a log back from its file. Raises LogArchived, ValueError."""
    await put_back(Archive(archive), store.segments, log)


def archived_in(folder: Path) -> list[str]:
    """The logs whose files are in a folder."""
    return Archive(folder).logs()


def _either(store: Store, archive: Path | None) -> SegmentStore:
    return store.segments if archive is None else cast(SegmentStore, ArchivedLogs(Archive(archive), store.segments))


def copy(source: Store, target: Store) -> AsyncIterator[tuple[str, int]]:
    """Archived logs come from their files, into the store: their keys come with them. Raises TransferRefused."""
    return copy_store(source.segments, target.segments, source.codec, source.files())


__all__ = ["Store", "StoreUnavailable", "archived_in", "copy", "dump", "open_store", "restore", "verify"]
