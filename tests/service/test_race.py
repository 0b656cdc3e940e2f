"""However many agents ask at the same time, over HTTP: a contact is in one hand."""

import asyncio
from collections import Counter

import pytest

from engine.app import log_of
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
