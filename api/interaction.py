"""What the customer's CRM was told of a call by the service: each interaction, how often it was tried, and what came of it."""

import msgspec
from aiohttp import web

from api import view
from api.call import found
from api.route import EVERYBODY, Call, Route, reply


class InteractionShown(msgspec.Struct, kw_only=True):
    """One thing that the CRM was to be told. `http_status` is null where no answer came."""

    trigger: str
    status: str
    attempts: int
    http_status: int | None
    last_error: str | None
    at: view.Time | None
    retry_at: view.Time | None


class Interactions(msgspec.Struct, kw_only=True):
    call: str
    interactions: list[InteractionShown]


async def of_call(call: Call) -> web.Response:
    _, _, name = found(call)
    rows = [
        InteractionShown(**{**one, "at": view.time(one["at"]), "retry_at": view.time(one["retry_at"])})
        for one in call.service.crm.of_call(name)
    ]
    return reply(Interactions(call=name, interactions=rows))


ROUTES = [
    Route(
        "GET",
        "/v1/calls/{call}/interactions",
        of_call,
        EVERYBODY,
        "List what the CRM was told of a call",
        {200: Interactions},
        problems=("unknown-call",),
    )
]
