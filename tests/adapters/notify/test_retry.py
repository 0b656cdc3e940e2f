"""When a delivery is tried again, and which cursors are believed."""

import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify import NotifyLimits
from adapters.notify.cursor import Cursors
from adapters.notify.retry import delay_ms
from adapters.outward.sender import retry_after_ms
from engine.ports import BadCursor

S, MIN, HOUR = 1_000, 60_000, 3_600_000
PLANNED = (0, S, 2 * S, 5 * S, 15 * S, MIN, 5 * MIN, 15 * MIN, HOUR, HOUR, HOUR)


def test_a_fast_head_then_ever_longer_pauses_within_a_fifth() -> None:
    rng = random.Random(7)
    for failures, planned in enumerate(PLANNED, 1):
        drawn = [delay_ms(failures, 0, NotifyLimits(), rng) for _ in range(50)]
        assert all(0.8 * planned <= one <= 1.2 * planned for one in drawn)
        assert planned == 0 or len(set(drawn)) > 10  # receivers of one outage aren't all met at once


def test_the_same_seed_draws_the_same_pauses() -> None:
    def drawn() -> list[int]:
        rng = random.Random(3)
        return [delay_ms(failures, 0, NotifyLimits(), rng) for failures in range(1, 9)]

    assert drawn() == drawn()


def test_a_receiver_may_ask_for_more_time_but_not_for_ever() -> None:
    rng = random.Random(1)
    assert delay_ms(1, 90 * S, NotifyLimits(), rng) == 90 * S
    assert delay_ms(9, 90 * S, NotifyLimits(), rng) > 90 * S
    assert delay_ms(1, 10**12, NotifyLimits(), rng) == 24 * HOUR


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", 0), ("0", 0), ("120", 120_000), (" 7 ", 7_000), ("-5", 0), ("soon", 0), ("1.5", 0), ("²", 0)],
)
def test_retry_after_in_seconds(header: str, expected: int) -> None:
    assert retry_after_ms(header, 1_700_000_000_000) == expected


def test_retry_after_as_a_date() -> None:
    now = 1_700_000_000_000
    date = format_datetime(datetime.fromtimestamp(1_700_000_060, UTC), usegmt=True)
    assert retry_after_ms(date, now) == 60_000
    assert retry_after_ms(date, now + 120_000) == 0


@given(st.integers(0, 2**48 - 1))
def test_a_cursor_is_read_back(n: int) -> None:
    assert Cursors("ours").read(Cursors("ours").write(n)) == n


@given(st.integers(0, 10**9), st.integers(0, 15), st.sampled_from("abcXYZ019-_"))
def test_a_forged_cursor_is_refused(n: int, place: int, letter: str) -> None:
    cursor = Cursors("ours").write(n)
    forged = cursor[:place] + letter + cursor[place + 1 :]
    if forged != cursor:
        with pytest.raises(BadCursor):
            Cursors("ours").read(forged)


@pytest.mark.parametrize("cursor", ["x", "AAAAAAAAAAAAAAAA", "A" * 400, "ä" * 16, "0", " "])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        Cursors("ours").read(cursor)


def test_a_cursor_of_another_installation_is_refused() -> None:
    with pytest.raises(BadCursor):
        Cursors("ours").read(Cursors("theirs").write(5))
