"""A campaign manager's receiver that misbehaves to order, and believes nothing but what it was told."""

import asyncio
import base64
import hmac
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tests.adapters.notify.house import SECRET

TOLERANCE_S = 300

Script = int | str
"""A status; or `stall` (no answer in time), `cut` (the connection is closed unanswered), `lost` (taken, but answered 500)."""


class Receiver:
    """`script` gives what the next requests meet, then `always`. `told` holds what was accepted, per campaign, once."""

    def __init__(self, always: Script = 204, now_s: Callable[[], float] | None = None) -> None:
        self.now_s = now_s
        self.script: deque[Script] = deque()
        self.always = always
        self.headers: Mapping[str, str] = {}
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.bodies: dict[str, bytes] = {}
        self.seen_headers: list[Mapping[str, str]] = []
        self.requests: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        """How many were in each request's list; 0 for one that is not in a list."""
        self.repeated = self.skipped = self.under_way = self.most_under_way = 0
        self.held: asyncio.Event | None = None
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        app.router.add_post("/elsewhere", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # no public way

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        sent = self._verified(body, dict(request.headers))
        events = sent if isinstance(sent, list) else [sent]
        self.sizes.append(len(sent) if isinstance(sent, list) else 0)
        self.requests.append((events[0]["campaign"], events[0]["seq"]))
        self.seen_headers.append(dict(request.headers))
        if self.held is not None:
            await self.held.wait()
        meets = self.script.popleft() if self.script else self.always
        if meets == "stall":
            await asyncio.sleep(30)
        if meets == "cut":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if meets == "lost" or (isinstance(meets, int) and 200 <= meets < 300):
            for event in events:
                self._note(event, msgspec.json.encode(event) if isinstance(sent, list) else body)
        return web.Response(status=500) if meets == "lost" else web.Response(status=int(meets), headers=self.headers)

    def _verified(self, body: bytes, headers: dict[str, str]) -> Any:
        if self.now_s is None:
            return Webhook(SECRET).verify(body, headers)
        # The library looks at the machine's clock; where time is virtual the standard's words are followed here.
        id_, at, signatures = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        assert abs(int(at) - self.now_s()) <= TOLERANCE_S
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        wanted = base64.b64encode(hmac.digest(key, f"{id_}.{at}.".encode() + body, "sha256")).decode()
        assert f"v1,{wanted}" in signatures.split()
        return msgspec.json.decode(body)

    def _note(self, event: dict[str, Any], body: bytes) -> None:
        told = self.told[event["campaign"]]
        known = told[-1]["seq"] if told else 0
        if event["seq"] <= known:
            assert self.bodies[event["id"]] == body, "a repeat must be the same"
            self.repeated += 1
            return
        if event["seq"] != known + 1:
            self.skipped += 1
        told.append(event)
        self.bodies[event["id"]] = body

    def seqs(self, campaign: str) -> list[int]:
        return [one["seq"] for one in self.told[campaign]]


def as_data(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
