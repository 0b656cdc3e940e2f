"""7: a campaign's lines in use, and calls in setup, stay within their limits at every instant, by what the PBX did."""

from collections import Counter
from collections.abc import Iterator

from engine.core.call import CallRequested
from simulations.world.checker.step import Durable, LegAnswered, LegDialled, LegGone, Step


class Lines:
    watches = (CallRequested, LegAnswered, LegDialled, LegGone)

    def __init__(self, lines: int, in_setup: int) -> None:
        self._most_lines, self._most_in_setup = lines, in_setup
        self._campaigns: dict[str, str] = {}
        """The log that has the call's intent, by leg."""
        self._up: dict[str, str] = {}
        """That log, by leg, of those that live."""
        self._in_use = Counter[str]()
        """How many live, by log."""
        self._in_setup: set[str] = set()

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Durable(log=log, event=CallRequested(call=call)):
                self._campaigns[call] = log
            case LegDialled(leg=leg):
                campaign = self._campaigns.get(leg, "")
                if leg not in self._up:
                    self._up[leg] = campaign
                    self._in_use[campaign] += 1
                self._in_setup.add(leg)
                lines = self._in_use[campaign]
                if lines > self._most_lines:
                    yield f"7: {lines} lines of {campaign} in use, {self._most_lines} allowed"
                if len(self._in_setup) > self._most_in_setup:
                    yield f"7: {len(self._in_setup)} calls in setup, {self._most_in_setup} allowed"
            case LegAnswered(leg=leg):
                self._in_setup.discard(leg)
            case LegGone(leg=leg):
                self._in_setup.discard(leg)
                if leg in self._up:
                    self._in_use[self._up.pop(leg)] -= 1
            case _:
                pass

    def left(self) -> Iterator[str]:
        for leg in sorted(self._up):
            yield f"liveness: nobody hangs up call {leg} at the PBX"
