"""A receiver that fails, stalls, throttles, loses its answers and is gone for a day, and an engine that is killed meanwhile."""

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from adapters.outward.sender import Outgoing
from engine.ports import Notification
from simulations.world.receiver import WEBHOOK, notifications
from simulations.world.scenario import Agents, Scenario, read_scenario
from simulations.world.world import World, run

SCENARIO = Path("simulations/scenarios/day_without_receiver.toml")
DAY_S = 24 * 3_600


@pytest.mark.slow
def test_TF_38_EX_10_after_a_day_without_a_receiver_its_table_is_the_fold_of_the_log(
    record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EX-02: given 24 virtual hours in which nobody answers, and deaths of the engine in between, then every notification
    arrives, of each campaign in the order of `seq`, and what they say is what the log says."""
    # given
    scenario = read_scenario(SCENARIO)
    taken_at_s: list[float] = []
    parked: list[bool] = []
    take = World._taken

    def noted(self: World, one: object) -> None:
        taken_at_s.append(self.loop.time())
        parked.append(self.notifier.reports()[WEBHOOK].parked > 0)
        take(self, one)  # type: ignore[arg-type]  # a Notification

    monkeypatch.setattr(World, "_taken", noted)

    # when
    result = run(scenario, 1)

    # then
    assert result.violations == []  # one is: not told, out of order, or told otherwise than the log says
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(taken_at_s)]
    assert max(gaps_s) >= DAY_S
    before = gaps_s.index(max(gaps_s)) + 1
    assert before > 50, "it was told of something before"
    assert result.told["new"] > 2 * before, "and of more that had happened meanwhile"
    assert result.told["again"] > 0, "answers were lost"
    assert sum(result.crash_points.values()) >= 3
    assert not any(parked), "72 hours are tried before it is"
    record_property(
        "hours gone, kills, requests failed, notifications told",
        f"24, {sum(result.crash_points.values())}, {result.told['failed']}, {result.told['new']}",
    )


def test_a_receiver_that_takes_several_at_once_is_asked_less_often_and_told_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    requests: list[int] = []

    def counted(request: Outgoing) -> list[tuple[str, Notification]]:
        told = notifications(request)
        requests.append(len(told))
        return told

    monkeypatch.setattr("simulations.world.world.notifications", counted)
    singly = Scenario(name="singly", hours=0.1, contacts=60, agents=Agents(count=5, preview_s=3, wrapup_s=3))

    # when
    one_by_one, sizes = run(singly, 1), requests.copy()
    requests.clear()
    together = run(msgspec.structs.replace(singly, receiver_batch=100), 1)

    # then
    assert set(sizes) == {1}
    assert max(requests) > 1
    assert len(requests) < len(sizes) / 2
    assert one_by_one.violations == together.violations == []
    assert together.told["new"] == sum(requests) == pytest.approx(one_by_one.told["new"], rel=0.2)
