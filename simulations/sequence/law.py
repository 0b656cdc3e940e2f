"""What the requirements say of answers and of events, in tables of their own: nothing here asks the engine's code.

A campaign's state is what its log says. Between a click and its answer the state may change by itself, when the PBX or another
answer comes first: an answer is right where it is right for one of the states in between.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from engine.core.agent import AgentAllocated, AgentStatus, AgentStatusChanged
from engine.core.call import CallAwaitingAgent, CallConnected, CallRequested, HangupRequested
from engine.core.campaign import (
    CampaignCreated,
    CampaignDeleted,
    CampaignRenamed,
    CampaignRunning,
    CampaignStarting,
    CampaignStopped,
    CampaignStopping,
    SettingsChanged,
    StopForced,
)
from engine.core.contact import ContactCancelled, ContactExhausted, ContactsAdded
from engine.core.reservation import ContactDisposed, ContactReserved
from simulations.sequence.click import Kind

STATES: dict[Any, str] = {
    CampaignCreated: "created",
    CampaignStarting: "starting",
    CampaignRunning: "running",
    CampaignStopping: "stopping",
    CampaignStopped: "stopped",
    CampaignDeleted: "deleted",
}
ALIVE = ("created", "starting", "running", "stopping", "stopped")
TAKEN = ""
"""The answer to what isn't refused."""


def _lifecycle(unknown: str, deleted: str, **others: str) -> dict[str, str]:
    return {"absent": unknown, "deleted": deleted, **dict.fromkeys(ALIVE, TAKEN), **others}


GONE = ("unknown-campaign", "campaign-deleted")
ANSWERS: dict[Kind, tuple[str, dict[str, str]]] = {
    Kind.CREATE: ("TF-01 TF-02", _lifecycle(TAKEN, "campaign-ref-used")),
    Kind.CREATE_OTHERWISE: (
        "TF-01 TF-02",
        _lifecycle(TAKEN, "campaign-ref-used", **dict.fromkeys(ALIVE, "campaign-ref-used")),
    ),
    Kind.START: ("TF-08 TF-10", _lifecycle(*GONE, stopping="campaign-stopping")),
    Kind.STOP: ("TF-09 TF-12", _lifecycle(*GONE, created="campaign-not-started")),
    Kind.FORCE: ("TF-09 TF-13", _lifecycle(*GONE, created="campaign-not-started")),
    Kind.DELETE: (
        "TF-15",
        _lifecycle(*GONE, **dict.fromkeys(("starting", "running", "stopping"), "campaign-not-stopped")),
    ),
    Kind.RENAME: ("TF-17 TF-27", _lifecycle(*GONE)),
    Kind.EDIT: ("TF-17", _lifecycle(*GONE)),
    Kind.EDIT_LATE: ("TF-19", _lifecycle(*GONE, **dict.fromkeys(ALIVE, "revision-mismatch"))),
    Kind.EDIT_TWICE: ("TF-17", _lifecycle(*GONE)),
    Kind.ADD: ("TF-31", _lifecycle(*GONE)),
    Kind.ADD_AGAIN: ("TF-31", _lifecycle(*GONE)),
    Kind.ADD_ANOTHERS: ("TF-03", _lifecycle(*GONE)),
}
"""What the answer is in each state, and the lines that say so."""
WHILE_RUNNING = (Kind.DIAL, Kind.CLICK)
"""Taken in no other state (TF-11); what is in hand may be finished in any."""
AT_WORK = (AgentStatus.AVAILABLE, AgentStatus.PAUSED, AgentStatus.PREVIEWING, AgentStatus.BUSY, AgentStatus.WRAPUP)
DISCONNECTS = (Kind.FORCE, Kind.HANG_UP, Kind.RELEASE)
"""Whose clicks may end a call in progress. All others let it finish."""


class _Campaign(msgspec.Struct):
    states: list[str] = msgspec.field(default_factory=lambda: ["absent"])
    name: str = ""
    settings: dict[str, Any] = {}
    edits: int = 0
    open: set[str] = set()
    """Contacts that are not final."""
    agents: dict[str, AgentStatus] = {}


class Laws:
    """`faults` says which line of the requirements each broken promise is of."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.met: Counter[str] = Counter()
        self._campaigns: dict[str, _Campaign] = {}
        self._owners: dict[str, str] = {}
        """The first campaign of each contact ref."""
        self._connected: set[str] = set()
        """Calls that were answered."""
        self._by_reservation: dict[str, list[str]] = {}
        self.clicks: dict[str, Kind] = {}
        """By who clicked: each click has a name of its own."""

    def of(self, ref: str) -> _Campaign:
        return self._campaigns.setdefault(ref, _Campaign())

    def state(self, ref: str) -> str:
        return self.of(ref).states[-1]

    @property
    def living(self) -> list[str]:
        return [ref for ref, one in self._campaigns.items() if one.states[-1] in ALIVE]

    # -- answers ------------------------------------------------------------------------------------------------------

    def answered(self, kind: Kind, ref: str, since: int, code: str) -> None:
        """`since`: how many states the campaign had come through when it was clicked; `code`: the refusal's, or TAKEN."""
        states = self.of(ref).states[since - 1 :]
        self.met[f"{kind}: {code or 'taken'}"] += 1
        if kind in ANSWERS:
            lines, right = ANSWERS[kind]
            if code not in {right[state] for state in states}:
                self.tell(f"{lines}: {ref} {' → '.join(states)}: {kind} is answered {code or 'taken'!r}")
        elif kind in WHILE_RUNNING and code == TAKEN and "running" not in states:
            self.tell(f"TF-11: {ref} {' → '.join(states)}: {kind} is taken")

    def edited_at_once(self, codes: list[str]) -> None:
        """Of several edits of one revision one is taken."""
        if sorted(codes) != [TAKEN, *["revision-mismatch"] * (len(codes) - 1)]:
            self.tell(f"TF-19: edits of one revision are answered {codes}")

    def added(self, ref: str, refs: Iterable[str], new: Iterable[str], clashes: dict[str, str]) -> None:
        """What a batch was answered, against whose its refs are by the log."""
        wrong = {one: self._owners[one] for one in refs if self._owners.get(one, ref) != ref}
        if clashes != wrong:
            self.tell(f"TF-03: {ref} is told that {clashes}, and it is {wrong}")
        if not set(new) <= set(refs) - wrong.keys():
            self.tell(f"TF-31: {ref} is told that {sorted(new)} are new")

    # -- events -------------------------------------------------------------------------------------------------------

    def durable(self, ref: str, event: Any) -> None:
        one = self.of(ref)
        for fault in self._broken(ref, one, event):
            self.tell(fault)
        if type(event) in STATES:
            one.states.append(STATES[type(event)])

    def _broken(self, ref: str, one: _Campaign, event: Any) -> Iterator[str]:
        match event:
            case CampaignCreated():
                one.name, one.settings = event.name, msgspec.to_builtins(event.settings)
            case CampaignRenamed():
                if event.old != one.name:
                    yield f"TF-17: {ref} was {one.name!r}, and is told to have been {event.old!r}"
                one.name, one.edits = event.new, one.edits + 1
            case SettingsChanged():
                was = {key: one.settings[key] for key in event.old}
                if event.old != was or event.old.keys() != event.new.keys() or not event.by:
                    yield f"TF-17: {ref} had {was}, and is told to have had {event.old}, by {event.by!r}"
                one.settings |= event.new
                one.edits += 1
            case CampaignStarting() if one.states[-1] in ("starting", "running"):
                yield f"TF-08: {ref} was {one.states[-1]}, and is starting again"
            case CampaignStopping() if one.states[-1] in ("stopping", "stopped"):
                yield f"TF-09: {ref} was {one.states[-1]}, and is stopping again"
            case CampaignStopping(reason="completed") if one.open:
                yield f"TF-14: {ref} is completed, and these are not final: {sorted(one.open)}"
            case StopForced() if self.clicks.get(event.by) is not Kind.FORCE:
                yield f"TF-13: {ref} is forced by {event.by!r}, who asked for no such thing"
            case ContactReserved() if one.states[-1] != "running":
                yield f"TF-11: {event.contact} of {ref} is reserved, which is {one.states[-1]}"
            case ContactsAdded():
                yield from self._added(ref, one, event)
            case ContactDisposed(contact=contact, final=True) | ContactCancelled(contact=contact):
                one.open.discard(contact)
            case ContactDisposed(contact=contact, final=False):
                one.open.add(contact)
            case ContactExhausted(contact=contact):
                one.open.discard(contact)
            case AgentAllocated() if event.agent not in one.agents:
                one.agents[event.agent] = AgentStatus.OFFLINE
            case AgentStatusChanged():
                yield from self._at_work(ref, one, event)
            case CallAwaitingAgent() | CallRequested() | CallConnected() | HangupRequested():
                yield from self._call(event)
            case _:
                pass

    def _added(self, ref: str, one: _Campaign, event: ContactsAdded) -> Iterator[str]:
        for new in event.contacts:
            first = self._owners.setdefault(new.ref, ref)
            if first != ref or new.ref in one.open:
                yield f"TF-03 TF-31: {new.ref} is added to {ref}, and was to {first} before"
            one.open.add(new.ref)

    def _at_work(self, ref: str, one: _Campaign, event: AgentStatusChanged) -> Iterator[str]:
        one.agents[event.agent] = event.status
        if event.status not in AT_WORK:
            return
        for other, its in self._campaigns.items():
            if other != ref and its.agents.get(event.agent) in AT_WORK:
                yield f"TF-24: {event.agent} is {event.status} in {ref}, and {its.agents[event.agent]} in {other}"

    def _call(self, event: Any) -> Iterator[str]:
        match event:
            case CallConnected(call=call):
                self._connected.add(call)
            case HangupRequested(by=by) if by in self.clicks and self.clicks[by] not in DISCONNECTS:
                yield f"TF-11 TF-20: call {event.call} is ended by {by}, who clicked on {self.clicks[by]}"
            case CallAwaitingAgent(call=call, reservation=held) | CallRequested(call=call, reservation=held):
                before = self._by_reservation.setdefault(held, [])
                if any(one in self._connected for one in before if one != call):
                    yield f"TF-35: call {call} of reservation {held}, whose contact had answered"
                before.append(call)
            case _:
                pass

    def tell(self, fault: str) -> None:
        self.faults.append(fault)
