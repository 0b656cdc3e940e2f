"""Moving to another store: all or nothing that could be taken for all."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.notify.event import FeedEvent, FeedOpened
from engine.core.personal import Details
from engine.ports import Append, Recorded
from eventstore import Codec, Store, TransferRefused, copy, open_store, verify
from eventstore.memory import MemoryStore
from tests.eventstore.events import Counted, Met, TestEvent, met

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Store]:
    """Two logs, somebody erased, and a follower on its way; nobody owns them."""
    store = await open_store(f"sqlite:///{tmp_path / 'source.db'}", Codec(TestEvent))
    for name in ("a", "b"):
        log = await store.open_log(name)
        for number in range(3):
            await log.append(
                [Append("s", number, [Counted(n=number)]), Append(f"p/{number}", 0, [met(f"{name}{number}", "Name")])]
            )
        await log.close()
    await store.shred("a1")
    await store.save_checkpoint("hook", "b", 4)
    yield store
    await store.close()


async def everything(store: Store, log: str) -> list[Recorded]:
    return [one async for batch in store.read(log) for one in batch]


async def test_everything_arrives_in_postgresql_and_its_owner_goes_on(source: Store, postgres_url: str) -> None:
    target = await open_store(postgres_url, Codec(TestEvent))
    assert [one async for one in copy(source, target)] == [("a", 3), ("b", 3)]
    await target.close()
    target = await open_store(postgres_url, Codec(TestEvent))  # another process, which knows no keys
    for name in ("a", "b"):
        assert await everything(target, name) == await everything(source, name)
        assert (await verify(target, name)).faults == []
        head, copied = await source.segments.head(name), await target.segments.head(name)
        assert head is not None
        assert copied is not None
        assert (head.seq, head.pos, head.hash) == (copied.seq, copied.pos, copied.hash)
    people = {
        one.event.person.subject: one.event.person
        for one in await everything(target, "a")
        if isinstance(one.event, Met)
    }
    assert people["a0"].details == Details(numbers=("123",), name="Name")
    assert people["a1"].details is None  # erased stays erased
    assert await target.checkpoint("hook", "b") == 4
    log = await target.open_log("a")
    assert (log.position, log.version("s")) == (6, 3)
    await log.append([Append("s", 3, [Counted(n=3)])])
    await log.close()
    await target.close()


async def test_a_log_in_use_is_not_copied_and_nothing_of_the_others(source: Store) -> None:
    running = await source.open_log("b")
    target = await open_store("memory:", Codec(TestEvent))
    with pytest.raises(TransferRefused, match="'b' is in use"):
        assert [one async for one in copy(source, target)] == []
    assert await target.logs() == []
    await running.append([Append("s", 3, [Counted(n=3)])])  # it was not disturbed
    await running.close()
    again = await source.open_log("a")  # nor is the other one kept
    await again.close()


async def test_a_target_that_holds_something_is_left_alone(source: Store) -> None:
    target = await open_store("memory:", Codec(TestEvent))
    log = await target.open_log("a")
    await log.append([Append("t", 0, [Counted(n=7)])])
    await log.close()
    with pytest.raises(TransferRefused, match="'a' is not empty"):
        assert [one async for one in copy(source, target)] == []
    assert [one.event.n for one in await everything(target, "a")] == [7]


class Overtaken(MemoryStore):
    """While it is read, a service starts on it."""

    async def checkpoints(self) -> list[tuple[str, str, int]]:
        self._leases["a"].until = 0
        assert await self.acquire("a", "service", 60_000) is not None
        return []


async def test_a_service_that_starts_meanwhile_spoils_the_copy() -> None:
    segments = Overtaken()
    source = Store(segments, Codec(TestEvent), "me", 60_000)
    log = await source.open_log("a")
    await log.append([Append("s", 0, [Counted(n=1)])])
    await log.close()
    with pytest.raises(TransferRefused, match="copy again"):
        assert [one async for one in copy(source, await open_store("memory:", Codec(TestEvent)))] == [("a", 1)]


def ringfold(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    """The command, with its store given by the environment."""
    command = [sys.executable, "-m", "engine", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "RINGFOLD_STORE__URL": url}, capture_output=True, text=True, check=False
    )


async def test_the_command_copies_and_says_what(tmp_path: Path) -> None:
    url, to = f"sqlite:///{tmp_path / 'from.db'}", f"sqlite:///{tmp_path / 'to.db'}"
    store = await open_store(url, Codec(FeedEvent))
    log = await store.open_log("feed")
    await log.append([Append("feed", 0, [FeedOpened(feed="one")])])
    refused = ringfold("copy", "--to", to, url=url)
    assert (refused.returncode, refused.stderr) == (1, "ringfold: log 'feed' is in use: stop the service first\n")
    await log.close()
    await store.close()
    done = ringfold("copy", "--to", to, url=url)
    assert (done.returncode, done.stdout) == (0, "feed: 1 events in 1 segments, 1 streams, whole\n")


async def test_an_archived_log_comes_from_its_file_with_the_keys_of_its_people(tmp_path: Path) -> None:
    source = await open_store("memory:", Codec(TestEvent), archive=tmp_path / "archive")
    log = await source.open_log("a")
    await log.append([Append("p/0", 0, [met("a0", "Name")]), Append("p/1", 0, [met("a1", "Name")])])
    await log.close()
    await source.shred("a1")
    await source.drop(await source.archive("a"))

    target = await open_store("memory:", Codec(TestEvent), archive=tmp_path / "archive")
    assert [one async for one in copy(source, target)] == [("a", 1)]

    assert list(await target.logs()) == ["a"]
    told = {one.event.person.subject: one.event.person.details for one in await everything(target, "a")}
    assert told == {"a0": Details(numbers=("123",), name="Name"), "a1": None}
    await target.drop(await target.archive("a"))  # as the service does that finds it there
    assert {one.event.person.subject: one.event.person.details for one in await everything(target, "a")} == told


async def test_a_copy_is_refused_while_an_archived_log_is_out_of_reach(tmp_path: Path) -> None:
    source = await open_store("memory:", Codec(TestEvent), archive=tmp_path / "archive")
    log = await source.open_log("a")
    await log.append([Append("s", 0, [Counted(n=1)])])
    await log.close()
    await source.drop(await source.archive("a"))
    (tmp_path / "archive").rename(tmp_path / "away")
    with pytest.raises(TransferRefused, match="archive"):
        assert [one async for one in copy(source, await open_store("memory:", Codec(TestEvent)))] == []
