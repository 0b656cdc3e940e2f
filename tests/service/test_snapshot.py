"""A restart from a snapshot and what came after it is the same as a replay of everything."""

import sqlite3
from pathlib import Path

import msgspec

from config.settings import Engine as EngineSettings
from engine.campaigns import log_of
from engine.recovery import SNAPSHOT, replay
from simulations.pbx import SimulatedPbx
from tests.conftest import ami_of
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for


async def _work(world: World, times: int) -> None:
    agent = world.agent("agent1")
    for _ in range(times):
        held = await take(agent)
        call = (await act(agent, held, "dial"))["call_id"]
        await world.told("spring", "call.ended", call=call)
        await act(agent, held, "disposition", disposition="try_later")


async def test_the_book_restored_from_a_snapshot_equals_the_replayed_one(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    settings = msgspec.structs.replace(settings, engine=EngineSettings(drain_timeout_s=5, snapshot_every_events=15))
    async with running(settings) as world:
        await world.campaign("spring", [[f"2555{place:04}", "15550001"] for place in range(6)])
        await world.run("spring")
        await _work(world, 4)
        live = world.service.engine.campaigns["spring"].book.canonical()
    async with running(settings) as world:
        store = world.service.store
        saved = await store.snapshot(SNAPSHOT, log_of("spring"))
        assert saved is not None
        log = world.service.engine.campaigns["spring"].actor.log
        assert 0 < saved[0] < log.position
        assert any(b"25550000" in part for part in saved[1].values())
        sealed = await store.segments.parts(SNAPSHOT, log_of("spring"), saved[0], "", 100)
        assert len(sealed) == len(saved[1])
        assert not any(b"25550000" in data for _, data in sealed)
        await world.service.engine.campaigns["spring"].actor.settled()
        book = world.service.engine.campaigns["spring"].book
        assert book.canonical() == (await replay(store.read(log_of("spring")))).canonical()
        assert book.contacts.counts == (await replay(store.read(log_of("spring")))).contacts.counts
        assert live  # the first life had a state to speak of
        await _work(world, 2)  # and it works on


async def test_a_damaged_snapshot_costs_time_only(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    settings = msgspec.structs.replace(settings, engine=EngineSettings(drain_timeout_s=5, snapshot_every_events=15))
    async with running(settings) as world:
        await world.campaign("spring", [[f"2555{place:04}"] for place in range(6)])
        await world.run("spring")
        await _work(world, 4)
        held = await take(world.agent("agent1"))
    database = sqlite3.connect(settings.store.url.removeprefix("sqlite:///"))
    with database:
        changed = database.execute(
            "update es_snapshot set data = cast(x'00' || substr(data, 2) as blob) where part = 'contacts.rows/0'"
        ).rowcount
    database.close()
    assert changed  # of the one that counts, and of the one that the stop may have broken off
    async with running(settings) as world:
        assert (await take(world.agent("agent1")))["id"] == held["id"]
