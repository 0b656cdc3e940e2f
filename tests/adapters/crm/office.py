"""An office: a campaign that writes its log, a CRM that takes calls, and what connects them, which can be killed."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from adapters.crm import Credential, Crm, CrmLimits, InteractionTried, Permit
from adapters.notify import Targets
from engine.core.book import Book, Event, stream_of
from engine.core.campaign import CampaignCreated, Mode, Settings, SettingsChanged, patched
from engine.core.contact import ContactsAdded, NewContact
from engine.core.personal import Details, Person
from engine.ports import Recorded
from tests.adapters.notify.house import Clock, opening, talk, until
from tests.adapters.notify.store import Shelf

QUICK = CrmLimits(
    request_timeout_ms=300, retry_first_ms=5, retry_max_ms=40, save_every_ms=10, sweep_ms=60_000, stop_grace_ms=300
)


class Taken(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers.get("Idempotency-Key", "")


class Receiver:
    """A CRM. `script` holds the statuses of its next answers, 0 for none at all; then `always`."""

    def __init__(self, always: int = 200) -> None:
        self.script: deque[int] = deque()
        self.always = always
        self.headers: dict[str, str] = {}
        self.answer = b"thank you"
        self.requests: list[Taken] = []
        self.taken: list[Taken] = []
        self.most_at_once = self._at_once = 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            body = await request.read()
            one = Taken(request.method, request.raw_path, dict(request.query), dict(request.headers), body)
            self.requests.append(one)
            status = self.script.popleft() if self.script else self.always
            if not status:
                await asyncio.sleep(60)
            if 200 <= status < 300:
                self.taken.append(one)
            return web.Response(status=status, headers=self.headers, body=self.answer if status != 204 else None)
        finally:
            self._at_once -= 1


class Office:
    def __init__(self, limits: CrmLimits = QUICK, **changes: Any) -> None:
        self.shelf = Shelf()
        self.books: dict[str, Book] = {}
        self.limits = msgspec.structs.replace(limits, **changes)
        self.hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
        self.credentials: dict[str, Credential] = {}
        self.targets = Targets(allow_private=False, allow_http=True, hosts=("127.0.0.0/8",))
        self.clock = Clock()
        self.crm = self.new()

    def new(self) -> Crm:
        return Crm(
            self.shelf,
            campaigns=self.books.keys,
            book_of=self.books.get,
            agent_name=lambda agent: agent.title(),
            clock=self.clock,
            permit=Permit(self.hosts, allow_http=True, credentials=self.credentials),
            limits=self.limits,
            targets=self.targets,
            rng=random.Random(1),
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Crm]:
        self.crm = self.new()
        self.crm.start()
        try:
            yield self.crm
        finally:
            assert self.crm.failed is None
            await self.crm.stop()

    async def crash(self) -> None:
        """Nothing is finished, nothing saved."""
        crm = self.crm
        await crm._tasks.close()
        await crm._attempts.close()
        await crm._sender.close()
        self.crm = self.new()
        self.crm.start()

    def write(self, ref: str, *events: Event, told: bool = True) -> None:
        name = f"campaign/{ref}"
        book, shelf = self.books.setdefault(ref, Book()), self.shelf.events[name]
        written = [Recorded(len(shelf) + i, stream_of(one), 1, one) for i, one in enumerate(events, 1)]
        shelf.extend(written)
        for one in events:
            book.apply(one)
        if told:
            self.crm.follow(name, written)

    def campaign(
        self, ref: str, url: str, trigger: str = "server", data: dict[str, str] | None = None, **more: Any
    ) -> None:
        """A campaign with 40 contacts; of the first one `data`."""
        external = {"url": url, "trigger": trigger, **more}
        settings = patched(Settings(), {"interaction": "external_url", "external_url": external})
        _, _, allocated = opening(ref)
        people = [Details(numbers=(f"+4930{i:04}", f"+4940{i:04}"), name=f"Person {i}") for i in range(1, 41)]
        people[0] = msgspec.structs.replace(people[0], data=data or {})
        contacts = tuple(
            NewContact(f"{ref}:{i}", Person(f"{ref}:{i}", one), external_id=f"crm-{i}")
            for i, one in enumerate(people, 1)
        )
        at = Clock().now_ms()
        self.write(
            ref,
            CampaignCreated(at=at, ref=ref, name=ref.title(), mode=Mode.PREVIEW, settings=settings, by="manager"),
            ContactsAdded(at=at, rank=1, contacts=contacts, by="manager"),
            allocated,
        )

    def talk(self, ref: str, contact: int = 1, at: int = 0, told: bool = True) -> str:
        """From reservation to disposition; returns the call."""
        serial = (at or Clock().now_ms()) - 1_700_000_000_000
        events = talk(ref, contact, serial)
        call = f"{ref}-call-{serial}-{contact}"
        self.write(ref, *(renamed(one, call) for one in events), told=told)
        return call

    def change(self, ref: str, **patch: Any) -> None:
        """Edit the campaign's `external_url`, or with None go back to the form."""
        settings = self.books[ref].campaign.settings
        before: dict[str, Any] = msgspec.to_builtins(settings.external_url)
        new = {"external_url": {**before, **patch}}
        self.write(ref, SettingsChanged(at=Clock().now_ms(), old={"external_url": before}, new=new, by="manager"))

    @property
    def tried(self) -> list[InteractionTried]:
        return [one.event for one in self.shelf.events["crm"]]

    def results(self) -> list[str]:
        return [one.result for one in self.tried]

    async def settled(self, count: int) -> None:
        await until(lambda: sum(one.is_settled for one in self.tried) >= count)


def renamed(event: Event, call: str) -> Event:
    return msgspec.structs.replace(event, call=call) if getattr(event, "call", "") else event
