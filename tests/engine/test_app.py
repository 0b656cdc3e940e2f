"""The engine over a store that outlives it: restarts, other owners, strangers at the PBX, draining, handing over."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import engine.campaigns
import engine.switchboard
from engine.actor import NotOwner
from engine.campaigns import log_of
from engine.core.agent import DefaultState, Line, Phone, Presence, Wanted
from engine.core.blocks import AtticUnreadable, Blocks
from engine.core.call import CallEnded, CallRequested, CallStatus
from engine.core.campaign import Delete, Modify, Start, Status, Stop
from engine.core.contact import ContactStatus
from engine.core.directory import RegisterAgent
from engine.core.message import Added, Allocate, AskAgent, Message, Skip
from engine.core.outcome import Outcome
from engine.core.process import step
from engine.core.refusal import Refused, no_room
from engine.core.table import PAGE_ROWS
from engine.core.telephony import (
    BridgeLegs,
    HangUp,
    LegCreated,
    LegEnded,
    LegReady,
    OriginateAgent,
    OriginateContact,
    PbxDown,
    Settle,
)
from engine.limits import Limits
from engine.ports import Fenced, StoreUnavailable
from engine.recovery import SNAPSHOT, replay
from tests.engine.shell import Shell, new_shell, started, until


async def events(shell: Shell, ref: str = "c1") -> list[Any]:
    return [one.event async for batch in shell.store.read(log_of(ref)) for one in batch]


async def _allocate(shell: Shell, ref: str) -> None:
    allocate = Allocate(
        at=shell.clock.now,
        by="m",
        agent="a1",
        phone="desk1",
        line=Line.NAILED,
        default_state=DefaultState.AVAILABLE,
        weight=1,
    )
    await shell.engine.submit(ref, allocate)


async def stop(shell: Shell, ref: str = "c1", force: bool = False) -> None:
    await shell.engine.submit(ref, Stop(at=shell.clock.now, by="m", force=force))


async def test_EX_02_the_intent_is_in_the_log_when_the_pbx_is_asked() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        durable: list[int] = []
        shell.engine.followers.append(lambda _, recorded: durable.extend(one.pos for one in recorded))
        asked_at: dict[str, int] = {}
        perform = shell.pbx.perform
        shell.pbx.perform = lambda effect: (asked_at.setdefault(effect.leg, max(durable)), perform(effect))[1]  # type: ignore[method-assign]

        call = await shell.dial()

        recorded = [one async for batch in shell.store.read(log_of("c1")) for one in batch]
        (intent,) = [one.pos for one in recorded if isinstance(one.event, CallRequested)]
        assert intent <= asked_at[call]
        assert [one.leg for one in shell.pbx.all(OriginateContact)] == [call]


async def test_a_restart_finds_everything_as_it_was() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        await shell.dial()
        before, agent = shell.book().canonical(), shell.book().agents["a1"].leg
    assert shell.pbx.all(HangUp) == []  # live legs stay up for whoever comes next

    again = shell.again()
    async with started(again):
        assert (await replay(again.store.read(log_of("c1")))).canonical() == again.book().canonical()
        assert again.pbx.all(OriginateContact) == []
        assert {one.leg for one in again.pbx.all(Settle)} == {agent, next(iter(again.book().live))}
    third = shell.again()
    await third.engine.start()
    assert third.book().canonical() != before  # the doubts are in the log too
    await third.engine.stop()


async def test_EX_02_a_call_that_lives_through_a_restart_is_adopted_and_ends_truthfully() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        call = await shell.dial()
        agent = shell.book().agents["a1"].leg

    again = shell.again()
    async with started(again, shell.seen(agent), shell.seen(call)):
        assert [one.leg for one in again.pbx.all(BridgeLegs)] == [call]
        ended = LegEnded(leg=call, at=again.clock.now, cause=16, sip_code=0, answered=True, ringing=True, far_end=True)
        again.engine.switchboard.hear(ended)
        await again.settled()
        assert again.book().calls[call].outcome is Outcome.ABANDONED  # nothing proves that they shared audio
        assert again.pbx.all(OriginateContact) == []


@pytest.mark.parametrize("snapshot_every_events", [1, 100_000])
async def test_a_snapshot_changes_nothing_about_what_is_read_back(snapshot_every_events: int) -> None:
    shell = await new_shell(Limits(snapshot_every_events=snapshot_every_events))
    async with started(shell):
        await shell.running()
        await shell.next()
        before = shell.book().canonical()
        await asyncio.sleep(0.05)
    assert ((await shell.store.snapshot(SNAPSHOT, log_of("c1"))) is not None) is (snapshot_every_events == 1)

    again = shell.again()
    await again.engine.start()
    assert again.book().canonical() == before
    await again.engine.stop()


async def test_a_list_that_comes_in_few_events_is_worth_a_snapshot() -> None:
    """EX-02, recovery in seconds: contacts count as events do, for a restart reads as long from each."""
    shell = await new_shell(Limits(snapshot_every_events=150, snapshot_every_contacts=0.5))
    async with started(shell):
        await shell.running()
        taken = shell.engine.campaigns["c1"].snapshots.pos
        for first in (0, 100):
            refs = [f"c1:n{place}" for place in range(first, first + 100)]
            await shell.engine.add_contacts("c1", shell.contacts(*refs))
            assert (shell.engine.campaigns["c1"].snapshots.pos > taken) is (first == 100)
        await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
        before = shell.book().canonical()
    saved = await shell.store.snapshot(SNAPSHOT, log_of("c1"))
    assert saved is not None

    again = shell.again()
    await again.engine.start()
    assert again.book().canonical() == before
    assert again.engine.campaigns["c1"].snapshots.pos == saved[0]
    assert again.engine.campaigns["c1"].snapshots.contacts == 0
    await again.engine.stop()


async def test_snapshots_of_a_long_list_are_taken_seldom_and_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0.5))
    taken: list[int] = []
    may_end = asyncio.Event()

    async def slowly(name: str, log: str, pos: int, parts: Any) -> None:
        taken.append(pos)
        await may_end.wait()

    monkeypatch.setattr(shell.store, "save_snapshot", slowly)
    async with started(shell):
        await shell.running()
        await until(lambda: len(taken) == 1)  # of a few contacts
        refs = [f"c1:n{place}" for place in range(100)]
        await shell.engine.add_contacts("c1", shell.contacts(*refs))
        log = shell.engine.campaigns["c1"].actor.log
        while log.position < taken[0] + 60:
            await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name=f"n{log.position}"))
        assert len(taken) == 1  # the first one is still being saved
        may_end.set()
        await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
        await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name="once more"))
        await until(lambda: len(taken) == 2)
        assert taken[1] - taken[0] > 50


async def test_snapshots_rest_for_a_while_and_one_that_is_due_by_then_is_taken_though_nothing_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.snapshots.RESTS", 1_000_000_000)
    monkeypatch.setattr("engine.snapshots.MAX_REST_S", 0.3)
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    async with started(shell):
        await shell.create()
        snapshots, log = shell.engine.campaigns["c1"].snapshots, shell.engine.campaigns["c1"].actor.log
        await until(lambda: snapshots.pos > 0 and not snapshots.is_busy)
        first = snapshots.pos
        for name in ("some", "more"):
            await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name=name))
            await until(lambda: not snapshots.is_busy)
        assert (snapshots.pos, log.position) == (first, first + 2)
        await until(lambda: snapshots.pos == log.position and not snapshots.is_busy)
        saved = await shell.store.snapshot(SNAPSHOT, log_of("c1"))
        assert (saved and saved[0]) == first + 2


async def test_a_snapshot_that_is_begun_after_an_erasure_stays_and_one_before_goes_and_is_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    save, begun, go_on = shell.store.save_snapshot, list[int](), asyncio.Event()

    async def slowly(name: str, log: str, pos: int, parts: Any) -> None:
        begun.append(pos)
        await go_on.wait()
        await save(name, log, pos, parts)

    async with started(shell):
        await shell.create()
        snapshots, log = shell.engine.campaigns["c1"].snapshots, shell.engine.campaigns["c1"].actor.log
        await until(lambda: snapshots.pos > 0 and not snapshots.is_busy)
        monkeypatch.setattr(shell.store, "save_snapshot", slowly)
        await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name="before"))
        await until(lambda: begun == [log.position])
        await shell.engine.drop_snapshots("c1")
        go_on.set()
        await until(lambda: not snapshots.is_busy)
        assert await shell.store.snapshot(SNAPSHOT, log_of("c1")) is None
        assert snapshots.pos == 0
        await shell.engine.campaigns["c1"].actor.caught_up()  # a turn in which nothing happens
        await until(lambda: len(begun) == 2 and not snapshots.is_busy)
        saved = await shell.store.snapshot(SNAPSHOT, log_of("c1"))
        assert (saved and saved[0]) == log.position == snapshots.pos


@pytest.mark.parametrize("error", [StoreUnavailable("away"), AtticUnreadable("a page")])
async def test_what_a_snapshot_that_is_not_saved_was_to_keep_is_due_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = await new_shell(Limits(snapshot_every_events=50, snapshot_every_contacts=0))
    async with started(shell):
        await shell.create()
        snapshots, save = shell.engine.campaigns["c1"].snapshots, shell.store.save_snapshot
        tries: list[int] = []

        async def away(name: str, log: str, pos: int, parts: Any) -> None:
            tries.append(pos)
            if len(tries) == 1:
                raise error
            await save(name, log, pos, parts)

        monkeypatch.setattr(shell.store, "save_snapshot", away)
        await shell.engine.add_contacts("c1", shell.contacts(*(f"c1:n{place}" for place in range(60))))
        await until(lambda: len(tries) == 1 and not snapshots.is_busy)
        assert (snapshots.pos, snapshots.contacts) == (0, 60)
        await shell.engine.campaigns["c1"].actor.caught_up()
        await until(lambda: len(tries) == 2 and not snapshots.is_busy)
        assert snapshots.contacts == 0


async def test_a_snapshot_that_another_owner_may_know_better_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have erased somebody meanwhile."""
    monkeypatch.setattr("engine.snapshots.DROP_AGAIN_S", 0.01)
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    async with started(shell):
        await shell.create()
        running = shell.engine.campaigns["c1"]
        await until(lambda: running.snapshots.pos > 0 and not running.snapshots.is_busy)
        drop, drops = shell.store.drop_snapshots, list[str]()

        async def fenced() -> None:
            raise Fenced("another owner")

        async def at_last(log: str) -> None:
            drops.append(log)
            if len(drops) == 1:
                raise StoreUnavailable("away")
            await drop(log)

        monkeypatch.setattr(running.actor.log, "hold", fenced)
        monkeypatch.setattr(shell.store, "drop_snapshots", at_last)
        await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name="once more"))
        await until(lambda: len(drops) == 2 and not running.snapshots.is_busy)
        assert await shell.store.snapshot(SNAPSHOT, log_of("c1")) is None


LOST = [
    *("head", "known", "keys", "keys.buckets/0"),
    *("contacts", "contacts.rows/1", "contacts.index/0"),
    *("calls", "calls.rows/0", "recent.young/0"),
]


@pytest.mark.parametrize("lost", [None, "ahead", *LOST])
async def test_a_long_list_is_read_back_from_its_pages_and_from_the_log_where_one_is_lost(
    lost: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.core.blocks.PART_BYTES", 3_000)
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    async with started(shell):
        await shell.running()
        for _ in range(3):
            call = await shell.dial()
            ended = LegEnded(leg=call, at=1, cause=17, sip_code=486, answered=False, ringing=True, far_end=True)
            shell.engine.switchboard.hear(ended)
            held = await shell.next()
            hand = {"agent": "a1", "reservation": held.id, "token": held.token}
            await shell.engine.submit("c1", Skip(at=shell.clock.now, **hand, reason=""))
        for first in range(0, 5 * PAGE_ROWS, PAGE_ROWS):
            refs = [f"c1:n{place}" for place in range(first, first + PAGE_ROWS)]
            await shell.engine.add_contacts("c1", shell.contacts(*refs))
        await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
        await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name="the last"))  # one of all of it
        before = shell.book()
        await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
    saved = await shell.store.snapshot(SNAPSHOT, log_of("c1"))
    assert saved is not None
    pos, parts = saved
    assert {*LOST} < {*parts}
    if lost == "ahead":
        await shell.store.save_snapshot(SNAPSHOT, log_of("c1"), pos + 100, parts.items())
    elif lost is not None:
        kept = {name: data for name, data in parts.items() if name != lost}
        await shell.store.save_snapshot(SNAPSHOT, log_of("c1"), pos, kept.items())

    shell.limits = Limits()
    again = shell.again()
    adopt, adopted = again.store.adopt_keys, list[str]()

    def noted(log: str, buckets: Blocks, erased: Sequence[str]) -> None:
        adopted.append(log)
        adopt(log, buckets, erased)

    monkeypatch.setattr(again.store, "adopt_keys", noted)
    await again.engine.start()
    assert lost != "ahead" or not adopted  # keys of a log that never was would be taken for durable
    assert again.book().canonical() == before.canonical()
    assert list(again.book().calls.items()) == list(before.calls.items())
    assert again.book().recent == before.recent
    assert (again.engine.campaigns["c1"].snapshots.pos == pos) is (lost is None)
    await again.engine.stop()


async def test_OM_07_EX_06_a_reservation_ends_on_time_though_the_engine_was_restarted() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running(reservation_timeout_s=60)
        held = await shell.next()
        agent = shell.book().agents["a1"].leg

    again = shell.again()
    again.clock.now = held.expires_at - 30
    async with started(again, shell.seen(agent)):
        assert held.id in again.book().reservations
        await until(lambda: held.id not in again.book().reservations)
        await again.settled()
        (released,) = [one for one in await events(again) if type(one).__name__ == "ContactReleased"]
        assert (released.reason, released.at) == ("expired", held.expires_at)


async def test_OM_07_a_reservation_that_ran_out_while_nobody_watched_is_released_at_the_start() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running(reservation_timeout_s=60)
        held = await shell.next()
        agent = shell.book().agents["a1"].leg
    again = shell.again()
    again.clock.now = held.expires_at + 3_600_000
    async with started(again, shell.seen(agent)):
        await until(lambda: held.id not in again.book().reservations)


# -- strangers --------------------------------------------------------------------------------------------------------


async def test_legs_that_nobody_knows_are_hung_up() -> None:
    stranger, another = "e" * 32, "f" * 32
    shell = await new_shell()
    async with started(shell, shell.seen(stranger)):
        shell.engine.switchboard.hear(LegCreated(leg=another, at=shell.clock.now, channel="PJSIP/x"))
        shell.engine.switchboard.hear(LegReady(leg=another, at=shell.clock.now, channel="PJSIP/x"))
        ended = LegEnded(leg=another, at=1, cause=16, sip_code=0, answered=True, ringing=True, far_end=True)
        shell.engine.switchboard.hear(ended)
        assert shell.pbx.asked == [HangUp(leg=stranger), HangUp(leg=another), HangUp(leg=another)]


async def test_EX_02_an_owner_who_was_fenced_hangs_nothing_up_that_may_be_the_new_owners() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        await shell.store.segments.acquire(log_of("c1"), "one", 60_000)  # a second life of the same owner: epoch rises
        with pytest.raises(NotOwner):
            await shell.next()
        shell.pbx.asked.clear()

        shell.engine.switchboard.hear(LegCreated(leg="e" * 32, at=shell.clock.now, channel="PJSIP/x"))
        shell.up(shell.seen("e" * 32), shell.seen("f" * 32))

        assert shell.pbx.asked == []


async def test_EX_02_an_owner_whose_lease_ran_out_judges_strangers_only_when_it_is_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that was frozen can't know whether somebody else came meanwhile."""
    shell = await new_shell()
    monkeypatch.setattr(engine.switchboard, "STRANGER_LOOK_MS", 5)
    async with started(shell):
        await shell.running()
        shell.pbx.asked.clear()
        frozen = shell.engine.campaigns["c1"].actor.log
        monkeypatch.setattr(frozen, "_held_until_s", 0)

        shell.engine.switchboard.hear(LegCreated(leg="e" * 32, at=shell.clock.now, channel="PJSIP/x"))
        await asyncio.sleep(0.03)
        assert shell.pbx.asked == []

        monkeypatch.undo()
        await until(lambda: shell.pbx.asked == [HangUp(leg="e" * 32)])


async def test_nothing_is_dialled_while_the_pbx_is_away_and_the_reason_is_known() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        shell.engine.switchboard.hear(PbxDown(at=shell.clock.now, reason="refused"))
        assert shell.engine.switchboard.pbx_reason == "refused"
        with pytest.raises(Refused) as refused:
            await shell.dial()
        assert refused.value.code == "pbx-down"


async def test_where_a_log_is_read_again_no_snapshot_is_begun_beside_one_that_is_still_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They may be of one position, and each part would be the one's or the other's."""
    monkeypatch.setattr(engine.campaigns, "REOPEN_AFTER_MS", 1)
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    async with started(shell):
        await shell.create()
        broken = shell.engine.campaigns["c1"]
        await until(lambda: broken.snapshots.pos > 0 and not broken.snapshots.is_busy)
        save, begun, go_on = shell.store.save_snapshot, list[int](), asyncio.Event()

        async def slowly(name: str, log: str, pos: int, parts: Any) -> None:
            begun.append(pos)
            await go_on.wait()
            await save(name, log, pos, parts)

        monkeypatch.setattr(shell.store, "save_snapshot", slowly)
        await shell.engine.add_contacts("c1", shell.contacts("c1:k1"))
        await until(lambda: len(begun) == 1)
        monkeypatch.setattr(broken.actor, "_decide", None)
        broken.actor.post(object())
        await until(lambda: shell.engine.campaigns["c1"] is not broken)
        await shell.engine.add_contacts("c1", shell.contacts("c1:k2"))
        assert len(begun) == 1
        go_on.set()
        await until(lambda: not broken.snapshots.is_busy)
        await shell.engine.add_contacts("c1", shell.contacts("c1:k3"))
        await until(lambda: len(begun) == 2 and not shell.engine.campaigns["c1"].snapshots.is_busy)
        assert shell.engine.campaigns["c1"].snapshots._before is None  # whose book may have a million contacts


# -- failures ---------------------------------------------------------------------------------------------------------


async def test_a_message_that_breaks_one_campaign_leaves_the_others_alone_and_it_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    shell = await new_shell()
    monkeypatch.setattr(engine.campaigns, "REOPEN_AFTER_MS", 10)
    take = step

    def poisoned(book: Any, message: Message, *rest: Any) -> Any:
        done = take(book, message, *rest)
        if isinstance(message, Stop):
            raise ZeroDivisionError  # after it has changed the book and the claims
        return done

    async with started(shell):
        await shell.running("c1")
        await shell.create("c2")
        before = shell.book("c1").canonical()
        monkeypatch.setattr(engine.campaigns, "step", poisoned)
        broken = shell.engine.campaigns["c1"]

        with pytest.raises(NotOwner):
            await stop(shell, "c1")

        monkeypatch.setattr(engine.campaigns, "step", take)
        await shell.engine.add_contacts("c2", shell.contacts("c2:k1"))
        await until(lambda: shell.engine.campaigns["c1"] is not broken)
        await shell.settled()
        assert shell.book("c1").campaign.status is Status.RUNNING
        assert shell.book("c1").contacts.by_ref["c1:k1"].status is ContactStatus.WAITING
        assert shell.book("c1").agents["a1"].phone is Phone.UP
        assert shell.pbx.all(Settle)[-1].leg == shell.book("c1").agents["a1"].leg  # what was missed is asked for
        assert (await replay(shell.store.read(log_of("c1")))).canonical() == shell.book("c1").canonical()
        assert shell.book("c1").canonical() == before
        assert (await shell.next("c1")).contact == "c1:k1"


async def test_a_call_that_never_became_durable_holds_no_number_and_no_place(monkeypatch: pytest.MonkeyPatch) -> None:

    shell = await new_shell()
    monkeypatch.setattr(engine.campaigns, "REOPEN_AFTER_MS", 10)
    take = step

    def poisoned(*given: Any) -> Any:
        take(*given)
        raise ZeroDivisionError

    async with started(shell):
        await shell.running()
        await shell.next()
        broken = shell.engine.campaigns["c1"]
        monkeypatch.setattr(engine.campaigns, "step", poisoned)
        with pytest.raises(NotOwner):
            await shell.dial()
        monkeypatch.setattr(engine.campaigns, "step", take)
        await until(lambda: shell.engine.campaigns["c1"] is not broken)
        await shell.settled()
        assert (shell.engine.claims.numbers, shell.engine.claims.in_setup) == ({}, {})
        assert shell.pbx.all(OriginateContact) == []


async def test_a_store_that_is_away_for_a_while_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        opened = shell.engine.campaigns["c1"].actor.log
        append, refusals = opened.append, [1, 2, 3]

        async def flaky(appends: Any) -> Any:
            if refusals:
                refusals.pop()
                raise StoreUnavailable("away")
            return await append(appends)

        monkeypatch.setattr(opened, "append", flaky)
        call = await shell.dial()
        assert refusals == []
        assert [one.leg for one in shell.pbx.all(OriginateContact)] == [call]
        assert (await replay(shell.store.read(log_of("c1")))).canonical() == shell.book().canonical()


async def _break(shell: Shell, monkeypatch: pytest.MonkeyPatch, ref: str) -> None:
    """A fault of ours in one campaign: its log has to be read again."""

    def poisoned(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(engine.campaigns, "step", poisoned)
    with pytest.raises(NotOwner):
        await stop(shell, ref)
    monkeypatch.setattr(engine.campaigns, "step", step)


async def test_EX_01_while_a_campaign_is_read_again_its_calls_and_agents_stay_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = await new_shell()
    monkeypatch.setattr(engine.campaigns, "REOPEN_AFTER_MS", 200)
    async with started(shell):
        await shell.running("c1")
        await shell.dial("c1")
        await shell.create("c2")
        await _allocate(shell, "c2")
        broken = shell.engine.campaigns["c1"]

        await _break(shell, monkeypatch, "c1")
        await asyncio.sleep(0.02)

        assert shell.engine.claims.call_to("+5550") is not None
        await shell.engine.submit("c2", Start(at=shell.clock.now, by="m"))
        assert shell.book("c2").agents["a1"].presence is Presence.ABSENT
        await until(lambda: shell.engine.campaigns["c1"] is not broken)
        assert set(shell.engine.claims.numbers) == {"5550"}


async def test_EX_01_what_a_crash_would_bring_back_is_given_to_nobody_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent leaves c1, and c1's write is still under way: c2 can't have them yet."""
    shell = await new_shell()
    async with started(shell):
        await shell.running("c1")
        await shell.create("c2")
        await shell.engine.add_contacts("c2", shell.contacts("c2:k1"))
        await _allocate(shell, "c2")
        await shell.engine.submit("c2", Start(at=shell.clock.now, by="m"))
        opened = shell.engine.campaigns["c1"].actor.log
        append, written = opened.append, asyncio.Event()

        async def slow(appends: Any) -> Any:
            await written.wait()
            return await append(appends)

        monkeypatch.setattr(opened, "append", slow)
        leg = shell.book("c1").agents["a1"].leg
        shell.engine.switchboard.hear(
            LegEnded(leg=leg, at=shell.clock.now, cause=16, sip_code=0, answered=True, ringing=False, far_end=True)
        )
        await asyncio.sleep(0.02)
        assert shell.book("c1").agents["a1"].presence is Presence.ABSENT  # decided, not yet durable
        ask = AskAgent(at=shell.clock.now, by="m", agent="a1", wanted=Wanted.AVAILABLE, reason="")
        with pytest.raises(Refused) as refused:
            await shell.engine.submit("c2", ask)
        assert refused.value.code == "agent-active-elsewhere"

        written.set()
        await shell.settled()
        await shell.engine.submit("c2", ask)
        assert shell.engine.claims.agents == {"a1": {"c2": ""}}


async def test_a_snapshot_that_cant_be_saved_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = await new_shell(Limits(snapshot_every_events=1))

    async def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(shell.store, "save_snapshot", away)
    async with started(shell):
        await shell.running()
        await asyncio.sleep(0.05)
        assert not shell.engine.failed.done()
        assert (await shell.next()).contact == "c1:k1"


# -- an end -----------------------------------------------------------------------------------------------------------


async def test_draining_takes_no_new_call_and_waits_for_the_live_one() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        call = await shell.dial()
        draining = asyncio.ensure_future(shell.engine.drain(60_000))
        await asyncio.sleep(0.01)
        with pytest.raises(Refused) as refused:
            await shell.dial()
        assert refused.value.code == "draining"
        assert not draining.done()
        shell.engine.switchboard.hear(
            LegEnded(leg=call, at=shell.clock.now, cause=17, sip_code=0, answered=False, ringing=True, far_end=True)
        )
        assert await asyncio.wait_for(draining, 5) is True


async def test_draining_gives_up_in_time_and_hands_the_call_over() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        call = await shell.dial()
        assert await shell.engine.drain(0) is False
    assert shell.pbx.stopped
    assert shell.pbx.all(HangUp) == []
    again = shell.again(owner="two")  # the leases were given up: another owner needs no patience
    await asyncio.wait_for(again.engine.start(), 5)
    assert again.book().calls[call].status is CallStatus.REQUESTED
    await again.engine.stop()


async def test_stop_finishes_what_was_heard_before_it() -> None:
    shell = await new_shell()
    await shell.start()
    await shell.running()
    call = await shell.dial()
    shell.engine.switchboard.hear(
        LegEnded(leg=call, at=shell.clock.now, cause=17, sip_code=0, answered=False, ringing=True, far_end=True)
    )
    await shell.engine.stop()
    assert [one.outcome for one in await events(shell) if isinstance(one, CallEnded)] == [Outcome.BUSY]


# -- campaigns and the directory ----------------------------------------------------------------------------------------


async def test_TF_01_the_body_that_created_a_campaign_may_be_put_again_whatever_was_edited_since() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create("c1", max_lines=7)
        await shell.engine.submit("c1", Modify(at=1, by="m", name="Summer", settings={"max_lines": 9}))
        assert await shell.create("c1", max_lines=7) is False
        assert shell.book("c1").campaign.name == "Summer"
        with pytest.raises(Refused, match="another body"):
            await shell.create("c1", max_lines=8)


async def test_TF_16_a_delete_that_waits_behind_others_is_answered_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create("c1")
        opened = shell.engine.campaigns["c1"].actor.log
        append = opened.append

        async def slow(appends: Any) -> Any:
            await asyncio.sleep(0.02)
            return await append(appends)

        monkeypatch.setattr(opened, "append", slow)
        edit = asyncio.create_task(shell.engine.submit("c1", Modify(at=1, by="m", name="Summer")))
        await asyncio.sleep(0.01)
        delete = asyncio.create_task(shell.engine.submit("c1", Delete(at=2, by="m")))
        await asyncio.gather(edit, delete)
        assert type((await events(shell))[-1]).__name__ == "CampaignDeleted"
        assert shell.engine.campaigns == {}


async def test_TF_16_a_crash_between_delete_and_its_tombstone_in_the_directory_is_mended_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create("c1")

        async def never(_: str) -> None:
            pass

        monkeypatch.setattr(shell.engine, "_retire", never)
        await shell.engine.submit("c1", Delete(at=2, by="m"))
    again = shell.again()
    async with started(again):
        assert again.engine.campaigns == {}
        with pytest.raises(Refused, match="deleted"):
            again.engine.campaign("c1")


async def test_TF_01_TF_02_a_ref_is_created_once_repeated_quietly_and_never_used_again() -> None:
    shell = await new_shell()
    async with started(shell):
        assert await shell.create("c1") is True
        assert await shell.create("c1") is False
        await shell.engine.submit("c1", Delete(at=shell.clock.now, by="m"))
        with pytest.raises(Refused, match="used before"):
            await shell.create("c1")
        with pytest.raises(Refused, match="deleted"):
            await shell.next("c1")
    again = shell.again()
    async with started(again):
        assert again.engine.campaigns == {}
        with pytest.raises(Refused, match="used before"):
            await again.create("c1")


async def test_two_who_delete_at_once_both_get_their_answer() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create()
        delete = Delete(at=shell.clock.now, by="m")
        answers = await asyncio.gather(*(shell.engine.submit("c1", delete) for _ in range(3)), return_exceptions=True)
        assert answers == [None, None, None]
        assert shell.engine.campaigns == {}


async def test_TF_03_a_contact_ref_belongs_to_the_campaign_that_used_it_first() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create("c1")
        await shell.create("c2")
        add = shell.engine.add_contacts
        assert await add("c1", shell.contacts("k1", "k2")) == (Added(new=frozenset({"k1", "k2"})), {})
        assert await add("c2", shell.contacts("k2", "k3")) == (Added(new=frozenset({"k3"})), {"k2": "c1"})
        assert await add("c1", shell.contacts("k1")) == (Added(), {})


async def test_an_agents_new_phone_reaches_the_campaigns_they_are_allocated_to() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create()
        await shell.engine.register_agent(RegisterAgent(at=1, by="m", agent="a1", name="Ann", phone="desk1"))
        allocate = Allocate(
            at=1, by="m", agent="a1", phone="desk1", line=Line.NAILED, default_state=DefaultState.OFFLINE, weight=1
        )
        await shell.engine.submit("c1", allocate)
        await shell.engine.register_agent(RegisterAgent(at=2, by="m", agent="a1", name="Ann", phone="desk2"))
        assert shell.book().agents["a1"].phone_name == "desk2"


async def test_the_phone_of_an_agent_on_the_line_is_not_changed() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        with pytest.raises(Refused) as refused:
            await shell.engine.register_agent(RegisterAgent(at=2, by="m", agent="a1", name="Ann", phone="desk2"))
        assert refused.value.code == "agent-present"
        assert "a1" not in shell.engine.directory.agents


# -- the announcement ---------------------------------------------------------------------------------------------------


class Herald:
    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.asked: list[tuple[str, int]] = []

    def is_announced(self, _log: str, _pos: int) -> bool:
        return self.sent.is_set()

    async def announced(self, log: str, pos: int) -> None:
        self.asked.append((log, pos))
        await self.sent.wait()


@pytest.mark.parametrize("well", [True, False])
async def test_TF_34_audio_follows_the_announcement_but_does_not_wait_for_ever(well: bool) -> None:
    shell = await new_shell(Limits(announce_timeout_ms=60_000 if well else 1))
    herald = shell.engine.switchboard.announcer = Herald()
    async with started(shell):
        await shell.running()
        call = await shell.dial()
        await shell.hear_ready(call)
        await asyncio.sleep(0)
        assert herald.asked == [(log_of("c1"), shell.engine.campaigns["c1"].actor.log.position)]
        if well:
            assert shell.pbx.all(BridgeLegs) == []
            herald.sent.set()
        await until(lambda: bool(shell.pbx.all(BridgeLegs)))


async def test_a_stop_that_is_forced_hangs_the_live_call_up_at_the_pbx() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.running()
        call = await shell.dial()
        await stop(shell, force=True)
        assert HangUp(leg=call) in shell.pbx.asked
        assert len(shell.pbx.all(OriginateAgent)) == 1


async def test_a_deletion_that_finds_no_room_at_the_end_can_be_asked_again() -> None:
    shell = await new_shell()
    async with started(shell):
        await shell.create("c1")

        async def full(_: Any) -> Any:
            raise no_room("mailbox-full", "later")

        shell.engine.direct = full  # type: ignore[assignment,method-assign]
        with pytest.raises(Refused, match="later"):
            await shell.engine.submit("c1", Delete(at=shell.clock.now, by="m"))
        del shell.engine.direct

        await asyncio.gather(*(shell.engine.submit("c1", Delete(at=shell.clock.now, by="m")) for _ in range(3)))

        assert shell.engine.directory.campaigns == {"c1": True}
        assert shell.engine.campaigns == {}
