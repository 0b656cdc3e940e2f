"""Sound on a leg of the real PBX, whose far ends by themselves are silent: a tone, sent as RTP to the PBX's own port.

The PBX here takes sound from any address (strictrtp=no), so the port is all it takes; and how to find a tone again.
"""

import asyncio
import math
import struct
from collections.abc import Sequence

RATE_HZ = 8_000
PACKET_MS = 20
PACKET_SAMPLES = RATE_HZ * PACKET_MS // 1_000
PCMA = 8
AMPLITUDE = 8_000


class Tone:
    """One tone to one UDP port of loopback, from `start` to `stop`. `hz` must divide the rate's tenth: it has no seams."""

    def __init__(self, port: int, hz: int) -> None:
        samples = (int(AMPLITUDE * math.sin(2 * math.pi * hz * place / RATE_HZ)) for place in range(RATE_HZ))
        self._sound = bytes(alaw(sample) for sample in samples)
        self._address, self._source = ("127.0.0.1", port), hz
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        self._sending = asyncio.create_task(self._send(transport), name=f"tone {self._source}")

    async def stop(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send(self, transport: asyncio.DatagramTransport) -> None:
        loop = asyncio.get_running_loop()
        started, number = loop.time(), 0
        try:
            while True:
                first = number * PACKET_SAMPLES
                head = struct.pack("!BBHII", 0x80, PCMA, number & 0xFFFF, first & 0xFFFFFFFF, self._source)
                at = first % RATE_HZ
                transport.sendto(head + self._sound[at : at + PACKET_SAMPLES], self._address)
                number += 1
                await asyncio.sleep(started + number * PACKET_MS / 1_000 - loop.time())
        finally:
            transport.close()


def alaw(sample: int) -> int:
    """One 16-bit sample as G.711 A-law."""
    sign, magnitude = (0x80, sample) if sample >= 0 else (0, -sample - 1)
    magnitude = min(magnitude, 32_767) >> 3
    segment = (magnitude >> 5).bit_length()
    return (sign | segment << 4 | (magnitude >> max(1, segment) & 0x0F)) ^ 0x55


def loudness(samples: Sequence[int], hz: int) -> float:
    """How loud a tone is in 16-bit samples of 8 kHz: its amplitude (Goertzel)."""
    factor = 2 * math.cos(2 * math.pi * hz / RATE_HZ)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    return math.sqrt(max(0.0, last * last + before * before - factor * last * before)) * 2 / max(1, len(samples))
