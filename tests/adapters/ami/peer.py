"""A scripted AMI peer on a loopback socket: says what a test tells it to say, and keeps what it was asked."""

import asyncio
from collections.abc import Callable
from typing import Self

from adapters.ami.settings import AmiSettings

Action = dict[str, str]
Answer = Callable[["Peer", Action], str | None]
SECRET = "a secret"
BANNER = "Asterisk Call Manager/11.0.0\r\n"
SOON_S = 5.0


def message(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines) + "\r\n"


def ok(action: Action, text: str = "", *more: str) -> str:
    return message("Response: Success", f"ActionID: {action['ActionID']}", f"Message: {text}", *more)


def error(action: Action, text: str) -> str:
    return message("Response: Error", f"ActionID: {action['ActionID']}", f"Message: {text}")


def silence(peer: "Peer", action: Action) -> None:
    """Heard, and never answered."""


def cut(peer: "Peer", action: Action) -> None:
    """The connection ends the moment the action has been read."""
    peer.drop()


class Peer:
    """`script` says how an action's name is answered; what isn't there is answered as a PBX without calls would."""

    def __init__(self) -> None:
        self.asked: list[Action] = []
        self.script: dict[str, Answer] = {}
        self.statuses: list[str] = []
        """Further lines of each channel that `Status` lists."""
        self.startup = "12:00:00"
        self.uptime_s = 1000
        self.logins = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Gone: present connections are cut, new ones refused."""
        if self._server is not None:
            self._server.close()
        self.drop()

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def say(self, text: str) -> None:
        for writer in self._writers:
            writer.write(text.encode())

    def settings(self, **changes: object) -> AmiSettings:
        fast: dict[str, object] = {
            "port": self.port,
            "username": "dialer",
            "secret": SECRET,
            "reconnect_min_ms": 10,
            "reconnect_max_ms": 50,
            "max_originates_per_second": 10_000,
        }
        return AmiSettings(**{**fast, **changes})  # type: ignore[arg-type]

    def names(self) -> list[str]:
        return [action["Action"] for action in self.asked if action["Action"] != "Ping"]

    def of(self, name: str) -> list[Action]:
        return [action for action in self.asked if action["Action"] == name]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(BANNER.encode())
        try:
            while True:
                text = (await reader.readuntil(b"\r\n\r\n")).decode()
                action = dict(line.split(": ", 1) for line in text.split("\r\n") if line)
                self.asked.append(action)
                answer = self.script.get(action["Action"], Peer.by_default)(self, action)
                if answer:
                    writer.write(answer.encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def by_default(self, action: Action) -> str | None:
        match action["Action"]:
            case "Login" if action["Secret"] != SECRET:
                return error(action, "Authentication failed")
            case "Login":
                self.logins += 1
                return ok(action, "Authentication accepted") + message("Event: FullyBooted", f"Uptime: {self.uptime_s}")
            case "CoreStatus":
                return ok(action, "", "CoreStartupDate: 2026-01-01", f"CoreStartupTime: {self.startup}")
            case "Status" if "Channel" in action:
                return error(action, "No such channel")
            case "Status":
                listed = [message("Event: Status", line, f"ActionID: {action['ActionID']}") for line in self.statuses]
                done = message("Event: StatusComplete", f"ActionID: {action['ActionID']}", "EventList: Complete")
                return ok(action, "Channel status will follow", "EventList: start") + "".join(listed) + done
            case "Originate":
                return ok(action, "Originate successfully queued")
            case _:
                return ok(action)


async def soon(condition: Callable[[], object]) -> None:
    """Wait until it holds; fails loudly where it never does."""
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.005)
