"""An agent's leg serves contact after contact, however closely they follow each other.

A contact's end is told before the agent's leg is back in the holding bridge. A Bridge right then is refused, or takes the leg
out of its dialplan, and Asterisk hangs it up after the talk: of many such moments some must be hit here.
"""

import asyncio
from functools import partial

from engine.core.telephony import BridgeLegs, BridgeRefused, HangUp, LegBridged, LegReady
from simulations.asterisk import Site
from tests.asterisk.conftest import AGENTS
from tests.asterisk.test_ami import ANSWERED, Line, connected, soon

ROUNDS = 10


def _is_joined_or_refused(line: Line, contact: str) -> bool:
    return bool(line.of(LegBridged, contact) or line.of(BridgeRefused, contact))


async def _serve(line: Line, phone: str) -> tuple[str, list[str]]:
    """The agent's leg and those of the contacts, each joined at the moment at which the one before is hung up."""
    agent, served = line.ring(phone), list[str]()
    ready = await line.until(LegReady, agent)
    assert isinstance(ready, LegReady)
    for _ in range(ROUNDS):
        contacts = [line.dial("11234567") for _ in range(2)]
        for contact in contacts:
            await line.until(LegReady, contact)
        for contact in contacts:
            line.telephony.perform(BridgeLegs(leg=contact, agent_leg=agent, agent_channel=ready.channel))
            served.append(contact)
            await soon(partial(_is_joined_or_refused, line, contact), every_s=0.001)
            line.telephony.perform(HangUp(leg=contact))
        await line.ended(contacts[1])
    return agent, served


async def test_an_agents_leg_outlives_contacts_who_follow_at_once(asterisk: Site) -> None:
    """TF-21: whoever was called on their phone stays on the line."""
    async with connected(asterisk, max_originates_per_second=1_000) as line:
        every = await asyncio.gather(*(_serve(line, f"agent{number}") for number in range(1, AGENTS + 1)))

        assert {agent: line.names(agent) for agent, _ in every} == {agent: ANSWERED for agent, _ in every}
        assert line.of(BridgeRefused) == []
        assert all(line.of(LegBridged, contact) for _, served in every for contact in served)
