"""The owner of a log: order, versions and group commit live here, in one process, under a lease.

Appends that arrive while a segment is being written collect into the next one, so there is no timer and under load a
commit carries hundreds. Each append is checked against the versions of everything accepted before it; one that fails
never touches its neighbours. Where a commit's outcome is lost with the connection, the head tells: the segment's hash is
there or it is not.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import blake2b
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from engine.ports import ANY, Append, Fenced, Recorded, StoreUnavailable, WrongVersion
from eventstore.codec import Codec
from eventstore.store import Disconnected, Head, Segment, SegmentStore

MAX_GROUP_EVENTS = 5_000
MAX_GROUP_BYTES = 4 * 1024 * 1024
MAX_QUEUED_EVENTS = 200_000
PAGE_SEGMENTS = 64
SETTLE_WITHIN_S = 30
"""How long an unknown outcome is asked after; then the owner gives up, for it no longer knows its own log."""
HASH_BYTES = 16


class Group:
    """Appends that will be durable together, and the one future they share."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Log:
    """Implements engine.ports.EventLog. Open it with `Log.own`."""

    def __init__(self, store: SegmentStore, codec: Codec, name: str, head: Head, ttl_ms: int) -> None:
        self.name = name
        self.epoch = head.epoch
        self.on_commit: Callable[[str, Sequence[Recorded]], None] | None = None
        self._store, self._codec, self._ttl_ms = store, codec, ttl_ms
        self._seq, self._pos, self._hash = head.seq, head.pos, head.hash
        self._next_pos = head.pos + 1
        self._versions: dict[str, int] = {}
        self._group: Group | None = None
        self._flushing = False
        self._lost: Exception | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def own(cls, store: SegmentStore, codec: Codec, name: str, owner: str, ttl_ms: int) -> "Log":
        """Take the log over. Raises StoreUnavailable while another owner's lease is live, or the store away."""
        try:
            head = await store.acquire(name, owner, ttl_ms)
        except Disconnected as error:
            raise StoreUnavailable(str(error)) from error
        if head is None:
            raise StoreUnavailable(f"log {name!r} has another owner")
        log = cls(store, codec, name, head, ttl_ms)
        async for batch in read(store, codec, name):
            for one in batch:
                log._versions[one.stream] = one.version
        log._start(log._keep_lease(), f"lease {name}")
        return log

    @property
    def position(self) -> int:
        return self._pos

    def version(self, stream: str) -> int:
        return self._versions.get(stream, 0)

    async def append(self, appends: Sequence[Append]) -> Sequence[Recorded]:
        if self._lost is not None:
            raise self._lost
        total = sum(len(one.events) for one in appends)
        if total == 0:
            return ()
        if self._next_pos - self._pos - 1 + total > MAX_QUEUED_EVENTS:
            raise StoreUnavailable(f"{MAX_QUEUED_EVENTS} events are waiting to be written")
        self._check(appends)
        recorded = self._accept(appends)
        if self._group is None:
            self._group = Group()
        group = self._group
        group.recorded.extend(recorded)
        if not self._flushing:
            self._flushing = True
            self._idle.clear()
            self._start(self._flush(), f"flush {self.name}")
        await asyncio.shield(group.done)  # an appender that is cancelled doesn't take its neighbours with it
        return recorded

    def _check(self, appends: Sequence[Append]) -> None:
        ahead: dict[str, int] = {}
        for one in appends:
            actual = self._versions.get(one.stream, 0) + ahead.get(one.stream, 0)
            if one.expected not in (ANY, actual):
                raise WrongVersion(one.stream, one.expected, actual)
            ahead[one.stream] = ahead.get(one.stream, 0) + len(one.events)

    def _accept(self, appends: Sequence[Append]) -> list[Recorded]:
        recorded: list[Recorded] = []
        pos = self._next_pos
        for one in appends:
            version = self._versions.get(one.stream, 0)
            for event in one.events:
                version += 1
                recorded.append(Recorded(pos, one.stream, version, event))
                pos += 1
            self._versions[one.stream] = version
        self._next_pos = pos
        return recorded

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Write groups until none is left. Whatever fails here ends the ownership: the log is read again by the next."""
        try:
            await asyncio.sleep(0)  # let all who are ready join the first group
            while self._group is not None:
                group, self._group = self._group, None
                try:
                    await self._write(group.recorded)
                except BaseException as error:
                    self._give_up(error)
                    group.done.set_exception(self._lost or error)
                    group.done.exception()  # seen, even where no appender is left to see it
                    raise
                group.done.set_result(None)
        except Fenced:
            pass  # every appender has been told
        finally:
            self._flushing = False
            self._idle.set()

    async def _write(self, recorded: list[Recorded]) -> None:
        start = 0
        while start < len(recorded):
            part = recorded[start : start + MAX_GROUP_EVENTS]
            lines = self._codec.encode(part)
            while len(lines) > MAX_GROUP_BYTES and len(part) > 1:
                part = part[: len(part) // 2]
                lines = self._codec.encode(part)
            await self._write_segment(part, lines)
            start += len(part)

    async def _write_segment(self, part: list[Recorded], lines: bytes) -> None:
        codec, data = self._codec.pack(lines)
        segment = Segment(
            seq=self._seq + 1,
            pos=part[0].pos,
            n=len(part),
            epoch=self.epoch,
            at=time.time_ns() // 1_000_000,
            codec=codec,
            hash=chained(self._hash, data),
            data=data,
        )
        keys = self._codec.keys.fresh
        self._codec.keys.fresh = {}
        try:
            if not await self._append_once(segment, keys):
                raise Fenced(f"log {self.name!r} has another owner than epoch {self.epoch}")
        except BaseException:
            self._codec.keys.fresh = {**keys, **self._codec.keys.fresh}
            raise
        self._seq, self._pos, self._hash = segment.seq, segment.pos + segment.n - 1, segment.hash
        if self.on_commit is not None:
            self.on_commit(self.name, part)

    async def _append_once(self, segment: Segment, keys: dict[str, bytes]) -> bool:
        """Exactly once, whatever becomes of the connection: before trying again, look whether it is there."""
        tried = False
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Disconnected),
            stop=stop_after_delay(SETTLE_WITHIN_S),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    if tried and await self._landed(segment):
                        return True
                    tried = True
                    return await self._store.append(self.name, segment, keys)
        except Disconnected as error:
            raise Fenced(f"the store is away: what became of log {self.name!r} can't be settled") from error
        raise AssertionError("tenacity ends by a result or an error")

    async def _landed(self, segment: Segment) -> bool:
        head = await self._store.head(self.name)
        return head is not None and (head.seq, head.hash) == (segment.seq, segment.hash)

    # -- ownership ----------------------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        """Renew at a third of the lease's time. A store that is away doesn't end it: the append's condition does."""
        while self._lost is None:
            await asyncio.sleep(self._ttl_ms / 3_000)
            try:
                if not await self._store.renew(self.name, self.epoch, self._ttl_ms):
                    self._give_up(Fenced(f"log {self.name!r} has another owner than epoch {self.epoch}"))
            except Disconnected:
                continue

    def _give_up(self, error: BaseException) -> None:
        if self._lost is None:
            self._lost = error if isinstance(error, Fenced) else Fenced(repr(error))
        if self._group is not None and not self._group.done.done():
            self._group.done.set_exception(self._lost)
            self._group.done.exception()
            self._group = None

    def _start(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await self._idle.wait()
        if self._lost is None:
            self._lost = Fenced(f"log {self.name!r} is closed here")
            with contextlib.suppress(Disconnected):  # the lease then ends by itself
                await self._store.release(self.name, self.epoch)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def read(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        return read(self._store, self._codec, self.name, after)


async def read(store: SegmentStore, codec: Codec, name: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
    """Events behind a position, in batches of a segment, to the head."""
    while True:
        page = await store.segments(name, after, PAGE_SEGMENTS)
        for segment in page:
            lines = codec.unpack(segment.codec, segment.data)
            subjects = codec.keys.missing(codec.subjects(lines))
            if subjects:
                codec.keys.learn(subjects, await store.keys(subjects))
            recorded = codec.decode(lines, name, segment.pos)
            yield recorded[max(0, after + 1 - segment.pos) :]
            after = segment.pos + segment.n - 1
        if len(page) < PAGE_SEGMENTS:
            return


def chained(before: bytes, data: bytes) -> bytes:
    return blake2b(before + data, digest_size=HASH_BYTES).digest()
