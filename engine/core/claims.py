"""What must hold across campaigns: one agent active in one campaign, one number in one unresolved call, no more calls on a
trunk than it has lines.

Derived from all campaigns' events by the one process that owns the logs; never written down, so it can't disagree with
them. A claim is made when it is decided and let go only when that is durable: what a crash would bring back can't be
given to somebody else before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core import effect
from engine.core.agent import AgentAbsent, AgentArriving, Line, PhoneCalled, PhoneDown
from engine.core.book import Book, Event
from engine.core.call import (
    Call,
    CallAwaitingAgent,
    CallConnected,
    CallEnded,
    CallRequested,
    CallStatus,
)
from engine.core.effect import Effect
from engine.core.reservation import ContactDisposed
from engine.core.standing import Standing, line_of, list_chosen

TAKING = frozenset({CallAwaitingAgent, CallRequested, PhoneCalled, AgentArriving, ContactDisposed})
RELEASING = frozenset({CallConnected, CallEnded, PhoneDown, AgentAbsent})
"""Told apart by a look-up first: most events claim nothing, and to ask a match for each type takes microseconds."""


def can_wait(events: Sequence[Any], effects: Sequence[Effect]) -> bool:
    """Whether nobody notices when this becomes durable a moment later. What is given up can be had by others once it is: they
    see it in the book at once, and would be refused.
    """
    return all(map(effect.can_wait, effects)) and not any(type(event) in RELEASING for event in events)


class Claims:
    def __init__(self, max_calls_in_setup: int, trunks: Mapping[str, int] | None = None) -> None:
        self.max_calls_in_setup = max_calls_in_setup
        self.trunks = dict(trunks or {})
        """The service's trunks in their order, each with its most lines at a time; 0 is no limit."""
        self.on_trunk: dict[str, dict[str, None]] = {}
        """Live calls by the trunk that they take a line of, all campaigns together."""
        self.numbers: dict[str, str] = {}
        """Live call by the number it is for, as `line_of` has it."""
        self.agents: dict[str, dict[str, str]] = {}
        """Campaigns that an agent is active in, each with the link group in which it shares them ("" for alone)."""
        self.busy: dict[str, str] = {}
        """Live call by its agent."""
        self.legs: dict[str, str] = {}
        """Campaign by leg, for every leg that may live."""
        self.in_setup: dict[str, None] = {}
        """Calls not yet answered. One that waits for its agent counts: it is dialled without asking again."""
        self.pbx_up = False
        self.standing = Standing()
        """What forbids a number whichever campaign asks: never released, it only grows old."""
        self._lines: dict[str, tuple[str, str, str]] = {}
        """Number, agent and trunk by live call: how to find what to let go when its contact is forgotten or erased."""

    def call_to(self, number: str) -> str | None:
        """The live call to a number."""
        return self.numbers.get(line_of(number))

    def has_line(self, trunk: str) -> bool:
        """Whether a trunk has a free line."""
        most = self.trunks.get(trunk, 0)
        return not most or len(self.on_trunk.get(trunk, ())) < most

    def elsewhere(self, agent: str, campaign: str, group: str) -> str | None:
        """Another campaign that has the agent and doesn't share them with this one."""
        active = self.agents.get(agent, {})
        return next(
            (ref for ref, shared in active.items() if ref != campaign and not (group and shared == group)), None
        )

    def take(self, book: Book, event: Event) -> None:
        """Claim what an event that `book` has just applied makes its own."""
        if type(event) not in TAKING:
            return
        ref = book.campaign.ref
        match event:
            case CallAwaitingAgent():
                self._dial(book, event)
            case CallRequested():
                self._dial(book, event)
                self.legs[event.call] = ref
                self.standing.recent[ref] = book.recent
            case PhoneCalled():
                self.legs[event.leg] = ref
            case AgentArriving():
                self.agents.setdefault(event.agent, {})[ref] = group_of(book, event.agent)
            case ContactDisposed() if event.dnc:
                self._announce(book, event.contact, event.dnc)
            case _:
                pass

    def release(self, ref: str, event: Event) -> None:
        """Let go of what an event gives up, now that it is durable. Events of a campaign come in order."""
        if type(event) not in RELEASING:
            return
        match event:
            case CallConnected():
                self.in_setup.pop(event.call, None)
            case CallEnded():
                self._hung_up(event.call)
            case PhoneDown():
                self.legs.pop(event.leg, None)
            case AgentAbsent():
                self._leave(event.agent, ref)
            case _:
                pass

    def forget(self, book: Book) -> None:
        """Drop what a book claimed: it has been read again, and may have held what never became durable."""
        ref = book.campaign.ref
        for agent in list(self.agents):
            self._leave(agent, ref)
        for call in [one for one in self._lines if one in book.calls]:
            self._hung_up(call)
        self.legs = {leg: one for leg, one in self.legs.items() if one != ref}

    def adopt(self, book: Book) -> None:
        """Take note of a book that was read back from its log."""
        ref = book.campaign.ref
        for agent in book.attending:
            self.agents.setdefault(agent, {})[ref] = group_of(book, agent)
        for leg in book.phones:
            self.legs[leg] = ref
        for contact, name in book.suppressed.items():
            self._announce(book, contact, name)
        if book.recent:  # the others are not to be looked at for every number
            self.standing.recent[ref] = book.recent
        else:  # it was read again, and what it had was never durable
            self.standing.recent.pop(ref, None)
        for call in (book.calls[one] for one in book.live):
            self._dial(book, call)
            if call.status is not CallStatus.AWAITING_AGENT:
                self.legs[call.id] = ref
            if call.connected_at:
                del self.in_setup[call.id]

    def _dial(self, book: Book, call: Call | CallAwaitingAgent | CallRequested) -> None:
        name = call.id if isinstance(call, Call) else call.call
        line = line_of(_number(book, call))
        self._lines[name] = line, call.agent, call.trunk
        self.on_trunk.setdefault(call.trunk, {})[name] = None
        self.numbers[line] = name
        self.busy[call.agent] = name
        self.in_setup[name] = None

    def _announce(self, book: Book, contact: str, name: str) -> None:
        numbers = book.contacts.by_ref[contact].numbers
        self.standing.announce(list_chosen(name, book.campaign.ref), contact, numbers)

    def _leave(self, agent: str, ref: str) -> None:
        active = self.agents.get(agent, {})
        active.pop(ref, None)
        if not active:
            self.agents.pop(agent, None)

    def _hung_up(self, call: str) -> None:
        self.in_setup.pop(call, None)
        self.legs.pop(call, None)
        line, agent, trunk = self._lines.pop(call, ("", "", ""))
        taken = self.on_trunk.get(trunk, {})
        taken.pop(call, None)
        if not taken:
            self.on_trunk.pop(trunk, None)
        if self.numbers.get(line) == call:
            del self.numbers[line]
        if self.busy.get(agent) == call:
            del self.busy[agent]


def group_of(book: Book, agent: str) -> str:
    """The link group in which a campaign shares an agent. A phone that stays on the line is one campaign's alone."""
    known = book.agents.get(agent)
    return book.campaign.settings.link_group if known is not None and known.line is Line.ON_DEMAND else ""


def _number(book: Book, call: Call | CallAwaitingAgent | CallRequested) -> str:
    numbers = book.contacts.by_ref[call.contact].numbers
    return numbers[call.number] if call.number < len(numbers) else ""  # an erased person has none
