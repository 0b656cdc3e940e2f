import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ami.settings import MESSAGE_MAX_BYTES
from adapters.ami.translate import WANTED_EVENTS
from adapters.ami.wire import Framer, Message, StreamBroken
from tests.adapters.ami.recording import load

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def fed(*chunks: bytes, wanted: frozenset[bytes] = WANTED_EVENTS) -> list[Message]:
    framer = Framer(wanted)
    return [message for chunk in chunks for message in framer.feed(chunk)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(edge % (len(data) + 1) for edge in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(st.integers(min_value=0), max_size=60))
@settings(deadline=None)
def test_how_the_network_cuts_a_recorded_stream_changes_nothing(edges: list[int]) -> None:
    stream = BANNER + load("ringfold_contact_hangs")

    assert fed(*cut(stream, edges)) == fed(stream)


@given(
    st.lists(
        st.sampled_from([b"Event: Hangup", b"\r\n", b"\r", b"\n", b": ", b"K: v", b"\xff\x00", "é".encode(), BANNER])
    ),
    st.lists(st.integers(min_value=0), max_size=10),
)
def test_any_bytes_in_any_pieces_are_survived_and_read_alike(pieces: list[bytes], edges: list[int]) -> None:
    stream = b"".join(pieces)

    assert fed(*cut(stream, edges)) == fed(stream)


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_noise_never_raises(chunks: list[bytes]) -> None:
    fed(*chunks)


def test_one_byte_at_a_time() -> None:
    stream = BANNER + load("ringfold_busy")

    assert fed(*(stream[i : i + 1] for i in range(len(stream)))) == fed(stream)


def test_a_character_split_over_two_reads_survives() -> None:
    stream = BANNER + "Event: Hangup\r\nCallerIDName: Müller\r\n\r\n".encode()
    middle = stream.index("ü".encode()) + 1

    (message,) = fed(stream[:middle], stream[middle:])

    assert message["calleridname"] == "Müller"


def test_names_are_case_insensitive_and_the_first_of_repeated_headers_counts() -> None:
    (message,) = fed(BANNER + b"Event: Hangup\r\nUniqueID: 1\r\nuniqueid: 2\r\nEmpty: \r\nno colon here\r\n\r\n\r\n")

    assert message == {"event": "Hangup", "uniqueid": "1", "empty": ""}


def test_unwanted_events_are_dropped_and_responses_never() -> None:
    stream = BANNER + b"Event: VarSet\r\nA: b\r\n\r\nResponse: Success\r\n\r\nEvent: Hang\r\n\r\nEvent: Hangup\r\n\r\n"

    assert [message.get("event", "response") for message in fed(stream)] == ["response", "Hangup"]


def test_the_version_is_read_from_the_banner() -> None:
    framer = Framer(WANTED_EVENTS)

    list(framer.feed(BANNER[:10]))
    list(framer.feed(BANNER[10:]))

    assert framer.version == "11.0.0"


@pytest.mark.parametrize("start", [b"", BANNER])
def test_a_message_without_end_is_no_ami(start: bytes) -> None:
    with pytest.raises(StreamBroken):
        fed(start + b"x" * (MESSAGE_MAX_BYTES + 1))
