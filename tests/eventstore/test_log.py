"""The owner of a log: order, groups, bounds, and what goes wrong around it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventstore.log as logs
from engine.ports import ANY, Append, Beside, Fenced, Recorded, StoreUnavailable, WrongVersion
from eventstore import Codec, Store, UnencodableEvent
from eventstore.inspection import verify
from eventstore.log import DURABLE_LOOK_S, Log, read
from eventstore.memory import MemoryStore
from eventstore.snapshot import subject_of
from eventstore.store import Disconnected, NotTogether, Placed, Segment
from eventstore.versions import VERSIONS
from tests.engine.parts import one_by_one
from tests.eventstore.events import Counted, Met, TestEvent, met

TTL_MS = 60_000
SHORT_TTL_MS = 150


class Gated(MemoryStore):
    """Writes a segment only when it is let through; may fail instead."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.failures: list[Exception] = []

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        self.begun.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        return await super().append(log, segment, keys, beside)


async def own(store: MemoryStore, ttl_ms: int = TTL_MS, owner: str = "me") -> Log:
    return await Log.own(store, Codec(TestEvent), "a", owner, ttl_ms)


async def everything(store: MemoryStore) -> list[Recorded]:
    return [one async for batch in read(store, Codec(TestEvent), "a") for one in batch]


def one(stream: str, expected: int, *numbers: int) -> Append:
    return Append(stream, expected, [Counted(n=number) for number in numbers])


async def until_begun(store: Gated) -> None:
    await asyncio.wait_for(store.begun.wait(), 5)


# -- against a model --------------------------------------------------------------------------------------------------

PARTS = st.lists(
    st.tuples(st.sampled_from("stu"), st.integers(-1, 4), st.lists(st.integers(), max_size=3)), max_size=4
)  # (stream, expected, numbers)


def by_the_model(streams: dict[str, list[int]], parts: list[tuple[str, int, list[int]]]) -> bool:
    """Apply an append to plain lists, all or nothing; True if it was taken."""
    if not any(numbers for _, _, numbers in parts):
        return True
    after = {name: list(held) for name, held in streams.items()}
    for stream, expected, numbers in parts:
        held = after.setdefault(stream, [])
        if expected not in (ANY, len(held)):
            return False
        held.extend(numbers)
    streams.update(after)
    return True


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=4), max_size=8), st.integers(1, 6))
def test_appends_do_what_lists_in_a_dictionary_do(rounds: list[list[Any]], group_events: int) -> None:
    """Rounds of appends at once; what is read back, and what the next owner knows, is what the lists hold."""

    async def run() -> None:
        store, model = MemoryStore(), dict[str, list[int]]()
        log = await own(store)
        for together in rounds:
            taken = [by_the_model(model, parts) for parts in together]
            results = await asyncio.gather(
                *(
                    log.append([one(stream, expected, *numbers) for stream, expected, numbers in parts])
                    for parts in together
                ),
                return_exceptions=True,
            )
            assert [not isinstance(result, WrongVersion) for result in results] == taken
            assert not any(
                isinstance(result, BaseException) and not isinstance(result, WrongVersion) for result in results
            )
        found = await everything(store)
        held = {name: numbers for name, numbers in model.items() if numbers}
        assert [r.pos for r in found] == list(range(1, sum(map(len, held.values())) + 1))
        assert {s: [r.event.n for r in found if r.stream == s] for s in {r.stream for r in found}} == held
        assert {s: [r.version for r in found if r.stream == s] for s in held} == {
            s: list(range(1, len(numbers) + 1)) for s, numbers in held.items()
        }
        await log.close()
        successor = await own(store)
        assert {s: successor.version(s) for s in "stu"} == {s: len(model.get(s, ())) for s in "stu"}
        assert successor.position == len(found)
        assert (await verify(store, Codec(TestEvent), "a")).faults == []
        await successor.close()

    before = logs.MAX_GROUP_EVENTS
    logs.MAX_GROUP_EVENTS = group_events
    try:
        asyncio.run(run())
    finally:
        logs.MAX_GROUP_EVENTS = before


async def test_to_own_a_log_opens_no_event() -> None:
    """Versions are read from the lines' heads: no key is fetched, nothing unsealed, and an event may be unknown."""
    store = MemoryStore()
    log = await own(store)
    strange = 'p "ü"\\\n[1,2]'
    await log.append([Append(strange, 0, [met("ann", "Ann"), met("ben", '","Ben"]')]), one("s", 0, 1, 2, 3)])
    await log.append([Append(strange, 2, [met("ann", "Ann")])])
    await log.close()
    codec = Codec(Counted)
    again = await Log.own(store, codec, "a", "me", TTL_MS)
    assert (again.version(strange), again.version("s"), again.version("t")) == (3, 3, 0)
    assert codec.keys.missing("a", ["ann", "ben"]) == ["ann", "ben"]
    await again.close()


class Frugal(MemoryStore):
    """Counts the segments that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        found = await super().segments(log, after_pos, limit)
        self.given += len(found)
        return found


async def _of_ten(store: MemoryStore) -> None:
    """A log of ten segments whose versions were kept after the eighth."""
    log = await own(store)
    for number in range(10):
        await log.append([one(f"s{number % 2}", number // 2, number)])
        if number == 7:
            await log.keep_versions()
    await log.close()


async def test_who_owns_a_log_next_reads_what_comes_behind_the_versions_that_were_kept() -> None:
    store = Frugal()
    await _of_ten(store)
    log = await own(store)
    assert store.given == 2
    assert [log.version(one) for one in ("s0", "s1", "s2")] == [5, 5, 0]
    with pytest.raises(WrongVersion):
        await log.append([one("s0", 4, 1)])
    await log.close()


@pytest.mark.parametrize("damage", ["key", "part", "missing", "other", "ahead"])
async def test_versions_that_cannot_be_used_are_read_from_the_log(damage: str) -> None:
    store = Frugal()
    await _of_ten(store)
    pos, parts = store._snapshots[VERSIONS, "a"]
    if damage == "ahead":  # of a head that is elsewhere, or was
        key = store._keys[subject_of(VERSIONS, "a", pos)]
        assert key is not None
        await store.save_snapshot(VERSIONS, "a", 11, one_by_one(parts), key)
    elif damage == "key":
        await store.shred(subject_of(VERSIONS, "a", pos))
    else:
        sealed = {
            "part": {VERSIONS: parts[VERSIONS][:-1]},
            "missing": {VERSIONS: parts[VERSIONS]},
            "other": {"other": b"1"},
        }[damage]
        store._snapshots[VERSIONS, "a"] = pos, sealed
    log = await own(store)
    assert store.given == 10
    assert [log.version(one) for one in ("s0", "s1", "s2")] == [5, 5, 0]
    await log.close()


@pytest.mark.parametrize("lands", [True, False])
async def test_versions_are_kept_once_what_they_are_of_is_durable_and_never_where_it_is_not(lands: bool) -> None:
    # given an append that is accepted, and not durable yet
    store = Gated()
    log = await own(store)
    appending = asyncio.create_task(log.append([one("s", 0, 1)]))
    await store.begun.wait()

    # when
    keeping = asyncio.create_task(log.keep_versions())
    await asyncio.sleep(3 * DURABLE_LOOK_S)
    assert await store.newest_snapshot(VERSIONS, "a") is None
    if not lands:
        store.failures.append(RuntimeError("as a defect would"))
    store.gate.set()
    await asyncio.gather(appending, keeping, return_exceptions=True)

    # then
    assert await store.newest_snapshot(VERSIONS, "a") == (1 if lands else None)
    await log.close()


# -- groups and bounds ------------------------------------------------------------------------------------------------


async def segments_of(store: MemoryStore) -> list[int]:
    return [segment.n for segment in await store.segments("a", 0, 100)]


async def test_a_group_ends_at_its_number_of_events_and_never_inside_an_append(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_GROUP_EVENTS", 10)
    store = MemoryStore()
    log = await own(store)
    await asyncio.gather(*(log.append([one(f"s{n}", 0, 1, 2, 3, 4)]) for n in range(5)))
    assert await segments_of(store) == [8, 8, 4]
    await log.append([one("large", 0, *range(25))])
    assert await segments_of(store) == [8, 8, 4, 25]  # all or nothing: larger than a group, and still one segment
    await log.close()


async def test_a_group_ends_at_its_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    codec = Codec(TestEvent)
    size = len(codec.encode([Recorded(1, "s0", 1, Counted(n=1))], "a")[0])
    monkeypatch.setattr(logs, "MAX_GROUP_BYTES", 3 * size)
    log = await Log.own(store, codec, "a", "me", TTL_MS)
    await asyncio.gather(*(log.append([one(f"s{n}", 0, 1)]) for n in range(7)))
    assert await segments_of(store) == [3, 3, 1]
    await log.close()


@pytest.mark.parametrize("bound", ["MAX_QUEUED_EVENTS", "MAX_QUEUED_BYTES"])
async def test_a_full_queue_refuses_and_forgets_what_it_refused(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(logs, bound, 3 if bound == "MAX_QUEUED_EVENTS" else 150)
    store = Gated()
    log = await own(store)
    taken = [asyncio.ensure_future(log.append([one("s", n, n)])) for n in range(3)]
    await until_begun(store)
    with pytest.raises(StoreUnavailable, match="waiting to be written"):
        await log.append([one("s", 3, 99)])
    assert log.version("s") == 3
    store.gate.set()
    await asyncio.gather(*taken)
    await log.append([one("s", 3, 3)])  # there is room again, and the refused one left no trace
    assert [r.event.n for r in await everything(store)] == [0, 1, 2, 3]
    await log.close()


# -- neighbours -------------------------------------------------------------------------------------------------------


async def test_a_cancelled_appender_does_not_harm_its_neighbours() -> None:
    store = Gated()
    log = await own(store)
    impatient = asyncio.ensure_future(log.append([one("s", 0, 1)]))
    patient = asyncio.ensure_future(log.append([one("s", 1, 2)]))
    await until_begun(store)
    impatient.cancel()
    await asyncio.wait([impatient])
    assert impatient.cancelled()
    store.gate.set()
    assert [r.pos for r in await patient] == [2]
    assert [r.event.n for r in await everything(store)] == [1, 2]  # it was accepted, and neighbours build on it
    await log.close()


@pytest.mark.parametrize("poison", [Append("p", 0, [met("ann", "\ud800")]), Append("p", 0, [Counted(n=1), object()])])
async def test_an_event_that_cannot_be_encoded_is_refused_before_it_is_accepted(poison: Append) -> None:
    store = MemoryStore()
    log = await own(store)
    good, bad, also_good = await asyncio.gather(
        log.append([one("s", 0, 1)]),
        log.append([one("s", 1, 7), poison]),
        log.append([one("s", 1, 2)]),
        return_exceptions=True,
    )
    assert isinstance(bad, UnencodableEvent)
    assert "'p'" in str(bad)
    assert not isinstance(good, BaseException)
    assert not isinstance(also_good, BaseException)
    assert (log.version("p"), log.version("s"), log.position) == (0, 2, 2)
    await log.append([one("p", 0, 3)])
    assert [r.event.n for r in await everything(store)] == [1, 2, 3]
    await log.close()


async def test_two_logs_share_a_new_key_and_the_first_to_commit_brings_it() -> None:
    """Whichever log's segment becomes durable first, the key that opens it is durable with it."""
    store, codec = Gated(), Codec(TestEvent)
    first = await Log.own(store, codec, "a", "me", TTL_MS)
    second = await Log.own(MemoryStore(), codec, "b", "me", TTL_MS)
    waiting = asyncio.ensure_future(first.append([Append("p", 0, [met("ann", "Ann")])]))
    await until_begun(store)
    await second.append([Append("p", 0, [met("ann", "Ann")])])
    assert await second._store.keys(["ann"]) != {}
    store.gate.set()
    await waiting
    await first.close()
    await second.close()


async def test_who_is_erased_while_their_first_event_waits_leaves_no_key() -> None:
    store, codec = Gated(), Codec(TestEvent)
    log = await Log.own(store, codec, "a", "me", TTL_MS)
    ahead = asyncio.ensure_future(log.append([one("s", 0, 1)]))
    await until_begun(store)
    waiting = asyncio.ensure_future(log.append([Append("p", 0, [met("ann", "Ann")])]))
    await asyncio.sleep(0)
    codec.keys.forget("ann")
    store.gate.set()
    await asyncio.gather(ahead, waiting)
    assert await store.keys(["ann"]) == {}
    met_event = (await everything(store))[1].event
    assert isinstance(met_event, Met)
    assert met_event.person.details is None
    await log.close()


# -- ownership --------------------------------------------------------------------------------------------------------


async def test_the_lease_is_renewed_while_the_log_is_open_and_free_once_it_is_closed() -> None:
    store = MemoryStore()
    log = await own(store, SHORT_TTL_MS)
    for _ in range(3):
        await asyncio.sleep(SHORT_TTL_MS / 1_000)
        with pytest.raises(StoreUnavailable):
            await own(store, SHORT_TTL_MS, owner="other")
    await log.append([one("s", 0, 1)])
    await log.close()
    other = await own(store, SHORT_TTL_MS, owner="other")
    assert other.version("s") == 1
    await other.close()


async def test_EX_02_an_owner_that_does_not_write_learns_of_its_loss_from_its_lease() -> None:
    store = MemoryStore()
    stale = await own(store, SHORT_TTL_MS)
    owner = await own(store, SHORT_TTL_MS)  # the same owner's name: a restart takes over at once
    await asyncio.sleep(SHORT_TTL_MS / 1_000)
    with pytest.raises(Fenced):
        await stale.append([])
    await owner.append([one("s", 0, 1)])
    await stale.close()
    await owner.close()


class Slow(MemoryStore):
    """Reading takes as long as it is told to, or breaks off."""

    def __init__(self) -> None:
        super().__init__()
        self.read_s = 0.0
        self.fault: BaseException | None = None
        self.reading = asyncio.Event()

    async def segments(self, log: str, after_pos: int, limit: int) -> Sequence[Segment]:
        self.reading.set()
        await asyncio.sleep(self.read_s)
        if self.fault is not None:
            raise self.fault
        return await super().segments(log, after_pos, limit)


async def test_a_log_that_takes_long_to_read_is_not_lost_meanwhile() -> None:
    store = Slow()
    store.read_s = 3 * SHORT_TTL_MS / 1_000
    opening = asyncio.ensure_future(own(store, SHORT_TTL_MS))
    await store.reading.wait()
    await asyncio.sleep(2 * SHORT_TTL_MS / 1_000)  # longer than the lease, and the log isn't read yet
    assert not opening.done()
    with pytest.raises(StoreUnavailable):
        await own(store, SHORT_TTL_MS, owner="other")
    log = await opening
    await log.append([one("s", 0, 1)])
    await log.close()


async def test_a_log_that_is_lost_while_it_is_read_is_not_handed_out() -> None:
    store = Slow()
    store.read_s = SHORT_TTL_MS / 1_000
    opening = asyncio.ensure_future(own(store, SHORT_TTL_MS))
    await store.reading.wait()
    assert await store.acquire("a", "me", TTL_MS) is not None  # the same owner's name: taken over at once
    with pytest.raises(StoreUnavailable, match="lost"):
        await opening


@pytest.mark.parametrize("fault", [asyncio.CancelledError(), Disconnected("away")])
async def test_a_log_whose_reading_is_broken_off_is_given_back(fault: BaseException) -> None:
    store = Slow()
    store.fault = fault
    with pytest.raises(type(fault)):
        await own(store)
    store.fault = None
    log = await own(store, owner="other")
    await log.close()


class Cut(MemoryStore):
    """Renewals and appends reach it only while `cut` is false; they may be slow to be answered."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.answer_s = 0.0

    async def renew(self, log: str, epoch: int, ttl_ms: int) -> bool:
        if self.cut:
            raise Disconnected("cut off")
        renewed = await super().renew(log, epoch, ttl_ms)
        await asyncio.sleep(self.answer_s)
        return renewed


async def ticks(patience_s: float) -> AsyncIterator[None]:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        yield
        await asyncio.sleep(0.005)


async def held_for(log: Log, patience_s: float) -> bool:
    """Whether it is held all that time."""
    async for _ in ticks(patience_s):
        if not log.holds:
            return False
    return True


async def test_an_owner_that_is_cut_off_no_longer_holds_when_another_can_own() -> None:
    store = Cut()
    log = await own(store, SHORT_TTL_MS)
    assert await held_for(log, 2 * SHORT_TTL_MS / 1_000)

    store.cut = True
    while await store.acquire("a", "other", SHORT_TTL_MS) is None:
        await asyncio.sleep(0.001)

    assert not log.holds
    await log.close()


async def test_an_owner_that_comes_back_in_an_unclaimed_log_holds_it_again() -> None:
    store = Cut()
    log = await own(store, SHORT_TTL_MS)
    store.cut = True
    assert not await held_for(log, 5)

    store.cut = False
    async with asyncio.timeout(5):
        while not log.holds:
            await asyncio.sleep(0.005)
    await log.close()
    assert not log.holds


async def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    store = Cut()
    log = await own(store, SHORT_TTL_MS)
    store.answer_s = 2 * SHORT_TTL_MS / 1_000  # the lease it tells of has ended by then

    assert not await held_for(log, 5)
    assert not any([log.holds async for _ in ticks(3 * SHORT_TTL_MS / 1_000)])
    await log.close()


async def test_EX_02_to_hold_a_log_renews_a_lease_that_ran_out_and_fails_where_another_has_come() -> None:
    # given a lease that ran out while the store was away
    store = Cut()
    log = await own(store, SHORT_TTL_MS)
    store.cut = True
    assert not await held_for(log, 5)

    # then holding waits for the store
    holding = asyncio.ensure_future(log.hold())
    await asyncio.sleep(SHORT_TTL_MS / 1_000)
    assert not holding.done()
    store.cut = False
    await holding
    assert log.holds

    # and where another has come it fails
    store.cut = True
    assert not await held_for(log, 5)
    other = await own(store, owner="other")
    store.cut = False
    with pytest.raises(Fenced):
        await log.hold()
    await log.close()
    await other.close()


async def test_a_fenced_log_is_not_held() -> None:
    store = MemoryStore()
    stale = await own(store)
    assert stale.holds
    owner = await own(store)
    with pytest.raises(Fenced):
        await stale.append([one("s", 0, 1)])
    assert not stale.holds
    assert owner.holds
    await stale.close()
    await owner.close()


async def test_close_finishes_what_was_accepted_and_refuses_what_comes_later() -> None:
    store = Gated()
    log = await own(store)
    accepted = [asyncio.ensure_future(log.append([one("s", n, n)])) for n in range(3)]
    await until_begun(store)
    closing = asyncio.ensure_future(log.close())
    await asyncio.sleep(0)
    assert not closing.done()
    store.gate.set()
    await closing
    assert [len(recorded) for recorded in await asyncio.gather(*accepted)] == [1, 1, 1]
    with pytest.raises(Fenced, match="closed"):
        await log.append([one("s", 3, 3)])
    assert [r.event.n for r in await everything(store)] == [0, 1, 2]
    assert log._tasks == set()
    await log.close()


async def test_EX_02_a_store_that_stays_away_is_waited_for_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "RETRY_MAX_S", 0.001)
    store = Gated()
    store.failures = [Disconnected("database or disk is full") for _ in range(300)]
    log = await own(store)
    assert log.trouble == ""
    writing = asyncio.ensure_future(log.append([one("s", 0, 1)]))
    await until_begun(store)
    queued = asyncio.ensure_future(log.append([one("s", 1, 2)]))
    store.gate.set()
    async with asyncio.timeout(5):
        while len(store.failures) > 200:
            assert not writing.done()
            assert not queued.done()
            await asyncio.sleep(0)
    assert log.trouble == "database or disk is full"
    assert [len(recorded) for recorded in await asyncio.gather(writing, queued)] == [1, 1]
    assert log.trouble == ""
    assert [one.event.n for one in await everything(store)] == [1, 2]
    await log.close()


async def test_EX_02_who_was_away_while_another_took_the_log_over_is_fenced_when_the_store_is_back() -> None:
    store = Gated()
    store.failures = [Disconnected("no route") for _ in range(3)]
    log = await own(store)
    writing = asyncio.ensure_future(log.append([one("s", 0, 1)]))
    await until_begun(store)
    successor = await own(store)
    store.gate.set()
    with pytest.raises(Fenced, match="another owner"):
        await writing
    assert log.trouble == ""
    assert await everything(store) == []
    await successor.append([one("s", 0, 9)])
    await log.close()
    await successor.close()


async def test_an_unforeseen_fault_of_the_store_ends_the_ownership_and_names_it() -> None:
    store = Gated()
    store.failures = [RuntimeError("the schema is odd")]
    log = await own(store)
    store.gate.set()
    with pytest.raises(Fenced, match="the schema is odd"):
        await log.append([one("s", 0, 1)])
    with pytest.raises(Fenced):
        await log.append([one("s", 0, 1)])
    await log.close()
    successor = await own(store)  # from what is stored, not from what was hoped
    assert successor.version("s") == 0
    await successor.append([one("s", 0, 1)])
    await successor.close()


async def test_while_its_group_is_lent_a_log_writes_nothing_of_its_own() -> None:
    store = Gated()
    installation = Store(store, Codec(TestEvent), "me", TTL_MS)
    log, beside = await installation.open_log("a"), await installation.open_log("beside")
    done: list[bool] = []
    installation.accompany(beside, lambda _, events: Beside([one("s", 0, events[-1].event.n)], done.append))
    writing = asyncio.ensure_future(log.append([one("s", 0, 1)]))
    await store.begun.wait()
    own = asyncio.ensure_future(beside.append([one("s", 1, 2)]))  # behind what is lent: it knows that this comes first
    await asyncio.sleep(0.01)
    assert not done
    assert not own.done()
    store.gate.set()
    await asyncio.gather(writing, own)
    assert [(r.pos, r.version, r.event.n) async for batch in beside.read() for r in batch] == [(1, 1, 1), (2, 2, 2)]
    assert done == [True]
    await log.close()
    await beside.close()


async def test_where_nobody_knows_whether_two_logs_were_written_both_are_lost() -> None:
    store = Gated()
    installation = Store(store, Codec(TestEvent), "me", TTL_MS)
    log, beside = await installation.open_log("a"), await installation.open_log("beside")
    done: list[bool] = []
    installation.accompany(beside, lambda _, events: Beside([one("s", 0, events[-1].event.n)], done.append))
    store.failures = [ZeroDivisionError("a fault of the store's")]
    store.gate.set()
    for opened in (log, beside):
        with pytest.raises(Fenced, match="a fault of the store's"):
            await opened.append([one("s", 0, 1)])
    assert done == [False]
    await log.close()
    await beside.close()


class Apart(MemoryStore):
    """Keeps each log elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        if beside is not None:
            self.asked += 1
            raise NotTogether("not in one statement")
        return await super().append(log, segment, keys)


async def test_where_the_store_keeps_logs_apart_each_is_written_alone_and_it_is_asked_once() -> None:
    store = Apart()
    installation = Store(store, Codec(TestEvent), "me", TTL_MS)
    log, beside = await installation.open_log("a"), await installation.open_log("beside")
    done: list[bool] = []
    installation.accompany(beside, lambda _, events: Beside([one("s", 0, events[-1].event.n)], done.append))
    for number in range(3):
        await log.append([one("s", number, number)])
    await beside.append([one("s", 0, 1)])
    assert (store.asked, done, log.position, beside.position) == (1, [False], 3, 1)
    await log.close()
    await beside.close()


class Late(MemoryStore):
    """Its first append is reported lost, and lands only while the second try is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.delayed: Segment | None = None

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        if self.delayed is None:
            self.delayed = segment
            raise Disconnected("timed out")
        if self.delayed.seq == segment.seq:
            assert await super().append(log, self.delayed, keys)
        return await super().append(log, segment, keys, beside)


async def test_EX_02_a_commit_that_lands_during_the_second_try_is_no_loss_of_ownership() -> None:
    store = Late()
    log = await own(store)
    await log.append([one("s", 0, 1)])
    await log.append([one("s", 1, 2)])
    assert [r.event.n for r in await everything(store)] == [1, 2]
    assert (await verify(store, Codec(TestEvent), "a")).faults == []
    await log.close()


async def test_the_next_group_is_on_its_way_before_the_last_of_many_who_waited_wakes() -> None:
    store = Gated()
    log = await own(store)
    woken = 0

    async def appender(number: int) -> None:
        nonlocal woken
        await log.append([one(f"s{number}", 0, 1)])
        woken += 1
        if number == 0:
            store.begun.clear()
            await log.append([one("next", 0, 2)])

    waiting = asyncio.gather(*(appender(number) for number in range(4 * logs.WOKEN_AT_ONCE)))
    await store.begun.wait()
    store.gate.set()
    while store.begun.is_set():
        await asyncio.sleep(0)
    await store.begun.wait()

    assert 0 < woken < 4 * logs.WOKEN_AT_ONCE

    await waiting
    assert woken == 4 * logs.WOKEN_AT_ONCE
    assert log.position == woken + 1
    await log.close()


class Turning(MemoryStore):
    """Each append takes a turn of the loop."""

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        await asyncio.sleep(0)
        return await super().append(log, segment, keys, beside)


async def test_who_appends_again_and_again_is_refused_once_the_log_is_closed_and_never_left_waiting() -> None:
    log = await own(Turning())

    async def go_on() -> None:
        while True:
            await log.append([Append("s", ANY, [Counted(n=1)])])

    appending = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(Fenced):
        async with asyncio.timeout(5):
            await appending
