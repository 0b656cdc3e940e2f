"""Preview dialing on a long list: one campaign of up to a million contacts, a thousand agents, its log on SQLite.

What is timed is the whole way through the engine: the decision, the durable commit, the answer. The agents have no
telephones (they are called on demand, and nobody dials). Stalls are how much later than asked a task of the same loop
comes to its turn. The restart is measured in a process of its own, whose memory has seen nothing else.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from engine.app import Engine
from engine.campaigns import log_of
from engine.core.agent import DefaultState, Line, Presence
from engine.core.book import Event
from engine.core.campaign import Create, Mode, Modify, Preassignment, Settings, Start, Status
from engine.core.contact import NewContact
from engine.core.directory import DirectoryEvent
from engine.core.message import AddContacts, Allocate, Next, Release
from engine.core.personal import Details, Person
from engine.core.reservation import ContactReleased, Reservation
from engine.core.telephony import PbxUp, TelephonyEffect
from engine.limits import Limits
from engine.ports import MayAct, Recorded, Sink, always
from engine.recovery import SNAPSHOT
from engine.service import SystemChance, SystemClock
from eventstore import Codec, Store, open_store

REF, LAPSING = "bench", "lapsing"
CHUNK_CONTACTS = 1_000
STEADY_CLAIMS_S = 150
"""Ten times what a thousand agents ask for on a working day."""
BURSTS = 5
MANY_LEASES = 10_000
LEASES_TAKEN_S = 700
"""How many leases the bench takes a second at least: all of them are live at once before the first one lapses."""
PATIENCE_S = 600.0


class NoTelephony:
    """A PBX on which nothing is ever dialled."""

    async def start(self, sink: Sink, _may_act: MayAct = always) -> None:
        sink(PbxUp(at=0, legs=(), restarted=False))

    def perform(self, effect: TelephonyEffect) -> None:
        """Nobody listens."""

    async def stop(self) -> None:
        """There is nothing to stop."""


class Stalls:
    """How late the loop is, asked every millisecond."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []

    async def watch(self) -> None:
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(0.001)
            self.late_ms.append((time.perf_counter() - asked) * 1_000 - 1)


@asynccontextmanager
async def watched() -> AsyncIterator[Stalls]:
    stalls = Stalls()
    task = asyncio.create_task(stalls.watch(), name="stalls")
    await asyncio.sleep(0.01)
    stalls.late_ms.clear()
    try:
        yield stalls
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def preview(contacts: int, agents: int, leases: int = MANY_LEASES, *, whole: bool = True) -> dict[str, float]:
    """All figures by name; the unit is the last word of the name. Not `whole`: of the list and its claims alone."""
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        figures = asyncio.run(_live(url, contacts, agents, leases, whole=whole))
        if not whole:
            return figures
        # As a process of its own: what this one had in memory says nothing about what a restart needs.
        said = subprocess.run(
            [sys.executable, "-m", "simulations.bench.preview", url], check=True, capture_output=True, text=True
        )
    restarted: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return figures | restarted


# -- one life of the engine -------------------------------------------------------------------------------------------


async def _engine(url: str, limits: Limits) -> tuple[Engine, Store]:
    store = await open_store(url, Codec(Event | DirectoryEvent), owner="bench", lease_ttl_ms=10_000)
    return Engine(store, NoTelephony(), SystemClock(), SystemChance(), limits), store


async def _live(url: str, contacts: int, agents: int, leases: int, *, whole: bool) -> dict[str, float]:
    engine, store = await _engine(url, Limits(mailbox_messages=2 * leases, snapshot_every_events=1_000_000_000))
    await engine.start()
    try:
        await _create(engine, REF)
        figures = await _load(engine, contacts)
        await _staff(engine, REF, agents)
        figures |= await _claims(engine, agents)
        if whole:
            figures |= await _expiry(engine, leases)
            figures |= await _split(engine, agents)
            figures |= await _snapshot(engine, store)
    finally:
        await engine.stop()
        await store.close()
    return figures


async def _create(engine: Engine, ref: str, lease_s: int = 3_600) -> None:
    settings = Settings(reservation_timeout_s=lease_s)
    create = Create(at=_now(engine), by="bench", ref=ref, name=ref, mode=Mode.PREVIEW, settings=settings)
    await engine.create(create)


async def _load(engine: Engine, count: int) -> dict[str, float]:
    before_kb = _resident_kb()
    started = time.perf_counter()
    async with watched() as stalls:
        for first in range(0, count, CHUNK_CONTACTS):
            chunk = tuple(_person(REF, place) for place in range(first, min(count, first + CHUNK_CONTACTS)))
            await engine.add_contacts(REF, AddContacts(at=_now(engine), by="bench", contacts=chunk))
    elapsed = time.perf_counter() - started
    used = (_resident_kb() - before_kb) * 1_024
    sizes = _sizes(engine)
    return {
        "preview_added_contacts/s": count / elapsed,
        "preview_adding_stall_max_ms": max(stalls.late_ms),
        "preview_memory_whole_process_B/contact": used / count,
        "preview_memory_directory_B/contact": sizes["directory"] / count,
        "preview_memory_keys_B/contact": sizes["keys"] / count,
        "preview_memory_contacts_B/contact": (used - sizes["directory"] - sizes["keys"]) / count,
    }


def _person(ref: str, place: int) -> NewContact:
    details = Details(numbers=(f"+3468{place:07}", f"+3491{place:07}"), name=f"Contact Number {place}")
    name = f"{ref}:{place}"
    return NewContact(name, Person(name, details))


def _sizes(engine: Engine) -> dict[str, int]:
    """What others than the book keep of every contact: tables and keys; the refs themselves are counted as the book's."""
    tables = {"directory": engine.directory.contacts.still().buckets, "keys": engine.store.still_keys(log_of(REF))[0]}
    return {
        name: sys.getsizeof(buckets) + sum(sys.getsizeof(one) + 15 & ~15 for one in buckets)
        for name, buckets in tables.items()
    }


async def _staff(engine: Engine, ref: str, agents: int, start: int = 0) -> None:
    for place in range(start, start + agents):
        await engine.submit(ref, _allocation(engine, place))
    await engine.submit(ref, Start(at=_now(engine), by="bench"))
    book = engine.campaigns[ref].book
    await _until(lambda: all(one.presence is Presence.PRESENT for one in book.agents.values()))
    assert book.campaign.status is Status.RUNNING


def _allocation(engine: Engine, place: int) -> Allocate:
    return Allocate(
        at=_now(engine),
        by="bench",
        agent=f"agent{place}",
        phone=f"desk{place}",
        line=Line.ON_DEMAND,
        default_state=DefaultState.AVAILABLE,
        weight=1,
    )


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.002)


async def _next(engine: Engine, ref: str, place: int) -> Reservation:
    chance = engine.chance
    ask = Next(at=_now(engine), agent=f"agent{place}", reservation=chance.new_id(), token=chance.new_id())
    held = await engine.submit(ref, ask)
    assert isinstance(held, Reservation), held
    return held


async def _release(engine: Engine, ref: str, held: Reservation) -> None:
    release = Release(
        at=_now(engine), by="bench", agent=held.agent, reservation=held.id, token=held.token, reason="bench"
    )
    await engine.submit(ref, release)


async def _claims(engine: Engine, agents: int) -> dict[str, float]:
    """Claims at an even pace, each let go again; then all agents at once, as when a shift begins."""
    took_ms: list[float] = []

    async def one(place: int) -> None:
        started = time.perf_counter()
        held = await _next(engine, REF, place)
        took_ms.append((time.perf_counter() - started) * 1_000)
        await _release(engine, REF, held)

    count = max(100, min(agents, 10 * STEADY_CLAIMS_S))
    async with asyncio.TaskGroup() as group:
        for place in range(count):
            group.create_task(one(place % agents))
            await asyncio.sleep(1 / STEADY_CLAIMS_S)
    bursts_ms: list[float] = []
    for _ in range(BURSTS):
        started = time.perf_counter()
        held = await asyncio.gather(*(_next(engine, REF, place) for place in range(agents)))
        bursts_ms.append((time.perf_counter() - started) * 1_000)
        assert len({each.contact for each in held}) == agents
        await asyncio.gather(*(_release(engine, REF, each) for each in held))
    return {
        "preview_next_p50_ms": statistics.median(took_ms),
        "preview_next_p99_ms": _p99(took_ms),
        "preview_burst_of_all_agents_median_ms": statistics.median(bursts_ms),
        "preview_burst_of_all_agents_max_ms": max(bursts_ms),
    }


async def _expiry(engine: Engine, leases: int) -> dict[str, float]:
    """How much later than agreed a lease is over, durably: as many at once, their ends spread over seconds."""
    await _create(engine, LAPSING, 5 + leases // LEASES_TAKEN_S)
    for first in range(0, leases, CHUNK_CONTACTS):
        chunk = tuple(_person(LAPSING, place) for place in range(first, min(leases, first + CHUNK_CONTACTS)))
        await engine.add_contacts(LAPSING, AddContacts(at=_now(engine), by="bench", contacts=chunk))
    await _staff(engine, LAPSING, leases, start=leases)
    ends: dict[str, int] = {}
    late_ms: list[float] = []

    def follow(_: str, recorded: Sequence[Recorded]) -> None:
        now_ms = time.time() * 1_000
        over = (one.event.reservation for one in recorded if isinstance(one.event, ContactReleased))
        late_ms.extend(abs(now_ms - ends.pop(one)) for one in over if one in ends)

    engine.followers.append(follow)
    book = engine.campaigns[LAPSING].book
    peak = 0
    for first in range(0, leases, 100):
        held = await asyncio.gather(
            *(_next(engine, LAPSING, leases + place) for place in range(first, min(leases, first + 100)))
        )
        ends.update((one.id, one.expires_at) for one in held)
        peak = max(peak, len(book.reservations))
        await asyncio.sleep(0.05)
    await _until(lambda: len(late_ms) == leases)
    engine.followers.remove(follow)
    return {
        "preview_live_leases_peak": peak,
        "preview_expiry_error_p50_ms": statistics.median(late_ms),
        "preview_expiry_error_p99_ms": _p99(late_ms),
    }


async def _split(engine: Engine, agents: int) -> dict[str, float]:
    """All contacts split over all agents; then one more agent comes."""
    book = engine.campaigns[REF].book

    def settled(count: int) -> Callable[[], bool]:
        least = len(book.contacts) // count
        return lambda: all(book.contacts.dealt.get(f"agent{place}", 0) >= least for place in range(count))

    started = time.perf_counter()
    async with watched() as stalls:
        patch = {"preassignment": Preassignment.PROPORTIONAL}
        await engine.submit(REF, Modify(at=_now(engine), by="bench", settings=patch))
        await _until(settled(agents))
    figures = {
        "preview_split_s": time.perf_counter() - started,
        "preview_split_stall_p99_ms": _p99(stalls.late_ms),
        "preview_split_stall_max_ms": max(stalls.late_ms),
    }
    started = time.perf_counter()
    async with watched() as stalls:
        await engine.submit(REF, _allocation(engine, agents))
        await _until(settled(agents + 1))
    return figures | {
        "preview_rebalance_ms": (time.perf_counter() - started) * 1_000,
        "preview_rebalance_stall_max_ms": max(stalls.late_ms),
    }


async def _snapshot(engine: Engine, store: Store) -> dict[str, float]:
    running = engine.campaigns[REF]
    engine.limits.snapshot_every_events, engine.limits.snapshot_every_contacts = 1, 0
    started = time.perf_counter()
    async with watched() as stalls:
        held = await _next(engine, REF, 0)
        engine.limits.snapshot_every_events = 1_000_000_000
        while (await store.segments.newest_snapshot(SNAPSHOT, log_of(REF)) or 0) < running.snapshots.pos:
            await asyncio.sleep(1)
    elapsed = time.perf_counter() - started
    await _release(engine, REF, held)
    return {
        "preview_snapshot_s": elapsed,
        "preview_snapshot_stall_p99_ms": _p99(stalls.late_ms),
        "preview_snapshot_stall_max_ms": max(stalls.late_ms),
    }


async def _restart(url: str) -> dict[str, float]:
    before_kb = _resident_kb()
    started = time.perf_counter()
    engine, store = await _engine(url, Limits(snapshot_every_events=1_000_000_000))
    try:
        async with watched() as stalls:
            await engine.start()
        elapsed = time.perf_counter() - started
        book = engine.campaigns[REF].book
        used = (_resident_kb() - before_kb) * 1_024
        return {
            "preview_restart_s": elapsed,
            "preview_restart_stall_max_ms": max(stalls.late_ms),
            "preview_memory_after_restart_B/contact": used / len(book.contacts),
        }
    finally:
        await engine.stop()
        await store.close()


# -- what is measured by ------------------------------------------------------------------------------------------------


def _now(engine: Engine) -> int:
    return engine.clock.now_ms()


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def _resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_restart(sys.argv[1]))))
