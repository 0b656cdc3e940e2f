"""Record anew what the real PBX says in each flow: `python -m tests.asterisk.record [FOLDER]`.

The login is the shipped one, so the recordings hold exactly what an engine hears.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import SupportsIndex

from simulations.asterisk import Site
from tests.simulations.ami import Ami
from tests.simulations.flows import FLOWS

RECORDINGS = Path(__file__).parent / "recordings"
SETTLE_S = 0.5
"""Until the last stragglers of a flow, such as the other leg's end, have come."""


class Tape(asyncio.StreamReader):
    """Keeps a copy of all that was received."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = bytearray()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.heard += bytes(data)
        super().feed_data(data)


async def login(site: Site) -> tuple[Ami, Tape]:
    tape = Tape()
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(tape, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, "127.0.0.1", site.asterisk.ami_port)
    ami = Ami(tape, asyncio.StreamWriter(transport, protocol, tape, loop))
    response = await ami.act("Login", Username=site.asterisk.username, Secret=site.asterisk.secret)
    assert response["Response"] == "Success", response
    await ami.until(lambda m: m["Event"] == "FullyBooted")
    return ami, tape


async def record(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ringfold-record-") as work:
        async with Site(Path(work)) as site:
            for flow in FLOWS:
                ami, tape = await login(site)
                tape.heard.clear()  # the flow alone: the greeting and the answer to the login are the same each time
                await flow(ami)
                await asyncio.sleep(SETTLE_S)
                await ami.close()
                (folder / f"{flow.__name__}.raw").write_bytes(tape.heard)
                print(f"{flow.__name__}: {len(tape.heard)} bytes", flush=True)  # noqa: T201 - a tool for the terminal


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDINGS))
