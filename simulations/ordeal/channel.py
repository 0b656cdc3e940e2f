"""What the PBX itself says of its channels: those that live, asked over a login of our own, and all that were, from its CEL.

Read without any of the engine's code, for it is what the engine is judged by.
"""

import asyncio
import csv
from pathlib import Path

import msgspec

from simulations.asterisk import Asterisk

ANSWER_WITHIN_S = 10.0


class Channel(msgspec.Struct, frozen=True):
    """`leg` is its unique id: for a contact's channel the id of its call."""

    leg: str
    name: str

    def is_on(self, trunk: str) -> bool:
        """A contact's; the others are agents' phones."""
        return self.name.startswith(f"PJSIP/{trunk}-")


async def living(pbx: Asterisk) -> tuple[Channel, ...]:
    """Every channel that lives at this moment. Raises OSError, EOFError, TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pbx.ami_port)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            writer.write(_action("Login", Username=pbx.username, Secret=pbx.secret, Events="off"))
            writer.write(_action("Status", ActionID="living"))
            return await _listed(reader)
    finally:
        writer.close()


async def _listed(reader: asyncio.StreamReader) -> tuple[Channel, ...]:
    found: list[Channel] = []
    while True:
        block = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace")
        told = dict(line.split(": ", 1) for line in block.split("\r\n") if ": " in line)
        if told.get("ActionID") != "living":
            continue
        if told.get("Event") == "Status":
            found.append(Channel(told["Uniqueid"], told["Channel"]))
        elif told.get("Event") == "StatusComplete" or told.get("Response") == "Error":
            return tuple(found)


def _action(name: str, **headers: str) -> bytes:
    return ("".join(f"{key}: {value}\r\n" for key, value in {"Action": name, **headers}.items()) + "\r\n").encode()


class Row(msgspec.Struct, frozen=True):
    """One event of a channel's life: CHAN_START, ANSWER, BRIDGE_ENTER, BRIDGE_EXIT or HANGUP. `at_s` is epoch seconds."""

    channel: Channel
    event: str
    at_s: float


def written(cel: Path) -> list[Row]:
    """All that the PBX wrote down, in its order. A line that it died over is left out."""
    if not cel.exists():
        return []
    whole, _, _ = cel.read_text("utf-8", "replace").rpartition("\n")
    rows = (row for row in csv.reader(whole.splitlines()) if len(row) == 5)
    return [Row(Channel(leg, name), event, float(at_s)) for leg, event, at_s, _, name in rows]
