"""Bytes to messages. Pure, and independent of how the network cut the stream.

A message is a dict of its headers with lower-case names; of a repeated header the first counts. Events nobody asked
for are dropped by their name before anything is decoded: they are most of what a PBX sends.
"""

from collections.abc import Iterator, Mapping

from adapters.ami.settings import MESSAGE_MAX_BYTES

Message = Mapping[str, str]

END = b"\r\n\r\n"
BANNER = b"Asterisk Call Manager/"
EVENT = b"Event: "


class StreamBroken(Exception):
    """What arrives is no AMI stream."""


class Framer:
    def __init__(self, wanted: frozenset[bytes]) -> None:
        self._wanted = wanted
        self._names = frozenset(name.decode() for name in wanted)
        self._tail = b""
        self._greeted = False
        self.version = ""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Messages completed by `data`, in order. Raises StreamBroken where one grows beyond all bounds."""
        buffer = self._tail + data if self._tail else data
        if not self._greeted:
            rest = self._greet(buffer)
            if rest is None:
                return
            buffer = rest
        *blocks, self._tail = buffer.split(END)
        if len(self._tail) > MESSAGE_MAX_BYTES:
            raise StreamBroken("a message without end")
        for block in blocks:
            body = block.lstrip(b"\r\n")  # some messages end in an extra line break
            if body and self._is_wanted(body):
                message = parse(body)
                if "event" not in message or message["event"] in self._names:
                    yield message

    def _greet(self, buffer: bytes) -> bytes | None:
        """Take the banner off the stream's first line; None until that line is complete."""
        line, found, rest = buffer.partition(b"\r\n")
        if not found:
            if len(buffer) > MESSAGE_MAX_BYTES:
                raise StreamBroken("no greeting")
            self._tail = buffer
            return None
        self._greeted = True
        if not line.startswith(BANNER):
            return buffer  # a recording may start without
        self.version = line[len(BANNER) :].decode("ascii", "replace")
        return rest

    def _is_wanted(self, body: bytes) -> bool:
        """By the first line, where the PBX puts an event's name; one that puts it elsewhere is told apart once parsed."""
        if not body.startswith(EVENT):
            return True
        end = body.find(b"\r", len(EVENT))
        return body[len(EVENT) : end if end >= 0 else len(body)] in self._wanted


def parse(body: bytes) -> Message:
    """Headers of one message. Decoded whole, so a character split over two reads survives."""
    message: dict[str, str] = {}
    for line in body.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            message.setdefault(name.lower(), value.strip(" "))
    return message
