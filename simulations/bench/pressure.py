"""Twice the load that the service can sustain, over HTTP: what becomes of latency, who is refused and how, what is lost.

The service is a process of its own, as its users run it; the limits of single tokens are off, for what is looked at is the
service's own. Each request adds one contact, durable before it is answered. First as many clients as keep it busy tell what it
can do; then twice that is asked of it, whatever becomes of it; then half. In the end the list is compared with the answers.
"""

import asyncio
import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec

from api.token import Role
from simulations.bench.dialer import simulated_pbx
from simulations.bench.figure import Figures, Rounds, Say, Scale, quantile
from simulations.bench.http import Answer, Load
from simulations.engine_process import EngineProcess

CAMPAIGN = "pressure"
CLIENTS = 64
TIMES = 2.0
CALM_SHARE = 0.5
RECOVERED_WITHIN_S = 30.0
WINDOW_S = 1.0
ROUND_S = 6.0


class Pressed(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of each phase; what the list has of what was taken; when, after the load fell, all was well again."""

    sustainable_s: float
    calm: list[Answer]
    pressed: list[Answer]
    pressed_s: float
    recovered_s: float
    taken: int
    lost: int
    unknown: int


class Requests:
    """Each adds one contact of its own; which were taken is known by their answers."""

    def __init__(self, port: int, token: str) -> None:
        self._head = (
            f"POST /v1/campaigns/{CAMPAIGN}/contacts HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\n"
        )
        self._numbers = itertools.count()

    def __call__(self) -> bytes:
        number = next(self._numbers)
        body = json.dumps([{"ref": f"p:{number}", "numbers": [f"6{number:08}"], "name": f"Person {number}"}])
        return f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def pressed(folder: Path, seconds: float, http: dict[str, int] | None = None) -> Pressed:
    """`http`: settings of the service beside its defaults."""
    async with simulated_pbx(1.0) as pbx:
        engine = EngineProcess(
            folder,
            {
                "http": {"requests_per_second": 0, "max_in_flight": 0, **(http or {})},
                "ami": {"port": pbx.port, "username": pbx.username, "secret": pbx.secret},
            },
        )
        await engine.start()
        try:
            return await _pressed(engine, seconds)
        finally:
            await engine.stop()


async def _pressed(engine: EngineProcess, seconds: float) -> Pressed:
    async with aiohttp.ClientSession() as session, Load.on(engine.port) as load:
        admin = engine.client(session, Role.ADMINISTRATOR, "bench")
        await admin.call("PUT", f"/v1/campaigns/{CAMPAIGN}", {"name": "Pressure", "mode": "preview"})
        requests = Requests(engine.port, engine.token(Role.ADMINISTRATOR, "bench"))
        every = await load.closed_loop(CLIENTS, seconds / 2, requests)
        sustainable_s = len(_taken(every)) / (seconds / 2)
        calm = await load.open_loop(CALM_SHARE * sustainable_s, seconds / 2, requests)
        began = time.monotonic()
        pressed = await load.open_loop(TIMES * sustainable_s, seconds, requests)
        pressed_s = time.monotonic() - began
        recovered_s, after = await _recovered(load, requests, CALM_SHARE * sustainable_s, calm)
        answers = [*every, *calm, *pressed, *after]
        shown = await admin.call("GET", f"/v1/campaigns/{CAMPAIGN}")
        taken, unknown = len(_taken(answers)), sum(not one.status for one in answers)
        return Pressed(
            sustainable_s=sustainable_s,
            calm=calm,
            pressed=pressed,
            pressed_s=pressed_s,
            recovered_s=recovered_s,
            taken=taken,
            lost=max(0, taken - sum(shown["contacts"].values())),
            unknown=unknown,
        )


async def _recovered(
    load: Load, requests: Callable[[], bytes], rate_s: float, calm: Sequence[Answer]
) -> tuple[float, list[Answer]]:
    """Seconds until a window in which all was taken, nearly as fast as before; and all answers until then."""
    began, after = time.monotonic(), list[Answer]()
    usual_s = quantile([one.took_s for one in calm], 0.99)
    while time.monotonic() - began < RECOVERED_WITHIN_S:
        at = time.monotonic() - began
        window = await load.open_loop(rate_s, WINDOW_S, requests)
        after += window
        if len(_taken(window)) == len(window) and quantile([one.took_s for one in window], 0.99) < 3 * usual_s:
            return at, after
    return RECOVERED_WITHIN_S, after


def _taken(answers: Sequence[Answer]) -> list[Answer]:
    return [one for one in answers if 200 <= one.status < 300]


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        one = asyncio.run(pressed(Path(folder), max(scale.seconds, ROUND_S * scale.share)))
    taken = [each.took_s * 1_000 for each in _taken(one.pressed)]
    refused = [each for each in one.pressed if each.status == 503]
    others = Counter(each.status for each in one.pressed if each.status != 503 and not 200 <= each.status < 300)
    say(f"asked twice as much: {len(taken)} taken, {len(refused)} refused, others by status {dict(others)}")
    made.add("pressure_sustainable_s", "requests taken a second, 64 clients", "/s", one.sustainable_s)
    made.add(
        "pressure_calm_p99_ms", "at half of that, p99", "ms", quantile([each.took_s for each in one.calm], 0.99) * 1_000
    )
    made.add("pressure_taken_s", "at twice that, taken a second", "/s", len(taken) / one.pressed_s)
    made.add("pressure_p50_ms", "at twice that, p50 of those taken", "ms", quantile(taken, 0.5))
    made.add("pressure_p99_ms", "at twice that, p99 of those taken", "ms", quantile(taken, 0.99))
    made.add("pressure_refused_share", "at twice that, refused by 503", "", len(refused) / len(one.pressed))
    told = sum(each.has_retry_after for each in refused) / len(refused) if refused else 1.0
    made.add("pressure_retry_after_share", "refusals that say when to come again", "", told)
    made.add("pressure_other_answers", "neither taken nor 503", "", others.total())
    made.add("pressure_lost", "taken and not in the list", "", one.lost)
    made.add("pressure_recovered_s", "until all is well again", "s", one.recovered_s)
    return made.figures
