"""A PBX that says anything at all: the parser reads it or gives up by name, and what is kept of it is bounded."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ami.resync import Resync, ResyncFailed
from adapters.ami.settings import MESSAGE_MAX_BYTES
from adapters.ami.telephony import AmiTelephony
from adapters.ami.translate import WANTED_EVENTS, LegTracker, seen
from adapters.ami.wire import END, Framer, Message, StreamBroken
from engine.core.telephony import LegObservation, OriginateContact, PbxObservation, PbxUp
from tests.adapters.ami.peer import Peer, soon
from tests.adapters.ami.recording import NAMES, load
from tests.hostile.effort import effort

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
LEGS = [digit * 32 for digit in "0123"]
CONTROLS = st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])

HEADER_NAMES = st.text(CONTROLS, min_size=1, max_size=12).filter(lambda name: ":" not in name)
HEADER_VALUES = st.text(CONTROLS, max_size=40)
WELL_FORMED = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), min_size=1, max_size=6)

HOSTILE_NUMBERS = st.sampled_from(
    ["", "0", "16", "-1", "+1", "1e9", "nan", "٣", "²", "9" * 5_000, "99999", "0x1f", " 5 "]
)
LEG_IDS = st.one_of(st.sampled_from(LEGS[:2]), st.sampled_from(LEGS), st.text(max_size=40))
FIELDS = {
    "destuniqueid": st.sampled_from(LEGS),
    "channel": st.text(max_size=40),
    "channelstate": st.one_of(st.sampled_from(["5", "6"]), HOSTILE_NUMBERS),
    "cause": HOSTILE_NUMBERS,
    "techcause": HOSTILE_NUMBERS,
    "context": st.sampled_from(["ringfold-agent", "ringfold-contact", "ringfold-bridge", "", "other"]),
    "bridgeuniqueid": st.sampled_from(["b1", "b2", "b3", ""]),
    "bridgeid": st.sampled_from(["b1", "b2", ""]),
    "bridgenumchannels": st.one_of(st.sampled_from(["1", "2"]), HOSTILE_NUMBERS),
    "bridgetechnology": st.sampled_from(["simple_bridge", "holding_bridge", ""]),
    "userevent": st.sampled_from(["RingfoldReady", "RingfoldBridge", "RingfoldRecording", "Other"]),
    "result": st.text(max_size=20),
    "dialstatus": st.sampled_from(["RINGING", "ANSWER", ""]),
    "response": st.sampled_from(["Failure", "Success", "Error", ""]),
    "uptime": HOSTILE_NUMBERS,
}
EVENTS = st.builds(
    lambda name, fields: {"event": name, **fields},
    st.sampled_from(sorted(name.decode() for name in WANTED_EVENTS)),
    st.fixed_dictionaries({"uniqueid": LEG_IDS}, optional=FIELDS),
)


def pieces(data: bytes, edges: Iterable[int]) -> list[bytes]:
    """The bytes cut at these places, each taken modulo the length."""
    cuts = [0, *sorted(edge % (len(data) + 1) for edge in edges), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


def read(chunks: Iterable[bytes]) -> tuple[list[Message], str]:
    """What a framer made of the stream, and why it gave up, if it did. Any other error is a bug."""
    framer, messages = Framer(WANTED_EVENTS), list[Message]()
    try:
        for chunk in chunks:
            messages += framer.feed(chunk)
            assert len(framer._tail) <= MESSAGE_MAX_BYTES
    except StreamBroken as broken:
        return messages, str(broken)
    return messages, ""


@given(st.lists(WELL_FORMED, max_size=5), st.lists(st.integers(min_value=0), max_size=12))
@effort(150)
def test_what_is_well_formed_is_read_as_it_was_written_however_it_is_cut(
    written: list[list[tuple[str, str]]], edges: list[int]
) -> None:
    stream = BANNER
    for headers in written:
        stream += b"Response: Success\r\n"
        stream += b"".join(f"{name}: {value}\r\n".encode() for name, value in headers) + b"\r\n"

    messages, broken = read(pieces(stream, edges))

    assert not broken
    assert [message["response"] for message in messages] == ["Success"] * len(written)
    for headers, message in zip(written, messages, strict=True):
        for name, _ in headers:
            firsts = [value for known, value in headers if known.lower() == name.lower()]
            assert name.lower() in ("event", "response") or message[name.lower()] == firsts[0].strip(" ")


@given(
    source=st.one_of(st.sampled_from(NAMES).map(load), st.binary(max_size=400)),
    holes=st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 60), st.binary(max_size=30)), max_size=6),
    edges=st.lists(st.integers(min_value=0), max_size=20),
    greeted=st.booleans(),
)
@effort(150)
def test_a_damaged_stream_is_read_alike_however_it_is_cut(
    source: bytes, holes: list[tuple[int, int, bytes]], edges: list[int], greeted: bool
) -> None:
    stream = (BANNER if greeted else b"") + source
    for place, length, noise in holes:
        at = place % (len(stream) + 1)
        stream = stream[:at] + noise + stream[at + length :]

    assert read(pieces(stream, edges)) == read([stream])


@given(st.lists(st.sampled_from([b"x" * 300_000, b"\r\n", b"\r\n\r", b": ", BANNER, END]), max_size=14))
@effort(60)
def test_what_waits_for_its_end_is_bounded(chunks: list[bytes]) -> None:
    read(chunks)


@pytest.mark.parametrize(
    "headers",
    [
        b"event: VarSet\r\n",
        b"EVENT: VarSet\r\n",
        b"Privilege: x\r\nEvent: VarSet\r\n",
        b"Event:VarSet\r\n",
        b"Event: Hangup2\r\nEvent: Hangup\r\n",
        b"A: b\r\nEvent: " + b"x" * 1_000 + b"\r\n",
    ],
)
def test_an_event_that_nobody_asked_for_is_dropped_wherever_its_name_stands(headers: bytes) -> None:
    """Events are counted by name: names that the PBX chooses would be counters without end."""
    messages, _ = read([BANNER + headers + b"\r\n"])

    assert messages == []


@given(st.lists(EVENTS, max_size=30))
@effort(50)
def test_events_with_any_values_are_understood_or_passed_over(events: list[Message]) -> None:
    tracker = LegTracker()

    for event in events:
        for observation in tracker.see(event, 1):
            assert observation.leg in LEGS
        if (leg := seen(event, 1)) is not None:
            tracker.adopt(leg)
        assert len(tracker._waiting) <= len(tracker) <= len(LEGS)

    for leg_id in LEGS:
        tracker.forget(leg_id)
    assert not tracker._waiting


def test_a_leg_that_moves_from_bridge_to_bridge_waits_in_the_last_alone() -> None:
    tracker, leg = LegTracker(), LEGS[0]
    tracker.see({"event": "Newchannel", "uniqueid": leg}, 1)
    enters = {"event": "BridgeEnter", "uniqueid": leg, "context": "ringfold-bridge", "bridgenumchannels": "1"}

    for bridge in range(100):
        tracker.see({**enters, "bridgeuniqueid": f"b{bridge}"}, 1)

    assert tracker._waiting == {"b99": leg}


def test_who_leaves_a_bridge_takes_nobody_along_who_waits_there_since() -> None:
    tracker = LegTracker()
    enters = {"event": "BridgeEnter", "context": "ringfold-bridge", "bridgenumchannels": "1", "bridgeuniqueid": "b1"}
    for leg in LEGS[:2]:
        tracker.see({"event": "Newchannel", "uniqueid": leg}, 1)
        tracker.see({**enters, "uniqueid": leg}, 1)

    tracker.forget(LEGS[0])
    joined = tracker.see({**enters, "uniqueid": "an agent's", "context": "", "bridgenumchannels": "2"}, 1)

    assert [one.leg for one in joined] == [LEGS[1]]


class Asked:
    """An AmiClient that is asked and never answers."""

    def new_id(self) -> str:
        return "r1"


@given(st.lists(EVENTS, max_size=10))
@effort(50)
async def test_whatever_comes_while_asking_what_lives_is_taken(events: list[Message]) -> None:
    resync = Resync(Asked())  # type: ignore[arg-type]

    for event in events:
        resync.take(event)


async def test_a_list_of_channels_without_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.ami.resync.LISTED_MAX_CHANNELS", 100)
    resync = Resync(Asked())  # type: ignore[arg-type]

    for _ in range(1_000):
        resync.take({"event": "Status", "actionid": ""})

    assert len(resync._statuses) == 100
    with pytest.raises(ResyncFailed):
        await resync._complete


@pytest.mark.parametrize(
    "said",
    [
        b"\x00" * 3_000_000,
        b"\r\n" * 200_000,
        b"Event: Hangup\r\n" * 100_000,
        b"Response: Success\r\nActionID: \r\n\r\n" * 2_000,
        b"Event: Newchannel\r\nUniqueid: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"Event: FullyBooted\r\nUptime: " + b"9" * 10_000 + b"\r\n\r\n",
        "Event: Hangup\r\nUniqueid: ٣٣\r\nCause: ²\r\n\r\n".encode(),
        b"\xff\xfe\xed\xa0\x80: \xc0\x80\r\n\r\n" * 1_000,
    ],
    ids=["nul", "blank lines", "one header", "answers", "long value", "long number", "digits", "no utf-8"],
)
async def test_a_pbx_that_talks_nonsense_is_survived_and_dialled_through_afterwards(said: bytes) -> None:
    """On the connection that remains, or on the next one."""
    heard: list[LegObservation | PbxObservation] = []
    async with Peer() as peer:
        telephony = AmiTelephony(peer.settings())
        await telephony.start(heard.append)
        try:
            for writer in peer._writers:
                writer.write(said)
            effect = OriginateContact(leg=LEGS[0], trunk="carrier", number="15551234", ring_timeout_ms=1, caller_id="")

            def dialled() -> bool:
                if not peer.of("Originate"):
                    telephony.perform(effect)  # refused while the connection is down
                return bool(peer.of("Originate"))

            await soon(dialled)
            await soon(lambda: sum(isinstance(one, PbxUp) for one in heard) == peer.logins)
        finally:
            await telephony.stop()
