"""External systems: their own ids for campaigns and agents. Contacts and dispositions bear theirs themselves."""

from typing import Literal, TypeVar

import msgspec
from aiohttp import web

from api import cursor, view
from api.agent import may_know
from api.click import Name, System
from api.edition import edition_of
from api.problem import Problem
from api.route import Accepted, Call, Pages, Ref, Route, check_text, reply, roles, taken
from api.token import Role
from engine.core.directory import BindExternalId

T = TypeVar("T")
KEEPERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.CRM)


class Binding(msgspec.Struct, forbid_unknown_fields=True):
    ref: Ref


class Bound(msgspec.Struct, kw_only=True):
    system: str
    kind: str
    id: str
    ref: str
    as_of: view.DirectoryPosition


class BoundId(msgspec.Struct, kw_only=True):
    kind: str
    id: str
    ref: str


class BoundIds(msgspec.Struct, kw_only=True):
    system: str
    ids: list[BoundId]
    next: view.Next
    as_of: view.DirectoryPosition


class _Owner(msgspec.Struct):
    system: System


class _Address(_Owner):
    kind: Literal["campaign", "agent"]
    id: Name


def _address(call: Call) -> _Address:
    check_text(call.request.match_info["id"], "id", "id")
    return _parts(call, _Address)


def _parts(call: Call, type_: type[T]) -> T:
    """Of the path; one of the wrong form names nothing."""
    try:
        return msgspec.convert(dict(call.request.match_info), type_)
    except msgspec.ValidationError as error:
        raise Problem(404, "not-found", str(error)) from None


def _known(call: Call, kind: str, ref: str) -> bool:
    """Whether the principal may know what an id is bound to. What is gone, or bound to nothing, is nobody's."""
    if kind == "agent":
        return ref not in call.engine.directory.agents or may_know(call, ref)
    return call.may_see(ref, call.engine.campaigns.get(ref)) or not (ref and call.principal.campaigns)


def _own(call: Call, kind: str, ref: str) -> None:
    if not _known(call, kind, ref):
        raise Problem(403, "forbidden", f"{kind} {ref!r} is not yours", "ref")


def _own_system(call: Call, system: str) -> None:
    if call.principal.systems and system not in call.principal.systems:
        raise Problem(403, "forbidden", f"external system {system!r} is not yours")


async def put(call: Call) -> web.Response:
    address = _address(call)
    body = await call.body(Binding)
    if address.kind == "agent" and body.ref not in call.engine.directory.agents:
        raise Problem(404, "unknown-agent", f"there is no agent {body.ref!r}", "ref")
    if address.kind == "campaign":
        call.named(body.ref)
    _own(call, address.kind, body.ref)
    await call.engine.direct(
        BindExternalId(at=call.at, by=call.by, system=address.system, kind=address.kind, id=address.id, ref=body.ref)
    )
    return _bound(call, address, body.ref)


async def show(call: Call) -> web.Response:
    address = _address(call)
    _own_system(call, address.system)
    ref = call.engine.directory.external.get((address.system, address.kind, address.id))
    if ref is None or not _known(call, address.kind, ref):  # another's is none either
        raise Problem(404, "unknown-external-id", f"{address.kind} {address.id!r} is bound to nothing")
    return _bound(call, address, ref)


def _bound(call: Call, address: _Address, ref: str) -> web.Response:
    as_of = call.engine.directory_position
    shown = Bound(system=address.system, kind=address.kind, id=address.id, ref=ref, as_of=as_of)
    return reply(shown, edition=edition_of(ref))


async def remove(call: Call) -> web.Response:
    address = _address(call)
    _own(call, address.kind, call.engine.directory.external.get((address.system, address.kind, address.id), ""))
    await call.engine.direct(
        BindExternalId(at=call.at, by=call.by, system=address.system, kind=address.kind, id=address.id, ref="")
    )
    return taken(call)


async def listing(call: Call) -> web.Response:
    """In the order of kinds and ids."""
    system = _parts(call, _Owner).system
    _own_system(call, system)
    rows = (
        BoundId(kind=kind, id=name, ref=ref)
        for (owner, kind, name), ref in call.engine.directory.external.items()
        if owner == system and _known(call, kind, ref)
    )
    shown, following = cursor.page(rows, lambda one: f"{one.kind}/{one.id}", call.after(), call.limit())
    as_of = call.engine.directory_position
    return reply(BoundIds(system=system, ids=shown, next=call.cursor(following), as_of=as_of))


EXTERNAL = "/v1/external/{system}"
ROUTES = [
    Route("GET", EXTERNAL, listing, READERS, "List an external system's ids", {200: BoundIds}, query=Pages),
    Route(
        "GET",
        EXTERNAL + "/{kind}/{id}",
        show,
        READERS,
        "Show what an external id is bound to",
        {200: Bound},
        problems=("unknown-external-id",),
    ),
    Route(
        "PUT",
        EXTERNAL + "/{kind}/{id}",
        put,
        KEEPERS,
        "Bind an external id",
        {200: Bound},
        Binding,
        problems=("unknown-campaign", "unknown-agent", "external-id-used"),
    ),
    Route("DELETE", EXTERNAL + "/{kind}/{id}", remove, KEEPERS, "Unbind an external id", {202: Accepted}),
]
