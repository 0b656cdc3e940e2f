"""Dialing a contact in hand: which number, whether it may be, and the intent to.

Nothing is dialled that the gate doesn't let through. A number that a rule forbids is an event and a refusal.
"""

from engine.core import gate, recording, trunk
from engine.core.agent import Agent, AgentEvent, Line, Phone, PhoneCalled, Presence, Wanted
from engine.core.book import Book
from engine.core.call import Call, CallAwaitingAgent, CallRequested, CallStatus
from engine.core.campaign import Status
from engine.core.claims import Claims
from engine.core.contact import (
    Contact,
    ContactStatus,
)
from engine.core.delivery import Decided, at_work, in_hand, reserve
from engine.core.gate import Forbidden
from engine.core.message import (
    ClickToCall,
    Dial,
    Offsets,
)
from engine.core.number import candidates, strategy_for
from engine.core.outcome import Outcome
from engine.core.refusal import Refused, against_rule, invalid, no_room
from engine.core.reservation import (
    DialRefused,
    Phase,
    Reservation,
)


def dial(book: Book, command: Dial, claims: Claims) -> Decided:
    held = in_hand(book, command.agent, command.reservation, command.token)
    agent = book.agents[held.agent]
    if held.ahead:
        raise against_rule("reservation-ahead", f"agent {agent.id!r} has another contact in hand before this one")
    if held.phase is Phase.DIALING:
        raise against_rule("call-in-progress", f"call {held.call} of this contact is not over")
    if held.phase is Phase.WRAPUP:
        raise against_rule("contact-answered", "the contact was talked to: dispose of it first")
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    at_work(agent)
    return _place(book, held, agent, command, claims)


def click(book: Book, command: ClickToCall, claims: Claims) -> Decided:
    known = book.requests.get(command.request)
    if known is not None:
        return [], [], known  # the same request, the same call
    agent = ready(book, command.agent, command.contact)
    held = book.reservations.get(agent.reservation)
    contact = book.contacts.by_ref.get(command.contact)
    if contact is None:
        raise against_rule("contact-not-in-campaign", f"contact {command.contact!r} is not in this campaign", "contact")
    if held is not None and held.phase is not Phase.OFFERED:
        raise against_rule("call-in-progress", f"the contact is in {held.phase} with this agent")
    if held is not None:
        return _place(book, held, agent, command, claims)
    if contact.status is ContactStatus.HELD:
        raise against_rule("contact-held", "another agent has this contact in hand", "contact")
    if contact.status in (ContactStatus.FINAL, ContactStatus.CANCELLED):
        raise against_rule("contact-closed", f"contact {contact.ref!r} is {contact.status}", "contact")
    reserved, granted = reserve(book, contact, agent, command)
    events, effects, reply = _place(book, granted, agent, command, claims)
    if isinstance(reply, Refused):  # nothing was dialled: the contact stays where it was
        return events, effects, reply
    return [reserved, *events], effects, reply


def ready(book: Book, name: str, contact: str) -> Agent:
    """The agent for whom a call with a contact may be asked now; whoever makes a contact for the occasion asks before.

    Raises Refused.
    """
    if book.campaign.status is not Status.RUNNING:
        raise against_rule("campaign-not-running", f"campaign {book.campaign.ref!r} is {book.campaign.status}")
    agent = book.agents.get(name)
    if agent is None or agent.withdrawn:
        raise against_rule("agent-not-in-campaign", f"agent {name!r} is not in this campaign", "agent")
    if agent.presence is not Presence.PRESENT or agent.wanted is not Wanted.AVAILABLE:
        raise against_rule("agent-not-available", f"agent {agent.id!r} is {agent.status}")
    held = book.reservations.get(agent.reservation)
    if held is not None and held.contact != contact:
        raise against_rule("agent-holds-another", f"agent {agent.id!r} has another contact in hand")
    return agent


def _place(book: Book, held: Reservation, agent: Agent, command: Dial | ClickToCall, claims: Claims) -> Decided:
    """Choose the number, look whether it may be dialled, and say so: to the agent's phone first where it isn't up."""
    contact = book.contacts.by_ref[held.contact]
    number, why_not = _chosen(book, contact, command.number, command.offsets, claims, command.at)
    if why_not is not None:
        refused = DialRefused(
            at=command.at,
            contact=contact.ref,
            agent=agent.id,
            reservation=held.id,
            number=number,
            rule=why_not.rule,
            detail=why_not.detail,
            version=why_not.version,
        )
        return [refused], [], against_rule("dial-forbidden", f"{why_not.rule}: {why_not.detail}", "number")
    if agent.id in claims.busy:
        raise against_rule("agent-in-call", f"agent {agent.id!r} is in call {claims.busy[agent.id]}")
    _free_line(book, claims, contact.numbers[number])
    over, why_that = trunk.choose(book, contact, claims)
    awaiting = CallAwaitingAgent(
        at=command.at,
        call=command.call,
        contact=contact.ref,
        number=number,
        reservation=held.id,
        agent=agent.id,
        trunk=over,
        trunk_reason=why_that,
        by_choice=command.number is not None,
        request=command.request if isinstance(command, ClickToCall) else "",
        offsets=command.offsets.get(contact.numbers[number], ()),
        strategy=strategy_for(contact, book.campaign.settings) if command.number is None else "",
    )
    if agent.phone is Phone.UP:
        return [_request(book, awaiting, command.call, command.at, agent.leg)], [], command.call
    if agent.line is Line.NAILED:
        raise against_rule("agent-phone-down", f"the phone of agent {agent.id!r} is {agent.phone}")
    if agent.phone is not Phone.DOWN:
        raise no_room("agent-phone-closing", "the phone is still closing after the last call")
    called: AgentEvent = PhoneCalled(at=command.at, agent=agent.id, leg=command.leg)
    return [awaiting, called], [], command.call


def _chosen(
    book: Book, contact: Contact, number: str | None, offsets: Offsets, claims: Claims, at: int
) -> tuple[int, Forbidden | None]:
    """Index of the number to dial, with the rule that forbids it: the one a person chose, or the best that is allowed."""
    settings = book.campaign.settings
    if not contact.numbers:
        raise against_rule("contact-erased", f"the data of contact {contact.ref!r} was erased")

    def why_not(index: int) -> Forbidden | None:
        dialled = contact.numbers[index]
        return gate.forbidden(book, contact, dialled, offsets.get(dialled, ()), claims.standing, at)

    if number is not None:
        if number not in contact.numbers:
            raise invalid("number", f"contact {contact.ref!r} has no such number")
        index = contact.numbers.index(number)
        if index and not settings.agents_choose_number:
            raise against_rule("number-not-open", "in this campaign the dialer chooses the number", "number")
        if contact.last_outcome(index) is Outcome.INVALID:
            raise against_rule("number-invalid", "this number does not exist: an earlier attempt showed it", "number")
        return index, why_not(index)
    usable = candidates(book, contact, claims.standing, at)
    if not usable:
        raise against_rule("no-number-left", "no number of this contact may be dialled by itself now")
    looked = [(index, why_not(index)) for index in usable]
    return next((one for one in looked if one[1] is None), looked[0])


def late(book: Book, call: Call, claims: Claims, at: int) -> Forbidden | None:
    """Whether a rule forbids the contact's number by now that the agent's phone has come."""
    contact = book.contacts.by_ref[call.contact]
    if call.number >= len(contact.numbers):
        return Forbidden("erased", "the data of the contact was erased")
    return gate.forbidden(book, contact, contact.numbers[call.number], call.offsets, claims.standing, at)


def _free_line(book: Book, claims: Claims, number: str) -> None:
    in_call = claims.call_to(number)
    if in_call is not None:
        raise against_rule("number-in-call", f"call {in_call} to this number is not over", "number")
    if not claims.pbx_up:
        raise no_room("pbx-down", "the PBX is not connected")
    if len(book.live) >= book.campaign.settings.max_lines:
        raise no_room("lines-in-use", f"all {book.campaign.settings.max_lines} lines of the campaign are in use")
    if len(claims.in_setup) >= claims.max_calls_in_setup:
        raise no_room("setup-limit", f"{claims.max_calls_in_setup} calls are being set up")


def request(book: Book, call: Call, at: int, agent_leg: str) -> CallRequested:
    """The intent to dial, now that the agent's phone is there."""
    assert call.status is CallStatus.AWAITING_AGENT
    return _request(book, call, call.id, at, agent_leg)


def _request(book: Book, call: Call | CallAwaitingAgent, call_id: str, at: int, agent_leg: str) -> CallRequested:
    campaign = book.campaign
    return CallRequested(
        at=at,
        call=call_id,
        contact=call.contact,
        number=call.number,
        reservation=call.reservation,
        agent=call.agent,
        agent_leg=agent_leg,
        trunk=call.trunk,
        trunk_reason=call.trunk_reason,
        by_choice=call.by_choice,
        request=call.request,
        strategy=call.strategy,
        recording=recording.name_of(campaign.ref, at, call_id) if campaign.settings.record else "",
    )
