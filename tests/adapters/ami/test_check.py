"""What `check` finds, against a peer that plays a PBX with one thing wrong."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.ami.check import Finding, check
from tests.adapters.ami.peer import Action, Peer, error, message, ok

COMMANDS = ("Originate", "Hangup", "Redirect", "Setvar", "Status", "CoreStatus")


class Pbx(Peer):
    """Runs the local channel of the check as the real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: tuple[str, ...] = COMMANDS
        self.contexts = {"ringfold-agent", "ringfold-contact", "ringfold-bridge"}
        self.events = {"Newchannel", "UserEvent", "Hangup", "OriginateResponse"}
        self.leg = ""
        self.recording = "STARTED"
        self.records_to: Path | None = None
        self.script = {"ListCommands": Pbx.listed, "Originate": Pbx.originated, "Hangup": Pbx.hung_up}

    def listed(self: Peer, action: Action) -> str:
        assert isinstance(self, Pbx)
        return ok(action, "", *(f"{name}: Something.  (Priv: x,all)" for name in self.commands))

    def originated(self: Peer, action: Action) -> str:
        assert isinstance(self, Pbx)
        if action["Context"] not in self.contexts:
            return error(action, "Extension does not exist.")
        self.leg = action.get("ChannelId", "")
        if "Variable" in action:
            if self.records_to is not None:
                self.records_to.write_bytes(b"RIFF")
            result = f"Result: {self.recording}"
            told = message("Event: UserEvent", "UserEvent: RingfoldRecording", f"Uniqueid: {self.leg}-2", result)
            return ok(action, "Originate successfully queued") + (told if self.recording else "")
        return ok(action, "Originate successfully queued") + self.told("Newchannel") + self.told("UserEvent")

    def hung_up(self: Peer, action: Action) -> str:
        assert isinstance(self, Pbx)
        return ok(action, "Channel Hungup") + self.told("Hangup") + self.told("OriginateResponse")

    def told(self, event: str) -> str:
        return message(f"Event: {event}", f"Uniqueid: {self.leg}") if event in self.events and self.leg else ""


@pytest.fixture
async def pbx() -> AsyncIterator[Pbx]:
    async with Pbx() as pbx:
        yield pbx


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.ami.check.EVENTS_WAIT_MS", 100)


def faults(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok]


async def test_a_ready_pbx_has_no_fault_and_nobody_is_dialled(pbx: Pbx) -> None:
    findings = await check(pbx.settings())

    assert faults(findings) == []
    assert all(not asked["Channel"].startswith("PJSIP/") for asked in pbx.of("Originate"))


async def test_a_missing_permission_is_named_with_what_it_is_for(pbx: Pbx) -> None:
    pbx.commands = ("Originate", "CoreStatus", "Hangup", "Setvar")

    (fault,) = faults(await check(pbx.settings()))

    assert fault.what == "permission call: missing for Redirect, Status"
    assert "write=originate,call,reporting" in fault.cure
    assert not fault.warning


async def test_a_shell_on_the_pbx_is_a_warning(pbx: Pbx) -> None:
    pbx.commands = (*COMMANDS, "Command")

    (fault,) = faults(await check(pbx.settings()))

    assert "Command" in fault.what
    assert fault.warning


@pytest.mark.parametrize("context", ["ringfold-agent", "ringfold-bridge"])
async def test_a_missing_context_is_named(pbx: Pbx, context: str) -> None:
    pbx.contexts.discard(context)

    (fault,) = faults(await check(pbx.settings()))

    assert fault.what == f"context {context}: Extension does not exist"
    assert "extensions.conf" in fault.cure


@pytest.mark.parametrize("event", ["Newchannel", "UserEvent", "Hangup", "OriginateResponse"])
async def test_an_event_that_is_filtered_away_is_named(pbx: Pbx, event: str) -> None:
    pbx.events.discard(event)

    (fault,) = faults(await check(pbx.settings()))

    assert fault.what == f"event {event}: does not arrive"
    assert "eventfilter" in fault.cure


async def test_a_refused_login_is_a_finding(pbx: Pbx) -> None:
    (fault,) = await check(pbx.settings(secret="wrong"))

    assert "refused" in fault.what
    assert "wrong" not in fault.what


async def test_no_pbx_is_a_finding(pbx: Pbx) -> None:
    pbx.refuse()

    (fault,) = await check(pbx.settings())

    assert fault.what.startswith("no AMI at")


async def test_a_connection_that_ends_meanwhile_is_a_finding(pbx: Pbx) -> None:
    pbx.script["ListCommands"] = lambda peer, action: peer.drop()

    findings = await check(pbx.settings())

    assert "the connection ended" in findings[-1].what


async def test_a_cel_file_that_cannot_be_read_is_a_warning(pbx: Pbx, tmp_path: Path) -> None:
    (fault,) = faults(await check(pbx.settings(cel_path=str(tmp_path / "none.csv"))))

    assert fault.warning
    assert "cel_custom.conf" in fault.cure


async def test_recordings_are_looked_for_where_they_should_arrive(pbx: Pbx, tmp_path: Path) -> None:
    pbx.records_to = tmp_path / "check.wav"

    findings = await check(pbx.settings(recordings_path=str(tmp_path)))

    assert faults(findings) == []
    assert findings[-1].what == "recordings: made and readable"
    assert [asked["Variable"] for asked in pbx.of("Originate") if "Variable" in asked] == ["__RINGFOLD_RECORDING=check"]


async def test_recordings_are_not_asked_for_where_none_are_served(pbx: Pbx) -> None:
    findings = await check(pbx.settings())

    assert not [one for one in findings if "recordings" in one.what]
    assert all("Variable" not in asked for asked in pbx.of("Originate"))


@pytest.mark.parametrize(
    ("told", "cure"), [("", "extensions.conf"), ("NO-MIXMONITOR", "app_mixmonitor.so"), ("STARTED", "recordings_path")]
)
async def test_what_recordings_lack_is_named(pbx: Pbx, tmp_path: Path, told: str, cure: str) -> None:
    (tmp_path / "check.wav").write_bytes(b"of an earlier check")
    pbx.recording = told

    (fault,) = faults(await check(pbx.settings(recordings_path=str(tmp_path))))

    assert fault.warning
    assert cure in fault.cure


@pytest.mark.parametrize(("apart_s", "ok"), [(0, True), (-1, True), (60, False), (-60, False)])
async def test_clocks_that_are_apart_are_told_of_and_are_no_fault(pbx: Pbx, apart_s: int, ok: bool) -> None:
    def pong(_: Peer, action: Action) -> str:
        return ok_at(action, time.time() + apart_s)

    pbx.script["Ping"] = pong
    (clock,) = [one for one in await check(pbx.settings()) if one.what.startswith("clock")]
    assert (clock.ok, clock.is_fault) == (ok, False)
    assert ok or "60 s from ours" in clock.what


@pytest.mark.parametrize("told", ["", "Timestamp: soon"])
async def test_a_pbx_that_does_not_say_the_time_is_not_blamed(pbx: Pbx, told: str) -> None:
    pbx.script["Ping"] = lambda _, action: ok(action, "Pong", *([told] if told else []))
    assert not [one for one in await check(pbx.settings()) if one.what.startswith("clock")]


def ok_at(action: Action, at_s: float) -> str:
    return ok(action, "Pong", f"Timestamp: {at_s:.6f}")
