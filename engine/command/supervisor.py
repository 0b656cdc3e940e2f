"""Tells the supervisor that started the service how it is, by systemd's notify protocol; without one it tells nobody."""

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger("ringfold")


class Supervisor:
    """`address` is the datagram socket to tell, `@…` in the abstract namespace; `watchdog_s` how long it waits for a sign."""

    def __init__(self, address: str, watchdog_s: float) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Supervisor":
        usec = environment.get("WATCHDOG_USEC", "0")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(usec) / 1_000_000 if usec.isdigit() and mine else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def tell(self, state: str) -> None:
        """READY=1, STOPPING=1, WATCHDOG=1 or STATUS=… ."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as told:
                told.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("the supervisor can't be told", error=str(error))

    async def keep_watch(self) -> None:
        """A sign of life from the loop itself, twice in the time that the supervisor waits: a loop that hangs gives none."""
        while self._watchdog_s:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)
