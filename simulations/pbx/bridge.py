"""Bridges: the holding bridge in which an agent waits, and the two-party bridge of a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from simulations.pbx.channel import event

if TYPE_CHECKING:
    from simulations.pbx.leg import Leg

Publish = Callable[[str, Callable[[], bytes]], None]


class Record(Protocol):
    """Write an event of a leg to the channel event log."""

    def __call__(self, leg: Leg, event: str, /, **extra: str | int) -> None: ...


CONVERSATION = (b"basic", b"simple_bridge", b"<unknown>", b"<unknown>")


def holding(name: str) -> tuple[bytes, bytes, bytes, bytes]:
    return b"base", b"holding_bridge", b"BridgeWait", name.encode()


class Bridge:
    __slots__ = ("_kind", "_publish", "_record", "members", "uid")

    def __init__(self, uid: str, kind: tuple[bytes, bytes, bytes, bytes], publish: Publish, record: Record) -> None:
        self.uid = uid
        self._kind, self._publish, self._record = kind, publish, record
        self.members: list[Leg] = []

    @property
    def holding(self) -> bool:
        return self._kind is not CONVERSATION

    def enter(self, leg: Leg) -> None:
        self.members.append(leg)
        leg.bridge = self
        self._tell("BridgeEnter", leg)
        self._record(leg, "BRIDGE_ENTER", **self._extra())

    def leave(self, leg: Leg) -> None:
        self.members.remove(leg)
        leg.bridge = None
        self._tell("BridgeLeave", leg)
        self._record(leg, "BRIDGE_EXIT", **self._extra())

    def _extra(self) -> dict[str, str]:
        return {"bridge_id": self.uid, "bridge_technology": self._kind[1].decode()}

    def _tell(self, name: str, leg: Leg) -> None:
        count = len(self.members)
        self._publish(name, lambda: self._event(name, leg, count))

    def _event(self, name: str, leg: Leg, count: int) -> bytes:
        kind, technology, creator, label = self._kind
        about = (
            b"BridgeUniqueid: %b\r\nBridgeType: %b\r\nBridgeTechnology: %b\r\nBridgeCreator: %b\r\nBridgeName: %b\r\n"
            b"BridgeNumChannels: %d\r\nBridgeVideoSourceMode: none\r\n"
        ) % (self.uid.encode(), kind, technology, creator, label, count)
        return event(name, leg, about)
