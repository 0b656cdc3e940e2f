"""Bytes to messages. Pure, and independent of how the network cut the stream.

A message maps its headers by their lower-case names; of a repeated header the first counts. Events nobody asked for are
dropped by their name before anything is decoded: they are most of what a PBX sends.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from adapters.ami.settings import MESSAGE_MAX_BYTES

Message = Mapping[str, str]

END = b"\r\n\r\n"
BANNER = b"Asterisk Call Manager/"
EVENT = b"Event: "


class StreamBroken(Exception):
    """What arrives is no AMI stream."""


class Headers(Mapping[str, str]):
    """One message in ASCII, as most are. A header is looked for among its bytes when somebody asks: of an event's twenty the
    engine reads three.
    """

    __slots__ = ("_folded", "_found", "_text")

    def __init__(self, body: bytes, found: dict[str, str]) -> None:
        """`found`: headers that are known already."""
        self._text = b"\r\n%b\r\n" % body
        self._folded = self._text.lower()
        self._found = found

    def get(self, name: str, default: Any = None) -> Any:
        value = self._found.get(name)
        if value is not None:
            return value
        mark = _mark(name)
        start = self._folded.find(mark)
        if start < 0:
            return default
        start += len(mark)
        value = self._text[start : self._text.index(b"\r\n", start)].decode("ascii").strip(" ")
        self._found[name] = value
        return value

    def __getitem__(self, name: str) -> str:
        value: str | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(parse(self._folded))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Framer:
    def __init__(self, wanted: frozenset[bytes]) -> None:
        self._wanted = {name: name.decode() for name in wanted}
        self._names = frozenset(self._wanted.values())
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
            if body and (message := self._message(body)) is not None:
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

    def _message(self, body: bytes) -> Message | None:
        """None for an event that isn't wanted: by the first line, where the PBX puts its name, or wherever else that is."""
        known: dict[str, str] = {}
        if body.startswith(EVENT):
            end = body.find(b"\r", len(EVENT))
            name = self._wanted.get(body[len(EVENT) : end if end >= 0 else len(body)])
            if name is None:
                return None
            known["event"] = name
        message = Headers(body, known) if body.isascii() else parse(body)
        return message if known or "event" not in message or message["event"] in self._names else None


@cache
def _mark(name: str) -> bytes:
    """What stands before a header's value, in lower case. The names are the engine's own: some dozens."""
    return b"\r\n%b:" % name.encode()


def parse(body: bytes) -> Message:
    """All headers of one message. Decoded whole, so a character split over two reads survives."""
    message: dict[str, str] = {}
    for line in body.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            message.setdefault(name.lower(), value.strip(" "))
    return message
