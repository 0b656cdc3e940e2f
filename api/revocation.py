"""Tokens taken back before their end: one, or whatever somebody had been given."""

from typing import Annotated

import msgspec
from aiohttp import web

from api import cursor, view
from api.problem import Problem, invalid
from api.route import Call, Pages, Route, reply, roles
from api.token import Role
from engine.core.revocation import RevocationEvent, RevokeSubject, RevokeToken, TokenRevoked

KEEPERS = roles(Role.ADMINISTRATOR)


class Revoking(msgspec.Struct, forbid_unknown_fields=True):
    """One of the two: a token's `jti`, as the audit's lines name it, or a subject: all that it was given until now."""

    jti: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None = None
    subject: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.@-]{1,64}$(?!\n)")] | None = None


class Revoked(msgspec.Struct, kw_only=True):
    """`jti` or `subject` is null."""

    jti: str | None
    subject: str | None
    at: view.Time | None
    by: str


class AllRevoked(msgspec.Struct, kw_only=True):
    revoked: list[Revoked]
    """Those under which tokens may still live, the newest first."""
    next: view.Next
    as_of: view.DirectoryPosition


async def revoke(call: Call) -> web.Response:
    """From the next request on, and of streams that are open with the next notification or heartbeat. Answers with the list's
    first page."""
    _unbound(call)
    body = await call.body(Revoking)
    match body.jti, body.subject:
        case str(jti), None:
            await call.engine.direct(RevokeToken(at=call.at, by=call.by, jti=jti))
        case None, str(subject):
            await call.engine.direct(RevokeSubject(at=call.at, by=call.by, subject=subject))
        case _:
            raise invalid("jti", "either a jti or a subject is expected")
    return _listed(call, "")


async def show(call: Call) -> web.Response:
    """The newest first."""
    _unbound(call)
    return _listed(call, call.after())


def _listed(call: Call, after: str) -> web.Response:
    engine = call.engine
    rows, following = cursor.page(engine.directory.revoked, _place, after, call.limit(), newest_first=True)
    # A cursor is of its list's address, whichever way the list was asked for.
    next_ = None if following is None else cursor.written(REVOKED, following)
    return reply(AllRevoked(revoked=[_shown(one) for one in rows], next=next_, as_of=engine.directory_position))


def _place(one: RevocationEvent) -> str:
    return cursor.moment(one.at, one.jti if isinstance(one, TokenRevoked) else f"~{one.subject}")


def _shown(one: RevocationEvent) -> Revoked:
    if isinstance(one, TokenRevoked):
        return Revoked(jti=one.jti, subject=None, at=view.time(one.at), by=one.by)
    return Revoked(jti=None, subject=one.subject, at=view.time(one.at), by=one.by)


def _unbound(call: Call) -> None:
    """Tokens aren't of campaigns, agents or systems: one that is bound to some has no say in the others'."""
    who = call.principal
    if who.campaigns or who.agents or who.systems:
        raise Problem(403, "forbidden", "a token that is bound to campaigns, agents or systems can't revoke others")


REVOKED = "/v1/tokens/revoked"
ROUTES = [
    Route("GET", REVOKED, show, KEEPERS, "List what is revoked", {200: AllRevoked}, query=Pages),
    Route(
        "POST",
        "/v1/tokens/revoke",
        revoke,
        KEEPERS,
        "Revoke a token, or all of a subject",
        {200: AllRevoked},
        Revoking,
        problems=("too-many-revoked",),
    ),
]
