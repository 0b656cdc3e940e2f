"""A channel, as AMI shows it: the block of headers that nearly every event carries."""

from typing import Final

DOWN: Final = 0
RINGING: Final = 5
UP: Final = 6

STATE_NAMES = {DOWN: b"Down", RINGING: b"Ringing", UP: b"Up"}
STATE_BY_NUMBER = {number: name.decode() for number, name in STATE_NAMES.items()}

CAUSES = {
    0: "Unknown",
    1: "Unallocated (unassigned) number",
    16: "Normal Clearing",
    17: "User busy",
    19: "User alerting, no answer",
    21: "Call Rejected",
    34: "Circuit/channel congestion",
}

_SNAPSHOT = b"".join(
    b"%%(p)b%b\r\n" % line
    for line in (
        b"Channel: %(name)b",
        b"ChannelState: %(state)d",
        b"ChannelStateDesc: %(state_name)b",
        b"CallerIDNum: %(caller)b",
        b"CallerIDName: <unknown>",
        b"ConnectedLineNum: <unknown>",
        b"ConnectedLineName: <unknown>",
        b"Language: en",
        b"AccountCode: ",
        b"Context: %(context)b",
        b"Exten: %(exten)b",
        b"Priority: %(priority)d",
        b"Uniqueid: %(uid)b",
        b"Linkedid: %(linkedid)b",
        b"ChanVariable: CALL_UUID=%(call)b",
    )
)


class Channel:
    """State that AMI shows. A shown field is changed by a method only, so that the cached block is rebuilt."""

    __slots__ = (
        "_dest_snapshot",
        "_snapshot",
        "application",
        "caller",
        "context",
        "created_at",
        "data",
        "exten",
        "linkedid",
        "name",
        "priority",
        "state",
        "uid",
        "variables",
    )

    def __init__(self, name: str, uid: str, context: str, created_at: float) -> None:
        self.name, self.uid, self.linkedid, self.created_at = name, uid, uid, created_at
        self.state: int = DOWN
        self.caller = "<unknown>"
        self.context, self.exten, self.priority = context, "s", 1
        self.application, self.data = "AppDial2", "(Outgoing Line)"
        self.variables: dict[str, str] = {}
        self._snapshot: bytes | None = None
        self._dest_snapshot: bytes | None = None

    def become(self, state: int) -> None:
        self.state = state
        self._forget()

    def step(self, context: str, priority: int, application: str, data: str = "") -> None:
        """Execute a dialplan step."""
        self.context, self.priority, self.application, self.data = context, priority, application, data
        self._forget()

    def link(self, linkedid: str) -> None:
        self.linkedid = linkedid
        self._forget()

    def set(self, name: str, value: str) -> None:
        """Set a channel variable; leading underscores only say who inherits it."""
        if name.lower() == "callerid(num)":
            self.caller = value
        self.variables[name.lstrip("_")] = value
        self._forget()

    def get(self, name: str) -> str:
        if name.lower() == "channel(name)":
            return self.name
        return self.variables.get(name, "")

    def snapshot(self) -> bytes:
        if self._snapshot is None:
            self._snapshot = self._render(b"")
        return self._snapshot

    def dest_snapshot(self) -> bytes:
        """The same block as the destination of a Dial event."""
        if self._dest_snapshot is None:
            self._dest_snapshot = self._render(b"Dest")
        return self._dest_snapshot

    def _forget(self) -> None:
        self._snapshot = self._dest_snapshot = None

    def _render(self, prefix: bytes) -> bytes:
        return _SNAPSHOT % {
            b"p": prefix,
            b"name": self.name.encode(),
            b"state": self.state,
            b"state_name": STATE_NAMES[self.state],
            b"caller": self.caller.encode(),
            b"context": self.context.encode(),
            b"exten": self.exten.encode(),
            b"priority": self.priority,
            b"uid": self.uid.encode(),
            b"linkedid": self.linkedid.encode(),
            b"call": self.variables.get("CALL_UUID", "").encode(),
        }


def event(name: str, channel: Channel, extra: bytes = b"", privilege: bytes = b"call") -> bytes:
    return b"Event: %b\r\nPrivilege: %b,all\r\nSystemName: pbx\r\n%b%b\r\n" % (
        name.encode(),
        privilege,
        channel.snapshot(),
        extra,
    )


def dial_event(name: str, channel: Channel, extra: bytes) -> bytes:
    return b"Event: %b\r\nPrivilege: call,all\r\nSystemName: pbx\r\n%b%b\r\n" % (
        name.encode(),
        channel.dest_snapshot(),
        extra,
    )
