"""Recordings of calls, to those who may hear them. Each time somebody does is a line in the operator's log.

The file is the PBX's; its name comes from the call's log and from nowhere in the request. Administrators hear what their
token's campaigns have, supervisors their campaigns', and agents their own calls where the campaign lets them.
"""

import asyncio
import os
import re
import struct
import time
from pathlib import Path

import structlog
from aiohttp import web

from api.call import found
from api.problem import Problem
from api.route import Call, Media, Route, roles
from api.token import Role
from engine.core.call import CallStatus, recording_of

LISTENERS = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT)
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}/[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{32}\.wav")
MEDIA_TYPE = "audio/wav"
UNCLOSED_S = 60
"""How long after its last change a file whose header is not yet right is still taken for being written."""
log = structlog.get_logger(__name__)


class Missing(Exception):
    """There is no file to serve. Says why, in words that go behind a colon."""


async def play(call: Call) -> web.StreamResponse:
    ref, running, name = found(call)
    one = running.book.calls[name]
    if call.principal.role is Role.AGENT and not running.book.campaign.settings.agents_may_listen:
        raise Problem(403, "forbidden", "agents may not hear recordings of this campaign (agents_may_listen)")
    recording, fault = recording_of(one)
    try:
        if not recording:
            raise Missing(f"it was not recorded ({fault})" if fault else "it was not recorded")
        if one.status is not CallStatus.ENDED:
            raise Missing("it is not over")
        path = await asyncio.to_thread(located, call.service.recordings, recording)
    except Missing as missing:
        raise Problem(404, "no-recording", f"there is no recording of call {name!r}: {missing}") from None
    _check_range(call.request, path.stat().st_size)
    if call.request.method == "GET":
        log.info(
            "recording heard",
            by=call.by,
            role=call.principal.role,
            campaign=ref,
            call=name,
            recording=recording,
            range=call.request.headers.get("Range", "")[:100],
        )
    disposition = f'inline; filename="{recording.replace("/", "_")}"'
    return web.FileResponse(path, headers={"Content-Type": MEDIA_TYPE, "Content-Disposition": disposition})


def _check_range(request: web.Request, size: int) -> None:
    """Raises Problem: 416. With If-Range it is a wish: the whole is sent where it can't be met."""
    if "Range" not in request.headers or "If-Range" in request.headers:
        return
    try:
        start = request.http_range.start
    except ValueError:
        start = size
    if start is not None and start >= size:
        raise Problem(
            416, "range-not-satisfiable", f"it has {size} bytes", "Range", headers={"Content-Range": f"bytes */{size}"}
        )


def located(folder: Path | None, name: str) -> Path:
    """The finished, readable file of a name, surely below the folder. Raises Missing."""
    if folder is None:
        raise Missing("the dialer isn't told where the PBX keeps recordings (ami.recordings_path)")
    if not NAME.fullmatch(name):
        raise Missing("its name is none of ours")
    root = folder.resolve()
    path = (root / name).resolve()  # a link that leads out of the folder leads nowhere
    if not path.is_relative_to(root) or not path.is_file():
        raise Missing("the PBX has no file of it, or none yet")
    if not os.access(path, os.R_OK):
        raise Missing("the dialer may not read the PBX's file")
    if not _is_closed(path):
        raise Missing("the PBX is still writing it")
    return path


def _is_closed(path: Path) -> bool:
    """Whether its header tells its length: that is put in last. A PBX that crashed never does."""
    about = path.stat()
    with path.open("rb") as file:
        head = file.read(8)
    is_told = len(head) == 8 and struct.unpack("<I", head[4:])[0] + 8 >= about.st_size > 0
    return is_told or time.time() - about.st_mtime > UNCLOSED_S


AUDIO = Media((MEDIA_TYPE,))
ROUTES = [
    Route(
        "GET",
        "/v1/calls/{call}/recording",
        play,
        LISTENERS,
        "Hear a call's recording",
        {200: AUDIO, 206: AUDIO, 304: None, 412: None},
        problems=("unknown-call", "no-recording", "range-not-satisfiable"),
    )
]
