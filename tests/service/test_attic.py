"""Calls that ended a while ago leave the process: whoever asks for one finds it all the same."""

from pathlib import Path

import pytest

from config.settings import Store
from engine.campaigns import log_of
from engine.core import ledger, table
from engine.recovery import replay
from simulations.pbx import SimulatedPbx
from tests.conftest import ami_of
from tests.eventstore.test_attic import Opened, open_below
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for

CALLS = 8


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PAGE_ROWS", 2)
    monkeypatch.setattr(ledger, "PAGE_ROWS", 2)
    monkeypatch.setattr(ledger, "KEPT_PAGES", 1)


async def worked(world: World) -> list[str]:
    """Its calls."""
    await world.campaign("spring", [[f"2555{place:04}"] for place in range(CALLS)])
    await world.run("spring")
    agent, calls = world.agent("agent1"), list[str]()
    for _ in range(CALLS):
        held = await take(agent)
        calls.append((await act(agent, held, "dial"))["call_id"])
        await world.told("spring", "call.ended", call=calls[-1])
        await act(agent, held, "disposition", disposition="try_later")
    return calls


def nameless(folder: Path) -> list[Opened]:
    return [one for one in open_below(folder) if "(deleted)" in one.target]


async def test_calls_that_were_put_away_are_shown_and_read_back_as_they_were(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with running(settings) as world:
        calls = await worked(world)
        (attic,) = nameless(tmp_path)
        assert attic.size
        shown = [await world.manager.call("GET", f"/v1/calls/{call}") for call in calls]
        assert [(one["id"], one["status"]) for one in shown] == [(call, "ended") for call in calls]
        book = world.service.engine.campaigns["spring"].book
        assert book.canonical() == (await replay(world.service.store.read(log_of("spring")))).canonical()
        await world.ask("spring", "stopped")
        await world.told("spring", "campaign.status", state="stopped")
        await world.manager.call("DELETE", "/v1/campaigns/spring")
        await world.told("spring", "campaign.deleted")
        await world.until(lambda: not nameless(tmp_path))


async def test_where_none_can_be_put_away_they_stay(tmp_path: Path, pbx: SimulatedPbx) -> None:
    (tmp_path / "file").touch()
    store = Store(url=f"sqlite:///{tmp_path / 'ringfold.db'}", attic_folder=str(tmp_path / "file"))
    async with running(settings_for(tmp_path, ami_of(pbx), store=store)) as world:
        calls = await worked(world)
        assert (await world.manager.call("GET", f"/v1/calls/{calls[0]}"))["status"] == "ended"
        assert not nameless(tmp_path)
