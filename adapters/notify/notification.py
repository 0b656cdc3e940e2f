"""What clients are told of an event: the translation, pure.

Types and field names are a public contract: add, never change. Whether an event is told at all depends on its type
only, so that notifications can be counted without state. A number's digits, a name and further data are not in the
event: they come from the campaign's book when a notification is rendered, and are null once the person is erased or the
campaign gone. A reservation's token and other secrets are never part of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, assert_never

import msgspec

from engine.core import agent, call, campaign, contact, form, importing, reservation
from engine.core.book import Book, Event
from engine.core.interaction import Opened
from engine.core.screen import connected, values_of
from engine.ports import Recorded

AgentName = Callable[[str, int], str]
"""What an agent was called at a time, epoch ms."""
CONNECTED, DISPOSED = "call.connected", "contact.disposed"
Held = (
    reservation.ContactReserved
    | reservation.ReservationExtended
    | reservation.ContactReleased
    | reservation.DialRefused
)
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


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A notification's content as far as the event alone tells it. None in `data` marks what the book may fill in."""

    type: str
    at: int
    data: dict[str, Any]
    contact: str = ""
    number: int = 0
    call: str = ""
    noted: dict[str, form.Answer] = {}
    opens: Opened | None = None


def is_told(event: Event) -> bool:
    return type(event) not in SILENT


def notification_of(ref: str, recorded: Recorded, book: Book | None) -> tuple[str, dict[str, Any]] | None:
    """(type, data) of an event in a campaign's log, or None for one that clients needn't see."""
    fact = fact_of(ref, recorded.event)
    return (fact.type, completed(fact, book)) if fact is not None else None


def completed(fact: Fact, book: Book | None, agent_name: AgentName = lambda _agent, _at: "") -> dict[str, Any]:
    """A fact's data with what the book knows of the person."""
    data = dict(fact.data)
    if book is None:
        return data
    if fact.call and (known := book.calls.get(fact.call)) is not None:
        data["contact"], data["agent"] = known.contact, known.agent
    person = book.contacts.by_ref[fact.contact].person if fact.contact in book.contacts.by_ref else None
    if person is not None and person.details is not None:
        if "number" in data and fact.number < len(person.details.numbers):
            data["number"] = person.details.numbers[fact.number]
        if "name" in data:
            data["name"], data["data"] = person.details.name, person.details.data
        if fact.type == DISPOSED:
            data["data"] = fact.noted
    if fact.opens is not None and person is not None:
        agent_id = data["agent"]
        values = values_of(book, fact.contact, agent_id, agent_name(agent_id, fact.at), data["call"])
        data.update(connected(fact.opens, values))
    return data


def fact_of(ref: str, event: Event) -> Fact | None:
    if isinstance(event, agent.AgentEvent):
        return _agent(event)
    if isinstance(event, call.CallEvent):
        return _call(ref, event)
    if isinstance(event, contact.ContactEvent):
        return _contact(event)
    if isinstance(event, importing.ImportEvent):
        return _import(event)
    return _campaign(event)


def _campaign(event: campaign.CampaignEvent) -> Fact:
    match event:
        case campaign.CampaignCreated():
            settings = msgspec.to_builtins(event.settings)
            created = {"name": event.name, "mode": event.mode.value, "settings": settings, "by": event.by}
            return Fact(type="campaign.created", at=event.at, data=created)
        case campaign.CampaignRenamed():
            return _change("campaign.renamed", event)
        case campaign.SettingsChanged():
            return _change("campaign.settings_changed", event)
        case campaign.CampaignStarting():
            return _status(event.at, "starting", None, event.by)
        case campaign.CampaignRunning():
            return _status(event.at, "running", None, None)
        case campaign.CampaignStopping():
            return _status(event.at, "stopping", event.reason, event.by)
        case campaign.StopForced():
            return Fact(type="campaign.stop_forced", at=event.at, data={"by": event.by})
        case campaign.CampaignStopped():
            return _status(event.at, "stopped", event.reason, None)
        case campaign.TargetReached():
            reached = {"target": event.target, "engaged": event.engaged}
            return Fact(type="campaign.target_reached", at=event.at, data=reached)
        case campaign.CampaignDeleted():
            return Fact(type="campaign.deleted", at=event.at, data={"by": event.by, "reason": event.reason or None})
        case _:
            assert_never(event)


def _status(at: int, state: str, reason: str | None, by: str | None) -> Fact:
    return Fact(type="campaign.status", at=at, data={"state": state, "reason": reason, "by": by})


def _change(type_: str, event: campaign.CampaignRenamed | campaign.SettingsChanged) -> Fact:
    return Fact(type=type_, at=event.at, data={"old": event.old, "new": event.new, "by": event.by})


def _agent(event: agent.AgentEvent) -> Fact | None:
    match event:
        case agent.AgentAllocated():
            allocated = {
                "agent": event.agent,
                "phone": event.phone,
                "line": event.line.value,
                "default_state": event.default_state.value,
                "weight": event.weight,
                "by": event.by,
            }
            return Fact(type="agent.allocated", at=event.at, data=allocated)
        case agent.AgentRemoved():
            return Fact(type="agent.removed", at=event.at, data={"agent": event.agent})
        case agent.AgentStatusChanged():
            status = {"agent": event.agent, "state": event.status.value, "reason": event.reason}
            return Fact(type="agent.status", at=event.at, data=status)
        case (
            agent.AgentWithdrawn()
            | agent.AgentAsked()
            | agent.AgentArriving()
            | agent.AgentPresent()
            | agent.AgentLeaving()
            | agent.AgentAbsent()
            | agent.PhoneCalled()
            | agent.PhoneUp()
            | agent.PhoneClosing()
            | agent.PhoneDoubted()
            | agent.PhoneDown()
        ):
            return None
        case _:
            assert_never(event)


def _contact(event: contact.ContactEvent) -> Fact | None:
    match event:
        case contact.ContactsAdded():
            refs = [one.ref for one in event.contacts]
            added = {"count": len(refs), "first": refs[0] if refs else None, "last": refs[-1] if refs else None}
            return Fact(type="contacts.added", at=event.at, data={**added, "by": event.by})
        case contact.ContactsReplaced():
            refs = [one.ref for one in event.contacts]
            return Fact(type="contacts.replaced", at=event.at, data={"contacts": refs, "by": event.by})
        case contact.ContactsAssigned():
            split = {agent_id: len(refs) for agent_id, refs in event.contacts.items()}
            assigned = {"method": event.method, "seed": event.seed, "agents": split}
            return Fact(type="contacts.assigned", at=event.at, data=assigned)
        case contact.ContactsUpcoming():
            return Fact(type="contacts.upcoming", at=event.at, data={"contacts": list(event.contacts)})
        case contact.ContactExhausted():
            exhausted = {"contact": event.contact, "attempts": event.attempts}
            return Fact(type="contact.exhausted", at=event.at, data=exhausted)
        case contact.ContactErased():
            return Fact(type="contact.erased", at=event.at, data={"contact": event.contact, "by": event.by})
        case contact.ContactCancelled():
            cancelled = {"contact": event.contact, "reason": event.reason, "by": event.by}
            return Fact(type="contact.cancelled", at=event.at, data=cancelled)
        case reservation.ContactReserved():
            reserved = {**_held(event), "expires_at": rfc3339(event.expires_at)}
            return Fact(type="contact.reserved", at=event.at, data=reserved)
        case reservation.ReservationExtended():
            extended = {**_held(event), "expires_at": rfc3339(event.expires_at), "reason": event.reason}
            return Fact(type="contact.reservation_extended", at=event.at, data=extended)
        case reservation.ContactReleased():
            released = {
                **_held(event),
                "reason": event.reason.value,
                "note": event.note,
                "due_at": rfc3339(event.due_at) if event.due_at else None,
            }
            return Fact(type="contact.released", at=event.at, data=released)
        case reservation.ContactDisposed():
            disposed = {
                "contact": event.contact,
                "agent": event.agent or None,
                "reservation": event.reservation or None,
                "by": event.by or None,
                "call": event.call or None,
                "disposition": event.disposition,
                "data": None,
                "engaged": event.engaged,
                "final": event.final,
                "due_at": rfc3339(event.due_at) if event.due_at else None,
                "callback": event.callback or None,
                "exhausted": event.exhausted,
                "dnc": event.dnc or None,
            }
            noted = form.answers_of(event.form)
            return Fact(type=DISPOSED, at=event.at, data=disposed, contact=event.contact, noted=noted)
        case reservation.ContactSuppressed():
            return None
        case reservation.DialRefused():
            refused = {
                **_held(event),
                "number": None,
                "number_index": event.number,
                "rule": event.rule,
                "detail": event.detail,
                "list_version": event.version or None,
            }
            return Fact(
                type="contact.dial_refused", at=event.at, data=refused, contact=event.contact, number=event.number
            )
        case _:
            assert_never(event)


def _import(event: importing.ImportEvent) -> Fact:
    match event:
        case importing.ImportStarted():
            started = {
                "import": event.import_id,
                "name": event.name,
                "mode": event.mode.value,
                "rows": event.rows,
                "by": event.by,
            }
            return Fact(type="import.started", at=event.at, data=started)
        case importing.ImportFinished():
            counts = {name: getattr(event, name) for name in ("added", "known", "replaced", "rejected", "cancelled")}
            return Fact(
                type="import.finished", at=event.at, data={"import": event.import_id, **counts, "lost": event.lost}
            )
        case _:
            assert_never(event)


def _held(event: Held) -> dict[str, Any]:
    return {"contact": event.contact, "agent": event.agent, "reservation": event.reservation}


def _call(ref: str, event: call.CallEvent) -> Fact | None:
    match event:
        case call.CallRequested():
            requested = {**_attempt(event), "trunk": event.trunk, "trunk_reason": event.trunk_reason or None}
            return Fact(type="call.requested", at=event.at, data=requested, contact=event.contact, number=event.number)
        case call.CallRinging():
            return _progress("call.ringing", event)
        case call.CallConnected():
            # Everything that a desktop shows: it comes before the audio, and there is no time to ask for more.
            connected = {**_attempt(event), "campaign": ref, "name": None, "data": None}
            return Fact(
                type=CONNECTED,
                at=event.at,
                data=connected,
                contact=event.contact,
                number=event.number,
                opens=event.opens,
            )
        case call.CallBridged():
            return _progress("call.bridged", event)
        case call.CallEnded():
            ended = {
                **_attempt(event),
                "outcome": event.outcome.value,
                "ended_by": event.ended_by.value,
                "reason": event.reason,
                "cause": event.cause,
                "sip_code": event.sip_code,
                "ring_ms": event.ring_ms,
                "talk_ms": event.talk_ms,
                "recording": event.recording or None,
                "recording_fault": event.recording_fault or None,
            }
            return Fact(type="call.ended", at=event.at, data=ended, contact=event.contact, number=event.number)
        case (
            call.CallAwaitingAgent()
            | call.CallPlaced()
            | call.BridgeFailed()
            | call.RecordingStarted()
            | call.RecordingFailed()
            | call.HangupRequested()
            | call.CallDoubted()
        ):
            return None
        case _:
            assert_never(event)


def _attempt(event: call.CallRequested | call.CallConnected | call.CallEnded) -> dict[str, Any]:
    return {
        "call": event.call,
        "contact": event.contact,
        "agent": event.agent,
        "number": None,
        "number_index": event.number,
    }


def _progress(type_: str, event: call.CallRinging | call.CallBridged) -> Fact:
    return Fact(type=type_, at=event.at, data={"call": event.call, "contact": None, "agent": None}, call=event.call)


def rfc3339(at: int) -> str:
    """Epoch ms as clients read it: UTC, three digits of a second."""
    seconds, ms = divmod(at, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
