"""A house in which notifications live: campaigns that write events, a directory of webhooks, a notifier that can be killed."""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from adapters.notify import Notifier, NotifyLimits
from adapters.notify.pace import REAL, Pace
from engine.core.agent import AgentAllocated, AgentStatus, AgentStatusChanged, DefaultState, Line, PhoneCalled
from engine.core.book import Book, Event, stream_of
from engine.core.call import CallConnected, CallEnded, CallPlaced, CallRequested
from engine.core.campaign import CampaignCreated, Mode, Settings
from engine.core.contact import ContactsAdded, NewContact
from engine.core.outcome import Outcome, Party
from engine.core.personal import Details, Person
from engine.core.reservation import ContactDisposed, ContactReserved
from engine.core.webhook import WebhookPut
from engine.ports import Notification, Recorded
from tests.adapters.notify.store import Shelf

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATIENCE_S = 15
START_MS = 1_800_000_000_000
QUICK = NotifyLimits(
    retry_delays_ms=(0, 5, 10, 20),
    request_timeout_ms=300,
    save_every_ms=20,
    stop_grace_ms=300,
    sweep_ms=60_000,
)


class Clock:
    def __init__(self) -> None:
        self.put_by_ms = 0
        """Somebody put the clock on the wall forward, or back."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.put_by_ms


class VirtualClock(Clock):
    """Time that stands still but for pauses: the one that ends first is jumped to, once the loop has nothing else to do."""

    QUIET_S = 0.15

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes = lanes
        """How many may pause at the same time: when all do, nothing else is to be waited for."""
        self.now = START_MS
        self._pauses: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self.now

    async def pause(self, pause_ms: int) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._pauses, (self.now + pause_ms, next(self._order), over))
        await over

    async def pass_until(self, at_ms: int) -> None:
        """Let time go on to a moment (epoch ms)."""
        while await self._something_pauses(at_ms):
            due_at, _, over = heapq.heappop(self._pauses)
            self.now = max(self.now, due_at)
            over.set_result(None)
        self.now = max(self.now, at_ms)

    async def _something_pauses(self, until_ms: int) -> bool:
        """Once nobody has begun or ended a pause for a while of real time: who isn't pausing may be in a request."""
        still_since = seen = None
        loop = asyncio.get_running_loop()
        while still_since is None or loop.time() - still_since < self.QUIET_S:
            self._pauses = [one for one in self._pauses if not one[2].done()]
            heapq.heapify(self._pauses)
            if seen != (seen := len(self._pauses)) or still_since is None:
                still_since = loop.time()
            if seen >= self.lanes:
                break  # all of them
            await asyncio.sleep(0.001)
        return bool(self._pauses) and self._pauses[0][0] <= until_ms


class House:
    def __init__(
        self, limits: NotifyLimits = QUICK, shelf: Shelf | None = None, virtual: VirtualClock | None = None
    ) -> None:
        self.virtual, self.clock = virtual, Clock()
        self.shelf = shelf or Shelf()
        self.books: dict[str, Book] = {}
        self.webhooks: dict[str, WebhookPut] = {}
        self.limits = limits
        self.notifier = self._new()

    def _new(self) -> Notifier:
        clock = self.virtual or self.clock
        pace = Pace(self.virtual.now_ms, self.virtual.pause) if self.virtual else REAL
        return Notifier(
            self.shelf, self.books.get, lambda: self.webhooks, clock, self.limits, random.Random(1), pace=pace
        )

    async def restart(self) -> None:
        await self.notifier.stop()
        self.notifier = self._new()
        await self.notifier.start()

    async def kill(self) -> None:
        """As a crash does: nothing is finished, nothing saved."""
        notifier = self.notifier
        await notifier._crew.close()
        await notifier._dispatch._crew.close()
        await notifier._dispatch._sender.close()
        self.notifier = self._new()

    def write(self, ref: str, *events: Event, told: bool = True) -> Sequence[Recorded]:
        """Durable in a campaign's log; `told` tells the notifier as the engine does."""
        name = f"campaign/{ref}"
        book, shelf = self.books.setdefault(name, Book()), self.shelf.events[name]
        written = [Recorded(len(shelf) + i, stream_of(one), 1, one) for i, one in enumerate(events, 1)]
        shelf.extend(written)
        for one in events:
            book.apply(one)
        if told:
            self.notifier.follow(name, written)
        return written

    def put(self, id_: str, url: str, **changes: Any) -> None:
        put = WebhookPut(at=1, id=id_, url=url, secret=SECRET, types=(), campaigns=(), since=0, by="admin")
        self.webhooks[id_] = msgspec.structs.replace(put, **changes)
        self.notifier.webhooks_changed()

    async def all(self, **filters: Any) -> list[Notification]:
        """The whole feed, page by page."""
        found: list[Notification] = []
        cursor = ""
        while True:
            page, cursor = await self.notifier.read(cursor, 50, **filters)
            if not page:
                return found
            found += page

    async def merged(self) -> None:
        """Everything written is in the feed."""
        for name, events in list(self.shelf.events.items()):
            if name.startswith("campaign/") and events:
                async with asyncio.timeout(PATIENCE_S):
                    await self.notifier.announced(name, len(events))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.005)


def created(ref: str, at: int = 1_700_000_000_000) -> CampaignCreated:
    return CampaignCreated(at=at, ref=ref, name=ref.title(), mode=Mode.PREVIEW, settings=Settings(), by="manager")


def opening(ref: str, contacts: int = 3) -> list[Event]:
    """A campaign with contacts and an agent."""
    people = tuple(
        NewContact(
            f"{ref}:{i}",
            Person(
                f"{ref}:{i}", Details(numbers=(f"+4930{i:04}", f"+4940{i:04}"), name=f"Person {i}", data={"n": f"{i}"})
            ),
        )
        for i in range(1, contacts + 1)
    )
    at = 1_700_000_000_123
    return [
        created(ref, at),
        ContactsAdded(at=at, rank=1, contacts=people, by="manager"),
        AgentAllocated(
            at=at,
            agent="ann",
            phone="ann",
            line=Line.NAILED,
            default_state=DefaultState.AVAILABLE,
            weight=1,
            by="manager",
        ),
    ]


def talk(ref: str, contact: int, serial: int = 0) -> list[Event]:
    """One contact from reservation to disposition: seven events, five of them notifications."""
    at, who, call, held = 1_700_000_000_000 + serial, f"{ref}:{contact}", f"{ref}-call-{serial}", f"{ref}-res-{serial}"
    return [
        ContactReserved(at=at, contact=who, agent="ann", reservation=held, token="do-not-tell", expires_at=at + 9),
        CallRequested(
            at=at,
            call=call,
            contact=who,
            number=1,
            reservation=held,
            agent="ann",
            agent_leg="leg",
            trunk="carrier",
            by_choice=False,
        ),
        CallPlaced(at=at, call=call, channel="PJSIP/1"),
        CallConnected(at=at, call=call, contact=who, agent="ann", number=1),
        ended(call, who, at),
        PhoneCalled(at=at, agent="ann", leg="leg2"),
        ContactDisposed(
            at=at,
            contact=who,
            agent="ann",
            reservation=held,
            call=call,
            disposition="engaged",
            engaged=True,
            final=True,
            due_at=0,
        ),
    ]


def ended(call: str, contact: str, at: int) -> CallEnded:
    return CallEnded(
        at=at,
        call=call,
        contact=contact,
        agent="ann",
        number=1,
        outcome=Outcome.ANSWERED,
        ended_by=Party.CONTACT,
        reason="",
        cause=16,
        sip_code=200,
        ring_ms=10,
        talk_ms=20,
    )


def status(at: int) -> AgentStatusChanged:
    return AgentStatusChanged(at=at, agent="ann", status=AgentStatus.AVAILABLE, reason="")
