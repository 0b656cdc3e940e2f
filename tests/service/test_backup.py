"""A backup is made while calls go on, is whole, and a service started on it knows all that was known at that moment."""

import asyncio
import shutil
import stat
from pathlib import Path

from simulations.pbx import Script
from tests.service.test_crash import CAMPAIGN, Floor, floor
from tests.service.test_preview import act

CONTACTS = [[f"1555{place:04}"] for place in range(300)]


async def _work(place: Floor, name: str) -> None:
    agent = place.agent(name)
    while (answer := await agent.call("POST", f"/v1/agents/{name}/next", {})) is not None:
        await act(agent, answer["reservation"], "disposition", disposition="no_contact")


async def test_a_backup_under_load_is_restored_to_what_was_known(tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    async with floor(tmp_path, Script(), 0.02) as place:
        names = ["agent10", "agent20", "agent30"]
        await place.campaign(CONTACTS, names, dispose_without_attempt=True, stop_when_completed=False)
        await place.ask("running")
        await place.told("campaign.status", state="running")
        working = [asyncio.create_task(_work(place, name)) for name in names]
        await asyncio.sleep(0.3)
        before = len(await place.story())
        status, said = await place.engine.command("backup", str(file))
        assert status == 0, said
        after = len(await place.story())
        assert after > before > 0, "nothing went on meanwhile"
        await asyncio.gather(*working)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        again, refused = await place.engine.command("backup", str(file))
        assert (again, "is there already" in refused) == (2, True)

        story = await place.story()
        await place.engine.stop()
        for left in place.engine.folder.glob("ringfold.db*"):
            left.unlink()
        shutil.copy(file, place.engine.folder / "ringfold.db")
        status, said = await place.engine.command("verify")
        assert status == 0, said
        await place.engine.start()
        restored = await place.story()
        known = [one for one in restored if one["type"] == "contact.disposed"]
        # What comes after it is the restored service's own: agents who are not there any more, and the like.
        assert len(restored) >= before
        assert [one["id"] for one in known] == [one["id"] for one in story if one["type"] == "contact.disposed"][
            : len(known)
        ]
        assert (await place.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}"))["contacts"]["final"] == len(known) > 0


async def test_other_stores_and_missing_ones_are_told_of(tmp_path: Path) -> None:
    async with floor(tmp_path, Script(), 0.02) as place:
        status, said = await place.engine.command("backup", "/nonexistent/folder/x.db")
        assert (status, "No such file" in said) == (2, True)
