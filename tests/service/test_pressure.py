"""More asked at once than the service lets in: whoever is refused is told when to come again, and nothing else happens."""

import asyncio
import time
from pathlib import Path

import aiohttp

from api.token import Role
from simulations.bench.http import Answer, Load
from simulations.bench.pressure import CAMPAIGN, Requests
from simulations.engine_process import EngineProcess
from simulations.pbx import SimulatedPbx

AT_ONCE = 400
LET_IN = 20


def taken(answers: list[Answer]) -> list[Answer]:
    return [one for one in answers if 200 <= one.status < 300]


async def test_a_crowd_is_refused_in_words_and_whoever_was_let_in_is_in_the_log(
    pbx: SimulatedPbx, tmp_path: Path
) -> None:
    http = {"max_requests": LET_IN, "requests_per_second": 0, "max_in_flight": 0}
    ami = {"port": pbx.port, "username": pbx.username, "secret": pbx.secret}
    engine = EngineProcess(tmp_path, {"http": http, "ami": ami})
    await engine.start()
    try:
        async with aiohttp.ClientSession() as session, Load.on(engine.port) as load:
            admin = engine.client(session, Role.ADMINISTRATOR, "admin")
            await admin.call("PUT", f"/v1/campaigns/{CAMPAIGN}", {"name": "Pressure", "mode": "preview"})
            requests = Requests(engine.port, engine.token(Role.ADMINISTRATOR, "admin"))

            async def ask() -> Answer:
                return await load.ask(requests(), time.monotonic())

            async def watch() -> int:
                async with session.get(f"{engine.base}/v1/health", headers=watcher) as answer:
                    return answer.status

            watcher = {"Authorization": f"Bearer {engine.token(Role.ADMINISTRATOR, 'watcher')}"}
            crowd, health = await asyncio.gather(asyncio.gather(*(ask() for _ in range(AT_ONCE))), watch())
            assert health == 200  # who watches is let in, however many there are
            refused = [one for one in crowd if one.status == 503]
            assert refused
            assert len(refused) + len(taken(crowd)) == AT_ONCE, [one.status for one in crowd]
            assert all(one.has_retry_after and b"/problems/overloaded" in one.body for one in refused)
            # the crowd is gone: everybody is taken again, by itself
            after = [await ask() for _ in range(LET_IN)]
            assert len(taken(after)) == LET_IN
            shown = await admin.call("GET", f"/v1/campaigns/{CAMPAIGN}")
            assert sum(shown["contacts"].values()) == len(taken(crowd)) + LET_IN
    finally:
        await engine.stop()
