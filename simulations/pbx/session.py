"""One AMI connection: greeting, login, what it may do and hear, and the ways in which a connection goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Protocol, cast

import msgspec

from simulations.pbx.wire import BANNER, Action, Actions, error, message, response, success

SLOW_READER_BYTES = 4 * 1024 * 1024
"""What may wait for a reader that stalls before the PBX gives it up."""
MAX_SEGMENT_BYTES = 97

DEFAULT_EVENTS = frozenset(
    {
        "BridgeEnter",
        "BridgeLeave",
        "DialState",
        "FullyBooted",
        "Hangup",
        "HangupRequest",
        "Newchannel",
        "Newstate",
        "OriginateResponse",
        "Shutdown",
        "UserEvent",
    }
)
"""What the shipped manager.conf lets through to the engine."""


class User(msgspec.Struct, frozen=True):
    """A manager user. `events` is the event filter by name, None for all. Lists that answer an action always pass."""

    name: str = "ringfold"
    secret: str = "ringfold"  # noqa: S105 - of a simulation on the loopback
    read: frozenset[str] = frozenset({"call", "user", "system"})
    write: frozenset[str] = frozenset({"originate", "call", "reporting"})
    events: frozenset[str] | None = DEFAULT_EVENTS


CLASSES = {"UserEvent": "user", "FullyBooted": "system", "Shutdown": "system", "SuccessfulAuth": "security"}
"""Event names by the class they belong to, where that isn't `call`."""


class Front(Protocol):
    """What a session needs of the PBX."""

    login_penalty_ms: float
    login_timeout_ms: float
    segmented: bool

    def user(self, name: str) -> User | None: ...
    def perform(self, session: Session, action: Action) -> bytes: ...
    def fully_booted(self) -> bytes: ...
    def connected(self, session: Session) -> None: ...
    def disconnected(self, session: Session) -> None: ...
    def random_size(self, limit: int) -> int: ...


class Session(asyncio.Protocol):
    def __init__(self, front: Front) -> None:
        self._front = front
        self._actions = Actions()
        self._challenge = ""
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._flushing = False
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._mask: frozenset[str] = frozenset()
        self.user: User | None = None
        self.refused = False
        self.silent = False

    # -- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._front.connected(self)
        self._watch = self._loop.call_later(self._front.login_timeout_ms / 1000, self._not_logged_in)
        self.send(BANNER)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._transport = None
        self.user = None
        self._front.disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self.silent:
            return
        for action in self._actions.feed(data):
            if self._transport is None or self.refused:
                return
            self._take(action)

    def cut(self) -> None:
        """Drop the connection now; what wasn't flushed is lost."""
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        self._flush_all()
        if self._transport is not None:
            self._transport.close()

    def half_open(self) -> None:
        """Be as a peer that vanished: the socket stays, nothing is read from it or written to it any more."""
        self.silent = True
        self._out.clear()

    def stall(self, stalled: bool) -> None:
        """Stop reading, or read on: the client's writes back up in the socket."""
        if self._transport is None:
            return
        if stalled:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # -- saying -------------------------------------------------------------------------------------------------------

    def hears(self, event: str) -> bool:
        user = self.user
        if user is None or self.silent:
            return False
        return CLASSES.get(event, "call") in self._mask and (user.events is None or event in user.events)

    def send(self, data: bytes) -> None:
        """Queue bytes for this turn of the loop, in order."""
        if not data or self.silent or self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > SLOW_READER_BYTES:
            self.cut()
            return
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._front.segmented:
            self._flush_all()
        elif self._out and self._transport is not None:
            # One piece a turn, cut anywhere, so that the client's reads begin and end in the middle of messages.
            waiting = b"".join(self._out)
            size = self._front.random_size(MAX_SEGMENT_BYTES)
            self._transport.write(waiting[:size])
            self._out = [waiting[size:]] if size < len(waiting) else []
            if self._out:
                self._flushing = True
                self._loop.call_soon(self._flush)

    def _flush_all(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # -- taking actions -----------------------------------------------------------------------------------------------

    def _take(self, action: Action) -> None:
        if action.fault:
            self.send(error(action, action.fault))
        elif action.name == "logoff":
            self.send(response(action, "Goodbye", ("Message", "Thanks for all the fish.")))
            self.close()
        elif action.name == "login":
            self._login(action)
        elif action.name == "challenge":
            self._challenge = str(self._front.random_size(999_999_999))
            self.send(response(action, "Success", ("Challenge", self._challenge)))
        elif self.user is None:
            self.send(error(action, "Permission denied"))
        elif action.name == "events":
            self._set_mask(action)
        else:
            self.send(self._front.perform(self, action))

    def _login(self, action: Action) -> None:
        if self.user is not None:
            self.send(success(action, "Already authenticated"))
            return
        user = self._front.user(action["username"])
        if user is None or not self._proves(user, action):
            # Wrong user, wrong secret, wrong address: the real one answers alike, after a second, and hangs up.
            self.refused = True
            self._loop.call_later(self._front.login_penalty_ms / 1000, self._refuse, action)
            return
        self.user = user
        self._mask = frozenset() if action["events"].lower() == "off" else user.read
        self.send(success(action, "Authentication accepted"))
        self._tell("FullyBooted", self._front.fully_booted())
        self._tell("SuccessfulAuth", message(("Event", "SuccessfulAuth"), ("Service", "AMI"), ("AccountID", user.name)))

    def _proves(self, user: User, action: Action) -> bool:
        if action["authtype"].lower() == "md5":
            digest = hashlib.md5((self._challenge + user.secret).encode(), usedforsecurity=False).hexdigest()
            return bool(self._challenge) and hmac.compare_digest(digest, action["key"].lower())
        return hmac.compare_digest(user.secret.encode(), action["secret"].encode())

    def _refuse(self, action: Action) -> None:
        self.send(error(action, "Authentication failed"))
        self.close()

    def _not_logged_in(self) -> None:
        if self.user is None:
            self.close()

    def _set_mask(self, action: Action) -> None:
        user, wanted = self.user, action["eventmask"].lower()
        if user is None or not wanted:
            self.send(error(action, "Invalid event mask"))
            return
        classes = user.read & frozenset(wanted.split(","))
        self._mask = {"on": user.read, "off": frozenset[str]()}.get(wanted, classes)
        self.send(response(action, "Success", ("Events", "On" if self._mask else "Off")))

    def _tell(self, event: str, data: bytes) -> None:
        if self.hears(event):
            self.send(data)


def fully_booted(uptime_s: int) -> bytes:
    return message(
        ("Event", "FullyBooted"),
        ("Privilege", "system,all"),
        ("Uptime", uptime_s),
        ("LastReload", uptime_s),
        ("Status", "Fully Booted"),
    )


def shutdown() -> bytes:
    return message(("Event", "Shutdown"), ("Privilege", "system,all"), ("Shutdown", "Cleanly"), ("Restart", "True"))
