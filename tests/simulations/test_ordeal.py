"""The judge of the real thing can find fault: each is planted once in a log, or a PBX's record, that is good without it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.core.agent import PhoneCalled
from engine.core.call import CallEnded, CallPlaced, CallRequested
from engine.core.campaign import (
    CampaignCreated,
    CampaignRunning,
    CampaignStarting,
    CampaignStopped,
    CampaignStopping,
    Mode,
    Settings,
)
from engine.core.contact import ContactsAdded, NewContact
from engine.core.outcome import Outcome, Party
from engine.core.personal import Details, Person
from engine.core.reservation import ContactDisposed, ContactReserved
from engine.ports import Recorded
from simulations.ordeal.channel import Channel, Row, written
from simulations.ordeal.judge import Verdict, judge

TRUNK = "carrier"
LOG = "campaign/ordeal"
START_S = 1_000.0
DEATH_S = START_S + 5.5


def at(second: float) -> int:
    return round((START_S + second) * 1_000)


def called(second: float, place: int) -> CallRequested:
    return CallRequested(
        at=at(second), call=f"call{place}", contact=f"c{place}", number=0, reservation=f"r{place}", agent=f"agent{place}",
        agent_leg=f"phone{place}", trunk=TRUNK, by_choice=False,
    )  # fmt: skip


def ended(second: float, place: int, outcome: Outcome) -> CallEnded:
    return CallEnded(
        at=at(second), call=f"call{place}", contact=f"c{place}", agent=f"agent{place}", number=0, outcome=outcome,
        ended_by=Party.CONTACT, reason="", cause=16, sip_code=0, ring_ms=0, talk_ms=0,
    )  # fmt: skip


def held(second: float, place: int) -> ContactReserved:
    return ContactReserved(
        at=at(second), contact=f"c{place}", agent=f"agent{place}", reservation=f"r{place}", token="", expires_at=0
    )


def disposed(second: float, place: int) -> ContactDisposed:
    return ContactDisposed(
        at=at(second), contact=f"c{place}", agent=f"agent{place}", reservation=f"r{place}", call=f"call{place}",
        disposition="engaged", engaged=True, final=True, due_at=0,
    )  # fmt: skip


def log() -> list[Any]:
    """Two calls, the first answered, the second busy; a stop."""
    people = tuple(
        NewContact(f"c{place}", Person(f"c{place}", Details(numbers=(f"1555{place}",)))) for place in (1, 2, 3)
    )
    return [
        CampaignCreated(at=at(0), ref="ordeal", name="Ordeal", mode=Mode.PREVIEW, settings=Settings(), by="m"),
        ContactsAdded(at=at(0), rank=0, contacts=people, by="m"),
        CampaignStarting(at=at(0), by="m"),
        PhoneCalled(at=at(0), agent="agent1", leg="phone1"),
        CampaignRunning(at=at(0.5)),
        held(1, 1),
        called(1, 1),
        held(2, 2),
        called(2, 2),
        ended(3, 2, Outcome.BUSY),
        disposed(3, 2),
        ended(4, 1, Outcome.ANSWERED),
        disposed(4, 1),
        CampaignStopping(at=at(6), by="m", reason="requested"),
        CampaignStopped(at=at(6), reason="requested"),
    ]


def cel() -> list[Row]:
    return [
        row("phone1", "PJSIP/agent1-0", "CHAN_START", 0.1),
        row("call1", "PJSIP/carrier-1", "CHAN_START", 1.01),
        row("call1", "PJSIP/carrier-1", "ANSWER", 1.5),
        row("call2", "PJSIP/carrier-2", "CHAN_START", 2.01),
        row("call2", "PJSIP/carrier-2", "HANGUP", 2.9),
        row("call1", "PJSIP/carrier-1", "HANGUP", 3.9),
        row("phone1", "PJSIP/agent1-0", "HANGUP", 6.1),
    ]


def row(leg: str, name: str, event: str, second: float) -> Row:
    return Row(Channel(leg, name), event, START_S + second)


def judged(events: list[Any], rows: list[Row], lines: int = 2, deaths: tuple[float, ...] = ()) -> Verdict:
    recorded = [Recorded(pos, LOG, pos, event) for pos, event in enumerate(events, 1)]
    return judge(LOG, recorded, rows, deaths, TRUNK, lines, 2)


def test_what_holds_is_found_to_hold() -> None:
    found = judged(log(), cel())
    assert found.violations == []
    assert (found.ghosts, found.stuck, found.calls, found.legs) == (0, 0, 2, 2)
    assert found.outcomes == {"answered": 1, "busy": 1}


def without_end(call: str) -> list[Any]:
    return [one for one in log() if not (isinstance(one, CallEnded) and one.call == call)]


def told_as(outcome: Outcome) -> list[Any]:
    """The second call's end."""
    return [ended(3, 2, outcome) if isinstance(one, CallEnded) and one.call == "call2" else one for one in log()]


PLANTED: dict[str, tuple[Callable[[], tuple[list[Any], list[Row]]], str]] = {
    "dialled before its intent": (
        lambda: (log(), [row("call1", "PJSIP/carrier-1", "CHAN_START", 0.9), *cel()[2:]]),
        "2: call call1 was dialled without a durable intent",
    ),
    "dialled after its end": (
        lambda: (log(), [*cel()[:3], row("call2", "PJSIP/carrier-2", "CHAN_START", 3.5), *cel()[5:]]),
        "2: call call2 was dialled though it had ended",
    ),
    "answered and never dialled": (
        lambda: (log(), [one for one in cel() if one.channel.leg != "call1"]),
        "2: call call1 is told as answered, and the PBX has no record of it",
    ),
    "told as busy, and answered": (
        lambda: (log(), [*cel(), row("call2", "PJSIP/carrier-2", "ANSWER", 2.5)]),
        "2: call call2 is told as busy, and was answered at the PBX",
    ),
    "told as unknown, and known": (
        lambda: (told_as(Outcome.UNKNOWN), cel()),
        "2: call call2 is told as unknown, and the PBX has a record of its end",
    ),
    "never ended": (lambda: (without_end("call2"), cel()), "liveness: call call2 never ended"),
    "never hung up": (
        lambda: (log(), [one for one in cel() if (one.channel.leg, one.event) != ("call1", "HANGUP")]),
        "liveness: nobody hangs up call call1 at the PBX",
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_EX_01_each_broken_promise_is_found(planted: str) -> None:
    make, told = PLANTED[planted]
    assert any(one.startswith(told) for one in judged(*make()).violations), judged(*make()).violations


def test_EX_01_a_call_too_many_is_found_by_what_the_pbx_did() -> None:
    assert "7: 2 lines" in judged(log(), cel(), lines=1).violations[0]


def test_a_call_without_an_end_is_stuck() -> None:
    assert judged(without_end("call2"), cel()).stuck == 1


def test_a_channel_that_nobody_knows_is_a_ghost_and_so_is_one_that_outlives_its_call() -> None:
    stranger = [row("nobody's", "PJSIP/agent7-9", "CHAN_START", 2), row("nobody's", "PJSIP/agent7-9", "HANGUP", 3)]
    assert judged(log(), [*cel(), *stranger]).ghosts == 1
    outliving = [one for one in cel() if (one.channel.leg, one.event) != ("call2", "HANGUP")]
    assert judged(log(), [*outliving, row("call2", "PJSIP/carrier-2", "HANGUP", 30)]).ghosts == 1


def test_what_the_pbx_took_with_it_is_nobodys_fault() -> None:
    """
    Given a PBX that is killed with a call in progress, and before it could write down another that the engine heard of,
    when the engine can't tell how they ended,
    then neither is a violation, and both channels count as lost.
    """
    events = [one for one in log() if not isinstance(one, CampaignStopping | CampaignStopped)]
    first = next(place for place, one in enumerate(events) if isinstance(one, CallEnded) and one.call == "call1")
    del events[first:]
    events += [
        held(5, 3),
        called(5, 3),
        CallPlaced(at=at(5.1), call="call3", channel="PJSIP/carrier-3"),
        *[one for place in (1, 3) for one in (ended(7, place, Outcome.UNKNOWN), disposed(7, place))],
        CampaignStopping(at=at(8), by="m", reason="requested"),
        CampaignStopped(at=at(8), reason="requested"),
    ]
    rows = [one for one in cel() if (one.channel.leg, one.event) not in {("call1", "HANGUP"), ("phone1", "HANGUP")}]
    assert any("unknown" in one for one in judged(events, cel()).violations)
    found = judged(events, rows, deaths=(DEATH_S,))
    assert found.violations == []
    assert found.lost_legs == 2


def test_a_line_that_the_pbx_died_over_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "cel.csv"
    path.write_text('"call1","CHAN_START","1001.010000","","PJSIP/carrier-1"\n"call1","ANSW')
    assert written(path) == [row("call1", "PJSIP/carrier-1", "CHAN_START", 1.01)]
    assert written(tmp_path / "none.csv") == []
