"""Recording, from the campaign's flag to the file in somebody's ear, on the simulated PBX."""

import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api.token import Role
from simulations.pbx import Script, SimulatedPbx
from simulations.pbx.recording import HEADER_OF_NOTHING
from tests.api.asking import Answer, ask, problem, token_of
from tests.conftest import TIME_SCALE, ami_of
from tests.service.test_preview import act, take
from tests.world import World, running, settings_for

ANSWERS = "65550001"
"""Answers, and hangs up a second of its life later."""
BUSY = "25550001"


@pytest.fixture
async def recording_pbx(tmp_path: Path) -> AsyncIterator[SimulatedPbx]:
    pbx = SimulatedPbx(Script(), seed=1, time_scale=TIME_SCALE, login_penalty_ms=0, monitor=tmp_path / "monitor")
    await pbx.start()
    yield pbx
    await pbx.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "monitor" / "ringfold"


@pytest.fixture
async def world(tmp_path: Path, recording_pbx: SimulatedPbx, folder: Path) -> AsyncIterator[World]:
    ami = msgspec.structs.replace(ami_of(recording_pbx), recordings_path=str(folder))
    async with running(settings_for(tmp_path, ami)) as world:
        yield world


async def talk(world: World, ref: str = "spring") -> dict[str, Any]:
    """The next call of the campaign's agent, to its end: what call.ended says."""
    agent = world.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    ended: dict[str, Any] = (await world.told(ref, "call.ended", call=call))["data"]
    await act(agent, held, "disposition", disposition="engaged")
    return ended


async def heard(world: World, call: str, token: str | None = None, **headers: str) -> Answer:
    return await ask(world, "GET", f"/v1/calls/{call}/recording", token=token, headers=headers)


def missing(answer: Answer, why: str) -> None:
    problem(answer, 404, "no-recording")
    assert why in answer.body["detail"]


async def test_OM_05_a_recorded_call_is_named_in_its_record_and_can_be_heard(world: World, folder: Path) -> None:
    await world.campaign("spring", [[ANSWERS]], record=True)
    await world.run("spring")

    ended = await talk(world)

    name, call = ended["recording"], ended["call"]
    assert name == f"spring/{name.split('/')[1]}/{call}.wav"
    assert ended["recording_fault"] is None
    shown = await world.manager.call("GET", f"/v1/calls/{call}")
    assert (shown["recording"], shown["recording_fault"]) == (name, None)
    answer = await heard(world, call)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "audio/wav")
    assert answer.headers["Content-Disposition"] == f'inline; filename="{name.replace("/", "_")}"'
    assert (answer.headers["Accept-Ranges"], answer.headers["Cache-Control"]) == ("bytes", "no-store")
    assert answer.raw == (folder / name).read_bytes()
    with wave.open(io.BytesIO(answer.raw)) as file:
        assert file.getnframes() > 0


async def test_a_part_of_it_can_be_asked_for(world: World, folder: Path) -> None:
    await world.campaign("spring", [[ANSWERS]], record=True)
    await world.run("spring")
    ended = await talk(world)
    whole = (folder / ended["recording"]).read_bytes()

    part = await heard(world, ended["call"], Range="bytes=4-11")
    beyond = await heard(world, ended["call"], Range=f"bytes={len(whole)}-")
    head = await ask(world, "HEAD", f"/v1/calls/{ended['call']}/recording")

    assert (part.status, part.raw) == (206, whole[4:12])
    assert part.headers["Content-Range"] == f"bytes 4-11/{len(whole)}"
    problem(beyond, 416, "range-not-satisfiable")
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole)}"
    assert (head.status, head.headers["Content-Length"], head.raw) == (200, str(len(whole)), b"")


async def test_the_flag_flipped_live_takes_effect_at_the_next_call(world: World, folder: Path) -> None:
    await world.campaign("spring", [[ANSWERS], ["65550002"], ["65550003"]])
    await world.run("spring")
    names = []
    for record in (False, True, False):
        await world.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"record": record}})
        names.append((await talk(world))["recording"])

    assert [bool(name) for name in names] == [False, True, False]
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.wav")] == [names[1]]


async def test_an_unrecorded_call_and_one_that_nobody_answered_have_none(world: World, folder: Path) -> None:
    await world.campaign("spring", [[ANSWERS]])
    await world.campaign("summer", [[BUSY]], agents=("agent2",), record=True)
    await world.run("spring")
    await world.run("summer")
    spoken = await talk(world)
    agent = world.agent("agent2")
    busy = (await act(agent, await take(agent, "agent2"), "dial"))["call_id"]
    ended = (await world.told("summer", "call.ended", call=busy))["data"]

    assert (spoken["recording"], ended["recording"], ended["recording_fault"]) == (None, None, None)
    for call in (spoken["call"], busy):
        missing(await heard(world, call), "it was not recorded")
    assert not folder.exists()
    problem(await heard(world, "0" * 32), 404, "unknown-call")


async def test_a_pbx_that_cannot_record_is_named_and_the_talk_goes_on(service: World) -> None:
    await service.campaign("spring", [[ANSWERS]], record=True)  # its PBX has no MixMonitor
    await service.run("spring")

    ended = await talk(service)

    assert (ended["outcome"], ended["ended_by"]) == ("answered", "contact")
    assert (ended["recording"], ended["recording_fault"]) == (None, "NO-MIXMONITOR")
    missing(await heard(service, ended["call"]), "it was not recorded (NO-MIXMONITOR)")


async def test_why_there_is_nothing_to_hear_yet_or_any_more(world: World, folder: Path) -> None:
    await world.campaign("spring", [["15550001"], ["15550002"]], record=True)
    await world.run("spring")
    agent = world.agent("agent1")
    call = (await act(agent, await take(agent), "dial"))["call_id"]
    await world.told("spring", "call.bridged", call=call)
    missing(await heard(world, call), "it is not over")
    shown = await world.manager.call("GET", f"/v1/calls/{call}")
    assert shown["recording"].endswith(f"{call}.wav")  # under way: already named
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    ended = (await world.told("spring", "call.ended", call=call))["data"]
    path = folder / ended["recording"]
    whole = path.read_bytes()
    path.write_bytes(HEADER_OF_NOTHING + whole[44:])
    missing(await heard(world, call), "still writing")
    path.unlink()
    missing(await heard(world, call), "no file of it")
    outside = folder.parent / "outside.wav"
    outside.write_bytes(whole)
    path.symlink_to(outside)
    missing(await heard(world, call), "no file of it")  # a link that leads out of the folder


async def test_without_a_folder_the_name_is_known_and_the_sound_is_not(
    tmp_path: Path, recording_pbx: SimulatedPbx
) -> None:
    async with running(settings_for(tmp_path, ami_of(recording_pbx))) as world:
        await world.campaign("spring", [[ANSWERS]], record=True)
        await world.run("spring")
        ended = await talk(world)
        assert ended["recording"]
        missing(await heard(world, ended["call"]), "ami.recordings_path")


async def test_who_may_hear_it(world: World) -> None:
    await world.campaign("spring", [[ANSWERS]], record=True, agents=("agent1", "agent2"))
    await world.run("spring")
    call = (await talk(world))["call"]
    own, other = token_of(world, Role.AGENT, "agent1"), token_of(world, Role.AGENT, "agent2")

    assert (await heard(world, call)).status == 200
    assert (await heard(world, call, token_of(world, Role.SUPERVISOR, "sam", "spring"))).status == 200
    problem(await heard(world, call, token_of(world, Role.SUPERVISOR, "sam", "autumn")), 403, "forbidden")
    problem(await heard(world, call, token_of(world, Role.ADMINISTRATOR, "root", "autumn")), 403, "forbidden")
    for role in (Role.CAMPAIGN_MANAGER, Role.CRM):
        problem(await heard(world, call, token_of(world, role, "system")), 403, "forbidden")
    problem(await heard(world, call, own), 403, "forbidden")
    await world.manager.call("PATCH", "/v1/campaigns/spring", {"settings": {"agents_may_listen": True}})
    await world.told("spring", "campaign.settings_changed")
    assert (await heard(world, call, own)).status == 200
    problem(await heard(world, call, other), 403, "forbidden")


async def test_a_path_in_place_of_an_id_leads_nowhere(world: World) -> None:
    for part in ("..%2F..%2Fringfold.db", "%2e%2e%2f%2e%2e", "a" * 31 + "%2F"):
        answer = await ask(world, "GET", f"/v1/calls/{part}/recording")
        assert answer.status == 404
        assert b"SQLite" not in answer.raw


async def test_each_hearing_is_a_line_in_the_operators_log(world: World) -> None:
    await world.campaign("spring", [[ANSWERS]], record=True)
    await world.run("spring")
    ended = await talk(world)
    with capture_logs() as lines:
        await heard(world, ended["call"], token_of(world, Role.SUPERVISOR, "sam", "spring"), Range="bytes=0-9")
        await ask(world, "HEAD", f"/v1/calls/{ended['call']}/recording")
        await heard(world, ended["call"], token_of(world, Role.SUPERVISOR, "eve", "autumn"))

    (line,) = [one for one in lines if one["event"] == "recording heard"]
    assert (line["by"], line["role"], line["campaign"]) == ("sam", "supervisor", "spring")
    assert (line["call"], line["recording"], line["range"]) == (ended["call"], ended["recording"], "bytes=0-9")
