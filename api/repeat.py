"""Idempotency-Key: a request that is sent again under its key is answered as the first was, and done once.

Answers are kept in memory, for so long and so many, and only those that say that something was done: a refusal changed
nothing, and is decided anew. A client whose answer got lost asks again within seconds. After a restart a repeat meets what it
did itself: the `request_id` of a click, the refs of contacts and campaigns are known for ever, and a closed reservation is
refused as such. So nothing is dialled twice for want of a key.
"""

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import blake2b

import msgspec
from aiohttp import web

from api.problem import Problem

HEADER = "Idempotency-Key"
REPLAYED = "Ringfold-Replayed"
KEY = re.compile(r'"?([A-Za-z0-9_.:@/+=-]{1,128})"?')
MAX_KEYS = 10_000
MAX_KEPT_BYTES = 256 * 1024
"""An answer that is longer isn't kept: its key is forgotten when it is given."""
KEPT_MS = 24 * 3_600 * 1_000
KEPT_HEADERS = ("Content-Type", "Location", "ETag", "Ringfold-Cursor")


class Kept(msgspec.Struct):
    """A request under a key. `status` 0: it is under way."""

    print: bytes
    at: int
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = {}


class Repeats:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    async def once(
        self,
        request: web.Request,
        subject: str,
        raw: bytes,
        now_ms: int,
        do: Callable[[], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """The answer of `do`, or of the first request under this key. Raises Problem: 400, 409 or 422."""
        match = KEY.fullmatch(request.headers[HEADER].strip())
        if match is None:
            raise Problem(400, "bad-idempotency-key", "1 to 128 letters, digits and _ . : @ / + = -", HEADER)
        key = (subject, match[1])
        self._forget(now_ms)
        print_ = blake2b(b"\0".join((request.method.encode(), request.path_qs.encode(), raw)), digest_size=16).digest()
        known = self._known.get(key)
        if known is not None:
            return _again(known, print_)
        self._known[key] = kept = Kept(print_, now_ms)
        done = False
        try:
            answer = await do()
            body = answer.body if isinstance(answer, web.Response) else None
            if answer.status < 300 and isinstance(body, bytes | None) and len(body or b"") <= MAX_KEPT_BYTES:
                kept.status, kept.body = answer.status, body or b""
                kept.headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
                done = True
            return answer
        finally:
            if not done:
                self._known.pop(key, None)

    def _forget(self, now_ms: int) -> None:
        """What is too old; and the oldest where there are too many. One that is under way is kept."""
        while self._known:
            key, oldest = next(iter(self._known.items()))
            if not oldest.status or (now_ms - oldest.at < KEPT_MS and len(self._known) < MAX_KEYS):
                return
            del self._known[key]


def _again(known: Kept, print_: bytes) -> web.Response:
    if known.print != print_:
        raise Problem(422, "idempotency-key-reused", "the key stands for another request", HEADER)
    if not known.status:
        raise Problem(409, "request-under-way", "the first request under this key is not answered yet", HEADER)
    return web.Response(status=known.status, body=known.body, headers={**known.headers, REPLAYED: "true"})
