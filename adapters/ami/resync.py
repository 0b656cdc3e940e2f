"""What lives at the PBX, asked after every (re)connect, while events already flow and wait their turn.

AMI never replays. Of a leg that isn't listed the PBX says nothing here: the engine has each of its own settled.
"""

import asyncio

import msgspec

from adapters.ami.client import AmiClient
from adapters.ami.settings import (
    BOOT_WAIT_MS,
    LISTED_MAX_CHANNELS,
    RESYNC_BUFFER_MAX_EVENTS,
    RESYNC_TIMEOUT_MS,
    UPTIME_MAX_DIGITS,
)
from adapters.ami.translate import audio_bridges, seen
from adapters.ami.wire import Message
from engine.core.telephony import LegSeen


class ResyncFailed(Exception):
    """The PBX let itself be asked but gave no list: this connection is of no use."""


class Snapshot(msgspec.Struct, frozen=True):
    """`startup` names the PBX's own start; `uptime_s` is None where the login isn't told."""

    statuses: tuple[Message, ...]
    startup: str
    uptime_s: int | None

    def legs(self, at: int) -> tuple[LegSeen, ...]:
        bridges = audio_bridges(list(self.statuses))
        legs = (seen(status, at, bridges) for status in self.statuses)
        return tuple(leg for leg in legs if leg is not None)


def is_restarted(before: str, startup: str, uptime_s: int | None, outage_s: float | None) -> bool:
    """Whether the PBX started after the connection was lost. `before`, `startup`: its start as told then and now.

    The same start is no restart, to the second in which it is printed: one missed so is settled leg by leg. Another
    start may only be another time zone, so the uptime decides where the login is told it.
    """
    if outage_s is None or (before and before == startup):
        return False  # of a first connection nothing was lost
    if uptime_s is not None:
        return uptime_s <= outage_s
    return bool(before and startup)


class Resync:
    """Collects while it asks. `take` gets every event of the connection until the snapshot has been used."""

    def __init__(self, client: AmiClient) -> None:
        loop = asyncio.get_running_loop()
        self.buffer: list[Message] = []
        self._client = client
        self._status_id = ""
        self._statuses: list[Message] = []
        self._booted: asyncio.Future[int] = loop.create_future()
        self._complete: asyncio.Future[None] = loop.create_future()

    def take(self, message: Message) -> None:
        match message.get("event"):
            case "FullyBooted":
                if not self._booted.done():
                    uptime = message.get("uptime", "")
                    is_told = len(uptime) <= UPTIME_MAX_DIGITS and uptime.isascii() and uptime.isdigit()
                    self._booted.set_result(int(uptime) if is_told else -1)
            case "Status" if message.get("actionid") == self._status_id:
                if len(self._statuses) < LISTED_MAX_CHANNELS:
                    self._statuses.append(message)
                else:
                    self.fail("more channels than can be")
            case "StatusComplete" if message.get("actionid") == self._status_id:
                if not self._complete.done():
                    self._complete.set_result(None)
            case _ if len(self.buffer) >= RESYNC_BUFFER_MAX_EVENTS:
                self.fail("more events than can wait")
            case _:
                self.buffer.append(message)

    def fail(self, reason: str) -> None:
        if not self._complete.done():
            self._complete.set_exception(ResyncFailed(reason))
            self._complete.exception()

    async def run(self) -> Snapshot:
        """Raises ResyncFailed, Unanswered, NotConnected or TimeoutError; the connection is to be dropped then."""
        async with asyncio.timeout(RESYNC_TIMEOUT_MS / 1000):
            await asyncio.wait(
                (self._booted, self._complete), timeout=BOOT_WAIT_MS / 1000, return_when="FIRST_COMPLETED"
            )
            core = await self._client.ask({"Action": "CoreStatus"})
            self._status_id = self._client.new_id()
            answer = await self._client.ask({"Action": "Status"}, self._status_id)
            if answer.get("response") == "Success":
                await self._complete
            elif not answer.get("message", "").startswith("No "):  # an empty list may come as "No such…"
                raise ResyncFailed(answer.get("message", ""))
        startup = f"{core.get('corestartupdate', '')} {core.get('corestartuptime', '')}".strip()
        uptime = self._booted.result() if self._booted.done() else -1
        return Snapshot(tuple(self._statuses), startup, uptime if uptime >= 0 else None)
