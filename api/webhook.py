"""Receivers of notifications: where, what of it, how far they are."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from api import view
from api.problem import Problem, invalid
from api.route import AGENT_ID, Accepted, Call, Page, Ref, Route, reply, roles, taken
from api.token import Role
from engine.core.directory import PutWebhook, RemoveWebhook, WebhookPut
from engine.ports import BadCursor, Lane

MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
TypeName = Annotated[str, msgspec.Meta(pattern=r"^[a-z_.]{1,64}$(?!\n)")]


class Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    """`secret`: `whsec_` and 24 to 64 random bytes in base64. Empty filters mean everything."""

    url: Annotated[str, msgspec.Meta(max_length=2_000)]
    secret: Annotated[str, msgspec.Meta(max_length=200)]
    types: Annotated[tuple[TypeName, ...], msgspec.Meta(max_length=100)] = ()
    campaigns: Annotated[tuple[Ref, ...], msgspec.Meta(max_length=1_000)] = ()


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    after: Annotated[str, msgspec.Meta(max_length=200)]


class WebhookShown(msgspec.Struct, kw_only=True):
    id: str
    url: str
    types: tuple[str, ...]
    campaigns: tuple[str, ...]
    lanes: Sequence[Lane]


class Webhooks(msgspec.Struct, kw_only=True):
    webhooks: list[WebhookShown]


class DeliveryShown(msgspec.Struct, kw_only=True):
    """One attempt. `status` is HTTP's, 0 where no answer came."""

    at: view.Time | None
    notification: str
    campaign: str
    seq: int
    status: int
    error: str
    duration_ms: int


class Deliveries(msgspec.Struct, kw_only=True):
    deliveries: list[DeliveryShown]


async def put(call: Call) -> web.Response:
    name = call.request.match_info["webhook"]
    if not AGENT_ID.fullmatch(name):
        raise invalid("id", "1 to 64 letters, digits and _ . -")
    _unbound(call)
    body = await call.body(Endpoint)
    _check(body)
    created = name not in call.engine.directory.webhooks
    await call.engine.direct(
        PutWebhook(
            at=call.at,
            by=call.by,
            id=name,
            url=body.url,
            secret=body.secret,
            types=body.types,
            campaigns=body.campaigns,
            since=call.service.feed.position,
        )
    )
    call.service.feed.webhooks_changed()
    return reply(_shown(call, call.engine.directory.webhooks[name]), 201 if created else 200)


def _unbound(call: Call) -> None:
    """A webhook may hear of every campaign: a token for some of them is not enough."""
    if call.principal.campaigns and call.principal.role is not Role.ADMINISTRATOR:
        raise Problem(403, "forbidden", "a token that is bound to campaigns can't have webhooks")


def _check(body: Endpoint) -> None:
    try:
        parts = urlsplit(body.url)
        _ = parts.port
    except ValueError as error:
        raise invalid("url", str(error)) from None
    blank = any(char.isspace() for char in body.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment or blank:
        raise invalid("url", "an absolute http or https address without user, fragment or blanks is expected")
    prefix, _, encoded = body.secret.partition("_")
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error):
        size = 0
    if prefix != "whsec" or not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise invalid("secret", f"whsec_ and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64 are expected")


def _known(call: Call) -> WebhookPut:
    _unbound(call)
    name = call.part("webhook", AGENT_ID, "webhook")
    known = call.engine.directory.webhooks.get(name)
    if known is None:
        raise Problem(404, "unknown-webhook", f"there is no webhook {name!r}")
    return known


def _shown(call: Call, one: WebhookPut) -> WebhookShown:
    return WebhookShown(
        id=one.id,
        url=one.url,
        types=one.types,
        campaigns=one.campaigns,
        lanes=call.service.feed.lanes(one.id),
    )


async def show(call: Call) -> web.Response:
    return reply(_shown(call, _known(call)))


async def listing(call: Call) -> web.Response:
    _unbound(call)
    return reply(Webhooks(webhooks=[_shown(call, one) for one in call.engine.directory.webhooks.values()]))


async def delete(call: Call) -> web.Response:
    known = _known(call)
    await call.engine.direct(RemoveWebhook(at=call.at, by=call.by, id=known.id))
    call.service.feed.webhooks_changed()
    return web.Response(status=204)


async def deliveries(call: Call) -> web.Response:
    known = _known(call)
    found = call.service.feed.deliveries(known.id, call.limit())
    shown = [DeliveryShown(**{**msgspec.structs.asdict(one), "at": view.time(one.at)}) for one in found]
    return reply(Deliveries(deliveries=shown))


async def replay(call: Call) -> web.Response:
    known = _known(call)
    body = await call.body(Replay)
    try:
        await call.service.feed.replay(known.id, body.after)
    except BadCursor:
        raise invalid("after", "not a cursor of this feed") from None
    return taken(call)


WEBHOOK = "/v1/webhooks/{webhook}"
ROUTES = [
    Route("GET", "/v1/webhooks", listing, MANAGERS, "List webhooks", {200: Webhooks}),
    Route("PUT", WEBHOOK, put, MANAGERS, "Put a webhook", {201: WebhookShown, 200: WebhookShown}, Endpoint),
    Route("GET", WEBHOOK, show, MANAGERS, "Show a webhook", {200: WebhookShown}, problems=("unknown-webhook",)),
    Route("DELETE", WEBHOOK, delete, MANAGERS, "Remove a webhook", {204: None}, problems=("unknown-webhook",)),
    Route(
        "GET",
        WEBHOOK + "/deliveries",
        deliveries,
        MANAGERS,
        "List the newest deliveries",
        {200: Deliveries},
        query=Page,
        problems=("unknown-webhook",),
    ),
    Route(
        "POST",
        WEBHOOK + "/replay",
        replay,
        MANAGERS,
        "Deliver again",
        {202: Accepted},
        Replay,
        problems=("unknown-webhook",),
    ),
]
