"""What of the engine's state is shown, and how."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.app import Running
from engine.core.agent import Agent
from engine.core.book import Book
from engine.core.call import Call, recording_of
from engine.core.contact import FREE, Contact
from engine.core.form import answers_of
from engine.core.reservation import Reservation
from engine.core.screen import reserved, values_of


def time(at: int) -> str | None:
    """RFC 3339 in UTC with milliseconds; null for what hasn't been."""
    return (
        datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if at
        else None
    )


def campaign_line(running: Running) -> dict[str, Any]:
    campaign = running.book.campaign
    return {
        "ref": campaign.ref,
        "name": campaign.name,
        "mode": campaign.mode,
        "state": campaign.status,
        "stop_reason": campaign.stop_reason,
    }


def campaign(running: Running) -> dict[str, Any]:
    book = running.book
    settings = book.campaign.settings
    shares = {owner: count for owner, count in book.contacts.dealt.items() if count}
    return {
        **campaign_line(running),
        "settings": msgspec.to_builtins(settings),
        "trunks": settings.trunks,
        "agents": [agent(one, book) for one in book.agents.values()],
        "supervisors": settings.supervisors,
        "contacts": {status.value: count for status, count in book.contacts.counts.items()},
        "live_calls": len(book.live),
        "scope": {
            "target": settings.target_engaged or None,
            "engaged": book.contacts.engaged,
            "reached": 0 < settings.target_engaged == book.campaign.reached,
        },
        "unassigned": shares.pop(FREE, 0),
        "shares": shares,
        "created_at": time(book.campaign.created_at),
        "revision": book.campaign.revision,
        "as_of": running.actor.log.position,
    }


def agent(one: Agent, book: Book) -> dict[str, Any]:
    held = book.reservations.get(one.reservation)
    return {
        "agent": one.id,
        "line": one.line,
        "default_state": one.default_state,
        "weight": one.weight,
        "state": one.status,
        "reason": one.reason,
        "since": time(one.since),
        "contact": held.contact if held else None,
        "leaving": one.withdrawn,
    }


def contact(one: Contact, book: Book) -> dict[str, Any]:
    held = book.reservations.get(one.reservation)
    return {
        "ref": one.ref,
        **details(one),
        "erased": one.person.details is None,
        "state": one.status,
        "agent": held.agent if held else None,
        "disposition": one.disposition or None,
        "form_data": answers_of(one.form),
        "due_at": time(one.due_at),
        "priority": one.priority,
        "assigned_to": one.agent or None,
        "callback": one.callback or None,
        "zone": one.zone or None,
        "tags": one.tags,
        "external_id": one.external_id or None,
        "consent_until": time(one.consent_until),
        "numbers": numbers(one),
        "calls": [attempt.call for attempt in one.attempts],
    }


def details(one: Contact) -> dict[str, Any]:
    known = one.person.details
    return {"name": known.name if known else None, "data": known.data if known else None}


def numbers(one: Contact) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "attempts": sum(attempt.number == index for attempt in one.attempts),
            "last_outcome": one.last_outcome(index),
        }
        for index, number in enumerate(one.numbers)
    ]


def reservation(one: Reservation, book: Book, ref: str, agent_name: str) -> dict[str, Any]:
    settings = book.campaign.settings
    held = book.contacts.by_ref[one.contact]
    return {
        "id": one.id,
        "token": one.token,
        "campaign": ref,
        "phase": one.phase,
        "ahead": one.ahead,
        "expires_at": time(one.expires_at),
        "call": one.call or None,
        "contact": {"ref": held.ref, **details(held)},
        "numbers": numbers(held),
        "dispositions": msgspec.to_builtins(settings.dispositions),
        "form": msgspec.to_builtins(settings.form),
        "form_data": answers_of(held.form) if settings.carry_over_form else {},
        **reserved(settings, values_of(book, one.contact, one.agent, agent_name, one.call)),
    }


def call(one: Call, book: Book) -> dict[str, Any]:
    known = book.contacts.by_ref[one.contact].numbers
    recording, fault = recording_of(one)
    return {
        "id": one.id,
        "campaign": book.campaign.ref,
        "contact": one.contact,
        "number": known[one.number] if one.number < len(known) else None,
        "number_index": one.number,
        "agent": one.agent,
        "trunk": one.trunk,
        "trunk_reason": one.trunk_reason or None,
        "strategy": one.strategy or None,
        "status": one.status,
        "outcome": one.outcome,
        "ended_by": one.ended_by,
        "reason": one.reason,
        "cause": one.cause,
        "sip_code": one.sip_code,
        "requested_at": time(one.asked_at),
        "ringing_at": time(one.ringing_at),
        "connected_at": time(one.connected_at),
        "bridged_at": time(one.bridged_at),
        "ended_at": time(one.ended_at),
        "ring_ms": one.ring_ms,
        "talk_ms": one.talk_ms,
        "recording": recording or None,
        "recording_fault": fault or None,
    }
