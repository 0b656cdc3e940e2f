"""Is this PBX ready for the engine? Asked of the PBX itself, without dialling anybody.

Permissions come from the list of commands that the login may use. That a context exists is shown by an originate over
a channel technology that doesn't exist: an unknown context is refused at once, a known one fails harmlessly later.
That events arrive is shown by a local channel that runs our waiting context inside the PBX for a moment; that recordings
arrive, by one that the dialplan records.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from adapters.ami.action import (
    AGENT_CONTEXT,
    BRIDGE_CONTEXT,
    CONTACT_CONTEXT,
    RECORDING_VARIABLE,
    Action,
    FieldRefused,
)
from adapters.ami.client import AmiClient, AmiLoginRefused, NotConnected, Unanswered
from adapters.ami.settings import AmiSettings
from adapters.ami.wire import Message

EVENTS_WAIT_MS = 2_000
MAX_APART_S = 2.0
"""What two clocks may differ by before it is told of."""
WANTED = frozenset((b"FullyBooted", b"Newchannel", b"Hangup", b"UserEvent", b"OriginateResponse"))
NEEDED = {
    "Originate": "originate",
    "Hangup": "call",
    "Redirect": "call",
    "Setvar": "call",
    "Status": "call",
    "CoreStatus": "reporting",
}
RECORDED = "check"
"""The recording that a check leaves, overwritten by the next."""
SHELL = ("Command", "ModuleLoad", "UpdateConfig")


class Finding(msgspec.Struct, frozen=True):
    """`cure` says what to change where it isn't ok. A finding that is not ok but `warning` lets calls work."""

    ok: bool
    what: str
    cure: str = ""
    warning: bool = False

    @property
    def is_fault(self) -> bool:
        """Whether it keeps calls from working."""
        return not (self.ok or self.warning)

    def __str__(self) -> str:
        if self.ok:
            return f"ok    {self.what}"
        return f"{'FAULT' if self.is_fault else 'warn '} {self.what}\n      cure: {self.cure}"


async def check(settings: AmiSettings) -> list[Finding]:
    """Never raises for what the PBX does or lacks: it is what is being found out."""
    heard: list[Message] = []
    client = AmiClient(settings, WANTED, heard.append)
    try:
        await client.open()
    except AmiLoginRefused:
        return [
            Finding(
                ok=False,
                what=f"the login of {settings.username!r} was refused",
                cure="in manager.conf check the user's name and secret, and that permit= covers this address; then "
                "`manager reload`",
            )
        ]
    except (OSError, Unanswered, FieldRefused) as failure:
        return [
            Finding(
                ok=False,
                what=f"no AMI at {settings.host}:{settings.port} ({type(failure).__name__})",
                cure="in manager.conf set enabled=yes, and port= and bindaddr= so that it can be reached from here",
            )
        ]
    findings = [Finding(ok=True, what=f"logged in as {settings.username!r}")]
    try:
        findings += await _clock(client)
        findings += await _permissions(client)
        for context in (AGENT_CONTEXT, CONTACT_CONTEXT, BRIDGE_CONTEXT):
            findings.append(await _context(client, context))
        findings += await _events(client, heard)
        if settings.cel_path:
            findings.append(await asyncio.to_thread(_cel, settings.cel_path))
        if settings.recordings_path:
            findings.append(await _recording(client, heard, Path(settings.recordings_path) / f"{RECORDED}.wav"))
    except (NotConnected, Unanswered) as failure:
        findings.append(Finding(ok=False, what=f"the connection ended: {failure}", cure="see the PBX's own log"))
    finally:
        client.close()
        await client.wait_closed()
    return findings


async def _clock(client: AmiClient) -> list[Finding]:
    """The PBX tells its own time with a pong. What its channel events say of an outage is compared with our times."""
    asked_s = time.time()
    told = (await client.ask({"Action": "Ping"})).get("timestamp", "")
    answered_s = time.time()
    try:
        theirs_s = float(told)
    except ValueError:
        return []  # one that doesn't say
    apart_s = max(asked_s - theirs_s, theirs_s - answered_s, 0.0)
    ok = apart_s <= MAX_APART_S
    return [
        Finding(
            ok=ok,
            what="clock: the PBX's is ours" if ok else f"clock: the PBX's is {apart_s:.0f} s from ours",
            cure=""
            if ok
            else "let both follow the same time server (NTP): calling windows and how long a call lasted are told by it",
            warning=True,
        )
    ]


async def _permissions(client: AmiClient) -> list[Finding]:
    commands = await client.ask({"Action": "ListCommands"})
    findings = []
    for permission in dict.fromkeys(NEEDED.values()):
        missing = [name for name, needs in NEEDED.items() if needs == permission and name.lower() not in commands]
        findings.append(
            Finding(
                ok=not missing,
                what=f"permission {permission}: {'missing for ' + ', '.join(missing) if missing else 'granted'}",
                cure="in manager.conf give the user write=originate,call,reporting" if missing else "",
            )
        )
    excess = [name for name in SHELL if name.lower() in commands]
    findings.append(
        Finding(
            ok=not excess,
            what=f"more is permitted than needed: {', '.join(excess)}" if excess else "no command shell is permitted",
            cure="take system, command and config from the user's write=: they are a shell on the PBX"
            if excess
            else "",
            warning=True,
        )
    )
    return findings


async def _context(client: AmiClient, context: str) -> Finding:
    answer = await client.ask(_originate("Ringfold/check", context))
    message = answer.get("message", "")
    cure = ""
    if answer.get("response") != "Success":
        cure = f"include our extensions.conf in the PBX's and `dialplan reload`: it defines [{context}]"
        if "ermission" in message:
            cure = "in manager.conf give the user write=originate,call,reporting"
    return Finding(
        ok=not cure, what=f"context {context}: {'there' if not cure else message.rstrip('.') or 'refused'}", cure=cure
    )


async def _events(client: AmiClient, heard: list[Message]) -> list[Finding]:
    leg = f"ringfold-check-{secrets.token_hex(8)}"  # no id of the engine's: a running one won't take it for a leg
    asked = _originate(f"Local/s@{CONTACT_CONTEXT}/n", CONTACT_CONTEXT)
    await client.ask({**asked, "ChannelId": leg, "OtherChannelId": f"{leg}-2", "Timeout": "5000"})
    ours = (leg, f"{leg}-2")

    def names() -> set[str]:
        return {message["event"] for message in heard if message.get("uniqueid") in ours}

    await _until(lambda: {"Newchannel", "UserEvent"} <= names())
    await client.ask({"Action": "Hangup", "Channel": leg, "Cause": "16"})
    await _until(lambda: {"Hangup", "OriginateResponse"} <= names())
    findings = []
    for event, read in (
        ("Newchannel", "call"),
        ("Hangup", "call"),
        ("OriginateResponse", "call"),
        ("UserEvent", "user"),
    ):
        arrives = event in names()
        findings.append(
            Finding(
                ok=arrives,
                what=f"event {event}: {'arrives' if arrives else 'does not arrive'}",
                cure=""
                if arrives
                else f"in manager.conf give the user read=call,user,system (this one needs {read}), and let {event} "
                "through its eventfilter lines, if there are any",
            )
        )
    booted = any(message["event"] == "FullyBooted" for message in heard)
    findings.append(
        Finding(
            ok=booted,
            what=f"event FullyBooted: {'arrives' if booted else 'does not arrive'}",
            cure="" if booted else "add system to the user's read=: restarts of the PBX are told apart faster with it",
            warning=True,
        )
    )
    return findings


def _cel(path: str) -> Finding:
    readable = Path(path).is_file() and os.access(path, os.R_OK)
    return Finding(
        ok=readable,
        what=f"CEL file: {'readable' if readable else 'missing or not readable'}",
        cure=""
        if readable
        else "load cel_custom with our cel_custom.conf, create its folder cel-custom in the PBX's log folder, and let "
        "the engine's user read the file; without it, calls that end while the connection is down end as unknown",
        warning=True,
    )


async def _recording(client: AmiClient, heard: list[Message], file: Path) -> Finding:
    """The dialplan records a channel that nobody speaks on; the file has to be new, and readable from here."""
    before = await asyncio.to_thread(_changed_at, file)
    leg = f"ringfold-check-{secrets.token_hex(8)}"
    ours = (leg, f"{leg}-2")
    asked = _originate(f"Local/s@{BRIDGE_CONTEXT}/n", CONTACT_CONTEXT)
    ids = {"ChannelId": leg, "OtherChannelId": ours[1], "Variable": f"__{RECORDING_VARIABLE}={RECORDED}"}
    await client.ask({**asked, **ids, "Timeout": "5000"})

    def results() -> list[str]:
        told = (one for one in heard if one.get("uniqueid") in ours and one.get("userevent") == "RingfoldRecording")
        return [one.get("result", "") for one in told]

    await _until(lambda: bool(results()))
    what, cure = "", ""
    if not results():
        what = "the dialplan knows nothing of them"
        cure = f"take over our extensions.conf as a whole and `dialplan reload`: [{BRIDGE_CONTEXT}] records"
    elif results() != ["STARTED"]:
        what = f"the PBX can't make them ({results()[0]})"
        cure = "load app_mixmonitor.so, format_wav.so and func_module.so"
    elif not await _arrived(file, before):
        what = "a recording that the PBX began does not arrive"
        cure = (
            "set recordings_path to the folder ringfold in the folder monitor of the PBX's spool folder (astspooldir), let "
            "the PBX write there, and let the engine's user read what it writes"
        )
    return Finding(ok=not what, what=f"recordings: {what or 'made and readable'}", cure=cure, warning=True)


async def _arrived(file: Path, before: int) -> bool:
    for _ in range(EVENTS_WAIT_MS // 20):
        if await asyncio.to_thread(_changed_at, file) not in (0, before):
            return await asyncio.to_thread(os.access, file, os.R_OK)
        await asyncio.sleep(0.02)
    return False


def _changed_at(file: Path) -> int:
    """When a file was last written, ns since the epoch; 0 where there is none to be seen."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _originate(channel: str, context: str) -> Action:
    return {
        "Action": "Originate",
        "Channel": channel,
        "Async": "true",
        "Context": context,
        "Exten": "s",
        "Priority": "1",
    }


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(EVENTS_WAIT_MS // 20):
        if condition():
            return
        await asyncio.sleep(0.02)
