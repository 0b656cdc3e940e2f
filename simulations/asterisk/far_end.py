"""Who is called: a carrier and agents' phones, as SIP servers by sipp, and one phone that does as it is told."""

import asyncio
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.asterisk.child import Child
from simulations.asterisk.installation import Installation
from simulations.asterisk.port import free_port

SCENARIOS = Path(__file__).parent / "scenario"
START_TIMEOUT_S = 5.0
START_POLL_S = 0.02
HANDSET_TIMEOUT_S = 10.0
RINGING_S = 0.1


class NotListening(Exception):
    """A far end didn't open its port. Carries the end of its output."""


class FarEnd:
    """A sipp process that answers calls by one scenario, on a UDP port of loopback."""

    scenario = ""

    def __init__(self, work: Path, installation: Installation) -> None:
        self._work, self._installation = work.resolve(), installation
        self._child: Child | None = None
        self.port = free_port()
        self._media_port, self._control_port = free_port(), free_port()

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running

    @property
    def pid(self) -> int:
        """0 while it doesn't run."""
        return self._child.pid if self._child is not None and self._child.is_running else 0

    async def start(self) -> None:
        """Return when its port is open. Raises NotListening."""
        if self.is_running:
            return
        self._work.mkdir(parents=True, exist_ok=True)
        options = {
            "-sf": SCENARIOS / f"{self.scenario}.xml",
            "-i": "127.0.0.1",
            "-p": self.port,
            "-mi": "127.0.0.1",
            "-mp": self._media_port,
            "-cp": self._control_port,
            "-error_file": self._work / f"{self.scenario}.errors",
            "-f": 3600,
        }
        self._child = Child(
            f"sipp {self.scenario}",
            [
                *self._installation.sipp(),
                *(str(part) for option in options.items() for part in option),
                "-nostdin",
                "-trace_err",
            ],
            log=self._work / f"{self.scenario}.output",
            cwd=self._work,
            environment={"TERM": "dumb"},
        )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not _is_bound(self.port):
                if not self._child.is_running:
                    raise NotListening(f"sipp ended: {self._child.said()}")
                await asyncio.sleep(START_POLL_S)

    async def stop(self) -> None:
        """At once, without a word to the calls that it has."""
        if self._child is not None:
            await self._child.stop(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class Carrier(FarEnd):
    """Decides by the first digit of the number, as told at the head of scenario/carrier.xml."""

    scenario = "carrier"


class Phones(FarEnd):
    """agent1 … agentN, who answer; and those named for what they do, as told at the head of scenario/phones.xml."""

    scenario = "phones"
    BEHAVING = ("agent_busy", "agent_reject", "agent_silent", "agent_hangs")
    ABSENT = "agent_absent"
    """A phone that the PBX knows and can't reach."""

    def __init__(self, work: Path, installation: Installation, agents: int) -> None:
        super().__init__(work, installation)
        self.agents = tuple(f"agent{number}" for number in range(1, agents + 1))

    def ports(self) -> Mapping[str, int | None]:
        """SIP port of each phone, as `Asterisk` takes them."""
        return {**dict.fromkeys((*self.agents, *self.BEHAVING), self.port), self.ABSENT: None}


class Handset(asyncio.DatagramProtocol):
    """One phone in our own hands: it rings, answers by itself, and hangs up when told. One call at a time.

    No retransmission and no sound: on loopback the first is not needed and nobody hears the second.
    """

    name = "agent_handset"

    def __init__(self) -> None:
        self.port = free_port()
        self._transport: asyncio.DatagramTransport | None = None
        self._invite = ""
        self._peer = ("", 0)
        self._answering: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self.is_up = False

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))

    async def stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
        if self._transport is not None:
            self._transport.close()

    async def answered(self) -> None:
        """Wait until the PBX has acknowledged our answer. Raises TimeoutError."""
        await self._until(True)

    async def hung_up(self) -> None:
        """Wait until no call is left. Raises TimeoutError."""
        await self._until(False)

    def hang_up(self) -> None:
        """Send BYE for the call in progress."""
        host, port = self._peer
        self._send(
            f"BYE sip:pbx@{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK-bye-{_header(self._invite, 'Call-ID')}",
            "Max-Forwards: 70",
            f"From: {_header(self._invite, 'To')};tag={self.port}",
            f"To: {_header(self._invite, 'From')}",
            f"Call-ID: {_header(self._invite, 'Call-ID')}",
            "CSeq: 1 BYE",
        )

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = data.decode("utf-8", "replace")
        match request.partition(" ")[0]:
            case "INVITE" if _header(request, "Call-ID") != _header(self._invite, "Call-ID"):
                self._invite, self._peer = request, addr
                self._reply(request, "180 Ringing")
                loop = asyncio.get_running_loop()
                self._answering = loop.call_later(RINGING_S, self._reply, request, "200 OK", True)
            case "ACK":
                self._set(is_up=True)
            case "CANCEL":
                self._cancelled(request)
            case "BYE":
                self._reply(request, "200 OK")
                self._set(is_up=False)
            case "SIP/2.0" if " BYE" in _header(request, "CSeq"):
                self._set(is_up=False)
            case "OPTIONS":
                self._reply(request, "200 OK")
            case _:
                pass  # a retransmission

    def _cancelled(self, request: str) -> None:
        if self._answering is not None:
            self._answering.cancel()
        self._reply(request, "200 OK")
        self._reply(self._invite, "487 Request Terminated")

    def _set(self, *, is_up: bool) -> None:
        self.is_up = is_up
        self._changed.set()

    async def _until(self, is_up: bool) -> None:
        async with asyncio.timeout(HANDSET_TIMEOUT_S):
            while self.is_up is not is_up:
                self._changed.clear()
                await self._changed.wait()

    def _reply(self, request: str, status: str, with_sound: bool = False) -> None:
        to = _header(request, "To")
        headers = [f"{name}: {_header(request, name)}" for name in ("Via", "From", "Call-ID", "CSeq")]
        headers.append(f"To: {to}" if "tag=" in to else f"To: {to};tag={self.port}")
        headers.append(f"Contact: <sip:{self.name}@127.0.0.1:{self.port}>")
        lines = (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            f"m=audio {self.port} RTP/AVP 8",
        )
        self._send(f"SIP/2.0 {status}", *headers, body="".join(f"{line}\r\n" for line in lines) if with_sound else "")

    def _send(self, *lines: str, body: str = "") -> None:
        assert self._transport is not None, "not started"
        kind = ("Content-Type: application/sdp",) if body else ()
        head = "".join(f"{line}\r\n" for line in (*lines, *kind, f"Content-Length: {len(body)}"))
        self._transport.sendto(f"{head}\r\n{body}".encode(), self._peer)


def _header(message: str, name: str) -> str:
    found = re.search(rf"^{name}:[ \t]*(.*?)\r?$", message, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


def _is_bound(port: int) -> bool:
    """Whether somebody on this machine has the UDP port."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(wanted) for line in lines)
