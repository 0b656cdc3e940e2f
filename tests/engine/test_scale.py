"""What one attempt takes hardly hangs on how many contacts there are: counted in lines of Python, not in time."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import engine
import eventstore
from engine.core.contact import NewContact
from engine.core.message import AddContacts, Dispose
from engine.core.personal import Details, Person
from engine.core.telephony import LegCreated, LegEnded, LegRinging
from engine.limits import Limits
from tests.engine.shell import Shell, new_shell, started

CHUNK = 1_000
WARM, ATTEMPTS = 5, 20
PARTS = tuple(str(Path(one.__file__ or "").parent) for one in (engine, eventstore))


class Lines:
    """Those that the engine and the store run between `start` and `stop`."""

    def __init__(self) -> None:
        self.count = 0
        self._before: Any = None

    def start(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._entered)

    def stop(self) -> None:
        sys.settrace(self._before)

    def _entered(self, frame: FrameType, _event: str, _of: Any) -> Any:
        return self._ran if frame.f_code.co_filename.startswith(PARTS) else None

    def _ran(self, _frame: FrameType, event: str, _of: Any) -> Any:
        self.count += event == "line"
        return self._ran


async def _attempt(shell: Shell) -> None:
    """The next contact, who is busy, and is to be tried again later."""
    held = await shell.next()
    call = await shell.dial_held(held)
    now = shell.clock.now = shell.clock.now + 1_000
    shell.engine.switchboard.hear(LegCreated(leg=call, at=now, channel=f"PJSIP/{call}"))
    shell.engine.switchboard.hear(LegRinging(leg=call, at=now))
    shell.engine.switchboard.hear(
        LegEnded(leg=call, at=now, cause=17, sip_code=486, answered=False, ringing=True, far_end=True)
    )
    await shell.settled()
    dispose = Dispose(at=now, agent="a1", reservation=held.id, token=held.token, disposition="try_later")
    await shell.engine.submit("c1", dispose)


async def _lines_for(contacts: int) -> float:
    """For an attempt, in a campaign of so many contacts."""
    shell = await new_shell(Limits(snapshot_every_events=1_000_000, linger_ms=0))
    async with started(shell):
        await shell.running()
        for first in range(0, contacts, CHUNK):
            new = tuple(
                NewContact(f"c1:n{place}", Person(f"c1:n{place}", Details(numbers=(f"7{place:07}",))))
                for place in range(first, first + CHUNK)
            )
            await shell.engine.add_contacts("c1", AddContacts(at=shell.clock.now, by="m", contacts=new))
        for _ in range(WARM):
            await _attempt(shell)
        lines = Lines()
        lines.start()
        try:
            for _ in range(ATTEMPTS):
                await _attempt(shell)
        finally:
            lines.stop()
    return lines.count / ATTEMPTS


async def test_EX_12_an_attempt_takes_hardly_more_of_fifty_times_the_contacts() -> None:
    few, many = await _lines_for(1_000), await _lines_for(50_000)
    assert few > 500  # or nothing was counted
    assert many < 1.1 * few
