"""The simulated PBX: an AMI server on a loopback socket, with a telephone exchange behind it and faults on demand.

It speaks as the real one was recorded to speak in the conversations that the engine has with it. Time is the running
loop's time, multiplied by `time_scale`, and chance is a generator of its own: the same seed and the same actions at the
same times give the same events, on a loop with a virtual clock too.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from simulations.pbx.actions import Manager
from simulations.pbx.cel import Cel
from simulations.pbx.exchange import Dialled, Exchange
from simulations.pbx.leg import Leg
from simulations.pbx.script import Script
from simulations.pbx.session import Session, User, fully_booted, shutdown
from simulations.pbx.wire import Action

MAX_SESSIONS = 64


class Cut(msgspec.Struct):
    """A planned loss of the connection at an action. `performed` says whether the PBX did it before the line went."""

    action: str
    before_response: bool
    performed: bool
    times: int


class SimulatedPbx:
    """`time_scale` multiplies every duration of calls: 0.01 makes a minute 0.6 s. `event_lag_ms` (shortest, longest) is
    how far events lag behind responses, as on a busy PBX; not scaled. `return_ms`, scaled, is how long an agent's leg
    takes from a contact back to where it waits: milliseconds, under load half a second. `segmented` cuts all output
    into small pieces. `version` 16 leaves out what only 22 tells. The login's penalty and time-out are not scaled.
    `cel_path` is where the channel event log is written, if anywhere; `monitor` the folder of recordings, without which
    none can be made.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        seed: int = 1,
        time_scale: float = 1.0,
        users: Sequence[User] = (User(),),
        event_lag_ms: tuple[float, float] = (0, 0),
        return_ms: tuple[float, float] = (0, 0),
        segmented: bool = False,
        login_penalty_ms: float = 1000,
        login_timeout_ms: float = 5000,
        version: int = 22,
        cel_path: Path | None = None,
        monitor: Path | None = None,
    ) -> None:
        self.script = script or Script()
        self.login_penalty_ms = login_penalty_ms
        self.login_timeout_ms = login_timeout_ms
        self.segmented = segmented
        self.cel_path = cel_path
        self.monitor = monitor
        self._seed, self._time_scale, self._version = seed, time_scale, version
        self._users = {user.name: user for user in users}
        self._lag_ms, self._return_ms = event_lag_ms, return_ms
        self._chance = random.Random(seed)
        self._cuts: list[Cut] = []
        self._lagging: deque[tuple[float, str, bytes]] = deque()
        self._port = 0
        self._server: asyncio.Server | None = None
        self._sessions: list[Session] = []
        self._stalled = False
        self._accepting = True
        self.actions: dict[str, int] = {}
        self.cuts_made = Counter[str]()
        """Planned cuts that came, by action and phase."""

    # -- running ------------------------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> int:
        """Listen on the loopback; returns the port."""
        self._loop = asyncio.get_running_loop()
        self._cel = Cel(self.cel_path)
        self.exchange = Exchange(
            self.script,
            self._seed,
            self._time_scale,
            self._publish,
            self._version,
            self._cel,
            self.monitor,
            self._return_ms,
        )
        self._manager = Manager(self.exchange, self._loop.call_soon, self._publish_at_once)
        self._server = await self._loop.create_server(self.session, "127.0.0.1", port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def stop(self) -> None:
        """Drop every connection and stop listening; all timers of calls are gone afterwards."""
        self.cut()
        self.exchange.restart()
        self._cel.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def session(self) -> Session:
        """A protocol for one connection, for those who bring a transport of their own."""
        return Session(self)

    @property
    def port(self) -> int:
        return self._port

    @property
    def username(self) -> str:
        """The first manager user's name."""
        return next(iter(self._users))

    @property
    def secret(self) -> str:
        return self._users[self.username].secret

    # -- what checkers look at ----------------------------------------------------------------------------------------

    @property
    def originates(self) -> Sequence[Dialled]:
        """Everything that really reached a far end, oldest first (the last million)."""
        return self.exchange.originates

    @property
    def live(self) -> tuple[Leg, ...]:
        return self.exchange.legs

    @property
    def peak_channels(self) -> int:
        return self.exchange.peak_channels

    @property
    def function_writes(self) -> Sequence[tuple[str, str, str]]:
        """(leg, function, value) of every variable whose name was executed as a dialplan function."""
        return self.exchange.function_writes

    @property
    def connections(self) -> int:
        return len(self._sessions)

    # -- faults -------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Drop all connections now. Calls go on."""
        for session in tuple(self._sessions):
            session.cut()

    def cut_on(
        self, action: str = "Originate", before_response: bool = True, times: int = 1, performed: bool = True
    ) -> None:
        """Drop the connection at the next such actions: before or after the response, done or not."""
        self._cuts.append(Cut(action.lower(), before_response, performed, times))

    def refuse_connections(self, refused: bool = True) -> None:
        """Accept no connection until told otherwise: what comes is closed at once."""
        self._accepting = not refused

    def half_open(self) -> None:
        """Every connection goes dead without a word. New ones are fine."""
        for session in self._sessions:
            session.half_open()

    def stall(self, stalled: bool = True, *, newcomers: bool = True) -> None:
        """Stop reading from every connection, `newcomers` that are made meanwhile too, or read on."""
        self._stalled = stalled and newcomers
        for session in tuple(self._sessions):  # who reads on may read its end
            session.stall(stalled)

    def restart(self, announced: bool = False) -> None:
        """The PBX dies and is back: all channels are gone without an event, uptime starts again."""
        if announced:
            self._publish_at_once("Shutdown", shutdown)
            for session in tuple(self._sessions):
                session.close()
        self.cut()
        self._lagging.clear()
        self.exchange.restart()

    def spare(self) -> None:
        """Forget the cuts and failures that were planned and haven't come yet."""
        self._cuts.clear()
        self.exchange.failing = 0

    def fail_originates(self, count: int) -> None:
        """The next originates fail as they do when the PBX has no resources left: queued, then Failure, no channel."""
        self.exchange.failing += count

    def hang_up(self, leg: str) -> bool:
        """The far end of a leg hangs up now. False if there is no such leg."""
        found = self.exchange.find(leg)
        if found is not None:
            found.far_end_hangs_up()
        return found is not None

    def end_during_outage(self, *legs: str) -> None:
        """Cut all connections and, while nobody listens, let the far ends of these legs (or of all) hang up."""
        self.cut()
        for leg in legs or [leg.uid for leg in self.live]:
            self.hang_up(leg)

    # -- what sessions need -------------------------------------------------------------------------------------------

    def user(self, name: str) -> User | None:
        return self._users.get(name)

    def connected(self, session: Session) -> None:
        self._sessions.append(session)
        if self._stalled:
            session.stall(True)
        if not self._accepting or len(self._sessions) > MAX_SESSIONS:
            self._loop.call_soon(session.cut)

    def disconnected(self, session: Session) -> None:
        if session in self._sessions:
            self._sessions.remove(session)

    def fully_booted(self) -> bytes:
        return fully_booted(self.exchange.uptime_s())

    def random_size(self, limit: int) -> int:
        return self._chance.randint(1, limit)

    def perform(self, session: Session, action: Action) -> bytes:
        self.actions[action.name] = self.actions.get(action.name, 0) + 1
        cut = self._planned_cut(action.name)
        if cut is not None and not cut.performed:
            session.cut()
            return b""
        write = session.user.write if session.user else frozenset[str]()
        answer = self._manager.perform(action, write)
        if cut is None:
            return answer
        if cut.before_response:
            session.cut()
            return b""
        session.send(answer)
        session.close()
        return b""

    def _planned_cut(self, action: str) -> Cut | None:
        cut = next((cut for cut in self._cuts if cut.action == action), None)
        if cut is not None:
            phase = (
                "not performed" if not cut.performed else "before response" if cut.before_response else "after response"
            )
            self.cuts_made[f"{action} {phase}"] += 1
            cut.times -= 1
            if cut.times == 0:
                self._cuts.remove(cut)
        return cut

    # -- events -------------------------------------------------------------------------------------------------------

    def _publish(self, name: str, build: Callable[[], bytes]) -> None:
        """Tell an event to whoever hears it, in order, behind those that lag."""
        if not any(session.hears(name) for session in self._sessions):
            return
        shortest, longest = self._lag_ms
        if not longest:
            self._send(name, build())
            return
        due = self._loop.time() + self._chance.uniform(shortest, longest) / 1000
        if self._lagging:
            due = max(due, self._lagging[-1][0])
        self._lagging.append((due, name, build()))
        self._loop.call_at(due, self._send_due)

    def _send_due(self) -> None:
        now = self._loop.time()
        while self._lagging and self._lagging[0][0] <= now:
            _, name, data = self._lagging.popleft()
            self._send(name, data)

    def _publish_at_once(self, name: str, build: Callable[[], bytes]) -> None:
        self._send(name, build())

    def _send(self, name: str, data: bytes) -> None:
        for session in tuple(self._sessions):
            if session.hears(name):
                session.send(data)
