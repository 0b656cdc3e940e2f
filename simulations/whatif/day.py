"""A day as its log has it: how things stood when it began, and what came from outside while it lasted.

What came from outside is given to the rerun as it came: contacts, settings, agents' shifts and breaks, starts and stops,
do-not-call lists, calls that an external system asked for. Whatever the dialer decided is left out: it is decided anew.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple

from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.core.agent import AgentAllocated, AgentAsked, AgentStatus, AgentWithdrawn, PhoneDown, Wanted
from engine.core.book import Book
from engine.core.call import CallAwaitingAgent, CallRequested
from engine.core.campaign import (
    CampaignCreated,
    CampaignDeleted,
    CampaignStarting,
    CampaignStopping,
    Create,
    Modify,
    SettingsChanged,
    Start,
    Stop,
    StopForced,
)
from engine.core.contact import ContactCancelled, ContactsAdded, ContactsReplaced
from engine.core.directory import (
    AgentRegistered,
    CampaignRefUsed,
    ContactRefsUsed,
    ListNumbers,
    NumbersListed,
    NumbersUnlisted,
    UnlistNumbers,
)
from engine.core.erasure import NumbersSuppressed
from engine.core.message import AddContacts, Allocate, AskAgent, CancelContact, ClickToCall, Withdraw
from engine.ports import Recorded
from eventstore import Store

BACK_AFTER_MS = 5_000
"""Who was at work when the day began comes back so soon: in the rerun all phones are down at first."""
BY_DISPOSITION = "disposition:"
"""How the dialer signs what it puts on do-not-call lists itself."""
HUNG_UP = ("phone-hung-up", "phone-lost")


class NoSuchDay(Exception):
    """There is nothing to run again; says what and why."""


class PhoneHungUp(NamedTuple):
    """An agent put the receiver down, or their phone went away."""

    agent: str


class Input(NamedTuple):
    """What came from outside, `at` epoch ms: a command to the campaign or the directory, or what an agent's phone did."""

    at: int
    what: Any


class Day(NamedTuple):
    """`begins` and `ends` are epoch ms. `book` is how the campaign stood when it began, made of the events `before`."""

    campaign: str
    begins: int
    ends: int
    zone: tzinfo
    before: Sequence[Any]
    directory: Sequence[Any]
    """Of the directory's log before the day: what concerns the campaign."""
    events: Sequence[Any]
    inputs: Sequence[Input]
    book: Book

    @property
    def live_at_first(self) -> int:
        """Calls that were up when the day began. The rerun's PBX knows nothing of them: there they end at once."""
        return len(self.book.live)


async def read_day(store: Store, campaign: str, day: date | None, zone: tzinfo, now: int) -> Day:
    """A day of a campaign, by default the last one on which it dialled. Raises NoSuchDay, and what reading a log raises.

    It ends at midnight in the zone, or `now` (epoch ms), or where the campaign was deleted.
    """
    whole = [one async for one in _events(store.read(log_of(campaign)))]
    if not whole:
        raise NoSuchDay(f"there is no campaign {campaign!r}")
    if day is None:
        dialled = [one.at for one in whole if isinstance(one, CallRequested)]
        if not dialled:
            raise NoSuchDay(f"campaign {campaign!r} never dialled anybody: there is no day to run again")
        day = datetime.fromtimestamp(dialled[-1] / 1_000, zone).date()
    begins, ends = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
    if begins < now < ends:
        ends = now
    first = _place(whole, lambda one: one.at >= begins)
    last = _place(whole, lambda one: one.at >= ends or (isinstance(one, CampaignDeleted) and one.at >= begins))
    if last < len(whole) and isinstance(whole[last], CampaignDeleted):
        ends = whole[last].at
    before, events = whole[:first], whole[first:last]
    if not any(isinstance(one, CallRequested) for one in events):
        raise NoSuchDay(f"campaign {campaign!r} dialled nobody on {day}")
    book = Book()
    for one in before:
        book.apply(one)
    known = [one async for one in _events(store.read(DIRECTORY))]
    inputs = [*_back(book, begins), *_inputs(before, events), *_listed(known, begins, ends)]
    return Day(
        campaign,
        begins,
        ends,
        zone,
        before,
        [one for one in known if one.at < begins and _concerns(one, campaign)],
        events,
        sorted(inputs, key=lambda one: one.at),  # stable: what came at one moment stays in its order
        book,
    )


async def _events(read: AsyncIterator[Sequence[Recorded]]) -> AsyncIterator[Any]:
    async for batch in read:
        for one in batch:
            yield one.event


def _place(events: Sequence[Any], is_it: Callable[[Any], bool]) -> int:
    return next((place for place, one in enumerate(events) if is_it(one)), len(events))


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime.combine(day, time(), zone).astimezone(UTC).timestamp() * 1_000)


def _concerns(event: Any, campaign: str) -> bool:
    match event:
        case CampaignRefUsed():
            return event.ref == campaign
        case ContactRefsUsed():
            return event.campaign == campaign
        case _:
            return isinstance(event, NumbersListed | NumbersUnlisted | NumbersSuppressed | AgentRegistered)


def _back(book: Book, begins: int) -> list[Input]:
    """Those who were at work when the day began, as they were: at their desks or in a break."""
    return [
        Input(
            begins + BACK_AFTER_MS,
            AskAgent(at=0, by="day", agent=one.id, wanted=one.wanted, reason=one.reason),
        )
        for one in book.agents.values()
        if one.status is not AgentStatus.OFFLINE and one.wanted is not Wanted.OFFLINE
    ]


def _inputs(before: Sequence[Any], events: Sequence[Any]) -> list[Input]:
    book, found = Book(), []
    for one in before:
        book.apply(one)
    for one in events:
        given = _hung_up(one, book) if isinstance(one, PhoneDown) else _clicked(one, book) or _command(one)
        if given is not None:
            found.append(Input(one.at, given))
        book.apply(one)
    return found


def _command(event: Any) -> Any:
    """What must have been asked for this to happen; None where it was the dialer's doing. The rerun sets the time."""
    match event:
        case CampaignCreated(ref=ref, name=name, mode=mode, settings=settings, by=by):
            return Create(at=0, by=by, ref=ref, name=name, mode=mode, settings=settings)
        case SettingsChanged(new=new, by=by):
            return Modify(at=0, by=by, settings=new)
        case CampaignStarting(by=by):
            return Start(at=0, by=by)
        case CampaignStopping(reason="requested", by=by):
            return Stop(at=0, by=by)
        case StopForced(by=by):
            return Stop(at=0, by=by, force=True)
        case ContactsAdded(contacts=contacts, by=by):
            return AddContacts(at=0, by=by, contacts=contacts)
        case ContactsReplaced(contacts=contacts, by=by):
            return AddContacts(at=0, by=by, contacts=contacts, overwrite=True)
        case ContactCancelled(contact=contact, reason=reason, by=by):
            return CancelContact(at=0, by=by, contact=contact, reason=reason)
        case AgentAllocated():
            return Allocate(
                at=0,
                by=event.by,
                agent=event.agent,
                phone=event.phone,
                line=event.line,
                default_state=event.default_state,
                weight=event.weight,
            )
        case AgentWithdrawn(agent=agent, by=by):
            return Withdraw(at=0, by=by, agent=agent)
        case AgentAsked(agent=agent, wanted=wanted, reason=reason, by=by):
            return AskAgent(at=0, by=by, agent=agent, wanted=wanted, reason=reason)
        case _:
            return None


def _clicked(event: Any, book: Book) -> ClickToCall | None:
    """A call that an external system asked for. With an on-demand agent it is first told of while the phone rings."""
    if not isinstance(event, CallAwaitingAgent | CallRequested) or not event.request or event.call in book.calls:
        return None
    contact = book.contacts.by_ref[event.contact]
    number = contact.numbers[event.number] if event.by_choice and event.number < len(contact.numbers) else None
    return ClickToCall(
        at=0,
        by="day",
        request=event.request,
        agent=event.agent,
        contact=event.contact,
        number=number,
        reservation="",
        token="",
        call="",
        leg="",
    )


def _hung_up(event: PhoneDown, book: Book) -> PhoneHungUp | None:
    return PhoneHungUp(event.agent) if event.reason in HUNG_UP and event.agent in book.agents else None


def _listed(known: Sequence[Any], begins: int, ends: int) -> list[Input]:
    """Numbers that somebody put on a list, or took off, during the day."""
    found: list[Input] = []
    for one in known:
        if not isinstance(one, NumbersListed | NumbersUnlisted) or not begins <= one.at < ends:
            continue
        numbers = one.person.details.numbers if one.person.details is not None else ()
        if not numbers or one.by.startswith(BY_DISPOSITION):
            continue
        if isinstance(one, NumbersListed):
            listed = ListNumbers(at=0, by=one.by, list=one.list, numbers=numbers, until=one.until)
            found.append(Input(one.at, listed))
        else:
            found.append(Input(one.at, UnlistNumbers(at=0, by=one.by, list=one.list, numbers=numbers)))
    return found
