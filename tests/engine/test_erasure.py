"""Somebody is erased: beside snapshots that still have them, and once, whatever the process comes to."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
import structlog.testing

from engine.campaigns import log_of
from engine.core.call import recording_of
from engine.core.campaign import Delete, Modify, Stop
from engine.core.erasure import ErasePerson
from engine.core.recent import DAY_MS
from engine.core.telephony import LegEnded, LegRecorded
from engine.erasure import Erasures, Who
from engine.limits import Limits
from engine.ports import LogArchived, StoreUnavailable, Unreadable
from engine.recovery import SNAPSHOT
from tests.engine.shell import Shell, new_shell, until

NUMBER = "5550"


async def _reopen(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.campaigns.REOPEN_AFTER_MS", 1)
    lost = shell.engine.campaigns["c1"]

    def fail(_: Any) -> Any:
        raise RuntimeError("as a defect would")

    lost.actor._decide = fail
    lost.actor.post(object())
    await until(lambda: shell.engine.campaigns["c1"] is not lost)


async def _delete(shell: Shell, _: pytest.MonkeyPatch) -> None:
    await shell.engine.submit("c1", Delete(at=1, by="m"))


async def _leave(_: Shell, __: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize("meanwhile", [_leave, _reopen, _delete])
async def test_no_snapshot_keeps_who_was_erased_while_it_was_saved(
    meanwhile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a snapshot that is being saved
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    await shell.start()
    await shell.create()
    await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
    began, go_on, saved = asyncio.Event(), asyncio.Event(), asyncio.Event()
    save, saving = shell.store.save_snapshot, list[dict[str, bytes]]()

    async def slowly(name: str, log: str, pos: int, parts: Iterable[tuple[str, bytes]]) -> None:
        saving.append(dict(parts))
        began.set()
        await go_on.wait()
        await save(name, log, pos, saving[0].items())
        saved.set()

    monkeypatch.setattr(shell.store, "save_snapshot", slowly)
    await shell.engine.add_contacts("c1", shell.contacts("c1:k1", "c1:k2"))
    await began.wait()
    shell.limits.snapshot_every_events, shell.limits.snapshot_every_contacts = 1_000, 1
    key = (await shell.store.segments.keys(["c1:k1"]))["c1:k1"]
    assert any(key in part for part in saving[0].values())

    # when the campaign is read again or deleted, and then somebody is erased
    await meanwhile(shell, monkeypatch)
    await Erasures(shell.engine, lambda _: True).erase(Who(contact="c1:k1"), "m", False, False)
    go_on.set()
    await saved.wait()
    await shell.engine.stop()

    # then nothing that is kept has their number or their key
    kept = await shell.store.snapshot(SNAPSHOT, log_of("c1"))
    assert kept is None or not any(NUMBER.encode() in part or key in part for part in kept[1].values())
    buckets, _ = shell.store.still_keys(log_of("c1"))
    assert not any(key in one for one in buckets)


async def test_who_is_erased_after_a_start_is_in_nothing_that_is_packed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a campaign that was read from a snapshot of many parts
    monkeypatch.setattr("engine.core.blocks.PART_BYTES", 500)
    monkeypatch.setattr("engine.campaigns.OPEN_EVERY_S", 3_600)
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    await shell.start()
    await shell.create()
    await shell.engine.add_contacts("c1", shell.contacts(*(f"c1:k{place}" for place in range(300))))
    await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
    await shell.engine.submit("c1", Modify(at=shell.clock.now, by="m", name="the last"))  # one of all of it
    await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
    await shell.engine.stop()
    shell.limits = Limits()
    again = shell.again()
    await again.engine.start()
    key = (await again.store.segments.keys(["c1:k150"]))["c1:k150"]
    number = again.contacts(*(f"c1:k{place}" for place in range(300))).contacts[150].person.details
    assert number is not None
    secrets = [msgspec.msgpack.encode(number.numbers[0]), key]

    def held() -> list[bool]:
        still = again.book().contacts.still()
        everything = [*still.rows, *again.store.still_keys(log_of("c1"))[0]]
        for blocks in (still.rows, again.store.still_keys(log_of("c1"))[0]):
            everything += [opener() for _, opener in filter(None, blocks._packed)]
        return [any(secret in one for one in everything) for secret in secrets]

    assert held() == [True, True]
    assert any(again.book().contacts.still().rows._packed)

    # when
    await Erasures(again.engine, lambda _: True).erase(Who(contact="c1:k150"), "m", False, False)

    # then
    assert held() == [False, False]
    assert any(again.book().contacts.still().rows._packed)
    await again.engine.stop()


async def test_who_waits_for_the_end_of_a_call_costs_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = await new_shell()
    await shell.start()
    await shell.running()
    contact = shell.book().calls[await shell.dial()].contact
    dropped: list[str] = []

    async def noted(log: str) -> None:
        dropped.append(log)

    monkeypatch.setattr(shell.store, "drop_snapshots", noted)
    erasures = Erasures(shell.engine, lambda _: True)
    done = await erasures.erase(Who(contact=contact), "m", False, True)
    assert done.waiting == [contact]
    assert [await erasures.finish() for _ in range(3)] == [1, 1, 1]
    assert dropped == []
    await shell.engine.stop()


async def _erased(shell: Shell, *refs: str) -> Erasures:
    erasures = Erasures(shell.engine, lambda _: True)
    for ref in refs:
        await erasures.erase(Who(contact=ref), "m", False, False)
    return erasures


async def _dropped_by_finishing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """The logs whose snapshots the next process drops as it goes on with what was left, and the keys that it still finds."""
    dropped, shredded = list[str](), list[str]()
    again = shell.again()
    drop, shred = again.store.drop_snapshots, again.store.shred

    async def noted(log: str) -> None:
        dropped.append(log)
        await drop(log)

    async def seen(subject: str) -> bool:
        was_there = await shred(subject)
        if was_there:
            shredded.append(subject)
        return was_there

    await again.engine.start()
    monkeypatch.setattr(again.store, "drop_snapshots", noted)
    monkeypatch.setattr(again.store, "shred", seen)
    erasures = Erasures(again.engine, lambda _: True)
    assert erasures.pending
    assert await erasures.finish() == 0
    assert not erasures.pending
    await again.engine.stop()
    monkeypatch.undo()
    return dropped, shredded


async def test_a_start_erases_nobody_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would drop the snapshots, and the start after it read the whole log."""
    shell = await new_shell()
    await shell.start()
    for ref in ("c1", "c2"):
        await shell.create(ref)
        await shell.engine.add_contacts(ref, shell.contacts(*(f"{ref}:k{place}" for place in range(4))))
    await _erased(shell, "c1:k0", "c2:k1")  # who share a number with one of the other campaign
    await shell.engine.stop()
    assert await _dropped_by_finishing(shell, monkeypatch) == ([], [])

    # given one more of whom only the intent stands there
    third = shell.again()
    await third.engine.start()
    await third.engine.direct(ErasePerson(at=1, by="m", contacts={"c1": ("c1:k3",)}))
    await third.engine.stop()
    assert await _dropped_by_finishing(shell, monkeypatch) == ([log_of("c1")], ["c1:k3"])
    assert await _dropped_by_finishing(shell, monkeypatch) == ([], [])


async def test_a_crash_while_a_snapshot_is_saved_that_was_begun_before_leaves_it_to_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given an erasure beside a snapshot whose saving the process doesn't live to see
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    await shell.start()
    await shell.create()
    await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
    save, has_saved = shell.store.save_snapshot, asyncio.Event()

    async def for_ever(name: str, log: str, pos: int, parts: Iterable[tuple[str, bytes]]) -> None:
        await save(name, log, pos, parts)
        has_saved.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(shell.store, "save_snapshot", for_ever)
    await shell.engine.add_contacts("c1", shell.contacts("c1:k1"))
    await has_saved.wait()
    shell.limits.snapshot_every_events = 1_000
    erasures = await _erased(shell, "c1:k1")
    assert erasures.pending
    assert await erasures.finish() == 0
    assert erasures.pending
    await shell.engine.stop()
    monkeypatch.undo()

    # then
    assert await _dropped_by_finishing(shell, monkeypatch) == ([log_of("c1")], [])
    assert await shell.store.snapshot(SNAPSHOT, log_of("c1")) is None
    assert await _dropped_by_finishing(shell, monkeypatch) == ([], [])


async def test_a_snapshot_whose_answer_was_lost_is_dropped_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a save of which only the store knows that it came to an end
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    await shell.start()
    await shell.create()
    await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
    save, has_saved, go_on = shell.store.save_snapshot, asyncio.Event(), asyncio.Event()

    async def unanswered(name: str, log: str, pos: int, parts: Iterable[tuple[str, bytes]]) -> None:
        await save(name, log, pos, parts)
        has_saved.set()
        await go_on.wait()
        raise StoreUnavailable("the connection was lost")

    monkeypatch.setattr(shell.store, "save_snapshot", unanswered)
    await shell.engine.add_contacts("c1", shell.contacts("c1:k1"))
    await has_saved.wait()
    shell.limits.snapshot_every_events = 1_000

    # when
    erasures = await _erased(shell, "c1:k1")
    assert await shell.store.snapshot(SNAPSHOT, log_of("c1")) is None
    await save(SNAPSHOT, log_of("c1"), 1, {"late": b"as the server came to it"}.items())
    go_on.set()
    await until(lambda: not shell.engine.saves_snapshot("c1"))

    # then
    assert await shell.store.snapshot(SNAPSHOT, log_of("c1")) is None
    assert await erasures.finish() == 0
    assert not erasures.pending
    await shell.engine.stop()


async def test_a_key_that_a_snapshot_brings_back_is_erased_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """as after a crash between the two, where a backup of the keys had brought it back before"""
    shell = await new_shell(Limits(snapshot_every_events=1, snapshot_every_contacts=0))
    await shell.start()
    await shell.create()
    await shell.engine.add_contacts("c1", shell.contacts("c1:k1"))
    key = (await shell.store.segments.keys(["c1:k1"]))["c1:k1"]
    before, number = await shell.store.snapshot(SNAPSHOT, log_of("c1")), 0
    while before is None or not any(
        key in part for part in before[1].values()
    ):  # the first one, or that is being saved
        number += 1
        await shell.engine.submit("c1", Modify(at=shell.clock.now, by="m", name=f"{number}"))
        await asyncio.sleep(0.005)
        await until(lambda: not shell.engine.saves_snapshot("c1"))
        before = await shell.store.snapshot(SNAPSHOT, log_of("c1"))
    shell.limits.snapshot_every_events = 1_000
    await _erased(shell, "c1:k1")
    await shell.store.save_snapshot(SNAPSHOT, log_of("c1"), before[0], dict(before[1]).items())
    await shell.engine.stop()
    assert await _dropped_by_finishing(shell, monkeypatch) == ([log_of("c1")], ["c1:k1"])
    assert await _dropped_by_finishing(shell, monkeypatch) == ([], [])


async def _hung_up(shell: Shell, leg: str) -> None:
    ended = LegEnded(leg=leg, at=shell.clock.now, cause=16, sip_code=0, answered=True, ringing=True, far_end=True)
    shell.engine.switchboard.hear(ended)
    await shell.settled()


@pytest.mark.parametrize(
    "error", [LogArchived("its folder is away"), ValueError("damaged"), Unreadable("from a newer one")]
)
async def test_nobodys_key_waits_for_a_log_that_cant_be_read(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = await new_shell()
    await shell.start()
    await shell.create()
    await shell.engine.add_contacts("c1", shell.contacts("c1:k1"))
    await shell.engine.submit("c1", Delete(at=shell.clock.now, by="m"))
    await shell.engine.direct(ErasePerson(at=1, by="m", contacts={"c1": ("c1:k1",)}))
    shell.clock.now += 2 * DAY_MS  # its attempts count no more

    def read(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(shell.store, "read", read)
    erasures = Erasures(shell.engine, lambda _: True)
    assert await erasures.finish() == 0
    assert not await shell.store.segments.keys(["c1:k1"])
    assert not erasures.pending
    await shell.engine.stop()


async def test_a_recording_that_stays_is_told_once() -> None:
    """the file is the operator's, and nobody's key waits for it"""
    shell, contact, recording = await _recorded()
    await shell.engine.direct(ErasePerson(at=1, by="m", contacts={"c1": (contact,)}))
    erasures = Erasures(shell.engine, lambda _: False)
    with structlog.testing.capture_logs() as said:
        assert await erasures.finish() == 0
    assert [one["recordings"] for one in said if one["log_level"] == "error"] == [[recording]]
    assert not erasures.pending
    await shell.engine.stop()


async def _recorded() -> tuple[Shell, str, str]:
    """A call that was recorded and is over: its contact, and the file's name."""
    shell = await new_shell()
    await shell.start()
    await shell.running(record=True)
    call = await shell.dial()
    await shell.hear_ready(call)
    shell.engine.switchboard.hear(LegRecorded(leg=call, at=shell.clock.now))
    await _hung_up(shell, call)
    recording = recording_of(shell.book().calls[call])[0]
    assert recording
    return shell, shell.book().calls[call].contact, recording


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_recordings_go_where_only_the_intent_stands_there(is_deleted: bool) -> None:
    shell, contact, recording = await _recorded()
    if is_deleted:
        await shell.engine.submit("c1", Stop(at=shell.clock.now, by="m", force=True))
        await _hung_up(shell, shell.book().agents["a1"].leg)
        await shell.engine.submit("c1", Delete(at=shell.clock.now, by="m"))
        assert "c1" not in shell.engine.campaigns
    await shell.engine.direct(ErasePerson(at=1, by="m", contacts={"c1": (contact,)}))
    removed: list[str] = []

    def remove(name: str) -> bool:
        removed.append(name)
        return True

    erasures = Erasures(shell.engine, remove)
    assert await erasures.finish() == 0
    assert removed == [recording]
    assert not erasures.pending
    await shell.engine.stop()


async def test_where_it_cant_be_noted_who_is_erased_they_are_erased_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = await new_shell()
    await shell.start()
    await shell.create()
    await shell.engine.add_contacts("c1", shell.contacts("c1:k1"))

    async def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(shell.store, "save_checkpoint", away)
    erasures = await _erased(shell, "c1:k1")
    assert not await shell.store.segments.keys(["c1:k1"])
    assert erasures.pending
    monkeypatch.undo()
    assert await erasures.finish() == 0
    assert not erasures.pending
    await shell.engine.stop()
    assert await _dropped_by_finishing(shell, monkeypatch) == ([], [])
