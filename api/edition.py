"""ETags, and the conditions that requests put on them: If-None-Match on reads, If-Match on edits.

An ETag says two things, `"edition-whole"`: which edition of what can be edited this is, and a digest of the whole answer.
A read whose answer would be the same to the byte is 304. An edit is held to the edition alone: a campaign's counters move all
the time and are no reason to refuse it. Where nothing is said of an edition the whole stands for it.

An edit's condition is judged by asking the address itself, while no other edit of that address is under way: what is compared
is what is edited.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from typing import Any

import msgspec
from aiohttp import web

from api.problem import Problem
from engine.core.refusal import Fault, Refused

EDITION = web.ResponseKey("edition", str)
EDITS = ("PUT", "PATCH", "DELETE")
TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')
MAX_TAGS = 32
"""In one If-Match or If-None-Match."""
DIGEST_BYTES = 9
GONE = (404, 409, 410)
"""What an address answers that has nothing to edit."""

Ask = Callable[[], Awaitable[web.StreamResponse]]


def edition_of(value: Any) -> str:
    """Of what a client can edit, as any msgspec value."""
    return _digest(msgspec.json.encode(value))


def tag(response: web.StreamResponse) -> None:
    """Put the ETag on an answer that shows something as it is now."""
    if isinstance(response, web.Response) and isinstance(response.body, bytes) and response.status in (200, 201):
        whole = _digest(response.body)
        edition = response.get(EDITION)
        response.headers["ETag"] = f'"{edition}-{whole}"' if edition else f'"{whole}"'


def unless_known(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """304 where the client has this very answer."""
    known = _tags(request, "If-None-Match")
    given = response.headers.get("ETag", "").strip('"')
    if known is None or not given or not ("*" in known or given in known):
        return response
    kept = {name: response.headers[name] for name in ("ETag",) if name in response.headers}
    return web.Response(status=304, headers=kept)


class Turns:
    """Edits of one address, one after the other."""

    def __init__(self) -> None:
        self._turns: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def of(self, path: str) -> AsyncIterator[None]:
        lock, waiting = self._turns.setdefault(path, (asyncio.Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                yield
        finally:
            waiting.pop()
            if not waiting:
                self._turns.pop(path, None)


async def must_hold(request: web.Request, show: Ask | None) -> None:
    """The conditions of an edit, against what the address shows now, if it shows anything. Raises Problem: 412."""
    wanted, unwanted = _tags(request, "If-Match"), _tags(request, "If-None-Match")
    if wanted is None and unwanted is None:
        return
    edition = await _edition_now(show) if show is not None else None
    if wanted is not None and (edition is None or not ("*" in wanted or edition in map(_edition, wanted))):
        raise Problem(412, "revision-mismatch", "what is there now is none of these editions", "If-Match")
    if unwanted is not None and edition is not None and ("*" in unwanted or edition in map(_edition, unwanted)):
        raise Problem(412, "already-there", "there is one already", "If-None-Match")


async def _edition_now(show: Ask) -> str | None:
    """None where there is nothing."""
    try:
        shown = await show()
    except Problem as problem:
        if problem.status in GONE:
            return None
        raise
    except Refused as refused:
        if refused.fault in (Fault.ABSENT, Fault.RULE):
            return None
        raise
    tag(shown)
    return _edition(shown.headers.get("ETag", "").strip('"'))


def _edition(text: str) -> str:
    return text.partition("-")[0]


def _tags(request: web.Request, header: str) -> list[str] | None:
    """What stands between the quotes of each, "*" for any; None where there is no condition. Raises Problem: 412.

    A proxy that compresses answers makes tags weak; ours are told apart by their text.
    """
    text = request.headers.get(header)
    if text is None:
        return None
    if text.strip() == "*":
        return ["*"]
    found = [TAG.fullmatch(one) for one in text.split(",")]
    if len(found) > MAX_TAGS or not all(found):
        if header == "If-None-Match" and request.method not in EDITS:
            return []  # what isn't known is sent
        raise Problem(412, "revision-mismatch", f"{header} holds no ETag of this address", header)
    return [one[2] for one in found if one is not None]


def _digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=DIGEST_BYTES).hexdigest()
