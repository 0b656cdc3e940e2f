"""Looking at logs: what a dump shows and hides, and that a check finds each kind of damage."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from engine.ports import Append
from eventstore import Codec, Store, dump, open_store, verify
from tests.eventstore.events import Counted, TestEvent, met

AT = 1_767_225_600_123


class Entrusted(msgspec.Struct, frozen=True, kw_only=True, tag="test.entrusted.v1"):
    secret: str
    token: str
    at: int = AT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


async def open_at(path: Path) -> Store:
    return await open_store(f"sqlite:///{path}", Codec(TestEvent | Entrusted))


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """Four segments, seven events, three streams."""
    store = await open_at(path)
    log = await store.open_log("a")
    await log.append([Append("s", 0, [Counted(n=1, at=AT), Counted(n=2, at=AT)])])
    await log.append([Append("p", 0, [met("ann", "Ann Hidden")]), Append("s", 2, [Counted(n=3, at=AT)])])
    await log.append([Append("s", 3, [Counted(n=4, at=AT), Counted(n=5, at=AT)])])
    await log.append([Append("w", 0, [Entrusted(secret="hunter2", token="open sesame")])])
    await log.close()
    yield store
    await store.close()


# -- dump -------------------------------------------------------------------------------------------------------------


async def test_a_dump_has_a_line_an_event(store: Store) -> None:
    lines = [line async for line in dump(store, "a")]
    assert lines[0] == "       1 2026-01-01T00:00:00.123+00:00 s@1 test.counted.v1 n=1"
    assert [line.split()[2] for line in lines] == ["s@1", "s@2", "p@1", "s@3", "s@4", "s@5", "w@1"]


async def test_a_dump_shows_personal_data_only_when_asked_and_secrets_never(store: Store) -> None:
    masked = "\n".join([line async for line in dump(store, "a")])
    assert "ann" in masked  # who, by reference
    assert "Hidden" not in masked
    shown = "\n".join([line async for line in dump(store, "a", personal=True)])
    assert "Ann Hidden" in shown
    for text in (masked, shown):
        assert "hunter2" not in text
        assert "open sesame" not in text


async def test_a_dump_can_begin_later_and_keep_to_a_stream(store: Store) -> None:
    assert [line.split()[2] async for line in dump(store, "a", after=3)] == ["s@3", "s@4", "s@5", "w@1"]
    assert [line.split()[2] async for line in dump(store, "a", stream="p")] == ["p@1"]
    assert [line async for line in dump(store, "a", after=7)] == []
    assert [line async for line in dump(store, "none")] == []


# -- verify -----------------------------------------------------------------------------------------------------------


async def test_a_whole_log_is_found_whole(store: Store) -> None:
    report = await verify(store, "a")
    assert (report.faults, report.segments, report.events, report.streams) == ([], 4, 7, 3)
    assert str(report) == "a: 7 events in 4 segments, 3 streams, whole"


def rewrite(path: Path, seq: int, change: Callable[[bytes], bytes]) -> None:
    """Change what a segment says, as somebody with the file and no scruples can."""
    codec = Codec(TestEvent)
    with sqlite3.connect(path) as database:
        packing, data = database.execute("select codec, data from es_segment where seq = ?", (seq,)).fetchone()
        _, changed = codec.pack(change(codec.unpack(packing, data)))
        database.execute("update es_segment set data = ? where seq = ?", (changed, seq))


DAMAGE: dict[str, tuple[Callable[[Path], None] | str, str]] = {
    "an event's content": (
        lambda path: rewrite(path, 1, lambda lines: lines.replace(b'"n":2', b'"n":9')),
        "segment 1: its checksum",
    ),
    "an event's version": (
        lambda path: rewrite(path, 3, lambda lines: lines.replace(b'["s",5', b'["s",7')),
        "s version 7, not 5",
    ),
    "an event too few": (lambda path: rewrite(path, 1, lambda lines: lines.splitlines()[0]), "holds 1 events, not 2"),
    "an unknown event": (
        lambda path: rewrite(path, 1, lambda lines: lines.replace(b"counted.v1", b"counted.v7")),
        "can't be read: log 'a', position 1: 'test.counted.v7'",
    ),
    "bytes that are no data": ("update es_segment set data = x'00112233' where seq = 2", "segment at 3 can't be read"),
    "a box under another key": ("update es_key set key = zeroblob(32)", "position 3: the personal data of 'ann'"),
    "a missing segment": ("delete from es_segment where seq = 2", "segment 3 follows 1"),
    "a missing beginning": ("delete from es_segment where seq = 1", "segment 2 follows 0"),
    "a missing end": ("delete from es_segment where seq = 4", "the head says segment 4 at 7, the last one is 3 at 6"),
    "everything missing": ("delete from es_segment", "the head says segment 4 at 7, the last one is 0 at 0"),
    "two swapped segments": (
        """create table kept as select * from es_segment;
        update es_segment set data = (select data from kept where seq = 3) where seq = 1;
        update es_segment set data = (select data from kept where seq = 1) where seq = 3""",
        "segment 1: its checksum",
    ),
    "an epoch that falls": ("update es_segment set epoch = 5 where seq = 2", "segment 3 has epoch 1 after 5"),
    "a shifted position": ("update es_segment set pos = pos + 100 where seq = 4", "segment 4 begins at 107, not 7"),
    "a head that lags": ("update es_log set seq = 3, pos = 6", "the head says segment 3 at 6, the last one is 4 at 7"),
    "a head of another hash": ("update es_log set hash = x'00'", "the head's checksum is not the last segment's"),
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_each_damage_is_found_and_named(store: Store, path: Path, kind: str) -> None:
    damage, fault = DAMAGE[kind]
    with sqlite3.connect(path) as database:
        database.executescript("drop trigger es_segment_no_update; drop trigger es_segment_no_delete")
    if isinstance(damage, str):
        with sqlite3.connect(path) as database:
            database.executescript(damage)
    else:
        damage(path)
    fresh = await open_at(path)  # a process that remembers nothing
    report = await verify(fresh, "a")
    await fresh.close()
    assert any(fault in one for one in report.faults), report.faults
    assert "FAULT" in str(report)
