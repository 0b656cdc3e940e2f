"""However many agents ask at the same time, over HTTP: a contact is in one hand."""

import asyncio
from collections import Counter

import pytest

from engine.campaigns import log_of
from engine.core.agent import Presence
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved
from tests.service.test_preview import act
from tests.world import World

ROUNDS = 5


@pytest.mark.parametrize("count", [2, 200])
async def test_EX_01_OM_07_agents_race_for_one_contact(service: World, count: int) -> None:
    names = tuple(f"agent{number}" for number in range(1, count + 1))
    await service.campaign("spring", [["15550001"]], agents=names, line="on_demand")
    await service.run("spring")
    clients = {name: service.agent(name) for name in names}
    winners: Counter[str] = Counter()
    for _ in range(ROUNDS):
        answers = await asyncio.gather(
            *(client.call("POST", f"/v1/agents/{name}/next", {}) for name, client in clients.items())
        )
        ((winner, answer),) = [(name, one) for name, one in zip(names, answers, strict=True) if one is not None]
        winners[winner] += 1
        await act(clients[winner], answer["reservation"], "release", reason="race")
    assert winners.total() == ROUNDS
    await never_held_twice(service, "spring")


async def test_EX_01_agents_race_and_work_a_whole_list(service: World) -> None:
    """Forty agents, forty contacts, everybody asks and closes as fast as they can: each contact is closed once."""
    names = tuple(f"agent{number}" for number in range(1, 41))
    contacts = [[f"1555{place:04}"] for place in range(40)]
    await service.campaign("spring", contacts, agents=names, line="on_demand", dispose_without_attempt=True)
    await service.run("spring")

    async def work(name: str) -> int:
        client, closed = service.agent(name), 0
        while (answer := await client.call("POST", f"/v1/agents/{name}/next", {})) is not None:
            await act(client, answer["reservation"], "disposition", disposition="no_contact")
            closed += 1
            if (await service.manager.call("GET", "/v1/campaigns/spring"))["contacts"]["waiting"] == 0:
                break
        return closed

    assert sum(await asyncio.gather(*map(work, names))) == 40
    await never_held_twice(service, "spring")


async def never_held_twice(world: World, ref: str) -> None:
    """The log's own word: between two reservations of a contact lies the end of the first."""
    hand: dict[str, str] = {}
    async for batch in world.service.store.read(log_of(ref)):
        for one in batch:
            if isinstance(one.event, ContactReserved):
                assert one.event.contact not in hand, one
                hand[one.event.contact] = one.event.agent
            elif isinstance(one.event, ContactReleased | ContactDisposed):
                assert hand.pop(one.event.contact) == one.event.agent


async def test_TF_24_who_stops_a_campaign_and_starts_the_next_as_soon_as_it_is_shown_has_its_agents(
    service: World,
) -> None:
    """Polling, as no client should: the book shows that the agents have left a moment before that is durable."""
    refs = ["spring", "summer"]
    for ref in refs:
        await service.campaign(ref, [["15550001"]], agents=("agent1",))
    await service.run("spring")
    for _ in range(2 * ROUNDS):
        await service.ask(refs[0], "stopped")
        while (await service.manager.call("GET", f"/v1/campaigns/{refs[0]}"))["state"] != "stopped":
            await asyncio.sleep(0)
        refs.reverse()
        await service.ask(refs[0], "running")
        agents = service.service.engine.campaigns[refs[0]].book.agents
        async with asyncio.timeout(10):
            while agents["agent1"].presence is not Presence.PRESENT:
                assert agents["agent1"].reason == ""
                await asyncio.sleep(0)
