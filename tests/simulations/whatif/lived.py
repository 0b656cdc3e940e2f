"""A day to run again: what agents of a simulated world lived, with all that may come from outside in between."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.core.campaign import Modify
from engine.core.contact import NewContact, Priority
from engine.core.directory import ListNumbers
from engine.core.message import AddContacts, CancelContact, ClickToCall
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.ports import ANY, Append, Recorded
from engine.service import LogEvent
from eventstore import Codec, open_store
from simulations.world.loop import in_virtual_time
from simulations.world.scenario import Agents, Callees, Scenario
from simulations.world.watch import Sample, Watcher
from simulations.world.world import REF, World

SCENARIO = Scenario(
    name="a day",
    hours=1.5,
    contacts=200,
    agents=Agents(count=3, preview_s=20, wrapup_s=30, shifts=("08:00-08:40 08:50-09:30",)),
    callees=Callees(answer=0.3, answer_by_hour={"09": 0.5}),
)
SEED = 3
LATE = tuple(f"{REF}:late{place}" for place in range(20))
"""Contacts that are added half an hour after the world's beginning, before all others in the queue."""
CANCELLED, LISTED, CLICKED = (f"{REF}:{place:06}" for place in (199, 198, 197))
SETTINGS = {"max_lines": 2}


class Outside(Watcher):
    """What comes from outside while the agents work."""

    def attend(self, world: World) -> None:
        comes = ((1_200, _click), (1_800, _add), (1_801, _cancel), (1_802, _list), (2_700, _edit))
        for after_s, come in comes:
            world.loop.create_task(self._later(world, after_s, come))

    async def _later(self, world: World, after_s: float, come: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        await asyncio.sleep(after_s)
        await come(world)

    def see(self, now: Sample, _world: World) -> None: ...


async def _click(world: World) -> None:
    """As soon as somebody has nothing else in hand."""
    while True:
        ids: dict[str, Any] = {name: world.new_id() for name in ("reservation", "token", "call", "leg")}
        agent = next((name for name in ("agent0", "agent1", "agent2") if world.held(name) is None), "agent0")
        click = ClickToCall(
            at=world.now_ms(), by="crm", request="deal-1", agent=agent, contact=CLICKED, number=None, **ids
        )
        try:
            await world.submit(click)
        except Refused:
            await asyncio.sleep(1)
        else:
            return


async def _add(world: World) -> None:
    new = tuple(
        NewContact(ref, Person(ref, Details(numbers=(f"4{place:09}",), name="Somebody")), priority=Priority.HIGH)
        for place, ref in enumerate(LATE)
    )
    await world.engine.add_contacts(REF, AddContacts(at=world.now_ms(), by="m", contacts=new))


async def _cancel(world: World) -> None:
    await world.submit(CancelContact(at=world.now_ms(), by="m", contact=CANCELLED, reason="gone"))


async def _list(world: World) -> None:
    numbers = world.engine.campaigns[REF].book.contacts.by_ref[LISTED].numbers
    await world.engine.direct(ListNumbers(at=world.now_ms(), by="m", list="global", numbers=numbers))


async def _edit(world: World) -> None:
    await world.submit(Modify(at=world.now_ms(), by="m", settings=SETTINGS))


Logs = Mapping[str, Sequence[Recorded]]


def lived(scenario: Scenario = SCENARIO, seed: int = SEED) -> Logs:
    """The logs of the campaign `spring` over a stretch of a day, as the production engine wrote them."""

    def live(loop: Any) -> Coroutine[Any, Any, Logs]:
        world = World(scenario, seed, loop)

        async def whole() -> Logs:
            result = await world.live(Outside())
            assert result.violations == []
            return {name: await world.read(name) for name in (DIRECTORY, log_of(REF))}

        return whole()

    return in_virtual_time(live, seed)


async def write(url: str, logs: Logs) -> None:
    """Into a store that is empty."""
    store = await open_store(url, Codec(LogEvent), owner="the past")
    try:
        for name, recorded in logs.items():
            log = await store.open_log(name)
            await log.append([Append(one.stream, ANY, [one.event]) for one in recorded])
            await log.close()
    finally:
        await store.close()
