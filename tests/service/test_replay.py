"""EX-04, replay: any position of a log gives the state that the service had there, byte for byte, and differences are told."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.settings import Engine as EngineSettings
from config.settings import Settings
from config.settings import Store as StoreSettings
from engine.__main__ import main
from engine.campaigns import log_of
from engine.core.book import Book, stream_of
from engine.core.campaign import CampaignDeleted
from engine.ports import ANY, Append, Recorded
from engine.recovery import SNAPSHOT, Keys, pack, replay
from engine.replay import Stretch, replay_twice, state_digest
from engine.service import LogEvent
from eventstore import Codec, Store, open_store
from eventstore.memory import MemoryStore
from simulations.pbx import SimulatedPbx
from tests.conftest import ami_of
from tests.service.past import created, days_ago, listed, ran, write
from tests.service.test_export import command
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

SNAPSHOT_EVENTS = 15
NUMBER = "25550000"
"""Of the first contact."""


Said = tuple[int, str, str]
Asking = Callable[..., Coroutine[Any, Any, Said]]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asking:
    """`ringfold replay` in this process, with the store and archives of `settings_for(tmp_path, …)`: its exit status and
    what it printed."""
    monkeypatch.setenv("RINGFOLD_STORE__URL", f"sqlite:///{tmp_path / 'ringfold.db'}")
    monkeypatch.setenv("RINGFOLD_RETENTION__ARCHIVE_FOLDER", str(tmp_path / "archive"))
    monkeypatch.setattr(sys, "argv", ["ringfold"])

    async def ask(*words: str) -> Said:
        def run() -> int:
            sys.argv[1:] = ["replay", *words]
            try:
                main()
            except SystemExit as ended:
                return int(ended.code or 0)
            return 0

        capsys.readouterr()
        status = await asyncio.to_thread(run)
        return status, *capsys.readouterr()

    return ask


async def worked(world: World) -> dict[int, str]:
    """A campaign in which somebody works; returns the digests of states that the service really had, by position."""
    seen: dict[int, str] = {}

    async def look() -> None:
        running = world.service.engine.campaigns["spring"]
        await running.actor.settled()
        seen[running.actor.log.position] = state_digest(running.book)

    await world.campaign("spring", [[f"2555{place:04}"] for place in range(6)])
    await look()
    await world.run("spring")
    agent = world.agent("agent1")
    for _ in range(4):
        held = await take(agent)
        await look()
        call = (await act(agent, held, "dial"))["call_id"]
        await world.told("spring", "call.ended", call=call)
        await look()
        await act(agent, held, "disposition", disposition="try_later")
    await look()
    return seen


def state_of(printed: str) -> dict[str, str]:
    """The summary's lines by their first word."""
    rows = dict(one.split(maxsplit=1) for one in printed.splitlines() if not one.startswith(" "))
    assert set(rows) > {"position", "state", "snapshot"}, printed
    return rows


async def test_EX_04_every_position_gives_the_state_that_the_running_service_had_there(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    await same_as_lived(settings_for(tmp_path, ami_of(pbx)))


async def test_EX_04_so_it_does_on_postgresql(postgres_url: str, tmp_path: Path, pbx: SimulatedPbx) -> None:
    await same_as_lived(settings_for(tmp_path, ami_of(pbx), store=StoreSettings(url=postgres_url)))


async def same_as_lived(settings: Settings) -> None:
    """Given a service at work, when its log is rerun up to where it was looked at, then the state is the same, byte for
    byte; the service goes on meanwhile, and the log's end is compared with the snapshot that it kept on its own.
    """
    engine = EngineSettings(drain_timeout_s=5, snapshot_every_events=SNAPSHOT_EVENTS)
    settings = msgspec.structs.replace(settings, engine=engine)
    async with running(settings) as world:
        seen = await worked(world)
        await world.until(lambda: world.service.engine.campaigns["spring"].snapshots.pos > 0)
        assert len(set(seen.values())) == len(seen) > 5
        store = world.service.store
        for pos, digest in seen.items():
            made = await replay_twice(store, log_of("spring"), Stretch(to=pos), lambda _: None)
            assert (made.run.pos, made.digest, made.faults) == (pos, digest, [])
        middle, last = sorted(seen)[1], max(seen)

        status, out, err = await command(settings, "replay", "spring", "--to", str(last))
        again, earlier, _ = await command(settings, "replay", "spring", "--to", str(middle))

        told = state_of(out)
        assert (status, again, err) == (0, 0, "")
        assert told["state"] == f"{seen[last]}, twice the same"
        assert told["snapshot"].endswith(", the same")
        assert told["position"].startswith(f"{last} of ")
        assert told["agents"] == "1: available 1"
        assert state_of(earlier)["state"] == f"{seen[middle]}, twice the same"
        assert state_of(earlier)["snapshot"].endswith("which is later")
        assert (await take(world.agent("agent1")))["contact"]["ref"]  # the service works on


async def test_EX_04_the_whole_state_is_printed_without_people_unless_they_are_asked_for(
    tmp_path: Path, pbx: SimulatedPbx, asked: Asking
) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with running(settings) as world:
        seen = await worked(world)
        held = await take(world.agent("agent1"))

    _, out, _ = await asked("spring", "--json")
    _, whole, _ = await asked("spring", "--json", "--personal")
    _, before, _ = await asked("spring", "--json", "--to", str(max(seen)))

    told, all_of_it = json.loads(out), json.loads(whole)
    assert (told["digest"], told["faults"]) == (all_of_it["digest"], [])
    assert json.loads(before)["digest"] == seen[max(seen)]
    assert [one["ref"] for one in told["contacts"]] == [f"spring:{place}" for place in range(1, 7)]
    assert told["contacts"][0]["attempts"]
    assert told["state"]["reservations"][0]["id"] == held["id"]
    assert told["contacts"][0]["person"] == {"subject": "spring:1"}
    assert all_of_it["contacts"][0]["person"]["details"]["numbers"] == [NUMBER]
    assert {one["phone_name"] for one in told["state"]["agents"]} == {"<redacted>"}
    assert {one["phone_name"] for one in all_of_it["state"]["agents"]} == {"agent1"}
    assert "2555" not in out
    for text in (out, whole):
        assert held["token"] not in text


async def test_EX_04_a_time_stops_before_what_happened_later(tmp_path: Path, asked: Asking) -> None:
    url = f"sqlite:///{tmp_path / 'ringfold.db'}"
    day = 1_777_888_800_000  # 2026-05-04T10:00:00Z
    events = [created("spring", day), listed(day + 500, ("spring:1", NUMBER)), *ran(day + 60_000)]
    await write(url, {"spring": events})

    for at, wanted in (
        ("2026-05-04T10:00:00Z", 1),
        ("2026-05-04T10:00:00.499Z", 1),
        ("2026-05-04T10:00:00.500Z", 2),
        ("2026-05-04T05:01:00-05:00", len(events) - 1),
        ("2026-05-05T00:00:00Z", len(events)),
    ):
        status, out, err = await asked("spring", "--at", at)
        assert (status, err) == (0, "")
        assert state_of(out)["position"].startswith(f"{wanted} of {len(events)},"), at

    status, _, err = await asked("spring", "--at", "2026-05-04T09:59:59Z")
    assert (status, err) == (1, "ringfold: at that time there was no campaign 'spring' yet\n")


async def test_EX_04_what_is_wrong_is_said_by_name(tmp_path: Path, asked: Asking) -> None:
    settings = settings_for(tmp_path, ami_of(SimulatedPbx()))
    missing = tmp_path / "ringfold.db"
    status, out, err = await asked("spring")
    assert (status, out, err) == (1, "", f"ringfold: there is no store at {missing}\n")
    assert not missing.exists()
    await write(settings.store.url, {"spring": [created("spring", days_ago(1)), *ran(days_ago(1))]})

    for words, status, said in (
        (("autumn",), 1, "there is no campaign 'autumn'"),
        (("spring", "--to", "6"), 1, "the log of 'spring' has positions 1 to 5, not 6"),
        (("spring", "--to", "0"), 1, "the log of 'spring' has positions 1 to 5, not 0"),
        (("spring", "--at", "noon"), 2, "--at 'noon' is no time such as 2026-05-04T12:00:00Z"),
        (("spring", "--at", "2026-05-04T12:00"), 2, "doesn't say where"),
        (("spring", "--to", "1", "--at", "2026-05-04T12:00:00Z"), 2, "--to or --at, not both"),
        (("spring", "--personal"), 2, "--personal goes with --json"),
    ):
        ended, out, err = await asked(*words)
        assert (ended, out) == (status, ""), words
        assert said in err, words


async def test_EX_04_an_archived_log_is_rerun_from_its_file_and_named_where_that_is_gone(
    tmp_path: Path, asked: Asking
) -> None:
    settings = settings_for(tmp_path, ami_of(SimulatedPbx()))
    folder = tmp_path / "archive"
    events = [created("old", days_ago(9)), *ran(days_ago(8)), CampaignDeleted(at=days_ago(7), by="m")]
    await write(settings.store.url, {"old": events})
    store = await open_store(settings.store.url, Codec(LogEvent), archive=folder)
    await store.drop(await store.archive(log_of("old")))
    await store.close()

    status, out, err = await asked("old", "--to", "5")

    assert (status, err) == (0, "")
    assert state_of(out)["campaign"] == "old, stopped (requested)"
    assert state_of(out)["position"].startswith("5 of 6,")
    for one in folder.iterdir():
        one.unlink()
    status, out, err = await asked("old")
    assert (status, out) == (1, "")
    assert "log 'campaign/old' was archived, and " in err


async def test_EX_04_a_snapshot_that_says_something_else_is_a_fault(tmp_path: Path, asked: Asking) -> None:
    """Given a snapshot in which a contact is missing, and later one that is damaged, then each is told and the exit is 1."""
    settings = settings_for(tmp_path, ami_of(SimulatedPbx()))
    events = [created("spring", days_ago(1)), listed(days_ago(1), ("spring:1", NUMBER)), *ran(days_ago(1))]
    await write(settings.store.url, {"spring": events})
    async with AsyncExitStack() as stack:
        store = await open_store(settings.store.url, Codec(LogEvent))
        stack.push_async_callback(store.close)
        true = await replay(store.read(log_of("spring")))
        wrong = Book()
        for one in events:
            if one is not events[1]:
                wrong.apply(one)
        packed = pack(wrong.snapshot(), Keys(*store.still_keys(log_of("spring"))))
        await store.save_snapshot(SNAPSHOT, log_of("spring"), 4, packed)

        status, out, _ = await asked("spring")

        assert status == 1
        assert state_of(out)["state"] == state_digest(true)
        assert state_of(out)["snapshot"] == "at position 4, another state"
        assert f"FAULT the snapshot at position 4 is {state_digest(wrong)}" in out
        status, out, _ = await asked("spring", "--to", "3")
        assert (status, state_of(out)["snapshot"]) == (0, "at position 4, which is later")
        await store.save_snapshot(SNAPSHOT, log_of("spring"), 4, {"nothing": b""}.items())
        status, out, _ = await asked("spring")
        assert (status, "FAULT the snapshot can't be read" in out) == (1, True)


LAST = 5


class Forgetful(Store):
    """Leaves the last event out when a log is read for the second time: as a fold would that isn't a function of the log."""

    times = 0

    async def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        self.times += 1
        async for batch in super().read(log, after):
            if self.times == 1 or batch[-1].pos < LAST:
                yield batch


async def test_EX_04_two_runs_that_differ_are_a_fault() -> None:
    store = Forgetful(MemoryStore(), Codec(LogEvent), "test", 10_000)
    log = await store.open_log(log_of("spring"))
    for one in (created("spring", 1), *ran(2)):  # each a segment, and so a batch, of its own
        await log.append([Append(stream_of(one), ANY, [one])])

    assert log.position == LAST

    made = await replay_twice(store, log.name, Stretch(), lambda _: None)

    assert made.run.pos == LAST - 1
    (fault,) = made.faults
    assert fault.startswith("the same log gave two states at position 5")
    await log.close()
