"""The adapter alone against a real Asterisk: what it tells of each call, and what a lost connection does to it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import pytest

from adapters.ami.check import check
from adapters.ami.client import AmiLoginRefused
from adapters.ami.settings import AmiSettings
from adapters.ami.telephony import AmiTelephony
from engine.core.telephony import (
    BridgeLegs,
    BridgeRefused,
    HangUp,
    LegAbsent,
    LegBridged,
    LegEnded,
    LegObservation,
    LegReady,
    LegRinging,
    LegSeen,
    LegState,
    OriginateAgent,
    OriginateContact,
    OriginateFailed,
    OriginateRejected,
    PbxDown,
    PbxObservation,
    PbxUp,
    Settle,
)
from simulations.asterisk import Site

SOON_S = 10.0
ANSWERED = ["LegCreated", "LegRinging", "LegAnswered", "LegReady"]


def settings_of(site: Site, **changes: object) -> AmiSettings:
    pbx = site.asterisk
    own: dict[str, object] = {
        "port": pbx.ami_port,
        "username": pbx.username,
        "secret": pbx.secret,
        "cel_path": str(pbx.cel_path),
        "reconnect_min_ms": 20,
        "reconnect_max_ms": 200,
    }
    return AmiSettings(**{**own, **changes})  # type: ignore[arg-type]


class Line:
    """The adapter, connected, and what it told."""

    def __init__(self, site: Site, settings: AmiSettings) -> None:
        self.site = site
        self.telephony = AmiTelephony(settings)
        self.seen: list[LegObservation | PbxObservation] = []

    def of(self, kind: type[object], leg: str = "") -> list[LegObservation | PbxObservation]:
        return [seen for seen in self.seen if isinstance(seen, kind) and (not leg or getattr(seen, "leg", "") == leg)]

    def names(self, leg: str) -> list[str]:
        """Kinds of what was told of a leg. OriginateFailed may come anywhere or not at all, and proves nothing."""
        told = [type(seen).__name__ for seen in self.seen if getattr(seen, "leg", "") == leg]
        return [name for name in told if name != "OriginateFailed"]

    async def until(self, kind: type[object], leg: str = "", times: int = 1) -> LegObservation | PbxObservation:
        await soon(lambda: len(self.of(kind, leg)) >= times)
        return self.of(kind, leg)[times - 1]

    def dial(self, number: str, ring_timeout_ms: int = 8_000) -> str:
        leg = uuid.uuid4().hex
        trunk = self.site.asterisk.trunk
        self.telephony.perform(
            OriginateContact(
                leg=leg, trunk=trunk, number=number, ring_timeout_ms=ring_timeout_ms, caller_id="+15550000"
            )
        )
        return leg

    def ring(self, phone: str, ring_timeout_ms: int = 8_000) -> str:
        leg = uuid.uuid4().hex
        self.telephony.perform(
            OriginateAgent(leg=leg, phone=phone, ring_timeout_ms=ring_timeout_ms, caller_id="Ringfold <1000>")
        )
        return leg

    async def talk(self, number: str, phone: str = "agent1") -> tuple[str, str]:
        """An agent's leg and a contact's that share audio."""
        agent = self.ring(phone)
        ready = await self.until(LegReady, agent)
        assert isinstance(ready, LegReady)
        contact = self.dial(number)
        await self.until(LegReady, contact)
        self.telephony.perform(BridgeLegs(leg=contact, agent_leg=agent, agent_channel=ready.channel))
        await self.until(LegBridged, contact)
        return agent, contact

    async def ended(self, leg: str) -> LegEnded:
        ended = await self.until(LegEnded, leg)
        assert isinstance(ended, LegEnded)
        return ended

    async def clear(self) -> None:
        """Leave no channel of ours to the next test."""
        legs = {getattr(seen, "leg", "") for seen in self.seen} - {""}
        for leg in legs - {getattr(seen, "leg", "") for seen in self.of(LegEnded)}:
            self.telephony.perform(HangUp(leg=leg))
        await asyncio.sleep(0.2)


async def soon(condition: Callable[[], object], every_s: float = 0.01) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(every_s)


@asynccontextmanager
async def connected(site: Site, **changes: object) -> AsyncIterator[Line]:
    line = Line(site, settings_of(site, **changes))
    await line.telephony.start(line.seen.append)
    await line.until(PbxUp)
    try:
        yield line
        await line.clear()
    finally:
        await line.telephony.stop()


class Proxy:
    """Between adapter and PBX: ends the connection as soon as the PBX has been given an action, or before."""

    def __init__(self, port: int) -> None:
        self._pbx_port = port
        self.cut_at: bytes = b""
        self.passes_on = True
        self.port = 0
        self.forwarded: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_pbx, to_pbx = await asyncio.open_connection("127.0.0.1", self._pbx_port)
        back = asyncio.create_task(self._back(from_pbx, writer))
        self._tasks.add(back)
        try:
            while data := await reader.read(65_536):
                is_cut = bool(self.cut_at) and self.cut_at in data
                if self.passes_on or not is_cut:
                    to_pbx.write(data)
                    await to_pbx.drain()
                    self.forwarded.append(data)
                if is_cut:
                    self.cut_at = b""
                    back.cancel()
                    break
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            to_pbx.close()  # what was written still reaches the PBX

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


# -- calls ------------------------------------------------------------------------------------------------------------


async def test_a_call_that_the_contact_ends(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        agent, contact = await line.talk("61234567")

        ended = await line.ended(contact)

        assert line.names(contact) == [*ANSWERED, "LegBridged", "LegEnded"]
        assert (ended.answered, ended.far_end) == (True, True)
        assert line.names(agent) == ANSWERED, "the agent's phone stays up"


async def test_an_agent_serves_one_contact_after_another_on_the_same_leg(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        agent, first = await line.talk("11234567")
        line.telephony.perform(HangUp(leg=first))
        await line.ended(first)
        (ready,) = line.of(LegReady, agent)
        assert isinstance(ready, LegReady)

        second = line.dial("11234568")
        await line.until(LegReady, second)
        line.telephony.perform(BridgeLegs(leg=second, agent_leg=agent, agent_channel=ready.channel))
        await line.until(LegBridged, second)

        assert line.names(agent) == ANSWERED


async def test_a_call_that_the_agent_ends(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        agent, contact = await line.talk("11234567", phone="agent_hangs")

        assert (await line.ended(agent)).far_end
        ended = await line.ended(contact)

        assert (ended.answered, ended.far_end) == (True, False)
        assert line.of(BridgeRefused, contact) == []


async def test_a_call_that_the_dialer_ends(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        agent, contact = await line.talk("11234567")

        line.telephony.perform(HangUp(leg=contact))
        ended = await line.ended(contact)

        assert (ended.answered, ended.far_end, ended.cause) == (True, False, 16)
        assert line.of(LegEnded, agent) == []


@pytest.mark.parametrize(
    ("number", "cause", "sip_code"),
    [("21234567", 17, 486), ("41234567", 34, 503), ("51234567", 1, 404), ("71234567", 21, 603), ("91234567", 19, 480)],
    ids=["busy", "congestion", "invalid", "rejected", "unavailable"],
)
async def test_a_refused_call(asterisk: Site, number: str, cause: int, sip_code: int) -> None:
    async with connected(asterisk) as line:
        ended = await line.ended(line.dial(number))

    told = sip_code if asterisk.asterisk.major >= 22 else 0
    assert (ended.cause, ended.sip_code, ended.answered, ended.far_end) == (cause, told, False, True)


async def test_nobody_answers(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        leg = line.dial("31234567", ring_timeout_ms=1_500)

        ended = await line.ended(leg)

        assert line.of(LegRinging, leg)
        assert (ended.answered, ended.ringing, ended.far_end) == (False, True, False)
        assert ended.cause in {19, 0}


async def test_a_hangup_right_behind_its_originate_is_carried_out(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        leg = line.dial("31234567")
        line.telephony.perform(HangUp(leg=leg))

        ended = await line.ended(leg)

        assert (
            not ended.answered
        )  # far_end is either: the carrier's 487 to our CANCEL may count as the party letting go


@pytest.mark.parametrize(("phone", "cause"), [("agent_busy", 17), ("agent_reject", 21)])
async def test_a_phone_that_refuses(asterisk: Site, phone: str, cause: int) -> None:
    async with connected(asterisk) as line:
        assert (await line.ended(line.ring(phone))).cause == cause


@pytest.mark.parametrize("phone", ["agent_absent", "no_such_phone"])
async def test_a_phone_that_cannot_be_reached_is_a_failure_and_then_absent(asterisk: Site, phone: str) -> None:
    async with connected(asterisk) as line:
        leg = line.ring(phone)
        await line.until(OriginateFailed, leg)
        line.telephony.perform(Settle(leg=leg, delay_ms=100))
        await line.until(LegAbsent, leg)

        assert line.names(leg) == ["LegAbsent"]


async def test_an_agent_who_is_gone_is_a_refused_bridge(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        contact = line.dial("11234567")
        await line.until(LegReady, contact)
        line.telephony.perform(BridgeLegs(leg=contact, agent_leg="f" * 32, agent_channel="PJSIP/agent1-ffffffff"))

        refused = await line.until(BridgeRefused, contact)

        assert isinstance(refused, BridgeRefused)
        assert refused.result == "NONEXISTENT"


async def test_an_id_in_use_dials_nobody_twice(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        leg = line.dial("11234567")
        await line.until(LegReady, leg)
        trunk = asterisk.asterisk.trunk
        line.telephony.perform(
            OriginateContact(leg=leg, trunk=trunk, number="11234567", ring_timeout_ms=8_000, caller_id="")
        )
        await asyncio.sleep(0.5)

        assert line.names(leg) == ANSWERED


async def test_an_injection_reaches_nobody(asterisk: Site) -> None:
    async with connected(asterisk) as line:
        leg = line.dial("11234567,1,G(evil^s^1)")
        rejected = await line.until(OriginateRejected, leg)

        assert isinstance(rejected, OriginateRejected)
        assert rejected.reason == "invalid number"


# -- the connection ---------------------------------------------------------------------------------------------------


async def test_a_wrong_secret(asterisk: Site) -> None:
    with pytest.raises(AmiLoginRefused, match="Authentication failed"):
        await AmiTelephony(settings_of(asterisk, secret="wrong")).start(lambda _: None)


async def test_the_shipped_configuration_passes_the_check(asterisk: Site) -> None:
    findings = await check(settings_of(asterisk, cel_path=""))

    assert [finding.what for finding in findings if not finding.ok] == []


@pytest.mark.parametrize("passes_on", [True, False], ids=["it dialled", "it never heard of it"])
async def test_a_cut_between_originate_and_response_is_settled_by_the_pbx(asterisk: Site, passes_on: bool) -> None:
    """EX-02, the adapter's part: dialled at most once, and its fate asked for instead of assumed."""
    async with Proxy(asterisk.asterisk.ami_port) as proxy, connected(asterisk, port=proxy.port) as line:
        proxy.cut_at, proxy.passes_on = b"Action: Originate", passes_on
        leg = line.dial("31234567")
        await line.until(PbxUp, times=2)
        line.telephony.perform(Settle(leg=leg, delay_ms=500))
        await soon(lambda: line.of(LegSeen, leg) or line.of(LegAbsent, leg))

        assert bool(line.of(LegSeen, leg)) is passes_on
        assert b"".join(proxy.forwarded).count(b"Action: Originate") == int(passes_on)
        assert line.of(OriginateRejected) == []


async def test_a_call_that_ended_unheard_is_told_by_the_channel_event_log(asterisk: Site) -> None:
    late = {"reconnect_min_ms": 3_000, "reconnect_max_ms": 3_000}
    async with (
        Proxy(asterisk.asterisk.ami_port) as proxy,
        connected(asterisk, port=proxy.port, **late) as line,
    ):
        proxy.cut_at = b"Action: Originate"
        leg = line.dial("21234567")  # busy, while nobody listens
        await line.until(PbxDown)
        await line.until(PbxUp, times=2)
        line.telephony.perform(Settle(leg=leg, delay_ms=0))

        ended = await line.ended(leg)

        assert (ended.cause, ended.answered) == (17, False)
        assert line.of(LegAbsent, leg) == []


async def test_a_talk_outlives_the_connection(asterisk: Site) -> None:
    async with Proxy(asterisk.asterisk.ami_port) as proxy, connected(asterisk, port=proxy.port) as line:
        agent, contact = await line.talk("11234567")
        proxy.cut_at = b"Action: Hangup"
        line.telephony.perform(HangUp(leg="f" * 32))

        up = await line.until(PbxUp, times=2)

        assert isinstance(up, PbxUp)
        seen = {leg.leg: leg for leg in up.legs}
        assert (seen[contact].state, seen[contact].bridged) == (LegState.UP, True)
        assert (seen[agent].ready, seen[agent].bridged) == (True, True)
        assert not up.restarted


async def test_a_crash_of_the_pbx_mid_call(fresh_asterisk: Site) -> None:
    async with connected(fresh_asterisk) as line:
        await line.talk("11234567")
        await asyncio.sleep(1.1)  # a PBX's start is told to the second

        await fresh_asterisk.asterisk.kill()
        await line.until(PbxDown)
        await fresh_asterisk.asterisk.start()
        up = await line.until(PbxUp, times=2)

        assert isinstance(up, PbxUp)
        assert (up.legs, up.restarted) == ((), True)


async def test_a_pbx_that_hangs_is_noticed_and_found_again(fresh_asterisk: Site) -> None:
    async with connected(fresh_asterisk, ping_interval_ms=200, dead_after_ms=800) as line:
        fresh_asterisk.asterisk.freeze()
        down = await line.until(PbxDown)
        fresh_asterisk.asterisk.thaw()
        up = await line.until(PbxUp, times=2)

        assert isinstance(down, PbxDown)
        assert down.reason.startswith("silent for")
        assert isinstance(up, PbxUp)
        assert not up.restarted
