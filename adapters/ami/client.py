"""One hardened AMI connection: panoramisk's manager and actions, with its protocol's dangers taken out.

Nothing is ever sent twice. What was sent and not answered when the connection ends fails as `Unanswered`: its fate is
unknown, and only a look at the PBX settles it. Events go to one synchronous sink that cannot break the connection.
A peer that falls silent is noticed within `dead_after_ms`. This class makes no second attempt by itself; who owns it
decides when to open anew.
"""

import asyncio
import itertools
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from panoramisk.actions import Action as PanoramiskAction
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager

from adapters.ami.action import Action, check_lines
from adapters.ami.settings import ANSWER_TIMEOUT_MS, AmiSettings
from adapters.ami.wire import Framer, Message, StreamBroken
from engine.core.measure import Measures

log = structlog.get_logger(__name__)

EventSink = Callable[[Message], None]
LostSink = Callable[[str], None]


class AmiLoginRefused(Exception):
    """The PBX refused the login. AMI answers alike to a wrong user, a wrong secret and an address it doesn't permit."""


class NotConnected(Exception):
    """The action was not sent."""


class Unanswered(Exception):
    """The action was sent; whether the PBX acted on it is unknown."""


class Sent(PanoramiskAction):  # type: ignore[misc]  # panoramisk has no types
    """One of the library's actions, its text written at once: the library keeps the headers in a mapping of its own, and goes
    through it for the text and at every look at the id. That was half of what sending cost.
    """

    id = ""

    def __init__(
        self, action_id: str, headers: Sequence[tuple[str, str]], answer: "asyncio.Future[Message]", at_s: float
    ) -> None:
        self._store: dict[str, str] = {}  # the library's mapping, which stays empty
        self.id = action_id
        self.future = answer
        self.at_s = at_s
        self.text = ("".join([f"{name}: {value}\r\n" for name, value in headers]) + "\r\n").encode()


class AmiProtocol(AMIProtocol):  # type: ignore[misc]  # panoramisk has no types
    """Replaces parsing, dispatch and ending; keeps who waits for which answer."""

    responses: dict[str, Sent]
    """By the action's id, in the order in which they were sent."""

    def __init__(self, client: "AmiClient", wanted: frozenset[bytes]) -> None:
        self._client = client
        self._framer = Framer(wanted)
        self._watch: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None
        """One for all: when the answer to the action that waits longest is given up."""
        self._heard_at = self._pinged_at = 0.0
        self.closed = False
        self.reason = ""
        self.gone = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.factory = self._client
        self.encoding = "utf-8"
        self._heard_at = asyncio.get_running_loop().time()
        self._keep_watch()

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        self._heard_at = asyncio.get_running_loop().time()
        try:
            for message in self._framer.feed(data):
                self.handle_message(message)
        except StreamBroken as broken:
            self.abort(str(broken))

    def handle_message(self, message: Message) -> None:
        if "event" in message:
            self._client.hear(message)
        elif (asked := self.responses.pop(message.get("actionid", ""), None)) is not None:
            if not asked.future.done():
                asked.future.set_result(message)
        else:
            log.warning("ami.response_unasked", message=message.get("message", ""))

    def send(self, data: Sent, as_list: bool | None = False) -> Any:  # noqa: ARG002  # the library's signature
        """Write once. Unlike the library's, knows one id per action, and logs no values on failure."""
        self.transport.write(self.expect(data))
        return data.future

    def expect(self, sent: Sent) -> bytes:
        """An answer to what is now to be written."""
        self.responses[sent.id] = sent
        if self._late is None:
            self._late = self._client.loop.call_later(ANSWER_TIMEOUT_MS / 1000, self._give_up)
        return sent.text

    def connection_lost(self, exc: BaseException | None) -> None:
        self.abort(str(exc) if exc else "closed by the PBX")
        self.gone.set()
        self._client.lost(self.reason)

    def abort(self, reason: str) -> None:
        """End the connection now: pending answers fail as Unanswered, nothing is kept to be sent again."""
        if self.closed:
            return
        self.closed, self.reason = True, reason
        for timer in (self._watch, self._late):
            if timer is not None:
                timer.cancel()
        pending, self.responses = self.responses, {}
        for action in pending.values():
            if not action.future.done():
                action.future.set_exception(Unanswered(reason))
                action.future.exception()  # retrieved: nobody has to wait for it
        self.transport.abort()

    def close(self) -> None:
        self.abort("closed by us")

    def _give_up(self) -> None:
        self._late = None
        loop = self._client.loop
        for sent in list(self.responses.values()):
            late_at_s = sent.at_s + ANSWER_TIMEOUT_MS / 1000
            if late_at_s > loop.time():
                self._late = loop.call_at(late_at_s, self._give_up)
                return
            if not sent.future.done():
                sent.future.set_exception(Unanswered(f"no answer in {ANSWER_TIMEOUT_MS} ms"))
                sent.future.exception()  # retrieved: nobody has to wait for it

    def _keep_watch(self) -> None:
        """Ping a silent peer, drop a dead one. Reads run before timers, so a stall of our own blames nobody."""
        settings, loop = self._client.settings, asyncio.get_running_loop()
        ping_s, dead_s = settings.ping_interval_ms / 1000, (settings.dead_after_ms - settings.ping_interval_ms) / 1000
        now = loop.time()
        is_asked = self._pinged_at > self._heard_at
        if is_asked and now - self._pinged_at >= dead_s:
            self.abort(f"silent for {(now - self._heard_at) * 1000:.0f} ms")
            return
        if not is_asked and now - self._heard_at >= ping_s and self._client.is_open:
            self._pinged_at, is_asked = now, True
            self._client.ask({"Action": "Ping"})
        # Who was asked has answered by the next look, and may be silent again.
        due_s = min(self._pinged_at + dead_s, now + ping_s) if is_asked else self._heard_at + ping_s
        self._watch = loop.call_at(max(due_s, now + ping_s / 4), self._keep_watch)


class AmiClient(Manager):  # type: ignore[misc]  # panoramisk has no types
    """`on_event` gets every wanted event in order, `on_lost` once the reason why an open connection ended."""

    protocol: AmiProtocol | None

    def __init__(
        self,
        settings: AmiSettings,
        wanted: frozenset[bytes],
        on_event: EventSink,
        on_lost: LostSink | None = None,
        measures: Measures | None = None,
    ) -> None:
        super().__init__(host=settings.host, port=settings.port)
        self.callbacks.clear()  # the library's own: it would send unanswered actions again
        self.patterns.clear()
        self.settings = settings
        self._wanted = wanted
        self._on_event = on_event
        self._on_lost = on_lost
        self._ids = itertools.count(1)
        self._is_open = False
        self._measures = measures or Measures()

    @property
    def is_open(self) -> bool:
        """Logged in, and the socket still takes what is written."""
        protocol = self.protocol
        return self._is_open and protocol is not None and not protocol.closed and not protocol.transport.is_closing()

    @property
    def pending(self) -> int:
        """Actions sent and not answered."""
        return len(self.protocol.responses) if self.protocol is not None else 0

    async def open(self) -> None:
        """Connect and log in. Raises AmiLoginRefused, or OSError or Unanswered where trying again may help."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        self.loop = loop
        try:
            async with asyncio.timeout(settings.connect_timeout_ms / 1000):
                _, protocol = await loop.create_connection(
                    lambda: AmiProtocol(self, self._wanted),
                    settings.host,
                    settings.port,
                    ssl=ssl.create_default_context() if settings.tls else None,
                )
                self.protocol = protocol
                answer = await self._send(
                    protocol,
                    {"Action": "Login", "Username": settings.username, "Secret": settings.secret, "Events": "on"},
                )
        except BaseException:
            self.close()
            raise
        if answer.get("response") != "Success":
            self.close()
            raise AmiLoginRefused(f"{settings.username!r} at {settings.host}:{settings.port}: {answer.get('message')}")
        if protocol.closed:
            raise Unanswered(protocol.reason)
        self._is_open = True
        self._measures.pbx_connections += 1

    def ask(self, action: Action, action_id: str = "") -> "asyncio.Future[Message]":
        """Send once; the future holds the Response, or Unanswered. Raises NotConnected where nothing was sent."""
        if not self.is_open or self.protocol is None:
            raise NotConnected
        return self._send(self.protocol, action, action_id)

    def ask_together(self, actions: Sequence[Action]) -> "list[asyncio.Future[Message]]":
        """Send each once, in this order, by one write. As `ask`; raises FieldRefused with nothing sent."""
        if not self.is_open or self.protocol is None:
            raise NotConnected
        sent = [self._prepared(one) for one in actions]
        self.protocol.transport.write(b"".join([self.protocol.expect(one) for one in sent]))
        return [one.future for one in sent]

    def new_id(self) -> str:
        return f"r{next(self._ids)}"

    def _send(self, protocol: AmiProtocol, action: Action, action_id: str = "") -> "asyncio.Future[Message]":
        sent = self._prepared(action, action_id)
        protocol.send(sent)
        return sent.future

    def _prepared(self, action: Action, action_id: str = "") -> Sent:
        """Raises FieldRefused."""
        assert self.protocol is not None
        action_id = action_id or self.new_id()
        headers = sorted([("ActionID", action_id), *action.items()])
        check_lines(headers)
        sent_at_s = self.loop.time()
        answer: asyncio.Future[Message] = self.loop.create_future()
        responses = self.protocol.responses

        def forget(_: "asyncio.Future[Message]") -> None:
            if not answer.cancelled() and answer.exception() is None:
                self._measures.actions.add(self.loop.time() - sent_at_s)
            else:
                self._measures.unanswered += 1
            responses.pop(action_id, None)  # also when its waiter gave up: no entry outlives its future

        answer.add_done_callback(forget)
        return Sent(action_id, headers, answer, sent_at_s)

    def hear(self, message: Message) -> None:
        """One event from the protocol. A failing sink is our defect, and no reason to lose the connection."""
        self._measures.pbx_events[message.get("event", "")] += 1
        try:
            self._on_event(message)
        except Exception:
            log.exception("ami.sink_failed", ami_event=message.get("event"))

    def lost(self, reason: str) -> None:
        was_open, self._is_open = self._is_open, False
        if was_open and self._on_lost is not None:
            self._on_lost(reason)

    def close(self) -> None:
        """End the connection for good. `on_lost` follows if it was open."""
        if self.protocol is not None:
            self.protocol.close()

    async def wait_closed(self) -> None:
        if self.protocol is not None:
            await self.protocol.gone.wait()

    def connect(self, *_: Any, **__: Any) -> Any:
        """The library's own reconnecting must never run: it doesn't stop and doesn't wait."""
        raise NotImplementedError("use open()")

    async def send_awaiting_actions(self, *_: Any) -> None:
        """Never: what was sent once may have dialled."""
