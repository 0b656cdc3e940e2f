"""External systems: their own ids for campaigns and agents. Contacts and dispositions bear theirs themselves."""

from typing import Annotated, Literal

import msgspec
from aiohttp import web

from api.problem import Problem
from api.route import Call, Ref, Route, reply, roles, taken
from api.token import Role
from engine.core.directory import BindExternalId

KEEPERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.CRM)
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Binding(msgspec.Struct, forbid_unknown_fields=True):
    ref: Ref


class _Address(msgspec.Struct):
    system: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
    kind: Literal["campaign", "agent"]
    id: Name


def _address(call: Call) -> _Address:
    try:
        return msgspec.convert(dict(call.request.match_info), _Address)
    except msgspec.ValidationError as error:
        raise Problem(404, "not-found", str(error)) from None


async def put(call: Call) -> web.Response:
    address = _address(call)
    body = await call.body(Binding)
    if address.kind == "campaign":
        call.named(body.ref)
    elif body.ref not in call.engine.directory.agents:
        raise Problem(404, "unknown-agent", f"there is no agent {body.ref!r}", "ref")
    await call.engine.direct(
        BindExternalId(at=call.at, by=call.by, system=address.system, kind=address.kind, id=address.id, ref=body.ref)
    )
    return reply({"system": address.system, "kind": address.kind, "id": address.id, "ref": body.ref})


async def remove(call: Call) -> web.Response:
    address = _address(call)
    await call.engine.direct(
        BindExternalId(at=call.at, by=call.by, system=address.system, kind=address.kind, id=address.id, ref="")
    )
    return taken(call)


async def listing(call: Call) -> web.Response:
    system = call.request.match_info["system"]
    if call.principal.systems and system not in call.principal.systems:
        raise Problem(403, "forbidden", f"external system {system!r} is not yours")
    rows = [
        {"kind": kind, "id": name, "ref": ref}
        for (owner, kind, name), ref in call.engine.directory.external.items()
        if owner == system
    ]
    return reply({"system": system, "ids": rows})


EXTERNAL = "/v1/external/{system}"
ROUTES = [
    Route("GET", EXTERNAL, listing, READERS),
    Route("PUT", EXTERNAL + "/{kind}/{id}", put, KEEPERS),
    Route("DELETE", EXTERNAL + "/{kind}/{id}", remove, KEEPERS),
]
