"""What is told now, to all streams that have heard everything before: written once, and then a write to each connection.

A stream that keeps up costs nothing else: no task wakes for it, nothing is read or encoded for it alone. One that doesn't
read what was written is let go, and its own coroutine reads on in the feed as fast as its client does: so what waits for a
client is bounded, and others don't wait for it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import structlog

from engine.ports import Feed, Notification

log = structlog.get_logger(__name__)

MAX_UNREAD_BYTES = 64 * 1024
"""Of what was written and not yet taken by the socket; who has more is let go. As much again may be on its way."""
Heard = tuple[str, tuple[str, ...]]
"""A campaign ("" for all) and types (none for all)."""


def frame(one: Notification) -> bytes:
    """A message of server-sent events; the id is the cursor. The JSON has no line ends."""
    return b"id: %b\r\ndata: %b\r\n\r\n" % (one.cursor.encode(), msgspec.json.encode(one))


class Page(NamedTuple):
    """Messages as they are written, in one piece, and the cursor behind them."""

    plain: bytes
    chunk: bytes
    cursor: str


def pages(told: Sequence[Notification]) -> Iterator[Page]:
    """At least a message in each, and no more than fits."""
    frames: list[bytes] = []
    size, cursor = 0, ""
    for one in told:
        found = frame(one)
        if frames and size + len(found) > MAX_UNREAD_BYTES:
            yield _page(frames, cursor)
            frames, size = [], 0
        frames.append(found)
        size, cursor = size + len(found), one.cursor
    if frames:
        yield _page(frames, cursor)


def _page(frames: Sequence[bytes], cursor: str) -> Page:
    plain = b"".join(frames)
    return Page(plain, b"%x\r\n%b\r\n" % (len(plain), plain), cursor)


class Listener:
    """One stream's client. `cursor`: it was given everything up to there. `left` is done when it is given no more."""

    def __init__(
        self, transport: asyncio.Transport, is_chunked: bool, cursor: str, may_hear: Callable[[], bool]
    ) -> None:
        self.cursor = cursor
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport, self._is_chunked, self._may_hear = transport, is_chunked, may_hear

    def take(self, page: Page) -> None:
        transport = self._transport
        if transport.is_closing() or transport.get_write_buffer_size() > MAX_UNREAD_BYTES or not self._may_hear():
            self.let_go()
            return
        transport.write(page.chunk if self._is_chunked else page.plain)
        self.cursor = page.cursor

    def let_go(self) -> None:
        if not self.left.done():
            self.left.set_result(None)


class Channel:
    """All who hear the same. What comes within one turn of the loop is written together."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.is_over = False
        self._told: list[Notification] = []

    def tell(self, told: Sequence[Notification]) -> None:
        """Nothing: the feed hands over no more, so all read on themselves."""
        if not told:
            self.let_go()
            return
        if not self._told:
            asyncio.get_running_loop().call_soon(self.flush)
        self._told += told

    def flush(self) -> None:
        told, self._told = self._told, []
        try:
            for page in pages(told):
                for one in self.listeners:
                    if not one.left.done():
                        one.take(page)
        except Exception:
            log.exception("streams: news could not be written", seq=told[0].seq, campaign=told[0].campaign)
            self.let_go()

    def let_go(self) -> None:
        """All of them, for good: who comes later is given to another channel."""
        self.is_over = True
        for one in self.listeners:
            one.let_go()


class Broadcast:
    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._channels: dict[Heard, tuple[Channel, Callable[[], None]]] = {}

    def join(self, listener: Listener, heard: Heard) -> Callable[[], None] | None:
        """From now on it is given what comes; returns how to leave. None where it hasn't heard all that came before."""
        if not self._feed.is_newest(listener.cursor):
            return None
        known = self._channels.get(heard)
        if known is None or known[0].is_over:
            if known is not None:
                known[1]()
            channel = Channel()
            known = self._channels[heard] = channel, self._feed.listen(*heard, channel.tell)
        channel, _ = known
        channel.flush()  # what waits there was told before: the newcomer has it
        if channel.is_over:
            return None
        channel.listeners.add(listener)

        def leave() -> None:
            listener.let_go()
            channel.listeners.discard(listener)
            if not channel.listeners and self._channels.get(heard) is known:
                del self._channels[heard]
                known[1]()

        return leave

    def close(self) -> None:
        """Let all go: the service stops."""
        for channel, _ in self._channels.values():
            for one in channel.listeners:
                one.let_go()
