"""When agents work: spells of a day, on the clock of the world's own hour 0, 08:00 UTC."""

import re
from typing import Any

import msgspec

DAY_BEGINS_S = 8 * 3_600
"""What the clock shows when a world begins."""
SPELL = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")


class Shift(msgspec.Struct, frozen=True):
    """Spells of work, in seconds since the world began, each from its first to before its last."""

    spells_s: tuple[tuple[int, int], ...]

    def wait_s(self, now_s: float) -> float:
        """How long until the next work: 0 in a spell; infinite when there is none left."""
        return next((max(0.0, begins - now_s) for begins, ends in self.spells_s if now_s < ends), float("inf"))


def read_shift(text: str) -> Shift:
    """`08:00-12:00 13:00-17:30`, in order. Raises ValueError that says what is wrong."""
    spells: list[tuple[int, int]] = []
    for word in text.split():
        found = SPELL.fullmatch(word)
        if not found:
            raise ValueError(f"{word!r} is no spell such as 08:00-12:30")
        hours = [int(one) for one in found.groups()]
        begins, ends = (hours[at] * 3_600 + hours[at + 1] * 60 - DAY_BEGINS_S for at in (0, 2))
        if begins < (spells[-1][1] if spells else 0) or ends <= begins:
            raise ValueError(f"{word!r} begins before 08:00 or the spell before it ends, or ends before it begins")
        spells.append((begins, ends))
    if not spells:
        raise ValueError("a shift has at least one spell such as 08:00-12:30")
    return Shift(tuple(spells))


ALWAYS = Shift(((0, 10**9),))


def shift_of(place: int, shifts: Any) -> Shift:
    """The shifts are given to the agents in turn."""
    return read_shift(shifts[place % len(shifts)]) if shifts else ALWAYS
