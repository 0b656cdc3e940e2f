"""What is told to everybody, without a token: the schema, the documentation, what problems mean. Nothing of it is secret.

A probe that has no token, and a browser that can send none, find here what they need.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from api import openapi
from api.route import Route, Service

OpenHandler = Callable[[Service, web.Request], Awaitable[web.StreamResponse]]


class OpenRoute(NamedTuple):
    """An address for everybody. What it answers is the same for all, and small."""

    path: str
    handler: OpenHandler


def open_routes(routes: Sequence[Route], notifications: Mapping[str, Any] | None = None) -> list[OpenRoute]:
    schema = openapi.document(routes, version("ringfold"), notifications)
    raw = msgspec.json.encode(schema)

    async def openapi_json(_: Service, __: web.Request) -> web.Response:
        return web.Response(body=raw, content_type="application/json")

    return [OpenRoute("/openapi.json", openapi_json)]
