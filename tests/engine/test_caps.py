"""Caps over all campaigns, also over those that are gone."""

import pytest

from engine.core.campaign import Delete, Status, Stop
from engine.core.recent import DAY_MS
from engine.core.refusal import Refused, no_room
from engine.core.telephony import LegEnded
from engine.erasure import Erasures, Who
from tests.engine.shell import Shell, new_shell, started, until


async def _dialled_and_deleted(shell: Shell, ref: str) -> None:
    """A campaign that dialled its first contact once, and is no more."""
    await shell.running(ref)
    call = await shell.dial(ref)
    ended = LegEnded(leg=call, at=shell.clock.now, cause=17, sip_code=486, answered=False, ringing=True, far_end=True)
    shell.engine.switchboard.hear(ended)
    await shell.settled()
    agent = shell.book(ref).agents["a1"].leg
    await shell.engine.submit(ref, Stop(at=shell.clock.now, by="m"))
    gone = LegEnded(leg=agent, at=shell.clock.now, cause=16, sip_code=0, answered=True, ringing=True, far_end=False)
    shell.engine.switchboard.hear(gone)
    await until(lambda: shell.book(ref).campaign.status is Status.STOPPED)
    await shell.engine.submit(ref, Delete(at=shell.clock.now, by="m"))


async def test_EX_08_attempts_of_a_deleted_campaign_count_once_and_for_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a campaign that is deleted, and an engine that dies before it lets go of it
    shell = await new_shell()
    shell.clock.now = 40 * DAY_MS
    async with started(shell):
        retire = shell.engine._retire

        async def never(ref: str) -> None:
            raise no_room("busy", ref)

        monkeypatch.setattr(shell.engine, "_retire", never)
        with pytest.raises(Refused):
            await _dialled_and_deleted(shell, "c1")
        monkeypatch.setattr(shell.engine, "_retire", retire)
        standing = shell.engine.claims.standing
        assert standing.attempts("5550", 0) == 1
        await retire("c1")
        assert standing.attempts("5550", 0) == 1

    again = shell.again()
    async with started(again):
        standing = again.engine.claims.standing
        assert standing.attempts("5550", 0) == 1

        # when others are deleted, and a month has gone by
        for ref, days in (("c2", 1), ("c3", 40)):
            again.clock.now += days * DAY_MS
            standing.retire(ref, again.clock.now)
            # then
            assert (standing.last_attempt("5550") > 0) is (days == 1)


async def test_TF_32_who_is_erased_counts_no_more_where_the_campaign_is_gone_too() -> None:
    shell = await new_shell()
    shell.clock.now = 40 * DAY_MS
    async with started(shell):
        await _dialled_and_deleted(shell, "c1")
        standing = shell.engine.claims.standing
        assert standing.attempts("5550", 0) == 1
        await Erasures(shell.engine, lambda _: True).erase(Who(contact="c1:k1"), "m", False, False)
        assert standing.attempts("5550", 0) == 0
        assert "5550" not in repr(standing.gone)


async def test_EX_08_attempts_of_a_deleted_campaign_count_after_a_restart() -> None:
    shell = await new_shell()
    shell.clock.now = 40 * DAY_MS
    async with started(shell):
        await _dialled_and_deleted(shell, "c1")

    again = shell.again()
    async with started(again):
        await again.running("c2", number_attempts_per_day=1)
        with pytest.raises(Refused, match="1 attempts on the number"):
            await again.dial("c2")

    later = shell.again()
    later.clock.now += 2 * DAY_MS
    async with started(later):
        assert later.engine.claims.standing.attempts("5550", 0) == 0  # nobody looks back so far: not even read
