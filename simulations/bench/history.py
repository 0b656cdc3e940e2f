"""What a working campaign writes down, made by the core alone: agents who dial, talk and dispose, their legs' facts.

No loop, no PBX, no store. Agents are generators of messages, each at a point of its own in its round, so that a turn's
events are as mixed as those of a live campaign. Identifiers are random as in life, for they decide what compression can do.
"""

from collections.abc import Generator, Iterator
from random import Random
from typing import Any

from engine.core.agent import DefaultState, Line
from engine.core.book import Book, Event
from engine.core.call import CallRequested
from engine.core.campaign import Create, Disposition, Mode, Settings, Start, Status
from engine.core.claims import Claims
from engine.core.contact import NewContact
from engine.core.effect import Effect
from engine.core.message import AddContacts, Allocate, Dial, Dispose, Message, Next, NoContact
from engine.core.personal import Details, Person
from engine.core.process import step
from engine.core.telephony import LegAnswered, LegBridged, LegCreated, LegEnded, LegReady, LegRinging, OriginateAgent

REF = "bench"
TURN_MS = 250
DISPOSITIONS = (Disposition(code="again", final=False, retry_after_s=60),)
ADDED_AT_ONCE = 1_000
STAGES = 9
"""Messages of a round."""


class History:
    """Deterministic by its seed. `turns()` never ends; each is the events of one message of every agent's."""

    def __init__(self, contacts: int, agents: int, seed: int = 1) -> None:
        self.book = Book()
        self._claims = Claims(max_calls_in_setup=agents)
        self._claims.pbx_up = True
        self._chance = Random(seed)
        self._at = 1_700_000_000_000
        self._contacts, self._agents = contacts, agents

    def begin(self) -> Iterator[list[Event]]:
        """Turns up to the running campaign, all agents on the line."""
        settings = Settings(dispositions=DISPOSITIONS, stop_when_completed=False)
        yield self._say(Create(at=self._at, by=REF, ref=REF, name=REF, mode=Mode.PREVIEW, settings=settings))[0]
        for first in range(0, self._contacts, ADDED_AT_ONCE):
            places = range(first, min(self._contacts, first + ADDED_AT_ONCE))
            people = tuple(person(REF, place) for place in places)
            yield self._say(AddContacts(at=self._at, by=REF, contacts=people))[0]
        for place in range(self._agents):
            yield self._say(_allocation(self._at, f"agent{place}"))[0]
        events, effects = self._say(Start(at=self._at, by=REF))
        yield events
        for asked in (one for one in effects if isinstance(one, OriginateAgent)):
            channel = f"PJSIP/{asked.phone}"
            for fact in (LegCreated, LegAnswered, LegReady):
                yield self._say(fact(asked.leg, self._at, channel))[0]
        assert self.book.campaign.status is Status.RUNNING

    def turns(self) -> Iterator[list[Event]]:
        rounds = [self._agent(f"agent{place}") for place in range(self._agents)]
        messages = [next(one) for one in rounds]
        for place, one in enumerate(rounds):  # each somewhere else in its round
            for _ in range(place % STAGES):
                events, _ = self._say(messages[place])
                messages[place] = one.send(events)
                yield events
        while True:
            self._at += TURN_MS
            turn: list[Event] = []
            for place, one in enumerate(rounds):
                events, _ = self._say(messages[place])
                turn += events
                messages[place] = one.send(events)
            yield turn

    def _say(self, message: Message) -> tuple[list[Event], list[Effect]]:
        events, effects, self._reply = step(self.book, message, self._claims, self._new_id)
        for event in events:
            self._claims.release(REF, event)
        return list(events), list(effects)

    def _new_id(self) -> str:
        return f"{self._chance.getrandbits(128):032x}"

    def _agent(self, name: str) -> Generator[Message, list[Event], None]:
        """An agent's round, for ever: a contact, a call that is answered, its end, a disposition."""
        chance = self._chance
        while True:
            yield Next(at=self._at, agent=name, reservation=self._new_id(), token=self._new_id())
            held: Any = self._reply
            if isinstance(held, NoContact):
                continue
            hand = {"agent": name, "reservation": held.id, "token": held.token}
            events = yield Dial(**hand, at=self._at, number=None, call=self._new_id(), leg=self._new_id())
            leg = next(one.call for one in events if isinstance(one, CallRequested))
            channel = f"PJSIP/carrier-{chance.getrandbits(32):08x}"
            yield LegCreated(leg, self._at, channel)
            yield LegRinging(leg, self._at)
            yield LegAnswered(leg, self._at, channel)
            yield LegReady(leg, self._at, channel)
            yield LegBridged(leg, self._at)
            yield LegEnded(
                leg, self._at, cause=16, sip_code=0, answered=True, ringing=True, far_end=chance.random() < 0.5
            )
            yield Dispose(**hand, at=self._at, disposition="again")


def person(ref: str, place: int) -> NewContact:
    """A contact as a CRM sends one: two numbers and a name."""
    details = Details(numbers=(f"+3468{place:07}", f"+3491{place:07}"), name=f"Contact Number {place}")
    name = f"{ref}:{place}"
    return NewContact(name, Person(name, details))


def _allocation(at: int, agent: str) -> Allocate:
    return Allocate(
        at=at, by=REF, agent=agent, phone=agent, line=Line.NAILED, default_state=DefaultState.AVAILABLE, weight=1
    )
