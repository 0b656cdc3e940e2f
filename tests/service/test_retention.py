"""TF-32: what ran and has been still for long is deleted by the dialer, once, and nothing else is; the log keeps it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.token import Role
from simulations.client import Client, Problem
from simulations.engine_process import EngineProcess
from simulations.pbx import SimulatedPbx, User
from tests.api.judge import judged_session
from tests.service.past import created, days_ago, listed, ran, write
from tests.world import PATIENCE_S

OLD, YOUNG, UNUSED, BUSY = "old", "young", "unused", "busy"


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'ringfold.db'}"


async def the_past(folder: Path) -> None:
    """One campaign of each kind: still for 8 days, still for 6, never started though old, and at work for 30."""
    folder.mkdir(exist_ok=True)
    await write(
        url_in(folder),
        {
            OLD: [created(OLD, days_ago(40)), listed(days_ago(40), ("old:1", "15550001")), *ran(days_ago(8))],
            YOUNG: [created(YOUNG, days_ago(40)), *ran(days_ago(20)), *ran(days_ago(6))],
            UNUSED: [created(UNUSED, days_ago(40))],
            BUSY: [created(BUSY, days_ago(40)), *ran(days_ago(30), still_running=True)],
        },
    )


@asynccontextmanager
async def engine(folder: Path, pbx: SimulatedPbx, **retention: Any) -> AsyncIterator[EngineProcess]:
    user = User()
    ami = {"port": pbx.port, "username": user.name, "secret": user.secret}
    process = EngineProcess(folder, {"ami": ami, "retention": {"look_every_s": 1, **retention}})
    try:
        yield process
    finally:
        await process.kill()


@asynccontextmanager
async def manager_of(process: EngineProcess) -> AsyncIterator[Client]:
    async with judged_session() as session:
        yield process.client(session, Role.CAMPAIGN_MANAGER, "manager")


async def gone(client: Client, ref: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while ref in {one["ref"] for one in (await client.call("GET", "/v1/campaigns"))["campaigns"]}:
            await asyncio.sleep(0.05)


async def deletions(client: Client) -> list[dict[str, Any]]:
    """What the feed tells of deletions, oldest first."""
    found = await client.call("GET", "/v1/events?after=&types=campaign.deleted&limit=1000")
    return list(found["events"])


async def test_TF_32_what_last_ran_over_7_days_ago_is_deleted_once_and_the_rest_stays(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    await the_past(tmp_path)
    async with engine(tmp_path, pbx) as process:
        await process.start()
        async with manager_of(process) as manager:
            await gone(manager, OLD)

            left = {one["ref"]: one["state"] for one in (await manager.call("GET", "/v1/campaigns"))["campaigns"]}
            told = await deletions(manager)
        assert set(left) == {YOUNG, UNUSED, BUSY}
        assert [(one["campaign"], one["data"]) for one in told] == [
            (OLD, {"by": "dialer:retention", "reason": "clean_after_days=7"})
        ]

        await process.kill()  # whatever it was about to do
        await process.start()
        await asyncio.sleep(2.5)  # two more rounds
        async with manager_of(process) as manager:
            assert await deletions(manager) == told
        await process.stop()
        _, lines = await process.command("log", f"campaign/{OLD}")
        assert lines.count("campaign.deleted.v1") == 1


async def test_TF_02_TF_03_refs_of_a_cleaned_campaign_stay_refused(tmp_path: Path, pbx: SimulatedPbx) -> None:
    await the_past(tmp_path)
    async with engine(tmp_path, pbx) as process:
        await process.start()
        async with manager_of(process) as manager:
            await gone(manager, OLD)
            for _ in range(2):  # now, and after a restart
                with pytest.raises(Problem) as refused:
                    await manager.call("PUT", f"/v1/campaigns/{OLD}", {"name": "Again"})
                assert (refused.value.status, refused.value.code) == (409, "campaign-ref-used")
                row = {"ref": "old:1", "numbers": ["15550009"]}
                added = await manager.call("POST", f"/v1/campaigns/{YOUNG}/contacts", [row])
                assert (added["added"], added["rejected"]) == (0, 1)
                assert repr(OLD) in added["results"][0]["reason"]
                await process.kill()
                await process.start()


async def test_TF_32_the_audit_log_of_a_cleaned_campaign_is_kept_whole(tmp_path: Path, pbx: SimulatedPbx) -> None:
    await the_past(tmp_path)
    async with engine(tmp_path, pbx) as process:
        _, before = await process.command("log", f"campaign/{OLD}")
        await process.start()
        async with manager_of(process) as manager:
            await gone(manager, OLD)
        assert await process.stop() == 0
        _, after = await process.command("log", f"campaign/{OLD}")
        status, report = await process.command("verify", f"campaign/{OLD}")
    assert after.startswith(before)
    assert after.removeprefix(before).count("\n") == 1
    assert status == 0
    assert "whole" in report


async def test_TF_32_the_off_switch_and_the_dry_run(tmp_path: Path, pbx: SimulatedPbx) -> None:
    await the_past(tmp_path)
    async with engine(tmp_path, pbx, clean_after_days=0) as off:
        await off.start()
        async with manager_of(off) as manager:
            await asyncio.sleep(2.5)
            assert await deletions(manager) == []
            shown = await manager.call("GET", "/v1/retention")
            assert {one["why"] for one in shown["campaigns"]} == {"cleaning is switched off"}
            assert len(shown["campaigns"]) == 4
        await off.stop()
    async with engine(tmp_path, pbx) as on:
        status, listed_now = await on.command("retention", "--dry-run")
        assert status == 0
        said = {line.split()[1].rstrip(":"): line for line in listed_now.splitlines()}
        assert said[OLD].startswith("due ")
        assert said[YOUNG].startswith("20")  # a date
        assert said[UNUSED].endswith("it never ran")
        assert said[BUSY].endswith("it is running")
        assert (await on.command("retention"))[0] == 2  # it never cleans by hand
        _, lines = await on.command("log", f"campaign/{OLD}")
        assert "campaign.deleted.v1" not in lines  # looking changed nothing


async def test_TF_32_the_list_says_when_and_why(tmp_path: Path, pbx: SimulatedPbx) -> None:
    await the_past(tmp_path)
    async with engine(tmp_path, pbx, clean_after_days=30) as process:
        await process.start()
        async with manager_of(process) as manager:
            shown = await manager.call("GET", "/v1/retention")
    assert shown["clean_after_days"] == 30
    rows = {one["campaign"]: one for one in shown["campaigns"]}
    assert [one["campaign"] for one in shown["campaigns"]][:2] == [OLD, YOUNG]  # the soonest first
    assert all(rows[ref]["clean_at"] > rows[ref]["last_run_at"] and not rows[ref]["due"] for ref in (OLD, YOUNG))
    assert (rows[UNUSED]["clean_at"], rows[UNUSED]["why"]) == (None, "it never ran")
    assert (rows[BUSY]["clean_at"], rows[BUSY]["why"]) == (None, f"it is {rows[BUSY]['state']}")
    assert json.dumps(shown)


async def test_TF_32_a_standby_goes_on_where_a_killed_dialer_was_and_deletes_nothing_twice(
    tmp_path: Path, pbx: SimulatedPbx
) -> None:
    """Thirty are due, more than one round takes; the first process is killed among them."""
    refs = [f"c{number:02}" for number in range(30)]
    await write(url_in(tmp_path), {ref: [created(ref, days_ago(40)), *ran(days_ago(9))] for ref in refs})
    async with engine(tmp_path, pbx) as first, engine(tmp_path / "standby", pbx) as second:
        second.config.write_text(
            second.config.read_text().replace(str(tmp_path / "standby" / "ringfold.db"), str(tmp_path / "ringfold.db"))
        )
        await first.start()
        taking_over = asyncio.ensure_future(second.start())
        async with manager_of(first) as manager:
            async with asyncio.timeout(PATIENCE_S):
                while len(await deletions(manager)) < 5:
                    await asyncio.sleep(0.01)
        await first.kill()
        await taking_over
        async with manager_of(second) as manager:
            async with asyncio.timeout(2 * PATIENCE_S):
                while (await manager.call("GET", "/v1/campaigns"))["campaigns"]:
                    await asyncio.sleep(0.1)
            told = await deletions(manager)
    assert sorted(one["campaign"] for one in told) == refs
