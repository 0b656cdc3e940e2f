"""Tests that read like a conversation with the core: given what was said, when this is said, then that is answered.

    talk = Conversation()
    talk.running("a1", contacts={"k1": ["5551"]})
    said = talk.next("a1")
    assert said.told == ["contact.reserved", "agent.status_changed"]

Every step also proves two laws: the events alone give the same book, and so do its columns.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from engine.core.agent import DefaultState, Line, Wanted
from engine.core.blocks import Form
from engine.core.book import Book, Snapshot, restore
from engine.core.call import CallStatus
from engine.core.campaign import Create, Delete, Mode, Modify, Settings, Start, Status, Stop
from engine.core.claims import Claims
from engine.core.contact import ContactsAssigned, NewContact
from engine.core.effect import CancelTimer, DealContacts, SetTimer
from engine.core.ledger import StillCalls
from engine.core.message import (
    AddContacts,
    Allocate,
    AskAgent,
    CancelContact,
    ClickToCall,
    Dial,
    Dispose,
    Extend,
    HangUpCall,
    Message,
    Next,
    NoContact,
    Release,
    Resync,
    Skip,
    Withdraw,
)
from engine.core.outcome import Party
from engine.core.personal import Details, Person
from engine.core.process import step
from engine.core.reaction import resume
from engine.core.recent import StillRecent
from engine.core.refusal import Refused
from engine.core.reservation import Reservation
from engine.core.roll import StillContacts
from engine.core.telephony import (
    LegAbsent,
    LegAnswered,
    LegBridged,
    LegCreated,
    LegEnded,
    LegReady,
    LegRinging,
    LegSeen,
    LegState,
    OriginateFailed,
    OriginateRejected,
)
from tests.engine.parts import Parts

T = TypeVar("T")
START_AT = 1_000_000


class Said:
    """What one message led to."""

    def __init__(self, events: Sequence[Any], effects: Sequence[Any], reply: Any) -> None:
        self.events, self.effects, self.reply = list(events), list(effects), reply

    @property
    def told(self) -> list[str]:
        """The events' names, in order."""
        return [str(one.__struct_config__.tag).rsplit(".v", 1)[0] for one in self.events]

    @property
    def asked(self) -> list[str]:
        """The names of the effects on the PBX, in order."""
        return [type(one).__name__ for one in self.effects if not isinstance(one, SetTimer | CancelTimer)]

    def one(self, kind: type[T]) -> T:
        """The only event or effect of a kind."""
        (found,) = [one for one in (*self.events, *self.effects) if isinstance(one, kind)]
        return found

    def all(self, kind: type[T]) -> list[T]:
        """The events or effects of a kind, in order."""
        return [one for one in (*self.events, *self.effects) if isinstance(one, kind)]

    def none(self, kind: type) -> bool:
        return not any(isinstance(one, kind) for one in (*self.events, *self.effects))

    def statuses(self) -> list[tuple[str, str]]:
        """What the agents are said to be doing: (agent, status)."""
        return [(one.agent, one.status) for one in self.events if hasattr(one, "status")]

    def timer(self, key: str) -> SetTimer | None:
        """How the timer of a key was left: set, or None where it was cancelled or never set."""
        last = [one for one in self.effects if isinstance(one, SetTimer | CancelTimer) and one.key == key]
        return last[-1] if last and isinstance(last[-1], SetTimer) else None


FORMS: dict[str, Form[Any]] = {
    "contacts": Form(StillContacts),
    "calls": Form(StillCalls),
    "recent": Form(StillRecent),
}


def restored(snapshot: Snapshot) -> Book:
    """The book again, its contacts and calls from the bytes that they are kept as."""
    parts: dict[str, bytes] = {}
    for name, form in FORMS.items():
        parts.update(form.write(name, getattr(snapshot, name)))
    return restore(snapshot._replace(**{name: form.read(name, Parts(parts)) for name, form in FORMS.items()}))


def queued(book: Book) -> dict[str, Any]:
    """Who waits in whose queue, whatever way they came there."""
    waiting = {}
    for owner, queue in book.contacts.queues.items():
        lines = {key: list(line) for key, line in queue._lines.items() if list(line)}
        if lines:
            waiting[owner] = lines
    return waiting


class Conversation:
    """One campaign; several may share `claims`, as in one process."""

    def __init__(self, ref: str = "c1", claims: Claims | None = None, **settings: Any) -> None:
        self.ref = ref
        self.claims = claims or Claims(max_calls_in_setup=50)
        self.claims.pbx_up = True
        self.book = Book()
        self.log: list[Any] = []
        self.at = START_AT
        self.last = Said([], [], None)
        self._ids = 0
        self.offsets: tuple[int, ...] = (0,)
        chosen = msgspec.convert({"release_grace_s": 0, **settings}, Settings)
        self.when(Create(at=self.at, by="m", ref=ref, name="Spring", mode=Mode.PREVIEW, settings=chosen))

    # -- the core ---------------------------------------------------------------------------------------------------

    def when(self, message: Message) -> Said:
        """Say something. Raises Refused, and proves that a refused message changed nothing."""
        before = self.book.canonical()
        try:
            self.last = Said(*step(self.book, message, self.claims, self.new_id))
        except Refused:
            assert self.book.canonical() == before
            raise
        self.log += self.last.events
        for event in self.last.events:
            self.claims.release(self.ref, event)
        assert replayed(self.log).canonical() == self.book.canonical()
        snapshot = self.book.snapshot()
        assert restored(snapshot).canonical() == self.book.canonical()
        return self.last

    def refused(self, message: Message) -> str:
        """Say something that isn't allowed; the code of the refusal."""
        try:
            said = self.when(message)
        except Refused as refusal:
            return refusal.code
        raise AssertionError(f"not refused: {said.told}")

    def crash(self) -> Said:
        """Lose everything but the log; read it back. Timers are set again, legs are left to a resync."""
        pbx_up = self.claims.pbx_up
        self.book = replayed(self.log)
        self.claims = Claims(self.claims.max_calls_in_setup, self.claims.trunks)
        self.claims.pbx_up = pbx_up
        self.claims.adopt(self.book)
        return Said([], resume(self.book), None)

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:024x}{self.ref.encode().hex():0>8}"[-32:]

    def wait(self, ms: int) -> None:
        self.at += ms

    # -- a campaign manager -----------------------------------------------------------------------------------------

    def start(self) -> Said:
        return self.when(Start(at=self.at, by="m"))

    def stop(self, force: bool = False) -> Said:
        return self.when(Stop(at=self.at, by="m", force=force))

    def delete(self) -> Said:
        return self.when(Delete(at=self.at, by="m"))

    def edit(self, **settings: Any) -> Said:
        return self.when(Modify(at=self.at, by="m", settings=settings))

    def add(self, contacts: Mapping[str, Sequence[str]]) -> Said:
        new = [NewContact(ref, Person(ref, Details(numbers=tuple(numbers)))) for ref, numbers in contacts.items()]
        return self.when(AddContacts(at=self.at, by="m", contacts=tuple(new)))

    def add_as(self, *contacts: NewContact, overwrite: bool = False) -> Said:
        return self.when(AddContacts(at=self.at, by="m", contacts=contacts, overwrite=overwrite))

    def deal(self) -> list[ContactsAssigned]:
        """Split contacts over agents until nothing is left to move."""
        done: list[ContactsAssigned] = []
        while step := self.when(DealContacts(at=self.at)).all(ContactsAssigned):
            done += step
        return done

    def shares(self) -> dict[str, int]:
        """How many open contacts are whose."""
        return {agent: count for agent, count in self.book.contacts.dealt.items() if count}

    def cancel(self, contact: str) -> Said:
        return self.when(CancelContact(at=self.at, by="m", contact=contact, reason="asked not to be called"))

    def allocate(
        self,
        agent: str,
        line: Line = Line.NAILED,
        default: DefaultState = DefaultState.AVAILABLE,
        phone: str = "",
        weight: int = 1,
    ) -> Said:
        phone = phone or f"desk-{agent}"
        return self.when(
            Allocate(at=self.at, by="m", agent=agent, phone=phone, line=line, default_state=default, weight=weight)
        )

    def withdraw(self, agent: str) -> Said:
        return self.when(Withdraw(at=self.at, by="m", agent=agent))

    def running(
        self,
        *agents: str,
        line: Line = Line.NAILED,
        contacts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Given a running campaign with these agents on the line."""
        self.add(contacts if contacts is not None else {"k1": ["5551"], "k2": ["5552"]})
        for agent in agents:
            self.allocate(agent, line)
        self.start()
        if line is Line.NAILED:
            for agent in agents:
                self.phone_ready(agent)
        assert self.book.campaign.status is Status.RUNNING

    # -- an agent ---------------------------------------------------------------------------------------------------

    def ask(self, agent: str, wanted: Wanted, reason: str = "") -> Said:
        return self.when(AskAgent(at=self.at, by=agent, agent=agent, wanted=wanted, reason=reason))

    def next(self, agent: str, ahead: bool = False) -> Said:
        return self.when(Next(at=self.at, agent=agent, reservation=self.new_id(), token=self.new_id(), ahead=ahead))

    def hand(self, agent: str) -> Reservation:
        """The reservation that the agent holds."""
        return self.book.reservations[self.book.agents[agent].reservation]

    def _with_token(self, agent: str, **changes: Any) -> dict[str, Any]:
        held = self.hand(agent)
        return {"at": self.at, "agent": agent, "reservation": held.id, "token": held.token, **changes}

    def dial_message(self, agent: str, number: str | None = None, **changes: Any) -> Dial:
        known = self.book.contacts.by_ref[self.hand(agent).contact].numbers
        offsets = dict.fromkeys(known, self.offsets)
        hand = self._with_token(agent, **changes)
        return Dial(**hand, number=number, offsets=offsets, call=self.new_id(), leg=self.new_id())

    def click_message(self, agent: str, contact: str, request: str = "") -> ClickToCall:
        known = self.book.contacts.by_ref.get(contact)
        return ClickToCall(
            at=self.at,
            by="crm",
            request=request or self.new_id(),
            agent=agent,
            contact=contact,
            number=None,
            reservation=self.new_id(),
            token=self.new_id(),
            call=self.new_id(),
            leg=self.new_id(),
            offsets=dict.fromkeys(known.numbers, self.offsets) if known is not None else {},
        )

    def click(self, agent: str, contact: str, request: str = "") -> Said:
        return self.when(self.click_message(agent, contact, request))

    def failing(self, agent: str, cause: int = 17, number: str | None = None) -> Said:
        """Given an attempt of the agent's that ended so, the contact still in hand."""
        self.dial(agent, number)
        return self.ended(self.call_of(agent), cause=cause)

    def delivered(self, agent: str) -> str:
        """The contact that the agent gets now, and gives back by finishing it."""
        contact = self.next(agent).reply.contact
        self.dispose(agent, "no_contact")
        return str(contact)

    def dial(self, agent: str, number: str | None = None) -> Said:
        return self.when(self.dial_message(agent, number))

    def extend(self, agent: str) -> Said:
        return self.when(Extend(**self._with_token(agent)))

    def skip(self, agent: str) -> Said:
        return self.when(Skip(**self._with_token(agent), reason="later"))

    def release(self, agent: str, by: str = "") -> Said:
        held = self._with_token(agent)
        return self.when(Release(**{**held, "token": None if by else held["token"]}, by=by or agent, reason=""))

    def dispose(
        self, agent: str, disposition: str = "engaged", back_at: int | None = None, personal: bool = True
    ) -> Said:
        done = Dispose(**self._with_token(agent), disposition=disposition, callback_at=back_at, personal=personal)
        return self.when(done)

    def hang_up(self, agent: str, party: Party = Party.AGENT) -> Said:
        return self.when(HangUpCall(at=self.at, by=agent, party=party, call=self.hand(agent).call))

    # -- the PBX ----------------------------------------------------------------------------------------------------

    def leg(self, name: str) -> str:
        """An agent's leg; or a leg, given as itself."""
        return self.book.agents[name].leg if name in self.book.agents else name

    def call_of(self, agent: str) -> str:
        """The leg of the contact that the agent is in a call with."""
        return self.hand(agent).call

    def phone_ready(self, agent: str) -> Said:
        return self.ready(self.book.agents[agent].leg)

    def created(self, leg: str) -> Said:
        return self.when(LegCreated(leg=leg, at=self.at, channel=f"PJSIP/{leg[-6:]}"))

    def ringing(self, leg: str) -> Said:
        return self.when(LegRinging(leg=leg, at=self.at))

    def answered(self, leg: str) -> Said:
        return self.when(LegAnswered(leg=leg, at=self.at, channel=f"PJSIP/{leg[-6:]}"))

    def ready(self, leg: str) -> Said:
        return self.when(LegReady(leg=leg, at=self.at, channel=f"PJSIP/{leg[-6:]}"))

    def bridged(self, leg: str) -> Said:
        return self.when(LegBridged(leg=leg, at=self.at))

    def ended(self, leg: str, cause: int = 16, answered: bool = False, far_end: bool = False) -> Said:
        return self.when(
            LegEnded(leg=leg, at=self.at, cause=cause, sip_code=0, answered=answered, ringing=True, far_end=far_end)
        )

    def rejected(self, leg: str) -> Said:
        return self.when(OriginateRejected(leg=leg, at=self.at, reason="pbx-down"))

    def originate_failed(self, leg: str) -> Said:
        return self.when(OriginateFailed(leg=leg, at=self.at))

    def absent(self, leg: str) -> Said:
        return self.when(LegAbsent(leg=leg, at=self.at))

    def seen(self, leg: str, state: LegState = LegState.UP, ready: bool = False, bridged: bool = False) -> LegSeen:
        return LegSeen(leg=leg, at=self.at, channel=f"PJSIP/{leg[-6:]}", state=state, ready=ready, bridged=bridged)

    def resync(self, *legs: LegSeen, restarted: bool = False, heard_until: int = 0) -> Said:
        living = {one.leg: one for one in legs}
        return self.when(Resync(at=self.at, legs=living, restarted=restarted, heard_until=heard_until))

    def talking(self, agent: str, number: str | None = None) -> str:
        """Given an agent (nailed) who talks to the next contact; the call."""
        self.next(agent)
        self.dial(agent, number)
        call = self.call_of(agent)
        for hear in (self.created, self.ringing, self.answered, self.ready, self.bridged):
            hear(call)
        assert self.book.calls[call].status is CallStatus.BRIDGED
        return call


def replayed(events: Iterable[Any]) -> Book:
    book = Book()
    for event in events:
        book.apply(event)
    return book


def nobody(said: Said) -> str:
    """Why there was no contact."""
    assert isinstance(said.reply, NoContact), said.reply
    return said.reply.reason
