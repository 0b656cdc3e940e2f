"""Complete call attempts a second through the whole engine against the simulated PBX.

The PBX runs in a process of its own; its far ends answer, talk for a moment, and hang up. Here run the engine, its SQLite
log with every event durable, the AMI connection and the feed; agents are coroutines that ask, dial, and dispose without
thinking.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from config.settings import Ami, Dialing, Http, Settings, Store, Tokens
from engine.core.agent import DefaultState, Line
from engine.core.call import CallEnded
from engine.core.campaign import Create, Disposition, Mode, Start, Status, Stop
from engine.core.campaign import Settings as CampaignSettings
from engine.core.contact import NewContact
from engine.core.message import AddContacts, Allocate, Dial, Dispose, Next, NoContact
from engine.core.personal import Details, Person
from engine.ports import Recorded
from engine.service import Service
from simulations.engine_process import free_port

AGENTS = 100
CONTACTS = 20_000
REF = "bench"
TIME_SCALE = 0.02
"""Against life: the far ends ring 4 ms and talk 20."""


async def attempts(seconds: float) -> tuple[float, float]:
    """(attempts a second, attempts per CPU-second of the engine's process)."""
    port = free_port()
    pbx = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulations", "pbx", "--port", str(port), "--seed", "1"),
        *("--time-scale", str(TIME_SCALE)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
            return await _run(Path(folder), port, seconds)
    finally:
        pbx.terminate()
        await pbx.wait()


async def _run(folder: Path, port: int, seconds: float) -> tuple[float, float]:
    service = Service(
        Settings(
            http=Http(port=free_port()),
            store=Store(url=f"sqlite:///{folder / 'bench.db'}"),
            ami=Ami(port=port, username="ringfold", secret="ringfold", max_originates_per_second=100_000),  # noqa: S106
            dialing=Dialing(max_calls_in_setup=AGENTS),
            tokens=Tokens(key_file=str(folder / "tokens.key")),
        )
    )
    await service.start()
    ended: dict[str, asyncio.Future[None]] = {}

    def follow(_: str, recorded: list[Recorded]) -> None:
        for one in recorded:
            if isinstance(one.event, CallEnded) and one.event.call in ended:
                ended.pop(one.event.call).set_result(None)

    service.engine.followers.append(follow)  # type: ignore[arg-type]  # a list is a sequence
    try:
        await _prepare(service)
        started, cpu = time.perf_counter(), _cpu_s()
        until = started + seconds
        counts = await asyncio.gather(*(_agent(service, f"agent{n}", until, ended) for n in range(1, AGENTS + 1)))
        elapsed, used = time.perf_counter() - started, _cpu_s() - cpu
        await service.engine.submit(REF, Stop(at=_now(service), by="bench"))
        return sum(counts) / elapsed, sum(counts) / used
    finally:
        await service.stop()


async def _prepare(service: Service) -> None:
    engine = service.engine
    settings = CampaignSettings(
        dispositions=(Disposition(code="again", final=False),), max_lines=AGENTS, stop_when_completed=False
    )
    create = Create(at=_now(service), by="bench", ref=REF, name=REF, mode=Mode.PREVIEW, settings=settings)
    await engine.create(create)
    people = tuple(
        NewContact(f"{REF}:{n}", Person(f"{REF}:{n}", Details(numbers=(f"6{n:07}",)))) for n in range(CONTACTS)
    )
    await engine.add_contacts(REF, AddContacts(at=_now(service), by="bench", contacts=people))
    for n in range(1, AGENTS + 1):
        name = f"agent{n}"
        await engine.submit(
            REF,
            Allocate(
                at=_now(service),
                by="bench",
                agent=name,
                phone=name,
                line=Line.NAILED,
                default_state=DefaultState.AVAILABLE,
                weight=1,
            ),
        )
    while not engine.claims.pbx_up:
        await asyncio.sleep(0.01)
    await engine.submit(REF, Start(at=_now(service), by="bench"))
    while engine.campaigns[REF].book.campaign.status is not Status.RUNNING:
        await asyncio.sleep(0.01)


async def _agent(service: Service, name: str, until: float, ended: dict[str, asyncio.Future[None]]) -> int:
    engine, chance, count = service.engine, service.engine.chance, 0
    while time.perf_counter() < until:
        now = _now(service)
        held = await engine.submit(REF, Next(at=now, agent=name, reservation=chance.new_id(), token=chance.new_id()))
        if isinstance(held, NoContact):
            await asyncio.sleep(0.01)
            continue
        call = chance.new_id()
        over = ended[call] = asyncio.get_running_loop().create_future()
        dial = Dial(
            at=now, agent=name, reservation=held.id, token=held.token, number=None, call=call, leg=chance.new_id()
        )
        await engine.submit(REF, dial)
        await over
        count += 1
        dispose = Dispose(at=_now(service), agent=name, reservation=held.id, token=held.token, disposition="again")
        await engine.submit(REF, dispose)
    return count


def _now(service: Service) -> int:
    return service.engine.clock.now_ms()


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system
