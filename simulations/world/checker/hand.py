"""1: a contact in one live reservation, a number and an agent in one unresolved call, whichever campaign it is."""

from collections.abc import Iterator

import msgspec

from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.contact import ContactsAdded
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved
from simulations.world.checker.step import Durable, Step


class _Live(msgspec.Struct, frozen=True):
    contact: str
    agent: str
    number: str


class Hands:
    def __init__(self) -> None:
        self._numbers: dict[str, tuple[str, ...]] = {}
        self._reserved: dict[str, str] = {}
        """Contact by live reservation."""
        self._live: dict[str, _Live] = {}

    def see(self, step: Step) -> Iterator[str]:
        if not isinstance(step, Durable):
            return
        match step.event:
            case ContactsAdded(contacts=new):
                for one in new:
                    details = one.person.details
                    self._numbers[one.ref] = details.numbers if details is not None else ()
            case ContactReserved(reservation=name, contact=contact):
                for other in (held for held, whose in self._reserved.items() if whose == contact):
                    yield f"1: contact {contact} is in reservations {other} and {name} at once"
                self._reserved[name] = contact
            case ContactReleased(reservation=name) | ContactDisposed(reservation=name) if name:
                self._reserved.pop(name, None)
            case CallAwaitingAgent() | CallRequested():
                yield from self._begun(step.event)
            case CallEnded(call=call):
                self._live.pop(call, None)
            case _:
                pass

    def _begun(self, event: CallAwaitingAgent | CallRequested) -> Iterator[str]:
        known = self._numbers.get(event.contact, ())
        number = known[event.number].lstrip("+") if event.number < len(known) else ""
        for call, other in self._live.items():
            if call == event.call:
                continue
            if other.contact == event.contact:
                yield f"1: contact {event.contact} is in calls {call} and {event.call} at once"
            if number and other.number == number:
                yield f"1: a number of contact {event.contact} is in calls {call} and {event.call} at once"
            if other.agent == event.agent:
                yield f"1: agent {event.agent} is in calls {call} and {event.call} at once"
        self._live[event.call] = _Live(event.contact, event.agent, number)

    def left(self) -> Iterator[str]:
        for name, contact in self._reserved.items():
            yield f"liveness: reservation {name} of contact {contact} was never released"
