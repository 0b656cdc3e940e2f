"""Whole preview calls a second on a real Asterisk: through the engine, and by a bare loop that does the same call flow.

Two SIP legs a call, sipp at both ends. Agents' legs stay up, as the product keeps them; a contact's rings, answers, is joined
and hung up. Both drive the same PBX in turns with as many agents, enough that Asterisk takes what CPU there is: the ratio is
what the engine costs the PBX that it shares the machine with.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from simulations.asterisk import Installation, Site, install
from simulations.bench.bare import Bare
from simulations.bench.dialer import Crowd, Dialer, Pbx, cpu_s
from simulations.bench.figure import Figures, Rounds, Say, Scale

AGENTS = 60
CONTACTS = 10_000
ROUND_S = 10.0
KEYS = ("asterisk_calls_s", "asterisk_bare_calls_s", "asterisk_ratio", "asterisk_pbx_cpu_ms", "asterisk_engine_cpu_ms")
SETTLE_S = 2.0
"""Between two rounds, for channels to go and sipp to forget."""


class Driven(NamedTuple):
    """Whole calls a second, and the CPU that one took of this process and of the PBX."""

    calls_s: float
    own_ms: float
    pbx_ms: float


class Meter:
    """From its making on."""

    def __init__(self, pbx_pid: int) -> None:
        self._pid, self._began = pbx_pid, time.perf_counter()
        self._own_s, self._pbx_s = cpu_s(), _used_s(pbx_pid)

    def read(self, calls: int) -> Driven:
        elapsed = time.perf_counter() - self._began
        own_s, pbx_s = cpu_s() - self._own_s, _used_s(self._pid) - self._pbx_s
        return Driven(calls / elapsed, own_s / calls * 1_000, pbx_s / calls * 1_000)


async def _bare(pbx: Pbx, pid: int, agents: int, seconds: float) -> Driven:
    async with Bare.connected(pbx) as bare, bare.agents(agents) as legs:
        meter = Meter(pid)
        return meter.read(await bare.work([one.channel for one in legs], seconds))


async def _engine(pbx: Pbx, pid: int, crowd: Crowd, seconds: float) -> tuple[Driven, int]:
    """With how many agents' legs the PBX dropped meanwhile."""
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        async with Dialer.running(Path(folder), pbx, crowd) as dialer:
            meter = Meter(pid)
            driven = meter.read((await dialer.work(seconds, hangs_up=True)).joined)
            await dialer.stop()
            return driven, dialer.phones_lost


async def _measured(installation: Installation, scale: Scale, say: Say) -> Figures:
    made, agents, seconds = Rounds(), scale.of(AGENTS, 4), max(scale.seconds, ROUND_S * scale.share)
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        async with Site(Path(folder), agents=agents, installation=installation) as site:
            asterisk = site.asterisk
            pbx = Pbx(port=asterisk.ami_port, username=asterisk.username, secret=asterisk.secret, trunk=asterisk.trunk)
            crowd = Crowd(agents=agents, contacts=scale.of(CONTACTS, 50))
            for _ in range(scale.rounds):
                bare = await _bare(pbx, asterisk.pid, agents, seconds)
                await asyncio.sleep(SETTLE_S)
                engine, lost = await _engine(pbx, asterisk.pid, crowd, seconds)
                await asyncio.sleep(SETTLE_S)
                made.add("asterisk_calls_s", "the engine", "calls/s", engine.calls_s)
                made.add("asterisk_bare_calls_s", "a bare loop", "calls/s", bare.calls_s)
                made.ratio("asterisk_ratio", "the engine ÷ a bare loop", "asterisk_calls_s", "asterisk_bare_calls_s")
                made.add("asterisk_engine_cpu_ms", "the engine's CPU a call", "ms", engine.own_ms)
                made.add("asterisk_bare_cpu_ms", "the bare loop's CPU a call", "ms", bare.own_ms)
                made.add("asterisk_pbx_cpu_ms", "Asterisk's CPU a call", "ms", engine.pbx_ms)
                made.add("asterisk_bare_pbx_cpu_ms", "Asterisk's CPU a call of the bare loop's", "ms", bare.pbx_ms)
                made.add("asterisk_phones_lost", "agents' legs that Asterisk dropped meanwhile", "", lost)
                say(made.last(*KEYS))
    return made.figures


def _used_s(pid: int) -> float:
    """CPU that a process has used so far; its clock ticks a hundred times a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(scale: Scale, say: Say) -> Figures:
    return asyncio.run(_measured(install(say), scale, say))
