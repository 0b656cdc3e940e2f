"""A store in memory with faults to order: what the notifier needs of one, nothing more. It outlives its owners."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from adapters.notify import FeedEvent
from engine.ports import Append, Beside, EventLog, Recorded, StoreUnavailable, Unopened


class ShelfLog:
    def __init__(self, store: "Shelf", name: str) -> None:
        self.name = name
        self.holds = True
        self.trouble = ""
        self._store = store

    @property
    def position(self) -> int:
        return len(self._store.events[self.name])

    async def hold(self) -> None:
        assert self.holds

    def version(self, stream: str) -> int:
        return sum(one.stream == stream for one in self._store.events[self.name])

    async def keep_versions(self) -> None:
        """They are counted each time."""

    async def append(self, appends: Sequence[Append]) -> Sequence[Recorded]:
        await asyncio.sleep(0)
        if self._store.refusals > 0:
            self._store.refusals -= 1
            raise StoreUnavailable("as ordered")
        written: list[Recorded] = []
        for one in appends:
            for event in one.events:
                recorded = Recorded(self.position + 1, one.stream, self.version(one.stream) + 1, event)
                self._store.events[self.name].append(recorded)
                written.append(recorded)
        await asyncio.sleep(0)
        return written

    def read(self, after: int = 0, unopened: Unopened | None = None) -> AsyncIterator[Sequence[Recorded]]:
        return self._store.read(self.name, after)

    async def close(self) -> None:
        self._store.closed.append(self.name)


class Shelf:
    """`refusals` appends fail before one succeeds again; `reads` counts what was read of each log."""

    def __init__(self, batch: int = 7) -> None:
        self.events: dict[str, list[Recorded]] = defaultdict(list)
        self.checkpoints: dict[tuple[str, str], int] = {}
        self.refusals = 0
        self.reads: dict[str, int] = defaultdict(int)
        self.closed: list[str] = []
        self._batch = batch

    async def open_log(self, name: str) -> EventLog:
        return ShelfLog(self, name)

    async def logs(self) -> Sequence[str]:
        return list(self.events)

    async def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        self.reads[log] += 1
        await asyncio.sleep(0)
        for start in range(after, len(self.events[log]), self._batch):
            batch = self.events[log][start : start + self._batch]
            if log == "feed":  # as bytes and back: what the feed writes must survive storage
                raw = [msgspec.json.encode(one.event) for one in batch]
                decoded = [msgspec.json.decode(one, type=FeedEvent) for one in raw]
                yield [msgspec.structs.replace(one, event=event) for one, event in zip(batch, decoded, strict=True)]
            else:
                yield batch
            await asyncio.sleep(0)

    def accompany(self, log: EventLog, place: Callable[[str, Sequence[Recorded]], Beside | None]) -> None:
        """Never: what campaigns write here is there at once."""

    async def checkpoint(self, name: str, log: str) -> int:
        await asyncio.sleep(0)
        return self.checkpoints.get((name, log), 0)

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None:
        await asyncio.sleep(0)
        self.checkpoints[name, log] = pos
