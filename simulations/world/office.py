"""What managers and CRMs do: they found campaigns, list numbers, click to call, and ask again until it is answered."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from engine.actor import NotOwner
from engine.campaigns import log_of
from engine.core.agent import DefaultState, Line
from engine.core.campaign import Create, Mode, RetryRule, Settings, Start, Status, Stop, Window
from engine.core.contact import NewContact
from engine.core.directory import ListNumbers
from engine.core.interaction import Interaction
from engine.core.message import AddContacts, Allocate, AskAgent, ClickToCall, Next
from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.core.reservation import Phase, Reservation
from simulations.world.agent import ANSWER_WITHIN_S
from simulations.world.crm import address

if TYPE_CHECKING:
    from simulations.world.world import World

CONTACTS_PER_COMMAND = 1_000
LINK_GROUP = "seasons"
CLICK_FOR_S = 60
"""How long somebody clicks again, who is refused."""
CLICK_EVERY_S = 0.5
ANYBODY = 0.5
"""How many clicks are on any contact: the others are on the next one that the agent has before them."""


class Office:
    def __init__(self, world: "World") -> None:
        self.world, self.rules = world, world.scenario.rules

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """While agents work."""
        listing = [self._list_numbers(self.rules.listed)] if self.rules.listed else []
        return [*listing, *([self._click_now_and_then(self.rules.clicks)] if self.rules.clicks else [])]

    async def found(self, ref: str) -> None:
        """A campaign with its contacts and agents, and started."""
        world = self.world
        now, engine = world.now_ms(), world.engine
        create = Create(at=now, by="m", ref=ref, name=ref.title(), mode=Mode.PREVIEW, settings=self._settings())
        await world.inside(engine.create(create))
        new = self._contacts(ref)
        for begin in range(0, len(new), CONTACTS_PER_COMMAND):
            some = tuple(new[begin : begin + CONTACTS_PER_COMMAND])
            await engine.add_contacts(ref, AddContacts(at=now, by="m", contacts=some))
        for name in world.agents_of(ref):
            line = Line.ON_DEMAND if world.people.rings_for_each_call(name) else Line.NAILED
            allocate = Allocate(
                at=now, by="m", agent=name, phone=name, line=line, default_state=DefaultState.AVAILABLE, weight=1
            )
            await world.submit(allocate, ref)
        await world.submit(Start(at=now, by="m"), ref)

    async def stop(self, ref: str, within_s: float) -> None:
        """Asked for until it is so."""
        world = self.world
        until_s = world.loop.time() + within_s
        while world.loop.time() < until_s:
            status = world.engine.campaigns[ref].book.campaign.status
            if status is Status.STOPPED:
                return
            if status is not Status.STOPPING:
                await self._is_done(world.submit(Stop(at=world.now_ms(), by="m"), ref))
            await asyncio.sleep(1)

    def _settings(self) -> Settings:
        rules = self.rules
        start, _, end = rules.window.partition("-")
        return Settings(
            max_lines=self.world.lines,
            attempts_per_contact=rules.per_contact,
            number_attempts_per_day=rules.per_number_a_day,
            retries=(RetryRule(outcome=Outcome.BUSY, after_s=rules.retry_s, growth=2.0),),
            windows=(Window(start=start, end=end),) if end else (),
            interaction=Interaction.EXTERNAL_URL if rules.crm else Interaction.FORM,
            external_url=address(rules.crm) if rules.crm else None,
            link_group=LINK_GROUP if rules.linked else "",
        )

    def _contacts(self, ref: str) -> list[NewContact]:
        """Of all contacts those of one campaign: they are dealt in turn, so that those who share a number may be apart."""
        rules, refs, chance = self.rules, self.world.refs, Random(f"{self.world.seed}/contacts")
        new: list[NewContact] = []
        number = ""
        for place in range(self.world.scenario.contacts):
            if not number or chance.random() >= rules.shared_numbers:
                number = f"3{place:09}"
            if refs[place % len(refs)] == ref:
                contact = _contact(ref, place)
                new.append(NewContact(contact, Person(contact, Details(numbers=(number,))), zone=self.zone(place)))
        return new

    def zone(self, place: int) -> str:
        return self.rules.zones[place % len(self.rules.zones)]

    async def _list_numbers(self, per_hour: float) -> None:
        """A CRM has numbers not called any more: in a campaign, or in all."""
        world, chance = self.world, Random(f"{self.world.seed}/crm")
        while True:
            await asyncio.sleep(chance.expovariate(per_hour / 3_600))
            name = chance.choice(("global", *map(log_of, world.refs)))
            numbers = (f"3{chance.randrange(world.scenario.contacts):09}",)
            while not await self._is_listed(name, numbers):
                await asyncio.sleep(ANSWER_WITHIN_S)

    async def _is_listed(self, name: str, numbers: tuple[str, ...]) -> bool:
        world = self.world
        if not world.engine.directory_position:
            return False
        return await self._is_done(
            world.engine.direct(ListNumbers(at=world.now_ms(), by="crm", list=name, numbers=numbers))
        )

    async def _click_now_and_then(self, per_hour: float) -> None:
        world, chance = self.world, Random(f"{self.world.seed}/clicks")
        request = 0
        while True:
            await asyncio.sleep(chance.expovariate(per_hour / 3_600))
            request += 1
            place = chance.randrange(world.scenario.contacts)
            ref = world.refs[place % len(world.refs)]
            agent = chance.choice(world.agents_of(ref))
            contact = _contact(ref, place) if chance.random() < ANYBODY else ""
            until_s = world.loop.time() + CLICK_FOR_S
            while world.loop.time() < until_s:
                held = world.held(agent, ref)
                if not contact and held is not None and held.phase is Phase.OFFERED:
                    contact = held.contact
                if contact and await self._is_clicked(ref, f"click {request}", agent, contact):
                    break
                await asyncio.sleep(CLICK_EVERY_S)

    async def _is_clicked(self, ref: str, request: str, agent: str, contact: str) -> bool:
        world = self.world
        ids: dict[str, Any] = {name: world.new_id() for name in ("reservation", "token", "call", "leg")}
        click = ClickToCall(
            at=world.now_ms(), by="crm", request=request, agent=agent, contact=contact, number=None, **ids
        )
        return await self._is_done(world.submit(click, ref))

    async def _is_done(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether it was answered in time, and not refused."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await work
        except (Refused, NotOwner, TimeoutError):
            return False
        return True


def _contact(ref: str, place: int) -> str:
    return f"{ref}:{place:06}"


class Desk:
    """What an agent sees of the world: the campaigns that they work for, by turns."""

    def __init__(self, world: "World", refs: Sequence[str]) -> None:
        self.world, self._refs = world, deque(refs)
        self._of: dict[str, str] = {}
        """The campaign by reservation, of those that were seen in hand."""
        self.now_ms, self.now_s, self.new_id, self.change = world.now_ms, world.now_s, world.new_id, world.change

    async def submit(self, command: Any) -> Any:
        if isinstance(command, AskAgent):
            return await self._tell_all(command)
        if isinstance(command, Next):
            return await self._next(command)
        return await self.world.submit(command, self._of[command.reservation])

    async def _tell_all(self, command: AskAgent) -> None:
        """Done where one campaign takes it: another may have stopped."""
        refused: list[Refused] = []
        for ref in self._refs:
            try:
                await self.world.submit(command, ref)
            except Refused as no:
                refused.append(no)
        if len(refused) == len(self._refs):
            raise refused[0]

    async def _next(self, command: Next) -> Any:
        """What is in hand, or of the first campaign, from the one whose turn it is, that has something."""
        held = self.held(command.agent)
        if held is not None:
            return await self.world.submit(command, self._of[held.id])
        given: Any = None
        refused: list[Refused] = []
        for _ in range(len(self._refs)):
            ref = self._refs[0]
            self._refs.rotate(-1)
            try:
                given = await self.world.submit(command, ref)
            except Refused as no:
                refused.append(no)
                continue
            if isinstance(given, Reservation):
                self._of[given.id] = ref
                return given
        if len(refused) == len(self._refs):
            raise refused[0]
        return given

    def zone(self, contact: str) -> str:
        return self.world.office.zone(int(contact.rpartition(":")[2]))

    def held(self, agent: str) -> Reservation | None:
        """In several hands a call goes before what is only looked at: somebody may have clicked to call."""
        found: Reservation | None = None
        for ref in self._refs:
            held = self.world.held(agent, ref)
            if held is None:
                continue
            self._of[held.id] = ref
            if found is None or found.phase is Phase.OFFERED:
                found = held
        return found
