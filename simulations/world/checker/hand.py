"""1: a contact in one live reservation, a number and an agent in one unresolved call, whichever campaign it is."""

from collections import defaultdict
from collections.abc import Iterator

from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.campaign import CampaignDeleted
from engine.core.contact import ContactsAdded
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved
from simulations.world.checker.step import Durable, Step


class Hands:
    watches = (
        CallAwaitingAgent,
        CallEnded,
        CallRequested,
        CampaignDeleted,
        ContactDisposed,
        ContactReleased,
        ContactReserved,
        ContactsAdded,
    )

    def __init__(self) -> None:
        self._numbers: dict[str, tuple[str, ...]] = {}
        self._reserved: dict[str, str] = {}
        """Contact by live reservation."""
        self._logs: dict[str, str] = {}
        """Whose each reservation is."""
        self._live: dict[str, tuple[str, ...]] = {}
        """Whom each live call takes: a contact, an agent, and a number that is known."""
        self._taken: defaultdict[str, list[str]] = defaultdict(list)
        """The other way round: by who is taken, the reservations or calls."""

    def see(self, step: Step) -> Iterator[str]:
        if not isinstance(step, Durable):
            return
        match step.event:
            case ContactsAdded(contacts=new):
                for one in new:
                    details = one.person.details
                    self._numbers[one.ref] = details.numbers if details is not None else ()
            case ContactReserved(reservation=name, contact=contact):
                for other in self._taken[f"reserved {contact}"]:
                    yield f"1: contact {contact} is in reservations {other} and {name} at once"
                self._reserved[name], self._logs[name] = contact, step.log
                self._taken[f"reserved {contact}"].append(name)
            case ContactReleased(reservation=name) | ContactDisposed(reservation=name) if name in self._reserved:
                self._free(name, f"reserved {self._reserved.pop(name)}")
            case CampaignDeleted():  # what was in hand goes with it
                for name in [one for one in self._reserved if self._logs[one] == step.log]:
                    self._free(name, f"reserved {self._reserved.pop(name)}")
            case CallAwaitingAgent() | CallRequested():
                yield from self._begun(step.event)
            case CallEnded(call=call):
                self._free(call, *self._live.pop(call, ()))
            case _:
                pass

    def _begun(self, event: CallAwaitingAgent | CallRequested) -> Iterator[str]:
        known = self._numbers.get(event.contact, ())
        number = known[event.number].lstrip("+") if event.number < len(known) else ""
        whom = f"contact {event.contact}", f"agent {event.agent}", *([f"number {number}"] if number else ())
        self._free(event.call, *self._live.pop(event.call, ()))  # its agent was waited for
        for one in whom:
            named = f"a number of contact {event.contact}" if one.startswith("number ") else one
            for call in self._taken[one]:
                yield f"1: {named} is in calls {call} and {event.call} at once"
            self._taken[one].append(event.call)
        self._live[event.call] = whom

    def _free(self, name: str, *whom: str) -> None:
        for one in whom:
            self._taken[one].remove(name)
            if not self._taken[one]:
                del self._taken[one]

    def left(self) -> Iterator[str]:
        for name, contact in self._reserved.items():
            yield f"liveness: reservation {name} of contact {contact} was never released"
