"""The connection: each danger of the library, given as a peer's misbehaviour."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import Mock

import pytest

from adapters.ami.action import FieldRefused
from adapters.ami.client import AmiClient, AmiLoginRefused, NotConnected, Unanswered
from adapters.ami.translate import WANTED_EVENTS
from adapters.ami.wire import Message
from tests.adapters.ami.peer import Peer, cut, message, silence, soon


class Seen:
    def __init__(self) -> None:
        self.events: list[Message] = []
        self.lost: list[str] = []


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


def client_of(peer: Peer, seen: Seen, **settings: object) -> AmiClient:
    return AmiClient(peer.settings(**settings), WANTED_EVENTS, seen.events.append, seen.lost.append)


async def test_an_action_is_answered_by_its_own_response(peer: Peer) -> None:
    client = client_of(peer, Seen())
    await client.open()

    first, second = client.ask({"Action": "Ping"}), client.ask({"Action": "CoreStatus"})

    assert (await second)["corestartuptime"] == "12:00:00"
    assert (await first)["response"] == "Success"
    assert client.pending == 0
    client.close()
    await client.wait_closed()


async def test_actions_that_belong_together_are_one_write_and_none_is_sent_if_one_is_refused(peer: Peer) -> None:
    client = client_of(peer, Seen())
    await client.open()
    assert client.protocol is not None
    transport = client.protocol.transport = Mock(wraps=client.protocol.transport)

    with pytest.raises(FieldRefused):
        client.ask_together([{"Action": "Ping"}, {"Action": "Setvar", "Value": "x\r\nAction: Command"}])
    first, second = client.ask_together([{"Action": "Ping"}, {"Action": "CoreStatus"}])

    assert (await second)["corestartuptime"] == "12:00:00"
    assert (await first)["response"] == "Success"
    ((written,),) = (one.args for one in transport.write.call_args_list)
    assert [line for line in written.split(b"\r\n") if line.startswith(b"Action:")] == [
        b"Action: Ping",
        b"Action: CoreStatus",
    ]
    assert client.pending == 0
    client.close()


async def test_a_wrong_secret_is_said_clearly_and_never_shown(peer: Peer) -> None:
    client = client_of(peer, Seen(), secret="another one")

    with pytest.raises(AmiLoginRefused, match="Authentication failed") as refused:
        await client.open()

    assert "another one" not in str(refused.value)
    assert not client.is_open


async def test_nothing_is_sent_before_or_after_the_connection(peer: Peer) -> None:
    seen = Seen()
    client = client_of(peer, seen)
    with pytest.raises(NotConnected):
        client.ask({"Action": "Ping"})
    await client.open()
    peer.drop()
    await soon(lambda: seen.lost)

    with pytest.raises(NotConnected):
        client.ask({"Action": "Originate"})
    assert peer.names() == ["Login"]


async def test_what_was_sent_and_not_answered_is_unknown_and_stays_unsent(peer: Peer) -> None:
    seen = Seen()
    peer.script["Originate"] = cut
    client = client_of(peer, seen)
    await client.open()

    with pytest.raises(Unanswered):
        await client.ask({"Action": "Originate", "Async": "true"})
    await soon(lambda: seen.lost)
    await client.open()
    await client.ask({"Action": "CoreStatus"})
    peer.say(message("Event: FullyBooted", "Uptime: 1"))  # the library's cue to send again
    await client.ask({"Action": "CoreStatus"})

    assert peer.names().count("Originate") == 1
    client.close()


async def test_an_originate_response_reaches_the_sink_and_is_not_taken_for_the_response(peer: Peer) -> None:
    seen = Seen()
    client = client_of(peer, seen)
    await client.open()

    answer = await client.ask({"Action": "Originate", "Async": "true"})
    peer.say(message("Event: OriginateResponse", f"ActionID: {answer['actionid']}", "Response: Failure", "Reason: 0"))
    await soon(lambda: any(event["event"] == "OriginateResponse" for event in seen.events))

    assert answer["message"] == "Originate successfully queued"
    client.close()


async def test_a_waiter_who_gives_up_leaves_nothing_behind(peer: Peer) -> None:
    peer.script["Getvar"] = silence
    client = client_of(peer, Seen())
    await client.open()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.ask({"Action": "Getvar"}), 0.02)
    await asyncio.sleep(0)

    assert client.pending == 0
    client.close()


async def test_an_answer_that_never_comes_is_given_up(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.ami.client.ANSWER_TIMEOUT_MS", 20)
    peer.script["Getvar"] = silence
    client = client_of(peer, Seen())
    await client.open()

    with pytest.raises(Unanswered):
        await client.ask({"Action": "Getvar"})

    assert client.pending == 0
    assert client.is_open
    client.close()


async def test_a_peer_that_falls_silent_is_dropped(peer: Peer) -> None:
    seen = Seen()
    peer.script["Ping"] = silence
    client = client_of(peer, seen, ping_interval_ms=20, dead_after_ms=60)
    await client.open()

    await soon(lambda: seen.lost)

    assert seen.lost[0].startswith("silent for")
    assert peer.of("Ping"), "it was asked before it was given up"


async def test_a_quiet_peer_that_answers_pings_is_kept(peer: Peer) -> None:
    seen = Seen()
    client = client_of(peer, seen, ping_interval_ms=10, dead_after_ms=2_000)
    await client.open()

    await soon(lambda: len(peer.of("Ping")) >= 5)

    assert seen.lost == []
    assert client.is_open
    client.close()


async def test_a_failing_sink_costs_neither_the_connection_nor_the_next_event(peer: Peer) -> None:
    heard: list[str] = []

    def sink(event: Message) -> None:
        heard.append(event["event"])
        raise RuntimeError("a defect of ours")

    client = AmiClient(peer.settings(), WANTED_EVENTS, sink)
    await client.open()
    peer.say(message("Event: Newchannel") + message("Event: Hangup"))

    await soon(lambda: heard[-2:] == ["Newchannel", "Hangup"])

    assert client.is_open
    client.close()


@pytest.mark.parametrize("value", ["x\r\nAction: Command", "x\nVariable: A=FILE(b)", "x\0"])
async def test_no_value_can_smuggle_a_second_header(peer: Peer, value: str) -> None:
    client = client_of(peer, Seen())
    await client.open()

    with pytest.raises(FieldRefused):
        client.ask({"Action": "Setvar", "Value": value})
    await client.ask({"Action": "CoreStatus"})

    assert peer.names() == ["Login", "CoreStatus"]
    client.close()


async def test_a_peer_that_is_no_pbx_is_dropped(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.ami.wire.MESSAGE_MAX_BYTES", 1_000)
    seen = Seen()
    client = client_of(peer, seen)
    await client.open()

    peer.say("x" * 2_000)
    await soon(lambda: seen.lost)

    assert seen.lost == ["a message without end"]


async def test_a_peer_that_accepts_and_says_nothing_does_not_hold_us(peer: Peer) -> None:
    peer.script["Login"] = silence
    client = client_of(peer, Seen(), connect_timeout_ms=30)

    with pytest.raises(TimeoutError):
        await client.open()

    await client.wait_closed()


async def test_closing_is_final(peer: Peer) -> None:
    seen = Seen()
    client = client_of(peer, seen)
    await client.open()

    client.close()
    await client.wait_closed()
    await asyncio.sleep(0.1)  # longer than this peer's reconnect waits

    assert peer.logins == 1
    assert seen.lost == ["closed by us"]
