"""Do-not-call lists: one for all campaigns, one for each."""

from itertools import islice
from typing import Annotated

import msgspec
from aiohttp import web

from api import moment, view
from api.campaign import number_of
from api.problem import Problem, invalid
from api.route import Call, Route, reply, roles
from api.token import Role
from engine.core.directory import ListNumbers, UnlistNumbers
from engine.core.standing import EVERYWHERE, line_of, list_of

KEEPERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM)
CHUNK_NUMBERS = 1_000
MAX_NUMBERS = 100_000


class Listing(msgspec.Struct, forbid_unknown_fields=True):
    numbers: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_NUMBERS)]
    until: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class Unlisting(msgspec.Struct, forbid_unknown_fields=True):
    numbers: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_NUMBERS)]


def _list(call: Call) -> str:
    if "ref" in call.request.match_info:
        ref, _ = call.campaign()
        return list_of(ref)
    if call.principal.campaigns:
        raise Problem(403, "forbidden", "the list for all campaigns is not for a token that names some")
    return EVERYWHERE


async def put(call: Call) -> web.Response:
    name = _list(call)
    body = await call.body(Listing)
    until = moment.epoch_ms(body.until, "until") if body.until is not None else 0
    if body.until is not None and until <= call.at:
        raise invalid("until", "is in the past")
    numbers = [number_of(text, f"numbers[{index}]") for index, text in enumerate(body.numbers)]
    rest, listed = iter(numbers), 0
    while chunk := tuple(islice(rest, CHUNK_NUMBERS)):
        command = ListNumbers(at=call.at, by=call.by, list=name, numbers=chunk, until=until)
        listed += await call.engine.direct(command)
    return reply({"listed": listed, "known": len(numbers) - listed, **_state(call, name)})


async def remove(call: Call) -> web.Response:
    name = _list(call)
    body = await call.body(Unlisting)
    numbers = [number_of(text, f"numbers[{index}]") for index, text in enumerate(body.numbers)]
    rest, removed = iter(numbers), 0
    while chunk := tuple(islice(rest, CHUNK_NUMBERS)):
        removed += await call.engine.direct(UnlistNumbers(at=call.at, by=call.by, list=name, numbers=chunk))
    return reply({"removed": removed, **_state(call, name)})


async def show(call: Call) -> web.Response:
    """How many numbers a list has; with `?number=` whether it has that one."""
    name = _list(call)
    number = call.request.query.get("number")
    if number is None:
        return reply(_state(call, name))
    line = line_of(number_of(number, "number"))
    until = call.engine.claims.standing.lists.get(name, {}).get(line)
    listed = until is not None and (until == 0 or call.at < until)
    return reply({"listed": listed, "until": view.time(until or 0), **_state(call, name)})


def _state(call: Call, name: str) -> dict[str, int]:
    standing = call.engine.claims.standing
    return {"numbers": len(standing.lists.get(name, {})), "version": standing.versions.get(name, 0)}


ROUTES = [
    Route(method, path, handler, who)
    for path in ("/v1/dnc", "/v1/campaigns/{ref}/dnc")
    for method, handler, who in (("POST", put, KEEPERS), ("DELETE", remove, KEEPERS), ("GET", show, READERS))
]
