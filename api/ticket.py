"""Tickets: for one stream each, opened soon. A browser's EventSource can't send a token, and an address is no place for one.

They live in this process alone. After a restart, or once used, a page asks for another with its token.
"""

import secrets
from typing import NamedTuple

from api.token import Principal

LIVES_MS = 30_000
MAX_TICKETS = 10_000
"""Given out and not used yet; the oldest go first."""
BYTES = 24


class Ticket(NamedTuple):
    """What it opens: the stream of one campaign ("" for all) and of some types, for whoever asked."""

    principal: Principal
    campaign: str
    types: str
    expires_at: int


class Tickets:
    def __init__(self) -> None:
        self._given: dict[str, Ticket] = {}

    def give(self, principal: Principal, campaign: str, types: str, now: int) -> tuple[str, int]:
        """A ticket, and when it expires (epoch ms)."""
        self._given = {name: one for name, one in self._given.items() if one.expires_at > now}
        while len(self._given) >= MAX_TICKETS:
            del self._given[next(iter(self._given))]
        name, expires_at = secrets.token_urlsafe(BYTES), now + LIVES_MS
        self._given[name] = Ticket(principal, campaign, types, expires_at)
        return name, expires_at

    def use(self, name: str, now: int) -> Ticket | None:
        """Once: whoever comes second with it has none."""
        found = self._given.pop(name, None)
        return found if found is not None and found.expires_at > now else None
