"""What clients are told of an event: the translation, pure.

Types and field names are a public contract: add, never change. Whether an event is told at all depends on its type
only, so that notifications can be counted without state. A number's digits, a name and further data are not in the
event: they come from the campaign's book when a notification is rendered, and are null once the person is erased or the
campaign gone. A reservation's token and other secrets are never part of it.
"""

from collections.abc import Callable
from typing import Any, get_args

import msgspec

from adapters.notify.content import agent as agents
from adapters.notify.content import call as calls
from adapters.notify.content import campaign as campaigns
from adapters.notify.content import contact as contacts
from adapters.notify.content import importing as imports
from adapters.notify.content import reservation as reservations
from adapters.notify.content.base import Content, Fact, rfc3339
from engine.core import agent, call, campaign, contact, importing, reservation
from engine.core.book import Book, Event
from engine.core.personal import Details
from engine.core.screen import connected, values_of
from engine.ports import Recorded

AgentName = Callable[[str, int], str]
"""What an agent was called at a time, epoch ms."""
SILENT: frozenset[type] = frozenset(
    {
        agent.AgentWithdrawn,  # what a client sees of these is the agent's status, or the removal
        agent.AgentAsked,
        agent.AgentArriving,
        agent.AgentPresent,
        agent.AgentLeaving,
        agent.AgentAbsent,
        agent.PhoneCalled,
        agent.PhoneUp,
        agent.PhoneClosing,
        agent.PhoneDoubted,
        agent.PhoneDown,
        reservation.ContactSuppressed,  # the disposition was told, with the list
        call.CallAwaitingAgent,  # the contact isn't being dialled yet
        call.CallPlaced,
        call.BridgeFailed,  # what comes of these is in the call's record
        call.RecordingStarted,
        call.RecordingFailed,
        call.HangupRequested,
        call.CallDoubted,
    }
)


def is_told(event: Event) -> bool:
    return type(event) not in SILENT


def notification_of(ref: str, recorded: Recorded, book: Book | None) -> tuple[str, dict[str, Any]] | None:
    """(type, data) of an event in a campaign's log, or None for one that clients needn't see."""
    fact = fact_of(ref, recorded.event)
    return (fact.type, completed(fact, book)) if fact is not None else None


_TOLD: dict[type, Callable[[str, Any], Fact | None]] = {
    **dict.fromkeys(get_args(campaign.CampaignEvent), lambda _, event: campaigns.fact(event)),
    **dict.fromkeys(get_args(contact.ContactEvent), lambda _, event: contacts.fact(event)),
    **dict.fromkeys(get_args(reservation.ReservationEvent), lambda _, event: reservations.fact(event)),
    **dict.fromkeys(get_args(call.CallEvent), calls.fact),
    **dict.fromkeys(get_args(agent.AgentEvent), lambda _, event: agents.fact(event)),
    **dict.fromkeys(get_args(importing.ImportEvent), lambda _, event: imports.fact(event)),
}


def fact_of(ref: str, event: Event) -> Fact | None:
    return _TOLD[type(event)](ref, event) if type(event) not in SILENT else None


def completed(fact: Fact, book: Book | None, agent_name: AgentName = lambda _agent, _at: "") -> dict[str, Any]:
    """A fact's data with what the book knows of the person."""
    data = _filled(fact, book, agent_name) if book is not None else fact.data
    found: dict[str, Any] = msgspec.to_builtins(data)
    return found


def _filled(fact: Fact, book: Book, agent_name: AgentName) -> Content:
    data = fact.data
    if isinstance(data, calls.CallRinging | calls.CallBridged):
        known = book.calls.found(fact.call)
        return msgspec.structs.replace(data, contact=known.contact, agent=known.agent) if known is not None else data
    person = book.contacts.by_ref[fact.contact].person if fact.contact in book.contacts.by_ref else None
    details = person.details if person is not None else None
    if details is not None:
        data = _with_details(data, fact, details)
    if isinstance(data, calls.CallConnected) and fact.opens is not None and person is not None:
        values = values_of(book, fact.contact, data.agent, agent_name(data.agent, fact.at), data.call)
        data = msgspec.structs.replace(data, **_opening(connected(fact.opens, values)))
    return data


def _with_details(data: Content, fact: Fact, details: Details) -> Content:
    if isinstance(data, reservations.ContactDisposed):
        return msgspec.structs.replace(data, data=fact.noted)
    if isinstance(data, calls.Attempt | reservations.ContactDialRefused) and fact.number < len(details.numbers):
        data = msgspec.structs.replace(data, number=details.numbers[fact.number])
    if isinstance(data, calls.CallConnected):
        data = msgspec.structs.replace(data, name=details.name, data=details.data)
    return data


def _opening(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: msgspec.convert(value, calls.OPENED[name]) for name, value in shown.items()}


__all__ = ["SILENT", "AgentName", "Fact", "completed", "fact_of", "is_told", "notification_of", "rfc3339"]
