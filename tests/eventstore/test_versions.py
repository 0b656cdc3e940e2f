"""Versions of streams against a dictionary, and what is kept of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import versions
from eventstore.memory import MemoryStore
from eventstore.store import Segment
from eventstore.versions import VERSIONS, Versions, keep, kept

STREAMS = st.integers(0, 60).map(lambda number: f"call/{number}")
UPDATES = st.lists(st.dictionaries(STREAMS, st.integers(1, 2**31), max_size=5), max_size=80)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MOVED_STREAMS", 7)
    monkeypatch.setattr("engine.core.blocks.PART_BYTES", 200)


@pytest.mark.usefixtures("few")
@given(UPDATES)
def test_every_stream_has_the_version_that_it_reached_last(updates: list[dict[str, int]]) -> None:
    reached, model = Versions(), dict[str, int]()
    for one in updates:
        reached.update(one)
        model |= one
        assert {stream: reached.get(stream, 0) for stream in model} == model
        assert len(reached.still().moved) == min(7, len(model))
    assert reached.get("agent/1", 5) == 5


async def of(count: int, store: MemoryStore) -> None:
    await store.acquire("a", "me", 1_000)
    await store.append("a", Segment(1, 1, 10, 1, 0, 0, b"", b""), {})
    reached = Versions()
    reached.update({f"call/{number}": number + 1 for number in range(count)})
    still = reached.still()
    reached.update({"call/0": 99, "later": 1})  # not of what is being kept
    await keep(store, "a", 10, still)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("count", [0, 5, 7, 8, 300])
async def test_what_was_kept_is_what_was_reached(count: int) -> None:
    store = MemoryStore()
    await of(count, store)
    pos, again = await kept(store, "a", 10)
    assert pos == 10
    assert [again.get(f"call/{number}", 0) for number in range(count)] == list(range(1, count + 1))
    assert (again.get("later", 0), again.get(f"call/{count}", 0)) == (0, 0)
    again.update({"call/0": 98})
    assert again.get("call/0", 0) == 98


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("part", [VERSIONS, f"{VERSIONS}.table/0", f"{VERSIONS}.table/3"])
@pytest.mark.parametrize("damage", ["missing", "altered", "ahead"])
async def test_what_is_damaged_or_of_elsewhere_is_not_used(part: str, damage: str) -> None:
    store = MemoryStore()
    await of(300, store)
    parts = dict(store._snapshots[VERSIONS, "a"][1])
    if damage == "missing":
        del parts[part]
    elif damage == "altered":
        parts[part] = parts[part][:-1] + bytes([parts[part][-1] ^ 1])
    store._snapshots[VERSIONS, "a"] = 10, parts
    pos, again = await kept(store, "a", 9 if damage == "ahead" else 10)
    assert (pos, again.get("call/1", 0)) == (0, 0)
