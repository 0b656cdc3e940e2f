"""The conversations that Ringfold has with a PBX, played by hand, against the simulated one as against the real one.

Numbers decide by their first digit what the carrier does: 1 answers, 2 is busy, 3 rings for ever, 4 is congested (503),
5 doesn't exist (404), 6 answers and hangs up a second later, 7 rejects (603), 8 answers after early media, 9 is
unavailable (480). Phones are named for what they do.
"""

from collections.abc import Awaitable, Callable

from tests.simulations.ami import Ami

AGENT = "a" * 32
OTHER_AGENT = "b" * 32
CONTACT = "c" * 32
OTHER_CONTACT = "d" * 32

Flow = Callable[[Ami], Awaitable[None]]


async def agent_waits(ami: Ami, phone: str = "agent1", leg: str = AGENT) -> str:
    """Bring an agent's leg up into the holding bridge; returns its channel's name."""
    await ami.originate(f"PJSIP/{phone}", "ringfold-agent", leg)
    entered = await ami.event("BridgeEnter", leg)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == leg)
    return entered["Channel"]


async def contact_answers(ami: Ami, number: str = "15551234", leg: str = CONTACT, trunk: str = "carrier") -> None:
    await ami.originate(f"PJSIP/{number}@{trunk}", "ringfold-contact", leg)
    await ami.event("UserEvent", leg, UserEvent="RingfoldReady")
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == leg)


async def bridge(ami: Ami, agent_channel: str, leg: str = CONTACT) -> None:
    """What the engine does to join a waiting contact to an agent."""
    await ami.act("Setvar", Channel=leg, Variable="AGENTCHAN", Value=agent_channel)
    await ami.act("Redirect", Channel=leg, Context="ringfold-bridge", Exten="s", Priority=1)


async def bridged(ami: Ami) -> str:
    channel = await agent_waits(ami)
    await contact_answers(ami)
    await bridge(ami, channel)
    await ami.event("BridgeEnter", CONTACT)
    return channel


async def returned(ami: Ami, times: int = 2, leg: str = AGENT) -> None:
    """Wait until the agent's leg has entered the holding bridge so many times."""

    def count() -> int:
        return sum(m["Event"] == "BridgeEnter" and m.leg == leg and m["BridgeType"] == "base" for m in ami.messages)

    await ami.until(lambda _: count() >= times)


async def hang_up(ami: Ami, leg: str, cause: int | None = 16) -> None:
    await ami.act("Hangup", Channel=leg, **({} if cause is None else {"Cause": cause}))
    await ami.event("Hangup", leg)


async def attempt(ami: Ami, digit: str, timeout_ms: int = 3000) -> None:
    await ami.originate(f"PJSIP/{digit}5551234@carrier", "ringfold-contact", CONTACT, timeout_ms)
    await ami.event("Hangup", CONTACT)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == CONTACT)


async def ring_agent(ami: Ami, phone: str) -> None:
    await ami.originate(f"PJSIP/{phone}", "ringfold-agent", AGENT, 1000)
    await ami.event("Hangup", AGENT)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == AGENT)


# -- whole flows ----------------------------------------------------------------------------------------------------


async def busy(ami: Ami) -> None:
    await attempt(ami, "2")


async def no_answer(ami: Ami) -> None:
    await attempt(ami, "3", timeout_ms=1000)


async def congestion(ami: Ami) -> None:
    await attempt(ami, "4")


async def invalid(ami: Ami) -> None:
    await attempt(ami, "5")


async def rejected(ami: Ami) -> None:
    await attempt(ami, "7")


async def unavailable(ami: Ami) -> None:
    await attempt(ami, "9")


async def early_media(ami: Ami) -> None:
    await contact_answers(ami, "85551234")
    await hang_up(ami, CONTACT)


async def contact_hangs_up_unbridged(ami: Ami) -> None:
    await contact_answers(ami, "65551234")
    await ami.event("Hangup", CONTACT)


async def contact_hangs_up_bridged(ami: Ami) -> None:
    channel = await agent_waits(ami)
    await contact_answers(ami, "65551234")
    await bridge(ami, channel)
    await ami.event("Hangup", CONTACT)
    await returned(ami)
    await hang_up(ami, AGENT)


async def engine_hangs_up_bridged(ami: Ami) -> None:
    await bridged(ami)
    await hang_up(ami, CONTACT)
    await returned(ami)
    await hang_up(ami, AGENT)


async def engine_hangs_up_agent_bridged(ami: Ami) -> None:
    await bridged(ami)
    await hang_up(ami, AGENT)
    await ami.event("Hangup", CONTACT)


async def engine_hangs_up_waiting_contact(ami: Ami) -> None:
    await contact_answers(ami)
    await hang_up(ami, CONTACT)


async def engine_hangs_up_without_cause(ami: Ami) -> None:
    await contact_answers(ami)
    await hang_up(ami, CONTACT, cause=None)


async def cancelled_while_ringing(ami: Ami) -> None:
    await ami.originate("PJSIP/35551234@carrier", "ringfold-contact", CONTACT)
    await ami.event("DialState", CONTACT)
    await ami.event("Newstate", CONTACT)
    await hang_up(ami, CONTACT)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == CONTACT)


async def cancelled_as_rejected(ami: Ami) -> None:
    await ami.originate("PJSIP/35551234@carrier", "ringfold-contact", CONTACT)
    await ami.event("DialState", CONTACT)
    await ami.event("Newstate", CONTACT)
    await hang_up(ami, CONTACT, cause=21)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == CONTACT)


async def redirected_while_ringing(ami: Ami) -> None:
    await ami.originate("PJSIP/35551234@carrier", "ringfold-contact", CONTACT)
    await ami.event("DialState", CONTACT)
    await ami.event("Newstate", CONTACT)
    await bridge(ami, "PJSIP/agent1-ffffffff")
    await ami.event("Hangup", CONTACT)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == CONTACT)


async def agent_gone_before_bridge(ami: Ami) -> None:
    channel = await agent_waits(ami)
    await contact_answers(ami)
    await hang_up(ami, AGENT)
    await bridge(ami, channel)
    await ami.event("Hangup", CONTACT)


async def agent_hangs_up_bridged(ami: Ami) -> None:
    channel = await agent_waits(ami, "agent_hangs")
    await contact_answers(ami)
    await bridge(ami, channel)
    await ami.event("Hangup", AGENT)
    await ami.event("Hangup", CONTACT)


async def agent_hangs_up_waiting(ami: Ami) -> None:
    await agent_waits(ami, "agent_hangs")
    await ami.event("Hangup", AGENT)


async def agent_serves_two_contacts(ami: Ami) -> None:
    channel = await bridged(ami)
    await hang_up(ami, CONTACT)
    await returned(ami)
    await contact_answers(ami, leg=OTHER_CONTACT)
    await bridge(ami, channel, OTHER_CONTACT)
    await ami.event("BridgeEnter", OTHER_CONTACT)
    await hang_up(ami, OTHER_CONTACT)
    await returned(ami, times=3)
    await hang_up(ami, AGENT)


async def second_contact_steals_agent(ami: Ami) -> None:
    channel = await bridged(ami)
    await contact_answers(ami, leg=OTHER_CONTACT)
    await bridge(ami, channel, OTHER_CONTACT)
    await ami.event("Hangup", CONTACT)
    await ami.event("BridgeEnter", OTHER_CONTACT)
    await hang_up(ami, OTHER_CONTACT)
    await returned(ami)
    await hang_up(ami, AGENT)


async def bridge_action(ami: Ami) -> None:
    channel = await agent_waits(ami)
    await contact_answers(ami)
    await ami.act("Bridge", Channel1=channel, Channel2=CONTACT)
    await ami.event("BridgeEnter", CONTACT)
    await hang_up(ami, CONTACT)
    await returned(ami)
    await hang_up(ami, AGENT)


async def redirected_nowhere(ami: Ami) -> None:
    await contact_answers(ami)
    await ami.act("Redirect", Channel=CONTACT, Context="nowhere", Exten="s", Priority=1)
    await ami.event("Hangup", CONTACT)


async def two_agents_wait(ami: Ami) -> None:
    await agent_waits(ami)
    await agent_waits(ami, "agent2", OTHER_AGENT)
    await hang_up(ami, AGENT, cause=None)
    await hang_up(ami, OTHER_AGENT)


async def agent_busy(ami: Ami) -> None:
    await ring_agent(ami, "agent_busy")


async def agent_rejects(ami: Ami) -> None:
    await ring_agent(ami, "agent_reject")


async def agent_rings_out(ami: Ami) -> None:
    await ring_agent(ami, "agent_silent")


async def agent_absent(ami: Ami) -> None:
    await ami.originate("PJSIP/agent_absent", "ringfold-agent", AGENT)
    await ami.until(lambda m: m["Event"] == "OriginateResponse" and m["Uniqueid"] == AGENT)


FLOWS: tuple[Flow, ...] = (
    busy,
    no_answer,
    congestion,
    invalid,
    rejected,
    unavailable,
    early_media,
    contact_hangs_up_unbridged,
    contact_hangs_up_bridged,
    engine_hangs_up_bridged,
    engine_hangs_up_agent_bridged,
    engine_hangs_up_waiting_contact,
    engine_hangs_up_without_cause,
    cancelled_while_ringing,
    cancelled_as_rejected,
    redirected_while_ringing,
    agent_gone_before_bridge,
    agent_hangs_up_bridged,
    agent_hangs_up_waiting,
    agent_serves_two_contacts,
    second_contact_steals_agent,
    bridge_action,
    redirected_nowhere,
    two_agents_wait,
    agent_busy,
    agent_rejects,
    agent_rings_out,
    agent_absent,
)
