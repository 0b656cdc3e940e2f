"""What an operator looks at: health, metrics; and for everybody, probes and the keys that check our tokens."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from api import view
from api.metrics import text_of
from api.problem import RETRY_AFTER_S
from api.route import Call, Media, Route, Service, reply, roles
from api.token import Role
from api.token.keyfile import KeyStatus
from engine.app import Engine
from engine.campaigns import Running
from engine.core.campaign import Status

OPERATORS = roles(Role.ADMINISTRATOR, Role.METRICS)
WATCHERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.METRICS)


class CampaignHealth(msgspec.Struct, kw_only=True):
    ref: str
    state: Status
    dialing: view.Dialing


class Health(msgspec.Struct, kw_only=True):
    ready: bool
    """Commands are taken and the PBX is connected."""
    missing: list[str]
    """What it lacks to be ready, in words."""
    draining: bool
    campaigns: list[CampaignHealth]
    """Those that are not at rest, as far as the token may see them."""


class PublicKey(msgspec.Struct, kw_only=True):
    """`key` is a PASERK."""

    kid: str
    key: str
    status: KeyStatus
    not_after: view.Time | None
    """When it stops to check tokens; null for one that signs or will."""


class PublicKeys(msgspec.Struct, kw_only=True):
    keys: list[PublicKey]


async def live(_: Service, __: web.Request) -> web.Response:
    """The process answers, and its loop turns."""
    return web.json_response({"live": True})


async def ready(service: Service, _: web.Request) -> web.Response:
    """Whether to send requests here; why not is nobody's business who has no token."""
    if missing_of(service.engine):
        return web.json_response({"ready": False}, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    return web.json_response({"ready": True})


def missing_of(engine: Engine, sees: Callable[[str, Running], bool] = lambda _ref, _one: True) -> list[str]:
    missing = [] if engine.claims.pbx_up else [f"pbx: {engine.switchboard.pbx_reason}"]
    if engine.draining:
        missing.append("draining")
    if engine.directory_trouble:
        missing.append(f"store: {engine.directory_trouble}")
    troubled = [(ref, one) for ref, one in engine.campaigns.items() if one.actor.trouble]
    missing += [f"campaign {ref}: {one.actor.trouble}" for ref, one in troubled if sees(ref, one)]
    hidden = sum(not sees(ref, one) for ref, one in troubled)
    return [*missing, f"{hidden} other campaigns"] if hidden else missing


async def health(call: Call) -> web.Response:
    """EX-13: what is missing, and of every campaign at work why it is or isn't dialing."""
    engine = call.engine
    missing = missing_of(engine, call.may_see)
    campaigns = [
        CampaignHealth(ref=ref, state=one.book.campaign.status, dialing=view.dialing(one, engine))
        for ref, one in engine.campaigns.items()
        if one.book.campaign.status not in (Status.CREATED, Status.STOPPED) and call.may_see(ref, one)
    ]
    shown = Health(ready=not missing, missing=missing, draining=engine.draining, campaigns=campaigns)
    return reply(shown)


async def metrics(call: Call) -> web.Response:
    return web.Response(body=text_of(call.service), content_type="text/plain", charset="utf-8")


async def paseto_keys(service: Service, _: web.Request) -> web.Response:
    """The public halves, by which anybody checks our tokens; whoever is to check them has none yet."""
    keys = [
        PublicKey(kid=one.kid, key=one.paserk, status=one.status, not_after=view.time(one.not_after))
        for one in service.keys.published()
    ]
    return reply(PublicKeys(keys=keys))


ROUTES = [
    Route("GET", "/v1/health", health, WATCHERS, "Tell how the service and its campaigns are", {200: Health}),
    Route("GET", "/metrics", metrics, OPERATORS, "Show metrics for Prometheus", {200: Media(("text/plain",))}),
]
