"""The composition root: the one place that knows every part, and the `ringfold` command."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import structlog
from aiohttp import web
from cyclopts import App, Parameter

from adapters.ami.check import check as check_pbx
from adapters.ami.client import AmiLoginRefused
from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from adapters.crm import Credential, Crm, CrmEvent, CrmLimits, Permit
from adapters.importer import Importer, ImportLimits
from adapters.notify import FeedEvent, Notifier, NotifyLimits, Targets
from adapters.notify.crew import Crew, halt
from adapters.recordings import Recordings
from adapters.zones import PhoneZones
from api.app import HttpLimits, make_app
from api.rate import Rate
from api.token import KeyRing, Role
from config import logging as logs
from config.settings import InvalidSettings, Settings, load
from engine import explain
from engine.actor import NotOwner
from engine.app import CAMPAIGN_PREFIX, DIRECTORY, Engine, Limits, log_of
from engine.core.book import Book, Event
from engine.core.claims import Claims
from engine.core.directory import Directory, DirectoryEvent
from engine.core.importing import ImportMode
from engine.core.retention import Retention, outlook
from engine.core.standing import line_of
from engine.digest import digest_of
from engine.erasure import Erasures
from engine.housekeeping import Housekeeping
from engine.ports import StoreUnavailable
from engine.recovery import replay
from eventstore import Codec, Store, TransferRefused, copy, dump, open_store, verify

LogEvent = Event | DirectoryEvent | FeedEvent | CrmEvent
"""Everything that any log may hold."""

TIMED_ROLES = (Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT)
"""Roles of people; systems' tokens may live longer."""

WATCH_EVERY_S = 1
STOP_WITHIN_S = 10

cli = App(name="ringfold", help="An event-sourced outbound dialer.")
Config = Annotated[Path | None, Parameter(name=["--config", "-c"], help="Settings file (TOML); none: defaults.")]
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
        self._closers.append(self.store.close)
        self.engine = Engine(
            self.store,
            AmiTelephony(ami_settings(settings)),
            SystemClock(),
            SystemChance(),
            Limits(
                max_calls_in_setup=settings.dialing.max_calls_in_setup,
                trunk_lines={one: settings.dialing.trunk_lines.get(one, 0) for one in settings.dialing.trunks},
                mailbox_messages=settings.engine.mailbox_size,
                snapshot_every_events=settings.engine.snapshot_every_events,
            ),
            PhoneZones(),
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
        self.engine.announcer = self.notifier
        self.engine.followers.append(self.crm.follow)
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
        watching = asyncio.get_running_loop().create_task(self._watch(), name="watch")
        self._closers.append(lambda: halt(watching))
        await self._listen()
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
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        self._closers.append(runner.cleanup)
        await runner.setup()
        site = web.TCPSite(runner, http.host, http.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]

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
        return Importer(Path(imports.folder), self.engine, lambda ref: self._book(log_of(ref)), limits, away)

    async def _watch(self) -> None:
        """A part that follows the log and dies takes the process with it: whoever restarts it finds all in the log."""
        while (error := self.notifier.failed or self.crm.failed or self._crew.failed) is None:  # noqa: ASYNC110 - a second is nothing to it
            await asyncio.sleep(WATCH_EVERY_S)
        assert self.engine.failed is not None
        if not self.engine.failed.done():
            self.engine.failed.set_exception(error)

    async def drain(self) -> bool:
        return await self.engine.drain(self.settings.engine.drain_timeout_s * 1_000)

    async def stop(self) -> None:
        """The last opened first, once each."""
        while self._closers:
            await self._closers.pop()()


async def open_log_store(settings: Settings) -> Store:
    return await open_store(
        settings.store.url,
        Codec(LogEvent),
        owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",  # in containers every pid may be 1
        lease_ttl_ms=settings.store.lease_ttl_ms,
    )


def ami_settings(settings: Settings) -> AmiSettings:
    """The adapter's own settings from ours: the same names and units."""
    ami = settings.ami
    return AmiSettings(**{name: getattr(ami, name) for name in AmiSettings.__struct_fields__})


def retention_of(settings: Settings) -> Retention:
    return Retention(clean_after_days=settings.retention.clean_after_days)


# -- commands -------------------------------------------------------------------------------------------------------


@cli.command
def serve(*, config: Config = None) -> None:
    """Run the service until SIGTERM: it then lets live calls end. A second signal stops it at once."""
    settings = _settings(config)
    logs.configure(settings.log.level, settings.log.json)
    sys.exit(asyncio.run(_serve(Service(settings))))


async def _serve(service: Service) -> int:
    told: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.put_nowait, number)
    starting, signalled = asyncio.ensure_future(service.start()), asyncio.ensure_future(told.get())
    try:
        await asyncio.wait({starting, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            log.info("told to stop before serving")
            return 0
        try:
            starting.result()
        except (AmiLoginRefused, OSError, StoreUnavailable) as error:
            log.error("can't start", error=str(error))
            return 1
        return await _until_told(service, told, signalled)
    finally:
        starting.cancel()
        signalled.cancel()
        await asyncio.gather(starting, signalled, return_exceptions=True)
        await _stop(service)


async def _stop(service: Service) -> None:
    """A store that is away keeps nobody from stopping: what wasn't durable was never answered."""
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await service.stop()
        log.info("stopped")
    except TimeoutError:
        log.error("stopped without having written everything: the store did not answer", seconds=STOP_WITHIN_S)


async def _until_told(service: Service, told: asyncio.Queue[int], signalled: asyncio.Future[int]) -> int:
    assert service.engine.failed is not None
    waited: set[asyncio.Future[Any]] = {signalled, service.engine.failed}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if service.engine.failed.done():
        log.error("a part failed for good", error=repr(service.engine.failed.exception()))
        return 1
    log.info("draining", seconds=service.settings.engine.drain_timeout_s)
    draining, again = asyncio.ensure_future(service.drain()), asyncio.ensure_future(told.get())
    tasks: set[asyncio.Future[Any]] = {draining, again}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("told again: stopping at once, live calls are left to the next start")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return 0


@cli.command
def token(
    *,
    role: Role,
    subject: str,
    ttl_s: int = 8 * 3_600,
    campaign: Annotated[tuple[str, ...], Parameter(help="Campaigns it is bound to; may be given more than once.")] = (),
    agent: Annotated[tuple[str, ...], Parameter(help="Agents that it may act for; may be given more than once.")] = (),
    system: Annotated[tuple[str, ...], Parameter(help="External systems that it may speak as.")] = (),
    config: Config = None,
) -> None:
    """Print a token. `subject` is who acts: for an agent, the agent's id."""
    settings = _settings(config)
    longest = getattr(settings.tokens, f"max_{role if role in TIMED_ROLES else 'system'}_ttl_s")
    if not 1 <= ttl_s <= longest:
        print(f"ringfold: a token of role {role} lives from 1 to {longest} seconds (see [tokens])", file=sys.stderr)
        sys.exit(2)
    keys = KeyRing.open(Path(settings.tokens.key_file), issuer=settings.tokens.issuer)
    try:
        print(keys.mint(role, subject, ttl_s=ttl_s, campaigns=campaign, agents=agent, systems=system))
    except ValueError as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)


@cli.command(name="import")
def import_file(
    file: Path,
    *,
    campaign: str,
    token: Annotated[str, Parameter(env_var="RINGFOLD_TOKEN", help="As `ringfold token` prints it.")],
    mode: ImportMode = ImportMode.ADD,
    mapping: str = "",
    region: str = "",
    encoding: str = "",
    required: Annotated[str, Parameter(help="Columns in which every row needs a value, separated by commas.")] = "",
    add_prefix: Annotated[bool, Parameter(negative="", help="Put CAMPAIGN: before refs that lack it.")] = False,
    add_tags: Annotated[bool, Parameter(negative="", help="Keep the tags of contacts that are replaced.")] = False,
    accept_errors: Annotated[
        bool, Parameter(negative="", help="Store the right rows although others are wrong.")
    ] = False,
    confirm_removal: Annotated[bool, Parameter(negative="", help="A full sync cancels contacts: say yes.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Check only.")] = False,
    url: Annotated[str, Parameter(help="Of the running service; none: the one of the settings, on this machine.")] = "",
    config: Config = None,
) -> None:
    """Put a contact file into a campaign of the running service. The exit status is 1 where rows are wrong."""
    from rich.console import Console

    from adapters.importer.command import Failed, Order, run

    options = {
        "campaign": campaign,
        "mode": mode.value,
        "mapping": mapping,
        "region": region,
        "encoding": encoding,
        "required": required,
        "prefix": "true" if add_prefix else "",
        "tags": "add" if add_tags else "",
    }
    order = Order(
        file=file,
        url=url or f"http://127.0.0.1:{_settings(config).http.port}",
        token=token,
        options=options,
        dry_run=dry_run,
        accept_errors=accept_errors,
        confirm_removal=confirm_removal,
    )
    try:
        sys.exit(asyncio.run(run(order, Console())))
    except Failed as failed:
        print(f"ringfold: {failed}", file=sys.stderr)
        sys.exit(1)


@cli.command(name="log")
def show_log(
    name: str | None = None,
    *,
    after: int = 0,
    stream: str | None = None,
    personal: bool = False,
    config: Config = None,
) -> None:
    """Print a log, a line an event; without a name, the names of all logs. Personal data only when asked for."""

    async def run() -> None:
        store = await open_log_store(_settings(config))
        try:
            if name is None:
                for one in await store.logs():
                    print(one)
                return
            if name not in await store.logs():
                print(f"ringfold: there is no log {name!r}; `ringfold log` names all", file=sys.stderr)
                sys.exit(1)
            async for line in dump(store, name, after=after, stream=stream, personal=personal):
                print(line)
        finally:
            await store.close()

    _print_until_closed(run())


@cli.command(name="explain")
def explain_contact(contact: str = "", *, number: str = "", config: Config = None) -> None:
    """Say from the logs, as JSON, how a contact stands, what it waits for, and what happened to it.

    With `--number` instead, how every contact stands that has the number.
    """
    if bool(contact) == bool(number):
        print("ringfold: name a contact, or a --number", file=sys.stderr)
        sys.exit(2)

    async def run() -> None:
        store = await open_log_store(_settings(config))
        try:
            directory, claims, books = await _read_all(store)
            if number:
                told = _explained(number, claims, books)
            else:
                ref = directory.contacts.get(contact, "")
                known = books[ref].contacts.by_ref.get(contact) if ref in books else None
                if known is None:
                    what = (
                        f"its campaign {ref!r} is deleted" if ref and ref not in books else "there is none of that ref"
                    )
                    print(f"ringfold: contact {contact!r}: {what}", file=sys.stderr)
                    sys.exit(1)
                now = explain.contact_now(books[ref], claims, PhoneZones(), known, SystemClock().now_ms())
                told = {"campaign": ref, **now, "history": await explain.history(store.read(log_of(ref)), contact)}
            print(json.dumps(told, indent=2, ensure_ascii=False))
        finally:
            await store.close()

    _print_until_closed(run())


async def _read_all(store: Store) -> tuple[Directory, Claims, dict[str, Book]]:
    """Everything that is known, from the logs alone."""
    directory, claims = Directory(), Claims(max_calls_in_setup=1)
    directory.standing = claims.standing
    claims.standing.digest = digest_of
    async for batch in store.read(DIRECTORY):
        for one in batch:
            directory.apply(one.event)
    claims.pbx_up = True  # offline, nobody knows: it is nothing to wait for
    live = [one for one, deleted in directory.campaigns.items() if not deleted]
    books = {one: await replay(store.read(log_of(one))) for one in live}
    for book in books.values():
        claims.adopt(book)
    return directory, claims, books


def _explained(number: str, claims: Claims, books: dict[str, Book]) -> dict[str, Any]:
    """A number: the lists that have it, and every contact with it."""
    at, zones, line = SystemClock().now_ms(), PhoneZones(), line_of(number)
    having = [
        {"campaign": ref, **explain.contact_now(book, claims, zones, contact, at)}
        for ref, book in books.items()
        for contact in book.contacts.by_ref.values()
        if line in map(line_of, contact.numbers)
    ]
    return {"number": number, "lists": explain.lists_with(claims.standing, number, books), "contacts": having}


@cli.command(name="retention")
def show_retention(
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="List what would be cleaned; the running service does it.")
    ] = False,
    config: Config = None,
) -> None:
    """Say from the logs which campaigns are to be cleaned, when, and why the others are not. Changes nothing."""

    async def run() -> None:
        settings = _settings(config)
        store, now = await open_log_store(settings), SystemClock().now_ms()
        try:
            _, _, books = await _read_all(store)
            for ref, book in books.items():
                ahead = outlook(retention_of(settings), book.campaign)
                due = "due" if 0 < ahead.clean_at <= now else _utc(ahead.clean_at) if ahead.clean_at else "kept"
                print(f"{due:<20} {ref}: {ahead.why}")
        finally:
            await store.close()

    if not dry_run:
        print("ringfold: the running service cleans; --dry-run lists what", file=sys.stderr)
        sys.exit(2)
    _print_until_closed(run())


def _utc(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1_000))


@cli.command(name="verify")
def verify_logs(*names: str, config: Config = None) -> None:
    """Check logs (default all): gapless, contiguous, checksums; and print each campaign's state digest by replay."""

    async def run() -> int:
        store = await open_log_store(_settings(config))
        faults = 0
        try:
            for name in names or await store.logs():
                report = await verify(store, name)
                faults += len(report.faults)
                digest = await digest_by_replay(store, name) if name.startswith(CAMPAIGN_PREFIX) else ""
                print(f"{report}{digest}")
        finally:
            await store.close()
        return 1 if faults else 0

    sys.exit(asyncio.run(run()))


async def digest_by_replay(store: Store, name: str) -> str:
    book = await replay(store.read(name))
    return f", state {blake2b(book.canonical(), digest_size=16).hexdigest()}"


@cli.command(name="copy")
def copy_logs(*, to: str, config: Config = None) -> None:
    """Copy everything to another, empty store, given by its URL; the service must be stopped. Then check the copy."""

    async def run() -> int:
        source = await open_log_store(_settings(config))
        target = await open_store(to, Codec(LogEvent))
        faults = 0
        try:
            async for name, _ in copy(source, target):
                report = await verify(target, name)
                faults += len(report.faults)
                print(report)
        except TransferRefused as error:
            print(f"ringfold: {error}", file=sys.stderr)
            return 1
        finally:
            await source.close()
            await target.close()
        return 1 if faults else 0

    sys.exit(asyncio.run(run()))


@cli.command
def check(*, config: Config = None) -> None:
    """Check the settings, the store and the PBX, and say in words what is missing."""

    async def run() -> int:
        settings = _settings(config)
        store = await open_log_store(settings)
        await store.close()
        print(f"ok    the store opens: {store.kind}")
        bad = 0
        for found in await check_pbx(ami_settings(settings)):
            bad += found.is_fault
            print(found)
        return 1 if bad else 0

    sys.exit(asyncio.run(run()))


def _settings(config: Path | None) -> Settings:
    try:
        return load(config)
    except InvalidSettings as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)


def _print_until_closed(work: Coroutine[Any, Any, None]) -> None:
    """Run a printing command; a reader that closes the pipe (`| head`) ends it quietly."""
    try:
        asyncio.run(work)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    try:
        cli()
    except StoreUnavailable as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(1)


__all__ = ["Service", "log_of", "main"]

if __name__ == "__main__":
    main()
