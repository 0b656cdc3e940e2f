"""A wire between the engine and the PBX that knows when what went by: `python -m simulations.bench.tap PORT PBX_PORT FILE`.

A process of its own, so what is measured includes all waiting in sockets and loops of the engine, and nothing in the engine
is touched. On SIGTERM it writes, by leg, when the originate of a contact came from the engine, when the PBX's word that the
contact has answered and is ready went to it, and when the bridge action came. Times of the machine's monotonic clock, s.
"""

import asyncio
import contextlib
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec

See = Callable[[bytes, float], None]
LEG = re.compile(rb"\r\n(?:ChannelId|Channel|Uniqueid): ([0-9a-f]{32})")


class Seen(msgspec.Struct):
    originate: float = 0.0
    ready: float = 0.0
    bridge: float = 0.0


class Tap:
    def __init__(self) -> None:
        self.legs: defaultdict[bytes, Seen] = defaultdict(Seen)

    def asked(self, block: bytes, at: float) -> None:
        if b"Action: Originate" in block and b"ringfold-contact" in block:
            self._leg(re.sub(rb"\r\nChannel: [^\r]*", b"", block)).originate = at
        elif b"Action: Redirect" in block:
            self._leg(block).bridge = at

    def told(self, block: bytes, at: float) -> None:
        if b"UserEvent: RingfoldReady" in block:
            self._leg(block).ready = at

    def _leg(self, block: bytes) -> Seen:
        found = LEG.search(block)
        return self.legs[found[1] if found else b""]


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, see: See) -> None:
    tail = b""
    try:
        while data := await reader.read(65_536):
            at = time.monotonic()
            writer.write(data)
            *blocks, tail = (tail + data).split(b"\r\n\r\n")
            for block in blocks:
                see(block, at)
    except (ConnectionError, asyncio.CancelledError):
        pass  # whoever measures is done
    finally:
        writer.close()


async def main(port: int, pbx_port: int, file: Path) -> None:
    tap = Tap()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pbx_reader, pbx_writer = await asyncio.open_connection("127.0.0.1", pbx_port)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the tap
            await asyncio.gather(_relay(reader, pbx_writer, tap.asked), _relay(pbx_reader, writer, tap.told))

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print("listening", flush=True)
    await stopped.wait()
    server.close()
    file.write_bytes(msgspec.json.encode({leg.decode(): one for leg, one in tap.legs.items()}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
