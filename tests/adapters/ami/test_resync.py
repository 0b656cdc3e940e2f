import pytest

from adapters.ami.resync import is_restarted

OLD, NEW = "2026-01-01 12:00:00", "2026-01-01 12:30:00"


@pytest.mark.parametrize(
    ("before", "startup", "uptime_s", "outage_s", "restarted"),
    [
        ("", NEW, 5, None, False),  # the first connection: nothing was lost
        (OLD, NEW, 5, 60.0, True),
        (OLD, OLD, 0, 0.2, False),  # lost right after it had started
        (OLD, OLD, None, 60.0, False),
        (OLD, NEW, None, 60.0, True),
        (OLD, NEW, 3600, 60.0, False),  # up for longer than we were away: its time zone has changed
        ("", "", 5, 60.0, True),
        ("", "", 61, 60.0, False),
        ("", "", None, 60.0, False),  # nothing tells: each leg is settled by itself
        (OLD, "", None, 60.0, False),
    ],
)
def test_restart(before: str, startup: str, uptime_s: int | None, outage_s: float | None, restarted: bool) -> None:
    assert is_restarted(before, startup, uptime_s, outage_s) is restarted
