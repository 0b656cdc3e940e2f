"""The HTTP surface, put together: one middleware from the token to the answer, one table of routes."""

import secrets
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from api import agent, call, campaign, event, health, webhook
from api.problem import RETRY_AFTER_S, Problem, of_refusal
from api.route import Call, HttpLimits, Route, Service, all_routes
from api.token import KeyRing, Principal, TokenRefused
from engine.actor import NotOwner
from engine.app import Engine
from engine.core.refusal import Refused
from engine.ports import Feed, StoreUnavailable

ROUTES = all_routes(campaign.ROUTES, agent.ROUTES, call.ROUTES, event.ROUTES, webhook.ROUTES, health.ROUTES)
log = structlog.get_logger(__name__)


def make_app(engine: Engine, feed: Feed, keys: KeyRing, limits: HttpLimits, trunks: frozenset[str]) -> web.Application:
    service = Service(engine=engine, feed=feed, keys=keys, limits=limits, trunks=trunks)
    app = web.Application(
        middlewares=[answers], client_max_size=limits.max_body_bytes, handler_args={"max_field_size": 16_384}
    )
    app.on_response_prepare.append(_headers)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _bound(service, route))
    return app


async def _headers(_: web.Request, response: web.StreamResponse) -> None:
    """Answers carry people's data: nobody on the way keeps them, and nobody takes them for a page."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "ringfold"


def _bound(service: Service, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = _principal(service, request)
        if principal.role not in route.roles:
            log.warning("forbidden", role=principal.role, subject=principal.subject, path=request.path)
            raise Problem(403, "forbidden", f"the role {principal.role} may not do this")
        return await route.handler(Call(service, principal, request))

    return handle


def _principal(service: Service, request: web.Request) -> Principal:
    """Who asks. One answer for whatever is wrong, so that nothing is learned by trying."""
    header = request.headers.get("Authorization", "")
    try:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":  # a scheme has no case
            raise TokenRefused("no bearer token")
        principal = service.keys.verify(token.strip())
        if principal.jti in service.engine.directory.revoked:
            raise TokenRefused("revoked")
    except TokenRefused as refused:
        log.info("token refused", reason=str(refused), path=request.path)
        raise Problem(
            401, "unauthenticated", "a valid token is needed", headers={"WWW-Authenticate": 'Bearer realm="ringfold"'}
        ) from None
    return principal


@web.middleware
async def answers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever happens becomes a problem with a trace id; only what nobody foresaw is logged with its traceback."""
    trace_id = secrets.token_hex(8)
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response(trace_id)
    except Refused as refused:
        return of_refusal(refused, request.method).response(trace_id)
    except (NotOwner, StoreUnavailable) as lost:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return Problem(503, "unavailable", str(lost), headers=headers).response(trace_id)
    except web.HTTPNotFound:
        return Problem(404, "not-found", f"there is nothing at {request.path[:200]}").response(trace_id)
    except web.HTTPMethodNotAllowed as error:
        allow = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not one of {allow}"
        return Problem(405, "method-not-allowed", detail, headers={"Allow": allow}).response(trace_id)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("unforeseen", trace_id=trace_id, method=request.method, path=request.path)
        return Problem(500, "internal", "something failed here; the operator's log knows the trace_id").response(
            trace_id
        )


__all__ = ["ROUTES", "HttpLimits", "make_app"]
