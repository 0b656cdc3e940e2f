"""What an event asks of the outside world, once it is durable; and what a book read back from its log asks of it."""

from engine.core import call as calls
from engine.core.agent import (
    AgentAllocated,
    AgentWithdrawn,
    Phone,
    PhoneCalled,
    PhoneClosing,
    PhoneDoubted,
    PhoneDown,
    PhoneOverdue,
    PhoneUp,
)
from engine.core.book import Book, Event
from engine.core.call import (
    BridgeFailed,
    Call,
    CallConnected,
    CallDoubted,
    CallEnded,
    CallOverdue,
    CallRequested,
    CallStatus,
    Doubt,
    HangupRequested,
)
from engine.core.campaign import CampaignStarting, Preassignment, SettingsChanged
from engine.core.contact import FREE, ContactsAdded, ContactsAssigned, ContactsReplaced
from engine.core.dealing import is_dealt
from engine.core.effect import CancelTimer, DealContacts, Effect, ReservationDue, SetTimer, Suppress
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved, Phase, ReservationExtended
from engine.core.telephony import (
    BridgeLegs,
    HangUp,
    OriginateAgent,
    OriginateContact,
    Settle,
)

APPEARANCE_MS = 2_000
"""How long a leg may take to appear at the PBX after it was asked for."""
SILENCE_MARGIN_MS = 10_000
"""How long after its ring time-out the PBX is asked about a leg that nothing was heard of."""

REACTED = frozenset(
    {
        CallRequested,
        CallConnected,
        CallEnded,
        ContactReserved,
        ReservationExtended,
        ContactReleased,
        ContactDisposed,
        PhoneCalled,
        PhoneUp,
        PhoneDown,
        PhoneClosing,
        PhoneDoubted,
        BridgeFailed,
        HangupRequested,
        CallDoubted,
        ContactsAdded,
        ContactsReplaced,
        ContactsAssigned,
        CampaignStarting,
        AgentAllocated,
        AgentWithdrawn,
        SettingsChanged,
    }
)
"""Events that ask for something. Half of them ask for nothing, which a look-up tells at once."""


def react(book: Book, event: Event) -> list[Effect]:
    """Effects of one event, once it is durable. `book` is the state after the batch."""
    if type(event) not in REACTED:
        return []
    settings = book.campaign.settings
    match event:
        case CallRequested():
            return _dial(book, event)
        case CallConnected():
            return bridge(book, book.calls[event.call])
        case CallEnded():
            return [CancelTimer(key=f"call/{event.call}")]
        case ContactReserved() | ReservationExtended():
            due = ReservationDue(at=0, reservation=event.reservation)
            return [SetTimer(key=f"reservation/{event.reservation}", due=event.expires_at, alarm=due)]
        case ContactReleased():
            return [CancelTimer(key=f"reservation/{event.reservation}")]
        case ContactDisposed():
            in_hand = bool(event.reservation)
            done: list[Effect] = [CancelTimer(key=f"reservation/{event.reservation}")] if in_hand else []
            return [*done, _suppress(book, event.contact, event.dnc)] if event.dnc else done
        case PhoneCalled():
            ring_ms = settings.agent_ring_timeout_s * 1_000
            phone = book.agents[event.agent].phone_name
            overdue = PhoneOverdue(at=0, agent=event.agent, leg=event.leg)
            return [
                OriginateAgent(leg=event.leg, phone=phone, ring_timeout_ms=ring_ms, caller_id=settings.caller_id),
                SetTimer(key=f"phone/{event.agent}", due=event.at + ring_ms + SILENCE_MARGIN_MS, alarm=overdue),
            ]
        case PhoneUp():
            return [CancelTimer(key=f"phone/{event.agent}")]
        case PhoneDown():
            return [CancelTimer(key=f"phone/{event.agent}")]
        case PhoneClosing():
            return [HangUp(leg=event.leg)]
        case PhoneDoubted():
            to_appear = book.agents[event.agent].phone is Phone.CALLING
            return [Settle(leg=event.leg, delay_ms=APPEARANCE_MS if to_appear else 0)]
        case BridgeFailed() | HangupRequested():
            return [HangUp(leg=event.call)]
        case CallDoubted():
            to_appear = book.calls[event.call].status is CallStatus.REQUESTED and event.why is not Doubt.SILENCE
            return [Settle(leg=event.call, delay_ms=APPEARANCE_MS if to_appear else 0)]
        case (
            ContactsAdded()
            | ContactsReplaced()
            | ContactsAssigned()
            | CampaignStarting()
            | AgentAllocated()
            | AgentWithdrawn()
            | SettingsChanged()
        ):
            return _deal(book, event.at)
        case _:
            return []


def _deal(book: Book, at: int) -> list[Effect]:
    """Look, after whatever waits, whether contacts have to change hands."""
    wanted = book.campaign.settings.preassignment is not Preassignment.NONE or any(
        owner != FREE and count for owner, count in book.contacts.dealt.items()
    )
    return [SetTimer(key="deal", due=at, alarm=DealContacts(at=0))] if wanted and is_dealt(book) else []


def _dial(book: Book, event: CallRequested) -> list[Effect]:
    settings = book.campaign.settings
    ring_ms = settings.ring_timeout_s * 1_000
    return [
        OriginateContact(
            leg=event.call,
            trunk=event.trunk,
            number=book.contacts.by_ref[event.contact].numbers[event.number],
            ring_timeout_ms=ring_ms,
            caller_id=settings.caller_id,
            recording=event.recording,
        ),
        CancelTimer(key=f"reservation/{event.reservation}"),
        SetTimer(
            key=f"call/{event.call}",
            due=event.at + ring_ms + SILENCE_MARGIN_MS,
            alarm=CallOverdue(at=0, call=event.call),
        ),
    ]


def _suppress(book: Book, contact: str, name: str) -> Suppress:
    """With the numbers as they are at this moment: an erasure may be the next that is decided."""
    return Suppress(contact=contact, list=name, numbers=book.contacts.by_ref[contact].numbers)


def bridge(book: Book, call: Call) -> list[Effect]:
    agent = book.agents.get(call.agent)
    if agent is None or agent.leg != call.agent_leg or agent.phone is not Phone.UP:
        return [HangUp(leg=call.id)]  # the agent left while the contact picked up
    return [BridgeLegs(leg=call.id, agent_leg=agent.leg, agent_channel=agent.channel)]


def resume(book: Book) -> list[Effect]:
    """Timers of a book read back from its log. Legs are left to `Resync`: first the PBX must tell what lives."""
    effects: list[Effect] = []
    settings = book.campaign.settings
    effects += [_suppress(book, contact, name) for contact, name in book.suppressed.items()]
    effects += _deal(book, 0)
    for held in book.reservations.values():
        if held.phase is Phase.OFFERED:
            due = ReservationDue(at=0, reservation=held.id)
            effects.append(SetTimer(key=f"reservation/{held.id}", due=held.expires_at, alarm=due))
    for call in (book.calls[one] for one in book.live):
        if call.status in calls.IN_SETUP:
            latest = call.requested_at + settings.ring_timeout_s * 1_000 + SILENCE_MARGIN_MS
            effects.append(SetTimer(key=f"call/{call.id}", due=latest, alarm=CallOverdue(at=0, call=call.id)))
    for agent in (book.agents[one] for one in book.phones.values()):
        if agent.phone is Phone.CALLING:
            latest = agent.since + settings.agent_ring_timeout_s * 1_000 + SILENCE_MARGIN_MS
            overdue = PhoneOverdue(at=0, agent=agent.id, leg=agent.leg)
            effects.append(SetTimer(key=f"phone/{agent.id}", due=latest, alarm=overdue))
    return effects
