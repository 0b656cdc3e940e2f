"""What every store must do; the memory store is the reference, PostgreSQL is a real server that the tests start."""

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.core.blocks import AtticUnreadable
from engine.ports import (
    ANY,
    Append,
    Beside,
    DamagedSnapshot,
    Fenced,
    KeptAnswer,
    LogArchived,
    Recorded,
    StoreUnavailable,
    WrongVersion,
)
from eventstore import Codec, Store, archived_in, open_store, restore, verify
from eventstore.log import Log
from eventstore.snapshot import READ_PARTS, WRITTEN_BYTES, new_key, seal_parts, subject_of
from eventstore.store import Disconnected, Placed, Segment, SegmentStore
from eventstore.transfer import copy_log
from tests.engine.parts import one_by_one
from tests.eventstore.events import Counted, TestEvent, met

KINDS = ["memory", "sqlite", "postgres"]
TTL_MS = 600


class Opener:
    """Opens the same installation again and again, as other processes would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[Store] = []

    async def __call__(self, owner: str = "") -> Store:
        if self.url == "memory:" and self.opened:  # a memory store is shared by who has it
            first = self.opened[0]
            return Store(first.segments, Codec(TestEvent), owner or f"owner{len(self.opened)}", TTL_MS)
        store = await open_store(self.url, Codec(TestEvent), owner=owner, lease_ttl_ms=TTL_MS)
        self.opened.append(store)
        return store


@pytest.fixture(params=KINDS)
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    if request.param == "postgres":
        url = await _postgres_url(request)
    else:
        url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'log.db'}"
    opener = Opener(url)
    yield opener
    for store in opener.opened:
        await store.close()


async def _postgres_url(request: pytest.FixtureRequest) -> str:
    server: str = request.getfixturevalue("postgres_server")
    name = f"contract_{random.randrange(10**12)}"
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    return f"{server}/{name}"


def one(stream: str, expected: int, *numbers: int) -> Append:
    return Append(stream, expected, [Counted(n=number) for number in numbers])


async def everything(store: Store, log: str, after: int = 0) -> list[Recorded]:
    return [recorded async for batch in store.read(log, after) for recorded in batch]


async def test_what_is_appended_is_read_again_in_order(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    first = await log.append([one("s", 0, 1, 2), one("t", 0, 3)])
    second = await log.append([one("s", 2, 4)])
    assert [(r.pos, r.stream, r.version) for r in [*first, *second]] == [
        (1, "s", 1),
        (2, "s", 2),
        (3, "t", 1),
        (4, "s", 3),
    ]
    assert (log.position, log.version("s"), log.version("t"), log.version("none")) == (4, 3, 1, 0)
    assert await everything(store, "a") == [*first, *second]
    for after in range(5):
        assert await everything(store, "a", after) == [*first, *second][after:]
    await log.close()
    again = await store.open_log("a")
    assert (again.position, again.version("s"), again.version("t")) == (4, 3, 1)
    assert await store.logs() == ["a"]
    await again.close()


async def test_a_wrong_version_writes_nothing_and_harms_no_neighbour(opener: Opener) -> None:
    log = await (await opener()).open_log("a")
    await log.append([one("s", 0, 1)])
    good, bad, also_good = await asyncio.gather(
        log.append([one("t", 0, 2)]),
        log.append([one("u", 0, 3), one("s", 0, 4)]),  # all or nothing: the u half mustn't stay
        log.append([one("s", 1, 5)]),
        return_exceptions=True,
    )
    assert isinstance(bad, WrongVersion)
    assert (bad.stream, bad.expected, bad.actual) == ("s", 0, 1)
    assert not isinstance(good, BaseException)
    assert not isinstance(also_good, BaseException)
    assert (log.version("u"), log.position) == (0, 3)
    await log.close()


async def test_an_empty_append_touches_nothing(opener: Opener) -> None:
    log = await (await opener()).open_log("a")
    assert list(await log.append([])) == []
    assert list(await log.append([Append("s", 7, [])])) == []
    assert (log.position, log.version("s")) == (0, 0)
    await log.close()


async def test_one_stream_twice_in_one_append_keeps_the_order_decided(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    await log.append([one("s", 0, 1), one("t", 0, 2), one("s", ANY, 3)])
    assert [r.event.n for r in await everything(store, "a")] == [1, 2, 3]
    with pytest.raises(WrongVersion):
        await log.append([one("s", 2, 4), one("s", 2, 5)])  # the first moves the stream on
    await log.close()


async def test_many_appenders_share_commits_and_positions_stay_gapless(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")

    async def appender(number: int) -> None:
        for count in range(10):
            await log.append([one(f"s{number}", count, count)])

    await asyncio.gather(*(appender(number) for number in range(50)))
    events = await everything(store, "a")
    assert [r.pos for r in events] == list(range(1, 501))
    report = await verify(store, "a")
    assert report.faults == []
    assert (report.events, report.streams) == (500, 50)
    assert report.segments < 250  # they did share
    await log.close()


async def test_EX_02_a_stale_owner_is_fenced(opener: Opener) -> None:
    stale = await (await opener("first")).open_log("a")
    await stale.append([one("s", 0, 1)])
    stale_store = opener.opened[0].segments
    other = await opener("second")
    with pytest.raises(StoreUnavailable):
        await other.open_log("a")  # its lease is live
    _stop_renewing(stale)
    await asyncio.sleep(TTL_MS / 1_000 + 0.1)
    owner = await other.open_log("a")
    await owner.append([one("s", 1, 2)])
    with pytest.raises(Fenced):
        await stale.append([one("s", 1, 3)])
    with pytest.raises(Fenced):
        await stale.append([one("s", 1, 4)])  # and it stays so
    assert [r.event.n for r in await everything(other, "a")] == [1, 2]
    assert stale_store is not None
    await owner.close()


def _stop_renewing(log: Log) -> None:
    for task in log._tasks:
        task.cancel()


async def test_owners_that_fight_lose_nothing_that_was_acknowledged(opener: Opener) -> None:
    """Takeovers at random moments: every acknowledged event is there, once, and the log is whole."""
    chance = random.Random(1)
    acknowledged: list[int] = []
    numbers = iter(range(10_000))
    first = await opener("owner")
    for _ in range(15):
        log = await Log.own(first.segments, Codec(TestEvent), "a", "owner", TTL_MS)

        async def work(log: Log = log) -> None:
            while True:
                number = next(numbers)
                try:
                    await log.append([one("s", ANY, number)])
                except Fenced:
                    return
                acknowledged.append(number)

        task = asyncio.create_task(work())
        await asyncio.sleep(chance.random() * 0.03)
        successor = await Log.own(first.segments, Codec(TestEvent), "a", "owner", TTL_MS)
        await asyncio.wait_for(task, 5)
        await successor.close()
    found = [r.event.n for r in await everything(first, "a")]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert len(acknowledged) > 15
    assert (await verify(first, "a")).faults == []


class Flaky:
    """Loses the connection of the nth append, before or after it has landed."""

    def __init__(self, inner: SegmentStore, landed: bool) -> None:
        self._inner, self._landed, self.losses = inner, landed, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        if self.losses < 2:
            self.losses += 1
            if self._landed:
                await self._inner.append(log, segment, keys, beside)
            raise Disconnected("the line went")
        return await self._inner.append(log, segment, keys, beside)


@pytest.mark.parametrize("landed", [True, False])
async def test_EX_02_an_unknown_commit_is_settled_exactly_once(opener: Opener, landed: bool) -> None:
    store = await opener()
    flaky = Flaky(store.segments, landed)
    log = await Log.own(flaky, Codec(TestEvent), "a", "me", TTL_MS)
    await log.append([one("s", 0, 1)])
    await log.append([one("s", 1, 2)])
    assert flaky.losses == 2
    assert [r.event.n for r in await everything(store, "a")] == [1, 2]
    assert (await verify(store, "a")).faults == []
    await log.close()


class Clerk:
    """Writes down beside each group of another log which number it ends with."""

    def __init__(self) -> None:
        self.done: list[bool] = []

    def place(self, _log: str, events: Sequence[Recorded]) -> Beside:
        return Beside([one("s", ANY, events[-1].event.n)], self.done.append)


async def numbers(store: Store, log: str) -> list[int]:
    return [r.event.n for r in await everything(store, log)]


@pytest.mark.parametrize("lost", ["", "a", "beside", "both"])
async def test_two_logs_are_written_by_one_commit_or_neither_is(opener: Opener, lost: str) -> None:
    store = await opener()
    log, beside = await store.open_log("a"), await store.open_log("beside")
    for name, opened in (("a", log), ("beside", beside)):
        if lost in (name, "both"):
            await store.segments.release(name, opened.epoch)
            assert await store.segments.acquire(name, "somebody else", TTL_MS) is not None
    heads = [await store.segments.head(name) for name in ("a", "beside")]
    segments = [Segment(1, 1, 1, opened.epoch, 0, 0, b"h", b'["s",1,{}]') for opened in (log, beside)]
    written = await store.segments.append("a", segments[0], {"ann": b"key"}, Placed("beside", segments[1]))
    assert written == (not lost)
    assert [list(await store.segments.segments(name, 0, 9)) for name in ("a", "beside")] == (
        [[], []] if lost else [[segments[0]], [segments[1]]]
    )
    assert (lost == "") == (heads != [await store.segments.head(name) for name in ("a", "beside")])
    assert await store.segments.keys(["ann"]) == ({} if lost else {"ann": b"key"})


async def test_a_segment_brings_as_many_keys_as_it_needs_and_those_that_are_there_stay(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    wanted: dict[str, bytes] = {}
    for seq, count in enumerate((1, 249, 250, 251, 1_001), 1):
        keys = {f"ann{n}": f"{seq} {n}".encode() for n in range(count)}
        assert await store.segments.append("a", Segment(seq, seq, 1, log.epoch, 0, 0, b"h", b"[]"), keys)
        wanted = keys | wanted
    assert await store.segments.keys(list(wanted)) == wanted


async def test_what_accompanies_other_logs_is_durable_when_they_are(opener: Opener) -> None:
    store = await opener()
    clerk = Clerk()
    logs, beside = [await store.open_log(name) for name in "abc"], await store.open_log("beside")
    await logs[0].append([one("s", 0, 1)])
    store.accompany(beside, clerk.place)
    await logs[0].append([one("s", 1, 2)])
    assert (await numbers(store, "a"), await numbers(store, "beside"), clerk.done) == ([1, 2], [2], [True])
    await beside.append([one("t", 0, 3)])
    assert (beside.position, beside.version("s"), beside.version("t")) == (2, 1, 1)

    # All at once: what can't be written beside another one is told so, and that one is written alone.
    async def write(log: Log, first: int) -> None:
        for n in range(first, first + 10):
            await log.append([one("s", ANY, n)])

    await asyncio.gather(*(write(log, place * 100 + 10) for place, log in enumerate([*logs, beside])))
    assert await numbers(store, "a") == [1, 2, *range(10, 20)]
    assert [await numbers(store, name) for name in "bc"] == [[*range(110, 120)], [*range(210, 220)]]
    written = await numbers(store, "beside")
    assert [n for n in written if n >= 300] == [*range(310, 320)]
    placed = [n for n in written if 10 <= n < 300]
    assert len(placed) == len(set(placed)) == sum(clerk.done) - 1
    assert len(clerk.done) == 31
    for name in ("a", "b", "c", "beside"):
        assert (await verify(store, name)).faults == []
    for opened in (*logs, beside):
        await opened.close()


async def test_who_has_lost_the_log_beside_writes_the_others_all_the_same(opener: Opener) -> None:
    store = await opener()
    clerk = Clerk()
    log, beside = await store.open_log("a"), await store.open_log("beside")
    store.accompany(beside, clerk.place)
    await store.segments.release("beside", beside.epoch)
    assert await store.segments.acquire("beside", "somebody else", TTL_MS) is not None
    await log.append([one("s", 0, 1)])
    await log.append([one("s", 1, 2)])
    assert (await numbers(store, "a"), await numbers(store, "beside")) == ([1, 2], [])
    assert clerk.done == [False, False]
    with pytest.raises(Fenced):
        await beside.append([one("s", 0, 1)])
    await log.close()


async def test_who_has_lost_a_log_keeps_what_stood_beside_it(opener: Opener) -> None:
    store = await opener()
    clerk = Clerk()
    log, beside = await store.open_log("a"), await store.open_log("beside")
    store.accompany(beside, clerk.place)
    await store.segments.release("a", log.epoch)
    assert await store.segments.acquire("a", "somebody else", TTL_MS) is not None
    with pytest.raises(Fenced):
        await log.append([one("s", 0, 1)])
    assert clerk.done == [False]
    await beside.append([one("s", 0, 7)])  # as if nothing had been begun
    assert (await numbers(store, "a"), await numbers(store, "beside")) == ([], [7])
    await beside.close()


@pytest.mark.parametrize("landed", [True, False])
async def test_EX_02_an_unknown_commit_of_two_logs_is_settled_exactly_once(opener: Opener, landed: bool) -> None:
    store = await opener()
    flaky = Store(Flaky(store.segments, landed), Codec(TestEvent), "me", TTL_MS)
    clerk = Clerk()
    log, beside = await flaky.open_log("a"), await flaky.open_log("beside")
    flaky.accompany(beside, clerk.place)
    await log.append([one("s", 0, 1)])
    await log.append([one("s", 1, 2)])
    assert (await numbers(store, "a"), await numbers(store, "beside"), clerk.done) == ([1, 2], [1, 2], [True, True])
    for name in ("a", "beside"):
        assert (await verify(store, name)).faults == []
    await log.close()
    await beside.close()


async def test_a_tail_reader_sees_every_position_while_writers_run(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    seen: list[int] = []

    async def tail() -> None:
        while len(seen) < 400:
            async for batch in store.read("a", seen[-1] if seen else 0):
                seen.extend(r.pos for r in batch)
            await asyncio.sleep(0)

    async def write(number: int) -> None:
        for count in range(20):
            await log.append([one(f"s{number}", count, count)])

    await asyncio.gather(tail(), *(write(number) for number in range(20)))
    assert seen == list(range(1, 401))
    await log.close()


async def test_personal_data_is_sealed_and_can_be_erased(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    await log.append([Append("p", 0, [met("ann", "Ann Sealed"), met("bob", "Bob Sealed")])])
    segments: Sequence[Segment] = await store.segments.segments("a", 0, 10)
    raw = b"".join(store.codec.unpack(one.codec, one.data) for one in segments)
    assert b"Sealed" not in raw
    await log.close()
    other = await opener("other")
    names = [r.event.person.details and r.event.person.details.name for r in await everything(other, "a")]
    assert names == ["Ann Sealed", "Bob Sealed"]
    assert await other.shred("ann")
    assert not await other.shred("ann")
    third = await opener("third")
    people = [r.event.person for r in await everything(third, "a")]
    assert [one.subject for one in people] == ["ann", "bob"]
    assert people[0].details is None
    assert people[1].details is not None
    # Erased stays erased, also where somebody still has the plain text at hand.
    lines, _ = other.codec.encode([Recorded(3, "p", 3, met("ann", "Ann Sealed"))], "a")
    assert b'"sealed_for":"ann","box":""' in lines


async def test_checkpoints_and_snapshots(opener: Opener) -> None:
    store = await opener()
    assert await store.checkpoint("f", "a") == 0
    await store.save_checkpoint("f", "a", 5)
    await store.save_checkpoint("f", "a", 7)
    assert (await store.checkpoint("f", "a"), await store.checkpoint("f", "b")) == (7, 0)
    assert list(await store.segments.checkpoints()) == [("f", "a", 7)]
    assert await store.snapshot("s", "a") is None
    await store.save_snapshot("s", "a", 5, {"x": b"1" * 1_000, "y": b""}.items())
    await store.save_snapshot("s", "a", 9, {"x": b"2", "y": b"3"}.items())
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (9, {"x": b"2", "y": b"3"})
    await store.save_snapshot("s", "a", 7, {"x": b"late"}.items())  # an older one that took longer
    found = await store.snapshot("s", "a")
    assert found is not None
    assert found[1]["x"] == b"2"


async def test_a_snapshot_is_sealed_under_a_key_that_goes_with_it(opener: Opener) -> None:
    store = await opener()
    await store.save_snapshot("s", "a", 5, {"x": b"Ann Sealed " * 10}.items())
    await store.save_snapshot("s", "b", 5, {"x": b"of another log"}.items())
    ((part, sealed),) = await store.segments.parts("s", "a", 5, "", 10)
    assert part == "x"
    assert b"Sealed" not in sealed
    await store.save_snapshot("s", "a", 9, {"x": b"newer"}.items())
    assert await store.segments.keys([subject_of("s", "a", 5)]) == {}  # whoever kept a copy can't read it any more
    await store.drop_snapshots("a")
    assert await store.snapshot("s", "a") is None
    assert await store.segments.keys([subject_of("s", "a", 9)]) == {}
    assert await store.snapshot("s", "b") is not None


async def test_a_snapshot_that_was_changed_is_damaged(opener: Opener) -> None:
    store = await opener()
    key = new_key()
    sealed = dict(seal_parts({"x": b"1", "y": b"2"}.items(), key))
    changed = one_by_one({"x": sealed["y"], "y": sealed["y"][:-1]})
    await store.segments.save_snapshot("s", "a", 5, changed, key)
    with pytest.raises(DamagedSnapshot):
        await store.snapshot("s", "a")


async def test_a_snapshot_is_read_some_parts_at_a_time(opener: Opener) -> None:
    store = await opener()
    parts = {f"part/{number}": bytes([number]) * 10 for number in range(2 * READ_PARTS)}
    await store.save_snapshot("s", "a", 5, parts.items())
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (5, parts)
    names = [name for name, _ in await store.segments.parts("s", "a", 5, "", 3)]
    assert len(names) == 3
    rest = await store.segments.parts("s", "a", 5, names[-1], 1_000)
    assert names + [name for name, _ in rest] == [
        name for name, _ in await store.segments.parts("s", "a", 5, "", 1_000)
    ]
    assert {*names, *(name for name, _ in rest)} == parts.keys()
    assert await store.segments.parts("s", "a", 6, "", 100) == []


async def test_a_snapshot_in_place_of_one_that_is_of_no_use_has_nothing_of_it(opener: Opener) -> None:
    """as after a crash while it was saved, or where its key is gone: the log stands where it stood"""
    store = await opener()
    key = new_key()
    await store.segments.save_snapshot("s", "a", 5, one_by_one({"x": b"?", "y": b"?"}), key)
    with pytest.raises(DamagedSnapshot):
        await store.snapshot("s", "a")
    await store.save_snapshot("s", "a", 5, {"x": b"1"}.items())
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (5, {"x": b"1"})


async def test_a_snapshot_whose_parts_cannot_be_made_leaves_the_one_before(opener: Opener) -> None:
    store = await opener()
    await store.save_snapshot("s", "a", 5, {"x": b"1"}.items())

    def parts() -> Iterator[tuple[str, bytes]]:
        yield "x", os.urandom(WRITTEN_BYTES)
        raise AtticUnreadable("a page")

    with pytest.raises(AtticUnreadable):
        await store.save_snapshot("s", "a", 9, parts())
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (5, {"x": b"1"})
    await store.save_snapshot("s", "a", 9, {"y": b"2"}.items())
    found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (9, {"y": b"2"})


async def test_whoever_reads_a_snapshot_that_goes_meanwhile_reads_the_one_that_came(opener: Opener) -> None:
    """as a command that looks at the logs of a service which is at work"""
    store, owner = await opener("reads"), await opener("owns")
    parts = {f"part/{number}": b"old" for number in range(2 * READ_PARTS)}
    newer = dict.fromkeys(parts, b"new")
    await owner.save_snapshot("s", "a", 5, parts.items())
    read, saved = store.segments.parts, list[int]()

    async def meanwhile(name: str, log: str, pos: int, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        if after and not saved:
            saved.append(9)
            await owner.save_snapshot("s", "a", 9, newer.items())
        return await read(name, log, pos, after, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.segments, "parts", meanwhile)
        found = await store.snapshot("s", "a")
    assert found is not None
    assert (found[0], dict(found[1])) == (9, newer)


async def test_a_log_is_copied_as_it_is(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    for number in range(5):
        await log.append([Append("p", number, [met(f"p{number}", "Name")])])
    await log.close()
    target = await open_store("memory:", Codec(TestEvent))
    assert await copy_log(store.segments, target.segments, store.codec, "a") == 5
    assert await everything(target, "a") == await everything(store, "a")
    assert (await verify(target, "a")).faults == []


async def test_the_database_itself_refuses_to_change_the_log(opener: Opener) -> None:
    store = await opener()
    log = await store.open_log("a")
    await log.append([one("s", 0, 1)])
    await log.close()
    for statement in ("update es_segment set n = 2", "delete from es_segment"):
        if store.kind == "sqlite":
            database = sqlite3.connect(opener.url.removeprefix("sqlite:///"))
            with pytest.raises(sqlite3.DatabaseError, match="append-only"):
                database.execute(statement)
            database.close()
        elif store.kind == "postgres":
            connection = await asyncpg.connect(opener.url)
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await connection.execute(statement)
            await connection.close()


async def test_TF_32_a_log_leaves_for_its_archive_is_read_there_and_comes_back_as_it_was(
    opener: Opener, tmp_path: Path
) -> None:
    first = await opener("one")
    store = Store(first.segments, first.codec, "one", TTL_MS, tmp_path / "archive")
    for name in ("a", "kept"):
        log = await store.open_log(name)
        for number in range(300):
            await log.append([Append("p", number, [met(f"{name}{number % 7}", "Ann Sealed")])])
        await log.close()
    await store.save_snapshot("s", "a", 5, {"x": b"1"}.items())
    before, chain = await everything(store, "a"), [one.hash for one in await store.segments.segments("a", 0, 1_000)]

    archived = await store.archive("a")
    assert (archived.log, archived.events, archived.segments) == ("a", 300, 300)
    assert await store.archive("a") == archived  # asked again it is the same
    assert await everything(store, "a") == before  # and nothing has gone yet
    await store.drop(archived)

    assert list(await store.logs()) == ["kept"]
    assert await store.archived() == {"a": 300}
    assert list(await store.segments.segments("a", 0, 10)) == []
    assert await store.snapshot("s", "a") is None
    assert await everything(store, "a") == before  # from its file
    assert await everything(store, "a", after=290) == before[290:]
    assert archived_in(tmp_path / "archive") == ["a"]
    assert (await verify(store, "a", tmp_path / "archive")).faults == []
    raw = (tmp_path / "archive" / archived.file).read_bytes()
    assert b"Sealed" not in raw
    assert await store.shred("a3")  # who is erased is erased there too
    people = {one.event.person.subject: one.event.person.details for one in await everything(store, "a")}
    assert people["a3"] is None
    assert people["a4"] is not None

    await restore(store, "a", tmp_path / "archive")
    assert list(await store.logs()) == ["a", "kept"]
    assert [one.hash for one in await store.segments.segments("a", 0, 1_000)] == chain
    assert (await verify(store, "a")).faults == []
    log = await store.open_log("a")
    await log.append([one("s", 0, 1)])
    assert log.position == 301
    await log.close()


def answered(at: int, body: bytes = b"{}") -> KeptAnswer:
    return KeptAnswer(at=at, print=b"p" * 16, status=202, headers={"Content-Type": "x/y", "ETag": '"1"'}, body=body)


async def test_an_answer_is_kept_under_its_owners_key_for_whoever_opens_the_store(opener: Opener) -> None:
    store = await opener("one")
    assert await store.answer("me", "k") is None
    await store.keep_answer("me", "k", answered(5, b"\x00\xff"), 10)
    await store.keep_answer("you", "k", answered(6), 10)
    await store.keep_answer("me", "k", answered(7, b"again"), 10)
    for one in (store, await opener("two")):
        assert await one.answer("me", "k") == answered(7, b"again")
        assert await one.answer("you", "k") == answered(6)
        assert await one.answer("me", "other") is None


async def test_of_an_owners_answers_the_newest_stay_and_old_ones_go(opener: Opener) -> None:
    store = await opener("one")
    await store.keep_answer("you", "k", answered(1), 3)
    for at in range(10):
        await store.keep_answer("me", f"k{at}", answered(at), 3)
    assert [at for at in range(10) if await store.answer("me", f"k{at}")] == [7, 8, 9]
    assert await store.answer("you", "k") is not None
    await store.forget_answers(9)
    assert [at for at in range(10) if await store.answer("me", f"k{at}")] == [9]
    assert await store.answer("you", "k") is None


async def test_TF_32_who_reads_a_log_while_it_leaves_reads_all_of_it(opener: Opener, tmp_path: Path) -> None:
    """A reader stops after its first events, in the middle of a page, and goes on when the log is in its file."""
    first = await opener("one")
    store = Store(first.segments, first.codec, "one", TTL_MS, tmp_path / "archive")
    log = await store.open_log("a")
    for number in range(300):
        await log.append([Append("p", number, [met("a", str(number))])])
    await log.close()
    before = await everything(store, "a")
    readers = [store.read("a") for _ in range(2)]
    found = [[*await anext(one)] for one in readers]

    archived = await store.archive("a")
    await store.segments.drop("a", archived.events, 100)  # part of it is gone
    found[0] += [one async for batch in readers[0] for one in batch]
    await store.drop(archived)
    found[1] += [one async for batch in readers[1] for one in batch]

    assert found == [before, before]
    assert await everything(store, "a") == before


async def test_TF_32_without_its_whole_file_no_log_leaves_the_store(opener: Opener, tmp_path: Path) -> None:
    first = await opener("one")
    store = Store(first.segments, first.codec, "one", TTL_MS, tmp_path / "archive")
    log = await store.open_log("a")
    await log.append([one("s", 0, 1, 2, 3)])
    await log.close()
    archived = await store.archive("a")
    path = tmp_path / "archive" / archived.file
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="isn't what its manifest says"):
            await store.drop(archived)
        assert [one.event.n for one in await everything(store, "a")] == [1, 2, 3]
    path.write_bytes(whole)
    await store.drop(archived)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(LogArchived):
        await everything(store, "a")  # never an empty log
    (tmp_path / "elsewhere").rename(path)
    assert [one.event.n for one in await everything(store, "a")] == [1, 2, 3]


async def test_many_logs_at_once_are_written_and_one_that_lost_its_owner_hinders_no_other(opener: Opener) -> None:
    """Their commits may be one: each log's append stands or falls by itself all the same."""
    store, other = await opener(), await opener()
    logs = [await store.open_log(f"l{number}") for number in range(40)]
    taken = await other.segments.acquire("l7", "somebody else", 0)
    if taken is None:  # its lease is live: as if it had run out
        await store.segments.release("l7", logs[7].epoch)
        assert await other.segments.acquire("l7", "somebody else", 0) is not None

    async def write(log: Log) -> int:
        for n in range(5):
            await log.append([Append("s", ANY, [Counted(n=n)])])
            await store.save_checkpoint("reader", log.name, n + 1)
        return log.position

    written = await asyncio.gather(*map(write, logs), return_exceptions=True)
    assert isinstance(written.pop(7), Fenced)
    assert written == [5] * 39
    for place, log in enumerate(logs):
        found = [one.event.n async for batch in store.read(log.name) for one in batch]
        assert found == ([] if place == 7 else list(range(5)))
        assert await store.checkpoint("reader", log.name) == len(found)
        await log.close()
