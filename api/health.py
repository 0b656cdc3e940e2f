"""What an operator's probes ask, and the keys by which others may check our tokens."""

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from api.problem import RETRY_AFTER_S
from api.route import Call, Media, Route, reply, roles
from api.token import Role

OPERATORS = roles(Role.ADMINISTRATOR)
EVERYBODY = frozenset(Role)


class Live(msgspec.Struct, kw_only=True):
    live: bool
    draining: bool


class Ready(msgspec.Struct, kw_only=True):
    ready: bool
    missing: list[str]


class PublicKey(msgspec.Struct, kw_only=True):
    """`key` is a PASERK."""

    kid: str
    key: str
    status: str


class PublicKeys(msgspec.Struct, kw_only=True):
    keys: list[PublicKey]


async def live(call: Call) -> web.Response:
    """The process answers, and its loop turns."""
    return reply(Live(live=True, draining=call.engine.draining))


async def ready(call: Call) -> web.Response:
    """200 when commands are taken and the PBX is connected; else 503 with what is missing."""
    engine = call.engine
    missing = [] if engine.claims.pbx_up else [f"pbx: {engine.pbx_reason}"]
    if engine.draining:
        missing.append("draining")
    missing += [f"campaign {ref}: {one.actor.lost}" for ref, one in engine.campaigns.items() if one.actor.lost]
    if missing:
        return reply(Ready(ready=False, missing=missing), 503, {"Retry-After": str(RETRY_AFTER_S)})
    return reply(Ready(ready=True, missing=[]))


async def metrics(call: Call) -> web.Response:
    engine = call.engine
    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(f"ringfold_{name}", text, registry=registry).set(value)

    running = list(engine.campaigns.values())
    gauge("pbx_up", "1 while the PBX is connected", engine.claims.pbx_up)
    gauge("campaigns", "campaigns that are not deleted", len(running))
    gauge("live_calls", "calls that have not ended", sum(len(one.book.live) for one in running))
    gauge("calls_in_setup", "calls asked for and not answered", len(engine.claims.in_setup))
    gauge("agents_present", "agents who are not absent", sum(len(one.book.attending) for one in running))
    gauge("mailbox_messages", "messages waiting to be decided on", sum(one.actor.waiting for one in running))
    gauge("log_events", "events in all campaigns' logs", sum(one.actor.log.position for one in running))
    gauge("feed_notifications", "notifications in the feed", call.service.feed.position)
    gauge("event_streams", "event streams and long polls open", call.service.streams)
    lag = sum(lane.behind for name in engine.directory.webhooks for lane in call.service.feed.lanes(name))
    gauge("webhook_lag_notifications", "notifications not yet delivered, all webhooks", lag)
    return web.Response(body=generate_latest(registry), content_type="text/plain", charset="utf-8")


async def paseto_keys(call: Call) -> web.Response:
    keys = call.service.keys
    return reply(PublicKeys(keys=[PublicKey(kid=keys.kid, key=keys.paserk, status="signing")]))


ROUTES = [
    Route("GET", "/livez", live, EVERYBODY, "Tell that the process is alive", {200: Live}),
    Route(
        "GET",
        "/readyz",
        ready,
        EVERYBODY,
        "Tell whether commands are taken",
        {200: Ready, 503: Ready},
    ),
    Route("GET", "/metrics", metrics, OPERATORS, "Show metrics for Prometheus", {200: Media(("text/plain",))}),
    Route(
        "GET",
        "/.well-known/paseto-keys",
        paseto_keys,
        EVERYBODY,
        "List the keys by which tokens are checked",
        {200: PublicKeys},
    ),
]
