"""Bytes that are no HTTP, or nearly: the service answers or waits, never fails, and what it refuses leaves no trace."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Http
from simulations.engine_process import free_port
from simulations.pbx import SimulatedPbx
from tests.api.asking import token_of
from tests.conftest import ami_of
from tests.hostile.effort import effort
from tests.hostile.wire import Victim, quiet_log, said
from tests.world import World, running, settings_for

AUTH = b"Authorization: Bearer TOKEN\r\n"
"""TOKEN becomes an administrator's."""
HOST = b"Host: x\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"
BODY = b'{"name": "Changed"}'
PATCH = b"PATCH /v1/campaigns/spring HTTP/1.1\r\n" + HOST + AUTH + JSON_TYPE
GET = b"GET /v1/campaigns/spring HTTP/1.1\r\n" + HOST + AUTH
LIVE = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
SLOW_CONNECTIONS = 200


def with_length(length: bytes, body: bytes = BODY) -> bytes:
    return PATCH + b"Content-Length: " + length + b"\r\n\r\n" + body


def in_chunks(*chunks: bytes, extra: bytes = b"") -> bytes:
    return PATCH + b"Transfer-Encoding: chunked\r\n" + extra + b"\r\n" + b"".join(chunks)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}".encode() + b"\r\n" + data + b"\r\n"


@pytest.fixture
async def victim(service: World, pbx: SimulatedPbx) -> AsyncIterator[Victim]:
    await service.campaign("spring", [["15550001"]])
    with quiet_log():
        yield Victim(service, pbx)


def signed(victim: Victim, raw: bytes) -> bytes:
    return raw.replace(b"TOKEN", token_of(victim.world).encode())


NO_REQUESTS = {
    "nothing but line ends": b"\r\n" * 50_000,
    "NULs": b"\0" * 100_000,
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an AMI login": b"Action: Login\r\nUsername: x\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no method": b" /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET HTTP/1.1\r\n" + HOST + b"\r\n",
    "a version to come": b"GET /livez HTTP/9.9\r\n" + HOST + b"\r\n",
    "a version with a sign": b"GET /livez HTTP/+1.1\r\n" + HOST + b"\r\n",
    "a method of symbols": b"G\x00T /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method without end": b"G" * 100_000 + b" /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "an address without end": GET.replace(b"spring", b"s" * 100_000) + b"\r\n",
    "an address with a space": b"GET /liv ez HTTP/1.1\r\n" + HOST + b"\r\n",
    "an address with a NUL": b"GET /liv\0ez HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header without a colon": GET + b"nonsense\r\n\r\n",
    "a header without a name": GET + b": x\r\n\r\n",
    "a space before the colon": GET + b"X-A : b\r\n\r\n",
    "a NUL in a name": GET + b"X\0A: b\r\n\r\n",
    "a NUL in a value": GET + b"X-A: b\0c\r\n\r\n",
    "a lone CR in a value": GET + b"X-A: b\rX-C: d\r\n\r\n",
    "a name without end": GET + b"X" * 100_000 + b": b\r\n\r\n",
    "a value without end": GET + b"X-A: " + b"b" * 100_000 + b"\r\n\r\n",
    "two lengths": PATCH + b"Content-Length: 19\r\nContent-Length: 20\r\n\r\n" + BODY,
    "a list of lengths": with_length(b"19, 19"),
    "a length with a sign": with_length(b"+19"),
    "a negative length": with_length(b"-1"),
    "a length in hex": with_length(b"0x13"),
    "a length with a point": with_length(b"19.0"),
    "a length with an underscore": with_length(b"1_9"),
    "a length in other digits": with_length("١٩".encode()),
    "a length without end": with_length(b"9" * 400),
    "no length at all": with_length(b""),
    "a length and chunks": in_chunks(chunk(BODY), b"0\r\n\r\n", extra=b"Content-Length: 19\r\n"),
    "chunked twice": in_chunks(chunk(BODY), b"0\r\n\r\n", extra=b"Transfer-Encoding: chunked\r\n"),
    "chunked, then not": PATCH + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n",
    "a coding that isn't one": PATCH + b"Transfer-Encoding: xchunked\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n",
    "a chunk's length that is none": in_chunks(b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's negative length": in_chunks(b"-13\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's length in 0x": in_chunks(b"0x13\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's length beyond all": in_chunks(b"f" * 30 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk longer than it says": in_chunks(b"3\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a trailer that is none": in_chunks(chunk(b"{}"), b"0\r\nnonsense\r\n\r\n"),
}


@pytest.mark.parametrize("what", NO_REQUESTS)
async def test_what_is_no_request_is_refused_and_leaves_no_trace(victim: Victim, what: str) -> None:
    found = await victim.shot(signed(victim, NO_REQUESTS[what]))

    assert [reply.status for reply in found if reply.status < 400] == []
    assert len(found) <= 1  # what follows a request that can't be read is nobody's


READ = {
    "headers of all cases": (b"gEt".upper() + GET[3:].replace(b"Host", b"hOsT") + b"\r\n", [200]),
    "an absolute address": (b"GET http://elsewhere/livez HTTP/1.1\r\n" + HOST + b"\r\n", [200]),
    "an address that climbs": (GET.replace(b"/v1/campaigns/spring", b"/v1/../../etc/passwd") + b"\r\n", [404]),
    "an address that climbs, packed": (GET.replace(b"spring", b"..%2f..%2f..%2fetc%2fpasswd") + b"\r\n", [404, 422]),
    "an address in bytes": (GET.replace(b"spring", b"\xff\xfe\xed\xa0\x80") + b"\r\n", [400, 404, 422]),
    "an address of halves": (GET.replace(b"spring", b"%ed%a0%80%") + b"\r\n", [400, 404, 422]),
    "an address of slashes": (GET.replace(b"/v1/campaigns/spring", b"/" * 5_000) + b"\r\n", [404]),
    "a star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [204, 400, 401, 404, 405]),
    "a tunnel": (b"CONNECT elsewhere:443 HTTP/1.1\r\n" + HOST + AUTH + b"\r\n", [400, 404, 405]),
    "a trace": (GET.replace(b"GET", b"TRACE") + b"\r\n", [405]),
    "a method of its own": (GET.replace(b"GET", b"XYZZY") + b"\r\n", [400, 405]),
    "a web socket": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n", [200]),
    "HTTP/2 in the clear": (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", [200]),
    "something expected": (with_length(b"19").replace(AUTH, AUTH + b"Expect: miracles\r\n"), [417]),
    "no host": (LIVE.replace(HOST, b""), [200, 400]),
    "two hosts": (LIVE.replace(HOST, HOST + b"Host: y\r\n"), [200, 400]),
    "two tokens": (GET + b"Authorization: Bearer x\r\n\r\n", [200, 400, 401]),
    "many headers": (GET + b"".join(b"X-%d: b\r\n" % n for n in range(100)) + b"\r\n", [200]),
    "a GET with a body": (GET + b"Content-Length: 19\r\n\r\n" + BODY, [200, 422]),
    "a body of nothing": (with_length(b"0", b""), [202]),
    "a length too short": (with_length(b"10"), [400]),
    "a chunk's extension without end": (
        in_chunks(b"13;" + b"x" * 200_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
        [202, 400],
    ),
    "no version": (b"GET /livez\r\n\r\n", [200, 400]),
    "an old version": (LIVE.replace(b"1.1", b"1.0"), [200]),
}


@pytest.mark.parametrize("what", READ)
async def test_what_is_odd_is_answered(victim: Victim, what: str) -> None:
    raw, expected = READ[what]
    found = await victim.shot(signed(victim, raw), whole=True)
    assert found, "nothing was answered"
    assert found[0].status in expected, found[0]


async def test_a_request_behind_another_is_answered_behind_it_and_one_hidden_in_a_body_is_not(victim: Victim) -> None:
    asked = signed(victim, GET + b"\r\n") + signed(victim, GET.replace(b"spring", b"none") + b"\r\n") + LIVE
    assert [reply.status for reply in await victim.shot(asked * 20, whole=True)] == [200, 404, 200] * 20

    hidden = signed(victim, PATCH.replace(JSON_TYPE, b"") + f"Content-Length: {len(LIVE)}\r\n\r\n".encode()) + LIVE
    assert [reply.status for reply in await victim.shot(hidden + LIVE, whole=True)] in ([415], [415, 200])
    nonsense = [reply.status for reply in await victim.shot(LIVE + b"\0\0\0\r\n\r\n" + LIVE, whole=True)]
    assert nonsense in ([400], [200, 400])  # by how many pieces it comes in


@pytest.mark.parametrize(
    "raw", [PATCH + b"Content-Length: 5000\r\n\r\n" + BODY, PATCH + b"Transfer-Enc", in_chunks(chunk(BODY))]
)
async def test_a_request_that_breaks_off_anywhere_is_as_if_it_never_came(victim: Victim, raw: bytes) -> None:
    assert await victim.shot(signed(victim, raw)) == []
    cut = signed(victim, with_length(str(len(BODY)).encode()))
    for length in range(1, len(cut), 97):
        assert await said(victim.world, cut[:length]) == []
    await victim.check()


@given(
    source=st.sampled_from([*NO_REQUESTS.values(), *(raw for raw, _ in READ.values()), with_length(b"19")]),
    wounds=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), st.binary(max_size=12)), min_size=1, max_size=4),
    cut=st.integers(1, 500),
)
@effort(60)
async def test_damaged_requests_are_answered_or_waited_for(
    victim: Victim, source: bytes, wounds: list[tuple[int, int, bytes]], cut: int
) -> None:
    raw = source[:20_000]
    for at, length, noise in wounds:
        raw = raw[:at] + noise + raw[at + length :]
    raw = signed(victim, raw)
    await victim.shot(raw[:cut], raw[cut:], heads=raw.lstrip(b"\r\n").upper().startswith(b"HEAD"))


async def test_who_sends_a_head_for_ever_keeps_nobody_waiting_and_is_closed_upon(
    tmp_path_factory: pytest.TempPathFactory, pbx: SimulatedPbx
) -> None:
    """Given many connections whose requests never come whole, then others are served, and those are let go in their time."""
    settings = settings_for(
        tmp_path_factory.mktemp("slow"), ami_of(pbx), http=Http(port=free_port(), idle_connection_s=1)
    )
    with quiet_log():
        async with running(settings) as world:
            port = world.service.port
            slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW_CONNECTIONS)]
            for _, writer in slow:
                writer.write(LIVE[:20])
            victim = Victim(world, pbx)
            for place in range(20, 23):
                for _, writer in slow:
                    writer.write(LIVE[place : place + 1])
                await victim.check()
            async with asyncio.timeout(15):
                assert {await reader.read() for reader, _ in slow} == {b""}
            for _, writer in slow:
                writer.close()


BOMB = b'{"name": "' + b"x" * 12_000_000 + b'"}'
PACKED = {
    "a bomb": ("gzip", gzip.compress(BOMB), {413}),
    "a bomb, deflated": ("deflate", zlib.compress(BOMB), {413}),
    "cut off": ("gzip", gzip.compress(BODY)[:-20], {400}),
    "damaged": ("gzip", b"\x1f\x8b\x08\x00" + b"\xff" * 40, {400}),
    "not packed": ("gzip", BODY, {400}),
    "packed with what isn't known": ("rot13", BODY, {202, 400, 415}),
    "packed twice": ("gzip, gzip", gzip.compress(gzip.compress(BODY)), {400, 415}),
    "nothing": ("gzip", b"", {202, 400, 422}),
    "bytes behind the end": ("gzip", gzip.compress(BODY) + b"\0" * 100, {202, 400}),
    "many in a row": ("gzip", gzip.compress(b"") * 2_000 + gzip.compress(BODY), {202, 400}),
}


@pytest.mark.parametrize("what", PACKED)
async def test_packed_bodies_that_lie_are_refused_before_they_grow(victim: Victim, what: str) -> None:
    coding, data, expected = PACKED[what]
    head = PATCH + b"Content-Encoding: " + coding.encode() + f"\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    found = await victim.shot(signed(victim, head) + data, whole=True)
    assert {reply.status for reply in found[:1]} <= expected, found
    assert found
