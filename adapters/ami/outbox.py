"""What waits to be sent: bridges, hang-ups and questions first, originates at their pace. Pure: time is an argument."""

from collections import deque

from adapters.ami.settings import URGENT_MAX_ACTIONS
from engine.core.telephony import BridgeLegs, HangUp, OriginateAgent, OriginateContact, Settle

Originate = OriginateAgent | OriginateContact
Urgent = BridgeLegs | HangUp | Settle
BURST_MS = 100
"""Originates saved up while idle go out at once, up to what this time allows."""


class Outbox:
    def __init__(self, max_originates_per_second: int, max_pending_originates: int) -> None:
        self._rate = max_originates_per_second
        self._burst = max(1.0, max_originates_per_second * BURST_MS / 1000)
        self._tokens = self._burst
        self._refilled_at = 0.0
        self._max_originates = max_pending_originates
        self._urgent: deque[Urgent] = deque()
        self._originates: deque[Originate] = deque()

    def put(self, effect: Originate | Urgent) -> bool:
        """False where no room is left. Urgent ones have room of their own."""
        if isinstance(effect, OriginateAgent | OriginateContact):
            if len(self._originates) >= self._max_originates:
                return False
            self._originates.append(effect)
        else:
            if len(self._urgent) >= URGENT_MAX_ACTIONS:
                return False
            self._urgent.append(effect)
        return True

    def take(self, now_s: float) -> Originate | Urgent | None:
        """The next that may go now."""
        if self._urgent:
            return self._urgent.popleft()
        if not self._originates or self.wait_s(now_s) > 0:
            return None
        self._tokens -= 1
        return self._originates.popleft()

    def wait_s(self, now_s: float) -> float:
        """Until an originate may go."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._refilled_at) * self._rate)
        self._refilled_at = now_s
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate

    def withdraw(self, leg: str) -> Originate | None:
        """Take back an originate that still waits: what was not sent need not be hung up."""
        for effect in self._originates:
            if effect.leg == leg:
                self._originates.remove(effect)
                return effect
        return None

    def clear(self) -> tuple[Originate, ...]:
        """Empty it; the originates that will now never be sent."""
        unsent = tuple(self._originates)
        self._originates.clear()
        self._urgent.clear()
        return unsent

    @property
    def has_originates(self) -> bool:
        return bool(self._originates)
