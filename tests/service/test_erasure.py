"""A person's rights: everything that is kept of them told, and nothing left that says who they are; decisions stay."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.token import Role
from config.settings import Engine as EngineSettings
from config.settings import Settings
from engine.core.erasure import PersonErased
from engine.core.personal import Person
from engine.recovery import SNAPSHOT
from engine.service import LogEvent
from eventstore import Codec, open_store, verify
from eventstore.snapshot import subject_of
from simulations.pbx import Script, SimulatedPbx
from tests.api.asking import Answer, ask, problem, token_of
from tests.conftest import TIME_SCALE, ami_of
from tests.service.past import created, days_ago, listed, write
from tests.service.test_preview import act, take
from tests.world import PATIENCE_S, World, running, settings_for

ADA = "65550001"
"""Her number: answers, and hangs up a second of its life later."""
STAYS = "15550002"
"""Answers and talks on."""
NAME, CITY, NOTE = "Ada Esempio", "Pietrelcina", "prefers the evening"
SECRETS = (ADA, NAME, CITY, NOTE)


@pytest.fixture
async def recording_pbx(tmp_path: Path) -> AsyncIterator[SimulatedPbx]:
    pbx = SimulatedPbx(Script(), seed=1, time_scale=TIME_SCALE, login_penalty_ms=0, monitor=tmp_path / "monitor")
    await pbx.start()
    yield pbx
    await pbx.stop()


@pytest.fixture
def settings(tmp_path: Path, recording_pbx: SimulatedPbx) -> Settings:
    """With snapshots every few events, and the folder of recordings."""
    ami = msgspec.structs.replace(ami_of(recording_pbx), recordings_path=str(tmp_path / "monitor" / "ringfold"))
    return settings_for(tmp_path, ami, engine=EngineSettings(drain_timeout_s=5, snapshot_every_events=10))


def ada(ref: str, number: str = ADA) -> dict[str, Any]:
    return {"ref": ref, "numbers": [number], "name": NAME, "data": {"city": CITY}, "external_id": f"crm-{ref}"}


async def known(world: World) -> None:
    """Ada was called, recorded and noted down in `spring`, stands in `winter`, which is deleted, and in a waiting file."""
    form = [{"name": "remark", "type": "text"}]
    await world.campaign("spring", [], record=True, form=form)
    await world.campaign("winter", [], agents=())
    other = {"ref": "spring:2", "numbers": [STAYS], "name": "Bob Altro"}
    await world.manager.call("POST", "/v1/campaigns/spring/contacts", [ada("spring:1"), other])
    await world.manager.call("POST", "/v1/campaigns/winter/contacts", [ada("winter:1", f"+{ADA}")])
    await world.manager.call("DELETE", "/v1/campaigns/winter")
    await world.run("spring")
    agent = world.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    await world.told("spring", "call.ended", call=call)
    await act(agent, held, "disposition", disposition="engaged", data={"remark": NOTE})
    await _waiting_file(world)


async def _waiting_file(world: World) -> str:
    rows = f"ref,number1,name\nspring:9,{ADA[:4]} {ADA[4:]},{NAME}\n".encode()
    path = "/v1/imports?campaign=spring&name=more.csv&mode=add"
    answer = await ask(world, "POST", path, raw=rows, headers={"Content-Type": "text/csv"})
    assert answer.status in (200, 201, 202), answer.raw
    name = str(answer.body["id"])
    async with asyncio.timeout(PATIENCE_S):
        while (await world.manager.call("GET", f"/v1/imports/{name}"))["state"] == "validating":
            await asyncio.sleep(0.05)
    return name


def files(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


def kept_in(folder: Path, text: bytes) -> list[str]:
    return [one.name for one in files(folder) if text in one.read_bytes()]


def key_of(settings: Settings, subject: str) -> bytes | None:
    with sqlite3.connect(settings.store.url.removeprefix("sqlite:///")) as database:
        row = database.execute("select key from es_key where subject = ?", (subject,)).fetchone()
    database.close()
    return row[0] if row else None


async def told_of(settings: Settings) -> str:
    """Everything that the store holds, opened with the keys there are: all events, and all snapshots."""
    store = await open_store(settings.store.url, Codec(LogEvent))
    told = ""
    try:
        for name in await store.logs():
            assert (await verify(store, name)).faults == []
            async for batch in store.read(name):
                told += "".join(repr(msgspec.to_builtins(one.event, enc_hook=_details)) for one in batch)
            saved = await store.snapshot(SNAPSHOT, name)
            told += "".join(map(repr, saved[1].values())) if saved is not None else ""
    finally:
        await store.close()
    return told


def _details(value: Any) -> Any:
    return msgspec.to_builtins(value.details) if isinstance(value, Person) else str(value)


async def erase(world: World, **body: Any) -> Answer:
    return await ask(world, "POST", "/v1/persons/erase", body)


async def test_who_is_erased_is_gone_from_everything_that_is_kept(tmp_path: Path, settings: Settings) -> None:
    async with running(settings) as world:
        await known(world)
        before = await told_of(settings)
        assert all(one in before for one in SECRETS)  # they are there, for who has the keys
        keys = {one: key_of(settings, one) for one in ("spring:1", "winter:1")}
        assert all(key and kept_in(tmp_path, key) for key in keys.values())
        recordings = [one for one in files(tmp_path / "monitor") if one.suffix == ".wav"]
        assert len(recordings) == 1
        assert kept_in(tmp_path / "imports", NAME.encode())

        answer = await erase(world, number=ADA)

        assert answer.status == 200
        done = answer.body
        assert done["erased"] == [
            {"campaign": "spring", "contact": "spring:1"},
            {"campaign": "winter", "contact": "winter:1"},
        ]
        assert [one["deleted"] for one in done["recordings"]] == [True]
        assert len(done["imports"]) == 1
        shown = await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1")
        assert (shown["erased"], shown["name"], shown["data"], shown["numbers"]) == (True, None, None, [])
        assert shown["disposition"] == "engaged"  # what was decided stays
        told = await world.notifications("spring")
        ended = next(one for one in told if one["type"] == "call.ended")
        assert (ended["data"]["contact"], ended["data"]["number"]) == ("spring:1", None)
        assert [one["data"] for one in told if one["type"] == "contact.erased"] == [
            {"contact": "spring:1", "by": "admin"}
        ]
        assert not [one for one in SECRETS if one in repr(told)]
        other = await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:2")
        assert other["name"] == "Bob Altro"
    assert not [one for one in files(tmp_path / "monitor") if one.suffix == ".wav"]
    after = await told_of(settings)
    assert not [one for one in SECRETS if one in after]
    assert "Bob Altro" in after
    assert not [one for one in SECRETS if kept_in(tmp_path, one.encode())]  # nor in any file, sealed or not
    assert not [one for one, key in keys.items() if key and kept_in(tmp_path, key)]  # and nothing opens an old copy
    assert after.count("'call': ") == before.count("'call': ")  # the record of calls is what it was
    async with running(settings) as world:
        again = await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1")
        assert (again["erased"], again["numbers"]) == (True, [])
        problem(await erase(world, number=ADA), 404, "unknown-person")
        problem(await ask(world, "POST", "/v1/persons/export", {"number": ADA}), 404, "unknown-person")


async def test_a_snapshot_made_before_opens_no_more(settings: Settings) -> None:
    async with running(settings) as world:
        await known(world)
        store = world.service.store
        async with asyncio.timeout(PATIENCE_S):
            while (pos := await store.segments.newest_snapshot(SNAPSHOT, "campaign/spring")) is None:
                await asyncio.sleep(0.05)
        sealed = await store.segments.parts(SNAPSHOT, "campaign/spring", pos, "", 100)
        assert sealed
        assert not [one for one in SECRETS for _, part in sealed if one.encode() in part]  # sealed to begin with
        assert await store.segments.keys([subject_of(SNAPSHOT, "campaign/spring", pos)])
        assert (await erase(world, contact="spring:1")).status == 200
        assert not await store.segments.keys([subject_of(SNAPSHOT, "campaign/spring", pos)])  # whoever has a copy
    async with running(settings) as world:
        shown = await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1")
        assert shown["erased"]


async def test_nobody_is_erased_in_a_call_unless_it_may_wait_for_its_end(settings: Settings) -> None:
    async with running(settings) as world:
        await world.campaign("spring", [[STAYS]])
        await world.run("spring")
        agent = world.agent("agent1")
        held = await take(agent)
        call = (await act(agent, held, "dial"))["call_id"]
        await world.told("spring", "call.connected", call=call)

        problem(await erase(world, contact="spring:1"), 409, "contact-in-call")
        shown = await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1")
        assert [one["number"] for one in shown["numbers"]] == [STAYS]  # nothing was begun

        queued = await erase(world, contact="spring:1", after_call=True)
        assert (queued.status, queued.body["waiting"], queued.body["erased"]) == (202, ["spring:1"], [])
        assert key_of(settings, "spring:1") is not None
        await world.admin.call("POST", f"/v1/calls/{call}/hangup")
        await world.told("spring", "call.ended", call=call)
        await act(agent, held, "disposition", disposition="engaged")

        await world.told("spring", "contact.erased", contact="spring:1")
        async with asyncio.timeout(PATIENCE_S):
            while key_of(settings, "spring:1") is not None:
                await asyncio.sleep(0.05)
        assert STAYS not in await told_of(settings)


async def test_a_crash_after_the_intent_leaves_nothing_undone(tmp_path: Path, settings: Settings) -> None:
    past = {
        "spring": [created("spring", days_ago(3)), listed(days_ago(3), ("spring:1", ADA), ("spring:2", STAYS))],
    }
    erased = PersonErased(at=days_ago(1), by="admin", contacts={"spring": ("spring:1",)})
    await write(settings.store.url, past, erased)
    async with running(settings) as world:
        await world.told("spring", "contact.erased", contact="spring:1", by="dialer:erasure")
        async with asyncio.timeout(PATIENCE_S):
            while key_of(settings, "spring:1") is not None:
                await asyncio.sleep(0.05)
        shown = (await world.manager.call("GET", "/v1/campaigns/spring/contacts"))["contacts"]
        assert [(one["ref"], one["erased"], one["state"]) for one in shown] == [
            ("spring:1", True, "cancelled"),
            ("spring:2", False, "waiting"),
        ]
    assert ADA not in await told_of(settings)
    async with running(settings) as world:
        assert [one["type"] for one in await world.notifications("spring")].count("contact.erased") == 1


async def test_a_key_that_a_backup_brings_back_is_destroyed_by_the_next_start(settings: Settings) -> None:
    async with running(settings) as world:
        await world.campaign("spring", [[ADA], [STAYS]])
        key = key_of(settings, "spring:1")
        await erase(world, contact="spring:1")
    with closing(sqlite3.connect(settings.store.url.removeprefix("sqlite:///"))) as store, store:
        store.execute("update es_key set key = ? where subject = 'spring:1'", (key,))
    assert key_of(settings, "spring:1") == key
    async with running(settings):
        async with asyncio.timeout(PATIENCE_S):
            while key_of(settings, "spring:1") is not None:
                await asyncio.sleep(0.05)
    assert ADA not in await told_of(settings)


async def test_a_suppressed_number_is_known_again_and_kept_nowhere(tmp_path: Path, settings: Settings) -> None:
    async with running(settings) as world:
        await world.campaign("spring", [[ADA]])
        done = await erase(world, contact="spring:1", suppress=True)
        assert (done.status, done.body["suppressed"]) == (200, 1)
    for _ in range(2):
        async with running(settings) as world:
            assert (await world.manager.call("GET", f"/v1/dnc?number={ADA}"))["list"] == "suppressed"
            assert not (await world.manager.call("GET", f"/v1/dnc?number={STAYS}"))["listed"]
    async with running(settings) as world:
        store = await open_store(settings.store.url, Codec(LogEvent))
        held = [one.event async for batch in store.read("directory") for one in batch]
        await store.close()
        assert ADA not in repr([msgspec.to_builtins(one, enc_hook=_details) for one in held])
        await world.campaign("autumn", [[ADA]])
        await world.run("autumn")
        agent = world.agent("agent1")
        with_ada = await take(agent)
        path = f"/v1/reservations/{with_ada['id']}/dial"
        answer = await ask(
            world, "POST", path, {"token": with_ada["token"]}, token=token_of(world, Role.AGENT, "agent1")
        )
        problem(answer, 409, "dial-forbidden")
        assert "suppressed" in answer.body["detail"]


async def test_TF_03_an_erased_contacts_ref_stays_used_and_nobody_comes_back_under_it(settings: Settings) -> None:
    async with running(settings) as world:
        await world.campaign("spring", [[STAYS]])
        await world.campaign("summer", [], agents=())
        assert (await erase(world, contact="spring:1")).status == 200
        row = {"ref": "spring:1", "numbers": [ADA], "name": NAME}
        again = await world.manager.call("POST", "/v1/campaigns/spring/contacts?overwrite=true", [row])
        elsewhere = await world.manager.call("POST", "/v1/campaigns/summer/contacts", [row])
        assert (again["rejected"], again["results"][0]["reason"]) == (1, "its data was erased")
        assert "'spring' used this contact ref first" in elsewhere["results"][0]["reason"]
        assert (await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1"))["erased"]
    assert ADA not in await told_of(settings)


async def test_all_that_is_kept_of_a_person_is_told_to_them(settings: Settings) -> None:
    async with running(settings) as world:
        await known(world)
        await world.manager.call("POST", "/v1/dnc", {"numbers": [ADA]})
        answer = await ask(world, "POST", "/v1/persons/export", {"external_id": "crm-spring:1"})
        assert answer.status == 200
        told = answer.body
        assert [(one["campaign"], one["deleted"]) for one in told["contacts"]] == [("spring", False), ("winter", True)]
        spring, winter = told["contacts"]
        assert (spring["contact"]["name"], spring["contact"]["data"]) == (NAME, {"city": CITY})
        assert (winter["contact"]["name"], winter["contact"]["data"]) == (NAME, {"city": CITY})
        assert {"remark": NOTE} in [one.get("form") for one in spring["stored"]]
        assert {one["event"] for one in spring["history"]} >= {"contacts.added", "call.ended", "contact.disposed"}
        lists = {one["number"]: [each["list"] for each in one["lists"]] for one in told["numbers"]}
        assert lists == {ADA: ["global"], f"+{ADA}": ["global"]}
        assert len(told["recordings"]) == 1
        assert "Bob Altro" not in repr(told)


async def test_who_is_meant_is_named_once_and_by_no_bound_token(settings: Settings) -> None:
    async with running(settings) as world:
        await world.campaign("spring", [[STAYS]])
        for body in ({}, {"contact": "spring:1", "number": STAYS}, {"contact": None}):
            problem(await erase(world, **body), 422, "invalid-request")
        bound = token_of(world, Role.ADMINISTRATOR, "admin", "spring")
        for path in ("/v1/persons/erase", "/v1/persons/export"):
            problem(await ask(world, "POST", path, {"contact": "spring:1"}, token=bound), 403, "forbidden")
            problem(await ask(world, "POST", path, {"contact": "nobody"}), 404, "unknown-person")
        assert not (await world.manager.call("GET", "/v1/campaigns/spring/contacts/spring:1"))["erased"]
