"""The harness itself, by bare AMI: what each far end does is what the engine's tests rely on."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from simulations.asterisk import Asterisk, Installation, NotInstallable, Site, configuration
from simulations.asterisk.installation import install
from tests.simulations.ami import Ami, Message

REACHES = {"carrier": "ringfold-contact", "phone": "ringfold-agent"}


def new_leg() -> str:
    return uuid.uuid4().hex


async def ended(ami: Ami, channel: str, timeout_ms: int = 5_000) -> tuple[Message, list[str]]:
    """Originate, wait for the end; its Hangup and the names of all its events."""
    leg = new_leg()
    context = REACHES["carrier" if "@" in channel else "phone"]
    response = await ami.originate(channel, context, leg, timeout_ms)
    assert response["Message"] == "Originate successfully queued"
    return await ami.event("Hangup", leg, 10), ami.names(leg)


def sip_code(asterisk: Site, code: str) -> str:
    """TechCause is told by newer versions only."""
    return code if asterisk.asterisk.major >= 22 else ""


@pytest.mark.parametrize("prefix", ["", "+", "+57"])
@pytest.mark.parametrize(
    ("digit", "cause", "code", "is_up"),
    [
        ("2", "17", "486", False),
        ("4", "34", "503", False),
        ("5", "1", "404", False),
        ("7", "21", "603", False),
        ("9", "19", "480", False),
    ],
)
async def test_the_carrier_refuses_by_the_first_digit(
    asterisk: Site, ami: Ami, prefix: str, digit: str, cause: str, code: str, is_up: bool
) -> None:
    hangup, events = await ended(ami, f"PJSIP/{prefix}{digit}5551234@carrier")
    assert (hangup["Cause"], hangup["TechCause"]) == (cause, sip_code(asterisk, code))
    assert "UserEvent" not in events


@pytest.mark.parametrize("digit", ["0", "3"])
async def test_nobody_answers_until_the_ring_time_is_over(asterisk: Site, ami: Ami, digit: str) -> None:
    hangup, events = await ended(ami, f"PJSIP/{digit}5551234@carrier", timeout_ms=700)
    assert hangup["Cause"] == ("19" if asterisk.asterisk.major >= 22 else "0")
    assert ("DialState" in events) is (digit == "3")


@pytest.mark.parametrize("digit", ["1", "8"])
async def test_whoever_answers_stays_until_we_hang_up(ami: Ami, digit: str) -> None:
    leg = new_leg()
    await ami.originate(f"PJSIP/{digit}5551234@carrier", "ringfold-contact", leg)
    ready = await ami.event("UserEvent", leg)
    assert (ready["UserEvent"], ready["Leg"]) == ("RingfoldReady", leg)
    await asyncio.sleep(1.2)
    assert "Hangup" not in ami.names(leg)
    await ami.act("Hangup", Channel=leg, Cause=16)
    assert (await ami.event("Hangup", leg))["Cause"] == "16"
    assert "HangupRequest" not in ami.names(leg)


async def test_six_answers_and_hangs_up(ami: Ami) -> None:
    _, events = await ended(ami, "PJSIP/65551234@carrier")
    assert "UserEvent" in events
    assert "HangupRequest" in events


@pytest.mark.parametrize(
    ("phone", "cause", "code"),
    [("agent_busy", "17", "486"), ("agent_reject", "21", "603"), ("agent_silent", "19", "480")],
)
async def test_phones_are_named_for_what_they_do(asterisk: Site, ami: Ami, phone: str, cause: str, code: str) -> None:
    hangup, _ = await ended(ami, f"PJSIP/{phone}", timeout_ms=700)
    if phone == "agent_silent" and asterisk.asterisk.major < 22:
        cause = "0"
    assert (hangup["Cause"], hangup["TechCause"]) == (cause, sip_code(asterisk, code))


async def test_an_absent_phone_has_no_channel(ami: Ami) -> None:
    leg = new_leg()
    await ami.originate("PJSIP/agent_absent", "ringfold-agent", leg)
    failed = await ami.event("OriginateResponse", leg)
    assert (failed["Response"], failed["Reason"]) == ("Failure", "0")
    assert ami.names(leg) == ["OriginateResponse"]


async def test_every_agents_phone_waits_in_the_holding_bridge(asterisk: Site, ami: Ami) -> None:
    legs = {name: new_leg() for name in asterisk.phones.agents}
    assert len(legs) == 8
    for name, leg in legs.items():
        await ami.originate(f"PJSIP/{name}", "ringfold-agent", leg)
    entered = [await ami.event("BridgeEnter", leg) for leg in legs.values()]
    assert {message["BridgeTechnology"] for message in entered} == {"holding_bridge"}


async def test_the_handset_hangs_up_mid_call_when_told(asterisk: Site, ami: Ami) -> None:
    handset, leg = asterisk.handset, new_leg()
    await handset.start()
    try:
        await ami.originate(f"PJSIP/{handset.name}", "ringfold-agent", leg)
        await ami.event("BridgeEnter", leg)
        await handset.answered()
        handset.hang_up()
        await ami.event("Hangup", leg)
        await handset.hung_up()
        assert "HangupRequest" in ami.names(leg)
    finally:
        await handset.stop()


async def test_the_login_hears_what_the_shipped_filter_names_and_nothing_else(ami: Ami) -> None:
    await ended(ami, "PJSIP/65551234@carrier")
    filtered = configuration.shipped("manager.conf")
    heard = {message["Event"] for message in ami.messages if "event" in message}
    assert {"Newchannel", "Hangup", "UserEvent", "FullyBooted"} <= heard
    assert all(f"name({name})" in filtered for name in heard)
    # then lists that were asked for come whole, filter or not
    action = ami.send("Status")
    await ami.until(lambda m: m["Event"] == "StatusComplete" and m["ActionID"] == action)


async def test_cel_tells_how_each_leg_ended(asterisk: Site, ami: Ami) -> None:
    leg = new_leg()
    await ami.originate("PJSIP/25551234@carrier", "ringfold-contact", leg)
    await ami.event("Hangup", leg)
    await asyncio.sleep(0.3)
    rows = [row for row in csv.reader(asterisk.asterisk.cel_path.open()) if row[0] == leg]
    assert [row[1] for row in rows] == ["CHAN_START", "HANGUP"]
    assert json.loads(rows[-1][3])["hangupcause"] == 17


async def test_it_stops_restarts_and_crashes_on_the_same_ports(fresh_asterisk: Site) -> None:
    pbx = fresh_asterisk.asterisk
    first = pbx.pid
    # given a restart in order: the login is told
    ami = await Ami.login(pbx.ami_port, pbx.username, pbx.secret)
    await pbx.restart()
    await ami.until(lambda m: m["Event"] == "Shutdown")
    await ami.until_closed()
    await ami.close()
    assert pbx.pid not in {0, first}
    # and a crash: it isn't
    ami = await Ami.login(pbx.ami_port, pbx.username, pbx.secret)
    await pbx.kill()
    await ami.until_closed()
    assert not [m for m in ami.messages if m["Event"] == "Shutdown"]
    await ami.close()
    assert not pbx.is_running
    # then it is there again, and its far ends never left
    await pbx.start()
    ami = await Ami.login(pbx.ami_port, pbx.username, pbx.secret)
    hangup, _ = await ended(ami, "PJSIP/25551234@carrier")
    assert hangup["Cause"] == "17"
    await ami.close()


async def test_a_frozen_one_can_still_be_stopped(fresh_asterisk: Site) -> None:
    fresh_asterisk.asterisk.freeze()
    await fresh_asterisk.asterisk.stop()
    assert not fresh_asterisk.asterisk.is_running


def test_nothing_outlives_a_killed_parent(installation: Installation, tmp_path: Path) -> None:
    """`kill -9` of whoever runs a site leaves no Asterisk and no sipp behind."""
    program = """
        import asyncio, sys
        from pathlib import Path
        from simulations.asterisk import Site
        async def main():
            async with Site(Path(sys.argv[1]), agents=1) as site:
                print(site.asterisk.pid, site.carrier.pid, site.phones.pid, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    left = pids
    for _ in range(100):
        left = [pid for pid in pids if _lives(pid)]
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"{left} live on")


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_an_installation_is_made_once(installation: Installation) -> None:
    said: list[str] = []
    assert install(said.append) == installation
    assert not said


def test_where_it_cannot_be_had_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstallable, match="apt-get, dpkg-deb, tar not found"):
        install(cache=tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_a_shipped_line_that_is_to_be_changed_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"manager.conf has 0 lines 'port=1'"):
        configuration.shipped("manager.conf", {"port=1": "port=2"})


async def test_what_does_not_boot_says_why(installation: Installation, tmp_path: Path) -> None:
    pbx = Asterisk(tmp_path, carrier_port=9, phones={}, installation=installation)
    (tmp_path / "etc" / "asterisk.conf").write_text("[directories]\nastetcdir => /nowhere\n")
    with pytest.raises(Exception, match="Asterisk ended while booting"):
        await pbx.start()
