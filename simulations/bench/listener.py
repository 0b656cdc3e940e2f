"""A receiver of notifications in a process of its own: it answers at once, counts, and knows when it was told the end.

`GET /`: how many came, and whether the last state of the campaign was that it stopped. Notifications of a campaign come in
their order, so all were told by then.
"""

import asyncio
import sys
from typing import Any

import msgspec
from aiohttp import web


class Listener:
    def __init__(self) -> None:
        self.received = self.requests = 0
        self.stopped = False

    async def take(self, request: web.Request) -> web.Response:
        body: Any = msgspec.json.decode(await request.read())
        told = body if isinstance(body, list) else [body]
        self.requests += 1
        self.received += len(told)
        for one in told:
            if one["type"] == "campaign.status":
                self.stopped = one["data"]["state"] == "stopped"
        return web.Response(status=204)

    async def show(self, _: web.Request) -> web.Response:
        return web.json_response({"received": self.received, "requests": self.requests, "stopped": self.stopped})


async def main(port: int) -> None:
    listener, app = Listener(), web.Application(client_max_size=4 * 1024 * 1024)
    app.router.add_post("/", listener.take)
    app.router.add_get("/", listener.show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
