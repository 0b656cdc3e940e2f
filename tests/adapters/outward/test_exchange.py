"""Given answers of every kind, a request is told apart from the next one on the same connection, or the connection goes."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from adapters.outward.exchange import request_of
from adapters.outward.sender import Answer, Bounds, Outgoing, Sender
from adapters.outward.target import ANYWHERE
from tests.adapters.notify.house import Clock

BOUNDS = Bounds(user_agent="ringfold-test", request_timeout_ms=2_000, response_bytes=100, max_requests=10)
BODY = b'{"seq":1}'


class Peer:
    """Answers each request with the bytes that it is given, whatever they are, `late` ones a moment later; `closes` after
    each, `drops` the connection unanswered from the second one on.
    """

    def __init__(self, answer: bytes, closes: bool, reads: bool, late: bytes = b"", drops: bool = False) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._answer, self._closes, self._reads = answer, closes, reads
        self._late, self._drops = late, drops

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        asked = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                self.requests.append(head + (await reader.readexactly(length) if self._reads else b""))
                asked += 1
                if self._drops and asked > 1:
                    break
                writer.write(self._answer)
                if self._late:
                    await asyncio.sleep(0.02)
                    writer.write(self._late)
                if self._closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def answering(
    answer: bytes, closes: bool = False, reads: bool = True, late: bytes = b"", drops: bool = False
) -> AsyncIterator[tuple[Peer, Sender, str]]:
    peer = Peer(answer, closes, reads, late, drops)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    sender = Sender(BOUNDS, Clock(), ANYWHERE)
    sender.open()
    try:
        yield peer, sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=b%20c#d"
    finally:
        await sender.close()
        server.close()
        await server.wait_closed()


async def post(sender: Sender, url: str, body: bytes = BODY) -> Answer:
    return await sender.send(Outgoing(method="POST", url=url, headers={"X-One": "é"}, body=body))


async def test_a_request_is_these_bytes() -> None:
    async with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (peer, sender, url):
        assert (await post(sender, url)).taken
        host = url.split("/")[2]
    assert peer.requests == [
        f"POST /hook?a=b%20c HTTP/1.1\r\nHost: {host}\r\nX-One: é\r\nUser-Agent: ringfold-test\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n".encode()
        + BODY
    ]


@pytest.mark.parametrize(
    ("answer", "status", "connections"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nno", 200, 1),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 500, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 200, 3),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, 200, 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 200, 3),
        (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n", 101, 3),
    ],
)
async def test_a_connection_is_used_again_where_nothing_of_the_answer_is_left(
    answer: bytes, status: int, connections: int
) -> None:
    async with answering(answer) as (peer, sender, url):
        found = [await post(sender, url) for _ in range(3)]
    assert [one.status for one in found] == [status] * 3
    assert peer.connections == connections


async def test_a_body_to_the_end_of_the_connection_is_read_no_farther_than_allowed() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000) as (peer, sender, url):
        assert (await post(sender, url)).status == 200  # at once: the peer keeps the connection open
        assert (await post(sender, url)).status == 200
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("answer", "late", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", b"ok", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"2\r\nok\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\nok", b"x" * 99, 3),
    ],
)
async def test_a_body_in_pieces_is_read_to_its_end(answer: bytes, late: bytes, connections: int) -> None:
    async with answering(answer, late=late) as (peer, sender, url):
        assert [(await post(sender, url)).status for _ in range(3)] == [200] * 3
    assert peer.connections == connections


@pytest.mark.parametrize("late", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n"])
async def test_what_comes_unasked_on_an_idle_connection_is_nobodys_answer(late: bytes) -> None:
    async with answering(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", late=late) as (peer, sender, url):
        for _ in range(3):
            assert (await post(sender, url)).status == 500
            await asyncio.sleep(0.1)  # it has come by then
    assert peer.connections == 3


async def test_a_peer_that_speaks_first_is_connected_to_once() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(writer)
        writer.write(b"SSH-2.0-x\r\n")

    greeted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    sender = Sender(BOUNDS, Clock(), ANYWHERE)
    sender.open()
    assert (await post(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")).status == 0
    await sender.close()
    server.close()
    for writer in greeted:
        writer.close()
    assert len(greeted) == 1


@pytest.mark.parametrize(("method", "status", "asked"), [("GET", 204, 3), ("PUT", 204, 3), ("POST", 0, 2)])
async def test_what_may_be_asked_twice_is_where_an_idle_connection_was_closed(
    method: str, status: int, asked: int
) -> None:
    written: list[str] = []
    async with answering(b"HTTP/1.1 204 No\r\n\r\n", drops=True) as (peer, sender, url):
        request = Outgoing(method=method, url=url, headers={}, written=lambda: written.append(method))
        assert [(await sender.send(request)).status for _ in range(2)] == [204, status]
    assert len(peer.requests) == asked
    assert len(written) == 2


async def test_a_new_connection_that_is_closed_unanswered_is_an_answer() -> None:
    async with answering(b"", closes=True) as (peer, sender, url):
        assert (await sender.send(Outgoing(method="GET", url=url, headers={}))).status == 0
    assert len(peer.requests) == 1


@pytest.mark.parametrize("closes", [True, False])
async def test_what_the_head_says_is_so_without_the_body(closes: bool) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", closes=closes) as (peer, sender, url):
        assert [(await post(sender, url)).status for _ in range(2)] == [200] * 2
    assert peer.connections == 2


async def test_a_peer_that_reads_nothing_keeps_nothing_in_memory() -> None:
    """Given a request that is too long for the socket, when time is up, then what wasn't sent is let go."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0, limit=1)
    sender = Sender(msgspec.structs.replace(BOUNDS, request_timeout_ms=200), Clock(), ANYWHERE)
    sender.open()
    body = b"x" * 20_000_000
    assert (await post(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", body)).status == 0
    await asyncio.sleep(0)
    held = [one for one in gc.get_objects() if isinstance(one, asyncio.Transport) and _unsent(one)]
    assert not held
    await sender.close()
    server.close()
    for writer in taken:
        writer.transport.abort()


def _unsent(transport: asyncio.Transport) -> bool:
    return hasattr(transport, "get_write_buffer_size") and transport.get_write_buffer_size() > 0


async def test_an_answer_before_the_body_was_read_ends_the_connection() -> None:
    async with answering(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", closes=True, reads=False) as (_, sender, url):
        for _ in range(2):
            assert (await post(sender, url, b"x" * 20_000_000)).status in (413, 0)  # 0: cut before it was heard


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"", "ServerDisconnectedError"), (b"SSH-2.0-x\r\n", "HTTP"), (b"HTTP/1.1 200 OK\r\nA\rB: c\r\n\r\n", "HTTP")],
)
async def test_what_is_no_answer_is_none(answer: bytes, error: str) -> None:
    async with answering(answer, closes=True) as (_, sender, url):
        found = await post(sender, url)
    assert found.status == 0
    assert error in found.error


@pytest.mark.parametrize("value", ["a\r\nX-Two: b", "a\nb", "a\rb", "a\0b", "\r", "\n"])
def test_a_header_stays_one(value: str) -> None:
    for headers in ({"X-One": value}, {value: "a"}, {"X-One": value, "X-Two": "b"}):
        with pytest.raises(ValueError, match="header"):
            request_of("POST", "/", headers, b"")
