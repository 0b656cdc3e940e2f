"""1 and 2, of agents' phones: one leg at a time, and each rings once, after its durable intent."""

from collections.abc import Iterator

from engine.core.agent import PhoneCalled
from simulations.world.checker.step import Durable, LegGone, PhoneRung, Step


class Phones:
    watches = (LegGone, PhoneCalled, PhoneRung)

    def __init__(self) -> None:
        self._intents: dict[str, str] = {}
        """Whose phone is meant, by leg."""
        self._rung: set[str] = set()
        self._up: dict[str, str] = {}
        """The phone, by leg, of those that live."""

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Durable(event=PhoneCalled(agent=agent, leg=leg)):
                self._intents[leg] = agent
            case PhoneRung(leg=leg, phone=phone):
                if self._intents.get(leg) != phone:
                    yield f"2: the phone of {phone} was rung as {leg} without a durable intent"
                if leg in self._rung:
                    yield f"2: the phone of {phone} was rung twice as {leg}"
                for other in [one for one, whose in self._up.items() if whose == phone and one != leg]:
                    yield f"1: the phone of {phone} is rung as {leg} and has leg {other} still"
                self._rung.add(leg)
                self._up[leg] = phone
            case LegGone(leg=leg):
                self._up.pop(leg, None)
            case _:
                pass

    def left(self) -> Iterator[str]:
        for leg, phone in self._up.items():
            yield f"liveness: nobody hangs up the phone of {phone}, leg {leg}"
