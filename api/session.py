"""Sessions: for a browser's page, which should hold no token that lasts. Opened with a token, ended when the page is left."""

from typing import Annotated

import msgspec
from aiohttp import web

from api import view
from api.problem import Problem
from api.route import EVERYBODY, Call, Route, reply
from api.token.ring import MAX_SESSION_S
from engine.core.revocation import RevokeToken

USUAL_S = 3_600


class Opening(msgspec.Struct, forbid_unknown_fields=True):
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_SESSION_S)] = USUAL_S
    """It ends with the token at the latest."""


class Session(msgspec.Struct, kw_only=True):
    """`token` goes where tokens go; only the service can read it."""

    token: str
    expires_at: view.Time | None


async def open_session(call: Call) -> web.Response:
    body = await call.body(Opening)
    if call.principal.session_of:
        raise Problem(403, "forbidden", "a session opens no other: use the token")
    token, opened = call.service.keys.open_session(call.principal, body.ttl_s)
    return reply(Session(token=token, expires_at=view.time(opened.expires_at)), 201)


async def end(call: Call) -> web.Response:
    """The session that asks. Its token, and the token's other sessions, go on."""
    who = call.principal
    if not who.session_of:
        raise Problem(403, "forbidden", "this is a token and no session: an administrator revokes it")
    await call.engine.direct(RevokeToken(at=call.at, by=call.by, jti=who.jti, expires_at=who.expires_at))
    return web.Response(status=204)


ROUTES = [
    Route("POST", "/v1/sessions", open_session, EVERYBODY, "Open a session", {201: Session}, Opening),
    Route(
        "DELETE",
        "/v1/sessions/current",
        end,
        EVERYBODY,
        "End the session that asks",
        {204: None},
        problems=("too-many-revoked",),
    ),
]
