"""The HTTP surface, put together: one middleware from the token to the answer, one table of routes.

Who asks is settled before anything else: a stranger isn't even told which addresses there are.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from api import (
    agent,
    call,
    campaign,
    click,
    disposition,
    dnc,
    event,
    explain,
    export,
    external,
    health,
    imports,
    interaction,
    person,
    recording,
    retention,
    revocation,
    session,
    successor,
    webhook,
)
from api.audit import Refusals
from api.broadcast import Broadcast
from api.edition import EDITS, Turns, must_hold, tag, unless_known
from api.openapi import is_keyed
from api.origin import let_in
from api.problem import Problem, of_refusal
from api.public import OpenRoute, open_routes
from api.rate import Buckets, Flights, Throng
from api.repeat import HEADER, Repeats
from api.route import Call, Crm, HttpLimits, Imports, Route, Service, all_routes
from api.route import Handler as RouteHandler
from api.token import KeyRing, Principal, TokenRefused
from engine.actor import NotOwner
from engine.app import Engine
from engine.core.measure import Measures
from engine.core.refusal import Refused
from engine.core.retention import Retention
from engine.erasure import Erasures
from engine.ports import Feed, StoreUnavailable
from engine.trace import INVALID_SPAN, Span, SpanKind, spanned, told_by, trace_id_of

ROUTES = all_routes(
    campaign.ROUTES,
    export.ROUTES,
    imports.ROUTES,
    agent.ROUTES,
    call.ROUTES,
    click.ROUTES,
    disposition.ROUTES,
    dnc.ROUTES,
    external.ROUTES,
    explain.ROUTES,
    successor.ROUTES,
    recording.ROUTES,
    retention.ROUTES,
    person.ROUTES,
    interaction.ROUTES,
    event.ROUTES,
    webhook.ROUTES,
    revocation.ROUTES,
    session.ROUTES,
    health.ROUTES,
)
PRINCIPAL = web.RequestKey("principal", Principal)
SHARE: web.RequestKey[dict[str, str]] = web.RequestKey("share", dict)
"""The headers that tell what is left of the token's share."""
REASON = web.RequestKey("reason", str)
"""Why a token was refused: for the audit alone."""
FORESEEN = (Problem, Refused, NotOwner, StoreUnavailable, web.HTTPException)
MAX_FIELD_BYTES, MAX_LINE_BYTES = 16_384, 32_768
"""Of a header, and of the line with the address: every parameter at its longest fits, whatever it is written in."""
OPEN_PATHS = frozenset(
    {"/livez", "/healthz", "/readyz", "/.well-known/paseto-keys", "/openapi.json", "/docs", "/problems/{code}"}
)
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"})
STREAMING = frozenset({"/v1/events", "/v1/calls/{call}/events"})
UNTRACED = OPEN_PATHS | STREAMING | {"/metrics", "/v1/health"}
ALWAYS_LET_IN = UNTRACED
"""However many requests are under way: who watches must see it, and streams have a bound of their own."""
IMPORT_ID = "{import:[^{}/.]+}"
"""Beside imports there are templates, whose names have a dot."""
AUDITED = frozenset({401, 403, 429})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger(__name__)


def make_app(
    engine: Engine,
    feed: Feed,
    keys: KeyRing,
    limits: HttpLimits,
    trunks: frozenset[str],
    crm: Crm,
    importer: Imports,
    recordings: Path | None = None,
    kept: Retention = Retention(),  # noqa: B008 - frozen
    erasures: Erasures | None = None,
) -> web.Application:
    """`recordings`: the folder from which recordings are served, if there is one. `kept`: what is cleaned, and when."""
    service = Service(
        engine=engine,
        feed=feed,
        broadcast=Broadcast(feed),
        keys=keys,
        limits=limits,
        trunks=trunks,
        crm=crm,
        imports=importer,
        recordings=recordings,
        retention=kept,
        erasures=erasures or Erasures(engine, lambda _: False),
    )
    refusals = Refusals()
    app = web.Application(
        middlewares=[_answers(service, refusals, Throng(limits.max_requests))],
        client_max_size=limits.max_body_bytes,
        handler_args={"max_field_size": MAX_FIELD_BYTES, "max_line_size": MAX_LINE_BYTES},
    )
    app.on_cleanup.append(refusals.close)
    app.on_response_prepare.append(_headers(limits.origins))
    app.on_shutdown.append(_ending(service))
    buckets, repeats, turns = Buckets(limits.rate), Repeats(engine.store, engine.clock), Turns()
    flights = Flights(limits.max_in_flight)
    shown = {route.path: route.handler for route in ROUTES if route.method == "GET"}
    known = open_routes(ROUTES, feed.catalogue)
    for one in known:
        for method in ("GET", "HEAD"):
            app.router.add_route(method, one.path, _told(service, one))
    for route in ROUTES:
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            asked = _bound(service, _conditional(route, shown.get(route.path), turns), buckets, repeats, flights)
            app.router.add_route(method, route.path.replace("{import}", IMPORT_ID), asked)
    return app


def _headers(origins: frozenset[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add(request: web.Request, response: web.StreamResponse) -> None:
        """Answers carry people's data: nobody on the way keeps them, and nobody takes them for a page."""
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Server"] = "ringfold"
        response.headers.update(request.get(SHARE, {}))
        let_in(origins, request, response)

    return add


def _ending(service: Service) -> Callable[[web.Application], Awaitable[None]]:
    async def end(_: web.Application) -> None:
        service.stopping.set()
        service.broadcast.close()

    return end


def _conditional(route: Route, show: RouteHandler | None, turns: Turns) -> Route:
    """The route with its conditions: If-None-Match on what is shown, If-Match on what is edited."""

    async def shown(call: Call) -> web.StreamResponse:
        answer = await route.handler(call)
        tag(answer)
        return unless_known(call.request, answer)

    async def edited(call: Call) -> web.StreamResponse:
        await call.raw()  # whoever sends slowly keeps nobody waiting
        async with turns.of(call.request.path):
            await must_hold(call.request, show and partial(show, call))
            answer = await route.handler(call)
        if route.method == "PUT":
            tag(answer)
        return answer

    if route.method == "GET":
        return route._replace(handler=shown)
    return route._replace(handler=edited) if route.method in EDITS else route


def _bound(service: Service, route: Route, buckets: Buckets, repeats: Repeats, flights: Flights) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = request[PRINCIPAL]
        if principal.role not in route.roles:
            raise Problem(403, "forbidden", f"the role {principal.role} may not do this")
        standing = buckets.take(principal.share, service.engine.clock.now_ms())
        if standing is not None:
            request[SHARE] = standing.headers(buckets.rate)
            if not standing.passes:
                detail = f"this token may ask {buckets.rate.per_s} times a second in the long run"
                raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(standing.retry_after_s)})
        call = Call(service, principal, request)
        call.query(route.query)
        with flights.of(principal.share):
            if HEADER in request.headers and is_keyed(route):
                who = f"{principal.role}:{principal.subject}"
                return await repeats.once(request, who, await call.raw(), lambda: route.handler(call))
            return await route.handler(call)

    return handle


def _told(service: Service, route: OpenRoute) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handler(service, request)

    return handle


def _allowed(request: web.Request) -> set[str]:
    """The methods of an address; none where there is no such address."""
    found = request.match_info.http_exception
    return set(found.allowed_methods) if isinstance(found, web.HTTPMethodNotAllowed) else set()


def _is_open(request: web.Request) -> bool:
    """Whether the address is for everybody."""
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in OPEN_PATHS


def _principal(service: Service, request: web.Request) -> Principal:
    """Who asks. One answer for whatever is wrong, so that nothing is learned by trying."""
    header = request.headers.get("Authorization", "")
    try:
        if not header and request.path == event.EVENTS and "ticket" in request.query and request.method == "GET":
            return _with_ticket(service, request)
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":  # a scheme has no case
            raise TokenRefused("no bearer token")
        principal = service.keys.verify(token.lstrip(" "))
        if principal.is_under(service.engine.directory.revoked):
            raise TokenRefused("revoked")
    except TokenRefused as refused:
        service.engine.measures.refused_tokens[str(refused)] += 1
        request[REASON] = str(refused)
        raise Problem(
            401, "unauthenticated", "a valid token is needed", headers={"WWW-Authenticate": 'Bearer realm="ringfold"'}
        ) from None
    return principal


def _with_ticket(service: Service, request: web.Request) -> Principal:
    """Whoever asked for the ticket, for one stream. Raises TokenRefused."""
    now = service.engine.clock.now_ms()
    used = service.tickets.use(request.query["ticket"], now)
    revoked = service.engine.directory.revoked
    if used is None or used.principal.expires_at <= now or used.principal.is_under(revoked):
        raise TokenRefused("no such ticket")
    request[event.TICKET] = used
    return used.principal


def _answers(service: Service, refusals: Refusals, throng: Throng) -> Middleware:
    """Whatever happens becomes a problem with a trace id; only what nobody foresaw is logged with its traceback."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = time.perf_counter(), 500
        try:
            with _traced(request) as span:
                trace_id = trace_id_of(span) or secrets.token_hex(16)
                response = await _answer(request, handler, trace_id)
                span.set_attribute("http.response.status_code", response.status)
            status = response.status
            return response
        finally:
            _measure(service.engine.measures, request, status, time.perf_counter() - began)

    async def _answer(request: web.Request, handler: Handler, trace_id: str) -> web.StreamResponse:
        try:
            if request.method == "OPTIONS" and (allowed := _allowed(request)):
                return web.Response(status=204, headers={"Allow": ", ".join(sorted({*allowed, "OPTIONS"}))})
            with nullcontext() if _route_of(request) in ALWAYS_LET_IN else throng.joined():
                if not _is_open(request):
                    request[PRINCIPAL] = _principal(service, request)
                return await handler(request)
        except FORESEEN as error:
            problem = _problem_of(error, request)
            if problem.status in AUDITED:
                who, route = request.get(PRINCIPAL), _route_of(request)
                service.engine.measures.refusals[who.role if who else "", route, problem.code] += 1
                refusals.note(request, who, route, problem, request.get(REASON) or problem.detail, trace_id)
            return problem.response(trace_id)
        except Exception:
            log.exception("unforeseen", trace_id=trace_id, method=request.method, path=request.path)
            detail = "something failed here; the operator's log knows the trace_id"
            return Problem(500, "internal", detail).response(trace_id)

    return answer


def _traced(request: web.Request) -> AbstractContextManager[Span]:
    """Not probes and scrapes, which would drown the rest, nor streams, which last as long as the client likes."""
    route = _route_of(request)
    if route in UNTRACED:
        return nullcontext(INVALID_SPAN)
    method = request.method if request.method in METHODS else "other"
    tags = {"http.request.method": method, "http.route": route}
    return spanned(f"{method} {route}", tags, SpanKind.SERVER, told_by(request.headers))


def _measure(measures: Measures, request: web.Request, status: int, took_s: float) -> None:
    route = _route_of(request)
    method = request.method if request.method in METHODS else "other"
    measures.answers[method, route, status] += 1
    if route not in STREAMING:  # those last as long as the client likes
        measures.requests[method, route].add(took_s)


def _route_of(request: web.Request) -> str:
    """By which things are measured, never by address: what is asked for must not make the list of measures grow."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _problem_of(error: Exception, request: web.Request) -> Problem:
    match error:
        case Problem():
            return error
        case Refused():
            return of_refusal(error, request.method)
        case web.HTTPNotFound():
            return Problem(404, "not-found", f"there is nothing at {request.path[:200]!r}")
        case web.HTTPMethodNotAllowed():
            allow = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
            return Problem(
                405, "method-not-allowed", f"{request.method} is not one of {allow}", headers={"Allow": allow}
            )
        case web.HTTPException():
            return Problem(error.status, "bad-request", error.reason)
        case _:
            return Problem(503, "unavailable", str(error))


__all__ = ["ROUTES", "HttpLimits", "make_app"]
