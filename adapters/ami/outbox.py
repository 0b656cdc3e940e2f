"""What waits to be sent: bridges, hang-ups and questions first, originates at their pace. Pure: time is an argument.

All originates share one pace. Contacts' go first, for an agent waits on each; agents' come in crowds, as many as there are
agents when a campaign starts, and have room of their own.
"""

from collections import OrderedDict, deque

from adapters.ami.settings import AGENTS_WAITING_MAX_ORIGINATES, URGENT_MAX_ACTIONS
from engine.core.telephony import BridgeLegs, HangUp, OriginateAgent, OriginateContact, Settle

Originate = OriginateAgent | OriginateContact
Urgent = BridgeLegs | HangUp | Settle
BURST_MS = 100
"""Originates saved up while idle go out at once, up to what this time allows."""


class Waiting:
    """Originates of one kind by their legs, oldest first: a leg is here, and sent, once at most."""

    def __init__(self, max_originates: int) -> None:
        self._max_originates = max_originates
        self._by_leg: OrderedDict[str, Originate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_leg)

    def __contains__(self, leg: str) -> bool:
        return leg in self._by_leg

    def put(self, effect: Originate) -> bool:
        if effect.leg not in self._by_leg and len(self._by_leg) >= self._max_originates:
            return False
        self._by_leg.setdefault(effect.leg, effect)
        return True

    def take(self) -> Originate | None:
        return self._by_leg.popitem(last=False)[1] if self._by_leg else None

    def withdraw(self, leg: str) -> Originate | None:
        return self._by_leg.pop(leg, None)

    def clear(self) -> tuple[Originate, ...]:
        unsent = tuple(self._by_leg.values())
        self._by_leg.clear()
        return unsent


class Outbox:
    def __init__(self, max_originates_per_second: int, max_pending_contacts: int) -> None:
        self._rate = max_originates_per_second
        self._burst = max(1.0, max_originates_per_second * BURST_MS / 1000)
        self._tokens = self._burst
        self._refilled_at = 0.0
        self._urgent: deque[Urgent] = deque()
        self._contacts = Waiting(max_pending_contacts)
        self._agents = Waiting(AGENTS_WAITING_MAX_ORIGINATES)

    def put(self, effect: Originate | Urgent) -> bool:
        """False where no room is left. Urgent ones have room of their own."""
        match effect:
            case OriginateContact():
                return self._contacts.put(effect)
            case OriginateAgent():
                return self._agents.put(effect)
            case BridgeLegs() | HangUp() | Settle() if len(self._urgent) >= URGENT_MAX_ACTIONS:
                return False
            case BridgeLegs() | HangUp() | Settle():
                self._urgent.append(effect)
                return True

    def take(self, now_s: float) -> Originate | Urgent | None:
        """The next that may go now."""
        if self._urgent:
            return self._urgent.popleft()
        if not self.has_originates or self.wait_s(now_s) > 0:
            return None
        self._tokens -= 1
        return self._contacts.take() or self._agents.take()

    def wait_s(self, now_s: float) -> float:
        """Until an originate may go."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._refilled_at) * self._rate)
        self._refilled_at = now_s
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate

    def withdraw(self, leg: str) -> Originate | None:
        """Take back an originate that still waits: what was not sent need not be hung up."""
        return self._contacts.withdraw(leg) or self._agents.withdraw(leg)

    def has_agent(self, leg: str) -> bool:
        """Whether an agent's originate still waits."""
        return leg in self._agents

    def clear(self) -> tuple[Originate, ...]:
        """Empty it; the originates that will now never be sent."""
        self._urgent.clear()
        return (*self._contacts.clear(), *self._agents.clear())

    @property
    def is_empty(self) -> bool:
        return not (self._urgent or self._contacts or self._agents)

    @property
    def has_originates(self) -> bool:
        return bool(self._contacts) or bool(self._agents)
