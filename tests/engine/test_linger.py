"""The engine while some of what it decided isn't written yet: killed, stopped, copied, read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.campaigns import log_of
from engine.core.call import CallStatus
from engine.core.campaign import Modify
from engine.core.message import Skip
from engine.core.outcome import Outcome
from engine.core.telephony import (
    BridgeLegs,
    LegCreated,
    LegEnded,
    LegReady,
    LegRinging,
    OriginateContact,
    Settle,
    TelephonyEffect,
)
from engine.limits import Limits
from engine.ports import Recorded
from engine.recovery import SNAPSHOT, kept, replay
from tests.engine.shell import Shell, new_shell, started, until

LONG_MS = 60_000


async def _lingering() -> tuple[Shell, str]:
    """A call that rings, of which the log has only that it was asked for."""
    shell = await new_shell(Limits(linger_ms=LONG_MS))
    await shell.start()
    await shell.running()
    call = await shell.dial()
    hear_ringing(shell, call)
    await asyncio.sleep(0.01)
    return shell, call


def hear_ringing(shell: Shell, call: str) -> None:
    shell.engine.switchboard.hear(LegCreated(leg=call, at=shell.clock.now, channel=f"PJSIP/{call}"))
    shell.engine.switchboard.hear(LegRinging(leg=call, at=shell.clock.now))


async def written(shell: Shell) -> bytes:
    return (await replay(shell.store.read(log_of("c1")))).canonical()


async def up_to(shell: Shell, pos: int) -> AsyncIterator[list[Recorded]]:
    async for batch in shell.store.read(log_of("c1")):
        yield [one for one in batch if one.pos <= pos]


async def test_EX_02_a_call_whose_ringing_was_not_written_is_found_again_after_a_crash_and_never_redialled() -> None:
    shell, call = await _lingering()
    assert shell.book().calls[call].status is CallStatus.RINGING
    assert (await replay(shell.store.read(log_of("c1")))).calls[call].status is CallStatus.REQUESTED
    agent = shell.book().agents["a1"].leg

    again = shell.again()  # the first one is never heard of again
    async with started(again, again.seen(agent), again.seen(call)):
        assert again.book().calls[call].status is CallStatus.CONNECTED
        assert [one.leg for one in again.pbx.all(BridgeLegs)] == [call]
        assert again.pbx.all(OriginateContact) == []
        assert await written(again) == again.book().canonical()


async def test_what_is_given_up_is_written_at_once_so_that_others_can_have_what_they_see_is_free() -> None:
    shell, call = await _lingering()
    ended = LegEnded(leg=call, at=shell.clock.now, cause=17, sip_code=486, answered=False, ringing=True, far_end=True)
    shell.engine.switchboard.hear(ended)
    await until(lambda: "a1" not in shell.engine.claims.busy)
    assert (await replay(shell.store.read(log_of("c1")))).calls[call].outcome is Outcome.BUSY
    await shell.engine.stop()


async def test_EX_02_a_call_of_which_something_was_not_written_is_asked_after() -> None:
    shell, call = await _lingering()
    agent = shell.book().agents["a1"].leg

    again = shell.again()
    async with started(again, again.seen(agent)):
        assert [one.leg for one in again.pbx.all(Settle)] == [call]
        assert again.pbx.all(OriginateContact) == []


async def test_EX_02_nobody_is_joined_before_all_that_was_heard_of_the_call_is_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell, call = await _lingering()
    log: list[str] = []
    shell.engine.followers.append(lambda _, recorded: log.extend(type(one.event).__name__ for one in recorded))
    perform = shell.pbx.perform

    def noted(effect: TelephonyEffect) -> None:
        log.append(type(effect).__name__)
        perform(effect)

    monkeypatch.setattr(shell.pbx, "perform", noted)

    shell.engine.switchboard.hear(LegReady(leg=call, at=shell.clock.now, channel=f"PJSIP/{call}"))

    await until(lambda: bool(shell.pbx.all(BridgeLegs)))
    assert log == ["CallPlaced", "CallRinging", "CallConnected", "BridgeLegs"]
    await shell.engine.stop()


async def test_who_stops_writes_down_what_lingers_first() -> None:
    shell, call = await _lingering()
    async with asyncio.timeout(5):
        await shell.engine.stop()
    assert (await replay(shell.store.read(log_of("c1")))).calls[call].status is CallStatus.RINGING
    assert await written(shell) == shell.book().canonical()


async def test_a_snapshot_that_is_begun_while_it_stops_goes_on_no_longer_than_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell, call = await _lingering()
    begun = list[int]()

    async def for_ever(_name: str, _log: str, pos: int, _parts: object) -> None:
        begun.append(pos)
        await asyncio.Event().wait()

    monkeypatch.setattr(shell.store, "save_snapshot", for_ever)
    monkeypatch.setattr(shell.engine.campaigns["c1"].snapshots, "_every", lambda _contacts: 1)
    async with asyncio.timeout(5):
        await shell.engine.stop()
    assert begun, call
    assert not [one.get_name() for one in asyncio.all_tasks() if one.get_name().startswith("snapshot")]


async def test_draining_ends_with_the_last_call_and_its_end_is_written() -> None:
    shell, call = await _lingering()
    draining = asyncio.ensure_future(shell.engine.drain(LONG_MS))
    shell.engine.switchboard.hear(
        LegEnded(leg=call, at=shell.clock.now, cause=17, sip_code=486, answered=False, ringing=True, far_end=True)
    )
    assert await asyncio.wait_for(draining, 5)
    await shell.engine.stop()
    assert (await replay(shell.store.read(log_of("c1")))).calls[call].outcome is Outcome.BUSY


async def test_a_snapshot_says_what_the_log_says_at_its_position_and_no_more() -> None:
    shell = await new_shell(Limits(linger_ms=LONG_MS, snapshot_every_events=1, snapshot_every_contacts=0))
    async with started(shell):
        await shell.running()
        for _ in range(3):
            call = await shell.dial()
            hear_ringing(shell, call)
            await asyncio.sleep(0.01)
            await shell.engine.submit("c1", Modify(at=shell.clock.now, by="test", name=call))
            hear_ringing(shell, call)
            shell.engine.switchboard.hear(
                LegEnded(
                    leg=call, at=shell.clock.now, cause=17, sip_code=486, answered=False, ringing=True, far_end=True
                )
            )
            await until(lambda: not shell.engine.campaigns["c1"].snapshots.is_busy)
            saved = await kept(shell.store, log_of("c1"))
            assert saved is not None, SNAPSHOT
            book, pos = saved
            assert book.canonical() == (await replay(up_to(shell, pos))).canonical()
            held = shell.book().reservations[shell.book().agents["a1"].reservation]
            skip = Skip(at=shell.clock.now, agent="a1", reservation=held.id, token=held.token, reason="")
            await shell.engine.submit("c1", skip)
