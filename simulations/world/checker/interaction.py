"""9: a CRM is told of each call that is connected, or of each disposition, at least once, each under its own key."""

from collections.abc import Iterator

from engine.core.call import CallConnected
from engine.core.reservation import ContactDisposed
from simulations.world.checker.step import CrmTold, Durable, Step

WANTED = {"server": CallConnected, "disposition": ContactDisposed}


class Interactions:
    """`trigger` is the campaigns' setting; "" where they name no address."""

    def __init__(self, trigger: str) -> None:
        self._wanted = WANTED.get(trigger)
        self.watches = (CallConnected, ContactDisposed, CrmTold) if trigger else (CrmTold,)
        self._known: dict[str, tuple[str, str]] = {}
        """Call and contact, by the key under which the CRM hears of them."""
        self.untold: set[str] = set()

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Durable(log=log, pos=pos, event=CallConnected() | ContactDisposed() as event):
                if type(event) is self._wanted:
                    key = f'"{log.removeprefix("campaign/")}:{pos}"'
                    self._known[key] = event.call, event.contact
                    self.untold.add(key)
            case CrmTold(key=key, call=call, contact=contact):
                if self._known.get(key) != (call, contact):
                    yield f"9: the CRM was told of call {call} of contact {contact} as {key}, which is {self._known.get(key)}"
                self.untold.discard(key)
            case _:
                pass

    def left(self) -> Iterator[str]:
        for key in sorted(self.untold):
            yield f"9: the CRM was never told of {key}: call {self._known[key][0]} of contact {self._known[key][1]}"
