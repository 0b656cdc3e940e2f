"""One request and its answer, on a connection of aiohttp's.

aiohttp looks up, connects, speaks TLS, keeps connections, and parses what comes back. Its request and response objects are
passed by: they cost twice as much as all the rest of an exchange.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiohttp
from aiohttp.connector import Connection

WITHOUT_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""Whoever exchanges says how long it may take, all in all."""
SWITCHED = 101
FINAL = 200


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
    request: bytes,
    most_bytes: int,
    written: Callable[[], None] | None = None,
) -> Reply:
    """Send to where `to` leads, and read the answer; `written` is called once the request is on its way.

    Of the answer's body no more than `most_bytes` are read, and the connection of a longer one is closed. Raises what
    aiohttp raises.
    """
    connection = await connector.connect(to, [], WITHOUT_TIMEOUT)
    try:
        return await _on(connection, request, most_bytes, written)
    finally:
        connection.close()  # unless it was given back by then, to be used again


async def _on(connection: Connection, request: bytes, most_bytes: int, written: Callable[[], None] | None) -> Reply:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("closed before anything was sent")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.write(request)
    if written is not None:
        written()
    message, content = await protocol.read()
    while message.code < FINAL and message.code != SWITCHED:
        message, content = await protocol.read()
    await content.read(most_bytes)  # so that the connection can be used again; nothing in it is of interest
    if content.at_eof() and not transport.get_write_buffer_size():
        connection.release()
    return Reply(message.code, message.headers)
