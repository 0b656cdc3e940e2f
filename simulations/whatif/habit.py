"""What agents did on a day: how long they looked at a contact, what they did then, how they closed it.

The rerun does with a contact what was done with it on the day, in order. For what never happened then, it draws from what the
same agent did on that day with others, or any agent where that one did nothing of the kind.
"""

from collections import Counter
from enum import StrEnum
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

from engine.core.agent import AgentStatus, AgentStatusChanged
from engine.core.book import Book
from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.campaign import CampaignRunning
from engine.core.contact import ANYBODY, ContactsAdded
from engine.core.form import answers_of
from engine.core.reservation import (
    AGENT_GONE,
    IN_HAND,
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    Release,
    ReservationExtended,
)
from simulations.whatif.day import Day

ATTEMPT_OVER, HEARTBEAT = "attempt_over", "heartbeat"
DEFAULT_WRAPUP_MS = 15_000
"""Where nobody was reached on the day, nobody knows how long it takes."""
DEFAULT_AGAIN_MS = 5_000
"""How long an agent looks at a contact once more, where that never happened."""


class Act(StrEnum):
    DIAL = "dial"
    SKIP = "skip"
    RELEASE = "release"
    CLOSE = "close"
    LEAVE = "leave"  # nothing at all: the reservation lapses


class Closing(NamedTuple):
    """A disposition. `back_ms` is how much later the contact asked to be called back, 0 where it didn't."""

    after_ms: int
    disposition: str
    back_ms: int = 0
    personal: bool = True
    data: dict[str, Any] = {}  # noqa: RUF012 - never changed


ACTS = {Release.SKIPPED: Act.SKIP, Release.RELEASED: Act.RELEASE, Release.EXPIRED: Act.LEAVE}
"""What an agent did for a contact to go back; the other reasons are no act of theirs."""


class Offer(NamedTuple):
    """A contact was offered, and the agent did something about it after a time; heartbeats came at these times before.

    `number` is the place of the number that the agent chose, None for the dialer's choice. `closing` goes with CLOSE.
    """

    after_ms: int
    act: Act
    beats_ms: tuple[int, ...] = ()
    number: int | None = None
    note: str = ""
    closing: Closing | None = None


class Reaction(NamedTuple):
    """How long an agent was free, with a contact to be had, before taking it."""

    after_ms: int
    after_lapse: bool


T = TypeVar("T")


class Memory(Generic[T]):
    """What was done with each contact, in order, and by whom."""

    def __init__(self) -> None:
        self.by_contact: dict[str, list[T]] = {}
        self.by_agent: dict[str, list[T]] = {}
        self.all: list[T] = []

    def add(self, contact: str, agent: str, one: T) -> None:
        self.by_contact.setdefault(contact, []).append(one)
        self.by_agent.setdefault(agent, []).append(one)
        self.all.append(one)


class Recall(Generic[T]):
    """A memory during one rerun: what was done with a contact is done once."""

    def __init__(self, memory: Memory[T], default: T) -> None:
        self._memory, self._default = memory, default
        self._used = Counter[str]()
        self.drawn = 0
        """How often it had to be drawn."""

    def next(self, contact: str, agent: str, chance: Random) -> T:
        known, used = self._memory.by_contact.get(contact, []), self._used[contact]
        self._used[contact] += 1
        if used < len(known):
            return known[used]
        self.drawn += 1
        drawn_from = self._memory.by_agent.get(agent) or self._memory.all
        return chance.choice(drawn_from) if drawn_from else self._default


class Habits:
    """All that was learned of a day. `ahead` is by agent the share of calls in which the next contact was looked at."""

    def __init__(self) -> None:
        self.first = Memory[Offer]()
        """What was done when a contact was given."""
        self.again = Memory[Offer]()
        """And when a call had reached nobody, and it was to choose again."""
        self.closings = Memory[Closing]()
        """After a conversation."""
        self.reactions: dict[str, list[Reaction]] = {}
        self.ahead: dict[str, float] = {}


def learn(day: Day) -> Habits:
    learner = _Learner(day)
    for one in day.events:
        learner.see(one)
    return learner.done()


class _Offered(NamedTuple):
    since: int
    again: bool
    beats: list[int]


class _Learner:
    def __init__(self, day: Day) -> None:
        self.habits = Habits()
        self._book, self._begins = Book(), day.begins
        for one in day.before:
            self._book.apply(one)
        self._offered: dict[str, _Offered] = {}
        """By reservation: what lies before an agent who has not acted on it yet."""
        self._ended: dict[str, int] = {}
        """By reservation: when its last call ended."""
        self._free: dict[str, int] = {}
        """By agent: since when nothing is in hand."""
        self._lapsed: set[str] = set()
        """Agents whose last reservation lapsed."""
        self._there: dict[str, int] = {}
        """By contact: since when it could be had."""
        self._open = 0
        """Since when the campaign runs."""
        self._calls, self._looks_ahead = Counter[str](), Counter[str]()

    def see(self, event: Any) -> None:
        """Before it is applied: the book is as the agent saw it."""
        match event:
            case ContactReserved():
                self._reserved(event)
            case ReservationExtended():
                self._extended(event)
            case CallAwaitingAgent() | CallRequested():
                self._dialled(event)
            case CallEnded():
                self._ended[self._book.calls[event.call].reservation] = event.at
            case ContactReleased():
                self._released(event)
            case ContactDisposed():
                self._disposed(event)
            case AgentStatusChanged():
                if event.status is AgentStatus.AVAILABLE:
                    self._free[event.agent] = event.at
                else:
                    self._free.pop(event.agent, None)
            case CampaignRunning():
                self._open = event.at
            case ContactsAdded():
                self._there |= dict.fromkeys((new.ref for new in event.contacts), event.at)
            case _:
                pass
        self._book.apply(event)

    def done(self) -> Habits:
        self.habits.ahead = {one: min(1.0, self._looks_ahead[one] / count) for one, count in self._calls.items()}
        return self.habits

    def _reserved(self, event: ContactReserved) -> None:
        if event.ahead:
            self._looks_ahead[event.agent] += 1
            return
        self._offered[event.reservation] = _Offered(event.at, again=False, beats=[])
        since = self._free.get(event.agent)
        there = max(self._there.get(event.contact, 0), self._open, self._book.contacts.by_ref[event.contact].due_at)
        if since is not None and there <= since:
            lapsed = event.agent in self._lapsed
            self.habits.reactions.setdefault(event.agent, []).append(Reaction(event.at - since, lapsed))
        self._lapsed.discard(event.agent)

    def _extended(self, event: ReservationExtended) -> None:
        if event.reason in (IN_HAND, ATTEMPT_OVER):
            self._offered[event.reservation] = _Offered(event.at, again=event.reason == ATTEMPT_OVER, beats=[])
        elif event.reason == HEARTBEAT and event.reservation in self._offered:
            offered = self._offered[event.reservation]
            offered.beats.append(event.at - offered.since)
        elif event.reason == AGENT_GONE:
            self._offered.pop(event.reservation, None)  # what they would have done nobody knows

    def _dialled(self, event: CallAwaitingAgent | CallRequested) -> None:
        offered = self._offered.pop(event.reservation, None)
        if event.call not in self._book.calls:
            self._calls[event.agent] += 1
        if offered is not None and not event.request:  # an external system asked: that comes from outside
            self._act(event, offered, Act.DIAL, number=event.number if event.by_choice else None)

    def _released(self, event: ContactReleased) -> None:
        self._there[event.contact] = event.at
        act = ACTS.get(event.reason)
        offered = self._offered.pop(event.reservation, None)
        if event.reason is Release.EXPIRED:
            self._lapsed.add(event.agent)
        if offered is not None and act is not None:
            self._act(event, offered, act, note=event.note)

    def _disposed(self, event: ContactDisposed) -> None:
        self._there[event.contact] = event.at
        offered, ended = self._offered.pop(event.reservation, None), self._ended.pop(event.reservation, None)
        if event.by or not event.reservation:
            return  # not the agent's doing
        since = offered.since if offered is not None else ended
        if since is None:
            return  # begun before the day
        closing = Closing(
            event.at - since,
            event.disposition,
            back_ms=max(0, event.due_at - event.at) if event.callback else 0,
            personal=event.callback != ANYBODY,
            data=answers_of(event.form),
        )
        if offered is not None:
            self._act(event, offered, Act.CLOSE, closing=closing)
        else:
            self.habits.closings.add(event.contact, event.agent, closing)

    def _act(self, event: Any, offered: _Offered, act: Act, **how: Any) -> None:
        memory = self.habits.again if offered.again else self.habits.first
        beats = tuple(offered.beats)
        memory.add(event.contact, event.agent, Offer(event.at - offered.since, act, beats_ms=beats, **how))
