"""Given campaigns that write events, then the feed holds all their notifications in one order that never changes."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.notify import FeedMerged, FeedRestored, NotifyLimits
from adapters.notify.notification import is_told
from adapters.notify.parcel import encoded
from engine.core.book import Book, Event
from engine.core.campaign import CampaignDeleted
from engine.core.personal import Person
from engine.ports import ANY, Append, BadCursor, FeedUndone, Notification, Recorded, StoreUnavailable
from tests.adapters.notify.house import PATIENCE_S, QUICK, House, opening, status, talk, until
from tests.adapters.notify.store import Shelf

SMALL = msgspec.structs.replace(QUICK, recent_notifications=8, page_notifications=50)


def check(house: House, feed: list[Notification]) -> None:
    """Every notification of every log is there once; seq without gaps per campaign; the order of each log kept."""
    by_campaign: dict[str, list[Notification]] = defaultdict(list)
    for one in feed:
        by_campaign[one.campaign].append(one)
    for name, events in house.shelf.events.items():
        if name.startswith("campaign/"):
            ours = by_campaign.pop(name.removeprefix("campaign/"), [])
            spoken = [one.event for one in events if is_told(one.event)]
            assert [one.seq for one in ours] == list(range(1, len(spoken) + 1))
            assert len(ours) == len(spoken)
    assert not by_campaign
    assert len({one.id for one in feed}) == len(feed) == len({one.cursor for one in feed})
    assert house.notifier.position == len(feed)


async def test_tf_37_one_envelope_for_campaign_agent_contact_and_call() -> None:
    """TF-37"""
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"), status(5), *talk("sales", 1))
    await house.merged()
    feed = await house.all()
    assert {one.type.partition(".")[0] for one in feed} == {"campaign", "agent", "contact", "contacts", "call"}
    for one in feed:
        assert list(msgspec.json.decode(encoded(one))) == list(Notification.__struct_fields__)
    check(house, feed)
    await house.notifier.stop()


async def test_tf_38_a_client_that_lost_notifications_catches_up() -> None:
    """TF-38: from any cursor on, the rest comes in order and without gaps, from memory as from the logs."""
    house = House(SMALL)
    await house.notifier.start()
    for ref in ("sales", "support"):
        house.write(ref, *opening(ref))
    for serial in range(12):
        house.write("sales", *talk("sales", 1 + serial % 3, serial))
        house.write("support", *talk("support", 1 + serial % 3, serial))
        await house.merged()
    feed = await house.all()
    check(house, feed)
    assert len(feed) == 126 > SMALL.recent_notifications
    for place, lost in enumerate(feed):
        rest, cursor = await house.notifier.read(lost.cursor, 50)
        assert list(rest) == feed[place + 1 : place + 51]
        assert cursor == (rest[-1].cursor if rest else lost.cursor)
    await house.notifier.stop()


async def test_filters_narrow_and_the_cursor_goes_on_behind_what_was_looked_at() -> None:
    house = House(SMALL)
    await house.notifier.start()
    for ref in ("sales", "support"):
        house.write(ref, *opening(ref), *(event for serial in range(4) for event in talk(ref, 1, serial)))
    await house.merged()
    feed = await house.all()
    assert await house.all(campaign="sales") == [one for one in feed if one.campaign == "sales"]
    wanted = ("call.ended", "contacts.added")
    assert await house.all(types=wanted) == [one for one in feed if one.type in wanted]
    assert await house.all(campaign="support", types=wanted) == [
        one for one in feed if one.campaign == "support" and one.type in wanted
    ]
    none, cursor = await house.notifier.read("", 10, campaign="nobody")
    assert (none, cursor) == ([], feed[-1].cursor)
    assert await house.notifier.read("now", 10) == ([], feed[-1].cursor)
    await house.notifier.stop()


async def test_read_a_second_time_or_after_a_restart_it_is_the_same() -> None:
    """Given all that was told, when the process starts again and reads it from the logs, then not a byte differs."""
    house = House()
    await house.notifier.start()
    for serial in range(10):
        for ref in ("a", "b.c", "d:e"):
            house.write(ref, *(opening(ref) if not serial else ()), *talk(ref, 1 + serial % 3, serial))
        await house.merged()
    before = [encoded(one) for one in await house.all()]
    await house.restart()
    assert [encoded(one) for one in await house.all()] == before
    house.write("a", *talk("a", 1, 99))
    await house.merged()
    after = [encoded(one) for one in await house.all()]
    assert after[: len(before)] == before
    assert len(after) == len(before) + 5
    await house.notifier.stop()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["told", "untold", "twice", "late"]), st.integers(0, 3)),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
)
async def test_whatever_the_interleaving_and_whatever_the_hints(
    seed: int, steps: list[tuple[str, str, int]], crash: bool
) -> None:
    """Given batches of many campaigns whose hints come, are lost, or come twice: nothing is missed, nothing told twice."""
    house, rng = House(SMALL), random.Random(seed)
    await house.notifier.start()
    kept: list[tuple[str, list[Recorded]]] = []
    for serial, (ref, hint, pauses) in enumerate(steps):
        first: list[Event] = [] if f"campaign/{ref}" in house.books else opening(ref)
        written = house.write(ref, *first, *talk(ref, rng.randint(1, 3), serial), told=hint in ("told", "twice"))
        if hint == "twice":
            house.notifier.follow(f"campaign/{ref}", written)
        elif hint == "late":
            kept.append((f"campaign/{ref}", list(written)))
        for _ in range(pauses):
            await asyncio.sleep(0)
        if crash and rng.random() < 0.2:
            await house.kill()
            await house.notifier.start()
    rng.shuffle(kept)
    for name, written in kept:
        house.notifier.follow(name, written)
    before = await house.all()
    await house.restart()  # what no hint spoke of is found now at the latest
    feed = await house.all()
    check(house, feed)
    assert feed[: len(before)] == before
    await house.notifier.stop()


async def test_killed_between_a_campaigns_event_and_the_feed() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    told = await house.all()
    house.write("sales", *talk("sales", 1), told=False)
    await house.kill()
    await house.notifier.start()
    feed = await house.all()
    assert feed[:3] == told
    check(house, feed)
    await house.notifier.stop()


async def test_the_sweep_finds_what_no_hint_spoke_of() -> None:
    house = House(msgspec.structs.replace(QUICK, sweep_ms=10))
    await house.notifier.start()
    house.write("sales", *opening("sales"), told=False)
    await until(lambda: house.notifier.position == 3)
    await house.notifier.stop()


async def test_news_wait_for_one_read_of_a_sweep_and_not_for_all() -> None:
    quiet = 5
    house = House(msgspec.structs.replace(QUICK, sweep_ms=10), shelf := Interrupted())
    await house.notifier.start()
    for number in range(quiet):
        house.write(f"quiet{number}", *opening(f"quiet{number}"), told=False)
    house.write("sales", *opening("sales"))
    await house.merged()
    late: list[int] = []

    def interrupt() -> None:
        late.append(len(shelf.events["campaign/sales"]) - house.notifier._merger.order.log("campaign/sales").seen)
        house.write("sales", status(len(late)))

    shelf.interrupt = interrupt
    await until(lambda: len(late) >= 2 * quiet)
    shelf.interrupt = lambda: None
    await house.merged()
    assert not any(late)  # what was written while one log was read is merged before the next one is
    check(house, await house.all())
    await house.notifier.stop()


async def test_a_sweep_looks_at_every_log_however_long_a_round_takes() -> None:
    house = House(msgspec.structs.replace(QUICK, sweep_ms=1), shelf := Slow())
    await house.notifier.start()
    for number in range(5):
        house.write(f"quiet{number}", *opening(f"quiet{number}"))
    await house.merged()
    for number in range(5):
        house.write(f"quiet{number}", status(1), told=False)
    shelf.pause_s = 0.005
    await until(lambda: house.notifier.position == 20)
    check(house, await house.all())
    await house.notifier.stop()


async def test_what_comes_while_a_sweep_reads_is_merged_before_the_merger_ends() -> None:
    house = House(msgspec.structs.replace(QUICK, sweep_ms=10), shelf := Interrupted())
    await house.notifier.start()
    merger = house.notifier._merger
    ended: list[int] = []

    def interrupt() -> None:
        if not ended:
            ended.append(len(house.write("sales", *opening("sales"))))
            merger.finish()

    house.write("quiet", *opening("quiet"), told=False)
    shelf.interrupt = interrupt
    await until(lambda: bool(ended))
    await house.notifier.stop()
    assert merger.order.log("campaign/sales").seen == ended[0]


class Slow(Shelf):
    """To look at a quiet log takes a while."""

    pause_s = 0.0

    async def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        if log.startswith("campaign/quiet"):
            await asyncio.sleep(self.pause_s)
        async for batch in super().read(log, after):
            yield batch


class Interrupted(Shelf):
    """Something happens while a quiet log is read."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupt: Callable[[], None] = lambda: None

    async def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        if log.startswith("campaign/quiet"):
            self.interrupt()
        async for batch in super().read(log, after):
            yield batch


async def test_a_sweep_passes_over_what_there_was_news_of() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    house.write("quiet", *opening("quiet"), told=False)
    merger = house.notifier._merger
    await merger._sweep()
    assert [name for name in merger._silent if name.startswith("campaign/")] == ["campaign/quiet"]
    merger._silent.clear()  # looked at
    await merger._sweep()
    assert "campaign/sales" in merger._silent  # its last hint may have been lost
    await house.notifier.stop()


async def test_a_store_that_is_away_for_a_while_delays_and_loses_nothing() -> None:
    house = House()
    await house.notifier.start()
    house.shelf.refusals = 3
    house.write("sales", *opening("sales"))
    house.write("support", *opening("support"))
    await house.merged()
    check(house, await house.all())
    await house.notifier.stop()


async def test_more_than_may_wait_in_memory_is_read_back() -> None:
    house = House(msgspec.structs.replace(QUICK, pending_events=20))
    await house.notifier.start()
    for ref in "abcdef":
        house.write(ref, *opening(ref), *talk(ref, 1))
    assert house.notifier._merger._pending_events <= 20
    await house.merged()
    check(house, await house.all())
    assert any(house.shelf.reads[f"campaign/{ref}"] > 0 for ref in "abcdef")
    await house.notifier.stop()


async def test_what_arrives_together_is_written_down_together_as_references() -> None:
    house = House()
    await house.notifier.start()
    for ref in ("sales", "support"):
        house.write(ref, *opening(ref), *talk(ref, 1))
    await house.merged()
    merged = [one.event for one in house.shelf.events["feed"][1:]]
    assert merged == [
        FeedMerged(log=f"campaign/{ref}", first_pos=1, last_pos=10, first_seq=1, count=8)
        for ref in ("sales", "support")
    ]
    assert b"Person" not in msgspec.json.encode(merged)
    assert "feed" in House(shelf=house.shelf).shelf.events
    await house.notifier.stop()
    assert house.shelf.closed == ["feed"]


async def test_silent_events_make_no_entry_and_are_not_looked_at_again() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    entries = len(house.shelf.events["feed"])
    quiet = [one for one in talk("sales", 1) if not is_told(one)]
    house.write("sales", *quiet[1:])
    await house.merged()
    assert len(house.shelf.events["feed"]) == entries
    house.write("sales", status(3))
    await house.merged()
    assert house.shelf.reads["campaign/sales"] == 0  # all of it was taken as handed over
    await house.restart()
    check(house, await house.all())
    await house.notifier.stop()


async def test_a_long_poll_is_woken_by_what_it_asked_for_and_by_nothing_else() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    waiting = asyncio.create_task(
        house.notifier.read("now", 10, campaign="sales", types=["call.ended"], wait_ms=PATIENCE_S * 1_000)
    )
    await asyncio.sleep(0)
    (before,) = house.notifier._feed._waiters
    house.write("support", *opening("support"), *talk("support", 1))
    house.write("sales", status(1))
    await house.merged()
    await asyncio.sleep(0.02)
    assert not waiting.done()
    assert house.notifier._feed._waiters == {before}, "it never woke"
    house.write("sales", *talk("sales", 1))
    found, _ = await waiting
    assert [(one.campaign, one.type) for one in found] == [("sales", "call.ended")]
    assert not house.notifier._feed._waiters
    await house.notifier.stop()


async def test_a_long_poll_ends_in_time_with_a_cursor_to_go_on_from() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    nothing, cursor = await house.notifier.read("now", 10, wait_ms=20)
    house.write("sales", status(1))
    found, _ = await house.notifier.read(cursor, 10, wait_ms=PATIENCE_S * 1_000)
    assert (list(nothing), [one.type for one in found]) == ([], ["agent.status"])
    assert not house.notifier._feed._waiters
    await house.notifier.stop()


async def test_readers_beyond_the_bound_are_answered_without_waiting() -> None:
    house = House(msgspec.structs.replace(QUICK, max_waiters=1))
    await house.notifier.start()
    first = asyncio.create_task(house.notifier.read("", 10, wait_ms=PATIENCE_S * 1_000))
    await asyncio.sleep(0)
    assert (await house.notifier.read("", 10, wait_ms=PATIENCE_S * 1_000))[0] == []
    assert not first.done()
    house.write("sales", *opening("sales"))
    assert (await first)[0]
    await house.notifier.stop()


async def test_a_cursor_that_this_feed_never_gave_is_refused() -> None:
    house, other = House(), House()
    other.notifier._merger._new_feed_id = lambda: "another"
    await house.notifier.start()
    await other.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    for cursor in (
        "nonsense",
        other.notifier._merger.cursors.write(1),
        house.notifier._merger.cursors.write(4),  # one further than the feed goes
    ):
        with pytest.raises(BadCursor):
            await house.notifier.read(cursor, 10)
        with pytest.raises(BadCursor):
            await house.notifier.replay("any", cursor)
    await house.notifier.stop()
    await other.notifier.stop()


async def test_the_deleted_and_the_erased_are_told_of_without_details() -> None:
    house = House()
    await house.notifier.start()
    house.write("sales", *opening("sales"), *talk("sales", 1))
    await house.merged()
    connected = (await house.all(types=["call.connected"]))[0]
    assert connected.data["name"] == "Person 1"
    contacts = house.books["campaign/sales"].contacts
    contacts.put(msgspec.structs.replace(contacts.by_ref["sales:1"], person=Person("sales:1", None)))
    erased = (await house.all(types=["call.connected"]))[0]
    assert erased == msgspec.structs.replace(
        connected, data={**connected.data, "number": None, "name": None, "data": None}
    )
    house.write("sales", CampaignDeleted(at=1, by="manager"))
    await house.merged()
    del house.books["campaign/sales"]
    assert (await house.all(types=["call.connected"]))[0] == erased
    assert (await house.all())[-1].type == "campaign.deleted"
    await house.notifier.stop()


async def test_a_log_shorter_than_the_feed_says_is_an_error_and_not_a_gap() -> None:
    house = House(SMALL)
    await house.notifier.start()
    house.write("sales", *opening("sales"), *talk("sales", 1), *talk("sales", 2, 1))
    await house.merged()
    await house.restart()
    del house.shelf.events["campaign/sales"][5:]
    with pytest.raises(StoreUnavailable):
        await house.all()
    await house.notifier.stop()


async def test_ids_are_usable_in_urls_and_headers_whatever_the_campaign_is_called() -> None:
    house = House()
    await house.notifier.start()
    for ref in ("a.b", "ümläut/ & x", "a:1"):
        house.write(ref, *opening(ref, 1))
    await house.merged()
    ids = [one.id for one in await house.all()]
    assert len(set(ids)) == len(ids) == 9
    assert all(one.isascii() and not set(one) & set("./ ?&#\r\n") for one in ids)
    await house.notifier.stop()


async def test_hints_before_the_start_and_of_other_logs_do_no_harm() -> None:
    house = House()
    house.write("sales", *opening("sales"))
    house.notifier.follow("directory", ())
    await house.notifier.start()
    await house.merged()
    check(house, await house.all())
    await house.notifier.stop()
    house.notifier.follow("campaign/sales", house.shelf.events["campaign/sales"])


def test_limits_have_defaults_for_the_composition_root() -> None:
    limits = NotifyLimits(request_timeout_ms=1, max_requests=2)
    assert sum(limits.retry_delays_ms) < limits.give_up_after_ms
    assert Shelf().refusals == 0


# -- restores -----------------------------------------------------------------------------------------------------------


async def test_after_a_restore_ids_are_new_and_a_cursor_of_what_was_undone_leads_back_to_the_backup() -> None:
    """Given a backup, when more was told, it is restored, and other things happen, then nobody can mistake the two."""
    house = House(SMALL)
    await house.notifier.start()
    house.write("sales", *opening("sales"))
    await house.merged()
    kept = await house.all()
    backup = {name: list(events) for name, events in house.shelf.events.items()}
    house.write("sales", *talk("sales", 1))
    await house.merged()
    undone = (await house.all())[len(kept) :]
    for serial in (1, 2):  # and once more, from a backup made after the first restore
        await house.notifier.stop()
        house.shelf.events.clear()
        house.shelf.events.update(backup)
        house.books.clear()
        for recorded in backup["campaign/sales"]:
            house.books.setdefault("campaign/sales", Book()).apply(recorded.event)
        feed_log = await house.shelf.open_log("feed")
        await feed_log.append([Append("feed", ANY, [FeedRestored(feed=f"{serial}badcafe-and-more")])])
        house.notifier = house._new()
        await house.notifier.start()
        house.write("sales", *talk("sales", 2, serial))
        await house.merged()
        feed = await house.all()
        check(house, feed)
        assert [encoded(one) for one in feed[: len(kept)]] == [encoded(one) for one in kept], "the same bytes as before"
        new = feed[len(kept) :]
        assert [one.id for one in new] == [f"sales:{one.seq}~{serial}badcafe" for one in new]
        assert new[0].seq == undone[0].seq
        assert (await house.notifier.read(kept[1].cursor, 50))[0] == feed[2:]
        assert (await house.notifier.read(kept[-1].cursor, 50))[0] == new
        for one in undone:
            with pytest.raises(FeedUndone, match="restored from a backup") as gap:
                await house.notifier.read(one.cursor, 50)
            assert (await house.notifier.read(gap.value.cursor, 50))[0] == new
        await house.restart()
        assert await house.all() == feed
        undone, kept = new, feed[: len(kept)]
        backup = {name: list(events) for name, events in house.shelf.events.items()}
        backup["campaign/sales"] = backup["campaign/sales"][: len(opening("sales"))]
        backup["feed"] = backup["feed"][: len(backup["feed"]) - 1]
    await house.notifier.stop()
