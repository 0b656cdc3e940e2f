"""What is told to everybody, without a token: probes, our public keys, the schema, the documentation, what problems mean.

None is secret.

A probe that has no token, and a browser that can send none, find here what they need.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

import msgspec
from aiohttp import web

from api import health, openapi, page
from api.problem import Problem
from api.route import Route, Service
from engine.ports import NotificationType

OpenHandler = Callable[[Service, web.Request], Awaitable[web.StreamResponse]]


class OpenRoute(NamedTuple):
    """An address for everybody. What it answers is the same for all, and small."""

    path: str
    handler: OpenHandler


def open_routes(
    routes: Sequence[Route], notifications: Mapping[str, NotificationType] | None = None
) -> list[OpenRoute]:
    @cache
    def schema() -> openapi.Json:
        return openapi.document(routes, version("ringfold"), notifications)

    @cache
    def raw() -> bytes:
        return msgspec.json.encode(schema())

    @cache
    def reference() -> str:
        return page.reference(schema())

    # Made when somebody asks, and apart from the loop: it takes a second, and few ever ask.
    async def openapi_json(_: Service, __: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(raw), content_type="application/json")

    async def docs(_: Service, __: web.Request) -> web.Response:
        return _page(await asyncio.to_thread(reference))

    async def problem(_: Service, request: web.Request) -> web.Response:
        text = page.problem(request.match_info["code"])
        if text is None:
            raise Problem(404, "not-found", "there is no such problem")
        return _page(text)

    return [
        OpenRoute("/livez", health.live),
        OpenRoute("/healthz", health.live),
        OpenRoute("/readyz", health.ready),
        OpenRoute("/.well-known/paseto-keys", health.paseto_keys),
        OpenRoute("/openapi.json", openapi_json),
        OpenRoute("/docs", docs),
        OpenRoute("/problems/{code}", problem),
    ]


def _page(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": page.POLICY})
