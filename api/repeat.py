"""Idempotency-Key: a request that is sent again under its key is answered as the first was, and done once.

Answers are kept in the store beside the logs, durable before they are given, and only those that say that something was done: a
refusal changed nothing, and is decided anew. A key belongs to who asks, and stands for one request: method, address and body.

A process that dies between doing and keeping has given no answer. Its client asks again, and meets what the request did itself:
the `request_id` of a click, the refs of contacts and campaigns are known for ever, and a closed reservation is refused as such.
So nothing is dialled twice for want of a key.
"""

import re
import zlib
from collections.abc import Awaitable, Callable
from hashlib import blake2b

import structlog
from aiohttp import web

from api.problem import Problem
from engine.housekeeping import ANSWERS_KEPT_MS
from engine.ports import Clock, EventStore, KeptAnswer, StoreUnavailable

HEADER = "Idempotency-Key"
REPLAYED = "Ringfold-Replayed"
KEY = re.compile(r'"?([A-Za-z0-9_.:@/+=-]{1,128})"?')
MAX_KEYS = 10_000
"""Of one role and subject; the oldest go."""
MAX_KEPT_BYTES = 256 * 1024
"""Compressed. An answer that is longer isn't kept: none that a request of the usual bounds can have."""
KEPT_HEADERS = ("Content-Type", "Location", "ETag", "Ringfold-Cursor")

log = structlog.get_logger(__name__)


class Repeats:
    def __init__(self, store: EventStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._under_way: dict[tuple[str, str], bytes] = {}

    async def once(
        self, request: web.Request, who: str, raw: bytes, do: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The answer of `do`, or of the first request under this key. Raises Problem: 400, 409 or 422."""
        match = KEY.fullmatch(request.headers[HEADER].strip())
        if match is None:
            raise Problem(400, "bad-idempotency-key", "1 to 128 letters, digits and _ . : @ / + = -", HEADER)
        key = (who, match[1])
        print_ = blake2b(b"\0".join((request.method.encode(), request.path_qs.encode(), raw)), digest_size=16).digest()
        if key in self._under_way:
            _same(self._under_way[key], print_)
            raise Problem(409, "request-under-way", "the first request under this key is not answered yet", HEADER)
        self._under_way[key] = print_
        try:
            known = await self._store.answer(*key)
            if known is not None and self._clock.now_ms() - known.at < ANSWERS_KEPT_MS:
                _same(known.print, print_)
                return _again(known)
            answer = await do()
            await self._keep(key, print_, answer)
            return answer
        finally:
            del self._under_way[key]

    async def _keep(self, key: tuple[str, str], print_: bytes, answer: web.StreamResponse) -> None:
        """What was done can't be undone because its answer can't be kept: it is given all the same."""
        body = (answer.body or b"") if isinstance(answer, web.Response) else None
        if answer.status >= 300 or not isinstance(body, bytes):
            return
        headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        kept = KeptAnswer(
            at=self._clock.now_ms(), print=print_, status=answer.status, headers=headers, body=zlib.compress(body)
        )
        if len(kept.body) > MAX_KEPT_BYTES:
            log.warning("answer not kept", reason="it is too long", bytes=len(kept.body))
            return
        try:
            await self._store.keep_answer(*key, kept, MAX_KEYS)
        except StoreUnavailable as error:
            log.warning("answer not kept", reason=str(error))


def _same(first: bytes, second: bytes) -> None:
    if first != second:
        raise Problem(422, "idempotency-key-reused", "the key stands for another request", HEADER)


def _again(known: KeptAnswer) -> web.Response:
    body = zlib.decompress(known.body)
    return web.Response(status=known.status, body=body, headers={**known.headers, REPLAYED: "true"})
