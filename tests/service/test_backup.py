"""A backup is made while calls go on, is whole, and a service that starts on it restored knows all that was known then."""

import asyncio
import itertools
import os
import re
import shutil
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api.token import Role
from simulations.client import Problem, Restored
from simulations.engine_process import EngineProcess
from simulations.pbx import Script, SimulatedPbx
from tests.service.past import created, days_ago, listed, ran, write
from tests.service.test_crash import CAMPAIGN, Floor, floor
from tests.service.test_manager import at_work
from tests.service.test_preview import act

CONTACTS = [[f"1555{place:04}"] for place in range(300)]
LARGE_BYTES = 40_000_000
"""Far more than is copied between two writes of the service."""
WRITER = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
number = 0
while True:
    number += 1
    store.execute("insert or replace into es_checkpoint values ('hook', 'busy', ?)", (number,))
    if number == 1:
        print("writing", flush=True)
"""


def digests(said: str) -> dict[str, str]:
    """By campaign's log, the state's digest as verify, backup and restore print it."""
    return dict(re.findall(r"^(campaign/[^:]+): .*, state ([0-9a-f]+)$", said, re.MULTILINE))


async def _work(place: Floor, name: str, saved: asyncio.Event) -> None:
    """Contacts are disposed until the half is; then skipped, so that there is work for as long as the backup takes."""
    agent = place.agent(name)
    for turn in itertools.count():
        answer = await agent.call("POST", f"/v1/agents/{name}/next", {})
        if answer is not None and turn >= len(CONTACTS) // 6 and not saved.is_set():
            await act(agent, answer["reservation"], "skip", reason="the backup is not done")
        elif answer is not None:
            await act(agent, answer["reservation"], "disposition", disposition="no_contact")
        elif saved.is_set():
            return
        else:
            await asyncio.sleep(0.01)


async def _backup_under_load(place: Floor, file: Path) -> tuple[str, list[dict[str, Any]]]:
    """What the command said, and the whole story: the work goes on until every contact is final."""
    names = ["agent10", "agent20", "agent30"]
    await place.campaign(CONTACTS, names, dispose_without_attempt=True, stop_when_completed=False)
    await place.ask("running")
    await place.told("campaign.status", state="running")
    saved = asyncio.Event()
    working = [asyncio.create_task(_work(place, name, saved)) for name in names]
    await asyncio.sleep(0.3)
    before = len(await place.story())
    status, said = await place.engine.command("backup", str(file))
    assert status == 0, said
    assert len(await place.story()) > before > 0, "nothing went on meanwhile"
    saved.set()
    await asyncio.gather(*working)
    return said, await place.story()


async def _are_told_apart(place: Floor, story: list[dict[str, Any]], known: list[dict[str, Any]], until: int) -> None:
    """What was told since the backup, and what is told instead since the restore: by id, by cursor, over HTTP."""
    anew = next(place for place, one in enumerate(known) if "~" in one["id"])
    assert 0 < anew <= until  # the feed may not have taken up the last ones when they were saved
    assert known[:anew] == story[:anew]
    assert not {one["id"] for one in known[anew:]} & {one["id"] for one in story}
    assert known[anew]["seq"] == story[anew]["seq"]
    with pytest.raises(Problem) as refused:
        await place.admin.call("GET", f"/v1/events?after={story[-1]['cursor']}")
    assert (refused.value.status, refused.value.code) == (410, "feed-restored")
    headers = {"Authorization": f"Bearer {place.engine.token(Role.ADMINISTRATOR, 'operator')}"}
    async with place.session.get(f"{place.engine.base}/v1/events?after={story[-1]['cursor']}", headers=headers) as gap:
        cursor = gap.headers["Ringfold-Cursor"]
    page = await place.admin.call("GET", f"/v1/events?after={cursor}&campaign={CAMPAIGN}&limit=1000")
    assert page["events"] == known[anew:]
    with pytest.raises(Restored, match="restored from a backup"):
        await anext(place.admin.follow("", after=story[-1]["cursor"]))
    async with at_work(place.admin, after=story[-1]) as manager:
        await manager.until(CAMPAIGN, lambda row: row.seq == known[-1]["seq"])
        assert manager.judge.faults == []
        assert await manager.differences() == []


async def test_a_backup_under_load_is_restored_to_the_very_state_and_its_campaigns_wait_to_be_started(
    tmp_path: Path,
) -> None:
    file = tmp_path / "saved" / "backup.db"
    file.parent.mkdir()
    async with floor(tmp_path, Script(), 0.02) as place:
        saved, story = await _backup_under_load(place, file)
        assert [one.name for one in file.parent.iterdir()] == [file.name], "something unfinished was left"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        again, refused = await place.engine.command("backup", str(file))
        assert (again, "is there already" in refused) == (2, True)
        held, told = await place.engine.command("restore", str(file))
        assert (held, "is there already" in told) == (2, True)

        await place.engine.stop()
        for left in place.engine.folder.glob("ringfold.db*"):
            left.unlink()
        status, said = await place.engine.command("restore", str(file))
        assert status == 0, said
        assert len(digests(saved)) == 1
        assert digests(said) == digests(saved)
        assert "it ran, and is asked to stop" in said
        assert stat.S_IMODE((place.engine.folder / "ringfold.db").stat().st_mode) == 0o600

        dialled = len(place.pbx.originates)
        await place.engine.start()
        await place.told("campaign.status", state="stopped")
        assert len(place.pbx.originates) == dialled, "it dialled by itself after a restore"
        known = await place.story()
        same = [
            (was["time"], was["data"]) == (now["time"], now["data"]) for was, now in zip(story, known, strict=False)
        ]
        until = same.index(False)
        assert until > 50
        await _are_told_apart(place, story, known, until)
        final = sum(one["type"] == "contact.disposed" for one in known)
        assert final == sum(one["type"] == "contact.disposed" for one in story[:until])
        shown = await place.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}")
        assert 0 < shown["contacts"]["final"] == final < len(CONTACTS)
        assert [one["data"]["by"] for one in known if one["data"].get("state") == "stopping"] == ["restore"]


def test_a_backup_of_a_large_store_ends_though_it_is_written_to_all_the_time(tmp_path: Path) -> None:
    """Copied in several steps it would begin anew after every write, for as long as there are any."""
    engine = EngineProcess(tmp_path, {})
    asyncio.run(write(f"sqlite:///{tmp_path / 'ringfold.db'}", {"a": [created("a", days_ago(1))]}))
    with sqlite3.connect(tmp_path / "ringfold.db") as store:
        parts = [(f"big{one}", "x", 0, "book", bytes(1_000_000)) for one in range(LARGE_BYTES // 1_000_000)]
        store.executemany("insert into es_snapshot values (?, ?, ?, ?, ?)", parts)
    store.close()

    async def backed_up() -> tuple[int, str]:
        path = str(tmp_path / "ringfold.db")
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, path, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert writer.stdout is not None
            assert await writer.stdout.readline() == b"writing\n"
            async with asyncio.timeout(60):
                return await engine.command("backup", str(tmp_path / "saved.db"))
        finally:
            writer.kill()
            await writer.wait()

    status, said = asyncio.run(backed_up())
    assert status == 0, said
    with sqlite3.connect(tmp_path / "saved.db") as saved:
        assert saved.execute("select count(*) from es_snapshot").fetchone() == (LARGE_BYTES // 1_000_000,)
    saved.close()


async def _past(folder: Path, **settings: Any) -> EngineProcess:
    """A store as a stopped service left it: one campaign runs, another is stopped, each with people."""
    engine = EngineProcess(folder, settings)
    week = days_ago(1)
    campaigns = {
        "spring": [
            created("spring", week),
            listed(week, ("spring:1", "+390612345678")),
            *ran(week, still_running=True),
        ],
        "autumn": [created("autumn", week), listed(week, ("autumn:1", "+390612345679")), *ran(week)],
    }
    await write(f"sqlite:///{folder / 'ringfold.db'}", campaigns)
    return engine


async def test_a_backup_is_restored_into_postgresql_too(tmp_path: Path, postgres_url: str) -> None:
    engine = await _past(tmp_path / "embedded")
    file = tmp_path / "saved.db"
    status, said = await engine.command("backup", str(file))
    assert status == 0, said
    other = EngineProcess(tmp_path / "other", {"store": {"url": postgres_url}})
    status, told = await other.command("restore", str(file), "--leave-running")
    assert status == 0, told
    assert len(digests(said)) == 2
    assert digests(told) == digests(said)
    status, person = await other.command("log", "campaign/autumn", "--personal")
    assert "Name of autumn:1" in person, "the keys to personal data are missing"
    status, told = await other.command("restore", str(file))
    assert (status, "holds logs already" in told) == (2, True)
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("select count(*) from es_log where log like 'campaign/%'") == 2
    await connection.close()


async def test_campaigns_go_on_after_a_restore_only_where_that_is_asked_for(tmp_path: Path) -> None:
    engine = await _past(tmp_path / "engine")
    file = tmp_path / "saved.db"
    assert (await engine.command("backup", str(file)))[0] == 0
    for more, stops in ([], 1), (["--leave-running"], 0):
        (tmp_path / "engine" / "ringfold.db").unlink()
        status, said = await engine.command("restore", str(file), *more)
        assert status == 0, said
        _, spring = await engine.command("log", "campaign/spring")
        _, autumn = await engine.command("log", "campaign/autumn")
        assert (spring.count('by="restore"'), autumn.count('by="restore"')) == (stops, 0)


async def test_what_would_lose_something_is_refused_and_nothing_changes(tmp_path: Path, pbx: SimulatedPbx) -> None:
    engine = await _past(tmp_path / "engine", ami={"port": pbx.port, "username": pbx.username, "secret": pbx.secret})
    store, file = tmp_path / "engine" / "ringfold.db", tmp_path / "saved.db"
    assert (await engine.command("backup", str(file)))[0] == 0
    damaged = tmp_path / "damaged.db"
    shutil.copy(file, damaged)
    with sqlite3.connect(damaged) as connection:
        connection.execute("drop trigger es_segment_no_update")
        connection.execute("update es_segment set data = x'00' where log = 'campaign/spring' and seq = 1")
    connection.close()
    (tmp_path / "text.db").write_text("no store at all, whatever its name says" * 100)

    async def refused(words: list[str], exit_status: int, why: str) -> None:
        before = sorted(tmp_path.rglob("*"))
        status, said = await engine.command(*words)
        assert (status, why in said, "Traceback" in said) == (exit_status, True, False), said
        assert sorted(tmp_path.rglob("*")) == before

    await refused(["backup", str(tmp_path / "none" / "x.db")], 2, "there is no folder")
    await refused(["restore", str(file)], 2, "is there already")
    await engine.start()
    store.rename(tmp_path / "engine" / "away.db")
    for left in (tmp_path / "engine").glob("ringfold.db-*"):
        left.unlink()
    await refused(["restore", str(file)], 2, "still at work")
    await engine.kill()
    await refused(["restore", str(tmp_path / "none.db")], 2, "there is no file")
    await refused(["restore", str(damaged)], 1, "FAULT")
    await refused(["restore", str(tmp_path / "text.db")], 1, "not a database")
    await refused(["backup", str(tmp_path / "x.db")], 2, "there is no store")
    (tmp_path / "engine" / "ringfold.db-wal").touch()
    await refused(["restore", str(file)], 2, "is there already")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_restores_is_the_services(tmp_path: Path) -> None:
    engine = await _past(tmp_path / "engine")
    file, store = tmp_path / "saved.db", tmp_path / "engine" / "ringfold.db"
    assert (await engine.command("backup", str(file)))[0] == 0
    store.unlink()
    os.chown(store.parent, 65_534, 65_534)
    assert (await engine.command("restore", str(file)))[0] == 0
    assert (store.stat().st_uid, store.stat().st_gid) == (65_534, 65_534)
    assert file.stat().st_uid == 0
