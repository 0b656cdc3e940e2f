"""Who is rung: how likely callees answer by the hour and how long they talk, and the agents' own phones."""

from collections.abc import Callable
from random import Random

from simulations.pbx import Kind, Mix, Script
from simulations.pbx.script import BUSY, NO_ANSWER, REJECTED, UNAVAILABLE, Outcome, answer
from simulations.world.scenario import Agents, Callees
from simulations.world.shift import DAY_BEGINS_S

AGENTS_RING_MS = (300, 5_000)
UNREACHABLE = (BUSY, NO_ANSWER, REJECTED, UNAVAILABLE)


class People(Script):
    """An attempt's fate follows from the seed, the number or phone, how often it was tried, and the hour."""

    def __init__(self, callees: Callees, agents: Agents, seed: int, now_s: Callable[[], float]) -> None:
        super().__init__()
        self._callees, self._agents, self._seed, self._now_s = callees, agents, seed, now_s
        self._by_hour = {int(hour): _mix(callees, answer) for hour, answer in callees.answer_by_hour.items()}
        self._else = _mix(callees, callees.answer)

    def number(self, number: str, attempt: int, seed: int) -> Outcome:
        hour = int((self._now_s() + DAY_BEGINS_S) // 3_600) % 24
        return self._by_hour.get(hour, self._else).draw(Random(f"{seed}/{number}/{attempt}"))

    def phone(self, phone: str, attempt: int) -> Outcome:
        if not self.rings_for_each_call(phone):
            return super().phone(phone, attempt)
        chance = Random(f"{self._seed}/{phone}/{attempt}")
        if chance.random() < self._agents.unreachable:
            return chance.choice(UNREACHABLE)
        return answer(chance.randint(*AGENTS_RING_MS))

    def rings_for_each_call(self, phone: str) -> bool:
        return Random(f"{self._seed}/{phone}").random() < self._agents.on_demand


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
