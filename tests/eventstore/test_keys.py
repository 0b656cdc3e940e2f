"""Keys by log: one for each subject, whatever logs know it; kept when they are durable; gone for ever once erased."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import pytest

from engine.core.blocks import Blocks, parts_of
from engine.core.table import Table
from engine.ports import Append
from eventstore import Codec
from eventstore.installation import Store
from eventstore.keys import KEY_BYTES, Keys
from eventstore.memory import MemoryStore
from eventstore.store import Disconnected, Placed, Segment
from tests.eventstore.events import TestEvent, met

ANN, BEN = bytes(range(32)), bytes(range(1, 33))


def entries(keys: Keys, log: str) -> dict[str, bytes]:
    """Of a few names what a snapshot of the log would hold."""
    buckets, _ = keys.still(log)
    table = Table(KEY_BYTES, buckets)
    return {one: found for one in ("ann", "ben") if (found := table.get(one)) is not None}


def known(log: str, **of: bytes) -> Keys:
    keys = Keys()
    keys.learn(log, of, of)
    return keys


def opened(keys: Keys, subject: str) -> list[bytes | None]:
    return [keys.opening(log, subject) for log in ("a", "b", "c")]


# -- two logs that know one subject -----------------------------------------------------------------------------------


def test_a_key_that_one_log_made_is_every_logs_before_it_is_durable() -> None:
    keys = Keys()
    made = keys.sealing("a", "ann")
    assert made is not None
    assert keys.sealing("b", "ann") == made
    assert opened(keys, "ann") == [made] * 3
    assert keys.unsaved(["ann"]) == {"ann": made}
    assert (entries(keys, "a"), entries(keys, "b")) == ({}, {})  # nobody knows which of them commits

    keys.saved("b", {"ann": made})
    assert keys.unsaved(["ann"]) == {}
    assert (entries(keys, "a"), entries(keys, "b")) == ({}, {"ann": made})
    keys.saved("a", {"ann": made})
    assert (entries(keys, "a"), entries(keys, "b")) == ({"ann": made}, {"ann": made})


@pytest.mark.parametrize("adopted", [False, True])
def test_a_key_that_another_log_has_is_sealed_with_and_then_this_logs_too(adopted: bool) -> None:
    keys = known("b", ann=ANN)
    if adopted:  # as a start has it
        buckets, erased = keys.still("b")
        keys = Keys()
        keys.adopt("b", buckets, erased)
    assert keys.missing("a", ["ann"]) == ["ann"]  # the store is asked, as it is the one that knows all
    assert opened(keys, "ann") == [ANN] * 3
    assert keys.sealing("a", "ann") == ANN
    assert keys.unsaved(["ann"]) == {}
    assert entries(keys, "a") == {"ann": ANN}  # its snapshot says what a log's data is sealed under


def test_what_the_store_does_not_have_yet_is_not_taken_for_erased() -> None:
    keys = Keys()
    made = keys.sealing("b", "ann")
    assert keys.missing("a", ["ann"]) == ["ann"]
    keys.learn("a", ["ann"], {})
    assert opened(keys, "ann") == [made] * 3
    assert [(len(buckets), buckets.size, erased) for buckets, erased in map(keys.still, "ab")] == [(1, 0, [])] * 2


async def test_two_logs_of_a_store_open_after_a_restart_what_both_sealed_for_one() -> None:
    segments = MemoryStore()
    store = Store(segments, Codec(TestEvent), "me", 60_000)
    logs = [await store.open_log(name) for name in ("a", "b")]
    for round_ in range(2):
        await asyncio.gather(*(one.append([Append("p", round_, [met("ann", one.name)])]) for one in logs))
    kept = store.still_keys("a")

    again = Store(segments, Codec(TestEvent), "me", 60_000)
    again.adopt_keys("a", *kept)  # as if the other log's owner were somebody else
    log = await again.open_log("a")
    await log.append([Append("p", 2, [met("ann", "a")])])
    read = Store(segments, Codec(TestEvent), "you", 60_000)
    found = [one.event for name in ("a", "b") async for batch in read.read(name) for one in batch]
    assert [one.person.details.name for one in found] == ["a", "a", "a", "b", "b"]
    for one in (*logs, log):
        await one.close()


# -- what is durable --------------------------------------------------------------------------------------------------


class Unsure(MemoryStore):
    """Writes, and breaks off before it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = True

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        taken = await super().append(log, segment, keys, beside)
        if self.fails:
            raise ZeroDivisionError("a fault of the store's")
        return taken


async def test_a_key_whose_segment_landed_unheard_is_known_to_be_durable_once_it_is_read() -> None:
    """Or a snapshot would lack it, and whoever starts from that would seal under a second one."""
    store = Store(Unsure(), Codec(TestEvent), "me", 60_000)
    log = await store.open_log("a")
    with pytest.raises(Exception, match="a fault of the store's"):
        await log.append([Append("p", 0, [met("ann", "Ann")])])
    assert entries(store.codec.keys, "a") == {}
    log = await store.open_log("a")
    events = [one.event async for batch in log.read() for one in batch]
    assert events == [met("ann", "Ann")]
    assert entries(store.codec.keys, "a") == await store.segments.keys(["ann"])
    assert store.codec.keys.unsaved(["ann"]) == {}


class Away(MemoryStore):
    """Is away until it may come back."""

    def __init__(self) -> None:
        super().__init__()
        self.back = asyncio.Event()

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        if not self.back.is_set():
            raise Disconnected("away")
        return await super().append(log, segment, keys, beside)


async def test_while_the_store_is_away_no_snapshot_says_of_a_new_key_that_it_is_durable() -> None:
    segments = Away()
    store = Store(segments, Codec(TestEvent), "me", 60_000)
    log = await store.open_log("a")
    waiting = asyncio.ensure_future(log.append([Append("p", 0, [met("ann", "Ann")])]))
    await asyncio.sleep(0.1)
    assert entries(store.codec.keys, "a") == {}
    segments.back.set()
    await waiting
    assert entries(store.codec.keys, "a") == await segments.keys(["ann"]) != {}
    await log.close()


# -- who is erased ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logs", ["", "a", "ab"])
def test_who_is_erased_is_so_in_every_log_and_has_no_key_in_any_snapshot(logs: str) -> None:
    keys = Keys()
    for log in logs:
        keys.learn(log, ["ann", "ben"], {"ann": ANN, "ben": BEN})
    keys.forget("ann")
    assert opened(keys, "ann") == [keys.sealing(log, "ann") for log in "abc"] == [None] * 3
    keys.learn("a", ["ann"], {"ann": ANN})  # it was asked for before
    keys.saved("a", {"ann": ANN})  # it was on its way
    assert keys.wanted({"ann": ANN, "ben": BEN}) == {"ben": BEN}
    for log in logs or "a":
        assert entries(keys, log) == ({"ben": BEN} if logs else {})
        assert keys.still(log)[1] == ["ann"]
    assert keys.still("other")[1] == ([] if logs == "a" else ["ann"])
    assert keys.missing("a", ["ann"]) == []


def test_who_is_erased_before_their_key_is_durable_leaves_none() -> None:
    keys = Keys()
    made = keys.sealing("a", "ann")
    assert made is not None
    keys.forget("ann")
    assert keys.wanted({"ann": made}) == {}
    keys.saved("a", {"ann": made})
    assert entries(keys, "a") == {}
    assert keys.sealing("a", "ann") is None


@pytest.mark.parametrize("is_known", [False, True])
def test_a_snapshot_from_before_brings_nobody_back(is_known: bool) -> None:
    buckets, erased = known("a", ann=ANN, ben=BEN).still("a")
    keys = known("a", ben=BEN) if is_known else Keys()
    keys.forget("ann")
    keys.adopt("a", buckets, erased)
    assert entries(keys, "a") == {"ben": BEN}
    assert keys.sealing("a", "ann") is None


def test_who_a_snapshot_says_is_erased_gets_no_new_key() -> None:
    keys = known("a", ben=BEN)
    keys.forget("ann")
    again = Keys()
    again.adopt("a", *keys.still("a"))
    assert again.missing("a", ["ann", "ben"]) == []
    assert [again.sealing("a", one) for one in ("ann", "ben")] == [None, BEN]
    assert again.still("a")[1] == ["ann"]


# -- what a snapshot brings -------------------------------------------------------------------------------------------


def many(names: Sequence[int]) -> dict[str, bytes]:
    return {f"spring:{number}": number.to_bytes(KEY_BYTES, "big") for number in names}


@pytest.mark.parametrize(
    ("here", "kept"), [(range(0), range(900)), (range(900), range(500)), (range(400, 700), range(900))]
)
def test_what_is_known_already_and_what_was_kept_come_together(here: range, kept: range) -> None:
    keys = known("a", **many(here))
    other = known("a", **many(kept))
    other.learn("a", ["ann"], {"ann": ANN})
    mine = known("a", ann=BEN)
    for one in (keys, mine):
        one.adopt("a", *other.still("a"))
    assert mine.opening("a", "ann") == BEN  # what this process knows
    wanted = many(range(900)) if kept.stop == 900 else many(here)
    assert {one: keys.opening("a", one) for one in wanted} == wanted
    assert sum(map(len, keys.still("a")[0])) == sum(map(len, known("a", **wanted, ann=ANN).still("a")[0]))


async def test_a_thread_that_reads_while_a_table_grows_misses_nobody() -> None:
    keys, stopped = known("a", ann=ANN), False

    def read() -> int:
        count = 0
        while not stopped:
            assert keys.opening("c", "ann") == ANN
            count += 1
        return count

    reading = asyncio.create_task(asyncio.to_thread(read))
    for start in range(0, 30_000, 100):
        keys.learn("a", (new := many(range(start, start + 100))), new)
        await asyncio.sleep(0)
    stopped = True
    assert await reading


def test_what_a_snapshot_says_of_the_erased_and_of_the_durable_is_so() -> None:
    keys = Keys()
    keys.learn("a", ["ann"], {"ann": ANN})
    made = keys.sealing("a", "ben")
    assert made is not None
    keys.adopt("a", known("a", ben=BEN).still("a")[0], ["ann"])
    assert entries(keys, "a") == {"ben": BEN}
    assert keys.unsaved(["ben"]) == {}
    assert [keys.sealing(log, "ben") for log in "ab"] == [BEN, BEN]


def test_the_keys_of_a_log_that_is_closed_for_good_are_let_go_of_and_learned_again() -> None:
    keys = known("campaign/a", ann=ANN)
    keys.learn("campaign/a", ["ben"], {})
    keys.drop("campaign/a")
    assert keys.missing("campaign/a", ["ann", "ben"]) == ["ann", "ben"]


def test_keys_that_were_adopted_are_opened_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.core.blocks.PART_BYTES", 2_000)
    wanted = {f"n{number}": bytes([number]) * KEY_BYTES for number in range(200)}
    parts = [(size, partial(bytes, data)) for size, data in parts_of(known("a", **wanted).still("a")[0])]
    keys = Keys()
    keys.adopt("a", Blocks(parts), [])
    opened = 0
    while keys.open_some("a"):
        opened += 1
    assert opened == len(parts) > 2
    assert {one: keys.opening("a", one) for one in wanted} == wanted
    assert keys.open_some("campaign/nobodys") is False
