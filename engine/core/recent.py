"""When each line was dialled of late, in one campaign: what caps and cool-downs look back at.

Lines are kept in two generations, the younger one for as long as the last attempt is remembered: what nobody dialled again
by then goes with the older one, and nothing has to be looked for.
"""

from collections.abc import Iterable

import msgspec

DAY_MS = 86_400_000
REMEMBERED_MS = 31 * DAY_MS
"""How long, at least, the last attempt on a line is remembered: longer than any cool-down lasts."""
COUNTED_MS = 2 * DAY_MS
"""How long those before it are: longer than any cap looks back."""

Times = tuple[int, ...]
"""Attempts on a line, epoch ms, in the order in which they were made."""


class Recent(msgspec.Struct, array_like=True):
    """A line is `standing.line_of` a number."""

    begun_at: int = 0
    """Of the younger generation."""
    young: dict[str, Times] = {}
    old: dict[str, Times] = {}

    def add(self, line: str, at: int) -> None:
        if at - self.begun_at >= REMEMBERED_MS:
            self.begun_at, self.young, self.old = at, {}, self.young
        times = self.young.get(line) or self.old.pop(line, ())
        if times:
            newest = max(at, *times)
            times = tuple(one for one in times if one > newest - COUNTED_MS)
        self.young[line] = (*times, at)

    def times(self, line: str) -> Times:
        return self.young.get(line) or self.old.get(line, ())

    def forget(self, line: str, gone: Iterable[int]) -> bool:
        """Take attempts off a line; whether none is left there, though older ones of others may have been made."""
        left = list(self.times(line))
        for at in gone:
            if at in left:
                left.remove(at)
        self._put(line, tuple(left))
        return not left

    def recall(self, line: str, times: Iterable[int]) -> None:
        """The attempts on a line, in any order, instead of what was known of it."""
        known = sorted(times)
        self._put(line, tuple(one for one in known if one > known[-1] - COUNTED_MS))

    def _put(self, line: str, times: Times) -> None:
        self.young.pop(line, None)
        self.old.pop(line, None)
        if times:
            self.young[line] = times

    def still(self) -> "Recent":
        """As it is now."""
        return Recent(self.begun_at, self.young.copy(), self.old.copy())
