"""A bare AMI client for tests: it judges nothing and keeps every message in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

ANSWER_LIMIT_S = 5.0


class Message:
    """One AMI message. Header names are compared without regard to case; a header may occur more than once."""

    __slots__ = ("headers",)

    def __init__(self, text: str) -> None:
        pairs = (line.partition(":") for line in text.split("\n") if ":" in line)
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    def __getitem__(self, name: str) -> str:
        """The first value of a header, empty when it isn't there."""
        return next((value for key, value in self.headers if key == name.lower()), "")

    def __contains__(self, name: str) -> bool:
        return any(key == name.lower() for key, _ in self.headers)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def leg(self) -> str:
        """The channel it speaks of: that of a Dial event is its destination."""
        return self["DestUniqueid"] or self["Uniqueid"]

    def __repr__(self) -> str:
        return f"<{self['Event'] or 'Response ' + self['Response']} {self.headers!r}>"


def messages(raw: bytes) -> Iterator[Message]:
    """Every message of a recorded stream; the banner and the extra empty lines that a PBX may send are skipped."""
    for block in raw.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
        message = Message(block)
        if message.headers:
            yield message


class Ami:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._actions = 0
        self._tail = ""
        self._changed = asyncio.Event()
        self.banner = ""
        self.messages: list[Message] = []
        self.closed = False
        self._task = asyncio.create_task(self._read(), name="ami test client")

    @classmethod
    async def connect(cls, port: int) -> Ami:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def login(cls, port: int, username: str, secret: str) -> Ami:
        ami = await cls.connect(port)
        response = await ami.act("Login", Username=username, Secret=secret)
        assert response["Response"] == "Success", response
        await ami.until(lambda m: m["Event"] == "FullyBooted")
        return ami

    async def act(self, action: str, **headers: str | int) -> Message:
        """Send an action and return its Response."""
        action_id = self.send(action, **headers)
        return await self.until(lambda m: "response" in m and "event" not in m and m["ActionID"] == action_id)

    def send(self, action: str, **headers: str | int) -> str:
        self._actions += 1
        action_id = f"t{self._actions}"
        lines = [f"Action: {action}", f"ActionID: {action_id}", *(f"{k}: {v}" for k, v in headers.items())]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return action_id

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def originate(
        self, channel: str, context: str, leg: str, timeout_ms: int = 5000, more: dict[str, str] | None = None
    ) -> Message:
        fields: dict[str, str | int] = {
            "Channel": channel,
            "Context": context,
            "Exten": "s",
            "Priority": 1,
            "ChannelId": leg,
            "Async": "true",
            "Timeout": timeout_ms,
            "Variable": f"__CALL_UUID={leg}",
        }
        return await self.act("Originate", **(fields | (more or {})))

    async def until(self, wanted: Callable[[Message], bool], limit_s: float = ANSWER_LIMIT_S) -> Message:
        """The first message so far, or yet to come, that is wanted."""
        seen = 0
        async with asyncio.timeout(limit_s):
            while True:
                while seen < len(self.messages):
                    if wanted(self.messages[seen]):
                        return self.messages[seen]
                    seen += 1
                assert not self.closed, f"the PBX closed the connection after {self.messages[-3:]}"
                self._changed.clear()
                await self._changed.wait()

    async def event(self, name: str, leg: str, limit_s: float = ANSWER_LIMIT_S, **fields: str) -> Message:
        return await self.until(
            lambda m: m["Event"] == name and m.leg == leg and all(m[k] == v for k, v in fields.items()), limit_s
        )

    def names(self, leg: str) -> list[str]:
        """Names of the events heard about a leg, in order."""
        return [m["Event"] for m in self.messages if "event" in m and m.leg == leg]

    async def until_closed(self, limit_s: float = ANSWER_LIMIT_S) -> None:
        async with asyncio.timeout(limit_s):
            while not self.closed:
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        self._writer.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            self.banner = (await self._reader.readline()).decode()
            while data := await self._reader.read(65536):
                *blocks, self._tail = (self._tail + data.decode().replace("\r\n", "\n")).split("\n\n")
                self.messages += [m for m in map(Message, blocks) if m.headers]
                self._changed.set()
        except OSError:
            pass  # a cut connection is one of the things tests ask for
        finally:
            self.closed = True
            self._changed.set()
