"""The owner of a log: order, versions and group commit live here, in one process, under a lease.

Appends that arrive while a segment is being written collect into the next one, so there is no timer and under load a
commit carries hundreds. Each append is checked against the versions of everything accepted before it, and encoded, before
it is accepted: one that fails never touches its neighbours. An append is never split over two segments, for it is all or
nothing. Where a commit's outcome is lost with the connection, the head tells: the segment's hash is there or it is not.
A log may lend its next group to another log, whose commit then makes both durable.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from hashlib import blake2b
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from engine.core.measure import Measures
from engine.ports import ANY, Append, Beside, Fenced, Recorded, StoreUnavailable, Unopened, WrongVersion
from eventstore.codec import Codec
from eventstore.store import Disconnected, Head, NotTogether, Placed, Segment, SegmentStore
from eventstore.versions import Versions, keep, kept

MAX_GROUP_EVENTS = 5_000
MAX_GROUP_BYTES = 4 * 1024 * 1024
"""A group takes no further append beyond these; one append that is larger is a segment of its own."""
MAX_QUEUED_EVENTS = 200_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
PAGE_SEGMENTS = 64
RETRY_MAX_S = 1
"""Between two tries of an append whose store is away; there is no last one."""
HASH_BYTES = 16
HOLD_RETRY_S = 0.2
WOKEN_AT_ONCE = 128
"""Of those whose group is durable. What these append next is on its way to the disk while the others still wake."""
DURABLE_LOOK_S = 0.05

warn = structlog.get_logger(__name__)


class Group:
    """Appends that will be durable together: one segment, encoded already, and a future for each that waits."""

    def __init__(self, pos: int) -> None:
        self.pos = pos
        self.events = self.bytes = 0
        self.recorded: list[Recorded] = []
        self.lines: list[bytes] = []
        self.keys: dict[str, bytes] = {}
        self.waiters: list[asyncio.Future[None]] = []

    def add(self, recorded: Sequence[Recorded], lines: bytes, keys: dict[str, bytes]) -> None:
        self.events += len(recorded)
        self.bytes += len(lines)
        self.recorded += recorded
        self.lines.append(lines)
        self.keys.update(keys)

    def has_room(self, events: int, size: int) -> bool:
        return self.events + events <= MAX_GROUP_EVENTS and self.bytes + size <= MAX_GROUP_BYTES

    def wake(self, first: int = 0) -> None:
        """It is durable."""
        for waiter in self.waiters[first : first + WOKEN_AT_ONCE]:
            if not waiter.done():  # an appender that was cancelled; what it appended is written all the same
                waiter.set_result(None)
        if first + WOKEN_AT_ONCE < len(self.waiters):
            asyncio.get_running_loop().call_soon(self.wake, first + WOKEN_AT_ONCE)

    def fail(self, error: Exception) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)


class Loan:
    """A group of one log's that another's commit writes with its own. Until it is settled the lender writes nothing."""

    def __init__(self, lender: "Log", group: Group, versions: dict[str, int], done: Callable[[bool], None]) -> None:
        self.keys = group.keys
        self.placed = Placed(lender.name, lender.segment_of(group))
        self._lender, self._versions, self._done = lender, versions, done

    def landed(self) -> None:
        self._lender.take_back(self.placed.segment, self._versions)
        self._done(True)

    def returned(self, lost: BaseException | None = None) -> None:
        """Nothing of it was written. `lost`: or nobody knows, or the lender has another owner."""
        self._lender.take_back(None, {}, lost)
        self._done(False)


Lent = Callable[[str, Sequence[Recorded]], Loan | None]
"""What another log lends a log, by its name, for the group with these events."""


def nothing(_log: str, _events: Sequence[Recorded]) -> None:
    return None


class Log:
    """Implements engine.ports.EventLog. Open it with `Log.own`."""

    def __init__(
        self,
        store: SegmentStore,
        codec: Codec,
        name: str,
        head: Head,
        ttl_ms: int,
        asked_at_s: float,
        measures: Measures,
        lent: Lent,
    ) -> None:
        self.name = name
        self.trouble = ""
        self._measures = measures
        self._lent = lent
        self._is_lending = False
        self.epoch = head.epoch
        self._held_until_s = asked_at_s + ttl_ms / 1_000
        """By the loop's clock, and from before the store was asked: earlier than the lease ends there."""
        self._store, self._codec, self._ttl_ms = store, codec, ttl_ms
        self._seq, self._pos, self._hash = head.seq, head.pos, head.hash
        self._next_pos = head.pos + 1
        self._versions = Versions()
        self._queued: deque[Group] = deque()
        self._queued_bytes = 0
        self._lost: Exception | None = None
        self._closing: Exception | None = None
        """What is accepted is finished, and nothing more is taken."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def own(
        cls,
        store: SegmentStore,
        codec: Codec,
        name: str,
        owner: str,
        ttl_ms: int,
        measures: Measures | None = None,
        lent: Lent = nothing,
    ) -> "Log":
        """Take the log over. Raises StoreUnavailable while another owner's lease is live, or the store away."""
        asked_at_s = asyncio.get_running_loop().time()
        head = await store.acquire(name, owner, ttl_ms)
        if head is None:
            raise StoreUnavailable(f"log {name!r} has another owner")
        log = cls(store, codec, name, head, ttl_ms, asked_at_s, measures or Measures(), lent)
        log._start(log._keep_lease(), f"lease {name}")  # before anything else: a long log may take longer than a lease
        try:
            await log._read_versions()
        except BaseException:
            await log.close()
            raise
        if log._lost is not None:
            raise StoreUnavailable(f"log {name!r} was lost while it was read") from log._lost
        return log

    async def _read_versions(self) -> None:
        """Of all streams; events are left for those who understand them to decode."""
        after, self._versions = await kept(self._store, self.name, self._pos)
        more = True
        while more:
            page = await self._store.segments(self.name, after, PAGE_SEGMENTS)
            for segment in page:
                self._versions.update(self._codec.versions(self._codec.unpack(segment.codec, segment.data)))
                after = segment.pos + segment.n - 1
            more = len(page) == PAGE_SEGMENTS

    async def keep_versions(self) -> None:
        pos, known = self._next_pos - 1, self._versions.still()
        while self._pos < pos:  # they are of what was accepted: not to be kept before it is durable
            if self._lost is not None:
                return
            await asyncio.sleep(DURABLE_LOOK_S)
        await keep(self._store, self.name, pos, known)

    @property
    def position(self) -> int:
        return self._pos

    @property
    def holds(self) -> bool:
        return self._lost is None and asyncio.get_running_loop().time() < self._held_until_s

    async def hold(self) -> None:
        """Renews at once, not when its time has come. Raises Fenced."""
        while not self.holds:
            if self._lost is not None:
                raise self._lost
            try:
                await self._renew()
            except Disconnected:
                await asyncio.sleep(HOLD_RETRY_S)

    def version(self, stream: str) -> int:
        return self._versions.get(stream, 0)

    async def append(self, appends: Sequence[Append]) -> Sequence[Recorded]:
        """As the port says; and raises UnencodableEvent, which is a fault of the program's: nothing was accepted."""
        while self._is_lending:
            await self._idle.wait()
        if (lost := self._lost or self._closing) is not None:
            raise lost
        recorded, versions = self._number(appends)
        if not recorded:
            return ()
        if self._next_pos - self._pos - 1 + len(recorded) > MAX_QUEUED_EVENTS:
            raise StoreUnavailable(f"{MAX_QUEUED_EVENTS} events are waiting to be written")
        lines, keys = self._codec.encode(recorded, self.name)
        if self._queued_bytes + len(lines) > MAX_QUEUED_BYTES and self._queued_bytes:
            raise StoreUnavailable(f"{MAX_QUEUED_BYTES} bytes are waiting to be written")
        self._versions.update(versions)  # from here on it is accepted
        self._next_pos += len(recorded)
        waiter = self._enqueue(recorded, lines, keys)
        if self._idle.is_set():
            self._idle.clear()
            self._start(self._flush(), f"flush {self.name}")
        await waiter
        return recorded

    def _number(self, appends: Sequence[Append]) -> tuple[list[Recorded], dict[str, int]]:
        """The events as they would stand, and where that takes their streams. Raises WrongVersion."""
        recorded: list[Recorded] = []
        versions: dict[str, int] = {}
        pos, reached = self._next_pos, self._versions
        for one in appends:
            stream, expected = one.stream, one.expected
            version = versions.get(stream)
            if version is None:
                version = reached.get(stream, 0)
            if version != expected != ANY and any(other.events for other in appends):
                raise WrongVersion(stream, expected, version)
            for event in one.events:
                version += 1
                recorded.append(Recorded(pos, stream, version, event))
                pos += 1
            versions[stream] = version
        return recorded, versions

    def _enqueue(self, recorded: Sequence[Recorded], lines: bytes, keys: dict[str, bytes]) -> asyncio.Future[None]:
        if not self._queued or not self._queued[-1].has_room(len(recorded), len(lines)):
            self._queued.append(Group(recorded[0].pos))
        group = self._queued[-1]
        group.add(recorded, lines, keys)
        self._queued_bytes += len(lines)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        group.waiters.append(waiter)
        return waiter

    # -- lending ------------------------------------------------------------------------------------------------------

    def lend(self, beside: Beside) -> Loan | None:
        """What these appends come to, for another log's commit to write; None while this one writes, or when it is lost."""
        if self._lost or self._closing or not self._idle.is_set():
            beside.done(False)
            return None
        try:
            recorded, versions = self._number(beside.appends)
            group = Group(self._next_pos)
            group.add(recorded, *self._codec.encode(recorded, self.name))
        except BaseException:
            beside.done(False)
            raise
        self._is_lending = True
        self._idle.clear()
        return Loan(self, group, versions, beside.done)

    def take_back(self, written: Segment | None, versions: dict[str, int], lost: BaseException | None = None) -> None:
        """A loan is settled."""
        if written is not None:
            self._versions.update(versions)
            self._next_pos += written.n
            self._advance(written)
        if lost is not None:
            self._give_up(lost)
        self._is_lending = False
        self._idle.set()

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Write groups until none is left. Whatever fails here ends the ownership: the log is read again by the next."""
        try:
            await asyncio.sleep(0)  # let all who are ready join the first group
            while self._queued:
                group = self._queued.popleft()
                try:
                    await self._write(group)
                except BaseException as error:
                    group.fail(self._give_up(error))
                    if not isinstance(error, Exception):
                        raise
                    return
                self._queued_bytes -= group.bytes
                group.wake()
        finally:
            self._idle.set()

    async def _write(self, group: Group) -> None:
        segment = self.segment_of(group)
        loan = self._lent(self.name, group.recorded)
        keys = self._codec.keys.wanted(group.keys if loan is None else group.keys | loan.keys)
        began = time.perf_counter()
        try:
            is_shared = loan is not None and await self._append_together(segment, keys, loan.placed)
            if not is_shared and not await self._append_once(segment, keys):
                raise Fenced(f"log {self.name!r} has another owner than epoch {self.epoch}")
        except BaseException as error:
            if loan is not None:
                loan.returned(lost=None if isinstance(error, Fenced) else error)
            raise
        self._codec.keys.saved(self.name, group.keys)
        if loan is not None:
            self._codec.keys.saved(loan.placed.log, loan.keys)
        self._measures.flushes.add(time.perf_counter() - began)
        self._measures.group_events.add(group.events)
        self._advance(segment)
        if loan is not None and is_shared:
            loan.landed()
        elif loan is not None and self._lent is nothing:
            loan.returned()
        elif loan is not None:  # it was the lender's place that was refused
            loan.returned(lost=Fenced(f"log {loan.placed.log!r} has another owner"))

    async def _append_together(self, segment: Segment, keys: dict[str, bytes], beside: Placed) -> bool:
        try:
            return await self._append_once(segment, keys, beside)
        except NotTogether as error:
            warn.warning("this store writes each log alone", log=self.name, reason=str(error))
            self._lent = nothing
            return False

    def segment_of(self, group: Group) -> Segment:
        """The next one, with a group's events."""
        codec, data = self._codec.pack(b"".join(group.lines))
        return Segment(
            seq=self._seq + 1,
            pos=group.pos,
            n=group.events,
            epoch=self.epoch,
            at=time.time_ns() // 1_000_000,
            codec=codec,
            hash=chained(self._hash, data),
            data=data,
        )

    def _advance(self, segment: Segment) -> None:
        self._measures.written_bytes += len(segment.data)
        self._seq, self._pos, self._hash = segment.seq, segment.pos + segment.n - 1, segment.hash

    async def _append_once(self, segment: Segment, keys: dict[str, bytes], beside: Placed | None = None) -> bool:
        """Exactly once, whatever becomes of the connection: a second try is refused where the first has landed.

        So what a refusal means is seen at the head: our segment is there, or another owner is. However long the store is away,
        a full disk or a dead server: nobody but the store can tell, and whoever took the log over meanwhile has it by then.
        """
        with contextlib.suppress(Disconnected):  # nearly always; what follows costs more than the append
            return await self._append_or_find(segment, keys, beside)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Disconnected),
            wait=wait_random_exponential(multiplier=0.02, max=RETRY_MAX_S),
        )
        try:
            async for attempt in retrying:
                with attempt:
                    return await self._append_or_find(segment, keys, beside)
        finally:
            self.trouble = ""
        raise AssertionError("tenacity ends by a result or an error")

    async def _append_or_find(self, segment: Segment, keys: dict[str, bytes], beside: Placed | None) -> bool:
        """What stands beside it has landed where it has."""
        try:
            return await self._store.append(self.name, segment, keys, beside) or await self._landed(segment)
        except Disconnected as error:
            self.trouble = str(error) or type(error).__name__
            raise

    async def _landed(self, segment: Segment) -> bool:
        head = await self._store.head(self.name)
        return head is not None and (head.seq, head.hash) == (segment.seq, segment.hash)

    # -- ownership ----------------------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        """Renew at a third of the lease's time. A store that is away doesn't end it: the append's condition does."""
        while self._lost is None:
            await asyncio.sleep(self._ttl_ms / 3_000)
            with contextlib.suppress(Disconnected):
                await self._renew()

    async def _renew(self) -> None:
        asked_at_s = asyncio.get_running_loop().time()
        if await self._store.renew(self.name, self.epoch, self._ttl_ms):
            self._held_until_s = max(self._held_until_s, asked_at_s + self._ttl_ms / 1_000)
        else:
            self._give_up(Fenced(f"log {self.name!r} has another owner than epoch {self.epoch}"))

    def _give_up(self, error: BaseException) -> Exception:
        """Refuse whatever waits and whatever comes. A group that is being written learns its own outcome."""
        if self._lost is None:
            self._lost = error if isinstance(error, Fenced) else Fenced(f"log {self.name!r}: {error!r}")
            self._lost.__cause__ = None if self._lost is error else error
        while self._queued:
            self._queued.popleft().fail(self._lost)
        return self._lost

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._give_up(error)

    async def close(self) -> None:
        self._closing = Fenced(f"log {self.name!r} is closed here")
        await self._idle.wait()
        if self._lost is None:
            self._lost = self._closing
            with contextlib.suppress(Disconnected):  # the lease then ends by itself
                await self._store.release(self.name, self.epoch)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def read(self, after: int = 0, unopened: Unopened | None = None) -> AsyncIterator[Sequence[Recorded]]:
        return read(self._store, self._codec, self.name, after, unopened)


async def read(
    store: SegmentStore, codec: Codec, name: str, after: int = 0, unopened: Unopened | None = None
) -> AsyncIterator[Sequence[Recorded]]:
    """Events behind a position, in batches of a segment, to the head."""
    while True:
        page = await store.segments(name, after, PAGE_SEGMENTS)
        for segment in page:
            lines = codec.unpack(segment.codec, segment.data)
            await learn_keys(store, codec, name, lines)
            recorded = codec.decode(lines, name, segment.pos, unopened)
            yield recorded[max(0, after + 1 - segment.pos) :]
            after = segment.pos + segment.n - 1
        if len(page) < PAGE_SEGMENTS:
            return


async def learn_keys(store: SegmentStore, codec: Codec, name: str, lines: bytes) -> None:
    """Fetch the keys that the personal data in a log's lines need and that aren't known of it yet."""
    subjects = codec.keys.missing(name, codec.subjects(lines))
    if subjects:
        codec.keys.learn(name, subjects, await store.keys(subjects))


def chained(before: bytes, data: bytes) -> bytes:
    return blake2b(before + data, digest_size=HASH_BYTES).digest()
