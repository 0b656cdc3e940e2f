"""The whole service, put together: every part in one process, opened in order and let go of in the reverse."""

import asyncio
import gc
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import get_args

import structlog
from aiohttp import web

from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from adapters.crm import Credential, Crm, CrmEvent, CrmLimits, Permit
from adapters.importer import Importer, ImportLimits
from adapters.notify import FeedEvent, NoticeEvent, Notifier, NotifyLimits, Targets
from adapters.notify.crew import Crew, halt
from adapters.recordings import Recordings
from adapters.zones import PhoneZones
from api.app import HttpLimits, make_app
from api.rate import Rate
from api.token import KeyRing
from config.settings import Settings
from engine.actor import NotOwner
from engine.app import Engine
from engine.campaigns import CAMPAIGN_PREFIX, log_of
from engine.core.blocks import Attic
from engine.core.book import Book, Event
from engine.core.call import CallEnded
from engine.core.directory import DirectoryEvent
from engine.core.retention import Retention
from engine.erasure import Erasures
from engine.housekeeping import Housekeeping
from engine.limits import Limits
from engine.ports import Recorded, StoreUnavailable
from eventstore import Codec, Store, open_store
from eventstore.attic import FileAttic
from eventstore.sealing import Sealing

LogEvent = Event | DirectoryEvent | FeedEvent | NoticeEvent | CrmEvent
"""Everything that any log may hold."""
NAMES = {one: str(one.__struct_config__.tag).rpartition(".")[0] for one in get_args(LogEvent)}
"""What events are counted by: the tag without its version."""

COLLECTED_AFTER_OBJECTS = 5_000
"""A turn makes hundreds of objects and lets go of them again. Looked for cycles after every 700, as Python does by itself, a
twentieth of all time went into finding none."""
WATCH_EVERY_S = 1
LOOK_AT_LOOP_EVERY_S = 0.25
WAITING_CONNECTIONS = 1_024
"""Not yet accepted: a crowd that comes at once is refused in words, not by connections that get lost."""

log = structlog.get_logger("ringfold")


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SystemChance:
    def new_id(self) -> str:
        return secrets.token_hex(16)


class Service:
    """The whole service in this process: store, engine, PBX connection, notifications, HTTP."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = KeyRing.open(Path(settings.tokens.key_file), issuer=settings.tokens.issuer)
        self.port = 0
        self._crew = Crew()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        """How to let go of what was opened: of a part only, where the start failed or was cancelled."""

    async def start(self) -> None:
        """Stand by until the logs can be had, then serve. Whatever it raises: `stop` lets go of what was opened."""
        settings = self.settings
        self.store = await open_log_store(settings)
        self.measures = self.store.measures
        self._closers.append(self.store.close)
        self.engine = Engine(
            self.store,
            AmiTelephony(ami_settings(settings), measures=self.measures),
            SystemClock(),
            SystemChance(),
            Limits(
                max_calls_in_setup=settings.dialing.max_calls_in_setup,
                trunk_lines={one: settings.dialing.trunk_lines.get(one, 0) for one in settings.dialing.trunks},
                mailbox_messages=settings.engine.mailbox_size,
                snapshot_every_events=settings.engine.snapshot_every_events,
                linger_ms=settings.engine.linger_ms,
            ),
            PhoneZones(),
            self.measures,
            self._attic,
        )
        self.notifier = Notifier(
            self.store,
            book_of=self._book,
            webhooks=lambda: self.engine.directory.webhooks,
            clock=self.engine.clock,
            limits=NotifyLimits(
                request_timeout_ms=settings.webhooks.timeout_ms, max_requests=settings.webhooks.max_in_flight
            ),
            targets=Targets(
                allow_private=settings.webhooks.allow_private_targets,
                allow_http=settings.webhooks.allow_http,
                hosts=settings.webhooks.allow_hosts,
            ),
            agent_name=self.engine.directory.name_at,
        )
        self.crm = self._crm()
        self.engine.followers.append(self.notifier.follow)
        self.engine.switchboard.announcer = self.notifier
        self.engine.followers.append(self.crm.follow)
        self.engine.followers.append(self._count)
        self._closers += [self.notifier.stop, self.crm.stop, self.engine.stop]
        await self.notifier.own()  # first: once the engine has its logs it connects to the PBX and dials
        await self.engine.start()
        await self.notifier.start()
        self.crm.start()
        self.importer = self._importer()
        self._closers.append(self.importer.stop)
        await self.importer.start()
        recordings = settings.ami.recordings_path
        self.erasures = Erasures(self.engine, Recordings(Path(recordings) if recordings else None).remove)
        self.housekeeping = Housekeeping(
            self.engine, retention_of(settings), settings.retention.look_every_s, self.erasures
        )
        self._crew.spawn(self.housekeeping.run(), "housekeeping")
        self._closers.append(self._crew.close)
        self._crew.spawn(self._look_at_the_loop(), "loop lag")
        watching = asyncio.get_running_loop().create_task(self._watch(), name="watch")
        self._closers.append(lambda: halt(watching))
        await self._listen()
        gc.freeze()  # what was read at the start is there to stay: no collection has to walk over it
        gc.set_threshold(COLLECTED_AFTER_OBJECTS)
        log.info("serving", host=settings.http.host, port=self.port, store=self.store.kind)

    async def _listen(self) -> None:
        http = self.settings.http
        limits = HttpLimits(
            max_body_bytes=http.max_body_bytes,
            max_rows_per_request=http.max_contacts_per_request,
            max_wait_s=http.max_poll_wait_s,
            max_streams=http.max_streams,
            heartbeat_s=http.heartbeat_s,
            rate=Rate(per_s=http.requests_per_second, burst=http.burst_requests),
            max_in_flight=http.max_in_flight,
            max_requests=http.max_requests,
            origins=frozenset(http.cors_origins),
        )
        recordings = self.settings.ami.recordings_path
        app = make_app(
            self.engine,
            self.notifier,
            self.keys,
            limits,
            frozenset(self.settings.dialing.trunks),
            self.crm,
            self.importer,
            Path(recordings) if recordings else None,
            retention_of(self.settings),
            self.erasures,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, keepalive_timeout=http.idle_connection_s)
        self._closers.append(runner.cleanup)
        await runner.setup()
        site = web.TCPSite(runner, http.host, http.port, reuse_address=True, backlog=WAITING_CONNECTIONS)
        await site.start()
        self.port = runner.addresses[0][1]

    def _attic(self) -> Attic | None:
        """A new one; None where nothing of ours is on a disk."""
        folder = self.settings.attic
        return FileAttic(folder) if folder is not None else None

    def _book(self, name: str) -> Book | None:
        running = self.engine.campaigns.get(name.removeprefix(CAMPAIGN_PREFIX))
        return running.book if running else None

    def _agent_name(self, agent: str) -> str:
        known = self.engine.directory.agents.get(agent)
        return known.name if known else ""

    def _crm(self) -> Crm:
        crm = self.settings.crm
        credentials = {
            name: Credential(header=one.header, value=one.value, hosts=frozenset(host.lower() for host in one.hosts))
            for name, one in crm.credentials.items()
        }
        return Crm(
            self.store,
            campaigns=self.engine.campaigns.keys,
            book_of=lambda ref: self._book(log_of(ref)),
            agent_name=self._agent_name,
            clock=self.engine.clock,
            permit=Permit(crm.hosts, allow_http=crm.allow_http, credentials=credentials),
            limits=CrmLimits(
                request_timeout_ms=crm.timeout_ms,
                max_requests=crm.max_in_flight,
                give_up_after_ms=crm.give_up_after_h * 3_600_000,
            ),
            targets=Targets(allow_private=False, allow_http=crm.allow_http, hosts=crm.private_hosts),
        )

    def _importer(self) -> Importer:
        imports = self.settings.imports
        limits = ImportLimits(
            max_file_bytes=imports.max_file_bytes,
            max_unpacked_bytes=imports.max_unpacked_bytes,
            max_rows=imports.max_rows,
            max_check_s=imports.max_check_s,
            max_check_memory_bytes=imports.max_check_memory_bytes,
            max_checks=imports.max_checks,
            max_uploads=imports.max_uploads,
            max_kept=imports.max_kept,
            keep_s=imports.keep_h * 3_600,
        )
        away = (NotOwner, StoreUnavailable)
        return Importer(Path(imports.folder), self.engine, lambda ref: self._book(log_of(ref)), limits, away, Sealing)

    def _count(self, _log: str, recorded: Sequence[Recorded]) -> None:
        for one in recorded:
            self.measures.events[NAMES[type(one.event)]] += 1
            if type(one.event) is CallEnded:
                self.measures.calls_ended[one.event.outcome] += 1

    async def _look_at_the_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + LOOK_AT_LOOP_EVERY_S
            await asyncio.sleep(LOOK_AT_LOOP_EVERY_S)
            self.measures.loop_lag.add(max(0.0, loop.time() - due_at))

    async def _watch(self) -> None:
        """A part that follows the log and dies takes the process with it: whoever restarts it finds all in the log."""
        while (error := self.notifier.failed or self.crm.failed or self._crew.failed) is None:  # noqa: ASYNC110 - a second is nothing to it
            await asyncio.sleep(WATCH_EVERY_S)
        if not self.engine.failed.done():
            self.engine.failed.set_exception(error)

    async def drain(self) -> bool:
        return await self.engine.drain(self.settings.engine.drain_timeout_s * 1_000)

    async def stop(self) -> None:
        """The last opened first, once each."""
        gc.unfreeze()
        while self._closers:
            await self._closers.pop()()


async def open_log_store(settings: Settings) -> Store:
    return await open_store(
        settings.store.url,
        Codec(LogEvent),
        lease_ttl_ms=settings.store.lease_ttl_ms,
        archive=Path(settings.retention.archive_folder),
    )


def ami_settings(settings: Settings) -> AmiSettings:
    """The adapter's own settings from ours: the same names and units."""
    ami = settings.ami
    return AmiSettings(**{name: getattr(ami, name) for name in AmiSettings.__struct_fields__})


def retention_of(settings: Settings) -> Retention:
    kept = settings.retention
    return Retention(clean_after_days=kept.clean_after_days, archive_after_days=kept.archive_after_days)
