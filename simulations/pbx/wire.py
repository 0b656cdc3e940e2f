"""AMI on the wire: actions come in as lines, messages go out as bytes.

The limits and the leniency are those measured on the real PBX: a bare line feed ends a line as CR LF does, a carriage
return elsewhere is a character like any other, an empty line ends an action, and what is beyond the limits is refused.
"""

from collections.abc import Iterator

MAX_LINE_BYTES = 1022
MAX_LINES = 128

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


class Action:
    """One request. Header names are compared without regard to case; the first of several wins, but for `all`."""

    __slots__ = ("_headers", "fault", "name")

    def __init__(self, lines: list[bytes]) -> None:
        self.fault = ""
        self._headers: list[tuple[str, str]] = []
        for count, line in enumerate(lines, start=1):
            if len(line) > MAX_LINE_BYTES:
                self.fault = self.fault or "Failed to parse message: line too long"
            elif count > MAX_LINES:
                self.fault = self.fault or "Too many lines in message or allocation failure"
            else:
                name, colon, value = line.decode("utf-8", "replace").partition(":")
                if colon:
                    self._headers.append((name.lower(), value.lstrip(" ")))
        self.name = self["action"].lower()
        if not self.name:
            self.fault = self.fault or "Missing action in request"

    def __getitem__(self, name: str) -> str:
        """A header's value by its lower-case name, empty when missing."""
        for key, value in self._headers:
            if key == name:
                return value
        return ""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._headers if key == name]

    def rest(self, *names: str) -> list[tuple[str, str]]:
        """All headers but these."""
        return [(key, value) for key, value in self._headers if key not in names]


class Actions:
    """Cuts a byte stream into actions, however TCP has cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Action]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for ended in lines:
            line = ended.removesuffix(b"\r")
            if line:
                # Of an action over the limit only the fact is kept, not its bytes.
                if len(self._lines) <= MAX_LINES:
                    self._lines.append(line[: MAX_LINE_BYTES + 1])
            else:
                action = Action(self._lines)
                self._lines = []
                yield action
        self._rest = self._rest[: MAX_LINE_BYTES + 2]


def message(*headers: tuple[str, object]) -> bytes:
    return b"".join(b"%s: %s\r\n" % (name.encode(), str(value).encode()) for name, value in headers) + b"\r\n"


def response(action: Action, result: str, *headers: tuple[str, object]) -> bytes:
    """The answer to an action; ActionID is echoed as it came, and left out when none came."""
    return message(("Response", result), *action_id(action), *headers)


def action_id(action: Action) -> tuple[tuple[str, object], ...]:
    return (("ActionID", action["actionid"]),) if action["actionid"] else ()


def error(action: Action, text: str) -> bytes:
    return response(action, "Error", ("Message", text))


def success(action: Action, text: str) -> bytes:
    return response(action, "Success", ("Message", text))
