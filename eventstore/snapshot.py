"""Snapshots, and their parts as the stores keep them: packed with zstd, sealed under a key that is the snapshot's own.

A snapshot holds the personal data of many people as it is in memory. Its key stands with those of the people: whoever
erases a person drops the snapshots of the logs that they are in, and the key with them.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.core.blocks import Opener, SavedParts
from engine.ports import DamagedSnapshot
from eventstore.store import Part, SegmentStore

KEY_BYTES = 32
NONCE_BYTES = 12
WORTH = 0.85
"""A part that packing leaves larger than so stays as it is: digests and keys are random, and to unpack them takes long."""
PLAIN, ZSTD = b"\0", b"\1"
"""What a part begins with."""
READ_PARTS = 64
"""At a time: some megabytes."""
WRITTEN_BYTES = 128 * 1024
"""Of the parts, about, at a time: all commits wait behind a write, and a flush of so much."""


async def saved(store: SegmentStore, name: str, log: str) -> "tuple[int, Parts] | None":
    """The newest snapshot, all of which is as it was written. Raises DamagedSnapshot."""
    pos = await store.newest_snapshot(name, log)
    while pos is not None:
        parts: Parts | DamagedSnapshot
        try:
            parts = await _opened(store, name, log, pos)
        except DamagedSnapshot as error:
            parts = error
        newer = await store.newest_snapshot(name, log)
        if newer != pos:  # whoever owns the log saved another one, and parts of this one were gone
            pos = newer
        elif isinstance(parts, DamagedSnapshot):
            raise parts
        else:
            return pos, parts
    return None


async def _opened(store: SegmentStore, name: str, log: str, pos: int) -> "Parts":
    """Some parts are opened while the next are read: nowhere are all of them sealed and opened both."""
    subject = subject_of(name, log, pos)
    key = (await store.keys([subject])).get(subject)
    if key is None:
        raise DamagedSnapshot(f"{name} of {log!r} has no key")
    parts = Parts(key)

    def read(after: str) -> asyncio.Task[Sequence[Part]]:
        return asyncio.create_task(store.parts(name, log, pos, after, READ_PARTS), name=f"parts of {name} {log}")

    coming = read("")
    try:
        while some := await coming:
            coming = read(some[-1][0])
            await asyncio.to_thread(parts.take, some)
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    return parts


async def save(store: SegmentStore, name: str, log: str, pos: int, parts: Iterable[tuple[str, bytes]]) -> None:
    """`parts`: made one by one, in threads, and sealed and written by and by: all of them are a large part of the process."""
    key = new_key()
    async with aclosing(_by_and_by(seal_parts(parts, key))) as sealed:
        await store.save_snapshot(name, log, pos, sealed, key)


async def _by_and_by(sealed: Iterator[Part]) -> AsyncGenerator[Sequence[Part]]:
    while some := await asyncio.to_thread(_some, sealed):
        yield some


def _some(sealed: Iterator[Part]) -> Sequence[Part]:
    some, size = list[Part](), 0
    for name, data in sealed:
        some.append((name, data))
        size += len(data)
        if size >= WRITTEN_BYTES:
            break
    return some


def subject_of(name: str, log: str, pos: int) -> str:
    """Under which a snapshot's key is kept."""
    return f"snapshot {name} {log} {pos}"


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal_parts(parts: Iterable[tuple[str, bytes]], key: bytes) -> Iterator[Part]:
    """From any thread."""
    compressor, cipher = zstandard.ZstdCompressor(level=1), AESGCM(key)
    for name, data in parts:
        nonce = os.urandom(NONCE_BYTES)
        packed = compressor.compress(data)
        packed = ZSTD + packed if len(packed) < WORTH * len(data) else PLAIN + data
        yield name, nonce + cipher.encrypt(nonce, packed, name.encode())


class Parts(SavedParts):
    """Parts that are as they were written, each packed until it is asked for. From any thread."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._packed: dict[str, bytes] = {}

    def take(self, sealed: Iterable[Part]) -> None:
        """Some more of them. Raises DamagedSnapshot."""
        for name, data in sealed:
            box = memoryview(data)
            try:
                self._packed[name] = self._cipher.decrypt(bytes(box[:NONCE_BYTES]), box[NONCE_BYTES:], name.encode())
            except (InvalidTag, ValueError) as error:
                raise DamagedSnapshot(name) from error

    def __getitem__(self, name: str) -> bytes:
        return _unpacked(self._packed[name])

    def opener(self, name: str) -> Opener:
        return partial(_unpacked, self._packed[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _unpacked(packed: bytes) -> bytes:
    data = memoryview(packed)[1:]
    if packed.startswith(PLAIN):
        return bytes(data)
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise DamagedSnapshot(str(error)) from error
