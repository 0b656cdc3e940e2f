"""A restart on a long list: from the start of the process to the first call that is handed to the PBX.

The store is built through the real log, of the events that a day of dialing leaves: contacts imported, and attempts of which
each is reserved, asked for, placed, ringing, ended and disposed of. A snapshot is taken where the service would have taken
its last one, and so many events come after it. The restart is a process of its own; the PBX is up at once, an agent asks for
a contact and dials, and the clock stops when the Originate is handed over.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from engine.app import DIRECTORY, Engine
from engine.campaigns import log_of
from engine.core.agent import DefaultState, Line
from engine.core.book import Book, Event, stream_of
from engine.core.call import CallEnded, CallPlaced, CallRequested, CallRinging
from engine.core.campaign import Create, Mode, Settings, Start
from engine.core.contact import ContactsAdded, NewContact
from engine.core.directory import ContactRefsUsed, Directory, DirectoryEvent, RegisterAgent
from engine.core.directory import stream_of as directory_stream_of
from engine.core.message import Allocate, Dial, Next
from engine.core.outcome import Outcome, Party
from engine.core.personal import Details, Person
from engine.core.reservation import ContactDisposed, ContactReserved, Reservation
from engine.core.telephony import LegReady, OriginateAgent, OriginateContact, PbxUp, TelephonyEffect
from engine.limits import Limits
from engine.ports import ANY, Append, EventLog, MayAct, Sink, always
from engine.recovery import SNAPSHOT, Keys, pack
from engine.refs import SMALL_SHARE, keep_refs
from engine.service import SystemChance, SystemClock
from eventstore import Codec, Store, open_store

REF, AGENT, TRUNK = "bench", "agent0", "main"
CHUNK_CONTACTS = 1_000
APPEND_EVENTS = 2_000
EVENTS_PER_ATTEMPT = 6
MAX_ROUNDS = 10
"""Each start dials with an agent and a contact of its own."""
DAY_MS = 86_400_000


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, each from the start of the process; `resident_mib` once the first call is out."""

    contacts: int
    events: int
    store: str
    imported_s: float
    """The program is loaded."""
    opened_s: float
    """The store is open."""
    started_s: float
    """The logs are read, the PBX is connected."""
    dialled_s: float
    """The first Originate is handed over."""
    cpu_s: float
    """Of the process, from `imported_s` on."""
    resident_mib: float

    @property
    def seconds(self) -> float:
        """From the engine's start to the first dial."""
        return self.dialled_s - self.imported_s


def tail_of(contacts: int) -> int:
    """The most events that the service leaves behind its newest snapshot, when it isn't in a rush."""
    return round(max(Limits().snapshot_every_events, contacts * Limits().snapshot_every_contacts))


def restart(contacts: int, events: int, url: str = "", rounds: int = 3) -> list[Restarted]:
    """Build a store (`url`: an empty PostgreSQL database; SQLite otherwise) and start on it so many times."""
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        where = url or f"sqlite:///{Path(folder) / 'bench.db'}"
        asyncio.run(_build(where, contacts, events, tail_of(contacts)))
        found = []
        for number in range(min(rounds, MAX_ROUNDS)):
            began = time.time()
            said = subprocess.run(
                [sys.executable, "-m", "simulations.bench.restart", where, str(began), str(number)],
                check=True,
                capture_output=True,
                text=True,
            )
            told: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
            found.append(Restarted(contacts=contacts, events=events, store=where.partition(":")[0], **told))
        return found


def show(found: Sequence[Restarted], console: Console) -> None:
    for one in found:
        console.print(
            f"restart, {one.store}: {one.contacts:,} contacts, {one.events:,} events: first dial {one.seconds:.2f} s "
            f"after the start (store open {one.opened_s - one.imported_s:.2f}, logs read {one.started_s - one.opened_s:.2f}, "
            f"dialled {one.dialled_s - one.started_s:.3f}); process {one.dialled_s:.2f} s, CPU {one.cpu_s:.2f} s, "
            f"{one.resident_mib:,.0f} MiB, {one.resident_mib * 1_048_576 / one.contacts:,.0f} B a contact"
        )


# -- what a day leaves --------------------------------------------------------------------------------------------------


def _codec() -> Codec:
    return Codec(Event | DirectoryEvent)


def _engine(store: Store, phone: "Phone") -> Engine:
    # A snapshot is taken when the bench says so.
    return Engine(store, phone, SystemClock(), SystemChance(), Limits(snapshot_every_events=1_000_000_000))


async def _build(url: str, contacts: int, events: int, tail: int) -> None:
    store = await open_store(url, _codec(), owner="bench", lease_ttl_ms=600_000)
    try:
        engine = _engine(store, Phone())
        await engine.start()
        at = engine.clock.now_ms()
        create = Create(at=at, by="bench", ref=REF, name=REF, mode=Mode.PREVIEW, settings=Settings())
        await engine.create(create)
        for number in range(MAX_ROUNDS):
            await engine.register_agent(_agent(at, number))
            await engine.submit(REF, _allocation(at, number))
        await engine.submit(REF, Start(at=at, by="bench"))
        await engine.stop()
        book, directory = engine.campaigns[REF].book, engine.directory
        opened = await store.open_log(DIRECTORY)
        used = _refs(contacts)
        kept = round(contacts / CHUNK_CONTACTS * (1 - SMALL_SHARE))  # as the service has them after a while
        await _write(opened, directory, islice(used, kept), directory_stream_of)
        await keep_refs(store, opened, directory.contacts)
        await _write(opened, directory, used, directory_stream_of)
        await opened.close()
        opened = await store.open_log(log_of(REF))
        await _write(opened, book, _imported(contacts), stream_of, 1)
        happened = _worked(contacts, events)
        await _write(opened, book, islice(happened, max(0, events - tail)), stream_of)
        packed = pack(book.snapshot(), Keys(*store.still_keys(log_of(REF))))
        await store.save_snapshot(SNAPSHOT, log_of(REF), opened.position, packed)
        await opened.keep_versions()
        await _write(opened, book, happened, stream_of)
        await opened.close()
    finally:
        await store.close()


async def _write(
    opened: EventLog, state: Book | Directory, events: Iterator[Any], stream_of: Any, size: int = APPEND_EVENTS
) -> None:
    while some := list(islice(events, size)):
        await opened.append([Append(stream_of(one), ANY, (one,)) for one in some])
        for one in some:
            state.apply(one)


def _refs(contacts: int) -> Iterator[ContactRefsUsed]:
    for first in range(0, contacts, CHUNK_CONTACTS):
        refs = tuple(_ref(place) for place in range(first, min(contacts, first + CHUNK_CONTACTS)))
        yield ContactRefsUsed(at=1, campaign=REF, refs=refs)


def _imported(contacts: int) -> Iterator[ContactsAdded]:
    for first in range(0, contacts, CHUNK_CONTACTS):
        new = tuple(_person(place) for place in range(first, min(contacts, first + CHUNK_CONTACTS)))
        yield ContactsAdded(at=1, rank=first + 1, contacts=new, by="bench")


def _ref(place: int) -> str:
    return f"{REF}:{place}"


def _person(place: int) -> NewContact:
    details = Details(numbers=(f"+3468{place:07}", f"+3491{place:07}"), name=f"Contact Number {place}")
    return NewContact(_ref(place), Person(_ref(place), details))


def _worked(contacts: int, events: int) -> Iterator[Any]:
    """Attempts over the list in order, round after round: nobody answers, and each but the last few is to be
    tried again much later."""
    now = time.time_ns() // 1_000_000
    attempts = events // EVENTS_PER_ATTEMPT
    for number in range(attempts):
        at = now - DAY_MS + DAY_MS * number // attempts
        contact, call, held = _ref(number % (contacts - MAX_ROUNDS)), f"{number:032x}", f"{number:031x}f"
        yield ContactReserved(at=at, reservation=held, token=held, contact=contact, agent=AGENT, expires_at=at + 60_000)
        yield CallRequested(
            at=at + 1,
            call=call,
            contact=contact,
            number=0,
            reservation=held,
            agent=AGENT,
            agent_leg="",
            trunk=TRUNK,
            by_choice=False,
        )
        yield CallPlaced(at=at + 2, call=call, channel=f"PJSIP/main-{number:08x}")
        yield CallRinging(at=at + 3, call=call)
        yield CallEnded(
            at=at + 4,
            call=call,
            contact=contact,
            agent=AGENT,
            number=0,
            outcome=Outcome.NO_ANSWER,
            ended_by=Party.PBX,
            reason="",
            cause=19,
            sip_code=0,
            ring_ms=1,
            talk_ms=0,
        )
        yield ContactDisposed(
            at=at + 5,
            contact=contact,
            reservation=held,
            agent=AGENT,
            call=call,
            disposition="try_later",
            engaged=False,
            final=False,
            due_at=at + 30 * DAY_MS,
        )


def _allocation(at: int, number: int) -> Allocate:
    return Allocate(
        at=at,
        by="bench",
        agent=f"agent{number}",
        phone=f"desk{number}",
        line=Line.ON_DEMAND,
        default_state=DefaultState.AVAILABLE,
        weight=1,
    )


def _agent(at: int, number: int) -> RegisterAgent:
    return RegisterAgent(at=at, by="bench", agent=f"agent{number}", name="Anna", phone=f"desk{number}")


# -- the restart --------------------------------------------------------------------------------------------------------


class Phone:
    """A PBX that is up at once; an agent's phone is answered when it rings."""

    def __init__(self) -> None:
        self.dialled: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._sink: Sink

    async def start(self, sink: Sink, _may_act: MayAct = always) -> None:
        self._sink = sink
        sink(PbxUp(at=0, legs=(), restarted=False))

    def perform(self, effect: TelephonyEffect) -> None:
        now = time.time_ns() // 1_000_000
        if isinstance(effect, OriginateAgent):
            self._sink(LegReady(leg=effect.leg, at=now, channel="PJSIP/desk0-1"))
        elif isinstance(effect, OriginateContact) and not self.dialled.done():
            self.dialled.set_result(time.time())

    async def stop(self) -> None:
        """There is nothing to stop."""


async def _restarted(url: str, began: float, number: int) -> dict[str, float]:
    agent = f"agent{number}"
    imported, before_cpu = time.time(), time.process_time()
    store = await open_store(url, _codec(), owner="bench", lease_ttl_ms=600_000)
    opened = time.time()
    phone = Phone()
    engine = _engine(store, phone)
    await engine.start()
    started = time.time()
    chance, at = engine.chance, engine.clock.now_ms()
    token = chance.new_id()
    held = await engine.submit(REF, Next(at=at, agent=agent, reservation=chance.new_id(), token=token))
    assert isinstance(held, Reservation), held
    await engine.submit(
        REF,
        Dial(
            at=at, agent=agent, reservation=held.id, token=token, number=None, call=chance.new_id(), leg=chance.new_id()
        ),
    )
    dialled = await asyncio.wait_for(phone.dialled, 10)
    used = {"cpu_s": time.process_time() - before_cpu, "resident_mib": _resident_mib()}
    await engine.stop()
    await store.close()
    times = {"imported_s": imported, "opened_s": opened, "started_s": started, "dialled_s": dialled}
    return {name: at - began for name, at in times.items()} | used


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1_048_576


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_restarted(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))))
