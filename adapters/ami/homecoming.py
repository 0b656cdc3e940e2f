"""Contacts whose agent's leg is still on its way back to the holding bridge.

A contact's end is told before the agent's leg is home, and under load the way takes its time: half a second was seen in one
holding bridge for all. A Bridge in that time is refused, and the contact who has just answered would be hung up; or it pulls
the leg out of its dialplan, and the leg may be hung up after the talk. So what joins the two waits for the leg's BridgeEnter.
"""

import asyncio
from collections.abc import Callable

import structlog

from adapters.ami.settings import HOMECOMING_MAX_MS
from adapters.ami.translate import LegTracker
from engine.core.telephony import BridgeLegs

log = structlog.get_logger(__name__)


class Homecoming:
    def __init__(self, tracker: LegTracker, send: Callable[[BridgeLegs], None]) -> None:
        self._tracker = tracker
        self._send = send
        self._waiting: dict[str, tuple[BridgeLegs, asyncio.TimerHandle]] = {}
        """By the agent's leg; it serves one contact at a time."""

    def keeps(self, effect: BridgeLegs) -> bool:
        """Keep the effect if it has to wait, in the place of who waited before; False: it may go at once.

        It is sent as soon as it needn't wait, and after HOMECOMING_MAX_MS in any case. A contact who is gone, and may have been
        overtaken by the next one, waits for nobody.
        """
        if effect.leg not in self._tracker or not self._tracker.is_away(effect.agent_leg):
            return False
        self._drop(effect.agent_leg)
        due = asyncio.get_running_loop().call_later(HOMECOMING_MAX_MS / 1000, self._overdue, effect.agent_leg)
        self._waiting[effect.agent_leg] = effect, due
        return True

    def look(self, leg: str) -> None:
        """Something was heard of this leg: who waits for it may go if it came home, or ended."""
        if leg in self._waiting and not self._tracker.is_away(leg):
            effect = self._drop(leg)
            assert effect is not None
            self._send(effect)

    def withdraw(self, contact: str) -> None:
        """The contact's leg ended, or is to end."""
        for agent, (effect, _) in tuple(self._waiting.items()):
            if effect.leg == contact:
                self._drop(agent)

    def clear(self) -> None:
        """The connection is down: the engine asks again when it is back."""
        for agent in tuple(self._waiting):
            self._drop(agent)

    def _overdue(self, agent: str) -> None:
        log.warning("ami.not_home", leg=agent, waited_ms=HOMECOMING_MAX_MS)
        self._tracker.came_home(agent)  # a message less than we counted on must not keep the two apart
        self.look(agent)

    def _drop(self, agent: str) -> BridgeLegs | None:
        effect, due = self._waiting.pop(agent, (None, None))
        if due is not None:
            due.cancel()
        return effect
