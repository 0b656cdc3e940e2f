"""The least that can drive the same call flow: a bare socket to the manager interface, strings cut by hand, no log.

It decides nothing, writes nothing down and survives nothing. Agents' phones are kept up in the same contexts, contacts are
originated, joined and hung up by the same actions as the engine's.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from simulations.bench.dialer import PATIENCE_S, Pbx

UNIQUEID = re.compile(rb"\r\nUniqueid: ([0-9a-f]{32})")
CHANNEL = re.compile(rb"\r\nChannel: ([^\r]+)")


class AgentLeg(NamedTuple):
    leg: str
    channel: str


class _Call(msgspec.Struct):
    agent_channel: str
    hangs_up: bool
    gone: "asyncio.Future[bool]"
    is_joined: bool = False


class Bare(asyncio.Protocol):
    """Use `Bare.connected()`. Legs are ours by their ids, as the engine's are."""

    def __init__(self, pbx: Pbx) -> None:
        self._pbx = pbx
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self._booted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._agents: dict[bytes, asyncio.Future[str]] = {}
        """Phones that ring, by leg."""
        self._up: dict[bytes, asyncio.Future[None]] = {}
        """Phones that are up, by leg, and who waits for their end."""
        self._calls: dict[bytes, _Call] = {}

    @classmethod
    @asynccontextmanager
    async def connected(cls, pbx: Pbx) -> "AsyncIterator[Bare]":
        loop = asyncio.get_running_loop()
        transport, bare = await loop.create_connection(lambda: cls(pbx), "127.0.0.1", pbx.port)
        try:
            await bare.log_in()
            yield bare
        finally:
            transport.close()

    async def log_in(self) -> None:
        self._send("Login", f"Username: {self._pbx.username}", f"Secret: {self._pbx.secret}")
        async with asyncio.timeout(PATIENCE_S):
            await self._booted

    @asynccontextmanager
    async def agents(self, count: int) -> AsyncIterator[Sequence[AgentLeg]]:
        """Phones `agent1` and so on, each waiting in the holding bridge. Raises TimeoutError, naming who didn't come.

        They are hung up at the end, and awaited: a connection that is closed right behind its last actions takes those with
        it that the PBX hasn't read, and the phones would stay up in whoever's way comes next.
        """
        legs = [await self._agent(f"agent{number}") for number in range(1, count + 1)]
        yield legs
        for one in legs:
            self.hang_up(one.leg)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._up.values())

    async def _agent(self, phone: str) -> AgentLeg:
        leg = secrets.token_hex(16)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._agents[leg.encode()] = ready
        self._originate(leg, f"PJSIP/{phone}", "ringfold-agent")
        try:
            async with asyncio.timeout(PATIENCE_S):
                return AgentLeg(leg, await ready)
        except TimeoutError:
            raise TimeoutError(f"{phone} isn't on the line after {PATIENCE_S} s") from None

    async def call(self, number: str, agent_channel: str, *, hangs_up: bool, leg: str = "") -> bool:
        """One whole call: originate, join once it is ready, hang up if asked, until it is gone; whether it was joined."""
        leg = leg or secrets.token_hex(16)
        gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._calls[leg.encode()] = _Call(agent_channel, hangs_up, gone)
        self._originate(leg, f"PJSIP/{number}@{self._pbx.trunk}", "ringfold-contact")
        return await gone

    def hang_up(self, leg: str) -> None:
        self._send("Hangup", f"Channel: {leg}", "Cause: 16")

    async def work(self, channels: Sequence[str], seconds: float) -> int:
        """Agents with these channels for so long, each hanging up at once; how many calls were joined."""
        until = time.perf_counter() + seconds

        async def one(place: int, channel: str) -> int:
            count = 0
            while time.perf_counter() < until:
                count += await self.call(f"1{place:07}", channel, hangs_up=True)
            return count

        return sum(await asyncio.gather(*(one(place, channel) for place, channel in enumerate(channels))))

    def _originate(self, leg: str, channel: str, context: str) -> None:
        fields = (f"Channel: {channel}", f"ChannelId: {leg}", "Async: true", f"Context: {context}", "Exten: s")
        self._send("Originate", *fields, "Priority: 1", "Timeout: 30000", f"Variable: __CALL_UUID={leg}")

    def _send(self, action: str, *fields: str) -> None:
        assert self._transport is not None
        self._transport.write(("\r\n".join((f"Action: {action}", *fields)) + "\r\n\r\n").encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *blocks, self._tail = (self._tail + data).split(b"\r\n\r\n")
        for block in blocks:
            name = block.lstrip(b"\r\n")[:20]
            if name.startswith((b"Event: UserEvent", b"Event: BridgeEnter", b"Event: Hangup")):
                found = UNIQUEID.search(block)
                if found:
                    self._heard(name, found[1], block)
            elif name.startswith(b"Event: FullyBooted") and not self._booted.done():
                self._booted.set_result(None)

    def _heard(self, name: bytes, leg: bytes, block: bytes) -> None:
        if name.startswith(b"Event: UserEvent") and leg in self._agents:
            channel = CHANNEL.search(block)
            assert channel is not None
            self._agents.pop(leg).set_result(channel[1].decode())
            self._up[leg] = asyncio.get_running_loop().create_future()
        elif name.startswith(b"Event: Hangup") and leg in self._up:
            self._up.pop(leg).set_result(None)
        elif (call := self._calls.get(leg)) is None:
            return
        elif name.startswith(b"Event: UserEvent"):
            self._send("Setvar", f"Channel: {leg.decode()}", "Variable: AGENTCHAN", f"Value: {call.agent_channel}")
            self._send("Redirect", f"Channel: {leg.decode()}", "Context: ringfold-bridge", "Exten: s", "Priority: 1")
        elif name.startswith(b"Event: Hangup"):
            del self._calls[leg]
            call.gone.set_result(call.is_joined)
        else:
            call.is_joined = True
            if call.hangs_up:
                self.hang_up(leg.decode())
