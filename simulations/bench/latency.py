"""How late the engine is at 200 attempts a second: from a dial that is due to its Originate on the wire, and from the word
that a contact answered to the bridge action.

Dials are due at random moments that don't wait for the engine: a late one is late from the moment that it was due. Both times
are taken on the wire by a tap between the engine and the simulated PBX. Beside it a bare loop is dialled through the same tap
at the same moments: what sockets, the tap and two processors with four processes on them cost.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.core.reservation import Reservation
from simulations.bench.bare import Bare
from simulations.bench.dialer import PATIENCE_S, Crowd, Dialer, Pbx, simulated_pbx
from simulations.bench.figure import Figures, Rounds, Say, Scale, quantile
from simulations.bench.tap import Seen
from simulations.engine_process import free_port

ATTEMPTS_S = 200
TIME_SCALE = 0.1
"""Against life: far ends ring 20 ms and talk 100."""
AGENTS = 80
CONTACTS = 10_000
ROUND_S = 10.0

Dialled = dict[str, float]
"""When each leg's dial was due, monotonic s."""


class Late(NamedTuple):
    """In ms, each; and how many dials were due. Who isn't joined has hung up first, and isn't in `bridge`."""

    dial: list[float]
    bridge: list[float]
    due: int


class _Tapped(NamedTuple):
    pbx: Pbx
    process: asyncio.subprocess.Process
    file: Path

    async def seen(self) -> dict[str, Seen]:
        """What went by; the tap ends."""
        self.process.terminate()
        await self.process.wait()
        return msgspec.json.decode(self.file.read_bytes(), type=dict[str, Seen])


@asynccontextmanager
async def _tapped(folder: Path) -> AsyncIterator[_Tapped]:
    async with simulated_pbx(TIME_SCALE) as pbx:
        port, file = free_port(), folder / "tap.json"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simulations.bench.tap", str(port), str(pbx.port), str(file)),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE_S):
                await process.stdout.readline()
            yield _Tapped(msgspec.structs.replace(pbx, port=port), process, file)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _open_loop(seconds: float, rate_s: float, due: Callable[[float], Coroutine[None, None, None]]) -> None:
    """Start `due(when)` at random moments, so many a second, whether or not those before are done; wait for all."""
    chance, at = random.Random(7), time.monotonic()
    until = at + seconds
    async with asyncio.TaskGroup() as group:
        while (at := at + chance.expovariate(rate_s)) < until:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            group.create_task(due(at))


async def _engine(tapped: _Tapped, folder: Path, crowd: Crowd, seconds: float, rate_s: float) -> Dialled:
    dialled: Dialled = {}
    async with Dialer.running(folder, tapped.pbx, crowd) as dialer:
        ready: asyncio.Queue[Reservation] = asyncio.Queue()

        async def prepare(name: str) -> None:
            ready.put_nowait(await dialer.take(name))

        async def due(at: float) -> None:
            held = await ready.get()
            call = await dialer.dial(held, stays=False)
            dialled[call] = at
            await dialer.ended(call)
            await dialer.dispose(held)
            await prepare(held.agent)

        await asyncio.gather(*(prepare(name) for name in dialer.names))
        await _open_loop(seconds, rate_s, due)
        await dialer.stop()
    return dialled


async def _bare(tapped: _Tapped, agents: int, seconds: float, rate_s: float) -> Dialled:
    dialled: Dialled = {}
    async with Bare.connected(tapped.pbx) as bare, bare.agents(agents) as legs:
        free: asyncio.Queue[str] = asyncio.Queue()
        for one in legs:
            free.put_nowait(one.channel)

        async def due(at: float) -> None:
            channel, leg = await free.get(), f"{len(dialled):032x}"
            dialled[leg] = at
            await bare.call(f"6{len(dialled):07}", channel, hangs_up=False, leg=leg)
            free.put_nowait(channel)

        await _open_loop(seconds, rate_s, due)
    return dialled


def fsyncs_ms(folder: Path, seconds: float) -> list[float]:
    """How long the disk takes for 4 KiB to be durable, again and again: a dial waits for one, and so does a bridge."""
    took: list[float] = []
    until = time.monotonic() + seconds
    with (folder / "fsync").open("wb", buffering=0) as file:
        while time.monotonic() < until:
            began = time.monotonic()
            file.write(b"x" * 4_096)
            os.fsync(file.fileno())
            took.append((time.monotonic() - began) * 1_000)
    return took


def _late(dialled: Dialled, seen: dict[str, Seen]) -> Late:
    calls = [(at, seen[leg]) for leg, at in dialled.items() if leg in seen]
    return Late(
        [(one.originate - at) * 1_000 for at, one in calls if one.originate],
        [(one.bridge - one.ready) * 1_000 for _, one in calls if one.ready and one.bridge],
        len(dialled),
    )


async def _round(scale: Scale, *, is_bare: bool) -> Late:
    seconds, rate_s = max(scale.seconds, ROUND_S * scale.share), max(20.0, ATTEMPTS_S * min(1.0, scale.share))
    crowd = Crowd(agents=scale.of(AGENTS, 20), contacts=scale.of(CONTACTS, 200))
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as name:
        folder = Path(name)
        async with _tapped(folder) as tapped:
            if is_bare:
                dialled = await _bare(tapped, crowd.agents, seconds, rate_s)
            else:
                dialled = await _engine(tapped, folder, crowd, seconds, rate_s)
            return _late(dialled, await tapped.seen())


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    for _ in range(scale.rounds):
        for who, is_bare in (("", False), ("bare_", True)):
            late = asyncio.run(_round(scale, is_bare=is_bare))
            made.add(f"latency_{who}dialled_share", "dials that went out", "", len(late.dial) / max(1, late.due))
            made.add(f"latency_{who}joined_share", "dials that were joined", "", len(late.bridge) / max(1, late.due))
            whose = "a bare loop's" if is_bare else "the engine's"
            for key, name, values in (
                ("due_to_originate", "dial due → Originate out", late.dial),
                ("answer_to_bridge", "answer in → bridge out", late.bridge),
            ):
                for share, percent in ((0.5, "p50"), (0.99, "p99")):
                    made.add(f"{key}_{who}{percent}_ms", f"{name}, {whose} {percent}", "ms", quantile(values, share))
        with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
            took = fsyncs_ms(Path(folder), min(1.0, scale.seconds))
        for share, percent in ((0.5, "p50"), (0.99, "p99")):
            made.add(f"fsync_{percent}_ms", f"4 KiB durable, {percent}", "ms", quantile(took, share))
        say(made.last("due_to_originate_p50_ms", "due_to_originate_p99_ms", "due_to_originate_bare_p99_ms"))
        say(made.last("answer_to_bridge_p50_ms", "answer_to_bridge_p99_ms", "answer_to_bridge_bare_p99_ms"))
    return made.figures
