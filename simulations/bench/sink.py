"""Receivers of notifications in a process of their own: they answer at once and remember when each request came."""

import asyncio
import sys
import time
from collections import defaultdict

import msgspec
from aiohttp import web


class Sink:
    """`GET /told`: per endpoint, [seq, when it came] of each request; times of the machine's monotonic clock, s."""

    def __init__(self) -> None:
        self.told: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)

    async def take(self, request: web.Request) -> web.Response:
        came_at = time.monotonic()
        self.told[request.match_info["endpoint"]].append((msgspec.json.decode(await request.read())["seq"], came_at))
        return web.Response(status=204)

    async def show(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.told), content_type="application/json")


async def main(port: int) -> None:
    sink, app = Sink(), web.Application()
    app.router.add_post("/to/{endpoint}", sink.take)
    app.router.add_get("/told", sink.show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
