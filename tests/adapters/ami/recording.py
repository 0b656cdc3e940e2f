"""Recorded streams, and what the translator makes of them."""

import re
from pathlib import Path

from adapters.ami.translate import WANTED_EVENTS, LegTracker
from adapters.ami.wire import Framer, Message
from engine.core.telephony import LegObservation

FOLDER = Path(__file__).parent / "recordings"
NAMES = sorted(path.stem for path in FOLDER.glob("*.raw"))
AT = 1_700_000_000_000


def load(name: str) -> bytes:
    """One stream, in which older names of ids, contexts and user events are replaced by today's."""
    raw = (FOLDER / f"{name}.raw").read_bytes()
    raw = re.sub(rb"\b([0-9a-f]{8})-A\b", lambda found: found[1] * 4, raw)
    raw = re.sub(rb"\bg-([0-9a-f]{8})\b", lambda found: found[1][::-1] * 4, raw)
    for old, new in ((b"bridgeto", b"ringfold-bridge"), (b"agentloop", b"ringfold-agent")):
        raw = raw.replace(b"Context: " + old + b"\r\n", b"Context: " + new + b"\r\n")
    return raw.replace(b"UserEvent: BridgeResult\r\n", b"UserEvent: RingfoldBridge\r\n")


def messages(raw: bytes) -> list[Message]:
    return list(Framer(WANTED_EVENTS).feed(b"Asterisk Call Manager/11.0.0\r\n" + raw))


def originated(raw: bytes) -> list[str]:
    """The legs whose originate the PBX accepted, in order."""
    ids = re.findall(rb"Event: (?:Newchannel|OriginateResponse)\r\n(?:[^\r]+\r\n)*?Uniqueid: ([0-9a-f]{32})\r\n", raw)
    return list(dict.fromkeys(leg.decode() for leg in ids))


def observe(raw: bytes, tracker: LegTracker | None = None) -> list[LegObservation]:
    tracker = tracker or LegTracker()
    for leg in originated(raw):
        tracker.expect(leg)
    return [seen for message in messages(raw) for seen in tracker.see(message, AT)]


def of(observations: list[LegObservation], leg: str) -> list[LegObservation]:
    return [seen for seen in observations if seen.leg == leg]


def names(observations: list[LegObservation]) -> list[str]:
    return [type(seen).__name__ for seen in observations]
