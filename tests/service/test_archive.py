"""TF-32: logs of campaigns deleted long ago leave the store for files, once, whatever crashes; nothing is lost by it."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from api.token import Role
from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.core.archive import CampaignArchived
from engine.core.campaign import CampaignDeleted
from engine.core.directory import CampaignRetired
from engine.core.directory import stream_of as directory_stream_of
from engine.ports import ANY, Append
from engine.service import LogEvent
from eventstore import Codec, Store, open_store
from simulations.client import Client, Problem
from simulations.engine_process import EngineProcess
from simulations.pbx import SimulatedPbx, User
from tests.api.judge import judged_session
from tests.service.past import created, days_ago, listed, ran, write
from tests.world import PATIENCE_S

OLD, YOUNG, LIVE = "old", "young", "live"
NUMBER = "15550001"


@pytest.fixture
async def past(tmp_path: Path) -> str:
    """One campaign deleted 40 days ago, one 10 days ago, and one that is there. The store's URL."""
    url = f"sqlite:///{tmp_path / 'ringfold.db'}"

    def deleted(ref: str, days: float) -> list[Any]:
        events = [created(ref, days_ago(days + 9)), listed(days_ago(days + 9), (f"{ref}:1", NUMBER))]
        return [*events, *ran(days_ago(days + 8)), CampaignDeleted(at=days_ago(days), by="m")]

    await write(
        url,
        {OLD: deleted(OLD, 40), YOUNG: deleted(YOUNG, 10), LIVE: [created(LIVE, days_ago(50))]},
        CampaignRetired(at=days_ago(40), ref=OLD),
        CampaignRetired(at=days_ago(10), ref=YOUNG),
    )
    return url


@asynccontextmanager
async def engine(folder: Path, pbx: SimulatedPbx, archive_after_days: int = 30) -> AsyncIterator[EngineProcess]:
    user = User()
    ami = {"port": pbx.port, "username": user.name, "secret": user.secret}
    kept = {"look_every_s": 1, "archive_after_days": archive_after_days}
    process = EngineProcess(folder, {"ami": ami, "retention": kept})
    try:
        yield process
    finally:
        await process.kill()


@asynccontextmanager
async def administrator(process: EngineProcess) -> AsyncIterator[Client]:
    async with judged_session() as session:
        yield process.client(session, Role.ADMINISTRATOR, "admin")


async def archived(client: Client, count: int = 1) -> dict[str, Any]:
    """What retention shows once so many logs have left the store."""
    async with asyncio.timeout(PATIENCE_S):
        while (shown := await client.call("GET", "/v1/retention"))["archived"] != count:
            await asyncio.sleep(0.05)
    return dict(shown)


async def left(folder: Path, ref: str) -> None:
    """Until the store has the log no more: for a moment it has it, and the archive has it too."""
    with closing(sqlite3.connect(f"file:{folder / 'ringfold.db'}?mode=ro", uri=True)) as store:
        async with asyncio.timeout(PATIENCE_S):
            while store.execute("select 1 from es_segment where log = ? limit 1", (log_of(ref),)).fetchone():
                await asyncio.sleep(0.05)


async def events_of(client: Client, ref: str) -> list[dict[str, Any]]:
    return list((await client.call("GET", f"/v1/events?after=&campaign={ref}&limit=500"))["events"])


async def opened(url: str, folder: Path) -> Store:
    return await open_store(url, Codec(LogEvent), owner="test", archive=folder / "archive")


async def segments_of(url: str, folder: Path, ref: str) -> int:
    store = await opened(url, folder)
    try:
        return len(await store.segments.segments(log_of(ref), 0, 1_000))
    finally:
        await store.close()


async def said(url: str, folder: Path) -> list[tuple[str, str]]:
    """What the directory says of archives: the event's type and the campaign."""
    store = await opened(url, folder)
    try:
        events = [one.event async for batch in store.read(DIRECTORY) for one in batch]
    finally:
        await store.close()
    return [
        (type(one).__name__, one.ref)
        for one in events
        if type(one).__name__ in ("CampaignArchived", "CampaignRestored")
    ]


async def test_TF_32_a_log_is_archived_when_due_and_tells_the_same_from_its_file(
    past: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    async with engine(tmp_path, pbx) as process:
        _, log_before = await process.command("log", log_of(OLD), "--personal")
        _, export_before = await process.command("export", OLD)
        await process.start()
        async with administrator(process) as admin:
            shown = await archived(admin)
            told = await events_of(admin, OLD)
            assert [one["type"] for one in told][-1] == "campaign.deleted"
            assert [one["seq"] for one in told] == list(range(1, len(told) + 1))
            assert [one["campaign"] for one in shown["archiving"]] == [YOUNG]
            assert not shown["archiving"][0]["due"]
            for ref in (OLD, YOUNG):  # used for ever, wherever the log is
                with pytest.raises(Problem) as refused:
                    await admin.call("PUT", f"/v1/campaigns/{ref}", {"name": "Again"})
                assert refused.value.code == "campaign-ref-used"
        await process.kill()
        await process.start()  # what is archived is no hindrance to a start
        await asyncio.sleep(2.5)  # two rounds
        async with administrator(process) as admin:
            assert await events_of(admin, OLD) == told
        assert await process.stop() == 0

        assert await segments_of(past, tmp_path, OLD) == 0
        assert await segments_of(past, tmp_path, YOUNG) > 0
        assert await said(past, tmp_path) == [("CampaignArchived", OLD)]
        assert sorted(one.name for one in (tmp_path / "archive").iterdir()) == [
            "campaign%2Fold.log",
            "campaign%2Fold.log.json",
        ]
        assert (await process.command("log", log_of(OLD), "--personal"))[1] == log_before
        exported = (await process.command("export", OLD))[1].splitlines()
        assert exported[1:] == export_before.splitlines()[1:]  # the first has the time of the export
        assert f"Name of {OLD}:1" in exported[1]
        assert f"{log_of(OLD)} (archived)" in (await process.command("log"))[1]
        assert await process.command("archive", "list") == (0, f"{log_of(OLD)}\n")
        status, report = await process.command("archive", "verify")
        assert (status, "whole" in report) == (0, True)


async def test_TF_32_nothing_is_archived_unless_the_operator_says_so_and_the_dry_run_changes_nothing(
    past: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    async with engine(tmp_path, pbx, archive_after_days=0) as process:
        await process.start()
        await asyncio.sleep(2.5)
        async with administrator(process) as admin:
            shown = await admin.call("GET", "/v1/retention")
        assert (shown["archive_after_days"], shown["archived"]) == (0, 0)
        assert {(one["campaign"], one["why"]) for one in shown["archiving"]} == {
            (OLD, "archiving is switched off"),
            (YOUNG, "archiving is switched off"),
        }
        await process.stop()
    assert not (tmp_path / "archive").exists()
    async with engine(tmp_path, pbx) as process:
        status, text = await process.command("retention", "--dry-run")
    lines = {line.split()[1].rstrip(":"): line for line in text.splitlines()}
    assert status == 0
    assert lines[OLD].startswith("due ")
    assert lines[YOUNG].startswith("20")  # a date
    assert lines[YOUNG].endswith("its log is archived 30 days after it was deleted")
    assert await said(past, tmp_path) == []


@pytest.mark.parametrize("crashed", ["before the directory said so", "before it left", "while it left"])
async def test_TF_32_a_crash_between_the_steps_loses_nothing_and_the_next_process_goes_on(
    past: str, tmp_path: Path, pbx: SimulatedPbx, crashed: str
) -> None:
    store = await opened(past, tmp_path)
    before = [one async for batch in store.read(log_of(OLD)) for one in batch]
    file = await store.archive(log_of(OLD))
    if crashed != "before the directory said so":
        event = CampaignArchived(
            at=days_ago(0),
            ref=OLD,
            file=file.file,
            sha256=file.sha256,
            segments=file.segments,
            events=file.events,
            by="dialer:retention",
            reason="archive_after_days=30",
        )
        directory = await store.open_log(DIRECTORY)
        await directory.append([Append(directory_stream_of(event), ANY, [event])])
        await directory.close()
    if crashed == "while it left":
        await store.segments.drop(log_of(OLD), file.events, 0)  # it counts as gone, and all of it is still there
    await store.close()

    async with engine(tmp_path, pbx) as process:
        await process.start()
        async with administrator(process) as admin:
            await archived(admin)
            async with asyncio.timeout(PATIENCE_S):
                while await segments_of(past, tmp_path, OLD):
                    await asyncio.sleep(0.1)
        assert await process.stop() == 0

    store = await opened(past, tmp_path)
    assert [one async for batch in store.read(log_of(OLD)) for one in batch] == before
    await store.close()
    assert await said(past, tmp_path) == [("CampaignArchived", OLD)]


async def test_TF_32_a_log_is_put_back_by_a_stopped_service_only_and_stays(
    past: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    async with engine(tmp_path, pbx) as process:
        await process.start()
        async with administrator(process) as admin:
            await archived(admin)
        assert (await process.command("archive", "restore", OLD))[0] == 1  # it owns the logs
        assert await said(past, tmp_path) == [("CampaignArchived", OLD)]
        await process.stop()

        status, report = await process.command("archive", "restore", OLD)
        assert (status, "whole" in report) == (0, True)
        assert (await process.command("archive", "restore", OLD))[0] == 1  # it is no longer archived
        assert (await process.command("archive", "restore", LIVE))[0] == 1
        assert await said(past, tmp_path) == [("CampaignArchived", OLD), ("CampaignRestored", OLD)]

        await process.start()
        await asyncio.sleep(2.5)  # two rounds: it isn't due again
        async with administrator(process) as admin:
            shown = await admin.call("GET", "/v1/retention")
            with pytest.raises(Problem) as gone:
                await admin.call("GET", f"/v1/campaigns/{OLD}")
        assert gone.value.status == 410
        assert shown["archived"] == 0
        rows = {one["campaign"]: one for one in shown["archiving"]}
        assert rows[OLD]["why"] == "its log is archived 30 days after its log was put back"
        assert rows[OLD]["archive_at"] > rows[YOUNG]["archive_at"]
        await process.stop()
        assert (await process.command("verify", log_of(OLD)))[0] == 0
    assert await segments_of(past, tmp_path, OLD) > 0


async def test_TF_32_who_is_erased_is_erased_in_the_archive_and_a_file_out_of_reach_is_said(
    past: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    async with engine(tmp_path, pbx) as process:
        await process.start()
        async with administrator(process) as admin:
            await archived(admin)
            await left(tmp_path, OLD)
            (tmp_path / "archive").rename(tmp_path / "away")
            with pytest.raises(Problem) as unknown:  # who else has the number can't be known
                await admin.call("POST", "/v1/persons/erase", {"number": NUMBER})
            assert unknown.value.status == 503
            (tmp_path / "away").rename(tmp_path / "archive")
            erased = await admin.call("POST", "/v1/persons/erase", {"number": NUMBER})
        assert {one["contact"] for one in erased["erased"]} == {f"{OLD}:1", f"{YOUNG}:1"}
        await process.stop()
        for ref in (OLD, YOUNG):
            _, printed = await process.command("export", ref)
            assert json.loads(printed.splitlines()[1])["contact"]["erased"]
            assert NUMBER not in printed
            assert "Name of" not in printed
        (tmp_path / "archive").rename(tmp_path / "away")
        assert (await process.command("export", OLD))[0] == 1  # never an empty campaign
        assert (await process.command("archive", "verify", OLD))[0] == 1


async def test_whose_file_is_gone_is_a_gap_in_the_feed_and_the_rest_is_told(
    past: str, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    async with engine(tmp_path, pbx) as process:
        await process.start()
        async with administrator(process) as client:
            await archived(client)
            assert await events_of(client, OLD)  # from its file
        assert await process.stop() == 0
        (tmp_path / "archive").rename(tmp_path / "elsewhere")
        await process.start()
        async with administrator(process) as client:
            with pytest.raises(Problem) as gone:
                await events_of(client, OLD)
            assert (gone.value.status, gone.value.code) == (410, "feed-gap")
            assert f"'{OLD}'" in gone.value.body["detail"]
            told: list[dict[str, Any]] = []
            async with asyncio.timeout(PATIENCE_S):
                async for one in client.events("after="):
                    told.append(one)
                    if one.get("campaign") == YOUNG:  # the last in the order in which they were merged
                        break
            assert [one["detail"] for one in told if "detail" in one] == [gone.value.body["detail"]]
            assert OLD not in {one.get("campaign") for one in told}
            assert {one["campaign"] for one in told if "campaign" in one} == {YOUNG, LIVE}
            async with asyncio.timeout(PATIENCE_S):  # whoever follows passes over what is no notification, and goes on
                async for one in client.follow("", after=""):
                    assert one["campaign"] in (YOUNG, LIVE)
                    if one["campaign"] == YOUNG:
                        break
