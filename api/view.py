"""What of the engine's state is shown, and how: the shapes that the published schema is made from."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from engine import health
from engine.app import Engine
from engine.campaigns import Running
from engine.core.agent import Agent, AgentStatus, DefaultState, Line
from engine.core.book import Book
from engine.core.call import Call, CallStatus, recording_of
from engine.core.campaign import Disposition, Mode, Settings, Status
from engine.core.contact import FREE, Contact, ContactStatus, Priority
from engine.core.form import Answer, Field, answers_of
from engine.core.interaction import Format, Interaction, Method
from engine.core.outcome import Outcome, Party
from engine.core.reservation import Phase, Reservation
from engine.core.screen import reserved, values_of
from engine.health import Reason

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339 in UTC with milliseconds."""
Position = Annotated[
    int,
    msgspec.Meta(ge=0, description="Events of the campaign's log that this answer has taken in: it never goes back."),
]

Next = Annotated[str | None, msgspec.Meta(description="`after` of the next page; null on the last.")]

DirectoryPosition = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        description="Events of the directory's log (agents, lists, mappings, tags, ids) that this answer has taken in.",
    ),
]


def time(at: int) -> str | None:
    """RFC 3339 in UTC with milliseconds; null for what hasn't been."""
    return (
        datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if at
        else None
    )


# -- campaigns ----------------------------------------------------------------------------------------------------------


class CampaignLine(msgspec.Struct, kw_only=True):
    """A campaign in a list."""

    ref: str
    name: str
    mode: Mode
    state: Status
    stop_reason: str
    """`requested`, or `completed` when every contact is final; empty until it first stops."""
    as_of: Position


class Scope(msgspec.Struct, kw_only=True):
    """How far a campaign is with what it aims at."""

    target: int | None
    engaged: int
    reached: bool


class WaitShown(msgspec.Struct, kw_only=True):
    """One thing that stands between a campaign and its next call."""

    reason: Reason
    detail: str
    next_at: Time | None
    """When it ends by itself, where that is known."""


class Dialing(msgspec.Struct, kw_only=True):
    """Why a campaign is, or isn't, dialing."""

    state: Literal["dialing", "ready", "waiting"]
    """`dialing`: calls are under way. `ready`: an agent has only to ask. `waiting`: for what `waits_for` says."""
    waits_for: list[WaitShown]


class SeatShown(msgspec.Struct, kw_only=True):
    """An agent in a campaign."""

    agent: str
    line: Line
    default_state: DefaultState
    weight: int
    state: AgentStatus
    reason: str
    since: Time | None
    contact: str | None
    """The ref of the contact in hand."""
    leaving: bool


class SeatNow(SeatShown, kw_only=True):
    as_of: Position


class CampaignShown(CampaignLine, kw_only=True):
    settings: Settings
    trunks: tuple[str, ...]
    agents: list[SeatShown]
    supervisors: tuple[str, ...]
    contacts: dict[str, int]
    """How many, by their state."""
    live_calls: int
    scope: Scope
    unassigned: int
    shares: dict[str, int]
    """Contacts not yet closed, by the agent whose they are."""
    created_at: Time | None
    revision: int


class CampaignNow(CampaignShown, kw_only=True):
    dialing: Dialing


def campaign_line(running: Running) -> CampaignLine:
    return CampaignLine(**_line(running.book, running.actor.log.position))


def _line(book: Book, as_of: int) -> dict[str, Any]:
    campaign = book.campaign
    return {
        "ref": campaign.ref,
        "name": campaign.name,
        "mode": campaign.mode,
        "state": campaign.status,
        "stop_reason": campaign.stop_reason,
        "as_of": as_of,
    }


def dialing(running: Running, engine: Engine) -> Dialing:
    book, store = running.book, running.actor.trouble
    found = health.waits(book, engine.claims, engine.zones, engine.clock.now_ms(), engine.draining, store)
    return Dialing(
        state="dialing" if book.live else "waiting" if found else "ready",
        waits_for=[WaitShown(reason=one.reason, detail=one.detail, next_at=time(one.next_at)) for one in found],
    )


def campaign_now(running: Running, engine: Engine) -> CampaignNow:
    shown = campaign(running.book, running.actor.log.position)
    return CampaignNow(**msgspec.structs.asdict(shown), dialing=dialing(running, engine))


def campaign(book: Book, as_of: int) -> CampaignShown:
    settings = book.campaign.settings
    shares = {owner: count for owner, count in book.contacts.dealt.items() if count}
    return CampaignShown(
        **_line(book, as_of),
        settings=settings,
        trunks=settings.trunks,
        agents=[agent(one, book) for one in book.agents.values()],
        supervisors=settings.supervisors,
        contacts={status.value: count for status, count in book.contacts.counts.items()},
        live_calls=len(book.live),
        scope=Scope(
            target=settings.target_engaged or None,
            engaged=book.contacts.engaged,
            reached=0 < settings.target_engaged == book.campaign.reached,
        ),
        unassigned=shares.pop(FREE, 0),
        shares=shares,
        created_at=time(book.campaign.created_at),
        revision=book.campaign.revision,
    )


def agent(one: Agent, book: Book) -> SeatShown:
    held = book.reservations.get(one.reservation)
    return SeatShown(
        agent=one.id,
        line=one.line,
        default_state=one.default_state,
        weight=one.weight,
        state=one.status,
        reason=one.reason,
        since=time(one.since),
        contact=held.contact if held else None,
        leaving=one.withdrawn,
    )


# -- contacts -----------------------------------------------------------------------------------------------------------


class NumberShown(msgspec.Struct, kw_only=True):
    number: str
    attempts: int
    last_outcome: Outcome | None


class ContactShown(msgspec.Struct, kw_only=True):
    """`name` and `data` are null when the person was erased; then there are no numbers either."""

    ref: str
    name: str | None
    data: dict[str, str] | None
    erased: bool
    state: ContactStatus
    agent: str | None
    """Who has it in hand."""
    disposition: str | None
    form_data: dict[str, Answer]
    """What the agent last noted down, by the campaign's form."""
    due_at: Time | None
    priority: Priority
    assigned_to: str | None
    callback: str | None
    """The agent, or everybody, who is to call back at `due_at`."""
    zone: str | None
    tags: tuple[str, ...]
    external_id: str | None
    consent_until: Time | None
    numbers: list[NumberShown]
    calls: list[str]


class ContactSeen(ContactShown, kw_only=True):
    as_of: Position


class ContactInHand(msgspec.Struct, kw_only=True):
    ref: str
    name: str | None
    data: dict[str, str] | None


class TabShown(msgspec.Struct, kw_only=True):
    title: str
    url: str | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET


class Opened(msgspec.Struct, kw_only=True):
    """What the agent's client opens."""

    method: Method
    url: str
    format: Format | msgspec.UnsetType = msgspec.UNSET
    fields: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class CallElsewhere(msgspec.Struct, kw_only=True):
    call: str
    agent: str
    outcome: Outcome | None
    requested_at: Time | None
    talk_ms: int


class ContactElsewhere(msgspec.Struct, kw_only=True):
    """The same person in another campaign, with the newest calls."""

    campaign: str
    name: str
    """The campaign's."""
    contact: str
    state: ContactStatus
    disposition: str | None
    calls: list[CallElsewhere]


class ContactPage(msgspec.Struct, kw_only=True):
    contacts: list[ContactShown]
    next: Next
    as_of: Position


class ReservationShown(msgspec.Struct, kw_only=True):
    """A contact in an agent's hand. `token` opens it to whoever shows it: it is the agent's alone."""

    id: str
    token: str
    campaign: str
    phase: Phase
    ahead: bool
    expires_at: Time | None
    call: str | None
    contact: ContactInHand
    numbers: list[NumberShown]
    dispositions: tuple[Disposition, ...]
    form: tuple[Field, ...]
    form_data: dict[str, Answer]
    """What to begin with: what was noted down last, where the campaign carries it over."""
    interaction: Interaction
    script: str
    tabs: list[TabShown]
    screen_pop_url: str | None
    external_url: Opened | None
    history: list[ContactElsewhere] | msgspec.UnsetType = msgspec.UNSET
    """What the agent's other campaigns know of the person, newest first, where the campaign shows it."""


def contact(one: Contact, book: Book) -> ContactShown:
    held = book.reservations.get(one.reservation)
    return ContactShown(
        ref=one.ref,
        **details(one),
        erased=one.person.details is None,
        state=one.status,
        agent=held.agent if held else None,
        disposition=one.disposition or None,
        form_data=answers_of(one.form),
        due_at=time(one.due_at),
        priority=one.priority,
        assigned_to=one.agent or None,
        callback=one.callback or None,
        zone=one.zone or None,
        tags=one.tags,
        external_id=one.external_id or None,
        consent_until=time(one.consent_until),
        numbers=numbers(one),
        calls=[attempt.call for attempt in one.attempts],
    )


def details(one: Contact) -> dict[str, Any]:
    known = one.person.details
    return {"name": known.name if known else None, "data": known.data if known else None}


def numbers(one: Contact) -> list[NumberShown]:
    return [
        NumberShown(
            number=number,
            attempts=sum(attempt.number == index for attempt in one.attempts),
            last_outcome=one.last_outcome(index),
        )
        for index, number in enumerate(one.numbers)
    ]


def reservation(one: Reservation, book: Book, ref: str, agent_name: str) -> ReservationShown:
    settings = book.campaign.settings
    held = book.contacts.by_ref[one.contact]
    screen = reserved(settings, values_of(book, one.contact, one.agent, agent_name, one.call))
    return ReservationShown(
        id=one.id,
        token=one.token,
        campaign=ref,
        phase=one.phase,
        ahead=one.ahead,
        expires_at=time(one.expires_at),
        call=one.call or None,
        contact=ContactInHand(ref=held.ref, **details(held)),
        numbers=numbers(held),
        dispositions=settings.dispositions,
        form=settings.form,
        form_data=answers_of(held.form) if settings.carry_over_form else {},
        **screen,
    )


# -- calls --------------------------------------------------------------------------------------------------------------


class CallShown(msgspec.Struct, kw_only=True):
    """One attempt, from its intent to exactly one outcome."""

    id: str
    campaign: str
    contact: str
    number: str | None
    number_index: int
    agent: str
    trunk: str
    trunk_reason: str | None
    strategy: str | None
    status: CallStatus
    outcome: Outcome | None
    ended_by: Party | None
    reason: str
    cause: int
    """Q.850, as the PBX reports it; 0 where it didn't say."""
    sip_code: int
    requested_at: Time | None
    ringing_at: Time | None
    connected_at: Time | None
    bridged_at: Time | None
    ended_at: Time | None
    ring_ms: int
    talk_ms: int
    recording: str | None
    recording_fault: str | None


class CallSeen(CallShown, kw_only=True):
    as_of: Position


def call(one: Call, book: Book) -> CallShown:
    known = book.contacts.by_ref[one.contact].numbers
    recording, fault = recording_of(one)
    return CallShown(
        id=one.id,
        campaign=book.campaign.ref,
        contact=one.contact,
        number=known[one.number] if one.number < len(known) else None,
        number_index=one.number,
        agent=one.agent,
        trunk=one.trunk,
        trunk_reason=one.trunk_reason or None,
        strategy=one.strategy or None,
        status=one.status,
        outcome=one.outcome,
        ended_by=one.ended_by,
        reason=one.reason,
        cause=one.cause,
        sip_code=one.sip_code,
        requested_at=time(one.asked_at),
        ringing_at=time(one.ringing_at),
        connected_at=time(one.connected_at),
        bridged_at=time(one.bridged_at),
        ended_at=time(one.ended_at),
        ring_ms=one.ring_ms,
        talk_ms=one.talk_ms,
        recording=recording or None,
        recording_fault=fault or None,
    )
