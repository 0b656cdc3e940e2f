"""What must hold across campaigns: one agent active in one campaign, one number in one unresolved call.

Derived from all campaigns' events as they are applied, by the one process that owns the logs; never written down, so it
can't disagree with them.
"""

from engine.core.agent import AgentAbsent, AgentArriving, PhoneCalled, PhoneDown
from engine.core.book import Book, Event
from engine.core.call import (
    CallAwaitingAgent,
    CallConnected,
    CallEnded,
    CallRequested,
    CallStatus,
)


class Claims:
    def __init__(self, max_calls_in_setup: int) -> None:
        self.max_calls_in_setup = max_calls_in_setup
        self.numbers: dict[str, str] = {}
        """Live call by the number it is for."""
        self.agents: dict[str, str] = {}
        """Campaign that an agent is active in."""
        self.legs: dict[str, str] = {}
        """Campaign by leg, for every leg that may live."""
        self.in_setup: dict[str, None] = {}
        """Calls not yet answered. One that waits for its agent counts: it is dialled without asking again."""
        self.pbx_up = False

    def follow(self, book: Book, event: Event) -> None:
        """Take note of an event that `book` has just applied."""
        ref = book.campaign.ref
        match event:
            case CallAwaitingAgent():
                self.numbers[_number(book, event)] = event.call
                self.in_setup[event.call] = None
            case CallRequested():
                self.numbers[_number(book, event)] = event.call
                self.legs[event.call] = ref
                self.in_setup[event.call] = None
            case CallConnected():
                self.in_setup.pop(event.call, None)
            case CallEnded():
                self.in_setup.pop(event.call, None)
                self.legs.pop(event.call, None)
                number = _number(book, event)
                if self.numbers.get(number) == event.call:
                    del self.numbers[number]
            case PhoneCalled():
                self.legs[event.leg] = ref
            case PhoneDown():
                self.legs.pop(event.leg, None)
            case AgentArriving():
                self.agents[event.agent] = ref
            case AgentAbsent():
                if self.agents.get(event.agent) == ref:
                    del self.agents[event.agent]
            case _:
                pass

    def forget(self, book: Book) -> None:
        """Drop what a book claimed: it is about to be read again, and may have held what never became durable."""
        ref = book.campaign.ref
        self.agents = {agent: one for agent, one in self.agents.items() if one != ref}
        self.legs = {leg: one for leg, one in self.legs.items() if one != ref}
        self.numbers = {number: call for number, call in self.numbers.items() if call not in book.calls}
        self.in_setup = {call: None for call in self.in_setup if call not in book.calls}

    def adopt(self, book: Book) -> None:
        """Take note of a book that was read back from its log."""
        ref = book.campaign.ref
        for agent in book.attending:
            self.agents[agent] = ref
        for leg in book.phones:
            self.legs[leg] = ref
        for call_id in book.live:
            call = book.calls[call_id]
            self.numbers[_number(book, call)] = call_id
            if call.status is not CallStatus.AWAITING_AGENT:
                self.legs[call_id] = ref
            if call.connected_at == 0:
                self.in_setup[call_id] = None


def _number(book: Book, call: object) -> str:
    contact, index = call.contact, call.number  # type: ignore[attr-defined]  # any event or state of a call has both
    numbers = book.contacts.by_ref[contact].numbers
    return numbers[index] if index < len(numbers) else ""  # an erased person has none
