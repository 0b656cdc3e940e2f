"""The dictionary that small groups of events are packed with, trained on what agents at work write down.

A dictionary is storage: what was packed with one needs that one for ever. This made the one that there is, and never writes
over it: a better one is for a codec number of its own in `eventstore/packing.py`.
"""

from collections import Counter
from itertools import chain, islice
from pathlib import Path

import msgspec
import zstandard

from engine.core.book import stream_of
from engine.core.contact import ContactsAdded
from simulations.bench.history import History

BYTES = 8_192
EVENTS, GROUP_EVENTS = 30_000, 16
CONTACTS, AGENTS, SEED = 2_000, 60, 2
"""Other events than those of the benchmark of sizes: a dictionary of what it measures would flatter it."""


def trained() -> bytes:
    history = History(CONTACTS, AGENTS, SEED)
    turns = chain(history.begin(), history.turns())
    events = (one for turn in turns for one in turn if not isinstance(one, ContactsAdded))  # a list is no small group
    versions = Counter[str]()
    lines: list[bytes] = []
    for event in islice(events, EVENTS):
        stream = stream_of(event)
        versions[stream] += 1
        lines.append(msgspec.json.encode((stream, versions[stream], event)) + b"\n")
    groups: list[bytes | bytearray | memoryview] = [
        b"".join(lines[first : first + GROUP_EVENTS]) for first in range(0, EVENTS, GROUP_EVENTS)
    ]
    return zstandard.train_dictionary(BYTES, groups, level=6).as_bytes()


def main(file: Path) -> None:
    """Train the dictionary and write it to a new file."""
    with file.open("xb") as out:
        out.write(trained())
    print(f"written: {file.name}")
