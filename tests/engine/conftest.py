"""For all tests of the engine in this process."""

import pytest


@pytest.fixture(autouse=True)
def no_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots may follow one another at once."""
    monkeypatch.setattr("engine.snapshots.RESTS", 0)
