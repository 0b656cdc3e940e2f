"""Recording on the real Asterisk with the shipped configuration: who is heard in the file, and what goes wrong."""

import array
import asyncio
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.ami.check import check
from engine.service import ami_settings
from simulations.asterisk import Installation, Site
from simulations.asterisk.tone import Tone, loudness
from simulations.client import Problem
from tests.api.asking import ask
from tests.asterisk.test_service import ami_of, dial, take
from tests.simulations.ami import Ami
from tests.world import World, running, settings_for

CONTACT_HZ, AGENT_HZ, NOBODY_HZ = 400, 1_000, 1_700
TALK_S = 2.0
HEARD = 1_000
"""Amplitude above which a tone counts as heard; sent with 8,000."""
PATIENCE_S = 10


@pytest.fixture
async def world(tmp_path: Path, asterisk: Site) -> AsyncIterator[World]:
    async with running(settings_for(tmp_path, with_recordings(asterisk))) as world:
        yield world


def with_recordings(site: Site) -> Any:
    return msgspec.structs.replace(ami_of(site), recordings_path=str(site.asterisk.recordings_path))


async def rtp_port(ami: Ami, channel: str) -> int:
    """Where the PBX hears a channel."""
    answer = await ami.act("Getvar", Channel=channel, Variable="CHANNEL(rtp,src)")
    return int(answer["Value"].rpartition(":")[2])


async def talk(world: World, ami: Ami, sound: bool = True) -> dict[str, Any]:
    """The next contact talks with agent1 for a while, both with a tone of their own; what call.ended says."""
    agent = world.agent("agent1")
    held = await take(agent, "agent1")
    call = await dial(agent, held)
    await world.told("one", "call.bridged", call=call)
    leg = world.service.engine.campaigns["one"].book.agents["agent1"].leg
    async with AsyncExitStack() as stack:
        for channel, hz in ((call, CONTACT_HZ), (leg, AGENT_HZ)) if sound else ():
            tone = Tone(await rtp_port(ami, channel), hz)
            await tone.start()
            stack.push_async_callback(tone.stop)
        await asyncio.sleep(TALK_S if sound else 0.1)
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    ended: dict[str, Any] = (await world.told("one", "call.ended", call=call))["data"]
    await agent.call(
        "POST", f"/v1/reservations/{held['id']}/disposition", {"token": held["token"], "disposition": "engaged"}
    )
    return ended


async def heard(world: World, call: str) -> bytes:
    """The recording as it is served: a moment after the call's end it may still be written."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await ask(world, "GET", f"/v1/calls/{call}/recording")).status == 404:
            await asyncio.sleep(0.05)
    assert answer.status == 200
    return answer.raw


def samples(path: Path) -> "array.array[int]":
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8_000)
        return array.array("h", file.readframes(file.getnframes()))


async def test_OM_05_a_recorded_call_holds_both_voices(world: World, asterisk: Site, ami: Ami) -> None:
    await world.campaign("one", [["15550001"]], record=True)
    await world.run("one")

    ended = await talk(world, ami)

    assert ended["recording"].endswith(f"/{ended['call']}.wav")
    assert ended["recording_fault"] is None
    raw = await heard(world, ended["call"])
    path = asterisk.asterisk.recordings_path / ended["recording"]
    assert raw == path.read_bytes()
    sound = samples(path)
    # From the bridging to the end, and not a beep: nothing but the two tones.
    assert TALK_S * 0.8 < len(sound) / 8_000 < ended["talk_ms"] / 1_000 + 1
    middle = sound[len(sound) // 2 - 2_000 : len(sound) // 2 + 2_000]
    assert loudness(middle, CONTACT_HZ) > HEARD
    assert loudness(middle, AGENT_HZ) > HEARD
    assert loudness(middle, NOBODY_HZ) < HEARD / 10


async def test_an_unrecorded_call_has_no_file_and_the_flag_takes_effect_at_the_next_call(
    world: World, asterisk: Site, ami: Ami
) -> None:
    await world.campaign("one", [["15550001"], ["15550002"], ["15550003"]])
    await world.run("one")
    before = set(asterisk.asterisk.recordings_path.rglob("*.wav"))
    ended = []
    for record in (False, True, False):
        await world.manager.call("PATCH", "/v1/campaigns/one", {"settings": {"record": record}})
        ended.append(await talk(world, ami, sound=False))

    assert [bool(one["recording"]) for one in ended] == [False, True, False]
    await heard(world, ended[1]["call"])
    new = set(asterisk.asterisk.recordings_path.rglob("*.wav")) - before
    assert new == {asterisk.asterisk.recordings_path / ended[1]["recording"]}
    for one in (ended[0], ended[2]):
        with pytest.raises(Problem) as refused:
            await world.admin.call("GET", f"/v1/calls/{one['call']}/recording")
        assert refused.value.code == "no-recording"


async def test_the_recording_outlives_the_engine(tmp_path: Path, asterisk: Site, ami: Ami) -> None:
    """The engine is gone for a part of the talk: that part is in the file too, and the record names it."""
    settings = settings_for(tmp_path, with_recordings(asterisk))
    async with running(settings) as world:
        await world.campaign("one", [["15550001"]], record=True)
        await world.run("one")
        agent = world.agent("agent1")
        call = await dial(agent, await take(agent, "agent1"))
        await world.told("one", "call.bridged", call=call)
    tone = Tone(await rtp_port(ami, call), CONTACT_HZ)
    await tone.start()
    await asyncio.sleep(1)
    await tone.stop()
    async with running(settings) as world:
        await world.agent("agent1").call("POST", f"/v1/calls/{call}/hangup", {})
        ended = (await world.told("one", "call.ended", call=call))["data"]
        assert (ended["recording_fault"], ended["outcome"]) == (None, "answered")
        await heard(world, call)
        sound = samples(asterisk.asterisk.recordings_path / ended["recording"])
        assert loudness(sound, CONTACT_HZ) > HEARD


async def test_check_proves_that_recordings_arrive(asterisk: Site, tmp_path: Path) -> None:
    findings = await check(ami_settings(settings_for(tmp_path, with_recordings(asterisk))))

    assert [one for one in findings if not one.ok] == []
    assert "recordings" in findings[-1].what


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["app_mixmonitor.so", "format_wav.so", "func_module.so"])
async def test_a_pbx_without_a_module_for_it_goes_on_and_says_so(
    module: str, installation: Installation, tmp_path: Path
) -> None:
    """Asterisk would hang up on an application that isn't there."""
    site = Site(tmp_path / "asterisk", agents=1, installation=installation)
    modules = tmp_path / "asterisk" / "pbx" / "etc" / "modules.conf"
    modules.write_text(modules.read_text().replace(f"load={module}", f"noload={module}"))
    async with site, running(settings_for(tmp_path, with_recordings(site))) as world:
        await world.campaign("one", [["15550001"]], record=True)
        await world.run("one")
        pbx = site.asterisk
        client = await Ami.login(pbx.ami_port, pbx.username, pbx.secret)

        ended = await talk(world, client, sound=False)

        assert (ended["outcome"], ended["ended_by"]) == ("answered", "agent")
        assert (ended["recording"], ended["recording_fault"]) == (None, "NO-MIXMONITOR")
        findings = await check(ami_settings(world.service.settings))
        (fault,) = [one for one in findings if not one.ok]
        assert module in fault.cure
        await client.close()


async def test_a_pbx_that_cannot_write_loses_the_recording_and_not_the_call(
    installation: Installation, tmp_path: Path
) -> None:
    site = Site(tmp_path / "asterisk", agents=1, installation=installation)
    async with site, running(settings_for(tmp_path, with_recordings(site))) as world:
        monitor = site.asterisk.recordings_path.parent
        monitor.mkdir(parents=True, exist_ok=True)
        (monitor / "ringfold").write_text("no folder")
        await world.campaign("one", [["15550001"]], record=True)
        await world.run("one")
        pbx = site.asterisk
        client = await Ami.login(pbx.ami_port, pbx.username, pbx.secret)

        ended = await talk(world, client, sound=False)

        assert ended["outcome"] == "answered"
        with pytest.raises(Problem) as refused:
            await world.admin.call("GET", f"/v1/calls/{ended['call']}/recording")
        assert "no file of it" in refused.value.body["detail"]
        findings = await check(ami_settings(world.service.settings))
        (fault,) = [one for one in findings if not one.ok]
        assert "does not arrive" in fault.what
        await client.close()
