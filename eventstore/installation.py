"""One installation's logs behind one URL: what the engine and its followers are given."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.ports import Recorded, StoreUnavailable
from eventstore import inspection
from eventstore.codec import Codec
from eventstore.inspection import Report
from eventstore.log import Log, learn_keys, read
from eventstore.memory import MemoryStore
from eventstore.postgres import PostgresStore
from eventstore.sqlite import SqliteStore
from eventstore.store import SegmentStore
from eventstore.transfer import copy_store

DEFAULT_TTL_MS = 10_000


class Store:
    """Implements engine.ports.EventStore over any segment store."""

    def __init__(self, segments: SegmentStore, codec: Codec, owner: str, lease_ttl_ms: int) -> None:
        self.segments = segments
        self.codec = codec
        self.kind = segments.kind
        self._owner, self._ttl_ms = owner, lease_ttl_ms

    async def open_log(self, name: str) -> Log:
        return await Log.own(self.segments, self.codec, name, self._owner, self._ttl_ms)

    async def logs(self) -> Sequence[str]:
        return await self.segments.logs()

    def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        return read(self.segments, self.codec, log, after)

    async def checkpoint(self, name: str, log: str) -> int:
        return await self.segments.checkpoint(name, log)

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None:
        await self.segments.save_checkpoint(name, log, pos)

    async def snapshot(self, name: str, log: str) -> tuple[int, Mapping[str, bytes]] | None:
        return await self.segments.snapshot(name, log)

    async def save_snapshot(self, name: str, log: str, pos: int, columns: Mapping[str, bytes]) -> None:
        await self.segments.save_snapshot(name, log, pos, columns)

    def encode(self, value: Any) -> bytes:
        return self.codec.encode_value(value)

    async def decode(self, data: bytes, type_: Any) -> Any:
        await learn_keys(self.segments, self.codec, data)
        return self.codec.decode_value(data, type_)

    async def shred(self, subject: str) -> bool:
        self.codec.keys.forget(subject)
        return await self.segments.shred(subject)

    async def close(self) -> None:
        await self.segments.close()


async def open_store(url: str, codec: Codec, owner: str = "", lease_ttl_ms: int = DEFAULT_TTL_MS) -> Store:
    """A store by URL: `memory:`, `sqlite:///path`, `postgresql://…`. Raises StoreUnavailable, ValueError."""
    owner = owner or secrets.token_hex(8)
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
    return Store(segments, codec, owner, lease_ttl_ms)


def dump(
    store: Store, log: str, after: int = 0, stream: str | None = None, personal: bool = False
) -> AsyncIterator[str]:
    return inspection.dump(store.segments, store.codec, log, after, stream, personal)


async def verify(store: Store, log: str) -> Report:
    return await inspection.verify(store.segments, store.codec, log)


def copy(source: Store, target: Store) -> AsyncIterator[tuple[str, int]]:
    return copy_store(source.segments, target.segments, source.codec)


__all__ = ["Store", "StoreUnavailable", "copy", "dump", "open_store", "verify"]
