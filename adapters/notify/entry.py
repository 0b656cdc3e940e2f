"""One notification in its place, not yet rendered: personal details are looked up only when it is read."""

from itertools import islice

import msgspec

from adapters.notify.notification import Fact


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`n` is its feed position, `pos` its event's position in the campaign's log."""

    n: int
    log: str
    campaign: str
    seq: int
    pos: int
    fact: Fact

    def fits(self, campaign: str, types: frozenset[str]) -> bool:
        return (not campaign or self.campaign == campaign) and (not types or self.fact.type in types)


class Recent:
    """The newest entries, by feed position: a ring."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ring: list[Entry | None] = [None] * size
        self.first = 1
        """The oldest feed position that is still here; behind `last` where there is none."""
        self.last = 0

    def begin(self, position: int) -> None:
        """Entries will come from behind `position`."""
        self.first, self.last = position + 1, position

    def put(self, entry: Entry) -> None:
        self._ring[entry.n % self._size] = entry
        self.last = entry.n
        self.first = max(self.first, entry.n - self._size + 1)

    def of_log(self, name: str, first: int, limit: int) -> list[Entry]:
        """Up to so many entries of a log from a feed position on, which is here."""
        entries = (self._ring[n % self._size] for n in range(first, self.last + 1))
        return list(islice((one for one in entries if one is not None and one.log == name), limit))

    def page(self, after: int, until: int) -> list[Entry]:
        """Entries behind `after` up to `until`, both within what is here."""
        found = (self._ring[n % self._size] for n in range(after + 1, min(until, self.last) + 1))
        return [one for one in found if one is not None]
