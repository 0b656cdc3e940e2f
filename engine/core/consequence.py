"""What must happen because of how things stand, whoever brought it about.

An agent who is wanted comes, one who isn't leaves as soon as no call needs them; a campaign whose agents are there runs,
one that is done stops, one that is drained has stopped. Nothing here is asked for: it follows.
"""

from collections.abc import Callable, Iterable

from engine.core import agent as agents
from engine.core import call as calls
from engine.core import campaign as campaigns
from engine.core import delivery, dialing
from engine.core.agent import (
    Agent,
    AgentAbsent,
    AgentArriving,
    AgentLeaving,
    AgentPresent,
    AgentRemoved,
    AgentStatus,
    AgentStatusChanged,
    Line,
    Phone,
    PhoneCalled,
    PhoneClosing,
    Presence,
    Wanted,
)
from engine.core.book import Book, Event
from engine.core.call import (
    Call,
    CallStatus,
)
from engine.core.campaign import (
    AgentsReady,
    CampaignStarting,
    CampaignStopping,
    Completed,
    Drained,
    Status,
    TargetReached,
)
from engine.core.claims import Claims, group_of
from engine.core.contact import FREE, ContactsUpcoming
from engine.core.outcome import Outcome, Party
from engine.core.reservation import DialRefused, Phase

UPCOMING_PER_AGENT = 2
TURNING = frozenset({CampaignStarting, CampaignStopping})
"""After these every agent's situation is another one."""


def follow(book: Book, at: int, events: Iterable[Event], claims: Claims, new_id: Callable[[], str]) -> Iterable[Event]:
    """Yield consequences, each already applied, until nothing more follows."""
    touched = _touched(book, events)
    while True:
        for name in touched:
            while True:
                agent = book.agents.get(name)
                consequences = _agent_next(book, agent, at, claims, new_id) if agent else []
                if not consequences:
                    break
                for event in consequences:
                    book.apply(event)
                    claims.take(book, event)
                    yield event
        lifecycle = _campaign_next(book, at)
        if not lifecycle:
            break
        for moved in lifecycle:
            book.apply(moved)
            yield moved
        touched = list(book.agents)
    for told in _upcoming(book, at):
        book.apply(told)
        yield told


def _upcoming(book: Book, at: int) -> list[ContactsUpcoming]:
    """Told anew when fewer of those last told are left than agents are at work."""
    if not book.campaign.settings.announce_upcoming or book.campaign.status is not Status.RUNNING:
        return []
    active = [one.id for one in book.agents.values() if one.presence is Presence.PRESENT]
    if not active or len(book.ahead) >= len(active):
        return []
    own = [one for agent in active for one in book.contacts.upcoming(at, agent, UPCOMING_PER_AGENT)]
    free = book.contacts.upcoming(at, FREE, UPCOMING_PER_AGENT * len(active))
    following = sorted([*own, *free], key=lambda one: one.place)[: UPCOMING_PER_AGENT * len(active)]
    refs = tuple(one.ref for one in following)
    return [ContactsUpcoming(at=at, contacts=refs)] if set(refs) - set(book.ahead) else []


def _touched(book: Book, events: Iterable[Event]) -> list[str]:
    """Agents whose situation the events may have changed."""
    named: dict[str, None] = {}
    for event in events:
        if type(event) in TURNING:
            return list(book.agents)
        agent = getattr(event, "agent", None)
        if agent is not None:
            named[agent] = None
    return list(named)


def _campaign_next(book: Book, at: int) -> tuple[campaigns.CampaignEvent, ...]:
    settings = book.campaign.settings
    match book.campaign.status:
        case Status.STARTING if not book.arriving:
            return campaigns.decide(book.campaign, AgentsReady(at=at))
        case _ if settings.target_engaged and (reached := _target_reached(book, at)) is not None:
            return (reached,)
        case Status.RUNNING if settings.stop_at_target and 0 < settings.target_engaged <= book.contacts.engaged:
            return campaigns.decide(book.campaign, Completed(at=at, reason="target_reached"))
        case Status.RUNNING if settings.stop_when_completed and len(book.contacts) and not book.contacts.open:
            return campaigns.decide(book.campaign, Completed(at=at))
        case Status.STOPPING if not book.live and not book.attending:
            return campaigns.decide(book.campaign, Drained(at=at))
        case _:
            return ()


def _target_reached(book: Book, at: int) -> TargetReached | None:
    target, engaged = book.campaign.settings.target_engaged, book.contacts.engaged
    told = book.campaign.reached == target or book.campaign.status is Status.DELETED
    return TargetReached(at=at, target=target, engaged=engaged) if target <= engaged and not told else None


def _agent_next(book: Book, agent: Agent, at: int, claims: Claims, new_id: Callable[[], str]) -> list[Event]:
    """The next thing that follows for one agent; nothing once they are where they should be."""
    held = book.reservations.get(agent.reservation)
    if held is not None and held.phase is not Phase.DIALING:
        moved = delivery.reconsider(book, agent, held, at)
        if moved:
            return moved
    ahead = book.reservations.get(agent.ahead)
    if ahead is not None:
        moved = delivery.reconsider(book, agent, ahead, at)
        if moved:
            return moved
        if held is None and agent.presence is Presence.PRESENT:
            return delivery.taken_up(book, ahead, at)
    status = agents.status_of(agent, held)
    if status is not agent.status:
        return [AgentStatusChanged(at=at, agent=agent.id, status=status, reason=agent.reason)]
    live = book.campaign.status in (Status.STARTING, Status.RUNNING)
    wants_in = live and agent.wanted is not Wanted.OFFLINE and not agent.withdrawn
    call = book.call_of(agent)
    if call is not None and call.status is CallStatus.ENDED:
        call = None
    match agent.presence:
        case Presence.ABSENT if wants_in:
            return _arrive(agent, at, claims.elsewhere(agent.id, book.campaign.ref, group_of(book, agent.id)))
        case Presence.ABSENT if agent.phone in (Phone.UP, Phone.CALLING) and call is None:
            return [PhoneClosing(at=at, agent=agent.id, leg=agent.leg)]
        case Presence.ABSENT if agent.withdrawn and held is None and agent.phone is Phone.DOWN:
            return [AgentRemoved(at=at, agent=agent.id)]
        case Presence.ARRIVING if not wants_in:
            return [AgentLeaving(at=at, agent=agent.id, reason=_why_out(book, agent))]
        case Presence.ARRIVING if agent.line is Line.ON_DEMAND or agent.phone is Phone.UP:
            return [AgentPresent(at=at, agent=agent.id)]
        case Presence.ARRIVING if agent.phone is Phone.DOWN:
            return [PhoneCalled(at=at, agent=agent.id, leg=new_id())]
        case Presence.PRESENT if not wants_in and (call is None or call.status is CallStatus.AWAITING_AGENT):
            cancelled = _cancelled(call, at) if call else []
            return [*cancelled, AgentLeaving(at=at, agent=agent.id, reason=_why_out(book, agent))]
        case Presence.PRESENT if agent.line is Line.ON_DEMAND:
            return _on_demand(book, agent, call, at, claims)
        case Presence.LEAVING if agent.phone in (Phone.UP, Phone.CALLING):
            return [PhoneClosing(at=at, agent=agent.id, leg=agent.leg)]
        case Presence.LEAVING if agent.phone is Phone.DOWN and call is None:
            return [AgentAbsent(at=at, agent=agent.id, reason=agent.reason)]
        case _:
            return []


def _arrive(agent: Agent, at: int, claimed_by: str | None) -> list[Event]:
    if claimed_by is None:
        return [AgentArriving(at=at, agent=agent.id)]
    reason = f"active-in:{claimed_by}"
    return [
        AgentAbsent(at=at, agent=agent.id, reason=reason),
        AgentStatusChanged(at=at, agent=agent.id, status=AgentStatus.OFFLINE, reason=reason),
    ]


def _why_out(book: Book, agent: Agent) -> str:
    if agent.withdrawn:
        return "removed"
    if agent.wanted is Wanted.OFFLINE:
        return agent.reason or "requested"
    return f"campaign-{book.campaign.status}"


def _cancelled(call: Call, at: int) -> list[Event]:
    return [calls.end(call, at, Outcome.CANCELLED, Party.DIALER, "the agent or the campaign stopped first")]


def _on_demand(book: Book, agent: Agent, call: Call | None, at: int, claims: Claims) -> list[Event]:
    """An on-demand agent's phone lives as long as the call it is for."""
    if call is None:
        closing = agent.phone in (Phone.UP, Phone.CALLING)
        return [PhoneClosing(at=at, agent=agent.id, leg=agent.leg)] if closing else []
    if call.status is CallStatus.AWAITING_AGENT and agent.phone is Phone.UP:
        why_not = dialing.late(book, call, claims, at)
        if why_not is None:
            return [dialing.request(book, call, at, agent.leg)]
        refused = DialRefused(
            at=at,
            contact=call.contact,
            agent=agent.id,
            reservation=call.reservation,
            number=call.number,
            rule=why_not.rule,
            detail=why_not.detail,
            version=why_not.version,
        )
        return [refused, calls.end(call, at, Outcome.CANCELLED, Party.DIALER, f"forbidden: {why_not.rule}")]
    return []
