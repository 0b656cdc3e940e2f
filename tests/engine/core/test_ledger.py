"""Calls: the same ones whatever of them was put away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core import ledger as module
from engine.core.blocks import Form
from engine.core.call import Call, CallStatus
from engine.core.ledger import Ledger, StillCalls
from engine.core.table import PAGE_ROWS
from simulations.world.attic import MemoryAttic
from tests.engine.parts import Parts

LAST = 12 * PAGE_ROWS


def call(number: int, status: CallStatus = CallStatus.ENDED) -> Call:
    return Call(
        id=f"{number:032x}",
        contact=f"spring:{number}",
        number=0,
        reservation="",
        agent="ann",
        trunk="carrier",
        status=status,
        asked_at=number,
    )


def filled(attic: MemoryAttic | None, calls: int, *live: int) -> Ledger:
    ledger = Ledger()
    ledger.attic = attic
    for number in range(calls):
        ledger.put(call(number, CallStatus.BRIDGED if number in live else CallStatus.ENDED))
    return ledger


@pytest.fixture
def two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of the latest are kept."""
    monkeypatch.setattr(module, "KEPT_PAGES", 2)


@pytest.mark.usefixtures("two_pages")
def test_EX_12_calls_that_ended_a_while_ago_are_put_away_and_can_be_looked_up() -> None:
    attic = MemoryAttic()
    ledger = filled(attic, 5 * PAGE_ROWS)
    assert len(attic.blocks) == 3
    assert [ledger.found(call(number).id) for number in range(5 * PAGE_ROWS)] == [*map(call, range(5 * PAGE_ROWS))]
    assert ledger.page(30, 70) == [*map(call, range(30, 70))]
    assert list(ledger)[:3] == [call(number).id for number in range(3)]
    assert len(attic.blocks) == 3


@pytest.mark.usefixtures("two_pages")
def test_a_page_with_a_call_that_goes_on_stays_until_that_has_ended() -> None:
    attic = MemoryAttic()
    ledger = filled(attic, 5 * PAGE_ROWS, 40)
    assert len(attic.blocks) == 2  # the first and the third of five
    ledger.put(call(40))
    assert len(attic.blocks) == 2
    for number in range(5 * PAGE_ROWS, 6 * PAGE_ROWS):
        ledger.put(call(number))
    assert len(attic.blocks) == 4
    assert ledger.page(0, len(ledger)) == [*map(call, range(6 * PAGE_ROWS))]


@pytest.mark.usefixtures("two_pages")
def test_what_is_noted_down_of_a_call_long_after_brings_its_page_back_for_a_while() -> None:
    attic = MemoryAttic()
    ledger = filled(attic, 5 * PAGE_ROWS)
    noted = replace(call(3), recording_fault="lost")
    ledger.put(noted)
    assert ledger.found(noted.id) == noted
    for number in range(5 * PAGE_ROWS, 6 * PAGE_ROWS):
        ledger.put(call(number))
    assert len(attic.blocks) == 5  # three, the fourth, and the first once more
    assert ledger.page(2, 5) == [call(2), noted, call(4)]


@pytest.mark.usefixtures("two_pages")
def test_what_an_attic_has_no_room_for_stays_and_goes_there_once_it_has() -> None:
    attic = MemoryAttic(room=1)
    ledger = filled(attic, 6 * PAGE_ROWS)
    assert (len(attic.blocks), attic.refused) == (1, 3)  # once for each page that filled up
    attic.room = 100
    for number in range(6 * PAGE_ROWS, 7 * PAGE_ROWS):
        ledger.put(call(number))
    assert len(attic.blocks) == 5
    assert ledger.page(0, len(ledger)) == [*map(call, range(7 * PAGE_ROWS))]


@pytest.mark.usefixtures("two_pages")
def test_what_is_taken_still_has_what_was_put_away_then() -> None:
    attic = MemoryAttic()
    ledger = filled(attic, 5 * PAGE_ROWS)
    still = ledger.still()
    ledger.put(replace(call(3), recording_fault="lost"))
    for number in range(5 * PAGE_ROWS, 6 * PAGE_ROWS):
        ledger.put(call(number))
    again = Ledger(still)
    assert again.page(0, len(again)) == [*map(call, range(5 * PAGE_ROWS))]


@pytest.mark.usefixtures("two_pages")
def test_some_are_put_away_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUT_AWAY_PAGES", 3)
    attic = MemoryAttic(room=0)
    ledger = filled(attic, 10 * PAGE_ROWS)
    attic.room, went = 100, list[int]()
    for number in range(10 * PAGE_ROWS, 14 * PAGE_ROWS):
        ledger.put(call(number))
        if number % PAGE_ROWS == 0:
            went.append(len(attic.blocks))
    assert went == [0, 3, 6, 9]
    assert ledger.page(0, len(ledger)) == [*map(call, range(14 * PAGE_ROWS))]


@pytest.mark.usefixtures("two_pages")
@pytest.mark.parametrize("act", ["look", "note"])
def test_what_was_opened_since_a_start_is_put_away_again(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """given pages that stand packed in parts, then all of a part that somebody looked at go"""
    monkeypatch.setattr("engine.core.blocks.PART_BYTES", 10_000)
    form = Form(StillCalls)
    parts = Parts(dict(form.write("calls", filled(None, LAST).still())))
    ledger, attic = Ledger(form.read("calls", parts)), MemoryAttic()
    ledger.attic = attic
    packed = sum(one is None for one in ledger.still().rows.here)
    if act == "look":
        assert ledger.found(call(3).id) == call(3)
    else:
        ledger.put(call(3))
    opened = packed - sum(one is None for one in ledger.still().rows.here)
    assert 1 < opened < packed
    for number in range(LAST, 16 * PAGE_ROWS):
        ledger.put(call(number))
    assert sum(one is None for one in ledger.still().rows.here) == 16 - 2
    assert len(attic.blocks) == 14 - packed + opened  # with those of the part that a start looks at
    assert ledger.page(0, len(ledger)) == [*map(call, range(16 * PAGE_ROWS))]


ACTS = st.lists(
    st.tuples(st.sampled_from(["new", "new", "live", "end", "note", "full", "room", "still"]), st.integers(0, LAST))
)


@given(ACTS)
def test_a_ledger_is_the_same_with_an_attic_and_without(acts: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "KEPT_PAGES", 1)
        attic = MemoryAttic()
        here, away = filled(None, 4 * PAGE_ROWS, 5, 50, 51), filled(attic, 4 * PAGE_ROWS, 5, 50, 51)
        for act, number in acts:
            match act:
                case "new" | "live":
                    status = CallStatus.BRIDGED if act == "live" else CallStatus.ENDED
                    some = range(len(here), len(here) + number % (2 * PAGE_ROWS))
                    changed = [call(one, status if one == some[-1] else CallStatus.ENDED) for one in some]
                case "end" if number < len(here):
                    changed = [call(number)]
                case "note" if number < len(here):
                    changed = [replace(call(number), reason=act)]
                case "full" | "room":
                    attic.room = 0 if act == "full" else 1_000
                    continue
                case "still":
                    away = Ledger(away.still())
                    away.attic = attic
                    continue
                case _:
                    continue
            for one in changed:
                here.put(one)
                away.put(one)
            assert away.found(call(number).id) == here.found(call(number).id)
        assert (len(away), list(away)) == (len(here), list(here))
        assert away.page(0, len(here)) == here.page(0, len(here))
        assert list(away.still().rows) == list(here.still().rows)
        assert away.still().live == here.still().live
