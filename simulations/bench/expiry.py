"""Ten thousand reservations that nobody keeps alive: how far from the agreed moment each is over, durably.

An engine with its log (SQLite) and no PBX: agents are called on demand, and nobody dials. All reservations are live at once
before the first one lapses; their ends are spread as their beginnings were. Beside it stand as many bare timers of the same
loop, set to the same moments.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from engine.app import Engine
from engine.core.agent import DefaultState, Line, Presence
from engine.core.book import Event
from engine.core.campaign import Create, Mode, Settings, Start
from engine.core.directory import DirectoryEvent
from engine.core.message import AddContacts, Allocate, Next
from engine.core.reservation import ContactReleased, Reservation
from engine.limits import Limits
from engine.ports import Recorded
from engine.service import SystemChance, SystemClock
from eventstore import Codec, open_store
from simulations.bench.figure import Figures, Rounds, Say, Scale, quantile
from simulations.bench.history import ADDED_AT_ONCE, REF, person
from simulations.bench.preview import NoTelephony

LEASES = 10_000
TAKEN_AT_ONCE = 100
TAKEN_S = 500
"""So many a second at least are taken: all are live before the first one lapses."""
LEAST_LEASE_S = 4
PATIENCE_S = 120


@asynccontextmanager
async def _engine(folder: Path, leases: int) -> AsyncIterator[Engine]:
    codec = Codec(Event | DirectoryEvent)
    store = await open_store(f"sqlite:///{folder / 'bench.db'}", codec, owner="bench", lease_ttl_ms=10_000)
    engine = Engine(store, NoTelephony(), SystemClock(), SystemChance(), Limits(mailbox_messages=2 * leases))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
        await store.close()


async def _staffed(engine: Engine, leases: int) -> None:
    now = engine.clock.now_ms()
    settings = Settings(reservation_timeout_s=LEAST_LEASE_S + leases // TAKEN_S)
    await engine.create(Create(at=now, by=REF, ref=REF, name=REF, mode=Mode.PREVIEW, settings=settings))
    for first in range(0, leases, ADDED_AT_ONCE):
        people = tuple(person(REF, place) for place in range(first, min(leases, first + ADDED_AT_ONCE)))
        await engine.add_contacts(REF, AddContacts(at=now, by=REF, contacts=people))
    await asyncio.gather(*(engine.submit(REF, _allocation(now, f"agent{place}")) for place in range(leases)))
    await engine.submit(REF, Start(at=now, by=REF))
    book = engine.campaigns[REF].book
    async with asyncio.timeout(PATIENCE_S):
        while not all(one.presence is Presence.PRESENT for one in book.agents.values()):
            await asyncio.sleep(0.01)


def _allocation(at: int, agent: str) -> Allocate:
    return Allocate(
        at=at, by=REF, agent=agent, phone=agent, line=Line.ON_DEMAND, default_state=DefaultState.AVAILABLE, weight=1
    )


async def _next(engine: Engine, agent: str) -> Reservation:
    chance = engine.chance
    ask = Next(at=engine.clock.now_ms(), agent=agent, reservation=chance.new_id(), token=chance.new_id())
    held = await engine.submit(REF, ask)
    assert isinstance(held, Reservation), held
    return held


async def _lapsing(engine: Engine, leases: int) -> tuple[list[float], int]:
    """How late or early each was over, in ms, and how many were live at once."""
    ends: dict[str, int] = {}
    late_ms: list[float] = []
    done = asyncio.Event()

    def follow(_: str, recorded: Sequence[Recorded]) -> None:
        now_ms = time.time() * 1_000
        over = (one.event.reservation for one in recorded if isinstance(one.event, ContactReleased))
        late_ms.extend(abs(now_ms - ends.pop(one)) for one in over if one in ends)
        if len(late_ms) == leases:
            done.set()

    engine.followers.append(follow)
    book, peak = engine.campaigns[REF].book, 0
    for first in range(0, leases, TAKEN_AT_ONCE):
        places = range(first, min(leases, first + TAKEN_AT_ONCE))
        held = await asyncio.gather(*(_next(engine, f"agent{place}") for place in places))
        ends.update((one.id, one.expires_at) for one in held)
        peak = max(peak, len(book.reservations))
        await asyncio.sleep(TAKEN_AT_ONCE / TAKEN_S / 4)
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()
    engine.followers.remove(follow)
    return late_ms, peak


async def _bare(timers: int) -> list[float]:
    """How late bare timers are, in ms, as many and as dense."""
    loop, late_ms, done = asyncio.get_running_loop(), list[float](), asyncio.Event()

    def ring(due: float) -> None:
        late_ms.append((loop.time() - due) * 1_000)
        if len(late_ms) == timers:
            done.set()

    began = loop.time() + 0.5
    for place in range(timers):
        due = began + place / (4 * TAKEN_S)
        loop.call_at(due, ring, due)
    await done.wait()
    return late_ms


async def _round(leases: int) -> tuple[list[float], int, list[float]]:
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        async with _engine(Path(folder), leases) as engine:
            await _staffed(engine, leases)
            late_ms, peak = await _lapsing(engine, leases)
        return late_ms, peak, await _bare(leases)


def measure(scale: Scale, say: Say) -> Figures:
    made, leases = Rounds(), scale.of(LEASES, 200)
    for _ in range(scale.rounds):
        late_ms, peak, bare_ms = asyncio.run(_round(leases))
        made.add("expiry_p50_ms", "error of expiry, p50", "ms", quantile(late_ms, 0.5))
        made.add("expiry_p99_ms", "error of expiry, p99", "ms", quantile(late_ms, 0.99))
        made.add("expiry_bare_p99_ms", "bare timers, p99", "ms", quantile(bare_ms, 0.99))
        made.add("expiry_live", "live at once", "", peak)
        say(made.last("expiry_p50_ms", "expiry_p99_ms", "expiry_bare_p99_ms", "expiry_live"))
    return made.figures
