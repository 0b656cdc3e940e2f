"""The judge of notifications can find fault: each broken promise is planted once."""

from typing import Any

import pytest

from simulations.manager import Judge
from simulations.manager.overview import Notification

STORY: list[tuple[str, dict[str, Any]]] = [
    ("campaign.created", {"name": "Spring"}),
    ("agent.allocated", {"agent": "anna", "line": "nailed"}),
    ("contacts.added", {"count": 2}),
    ("campaign.status", {"state": "starting", "reason": None}),
    ("agent.status", {"agent": "anna", "state": "logging_in"}),
    ("agent.status", {"agent": "anna", "state": "available"}),
    ("campaign.status", {"state": "running", "reason": None}),
    ("contact.reserved", {"contact": "bo", "reservation": "r1"}),
    ("agent.status", {"agent": "anna", "state": "previewing"}),
    ("call.requested", {"call": "1"}),
    ("agent.status", {"agent": "anna", "state": "busy"}),
    ("call.ringing", {"call": "1"}),
    ("call.connected", {"call": "1"}),
    ("call.bridged", {"call": "1"}),
    ("call.ended", {"call": "1", "outcome": "answered"}),
    ("agent.status", {"agent": "anna", "state": "wrapup"}),
    ("contact.disposed", {"contact": "bo", "reservation": "r1"}),
    ("agent.status", {"agent": "anna", "state": "available"}),
    ("campaign.status", {"state": "stopping", "reason": "requested"}),
    ("agent.status", {"agent": "anna", "state": "logging_out"}),
    ("agent.status", {"agent": "anna", "state": "offline"}),
    ("campaign.status", {"state": "stopped", "reason": "requested"}),
    ("campaign.deleted", {"reason": None}),
]
KINDS = [f"{kind} {data.get('state', '')}".strip() for kind, data in STORY]


def told(seq: int, kind: str, data: dict[str, Any], campaign: str = "spring") -> Notification:
    return {
        "id": f"{campaign}:{seq}",
        "type": kind,
        "version": 1,
        "time": f"2026-11-23T12:00:{seq:02}.000Z",
        "cursor": f"c{seq}",
        "campaign": campaign,
        "seq": seq,
        "data": data,
    }


def judged(story: list[tuple[str, dict[str, Any]]]) -> Judge:
    judge = Judge()
    for seq, (kind, data) in enumerate(story, 1):
        judge.take(told(seq, kind, data))
    return judge


def without(kind: str) -> list[tuple[str, dict[str, Any]]]:
    place = KINDS.index(kind)
    return STORY[:place] + STORY[place + 1 :]


def behind(kind: str, *more: tuple[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    place = KINDS.index(kind) + 1
    return [*STORY[:place], *more, *STORY[place:]]


def test_a_good_story_has_no_fault_and_makes_the_table() -> None:
    judge = judged(STORY[:-1])
    assert judge.faults == []
    row = judge.overview.rows["spring"]
    assert (row.name, row.state, row.reason, row.contacts, row.ended) == ("Spring", "stopped", "requested", 2, 1)
    assert (row.agents, row.calls, row.seq) == ({"anna": "offline"}, {}, len(STORY) - 1)


@pytest.mark.parametrize(
    ("story", "line"),
    [
        pytest.param(without("campaign.status starting"), "TF-07", id="a state is left out"),
        pytest.param(
            behind("campaign.status running", ("campaign.status", {"state": "running", "reason": None})),
            "TF-08 TF-09",
            id="a state twice",
        ),
        pytest.param(without("call.ended"), "TF-11", id="stopped though a call lives"),
        pytest.param(
            behind("campaign.status stopping", ("call.requested", {"call": "2"})), "TF-11", id="dialled after stop"
        ),
        pytest.param(without("agent.status offline"), "TF-12 TF-22", id="stopped though an agent is there"),
        pytest.param(without("agent.status logging_in"), "TF-22", id="available without having logged in"),
        pytest.param(
            behind("agent.status available", ("agent.status", {"agent": "anna", "state": "available"})),
            "TF-06",
            id="an agent's state twice",
        ),
        pytest.param(without("call.connected"), "TF-34", id="bridged before it was connected"),
        pytest.param(without("call.requested"), "TF-35", id="a call from nowhere"),
        pytest.param(
            behind("call.ended", ("call.ended", {"call": "1", "outcome": "failed"})), "TF-35", id="two records"
        ),
        pytest.param(behind("call.ended", ("call.requested", {"call": "1"})), "EX-01", id="dialled twice"),
        pytest.param(
            behind("contact.reserved", ("contact.reserved", {"contact": "bo", "reservation": "r2"})),
            "OM-07",
            id="held twice",
        ),
        pytest.param(without("contact.reserved"), "OM-07", id="let go by who never held"),
        pytest.param(
            behind("campaign.deleted", ("campaign.created", {"name": "again"})), "TF-02", id="back from the dead"
        ),
        pytest.param(
            behind("campaign.created", ("agent.status", {"agent": "bo", "state": "logging_in"})),
            "TF-21",
            id="an agent is called before the start",
        ),
    ],
)
def test_a_broken_promise_is_found_and_named(story: list[tuple[str, dict[str, Any]]], line: str) -> None:
    assert line in {fault.partition(":")[0] for fault in judged(story).faults}


def test_a_notification_may_come_again_but_as_it_was() -> None:
    judge = judged(STORY[:7])
    judge.take(told(3, *STORY[2]))
    assert judge.faults == []
    judge.take(told(3, "contacts.added", {"count": 3}))
    assert [fault[:5] for fault in judge.faults] == ["TF-06"]
    assert judge.overview.rows["spring"].contacts == 2


def test_a_gap_another_envelope_and_an_agent_of_no_campaign_are_found() -> None:
    judge = judged(STORY[:3])
    judge.take(told(5, *STORY[3]))
    judge.take({**told(6, *STORY[4]), "more": 1})
    judge.take(told(0, "agent.status", {"agent": "anna", "state": "offline"}, campaign=""))
    assert [fault[:5] for fault in judge.faults] == ["TF-38", "TF-37", "TF-25"]
