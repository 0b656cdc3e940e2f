"""7: lines in use and calls in setup stay within their limits at every instant, by what the PBX did."""

from collections.abc import Iterator

from simulations.world.checker.step import LegAnswered, LegDialled, LegGone, Step


class Lines:
    def __init__(self, lines: int, in_setup: int) -> None:
        self._most_lines, self._most_in_setup = lines, in_setup
        self._up: set[str] = set()
        self._in_setup: set[str] = set()

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case LegDialled(leg=leg):
                self._up.add(leg)
                self._in_setup.add(leg)
                if len(self._up) > self._most_lines:
                    yield f"7: {len(self._up)} lines in use, {self._most_lines} allowed"
                if len(self._in_setup) > self._most_in_setup:
                    yield f"7: {len(self._in_setup)} calls in setup, {self._most_in_setup} allowed"
            case LegAnswered(leg=leg):
                self._in_setup.discard(leg)
            case LegGone(leg=leg):
                self._in_setup.discard(leg)
                self._up.discard(leg)
            case _:
                pass

    def left(self) -> Iterator[str]:
        for leg in sorted(self._up):
            yield f"liveness: nobody hangs up call {leg} at the PBX"
