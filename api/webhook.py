"""Receivers of notifications: where, what of it, how far they are."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from api import cursor, view
from api.call import Nothing
from api.edition import edition_of
from api.moment import epoch_ms
from api.problem import Problem, invalid
from api.route import AGENT_ID, MAX_PAGE_ROWS, Accepted, Call, Pages, Ref, Route, reply, roles, taken
from api.token import Role
from engine.core.webhook import PutWebhook, RemoveWebhook, RotateWebhook, WebhookPut
from engine.ports import BadCursor, Delivery, Lane, WebhookReport

MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
MAX_BATCH, MAX_BATCH_WAIT_MS = 200, 60_000
MAX_GRACE_S, GRACE_S = 7 * 24 * 3_600, 24 * 3_600
NOT_SERVED = WebhookReport(behind=0, oldest_at=0, lag_ms=0, parked=0, parked_for="", attempts={})
TypeName = Annotated[str, msgspec.Meta(pattern=r"^[a-z_.]{1,64}$(?!\n)")]
Secret = Annotated[str, msgspec.Meta(max_length=200)]


class BatchAsked(msgspec.Struct, forbid_unknown_fields=True):
    """Several notifications of one campaign in one request, as a list."""

    max_items: Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)]
    max_wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_BATCH_WAIT_MS)] = 0
    """How long the first may wait for others. A call that is answered waits for nothing."""


class Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    """Empty filters mean everything."""

    url: Annotated[str, msgspec.Meta(max_length=2_000)]
    secret: Secret = ""
    """`whsec_` and 24 to 64 random bytes in base64. Empty: the one that there is, or for a new webhook one that is made
    and told once, in the answer."""
    types: Annotated[tuple[TypeName, ...], msgspec.Meta(max_length=100)] = ()
    campaigns: Annotated[tuple[Ref, ...], msgspec.Meta(max_length=1_000)] = ()
    batch: BatchAsked | None = None


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    secret: Secret = ""
    """As for a webhook; empty: one is made and told once, in the answer."""
    grace_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_GRACE_S)] = GRACE_S
    """How long everything is signed with the former secret too."""


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """One of the two."""

    after: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    """A cursor; empty is the beginning."""
    since: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """A time: everything that happened then or later, and perhaps up to a minute more."""


class Trial(msgspec.Struct, forbid_unknown_fields=True):
    type: TypeName


class Attempts(Pages, forbid_unknown_fields=True):
    notification: Annotated[str, msgspec.Meta(max_length=400)] = ""
    """The id of the one whose attempts are wanted; empty is all."""


class WebhookShown(msgspec.Struct, kw_only=True):
    id: str
    url: str
    types: tuple[str, ...]
    campaigns: tuple[str, ...]
    batch: BatchAsked | None
    public_keys: Sequence[str]
    """What `v1a` signatures are verified with, the newest first: `whpk_` and an Ed25519 key in base64."""
    former_secret_until: view.Time | None
    """Until then everything is signed with the former secret and key too."""
    behind: int
    """Notifications that wait, of all campaigns."""
    lag_ms: int
    """How long the first of them has waited, as far as this is known."""
    parked: bool
    """Something waits until the webhook is resumed."""
    parked_for: str
    """Why all of it does: `gone` or `failing`; else empty."""
    attempts: Mapping[str, int]
    """Since the service started: `taken`, `refused`, `unanswered`."""
    lanes: Sequence[Lane]
    secret: str | msgspec.UnsetType = msgspec.UNSET
    """Only where it was made for this request. It is never shown again."""


class Webhooks(msgspec.Struct, kw_only=True):
    webhooks: list[WebhookShown]
    next: view.Next


class DeliveryShown(msgspec.Struct, kw_only=True):
    """One attempt. `status` is HTTP's, 0 where no answer came."""

    at: view.Time | None
    notification: str
    """The id that it was sent under."""
    campaign: str
    seq: int
    """Of the first one in it."""
    count: int
    """How many notifications were in it."""
    attempt: int
    """Which attempt this was, from 1."""
    status: int
    error: str
    duration_ms: int


class Deliveries(msgspec.Struct, kw_only=True):
    deliveries: list[DeliveryShown]
    next: view.Next


async def put(call: Call) -> web.Response:
    """A webhook that is put, changed or not, is resumed."""
    name = call.request.match_info["webhook"]
    if not AGENT_ID.fullmatch(name):
        raise invalid("id", "1 to 64 letters, digits and _ . -")
    _unbound(call)
    body = await call.body(Endpoint)
    _check(call, body)
    feed = call.service.feed
    made, new = name not in call.engine.directory.webhooks, feed.new_secrets()
    given = await call.engine.direct(
        PutWebhook(
            at=call.at,
            by=call.by,
            id=name,
            url=body.url,
            secret=body.secret,
            new_secret=new.secret,
            new_signing_key=new.signing_key,
            types=body.types,
            campaigns=body.campaigns,
            since=feed.position,
            batch_items=body.batch.max_items if body.batch else 0,
            batch_wait_ms=body.batch.max_wait_ms if body.batch else 0,
        )
    )
    feed.webhooks_changed()
    await feed.resume(name)
    secret = new.secret if given else msgspec.UNSET
    return _answer(call, call.engine.directory.webhooks[name], secret, 201 if made else 200)


def _unbound(call: Call) -> None:
    """A webhook may hear of every campaign: a token for some of them is not enough."""
    if call.principal.campaigns:
        raise Problem(403, "forbidden", "a token that is bound to campaigns can't have webhooks")


def _check(call: Call, body: Endpoint) -> None:
    try:
        parts = urlsplit(body.url)
        _ = parts.port
    except ValueError as error:
        raise invalid("url", str(error)) from None
    blank = any(char.isspace() for char in body.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment or blank:
        raise invalid("url", "an absolute http or https address without user, fragment or blanks is expected")
    _check_secret(body.secret)
    for place, name in enumerate(body.types):
        _check_type(call, name, f"types[{place}]")


def _check_secret(secret: str) -> None:
    if not secret:
        return
    prefix, _, encoded = secret.partition("_")
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error):
        size = 0
    if prefix != "whsec" or not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise invalid("secret", f"whsec_ and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64 are expected")


def _check_type(call: Call, name: str, field: str) -> None:
    if name not in call.service.feed.catalogue:
        raise invalid(field, f"there is no notification of type {name!r}")


def _known(call: Call) -> WebhookPut:
    _unbound(call)
    name = call.part("webhook", AGENT_ID, "webhook")
    known = call.engine.directory.webhooks.get(name)
    if known is None:
        raise Problem(404, "unknown-webhook", f"there is no webhook {name!r}")
    return known


def _answer(
    call: Call, one: WebhookPut, secret: str | msgspec.UnsetType = msgspec.UNSET, status: int = 200
) -> web.Response:
    """What can be edited is its edition: how far its lanes are is no reason to refuse an edit."""
    shown = _shown(call, one, secret)
    edited = (shown.url, shown.types, shown.campaigns, shown.batch, shown.public_keys)
    return reply(shown, status, edition=edition_of(edited))


def _shown(call: Call, one: WebhookPut, secret: str | msgspec.UnsetType = msgspec.UNSET) -> WebhookShown:
    feed = call.service.feed
    report = feed.report(one.id) or NOT_SERVED
    return WebhookShown(
        id=one.id,
        url=one.url,
        types=one.types,
        campaigns=one.campaigns,
        batch=BatchAsked(one.batch_items, one.batch_wait_ms) if one.batch_items else None,
        public_keys=feed.public_keys(one),
        former_secret_until=view.time(one.former_until) if one.former_until > call.at else None,
        behind=report.behind,
        lag_ms=report.lag_ms,
        parked=report.parked > 0,
        parked_for=report.parked_for,
        attempts=report.attempts,
        lanes=feed.lanes(one.id),
        secret=secret,
    )


async def show(call: Call) -> web.Response:
    return _answer(call, _known(call))


async def listing(call: Call) -> web.Response:
    """In the order of their ids."""
    _unbound(call)
    known = call.engine.directory.webhooks.values()
    shown, following = cursor.page(known, lambda one: one.id, call.after(), call.limit())
    return reply(Webhooks(webhooks=[_shown(call, one) for one in shown], next=call.cursor(following)))


async def delete(call: Call) -> web.Response:
    known = _known(call)
    await call.engine.direct(RemoveWebhook(at=call.at, by=call.by, id=known.id))
    call.service.feed.webhooks_changed()
    return web.Response(status=204)


async def rotate(call: Call) -> web.Response:
    """Everything is signed with the former secret and signing key too until the grace period ends, so that no receiver
    need change at that very moment. Who names the secret can ask again, and nothing more changes; one that is made is another
    each time."""
    known = _known(call)
    body = await call.body(Rotation)
    _check_secret(body.secret)
    feed = call.service.feed
    new = feed.new_secrets()
    await call.engine.direct(
        RotateWebhook(
            at=call.at,
            by=call.by,
            id=known.id,
            secret=body.secret or new.secret,
            signing_key=new.signing_key,
            former_until=call.at + body.grace_s * 1_000 if body.grace_s else 0,
        )
    )
    feed.webhooks_changed()
    secret = msgspec.UNSET if body.secret else new.secret
    return _answer(call, call.engine.directory.webhooks[known.id], secret)


async def deliveries(call: Call) -> web.Response:
    """The newest attempts, newest first, as far as the service remembers them since it started."""
    known, query = _known(call), call.query(Attempts)
    found = call.service.feed.deliveries(known.id, MAX_PAGE_ROWS, query.notification)
    rows, following = cursor.page(found, _place, call.after(), query.limit, newest_first=True)
    return reply(Deliveries(deliveries=[_delivery(one) for one in rows], next=call.cursor(following)))


def _place(one: Delivery) -> str:
    return cursor.moment(one.at, f"{one.attempt:06}/{one.notification}")


def _delivery(one: Delivery) -> DeliveryShown:
    return DeliveryShown(**{**msgspec.structs.asdict(one), "at": view.time(one.at)})


async def replay(call: Call) -> web.Response:
    """Notifications come again under their old ids, and what was parked goes on."""
    known = _known(call)
    body = await call.body(Replay)
    if (body.after is None) == (body.since is None):
        raise invalid("after", "either a cursor or a time (`since`) is expected")
    feed = call.service.feed
    after = await feed.cursor_at(epoch_ms(body.since, "since")) if body.since is not None else body.after or ""
    try:
        await feed.replay(known.id, after)
    except BadCursor:
        raise invalid("after", "not a cursor of this feed") from None
    return taken(call)


async def resume(call: Call) -> web.Response:
    """What is parked goes on where it stopped, in order; what waits for its next attempt gets it now."""
    known = _known(call)
    await call.body(Nothing)
    await call.service.feed.resume(known.id)
    return taken(call)


async def ping(call: Call) -> web.Response:
    """Sends a `webhook.ping` at once, beside everything else, and answers with what came of it."""
    known = _known(call)
    await call.body(Nothing)
    return await _try_out(call, known, "")


async def test(call: Call) -> web.Response:
    """Sends the example of a type. Its id begins with `test_` and its `seq` is 0: a receiver mustn't take it for news."""
    known = _known(call)
    body = await call.body(Trial)
    _check_type(call, body.type, "type")
    return await _try_out(call, known, body.type)


async def _try_out(call: Call, known: WebhookPut, type_: str) -> web.Response:
    found = await call.service.feed.try_out(known.id, call.by, type_)
    if found is None:
        raise Problem(503, "unavailable", f"webhook {known.id!r} isn't served yet", headers={"Retry-After": "1"})
    return reply(_delivery(found))


WEBHOOK = "/v1/webhooks/{webhook}"
UNKNOWN = ("unknown-webhook",)
ROUTES = [
    Route("GET", "/v1/webhooks", listing, MANAGERS, "List webhooks", {200: Webhooks}, query=Pages),
    Route(
        "PUT",
        WEBHOOK,
        put,
        MANAGERS,
        "Put a webhook",
        {201: WebhookShown, 200: WebhookShown},
        Endpoint,
        problems=("too-many-webhooks",),
    ),
    Route("GET", WEBHOOK, show, MANAGERS, "Show a webhook", {200: WebhookShown}, problems=UNKNOWN),
    Route("DELETE", WEBHOOK, delete, MANAGERS, "Remove a webhook", {204: None}, problems=UNKNOWN),
    Route(
        "POST",
        WEBHOOK + "/rotate",
        rotate,
        MANAGERS,
        "Change a webhook's secret",
        {200: WebhookShown},
        Rotation,
        problems=UNKNOWN,
    ),
    Route(
        "GET",
        WEBHOOK + "/deliveries",
        deliveries,
        MANAGERS,
        "List the newest deliveries",
        {200: Deliveries},
        query=Attempts,
        problems=UNKNOWN,
    ),
    Route("POST", WEBHOOK + "/replay", replay, MANAGERS, "Deliver again", {202: Accepted}, Replay, problems=UNKNOWN),
    Route(
        "POST", WEBHOOK + "/resume", resume, MANAGERS, "Resume a webhook", {202: Accepted}, Nothing, problems=UNKNOWN
    ),
    Route("POST", WEBHOOK + "/ping", ping, MANAGERS, "Ping a webhook", {200: DeliveryShown}, Nothing, problems=UNKNOWN),
    Route("POST", WEBHOOK + "/test", test, MANAGERS, "Send an example", {200: DeliveryShown}, Trial, problems=UNKNOWN),
]
