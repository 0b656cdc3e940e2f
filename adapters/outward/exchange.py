"""One request and its answer, on a connection of aiohttp's.

aiohttp looks up, connects, speaks TLS, keeps connections, and parses what comes back. Its request and response objects are
passed by: they cost twice as much as all the rest of an exchange.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

WITHOUT_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""Whoever exchanges says how long it may take, all in all."""
BODY_WITHIN_S = 1
"""More isn't waited for what only saves a connection."""
SWITCHED = 101
FINAL = 200
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Twice is as once, says RFC 9110."""

_used: WeakSet[ResponseHandler] = WeakSet()
"""Connections that were given back."""

Answered = tuple[RawResponseMessage, aiohttp.StreamReader]
Asked = tuple[Connection, RawResponseMessage, aiohttp.StreamReader]


class Request(NamedTuple):
    """`written` is called when the request is on its way, once."""

    text: bytes
    may_repeat: bool = False
    written: Callable[[], None] | None = None


class Reply(NamedTuple):
    """The head of an answer."""

    status: int
    headers: Mapping[str, str]


def request_of(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request. Raises ValueError where a header would become two."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if fields.count("\r") + fields.count("\n") != 2 * len(headers) or "\0" in fields:
        raise ValueError("a line's end in a header")
    length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
    return f"{method} {target} HTTP/1.1\r\n{fields}{length}\r\n".encode() + body


async def exchange(
    connector: aiohttp.BaseConnector,
    to: aiohttp.ClientRequest,
    request: Request,
    within_s: float,
    most_bytes: int,
) -> Reply:
    """Send to where `to` leads, and read the answer, whose head has to be there `within_s`. Raises what aiohttp raises.

    What the head says is so, whatever becomes of the body: no more than `most_bytes` of it are read, nor for longer than
    `BODY_WITHIN_S`, and the connection of one that isn't through by then is closed.
    """
    async with asyncio.timeout(within_s):
        connection, head, content = await _asked(connector, to, request)
    try:
        if await _is_through(content, most_bytes):
            _give_back(connection)
    except BaseException:
        _cut(connection)
        raise
    finally:
        connection.close()  # unless it was given back by then, to be used again
    return Reply(head.code, head.headers)


async def _asked(connector: aiohttp.BaseConnector, to: aiohttp.ClientRequest, request: Request) -> Asked:
    """A connection that the peer had closed while it was idle is not the peer's answer: what may be asked twice is."""
    may_repeat, written = request.may_repeat, request.written
    while True:
        connection, was_used = await _connected(connector, to)
        try:
            return connection, *await _on(connection, request.text, written)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            _cut(connection)
            if not (was_used and may_repeat):
                raise
            may_repeat, written = False, None
        except BaseException:
            _cut(connection)
            raise


async def _connected(connector: aiohttp.BaseConnector, to: aiohttp.ClientRequest) -> tuple[Connection, bool]:
    """A connection, and whether it was used before: then nothing came on it since, that would be taken for the answer."""
    while True:
        connection = await connector.connect(to, [], WITHOUT_TIMEOUT)
        protocol = connection.protocol
        was_used = protocol in _used
        if protocol is None or not was_used or not protocol.should_close:
            return connection, was_used
        _cut(connection)


async def _on(connection: Connection, text: bytes, written: Callable[[], None] | None) -> Answered:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("closed before anything was sent")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.write(text)
    if written is not None:
        written()
    head, content = await protocol.read()
    while head.code < FINAL and head.code != SWITCHED:
        head, content = await protocol.read()
    return head, content


async def _is_through(content: aiohttp.StreamReader, most_bytes: int) -> bool:
    """Read a body, so that its connection can be used again: nothing in it is of interest."""
    left = most_bytes
    if not content.at_eof():
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, HttpProcessingError):
            async with asyncio.timeout(BODY_WITHIN_S):
                while left and (piece := await content.read(left)):
                    left -= len(piece)
    return content.at_eof()


def _give_back(connection: Connection) -> None:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        return
    if transport.get_write_buffer_size():  # it was answered before it was read
        transport.abort()
        return
    _used.add(protocol)
    connection.release()


def _cut(connection: Connection) -> None:
    """At once: to close waits until the peer has read what is on its way, if it ever does."""
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()
