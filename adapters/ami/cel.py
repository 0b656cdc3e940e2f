"""How legs ended while nobody listened, from the tail of the PBX's CEL file.

One CSV row an event, as our cel_custom.conf writes it: uniqueid, event type, time, extra, channel. The extra of a
HANGUP is JSON with `hangupcause` and, where somebody's hang-up is known, `hangupsource` (a channel's name).
"""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from adapters.ami.settings import CEL_TAIL_MAX_BYTES
from engine.core.telephony import LegEnded

UNIQUEID, EVENT, _TIME, EXTRA, CHANNEL = range(5)


class _Extra(msgspec.Struct, frozen=True):
    hangupcause: int = 0
    hangupsource: str = ""


def endings(path: str, legs: frozenset[str], at: int) -> dict[str, LegEnded]:
    """Endings of those of `legs` that the last CEL_TAIL_MAX_BYTES of the file tell of. Raises OSError.

    The SIP status isn't in CEL (0). `at` is when it was found out: the PBX's own time may be of another clock.
    """
    answered: set[str] = set()
    ended: dict[str, LegEnded] = {}
    for row in csv.reader(_tail_lines(path)):
        if len(row) <= CHANNEL or row[UNIQUEID] not in legs:
            continue
        leg = row[UNIQUEID]
        if row[EVENT] == "ANSWER":
            answered.add(leg)
        elif row[EVENT] == "HANGUP":
            extra = _extra(row[EXTRA])
            ended[leg] = LegEnded(
                leg=leg,
                at=at,
                cause=extra.hangupcause,
                sip_code=0,
                answered=leg in answered,
                ringing=False,
                far_end=extra.hangupsource != "" and extra.hangupsource == row[CHANNEL],
                later=True,
            )
    return ended


def _tail_lines(path: str) -> Iterable[str]:
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - CEL_TAIL_MAX_BYTES))
        text = file.read(CEL_TAIL_MAX_BYTES).decode("utf-8", "replace").replace("\0", "")
    lines = text.split("\n")
    whole = lines[1:] if size > CEL_TAIL_MAX_BYTES else lines
    return (line for line in whole[:-1])  # the last is empty, or still being written


def _extra(text: str) -> _Extra:
    try:
        return msgspec.json.decode(text, type=_Extra)
    except (msgspec.DecodeError, ValueError):
        return _Extra()
