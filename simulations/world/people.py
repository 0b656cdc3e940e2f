"""The people who are called: how likely they answer by the hour, and how long they talk."""

from collections.abc import Callable
from random import Random

from simulations.pbx import Kind, Mix, Script
from simulations.pbx.script import Outcome
from simulations.world.scenario import Callees
from simulations.world.shift import DAY_BEGINS_S


class People(Script):
    """An attempt's fate follows from the seed, the number, how often it was tried, and the hour."""

    def __init__(self, callees: Callees, now_s: Callable[[], float]) -> None:
        super().__init__()
        self._callees, self._now_s = callees, now_s
        self._by_hour = {int(hour): _mix(callees, answer) for hour, answer in callees.answer_by_hour.items()}
        self._else = _mix(callees, callees.answer)

    def number(self, number: str, attempt: int, seed: int) -> Outcome:
        hour = int((self._now_s() + DAY_BEGINS_S) // 3_600) % 24
        return self._by_hour.get(hour, self._else).draw(Random(f"{seed}/{number}/{attempt}"))


def _mix(callees: Callees, answer: float) -> Mix:
    """Those who don't answer at this hour are busy or have a wrong number as often as ever; the rest is silent."""
    silent = max(0.0, 1 - answer - callees.busy - callees.invalid)
    weights = {Kind.ANSWER: answer, Kind.BUSY: callees.busy, Kind.INVALID: callees.invalid, Kind.NO_ANSWER: silent}
    return Mix(
        weights=weights,
        ring_ms=tuple(round(one * 1_000) for one in callees.ring_s),  # type: ignore[arg-type]  # three of them
        talk_ms_least=500,
        talk_ms_mean=round(callees.talk_s * 1_000),
    )
