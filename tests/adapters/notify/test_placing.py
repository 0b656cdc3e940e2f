"""What campaigns write gets its place in the feed by the same commit, on the store as it is in life."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.notify import Notifier, NotifyLimits
from adapters.notify.event import FEED_LOG
from adapters.notify.notification import is_told
from engine.core.book import Book, Event, stream_of
from engine.ports import ANY, Append, EventLog, Notification, Recorded
from engine.service import LogEvent
from eventstore import Codec, Store
from eventstore.memory import MemoryStore
from eventstore.store import Disconnected, Placed, Segment
from tests.adapters.notify.house import PATIENCE_S, QUICK, Clock, created, opening, status, talk, until

TTL_MS = 60_000


class Ledger(MemoryStore):
    """Takes a while for a commit, and remembers of which logs each was; the next ones may break off before or after it."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.commits: list[tuple[str, ...]] = []
        self.breaks: list[str] = []
        self._chance = chance

    async def append(self, log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        await self._pause()
        fault = self.breaks.pop() if self.breaks else ""
        if fault == "before":
            raise Disconnected("as ordered")
        written = await super().append(log, segment, keys, beside)
        self.commits.append((log,) if beside is None else (log, beside.log))
        await self._pause()
        if fault == "after":
            raise Disconnected("as ordered")
        return written

    async def _pause(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)


class Office:
    """Campaigns that write to a store, and a notifier that is told of it, or isn't, and may be killed."""

    def __init__(self, seed: int = 1, limits: NotifyLimits = QUICK) -> None:
        self.limits = limits
        self.ledger = Ledger(random.Random(seed))
        self.books: dict[str, Book] = {}
        self.logs: dict[str, EventLog] = {}
        self.store, self.notifier = self._new()

    def _new(self) -> tuple[Store, Notifier]:
        store = Store(self.ledger, Codec(LogEvent), "me", TTL_MS)
        return store, Notifier(store, self.books.get, dict, Clock(), self.limits, random.Random(1))

    async def kill(self) -> None:
        """As a crash does: nothing is finished; the next process owns all logs anew."""
        await self.notifier._crew.close()
        await self.notifier._dispatch._crew.close()
        await self.notifier._dispatch._sender.close()
        self.store, self.notifier = self._new()
        self.logs.clear()
        await self.notifier.start()

    async def write(self, ref: str, *events: Event, told: bool = True) -> Sequence[Recorded]:
        name = f"campaign/{ref}"
        log = self.logs.get(name) or self.logs.setdefault(name, await self.store.open_log(name))
        for one in events:
            self.books.setdefault(name, Book()).apply(one)
        recorded = await log.append([Append(stream_of(one), ANY, [one]) for one in events])
        if told:
            self.notifier.follow(name, recorded)
        return recorded

    async def feed(self) -> list[Notification]:
        found: list[Notification] = []
        cursor = ""
        while page := await self.notifier.read(cursor, 50):
            notifications, cursor = page
            if not notifications:
                break
            found += notifications
        return found

    async def check(self) -> list[Notification]:
        """Every notification of every log is there once, in its log's order, whoever reads it."""
        feed = await self.feed()
        by_campaign: defaultdict[str, list[int]] = defaultdict(list)
        for one in feed:
            by_campaign[one.campaign].append(one.seq)
        for name in await self.store.logs():
            if name.startswith("campaign/"):
                events = [one.event async for batch in self.store.read(name) for one in batch]
                told = sum(map(is_told, events))
                assert by_campaign.pop(name.removeprefix("campaign/"), []) == list(range(1, told + 1))
        assert not by_campaign
        assert len({one.cursor for one in feed}) == len(feed) == self.notifier.position
        return feed


async def test_what_a_campaign_writes_is_in_the_feed_when_it_is_durable() -> None:
    office = Office()
    await office.notifier.start()
    await office.write("sales", *opening("sales"))
    assert office.notifier.position == len(opening("sales"))
    for serial in range(3):
        await office.write("sales", *talk("sales", 1, serial), told=False)
        assert office.notifier.position == len(await office.check())
    expected: list[tuple[str, ...]] = [(FEED_LOG,), *[("campaign/sales", FEED_LOG)] * 4]
    assert office.ledger.commits == expected
    await office.notifier.stop()


async def test_what_nobody_is_told_of_has_no_place_and_holds_up_nothing() -> None:
    office = Office()
    await office.notifier.start()
    reserved, requested, placed, *rest = talk("sales", 1)
    await office.write("sales", *opening("sales"), reserved, requested)
    silent = await office.write("sales", placed)
    assert FEED_LOG not in office.ledger.commits[-1]
    await until(lambda: office.notifier._merger.order.log("campaign/sales").seen == silent[-1].pos)
    await office.write("sales", *rest)
    assert office.ledger.commits[-1] == ("campaign/sales", FEED_LOG)
    await office.check()
    await office.notifier.stop()


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.sampled_from(("sales", "support", "winback")),
            st.sampled_from(("told", "lost", "twice")),
            st.integers(0, 4),
            st.sampled_from(("", "", "", "before", "after")),
        ),
        max_size=25,
    ),
    st.booleans(),
)
async def test_whatever_is_written_at_once_and_breaks_off_all_of_it_has_one_place(
    seed: int, steps: list[tuple[str, str, int, str]], crash: bool
) -> None:
    """Campaigns that write at once, hints that are lost or come twice, commits of unknown outcome, kills at any moment."""
    office, chance = Office(seed, msgspec.structs.replace(QUICK, sweep_ms=0)), random.Random(seed)
    await office.notifier.start()
    writing: dict[str, asyncio.Task[Sequence[Recorded]]] = {}
    for serial, (ref, hint, pauses, fault) in enumerate(steps):
        if ref in writing:  # one batch of a campaign's at a time, as its actor has it
            async with asyncio.timeout(PATIENCE_S):
                await writing.pop(ref)
        first: list[Event] = [] if f"campaign/{ref}" in office.books else opening(ref)
        office.ledger.breaks += [fault] if fault else []
        events = [*first, *talk(ref, chance.randint(1, 3), serial)]
        writing[ref] = asyncio.ensure_future(office.write(ref, *events, told=hint != "lost"))
        for _ in range(pauses):
            await asyncio.sleep(0)
        if hint == "twice" and chance.random() < 0.5:
            office.notifier.follow(f"campaign/{ref}", await writing.pop(ref))
        if crash and chance.random() < 0.2:
            told = await office.feed()
            for task in writing.values():
                task.cancel()
            await asyncio.gather(*writing.values(), return_exceptions=True)
            writing.clear()
            await office.kill()
            assert (await office.feed())[: len(told)] == told
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*writing.values())
    before = await office.feed()
    await office.kill()  # what no hint spoke of is found now at the latest
    assert (await office.check())[: len(before)] == before
    await office.notifier.stop()


async def test_a_feed_that_breaks_is_told_of_and_harms_no_campaign() -> None:
    office = Office()
    await office.notifier.start()
    await office.write("sales", *opening("sales"))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    office.notifier._merger.listeners.append(fail)
    await office.write("sales", status(1))
    await office.write("sales", status(2))
    assert office.logs["campaign/sales"].position == len(opening("sales")) + 2
    await until(lambda: isinstance(office.notifier.failed, ZeroDivisionError))
    await office.notifier.stop()


async def test_an_event_that_cannot_be_told_is_the_feeds_trouble_and_stands_in_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office()
    await office.notifier.start()
    await office.write("sales", *opening("sales"))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("adapters.notify.merger.fact_of", fail)
    await office.write("sales", status(1))
    assert office.logs["campaign/sales"].position == len(opening("sales")) + 1
    await until(lambda: isinstance(office.notifier.failed, ZeroDivisionError))
    await office.notifier.stop()


async def test_behind_a_merge_that_was_broken_off_nothing_gets_a_place_by_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a merge that is on its way to the store
    office = Office(limits=msgspec.structs.replace(QUICK, stop_grace_ms=50))
    await office.notifier.start()
    for ref in ("sales", "support"):
        await office.write(ref, *opening(ref))
    reserved, requested, placed, *rest = talk("sales", 1)
    await office.write("sales", reserved, requested)
    let, began, append = asyncio.Event(), asyncio.Event(), office.ledger.append

    async def slowly(log: str, segment: Segment, keys: Mapping[str, bytes], beside: Placed | None = None) -> bool:
        if log == FEED_LOG:
            began.set()
            await let.wait()
        return await append(log, segment, keys, beside)

    monkeypatch.setattr(office.ledger, "append", slowly)
    await office.write("sales", placed, told=False)
    await office.write("sales", *rest)
    await began.wait()

    # when it is given up, and lands all the same
    stopping = asyncio.create_task(office.notifier.stop())
    await asyncio.sleep(0.2)
    let.set()
    await office.write("support", status(1))
    await stopping

    # then what comes next is found behind it, at the next start
    assert office.ledger.commits[-1] == ("campaign/support",)


@pytest.mark.parametrize("name", ["directory", "campaign/sales"])
async def test_a_log_that_nobody_is_told_of_is_written_alone(name: str) -> None:
    office = Office()
    await office.notifier.start()
    log = await office.store.open_log(name)
    await log.append([Append("s", ANY, [created("sales")])])
    assert office.ledger.commits[-1] == ((name,) if name == "directory" else (name, FEED_LOG))
    await office.notifier.stop()
