"""Connections in memory. Each end runs in the context it was made in, so that it dies with the life it belongs to."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


class MemoryTransport(asyncio.Transport):
    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, context: Context) -> None:
        super().__init__()
        self.context = context
        self.peer: MemoryTransport
        self._loop, self._protocol = loop, protocol
        self._closed = self._lost = self._paused = False
        self._unread: list[bytes] = []
        self._ended = False
        """The other end closed, and what it wrote before isn't read yet."""

    def made(self) -> None:
        self._protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closed:
            self._loop.call_soon(self.peer.arrive, bytes(data), context=self.peer.context)

    def arrive(self, data: bytes) -> None:
        if self._paused:
            self._unread.append(data)
        elif not self._closed:
            self._protocol.data_received(data)

    def close(self) -> None:
        """What was written before arrives: both ends hear of it in the loop's order."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self.lose, context=self.context)
            self._loop.call_soon(self.peer.hear_end, context=self.peer.context)

    def hear_end(self) -> None:
        if self._paused:
            self._ended = True
        else:
            self.lose()

    def abort(self) -> None:
        self.close()

    def lose(self) -> None:
        if not self._lost:
            self._closed = self._lost = True
            self._protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        unread, self._unread = self._unread, []
        for data in unread:
            self.arrive(data)
        if self._ended:
            self.lose()

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.peer._unread))  # noqa: SLF001  # its other end

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default


class Listener:
    """What `create_server` gives: a port, and the connections it took."""

    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol], port: int) -> None:
        self.loop, self.factory, self.port = loop, factory, port
        self.context = copy_context()
        self.closed = False
        self.sockets = [self]
        self._clients: list[MemoryTransport] = []

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def take(self, client: MemoryTransport) -> None:
        self._clients = [*(one for one in self._clients if not one.is_closing()), client]

    def break_all(self, of: Callable[[Context], bool]) -> None:
        for client in self._clients:
            if of(client.context):
                client.abort()

    def close(self) -> None:
        self.closed = True

    async def wait_closed(self) -> None:
        pass


def connect(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, listener: Listener
) -> tuple[MemoryTransport, asyncio.Protocol]:
    near = MemoryTransport(loop, protocol, copy_context())
    far = MemoryTransport(loop, listener.context.copy().run(listener.factory), listener.context.copy())
    near.peer, far.peer = far, near
    listener.take(near)
    near.made()
    loop.call_soon(far.made, context=far.context)
    return near, protocol
