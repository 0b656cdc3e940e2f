"""What the far ends do: which number or phone answers, how fast, and for how long.

An outcome is chosen by the first of these that knows the number: an explicit map, the mix of probabilities if there is
one, else the first digit, as the scripted carrier of the real PBX does it. A mix is drawn from (seed, number, attempt),
so one number's fate doesn't depend on which other calls happen to run beside it.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

DEFAULT_RING_MS = 200
MAX_RANDOM_TALK_MS = 3_600_000


class Kind(StrEnum):
    ANSWER = "answer"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CONGESTION = "congestion"
    INVALID = "invalid"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    DEAD = "dead"


class Outcome(msgspec.Struct, frozen=True):
    """What a far end does with one attempt.

    `ring_ms` runs from the attempt to the final reply; one that comes within 20 ms comes without ringing. `talk_ms`
    runs from the answer to the far end's hang-up; None leaves that to us. With `early_media` something is heard instead
    of ringing, and the channel never shows that it rings.
    """

    kind: Kind
    ring_ms: int = DEFAULT_RING_MS
    talk_ms: int | None = None
    early_media: bool = False


def answer(ring_ms: int = DEFAULT_RING_MS, talk_ms: int | None = None) -> Outcome:
    return Outcome(Kind.ANSWER, ring_ms, talk_ms)


BUSY = Outcome(Kind.BUSY)
NO_ANSWER = Outcome(Kind.NO_ANSWER)
CONGESTION = Outcome(Kind.CONGESTION, 20)
INVALID = Outcome(Kind.INVALID, 20)
REJECTED = Outcome(Kind.REJECTED)
UNAVAILABLE = Outcome(Kind.UNAVAILABLE)
DEAD = Outcome(Kind.DEAD)

BY_FIRST_DIGIT = {
    "0": DEAD,
    "1": answer(),
    "2": BUSY,
    "3": NO_ANSWER,
    "4": CONGESTION,
    "5": INVALID,
    "6": answer(talk_ms=1000),
    "7": REJECTED,
    "8": Outcome(Kind.ANSWER, 400, early_media=True),
    "9": UNAVAILABLE,
}

PHONES = {
    "agent_busy": BUSY,
    "agent_reject": REJECTED,
    "agent_silent": NO_ANSWER,
    "agent_hangs": answer(talk_ms=1500),
}
"""Phones named for what they do; every other one answers until hung up."""

ABSENT_PHONES = frozenset({"agent_absent", "nosuch"})


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """Chances of each outcome (weights, of any sum) and the spread of times, in ms."""

    weights: Mapping[Kind, float]
    ring_ms: tuple[int, int, int] = (1_500, 6_000, 25_000)
    talk_ms_least: int = 0
    """Few hang up before they have said a word."""
    talk_ms_mean: int = 45_000
    """On top of the least."""

    def draw(self, chance: random.Random) -> Outcome:
        kind = chance.choices(list(self.weights), list(self.weights.values()))[0]
        shortest, usual, longest = self.ring_ms
        ring_ms = round(chance.triangular(shortest, longest, usual))
        if kind is not Kind.ANSWER:
            return Outcome(kind, ring_ms)
        talk_ms = self.talk_ms_least + round(chance.expovariate(1 / self.talk_ms_mean))
        return Outcome(kind, ring_ms, min(talk_ms, MAX_RANDOM_TALK_MS))


TYPICAL = Mix(
    weights={
        Kind.ANSWER: 0.32,
        Kind.NO_ANSWER: 0.36,
        Kind.BUSY: 0.12,
        Kind.REJECTED: 0.08,
        Kind.INVALID: 0.06,
        Kind.CONGESTION: 0.03,
        Kind.UNAVAILABLE: 0.02,
        Kind.DEAD: 0.01,
    }
)


class Script:
    """Who answers what. A map's sequence of outcomes is used attempt by attempt; its last one then stays."""

    def __init__(
        self,
        *,
        numbers: Mapping[str, Outcome | Sequence[Outcome]] | None = None,
        phones: Mapping[str, Outcome | Sequence[Outcome]] | None = None,
        mix: Mix | None = None,
        trunks: Collection[str] = ("carrier",),
        absent_phones: Collection[str] = ABSENT_PHONES,
        phone: Outcome | None = None,
        prefixes: Sequence[str] = ("+57", "+"),
    ) -> None:
        self._numbers: dict[str, Outcome | Sequence[Outcome]] = {**(numbers or {})}
        self._phones: dict[str, Outcome | Sequence[Outcome]] = {**PHONES, **(phones or {})}
        self._mix = mix
        self._trunks = frozenset(trunks)
        self._absent = frozenset(absent_phones)
        self._phone = phone or answer()
        self._prefixes = prefixes

    def has_trunk(self, trunk: str) -> bool:
        return trunk in self._trunks

    def has_phone(self, phone: str) -> bool:
        return phone not in self._absent

    def number(self, number: str, attempt: int, seed: int) -> Outcome:
        """Fate of the nth attempt (from 0) on a number."""
        if number in self._numbers:
            return _nth(self._numbers[number], attempt)
        if self._mix is not None:
            return self._mix.draw(random.Random(f"{seed}/{number}/{attempt}"))
        prefix = next((p for p in self._prefixes if number.startswith(p)), "")
        return BY_FIRST_DIGIT.get(number[len(prefix) : len(prefix) + 1], DEAD)

    def phone(self, phone: str, attempt: int) -> Outcome:
        return _nth(self._phones[phone], attempt) if phone in self._phones else self._phone


def _nth(outcomes: Outcome | Sequence[Outcome], attempt: int) -> Outcome:
    return outcomes if isinstance(outcomes, Outcome) else outcomes[min(attempt, len(outcomes) - 1)]
