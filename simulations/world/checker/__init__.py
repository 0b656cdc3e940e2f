"""What must hold, judged step by step from what became durable and from what the PBX did.

Each checker keeps small tables of its own and shares no decision with what it judges: of the engine they know the events
alone. A violation begins with its invariant's number and ends with where it was seen.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from simulations.world.checker.callback import Callbacks
from simulations.world.checker.hand import Hands
from simulations.world.checker.intent import Intents
from simulations.world.checker.interaction import Interactions
from simulations.world.checker.line import Lines
from simulations.world.checker.phone import Phones
from simulations.world.checker.rule import Rules
from simulations.world.checker.step import (
    Asked,
    CrmTold,
    Durable,
    LegAnswered,
    LegDialled,
    LegGone,
    PhoneRung,
    Promised,
    Step,
    Told,
)
from simulations.world.checker.stop import Stops
from simulations.world.checker.telling import Tellings

MOST_TOLD = 100
"""Violations that are told of one run: one fault may break every step after it."""


class Checker(Protocol):
    watches: tuple[Any, ...]
    """The kinds of steps that it looks at; of those that became durable, the kinds of events."""

    def see(self, step: Step) -> Iterator[str]:
        """What is wrong as of this step, each with the invariant's number."""
        ...

    def left(self) -> Iterator[str]:
        """What should have come to an end once all is calm, and hasn't."""
        ...


class Checkers:
    """All of them, over one run. `lines` are the campaign's calls at a time, `in_setup` those not answered yet; `crm` is when
    its CRM is told.
    """

    def __init__(self, lines: int, in_setup: int, crm: str = "") -> None:
        self.violations: list[str] = []
        self.callbacks, self.interactions = Callbacks(), Interactions(crm)
        self._each: tuple[Checker, ...] = (
            Hands(),
            Intents(),
            Phones(),
            Stops(),
            Rules(),
            Lines(lines, in_setup),
            Tellings(),
            self.callbacks,
            self.interactions,
        )
        self._watching: dict[Any, list[Checker]] = {}
        for checker in self._each:
            for kind in checker.watches:
                self._watching.setdefault(kind, []).append(checker)

    def see(self, step: Step) -> None:
        kind = type(step.event) if isinstance(step, Durable) else type(step)
        for checker in self._watching.get(kind, ()):
            for what in checker.see(step):
                self.tell(f"{what}, {step.where}")

    def end(self) -> None:
        """Faults are over for long enough, and everybody was asked to stop."""
        for checker in self._each:
            for what in checker.left():
                self.tell(what)

    def tell(self, violation: str) -> None:
        if len(self.violations) < MOST_TOLD:
            self.violations.append(violation)


__all__ = [
    "Asked",
    "Checkers",
    "CrmTold",
    "Durable",
    "LegAnswered",
    "LegDialled",
    "LegGone",
    "PhoneRung",
    "Promised",
    "Told",
]
