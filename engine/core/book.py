"""Everything one campaign's log says, folded: the book that decisions are taken from.

`apply` is total: an event that stands in the log is a fact, whatever the rules would say today.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

import msgspec

from engine.core import agent as agents
from engine.core import call as calls
from engine.core import campaign as campaigns
from engine.core import roll
from engine.core.agent import Agent, AgentEvent, AgentRemoved, Presence
from engine.core.call import Call, CallAwaitingAgent, CallEnded, CallEvent, CallRequested
from engine.core.campaign import Campaign, CampaignDeleted, CampaignEvent
from engine.core.contact import (
    Attempt,
    Contact,
    ContactCancelled,
    ContactErased,
    ContactEvent,
    ContactExhausted,
    ContactsAdded,
    ContactsAssigned,
    ContactsReplaced,
    ContactsUpcoming,
)
from engine.core.importing import ImportEvent, ImportStarted
from engine.core.ledger import Ledger, StillCalls
from engine.core.outcome import Outcome
from engine.core.recent import Recent, StillRecent
from engine.core.reservation import (
    IN_HAND,
    ContactDisposed,
    ContactReleased,
    ContactReserved,
    ContactSuppressed,
    DialRefused,
    Phase,
    Reservation,
    ReservationExtended,
)
from engine.core.roll import Contacts, StillContacts
from engine.core.standing import line_of

Event = CampaignEvent | ContactEvent | CallEvent | AgentEvent | ImportEvent
"""All events of a campaign's log. Their tags are storage: never reuse or rename one."""

HOUR_MS = 3_600_000
TELLING = (Outcome.ANSWERED, Outcome.ABANDONED, Outcome.BUSY, Outcome.NO_ANSWER, Outcome.REJECTED, Outcome.UNAVAILABLE)
"""Outcomes that say something of whether people answer."""


_STREAMS: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys(get_args(CampaignEvent), lambda _: "campaign"),
    **dict.fromkeys(get_args(ContactEvent), lambda event: f"contact/{event.contact}"),
    **dict.fromkeys((ContactsAdded, ContactsReplaced, ContactsAssigned, ContactsUpcoming), lambda _: "contacts"),
    **dict.fromkeys(get_args(CallEvent), lambda event: f"call/{event.call}"),
    **dict.fromkeys(get_args(AgentEvent), lambda event: f"agent/{event.agent}"),
    **dict.fromkeys(get_args(ImportEvent), lambda event: f"import/{event.import_id}"),
}


def stream_of(event: Event) -> str:
    """The stream that an event belongs to."""
    return _STREAMS[type(event)](event)


class Book:
    def __init__(self) -> None:
        self.campaign = Campaign()
        self.contacts = Contacts()
        self.agents: dict[str, Agent] = {}
        self.reservations: dict[str, Reservation] = {}
        self.calls = Ledger()
        self.recent = Recent()
        self.live: dict[str, None] = {}
        """Calls that have not ended, in the order they were asked for."""
        self.phones: dict[str, str] = {}
        """Agent by the leg of their phone."""
        self.attending: dict[str, None] = {}
        """Agents who are not absent."""
        self.arriving: dict[str, None] = {}
        self.answers: dict[tuple[int, int], tuple[int, int]] = {}
        """By place in the list of numbers and hour of the day (UTC): attempts that tell something, and people reached."""
        self.requests: dict[str, str] = {}
        """Call by the id that an external system gave its request for it."""
        self.imports: dict[str, ImportStarted] = {}
        """Imports that began and have not finished."""
        self.ahead: dict[str, None] = {}
        """Contacts that were told to be next and have not been delivered since."""
        self.suppressed: dict[str, str] = {}
        """Contacts whose numbers are on their way to a do-not-call list, with its name."""

    def call_of(self, agent: Agent) -> Call | None:
        """The agent's live call."""
        held = self.reservations.get(agent.reservation)
        return self.calls[held.call] if held is not None and held.phase is Phase.DIALING else None

    def apply(self, event: Event) -> None:
        _FOLDS[type(event)](self, event)

    def _apply_campaign(self, event: CampaignEvent) -> None:
        self.campaign = campaigns.evolve(self.campaign, event)
        if isinstance(event, CampaignDeleted):
            self._forget()

    def _apply_import(self, event: ImportEvent) -> None:
        if isinstance(event, ImportStarted):
            self.imports[event.import_id] = event
        else:
            self.imports.pop(event.import_id, None)

    def _apply_call(self, event: CallEvent) -> None:
        call = calls.evolve(self.calls.found(event.call), event)
        self.calls.put(call)
        if type(event) is CallRequested:
            numbers = self.contacts.by_ref[call.contact].numbers
            if call.number < len(numbers):  # an erased person has none
                self.recent.add(line_of(numbers[call.number]), event.at)
        if type(event) is CallAwaitingAgent or type(event) is CallRequested:
            self.live[call.id] = None
            if call.request:
                self.requests[call.request] = call.id
            self._hold(call.reservation, phase=Phase.DIALING, call=call.id)
        elif type(event) is CallEnded:
            self.live.pop(call.id, None)
            self._learn(call)
            self._hold(call.reservation, phase=Phase.WRAPUP)
            contact = self.contacts.by_ref[call.contact]
            attempt = Attempt(call.id, call.number, event.outcome, call.requested_at)
            self.contacts.put(msgspec.structs.replace(contact, attempts=(*contact.attempts, attempt)))

    def _learn(self, call: Call) -> None:
        """An attempt that the far end answered, or let ring, or refused: what else ends a call says nothing of people."""
        if call.requested_at and call.outcome in TELLING:
            key = call.number, hour_of(call.requested_at)
            dialled, answered = self.answers.get(key, (0, 0))
            reached = call.outcome in (Outcome.ANSWERED, Outcome.ABANDONED)
            self.answers[key] = dialled + 1, answered + reached

    def _apply_agent(self, event: AgentEvent) -> None:
        before = self.agents.get(event.agent)
        agent = agents.evolve(before, event)
        if before is not None and before.leg != agent.leg:
            self.phones.pop(before.leg, None)
        if agent.leg:
            self.phones[agent.leg] = agent.id
        _keep(self.attending, agent.id, agent.presence is not Presence.ABSENT)
        _keep(self.arriving, agent.id, agent.presence is Presence.ARRIVING)
        if type(event) is AgentRemoved:
            del self.agents[agent.id]
        else:
            self.agents[agent.id] = agent

    def _apply_contact(self, event: ContactEvent) -> None:
        erased = _attempts(self.contacts.by_ref[event.contact]) if type(event) is ContactErased else {}
        roll.evolve(self.contacts, event)
        for line, times in erased.items():
            if self.recent.forget(line, times):
                self.recent.recall(line, self._attempts_on(line))
        match event:
            case ContactsUpcoming():
                self.ahead = dict.fromkeys(event.contacts)
            case ContactReserved():
                self.ahead.pop(event.contact, None)
                self.reservations[event.reservation] = Reservation(
                    id=event.reservation,
                    token=event.token,
                    contact=event.contact,
                    agent=event.agent,
                    at=event.at,
                    expires_at=event.expires_at,
                    ahead=event.ahead,
                )
                self._hand(event.agent, **{"ahead" if event.ahead else "reservation": event.reservation})
            case ReservationExtended():
                if event.reason == IN_HAND:
                    self._hand(event.agent, reservation=event.reservation, ahead="")
                    self._hold(event.reservation, ahead=False)
                self._hold(event.reservation, phase=Phase.OFFERED, expires_at=event.expires_at)
            case ContactReleased() | ContactDisposed():
                gone = self.reservations.pop(event.reservation, None)
                if gone is not None:
                    self._hand(event.agent, **{"ahead" if gone.ahead else "reservation": ""})
                if isinstance(event, ContactDisposed) and event.dnc:
                    self.suppressed[event.contact] = event.dnc
            case ContactSuppressed():
                if self.suppressed.get(event.contact) == event.list:
                    del self.suppressed[event.contact]
            case (
                ContactsAdded()
                | ContactsReplaced()
                | ContactsAssigned()
                | ContactCancelled()
                | ContactErased()
                | ContactExhausted()
                | DialRefused()
            ):
                pass

    def _attempts_on(self, line: str) -> Iterator[int]:
        """When a line was dialled, for those who have it still."""
        for contact in self.contacts.worked_on(line):
            yield from _attempts(contact).get(line, ())
        for call in (self.calls[name] for name in self.live):
            numbers = self.contacts.by_ref[call.contact].numbers
            if call.requested_at and call.number < len(numbers) and line_of(numbers[call.number]) == line:
                yield call.requested_at

    def _hold(self, reservation: str, **changes: Any) -> None:
        held = self.reservations[reservation]
        self.reservations[reservation] = msgspec.structs.replace(held, **changes)

    def _hand(self, agent: str, **changes: str) -> None:
        if agent in self.agents:
            self.agents[agent] = msgspec.structs.replace(self.agents[agent], **changes)

    def _forget(self) -> None:
        """A deleted campaign is its tombstone only; the log keeps the rest."""
        self.contacts, self.calls = Contacts(), Ledger()
        for ledger in (
            self.agents,
            self.reservations,
            self.live,
            self.phones,
            self.attending,
            self.arriving,
            self.answers,
            self.requests,
            self.imports,
            self.ahead,
            self.suppressed,
        ):
            ledger.clear()

    def open_some(self) -> bool:
        """Some of the tables that are packed since a start, in which one looks everywhere; rows are left so. Whether there were
        any."""
        return self.contacts.open_some() or self.calls.open_some() or self.recent.open_some()

    def snapshot(self) -> "Snapshot":
        """The whole state, as it is now and stays: quick, for nothing is unpacked. Equal books have equal ones."""
        head = Head(
            campaign=self.campaign,
            agents=list(self.agents.values()),
            reservations=list(self.reservations.values()),
            imports=list(self.imports.values()),
            suppressed=dict(self.suppressed),
            ahead=list(self.ahead),
        )
        known = Known(requests=self.requests.copy(), answers=[(*key, *counts) for key, counts in self.answers.items()])
        return Snapshot(head, known, self.contacts.still(), self.calls.still(), self.recent.still())

    def canonical(self) -> bytes:
        """Bytes that are equal for equal books: what a replay is compared by."""
        return self.snapshot().canonical()


_FOLDS: dict[type, Callable[[Book, Any], None]] = {
    **dict.fromkeys(get_args(CampaignEvent), Book._apply_campaign),  # noqa: SLF001 - the class above
    **dict.fromkeys(get_args(ContactEvent), Book._apply_contact),  # noqa: SLF001
    **dict.fromkeys(get_args(CallEvent), Book._apply_call),  # noqa: SLF001
    **dict.fromkeys(get_args(AgentEvent), Book._apply_agent),  # noqa: SLF001
    **dict.fromkeys(get_args(ImportEvent), Book._apply_import),  # noqa: SLF001
}
"""By the event's type: a look-up, where asking for one type after another costs up to 7 us for each event."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """All of a book but its contacts and calls."""

    campaign: Campaign
    agents: list[Agent]
    reservations: list[Reservation]
    imports: list[ImportStarted]
    suppressed: dict[str, str]
    ahead: list[str]


class Known(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a book knows of its calls without looking at each."""

    requests: dict[str, str]
    answers: list[tuple[int, int, int, int]]
    """Place and hour, attempts and people reached."""


def _attempts(contact: Contact) -> dict[str, list[int]]:
    """When each line of a contact was dialled for it."""
    found: dict[str, list[int]] = {}
    for one in contact.attempts:
        if one.at and one.number < len(contact.numbers):
            found.setdefault(line_of(contact.numbers[one.number]), []).append(one.at)
    return found


def hour_of(at: int) -> int:
    """The hour of the day, UTC."""
    return at // HOUR_MS % 24


class Snapshot(NamedTuple):
    """A book at one moment. What takes long with many contacts may be done by another thread."""

    head: Head
    known: Known
    contacts: StillContacts
    calls: StillCalls
    recent: StillRecent

    def canonical(self) -> bytes:
        """All but what follows from it, and the attempts of late, which an erasure leaves in another form than a replay."""
        known = sorted(self.known.requests.items()), sorted(self.known.answers)
        calls = list(self.calls.rows), self.calls.live
        return msgspec.msgpack.encode((self.head, known, self.contacts.canonical(), calls))


def _keep(ledger: dict[str, None], key: str, present: bool) -> None:
    if present:
        ledger[key] = None
    else:
        ledger.pop(key, None)


def restore(snapshot: Snapshot) -> Book:
    """The book that a snapshot was taken of. The snapshot's parts are the book's from now on."""
    head, known = snapshot.head, snapshot.known
    book = Book()
    book.campaign = head.campaign
    book.contacts = Contacts.of(snapshot.contacts)
    book.imports = {one.import_id: one for one in head.imports}
    book.ahead = dict.fromkeys(head.ahead)
    book.suppressed = dict(head.suppressed)
    book.calls, book.recent = Ledger(snapshot.calls), Recent(snapshot.recent)
    book.live = dict.fromkeys(one.id for one in snapshot.calls.live)
    book.requests = known.requests
    book.answers = {(place, hour): (dialled, reached) for place, hour, dialled, reached in known.answers}
    book.reservations = {one.id: one for one in head.reservations}
    for agent in head.agents:
        book.agents[agent.id] = agent
        if agent.leg:
            book.phones[agent.leg] = agent.id
        _keep(book.attending, agent.id, agent.presence is not Presence.ABSENT)
        _keep(book.arriving, agent.id, agent.presence is Presence.ARRIVING)
    return book
