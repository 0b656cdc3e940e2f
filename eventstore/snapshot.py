"""Snapshots, and their parts as the stores keep them: packed with zstd, sealed under a key that is the snapshot's own.

A snapshot holds the personal data of many people as it is in memory. Its key stands with those of the people: whoever
erases a person drops the snapshots of the logs that they are in, and the key with them.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
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
WRITTEN_BYTES = 256 * 1024
"""Of the parts, about, at a time: all commits wait behind a write."""


async def saved(store: SegmentStore, name: str, log: str) -> "tuple[int, Parts] | None":
    """The newest snapshot. Raises DamagedSnapshot, also where a part is taken."""
    found = await store.snapshot(name, log)
    if found is None:
        return None
    pos, sealed = found
    subject = subject_of(name, log, pos)
    key = (await store.keys([subject])).get(subject)
    if key is None:
        raise DamagedSnapshot(f"{name} of {log!r} has no key")
    return pos, Parts(sealed, key)


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
    """Sealed parts, each unpacked when it is asked for.

    From any thread. Raises DamagedSnapshot for one that isn't as it was written.
    """

    def __init__(self, sealed: Mapping[str, bytes], key: bytes) -> None:
        self._sealed, self._cipher = sealed, AESGCM(key)

    def __getitem__(self, name: str) -> bytes:
        return self.opener(name)()

    def opener(self, name: str) -> Opener:
        sealed = memoryview(self._sealed[name])
        try:
            data = self._cipher.decrypt(bytes(sealed[:NONCE_BYTES]), sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise DamagedSnapshot(name) from error
        return partial(_unpacked, data)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sealed)

    def __len__(self) -> int:
        return len(self._sealed)


def _unpacked(packed: bytes) -> bytes:
    data = memoryview(packed)[1:]
    if packed.startswith(PLAIN):
        return bytes(data)
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise DamagedSnapshot(str(error)) from error
