"""What the customer's CRM was told of a call by the service: each interaction, how often it was tried, and what came of it."""

from aiohttp import web

from api import view
from api.call import READERS, found
from api.route import Call, Route, reply


async def of_call(call: Call) -> web.Response:
    _, _, name = found(call)
    rows = [
        {**one, "at": view.time(one["at"]), "retry_at": view.time(one["retry_at"])}
        for one in call.service.crm.of_call(name)
    ]
    return reply({"call": name, "interactions": rows})


ROUTES = [Route("GET", "/v1/calls/{call}/interactions", of_call, READERS)]
