"""A log in a file of its own: what it was, byte for byte, so that it can be read, verified and put back.

The file is a line that says what it is, then each segment behind its length. A segment's data is as compressed and as sealed
as it was in the store: the keys of personal data stay there, so who is erased is erased here too. The manifest beside it says
what the file is to hold; it is written last, so an archive without one was never finished.
"""

import asyncio
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from engine.ports import Archived, LogArchived
from eventstore.store import Head, Segment, SegmentStore

MAGIC = b"ringfold log 1\n"
SUFFIX, MANIFEST = ".log", ".json"
LENGTH = struct.Struct("<I")
PAGE_SEGMENTS = 64
DROPPED_AT_A_TIME = 200
"""Segments deleted in one transaction: appends wait for it."""
BLOCK_BYTES = 1024 * 1024

_segments = msgspec.msgpack.Decoder(Segment)
_encode = msgspec.msgpack.Encoder().encode


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. Times are epoch ms; `head` is the chain's last hash, hex."""

    log: str
    file: str
    sha256: str
    size: int
    segments: int
    events: int
    epoch: int
    head: str
    first_at: int
    last_at: int


class DamagedArchive(ValueError):
    """The file isn't what its manifest says."""


class Archive:
    """A folder of archived logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put(self, store: SegmentStore, log: str) -> Archived:
        """Write a log into its file and read that back. Written again it is the same. Raises OSError, DamagedArchive."""
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        path = self._path(log)
        part = path.with_name(path.name + ".part")
        after = segments = events = epoch = first_at = last_at = 0
        head = b""
        with part.open("wb") as file:
            part.chmod(0o600)
            file.write(MAGIC)
            while page := await store.segments(log, after, PAGE_SEGMENTS):
                await asyncio.to_thread(file.write, b"".join(map(_framed, page)))
                first_at = first_at or page[0].at
                segments, events = segments + len(page), events + sum(one.n for one in page)
                newest = page[-1]
                after, epoch, head, last_at = newest.pos + newest.n - 1, newest.epoch, newest.hash, newest.at
            await asyncio.to_thread(_flushed, file.fileno(), file)
        part.replace(path)
        manifest = Manifest(
            log=log,
            file=path.name,
            sha256=await asyncio.to_thread(_sha256, path),
            size=path.stat().st_size,
            segments=segments,
            events=events,
            epoch=epoch,
            head=head.hex(),
            first_at=first_at,
            last_at=last_at,
        )
        await asyncio.to_thread(self._save, path, manifest)
        return await self.checked(log)

    async def checked(self, log: str) -> Archived:
        """What is archived of a log, its file read through. Raises LogArchived where there is none, DamagedArchive."""
        manifest = self.manifest(log)
        path = self._path(log)
        if await asyncio.to_thread(_sha256, path) != manifest.sha256:
            raise DamagedArchive(f"{path.name} isn't what its manifest says")
        index = await asyncio.to_thread(lambda: list(_index(path)))
        if (len(index), sum(one.n for one in index)) != (manifest.segments, manifest.events):
            raise DamagedArchive(f"{path.name} doesn't hold as many segments and events as its manifest says")
        return Archived(
            log=log, file=path.name, sha256=manifest.sha256, segments=manifest.segments, events=manifest.events
        )

    def manifest(self, log: str) -> Manifest:
        path = self._path(log)
        try:
            found = msgspec.json.decode(path.with_name(path.name + MANIFEST).read_bytes(), type=Manifest)
        except (FileNotFoundError, NotADirectoryError):
            raise LogArchived(f"log {log!r} was archived, and {path.name} isn't in the archive's folder") from None
        if not path.exists():
            raise LogArchived(f"log {log!r} was archived, and {path.name} isn't in the archive's folder")
        return found

    def logs(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        ending = SUFFIX + MANIFEST
        return sorted(
            unquote(one.name.removesuffix(ending)) for one in self.folder.iterdir() if one.name.endswith(ending)
        )

    def _path(self, log: str) -> Path:
        return self.folder / (quote(log, safe="") + SUFFIX)

    def _save(self, path: Path, manifest: Manifest) -> None:
        part = path.with_name(path.name + MANIFEST + ".part")
        with part.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)))
            _flushed(file.fileno(), file)
        part.replace(path.with_name(path.name + MANIFEST))
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)  # the names are durable too
        finally:
            os.close(handle)


class Place(msgspec.Struct, frozen=True, array_like=True):
    offset: int
    size: int
    pos: int
    n: int


class ArchivedLogs:
    """Reads an archive as a store is read; keys and everything that changes is the store's that it came from."""

    def __init__(self, archive: Archive, keys: SegmentStore) -> None:
        self._archive, self._store = archive, keys
        self._index: tuple[str, list[Place]] = ("", [])

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def head(self, log: str) -> Head | None:
        manifest = self._archive.manifest(log)
        return Head(manifest.epoch, manifest.segments, manifest.events, bytes.fromhex(manifest.head))

    async def logs(self) -> Sequence[str]:
        return self._archive.logs()

    async def keys(self, subjects: Sequence[str]) -> Mapping[str, bytes]:
        return await self._store.keys(subjects)

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        manifest = self._archive.manifest(log)
        path = self._archive.folder / manifest.file
        if self._index[0] != log:
            self._index = (log, await asyncio.to_thread(lambda: list(_index(path))))
        wanted = [one for one in self._index[1] if one.pos + one.n - 1 > after_pos][:limit]
        return await asyncio.to_thread(_read, path, wanted)


async def drop(store: SegmentStore, archive: Archive, archived: Archived) -> None:
    """Raises LogArchived, DamagedArchive: the log then stays. One that has left is let be, unread."""
    if archived.log in await store.dropped() and not await store.segments(archived.log, 0, 1):
        return
    found = await archive.checked(archived.log)
    if found.sha256 != archived.sha256:
        raise DamagedArchive(f"{archived.file} isn't the file that was written")
    left = True
    while left:
        left = not await store.drop(archived.log, archived.events, DROPPED_AT_A_TIME)


async def restore(archive: Archive, store: SegmentStore, log: str) -> Manifest:
    """Put an archived log back into the store that it came from, or another. Its file stays. Raises ValueError."""
    await archive.checked(log)
    if log not in await store.dropped():
        if (await store.head(log) or Head(0, 0, 0, b"")).seq:
            raise ValueError(f"log {log!r} is in the store")
        await store.drop(log, 0, DROPPED_AT_A_TIME)  # not to be read before all of it is here
    source, after = ArchivedLogs(archive, store), 0
    while page := await source.segments(log, after, PAGE_SEGMENTS):
        await store.put_back(log, page)
        after = page[-1].pos + page[-1].n - 1
    head = await source.head(log)
    assert head is not None
    await store.undrop(log, head)
    return archive.manifest(log)


def _framed(segment: Segment) -> bytes:
    data = _encode(segment)
    return LENGTH.pack(len(data)) + data


def _index(path: Path) -> Iterator[Place]:
    """Where each segment stands. Raises DamagedArchive."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DamagedArchive(f"{path.name} is no archived log of a form that this program knows")
        while head := file.read(LENGTH.size):
            if len(head) < LENGTH.size:
                raise DamagedArchive(f"{path.name} ends in the middle")
            (size,) = LENGTH.unpack(head)
            offset, data = file.tell(), file.read(size)
            if len(data) < size:
                raise DamagedArchive(f"{path.name} ends in the middle")
            one = _segments.decode(data)
            yield Place(offset, size, one.pos, one.n)


def _read(path: Path, places: Sequence[Place]) -> list[Segment]:
    found = []
    with path.open("rb") as file:
        for one in places:
            file.seek(one.offset)
            found.append(_segments.decode(file.read(one.size)))
    return found


def _flushed(handle: int, file: object) -> None:
    file.flush()  # type: ignore[attr-defined]  # any writable file
    os.fsync(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
