"""The engine: all campaigns of this process, their mailboxes, and the one door for what the PBX says.

Start-up reads every log back, arms its timers, and only then connects to the PBX, whose first word (`PbxUp`) tells what
still lives. Draining takes no new call and waits for the live ones; what is still up when time runs out is handed over:
the legs stay, and the next owner adopts them.
"""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from engine.actor import Actor, NotOwner, StoreAway
from engine.core import directory as directories
from engine.core.agent import Presence
from engine.core.blocks import Attic, AtticUnreadable
from engine.core.book import Book, Event, stream_of
from engine.core.campaign import Clean, Create, Delete, Start, Status
from engine.core.claims import Claims
from engine.core.directory import ContactRefsUsed, Directory, DirectoryCommand, RetireCampaign, UseCampaignRef
from engine.core.effect import Alarm, CancelTimer, Effect, SetTimer, Suppress, Suppressed
from engine.core.measure import Measures
from engine.core.message import AddContacts, Added, Allocate, AskAgent, ClickToCall, Command, Dial, Message, Resync
from engine.core.process import step
from engine.core.reaction import resume
from engine.core.recent import DAY_MS
from engine.core.refusal import Fault, Refused, absent, against_rule, no_room
from engine.core.standing import list_chosen
from engine.core.table import digest
from engine.core.telephony import (
    BridgeLegs,
    HangUp,
    LegCreated,
    LegObservation,
    LegReady,
    PbxDown,
    PbxObservation,
    PbxUp,
)
from engine.digest import digest_of
from engine.ports import (
    Announcer,
    Chance,
    Clock,
    DamagedSnapshot,
    EventLog,
    EventStore,
    Fenced,
    LogArchived,
    Recorded,
    StoreUnavailable,
    Telephony,
    Unopened,
    Zones,
)
from engine.recovery import attempts_since, contacts_in, read_book
from engine.refs import RefsKeeper, kept_refs
from engine.snapshots import Snapshots
from engine.timer import Timers

DIRECTORY = "directory"
CAMPAIGN_PREFIX = "campaign/"
REOPEN_AFTER_MS = 1_000
STANDBY_RETRY_MS = 200
STANDBY_SAY_EVERY = 50
OPEN_EVERY_S = 0.02
"""Another part of a table that is packed since the start: each takes the loop up to a millisecond."""
MAX_SUPPRESSIONS = 64
"""Contacts whose numbers are being put on do-not-call lists at once: the others wait their turn."""
SUPPRESS_RETRY_MS = 50
STRANGER_LOOK_MS, STRANGER_LOOKS = 200, 50
"""How often, and how many times, a leg that nobody knows is judged again while it isn't sure that all logs are ours."""

log = structlog.get_logger(__name__)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    max_calls_in_setup: int = 50
    mailbox_messages: int = 10_000
    announce_timeout_ms: int = 250
    """How long a bridge waits, at most, for the call-connected notification to be on its way."""
    linger_ms: int = 10
    """How long, at most, what nobody waits for goes unwritten, so as to share a commit; 0 is not at all."""
    snapshot_every_events: int = 10_000
    snapshot_every_contacts: float = 0.01
    """And no sooner than after this many events a contact: what a snapshot costs grows with the contacts."""
    keep_every_refs: int = 10_000
    """Of contacts, and no sooner than a tenth of all are new."""
    trunk_lines: dict[str, int] = {}
    """The trunks there are, in order, each with its most calls at a time over all campaigns; 0 is no limit."""


def log_of(ref: str) -> str:
    return CAMPAIGN_PREFIX + ref


class Running(msgspec.Struct):
    """One campaign in this process: its book (read freely, change never) and its mailbox."""

    book: Book
    actor: Actor
    task: asyncio.Task[None]
    snapshots: Snapshots


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is looked for while millions of objects come that all stay: it took a third of a start's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _by_and_by(open_some: Callable[[], bool]) -> None:
    """Tables of which new contacts look everywhere: the first thousand of an import would open all of it at once."""
    try:
        while True:
            if not open_some():
                return
            await asyncio.sleep(OPEN_EVERY_S)
    except (DamagedSnapshot, ValueError, msgspec.DecodeError):
        log.exception("a part of a snapshot doesn't open")  # whoever needs it fails by it, and no other


class Engine:
    def __init__(
        self,
        store: EventStore,
        telephony: Telephony,
        clock: Clock,
        chance: Chance,
        limits: Limits,
        zones: Zones | None = None,
        measures: Measures | None = None,
        attic: Callable[[], Attic | None] = lambda: None,
    ) -> None:
        """`attic`: a new one for each campaign, where it puts calls away that ended a while ago; None: they stay in memory."""
        self.zones = zones
        self.measures = measures or Measures()
        self.store = store
        self.clock = clock
        self.chance = chance
        self.limits = limits
        self.directory = Directory()
        self.campaigns: dict[str, Running] = {}
        self.claims = Claims(limits.max_calls_in_setup, limits.trunk_lines)
        self.directory.standing = self.claims.standing
        self.claims.standing.digest = digest_of
        self.pbx_reason = "not connected yet"
        self._heard_until = 0
        """When the PBX was lost last, 0 where this process never had it."""
        self.draining = False
        self.announcer: Announcer | None = None
        self.followers: list[Callable[[str, Sequence[Recorded]], None]] = []
        self._telephony = telephony
        self._attic = attic
        self._timers = Timers(clock, self._ring)
        self._directory_actor: Actor | None = None
        self._side: set[asyncio.Task[Any]] = set()
        self._drops: dict[str, int] = {}
        """By campaign, open or not: how often its snapshots were dropped."""
        self._creating = asyncio.Lock()
        self._suppressing = asyncio.Semaphore(MAX_SUPPRESSIONS)
        self.failed: asyncio.Future[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read everything back, then connect. Raises what makes starting impossible."""
        self.failed = asyncio.get_running_loop().create_future()
        await self._open_directory()
        known = set(await self.store.logs())
        for ref, deleted in list(self.directory.campaigns.items()):
            if not deleted and log_of(ref) in known:
                running = await self._open_campaign(ref, await self._own(log_of(ref)))
                if running.book.campaign.status is Status.DELETED:
                    await self._retire(ref)  # a crash came between
        for ref in self.directory.retired:
            if ref not in self.claims.standing.gone:
                await self.recall_attempts(ref)
        await self._telephony.start(self.hear, self._may_act)

    async def recall_attempts(self, ref: str) -> None:
        """Of a campaign that is gone, from its log: caps count them too, and so do cool-downs as they are set now."""
        standing = self.claims.standing
        standing.gone.pop(ref, None)
        cooldowns = (one.book.campaign.settings.number_cooldown_s for one in self.campaigns.values())
        since = self.clock.now_ms() - max(DAY_MS, max(cooldowns, default=0) * 1_000)
        retired_at = self.directory.retired.get(ref, 0)
        if retired_at <= since:
            return
        try:
            found = await attempts_since(partial(self.store.read, log_of(ref)), since)
        except LogArchived as error:
            log.warning("attempts of a deleted campaign are not counted", campaign=ref, reason=str(error))
            return
        standing.recall(ref, retired_at, found)

    async def drain(self, timeout_ms: int) -> bool:
        """Take no new call, let the live ones end. True if all ended in time."""
        self.draining = True
        until = self.clock.now_ms() + timeout_ms
        while any(one.book.live for one in self.campaigns.values()):
            if self.clock.now_ms() >= until:
                return False
            await asyncio.sleep(0.05)
        return True

    async def stop(self) -> None:
        """Let go of everything; live legs stay up for whoever comes next."""
        self.draining = True
        await self._telephony.stop()
        for one in self.campaigns.values():
            if one.actor.lost is None:
                await one.actor.settled()
        self._timers.cancel_all()  # behind what settling still set, or began
        tasks = [*self._side, *(one.task for one in self.campaigns.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self.campaigns.values():
            await one.actor.log.close()
        if self._directory_actor is not None:
            await self._directory_actor.log.close()

    async def _own(self, name: str) -> EventLog:
        """Own a log, however long another owner keeps it: a second process stands by."""
        waited = 0
        while True:
            try:
                return await self.store.open_log(name)
            except StoreUnavailable as error:
                if waited % STANDBY_SAY_EVERY == 0:
                    log.warning("standing by", log=name, reason=str(error))
                waited += 1
                await asyncio.sleep(STANDBY_RETRY_MS / 1_000)

    async def _open_directory(self) -> None:
        opened = await self._own(DIRECTORY)
        try:
            refs_pos, self.directory.contacts = await kept_refs(self.store, opened)
            keeper = RefsKeeper(self.store, self.directory, self.limits.keep_every_refs, self._spawn)
            with _uncollected():
                async for batch in opened.read(unopened=Unopened(ContactRefsUsed, refs_pos)):
                    for one in batch:
                        if one.event is not None:
                            self.directory.apply(one.event)
        except BaseException:
            await opened.close()
            raise

        def decide(command: DirectoryCommand) -> tuple[list[Any], list[Effect], Any]:
            events, reply = directories.decide(self.directory, command)
            for event in events:
                self.directory.apply(event)
            return events, [], reply

        actor = self._directory_actor = Actor(
            opened,
            decide,
            directories.stream_of,
            lambda *_: keeper.look(actor),
            self._committed,
            self.limits.mailbox_messages,
            self.measures,
        )
        self._spawn(self._directory_actor.run(), DIRECTORY)
        self._spawn(_by_and_by(self.directory.contacts.open_some), "used refs")

    async def _open_campaign(self, ref: str, owned: EventLog | None = None) -> Running:
        opened = owned or await self.store.open_log(log_of(ref))
        try:
            with _uncollected():
                found = await read_book(self.store, opened, self._attic())
        except BaseException:
            await opened.close()  # or nobody could have it before its lease runs out
            raise
        book = found.book
        if ref in self.campaigns:  # read again: until here nothing that it claimed could go to anybody else
            self.claims.forget(self.campaigns[ref].book)
        self.claims.adopt(book)

        def decide(message: Message) -> tuple[list[Event], list[Effect], Any]:
            return step(book, message, self.claims, self.chance.new_id)

        def perform(effects: Sequence[Effect], pos: int) -> None:
            bridges: list[BridgeLegs] = []
            for effect in effects:
                if type(effect) is BridgeLegs:
                    bridges.append(effect)
                else:
                    self._perform(ref, effect)
            if bridges:
                self._bridge(ref, pos, bridges)
            snapshots.look(pos)

        def committed(name: str, recorded: Sequence[Recorded]) -> None:
            for one in recorded:
                self.claims.release(ref, one.event)
                snapshots.contacts += contacts_in(one.event)
            self._committed(name, recorded)

        limits = self.limits
        actor = Actor(
            opened,
            decide,
            stream_of,
            perform,
            committed,
            limits.mailbox_messages,
            self.measures,
            limits.linger_ms,
        )
        earlier = self.campaigns.get(ref)
        snapshots = Snapshots(
            self.store,
            opened,
            found,
            self._snapshot_every,
            lambda: self._drops.get(ref, 0),
            actor.caught_up,
            self._spawn,
            earlier.snapshots if earlier is not None else None,
        )
        running = Running(book, actor, self._task(actor.run(), log_of(ref)), snapshots)
        running.task.add_done_callback(lambda task: self._ended(ref, task))
        self.campaigns[ref] = running
        perform(resume(book), opened.position)
        self._spawn(_by_and_by(lambda: book.open_some() or self.store.open_keys(opened.name)), f"tables {ref}")
        return running

    def _ended(self, ref: str, task: asyncio.Task[None]) -> None:
        """A campaign's loop never ends by itself: read its log again, unless it belongs to somebody else now."""
        error = None if task.cancelled() else task.exception()
        if self.draining or task.cancelled():
            return
        if error is None:
            log.error("campaign lost to another owner: standing by", campaign=ref)
        else:
            log.error("campaign loop failed, reading its log again", campaign=ref, error=repr(error))
        self._spawn(self._reopen(ref), f"reopen {ref}")

    async def _reopen(self, ref: str) -> None:
        """Own the campaign again as soon as it can be had; until then nothing of it is acted on here."""
        lost = self.campaigns[ref].actor
        with contextlib.suppress(Fenced):
            await lost.log.close()
        running: Running | None = None
        while running is None:
            await asyncio.sleep(REOPEN_AFTER_MS / 1_000)
            try:
                running = await self._open_campaign(ref)
            except (StoreUnavailable, AtticUnreadable) as error:
                log.warning("campaign can't be had yet", campaign=ref, reason=str(error))
        if self.claims.pbx_up:
            # Without a fresh list from the PBX nothing is known of the legs: ask about each.
            running.actor.post(Resync(at=self.clock.now_ms(), legs={}, restarted=False))

    def _spawn(self, work: Any, name: str) -> None:
        task = self._task(work, name)
        self._side.add(task)
        task.add_done_callback(self._side_ended)

    def _task(self, work: Any, name: str) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name=name)

    def _side_ended(self, task: asyncio.Task[None]) -> None:
        self._side.discard(task)
        if task.cancelled() or self.failed is None or self.failed.done():
            return
        error = task.exception()
        if error is None and task.get_name() == DIRECTORY and not self.draining:
            error = NotOwner("the directory's log belongs to another process now")
        if error is not None:
            self.failed.set_exception(error)

    # -- commands -----------------------------------------------------------------------------------------------------

    def campaign(self, ref: str) -> Running:
        """Raises Refused: unknown, or deleted."""
        running = self.campaigns.get(ref)
        if running is not None:
            return running
        if self.directory.campaigns.get(ref):
            raise against_rule("campaign-deleted", f"campaign {ref!r} is deleted")
        raise absent("campaign", ref)

    @property
    def directory_position(self) -> int:
        """How many events the directory's log has; 0 before it is open."""
        return self._directory_actor.log.position if self._directory_actor is not None else 0

    @property
    def directory_trouble(self) -> str:
        """Why nothing becomes durable in the directory's log just now, in words; "" where it does, or it isn't open yet."""
        return self._directory_actor.trouble if self._directory_actor is not None else ""

    async def direct(self, command: DirectoryCommand) -> Any:
        """Submit a command to the directory."""
        assert self._directory_actor is not None
        return await self._directory_actor.submit(command)

    async def submit(self, ref: str, command: Command) -> Any:
        """Submit a command to a campaign; returns its reply once it is durable. Raises Refused, NotOwner."""
        if self.draining and isinstance(command, Dial | ClickToCall):
            raise no_room("draining", "the dialer is shutting down and takes no new calls")
        running = self.campaign(ref)
        if isinstance(command, Start | Allocate | AskAgent):
            await self._let_go(ref, list(running.book.agents) if isinstance(command, Start) else [command.agent])
        if isinstance(command, Dial | ClickToCall):
            command = self._with_clocks(running.book, command)
        reply = await running.actor.submit(command)
        if isinstance(reply, Refused):  # a refusal that is written down
            raise reply
        gone = isinstance(command, Delete | Clean) and running.book.campaign.status is Status.DELETED
        if gone and self.campaigns.get(ref) is running:
            await self._retire(ref)  # durable by now; once, though several may have asked
        return reply

    async def _let_go(self, ref: str, agents: Sequence[str]) -> None:
        """What other campaigns give up is free once it is durable; their books, which whoever asks may have looked at, show it
        a moment before."""
        others = {other for agent in agents for other in self.claims.agents.get(agent, ()) if other != ref}
        for running in [self.campaigns[one] for one in others if one in self.campaigns]:
            with contextlib.suppress(NotOwner):  # then the claim stands
                await running.actor.caught_up()

    def _with_clocks(self, book: Book, command: Dial | ClickToCall) -> Dial | ClickToCall:
        """What time it is where the contact may be: the core has no clocks."""
        if isinstance(command, Dial):
            held = book.reservations.get(command.reservation)
            contact = book.contacts.by_ref.get(held.contact) if held is not None else None
        else:
            contact = book.contacts.by_ref.get(command.contact)
        if contact is None or self.zones is None:
            return command  # without clocks, whatever depends on the time is refused
        offsets = {number: self.zones.offsets(contact.zone, number, command.at) for number in contact.numbers}
        return msgspec.structs.replace(command, offsets=offsets)

    async def create(self, command: Create) -> bool:
        """Create a campaign; False if it was there with the same body."""
        async with self._creating:
            await self.direct(UseCampaignRef(at=command.at, by=command.by, ref=command.ref))
            running = self.campaigns.get(command.ref) or await self._open_campaign(command.ref)
        before = running.book.campaign.status
        await running.actor.submit(command)
        return before is Status.ABSENT

    async def add_contacts(self, ref: str, command: AddContacts) -> tuple[Added, dict[str, str]]:
        """Add contacts whose refs are free; returns (what became of them, for each clashing ref its first campaign)."""
        refs = tuple(one.ref for one in command.contacts)
        clashes = await self.use_refs(directories.UseContactRefs(at=command.at, campaign=ref, refs=refs))
        free = tuple(one for one in command.contacts if one.ref not in clashes)
        added: Added = await self.submit(ref, msgspec.structs.replace(command, contacts=free)) if free else Added()
        return added, clashes

    async def use_refs(self, command: directories.UseContactRefs) -> dict[str, str]:
        """Keep contact refs for a campaign; returns for each clashing one its first campaign. Raises Refused."""
        self.campaign(command.campaign)
        clashes: dict[str, str] = await self.direct(command)
        return clashes

    async def register_agent(self, command: directories.RegisterAgent) -> None:
        """Register or change an agent; allocations follow the new phone. Refused while the old phone is in use."""
        allocated = [one for one in self.campaigns.items() if command.agent in one[1].book.agents]
        for ref, running in allocated:
            agent = running.book.agents[command.agent]
            if agent.presence is not Presence.ABSENT and agent.phone_name != command.phone:
                raise against_rule("agent-present", f"agent {agent.id!r} is on the line in campaign {ref!r}", "phone")
        await self.direct(command)
        for ref, running in allocated:
            agent = running.book.agents[command.agent]
            if agent.phone_name != command.phone:
                allocate = Allocate(
                    at=command.at,
                    by=command.by,
                    agent=agent.id,
                    phone=command.phone,
                    line=agent.line,
                    default_state=agent.default_state,
                    weight=agent.weight,
                )
                await self.submit(ref, allocate)

    async def _retire(self, ref: str) -> None:
        """Raises Refused and NotOwner, with all as it was: whoever deletes it again goes on from here."""
        now = self.clock.now_ms()
        await self.direct(RetireCampaign(at=now, ref=ref))
        self.claims.standing.retire(ref, now)
        running = self.campaigns.pop(ref, None)
        if running is None:  # several asked
            return
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        await running.actor.log.close()
        self.store.drop_keys(log_of(ref))

    # -- observations and effects -------------------------------------------------------------------------------------

    def hear(self, seen: LegObservation | PbxObservation) -> None:
        """The PBX's door: synchronous, never blocks, never raises."""
        if isinstance(seen, PbxUp):
            self._pbx_up(seen)
        elif isinstance(seen, PbxDown):
            if self.claims.pbx_up:
                self._heard_until = seen.at
            self.claims.pbx_up, self.pbx_reason = False, seen.reason
            log.warning("pbx down", reason=seen.reason)
        else:
            self._hear_leg(seen)

    def _hear_leg(self, seen: LegObservation) -> None:
        running = self.campaigns.get(self.claims.legs.get(seen.leg, ""))
        if running is not None:
            running.actor.post(seen)
        elif isinstance(seen, LegCreated | LegReady):
            self._hang_up_stranger(seen.leg)

    def _pbx_up(self, up: PbxUp) -> None:
        self.claims.pbx_up, self.pbx_reason = True, ""
        log.info("pbx up", legs=len(up.legs), restarted=up.restarted)
        by_campaign: dict[str, dict[str, Any]] = {ref: {} for ref in self.campaigns}
        for leg in up.legs:
            owner = self.claims.legs.get(leg.leg)
            if owner in by_campaign:
                by_campaign[owner][leg.leg] = leg
            else:
                self._hang_up_stranger(leg.leg)
        for ref, legs in by_campaign.items():
            resync = Resync(at=up.at, legs=legs, restarted=up.restarted, heard_until=self._heard_until)
            self.campaigns[ref].actor.post(resync)

    def _hang_up_stranger(self, leg: str) -> None:
        """A leg of our making that no log knows. Whoever lost a log can't tell it from its new owner's: it lets it be."""
        if self._holds_all():
            log.warning("a leg that nobody knows", leg=leg, hung_up=True)
            self._telephony.perform(HangUp(leg=leg))
        else:
            self._spawn(self._look_again(leg), f"stranger {leg}")

    async def _look_again(self, leg: str) -> None:
        """Who was frozen hears the PBX before it hears that its lease ran out, and maybe that nobody took it."""
        for _ in range(STRANGER_LOOKS):
            await asyncio.sleep(STRANGER_LOOK_MS / 1_000)
            if self._holds_all():
                self._hang_up_stranger(leg)
                return
        log.warning("a leg that nobody knows", leg=leg, hung_up=False)

    def _may_act(self, leg: str) -> bool:
        """Who was frozen on the way from a commit to the PBX must not do what its successor has settled meanwhile."""
        running = self.campaigns.get(self.claims.legs.get(leg, ""))
        return self._holds_all() if running is None else running.actor.lost is None and running.actor.log.holds

    def _holds_all(self) -> bool:
        actors = [self._directory_actor, *(one.actor for one in self.campaigns.values())]
        return all(one is not None and one.lost is None and one.log.holds for one in actors)

    def _ring(self, ref: str, alarm: Alarm) -> None:
        running = self.campaigns.get(ref)
        if running is not None:
            running.actor.post(alarm)

    def _perform(self, ref: str, effect: Effect) -> None:
        match effect:
            case SetTimer():
                self._timers.set(ref, effect.key, effect.due, effect.alarm)
            case CancelTimer():
                self._timers.cancel(ref, effect.key)
            case Suppress():
                self._spawn(self._suppress(ref, effect), f"suppress {ref}")
            case _:
                self._telephony.perform(effect)

    async def _suppress(self, ref: str, effect: Suppress) -> None:
        """A crash before the campaign's log says that it is done does it again: the disposition stands there."""
        name, numbers = list_chosen(effect.list, ref), effect.numbers
        async with self._suppressing:
            while True:
                at = self.clock.now_ms()
                try:
                    await self.direct(
                        directories.ListNumbers(at=at, by=f"disposition:{effect.contact}", list=name, numbers=numbers)
                    )
                    break
                except StoreAway:
                    await asyncio.sleep(SUPPRESS_RETRY_MS / 1_000)
                except NotOwner:
                    return
                except Refused as refused:
                    if refused.fault is not Fault.BUSY:
                        raise
                    await asyncio.sleep(SUPPRESS_RETRY_MS / 1_000)
        self.claims.standing.arrived(name, effect.contact, numbers)
        running = self.campaigns.get(ref)
        if running is not None:
            running.actor.post(Suppressed(at=self.clock.now_ms(), contact=effect.contact, list=effect.list))

    def _bridge(self, ref: str, pos: int, bridges: Sequence[BridgeLegs]) -> None:
        """Audio follows the call-connected notifications, which stand before a position of the log."""
        if self.announcer is None or self.announcer.is_announced(log_of(ref), pos):
            for effect in bridges:
                self._telephony.perform(effect)
        else:
            self._spawn(self._announce_then(self.announcer, ref, pos, bridges), f"bridge {ref} {pos}")

    async def _announce_then(self, announcer: Announcer, ref: str, pos: int, bridges: Sequence[BridgeLegs]) -> None:
        """A receiver that dawdles doesn't keep the contacts waiting."""
        try:
            async with asyncio.timeout(self.limits.announce_timeout_ms / 1_000):
                await announcer.announced(log_of(ref), pos)
        except TimeoutError:
            log.warning("bridged before the notification was sent", campaign=ref, pos=pos)
        for effect in bridges:
            self._telephony.perform(effect)

    def _committed(self, name: str, recorded: Sequence[Recorded]) -> None:
        for follower in self.followers:
            follower(name, recorded)

    def _snapshot_every(self, contacts: int) -> float:
        return max(self.limits.snapshot_every_events, contacts * self.limits.snapshot_every_contacts)

    async def drop_snapshots(self, ref: str) -> None:
        """Somebody was erased: what was kept of a campaign before goes, and what is being kept right now."""
        digest.cache_clear()
        running = self.campaigns.get(ref)
        self._drops[ref] = self._drops.get(ref, 0) + 1
        if running is not None:
            running.snapshots.forget()
        await self.store.drop_snapshots(log_of(ref))


__all__ = ["DIRECTORY", "Engine", "Limits", "NotOwner", "Refused", "Running", "log_of"]
