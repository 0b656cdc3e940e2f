"""When each line was dialled of late, in one campaign: what caps and cool-downs look back at.

Lines are kept in two generations, the younger one for as long as the last attempt is remembered: what nobody dialled again
by then goes with the older one, and nothing has to be looked for.
"""

from collections.abc import Iterable

import msgspec

from engine.core.blocks import Blocks
from engine.core.table import Index

DAY_MS = 86_400_000
REMEMBERED_MS = 31 * DAY_MS
"""How long, at least, the last attempt on a line is remembered: longer than any cool-down lasts."""
COUNTED_MS = 2 * DAY_MS
"""How long those before it are: longer than any cap looks back."""

Times = list[int]
"""Attempts on a line, epoch ms, in the order in which they were made."""


class StillRecent(msgspec.Struct, frozen=True):
    """What was remembered at one moment: buckets, as `table` has them."""

    young: Blocks
    old: Blocks
    begun_at: int


class Recent:  # noqa: PLW1641 - it has no hash, as nothing that changes has
    """A line is `standing.line_of` a number."""

    def __init__(self, still: StillRecent | None = None) -> None:
        """`still`: what was remembered; its parts are this one's from now on."""
        self._begun_at = still.begun_at if still is not None else 0
        """Of the younger generation."""
        self._young = _table(still.young if still is not None else None)
        self._old = _table(still.old if still is not None else None)

    def __len__(self) -> int:
        """How many attempts are remembered."""
        return len(self._young) + len(self._old)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recent) and (self._begun_at, self._young, self._old) == (
            other._begun_at,
            other._young,
            other._old,
        )

    def add(self, line: str, at: int) -> None:
        if at - self._begun_at >= REMEMBERED_MS:
            self._begun_at, self._young, self._old = at, _table(), self._young
        times = self._young.numbers(line)
        if not times and (times := self._old.numbers(line)):
            self._put(line, times)
        newest = max([at, *times])
        for one in times:
            if one <= newest - COUNTED_MS:
                self._young.drop_number(line, one)
        self._young.add_number(line, at)

    def has(self, name: bytes, number: int) -> bool:
        """Whether there are attempts on a line, of which that is the `table.digest`."""
        return self._young.has(name, number) or self._old.has(name, number)

    def times(self, line: str) -> Times:
        return self._young.numbers(line) or self._old.numbers(line)

    def forget(self, line: str, gone: Iterable[int]) -> bool:
        """Take attempts off a line; whether none is left there, though older ones of others may have been made."""
        left = self.times(line)
        for at in gone:
            if at in left:
                left.remove(at)
        self._put(line, left)
        return not left

    def recall(self, line: str, times: Iterable[int]) -> None:
        """The attempts on a line, in any order, instead of what was known of it."""
        known = sorted(times)
        self._put(line, [one for one in known if one > known[-1] - COUNTED_MS])

    def _put(self, line: str, times: Iterable[int]) -> None:
        for table in (self._young, self._old):
            while table.drop(line):
                pass
        for at in times:
            self._young.add_number(line, at)

    def open_some(self) -> bool:
        """Some that are packed since a start. Whether there were any."""
        return self._young.open_some() or self._old.open_some()

    def still(self) -> StillRecent:
        """As it is now."""
        return StillRecent(self._young.still(), self._old.still(), self._begun_at)


def _table(blocks: Blocks | None = None) -> Index:
    return Index(8, blocks)
