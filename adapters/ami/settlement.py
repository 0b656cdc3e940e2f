"""Questions about single legs, from the delay before they are asked to their one answer.

Absence is believed late: the PBX's answers overtake its events, so the Hangup of a leg that is gone may still be on
its way. Only then is CEL asked, if there is one, and only after that is the leg called absent.
"""

import asyncio
from collections.abc import Callable

import structlog

from adapters.ami import cel
from adapters.ami.settings import ABSENCE_GRACE_MS
from adapters.ami.translate import LegTracker, seen
from adapters.ami.wire import Message
from engine.core.telephony import LegAbsent, LegEnded, LegObservation, Settle

log = structlog.get_logger(__name__)

NO_SUCH_CHANNEL = "no such channel"


class Settlement:
    def __init__(
        self, cel_path: str, tracker: LegTracker, emit: Callable[[LegObservation], None], now_ms: Callable[[], int]
    ) -> None:
        self._cel_path = cel_path
        self._tracker = tracker
        self._emit = emit
        self._now_ms = now_ms
        self._delays: dict[str, asyncio.TimerHandle] = {}
        self._graces: dict[str, asyncio.TimerHandle] = {}
        self._absent: set[str] = set()
        """Legs to be looked up; all that gather while the file is being read share the next reading."""
        self._reading: asyncio.Task[None] | None = None

    def after(self, effect: Settle, ask: Callable[[], None]) -> None:
        """Ask once the delay is over. A later question about the same leg replaces the earlier one."""

        def due() -> None:
            self._delays.pop(effect.leg, None)
            ask()

        self._cancel(self._delays, effect.leg)
        self._delays[effect.leg] = asyncio.get_running_loop().call_later(max(0, effect.delay_ms) / 1000, due)

    def status(self, message: Message) -> None:
        """The channel lives."""
        if (leg := seen(message, self._now_ms())) is not None:
            self._tracker.adopt(leg)
            self._emit(leg)

    def answered(self, leg: str, answer: Message) -> None:
        """The Response to `Status`; of a living channel its line follows as an event."""
        if answer.get("response") != "Error":
            return
        if answer.get("message", "").lower() != NO_SUCH_CHANNEL:
            log.error("ami.status_refused", leg=leg, message=answer.get("message"))
            return
        self._cancel(self._graces, leg)
        loop = asyncio.get_running_loop()
        self._graces[leg] = loop.call_later(ABSENCE_GRACE_MS / 1000, self._missing, leg)

    def appeared(self, leg: str) -> bool:
        """Its channel was made. True where it was just found missing: the question is open, and to be asked again."""
        is_missing = leg in self._graces or leg in self._absent
        self._cancel(self._graces, leg)
        self._absent.discard(leg)
        return is_missing

    def ended(self, leg: str) -> None:
        """Its Hangup came: nothing is left to ask."""
        self._cancel(self._delays, leg)
        self._cancel(self._graces, leg)
        self._absent.discard(leg)

    def clear(self) -> None:
        """The connection is down: the engine asks again when it is back."""
        for timers in (self._delays, self._graces):
            for leg in tuple(timers):
                self._cancel(timers, leg)
        self._absent.clear()

    async def close(self) -> None:
        self.clear()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    def _missing(self, leg: str) -> None:
        self._graces.pop(leg, None)
        if not self._cel_path:
            self._gone(LegAbsent(leg=leg, at=self._now_ms()))
            return
        self._absent.add(leg)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="ami-cel")

    async def _read(self) -> None:
        try:
            while self._absent:
                legs = frozenset(self._absent)
                endings: dict[str, LegEnded] = {}
                try:
                    endings = await asyncio.to_thread(cel.endings, self._cel_path, legs, self._now_ms())
                except OSError:
                    log.exception("ami.cel_unreadable")
                for leg in legs & self._absent:  # the others were cleared or ended meanwhile
                    self._absent.discard(leg)
                    self._gone(endings.get(leg) or LegAbsent(leg=leg, at=self._now_ms()))
        finally:
            self._reading = None

    def _gone(self, observation: LegAbsent | LegEnded) -> None:
        self._tracker.forget(observation.leg)
        self._emit(observation)

    @staticmethod
    def _cancel(timers: dict[str, asyncio.TimerHandle], leg: str) -> None:
        if (timer := timers.pop(leg, None)) is not None:
            timer.cancel()
