"""What became of each attempt on a day, and what would become of others.

The nth attempt on a number in the rerun ends as the nth did on the day. Attempts that never were are drawn from those that the
campaign made at that hour of the day, up to then; a number that doesn't exist goes on not to exist.
"""

from collections.abc import Callable, Collection
from random import Random

from engine.core.agent import PhoneCalled, PhoneDown, PhoneUp
from engine.core.book import Book
from engine.core.call import Call, CallEnded
from engine.core.outcome import Outcome
from engine.core.standing import line_of
from simulations.pbx import INVALID, NO_ANSWER, Kind, Script, answer
from simulations.pbx import Outcome as Fate
from simulations.pbx.script import MAX_RANDOM_TALK_MS
from simulations.whatif.day import Day

HOUR_MS = 3_600_000
LEAST_FATES = 20
"""An hour with fewer attempts than these tells too little: then all hours are drawn from."""
RING_OUT_SLACK_MS = 1_000
"""A phone that rang to within so much of the campaign's limit would have rung on."""
KINDS = {
    Outcome.ANSWERED: Kind.ANSWER,
    Outcome.BUSY: Kind.BUSY,
    Outcome.REJECTED: Kind.REJECTED,
    Outcome.INVALID: Kind.INVALID,
    Outcome.CONGESTION: Kind.CONGESTION,
    Outcome.UNAVAILABLE: Kind.UNAVAILABLE,
}
"""What a far end does for a call to end so. The others are told apart below, or say nothing of the far end."""
PHONES = {
    "phone-busy": Kind.BUSY,
    "phone-rejected": Kind.REJECTED,
    "phone-no-answer": Kind.NO_ANSWER,
    "phone-unreachable": Kind.UNAVAILABLE,
}


NEVER_DIALLED = (Outcome.AGENT_UNREACHABLE, Outcome.FAILED)
UNTOLD_MS = -1
"""A talk that the log doesn't tell the length of."""
DEFAULT_TALK_MS = 60_000
"""Where no talk was ever heard to its end."""


class Fates:
    """`known` is by line what became of the day's attempts in order, None where the log doesn't tell; `by_hour` all
    that are known by the hour since midnight; `phones` by agents' phones how they answered.
    """

    def __init__(self) -> None:
        self.known: dict[str, list[Fate | None]] = {}
        self.by_hour: dict[int, list[Fate]] = {}
        self.all: list[Fate] = []
        self.nowhere: set[str] = set()
        """Lines that don't exist."""
        self.phones: dict[str, list[Fate]] = {}


def learn(day: Day) -> Fates:
    fates, book = Fates(), Book()
    for one in day.before:
        if isinstance(one, CallEnded):
            _remember(fates, _fate(book.calls[one.call], one, book), one, day.begins)
        book.apply(one)
    called: dict[str, int] = {}
    for one in day.events:
        if isinstance(one, CallEnded):
            _learn_call(fates, book, one, day.begins)
        elif isinstance(one, PhoneCalled):
            called[one.agent] = one.at
        elif isinstance(one, PhoneUp | PhoneDown) and one.agent in called:
            _learn_phone(fates, book, one, one.at - called.pop(one.agent))
        book.apply(one)
    return fates


def _learn_call(fates: Fates, book: Book, ended: CallEnded, begins: int) -> None:
    call = book.calls[ended.call]
    if not call.requested_at or ended.outcome in NEVER_DIALLED:
        return
    fate = _fate(call, ended, book)
    _remember(fates, fate, ended, begins)
    numbers = book.contacts.by_ref[ended.contact].numbers
    if ended.number < len(numbers):  # of an erased person nobody knows the number
        line = line_of(numbers[ended.number])
        fates.known.setdefault(line, []).append(fate)
        if ended.outcome is Outcome.INVALID:
            fates.nowhere.add(line)


def _learn_phone(fates: Fates, book: Book, told: PhoneUp | PhoneDown, ring_ms: int) -> None:
    kind = Kind.ANSWER if isinstance(told, PhoneUp) else PHONES.get(told.reason)
    if kind is not None:
        fates.phones.setdefault(book.agents[told.agent].phone_name, []).append(Fate(kind, ring_ms))


def _remember(fates: Fates, fate: Fate | None, ended: CallEnded, begins: int) -> None:
    if (
        fate is not None and fate.kind is not Kind.INVALID and fate.talk_ms != UNTOLD_MS
    ):  # that is the number's, not the hour's
        fates.by_hour.setdefault((ended.at - begins) // HOUR_MS % 24, []).append(fate)
        fates.all.append(fate)


def _fate(call: Call, ended: CallEnded, book: Book) -> Fate | None:
    """None where our side ended it, or nobody knows what became of it."""
    rang_ms = (call.connected_at or ended.at) - call.requested_at
    if ended.outcome is Outcome.ANSWERED:
        return Fate(Kind.ANSWER, rang_ms, min(ended.at - call.connected_at, MAX_RANDOM_TALK_MS))
    if ended.outcome is Outcome.ABANDONED:  # they came, and nobody knows how long they would have talked
        return Fate(Kind.ANSWER, rang_ms, UNTOLD_MS)
    if ended.outcome is Outcome.NO_ANSWER:
        limit_ms = book.campaign.settings.ring_timeout_s * 1_000
        rang_out = rang_ms >= limit_ms - RING_OUT_SLACK_MS
        return Fate(Kind.NO_ANSWER if rang_out else Kind.UNAVAILABLE, rang_ms)
    kind = KINDS.get(ended.outcome)
    return Fate(kind, rang_ms) if kind is not None else None


class Callees(Script):
    """The far ends of one rerun. `now_ms` is how long ago the day began."""

    def __init__(self, fates: Fates, trunks: Collection[str], now_ms: Callable[[], int]) -> None:
        super().__init__(trunks=trunks, absent_phones=())
        self._fates, self._now_ms = fates, now_ms
        self.drawn = 0
        """Attempts whose fate had to be drawn."""

    def number(self, number: str, attempt: int, seed: int) -> Fate:
        line = line_of(number)
        known = self._fates.known.get(line, ())
        fate = known[attempt] if attempt < len(known) else None
        if fate is None and line in self._fates.nowhere:
            return INVALID
        if fate is not None and fate.talk_ms != UNTOLD_MS:
            return fate
        self.drawn += 1
        chance = Random(f"{seed}/{line}/{attempt}")
        return self._draw(chance) if fate is None else Fate(fate.kind, fate.ring_ms, self._talk_ms(chance))

    def _draw(self, chance: Random) -> Fate:
        here = self._fates.by_hour.get(self._now_ms() // HOUR_MS % 24, [])
        drawn_from = here if len(here) >= LEAST_FATES else self._fates.all
        return chance.choice(drawn_from) if drawn_from else NO_ANSWER

    def _talk_ms(self, chance: Random) -> int:
        told = [one.talk_ms for one in self._fates.all if one.kind is Kind.ANSWER and one.talk_ms]
        return chance.choice(told) if told else DEFAULT_TALK_MS

    def phone(self, phone: str, attempt: int) -> Fate:
        known = self._fates.phones.get(phone)
        return known[attempt % len(known)] if known else answer()
