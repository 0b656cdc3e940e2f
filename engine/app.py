"""The engine: all campaigns of this process and the directory, the commands that they take, and what they want done.

Start-up reads every log back, arms its timers, and only then connects to the PBX, whose first word (`PbxUp`) tells what
still lives. Draining takes no new call and waits for the live ones; what is still up when time runs out is handed over:
the legs stay, and the next owner adopts them.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from engine.actor import Actor, NotOwner, StoreAway
from engine.campaigns import Campaigns, Running, by_and_by, log_of, own, uncollected
from engine.core import directory as directories
from engine.core.agent import Presence
from engine.core.blocks import Attic
from engine.core.book import Book
from engine.core.campaign import Clean, Create, Delete, Start, Status
from engine.core.claims import Claims
from engine.core.directory import ContactRefsUsed, Directory, DirectoryCommand, RetireCampaign, UseCampaignRef
from engine.core.effect import Alarm, CancelTimer, Effect, SetTimer, Suppress, Suppressed
from engine.core.measure import Measures
from engine.core.message import AddContacts, Added, Allocate, AskAgent, ClickToCall, Command, Dial
from engine.core.recent import DAY_MS
from engine.core.refusal import Fault, Refused, absent, against_rule, no_room
from engine.core.standing import list_chosen
from engine.core.telephony import BridgeLegs
from engine.digest import digest_of
from engine.limits import Limits
from engine.ports import Chance, Clock, EventStore, LogArchived, Recorded, Telephony, Unopened, Zones
from engine.recovery import attempts_since
from engine.refs import RefsKeeper, kept_refs
from engine.switchboard import Switchboard
from engine.tasks import Tasks
from engine.timer import Timers

DIRECTORY = "directory"
MAX_SUPPRESSIONS = 64
"""Contacts whose numbers are being put on do-not-call lists at once: the others wait their turn."""
SUPPRESS_RETRY_MS = 50

log = structlog.get_logger(__name__)


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
        self.limits: Final = limits
        self.directory = Directory()
        self.claims = Claims(limits.max_calls_in_setup, limits.trunk_lines)
        self.directory.standing = self.claims.standing
        self.claims.standing.digest = digest_of
        self.draining = False
        self.followers: list[Callable[[str, Sequence[Recorded]], None]] = []
        self._telephony = telephony
        self._tasks = Tasks()
        self.failed = self._tasks.failed
        """Gets the error that ends the engine."""
        self._timers = Timers(clock, self._ring)
        self._directory_actor: Actor | None = None
        self._owned = Campaigns(
            store,
            self.claims,
            clock,
            chance,
            limits,
            self.measures,
            attic,
            self._tasks,
            self._perform,
            self._committed,
            lambda: self.draining,
        )
        self.campaigns = self._owned.by_ref
        self.drop_snapshots, self.saves_snapshot = self._owned.drop_snapshots, self._owned.saves_snapshot
        self.switchboard = Switchboard(telephony, self.campaigns, self.claims, self._holds_all, limits, self._tasks)
        self._creating = asyncio.Lock()
        self._suppressing = asyncio.Semaphore(MAX_SUPPRESSIONS)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read everything back, then connect. Raises what makes starting impossible."""
        await self._open_directory()
        known = set(await self.store.logs())
        for ref, deleted in list(self.directory.campaigns.items()):
            if not deleted and log_of(ref) in known:
                running = await self._owned.open(ref, await own(self.store, log_of(ref)))
                if running.book.campaign.status is Status.DELETED:
                    await self._retire(ref)  # a crash came between
        for ref in self.directory.retired:
            if ref not in self.claims.standing.gone:
                await self.recall_attempts(ref)
        await self._telephony.start(self.switchboard.hear, self.switchboard.may_act)

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
        await self._owned.settled()
        self._timers.cancel_all()  # behind what settling still set, or began
        await self._tasks.stop(one.task for one in self.campaigns.values())
        for one in self.campaigns.values():
            await one.actor.log.close()
        if self._directory_actor is not None:
            await self._directory_actor.log.close()

    async def _open_directory(self) -> None:
        opened = await own(self.store, DIRECTORY)
        try:
            refs_pos, self.directory.contacts = await kept_refs(self.store, opened)
            keeper = RefsKeeper(self.store, self.directory, self.limits.keep_every_refs, self._tasks.spawn)
            with uncollected():
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
        self._tasks.spawn(self._run_directory(actor), DIRECTORY)
        self._tasks.spawn(by_and_by(self.directory.contacts.open_some), "used refs")

    async def _run_directory(self, actor: Actor) -> None:
        await actor.run()
        if not self.draining:
            raise NotOwner("the directory's log belongs to another process now")

    def _holds_all(self) -> bool:
        actors = [self._directory_actor, *(one.actor for one in self.campaigns.values())]
        return all(one is not None and one.lost is None and one.log.holds for one in actors)

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
            running = self.campaigns.get(command.ref) or await self._owned.open(command.ref)
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
        if ref in self.campaigns:  # else several asked
            await self._owned.close(ref)
            self.store.drop_keys(log_of(ref))

    # -- effects ------------------------------------------------------------------------------------------------------

    def _ring(self, ref: str, alarm: Alarm) -> None:
        running = self.campaigns.get(ref)
        if running is not None:
            running.actor.post(alarm)

    def _perform(self, ref: str, effects: Sequence[Effect], pos: int) -> None:
        bridges: list[BridgeLegs] = []
        for effect in effects:
            match effect:
                case BridgeLegs():
                    bridges.append(effect)
                case SetTimer():
                    self._timers.set(ref, effect.key, effect.due, effect.alarm)
                case CancelTimer():
                    self._timers.cancel(ref, effect.key)
                case Suppress():
                    self._tasks.spawn(self._suppress(ref, effect), f"suppress {ref}")
                case _:
                    self._telephony.perform(effect)
        if bridges:
            self.switchboard.bridge(ref, pos, bridges)

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

    def _committed(self, name: str, recorded: Sequence[Recorded]) -> None:
        for follower in self.followers:
            follower(name, recorded)
