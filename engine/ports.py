"""What the shell asks of the outside world. Adapters and stores implement these; the simulator does too."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import msgspec

from engine.core.blocks import Blocks, SavedParts
from engine.core.personal import Person
from engine.core.telephony import LegObservation, PbxObservation, TelephonyEffect
from engine.core.webhook import Secrets, WebhookPut

NO_STREAM = 0
"""Expected version of a stream that must not exist yet."""
ANY = -1
"""Expected version where the appender doesn't care."""


class WrongVersion(Exception):
    """The stream isn't where the appender thought. Nothing of that append was written."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream!r} is at version {actual}, not {expected}")
        self.stream, self.expected, self.actual = stream, expected, actual


class Fenced(Exception):
    """Another owner has taken the log over: this one must stop acting on it at once."""


class DamagedSnapshot(Exception):
    """A part isn't what was written. The log is: read it from the beginning."""


class Unreadable(Exception):
    """What the store holds isn't what this program reads: a newer one wrote it, or it is damaged. Waiting is of no use."""


class StoreUnavailable(Exception):
    """The store can't be reached or its queue is full: try again later, nothing was written."""


class LogArchived(StoreUnavailable):
    """The log left the store for an archive, and the archive isn't where it can be read: what it told can't be told again."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A log's file: whoever has it can read the log, and put it back. `file` is its name, `sha256` of the whole of it."""

    log: str
    file: str
    sha256: str
    segments: int
    events: int


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a request under a key was answered. `at` epoch ms; `print` tells that request from others."""

    at: int
    print: bytes
    status: int
    headers: dict[str, str]
    body: bytes


class Append(msgspec.Struct, frozen=True, gc=False):
    """Events for one stream. `expected` is the stream's version before them, NO_STREAM or ANY."""

    stream: str
    expected: int
    events: Sequence[Any]


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One event as it stands in a log. `pos` counts from 1 in the log, `version` from 1 in its stream, both gapless."""

    pos: int
    stream: str
    version: int
    event: Any


class Beside(NamedTuple):
    """What is to be durable with another log's events. `done` is told once whether it is, and never raises."""

    appends: Sequence[Append]
    done: Callable[[bool], None]


class Unopened(NamedTuple):
    """Events that a reader has no need of: those of this type, up to a position."""

    type: type
    to: int


class EventLog(Protocol):
    """One log, owned by this process under a lease. Order is total and gapless."""

    name: str
    trouble: str
    """Why what was appended isn't durable yet, in the store's words; "" unless a try has failed."""

    @property
    def position(self) -> int:
        """Position of the last durable event, 0 when empty."""
        ...

    @property
    def holds(self) -> bool:
        """Whether nobody else can own the log yet: false once the lease wasn't renewed in its time, or the log is lost.

        Who no longer holds it may still append, if nobody has come; but must not act on what only the owner may judge.
        """
        ...

    async def hold(self) -> None:
        """Returns when `holds` is true, at once where it is; the lease is renewed otherwise. Raises Fenced."""
        ...

    def version(self, stream: str) -> int:
        """Version of a stream, accepted appends included; 0 when it doesn't exist."""
        ...

    async def append(self, appends: Sequence[Append]) -> Sequence[Recorded]:
        """All or nothing; returns when durable, however long the store is away. No events: no effect.

        Raises WrongVersion, Fenced, StoreUnavailable; and, before anything is written, what the store's own codec raises
        for an event that it can't store.
        """
        ...

    async def keep_versions(self) -> None:
        """Keep the streams' versions as they are now, so that the next owner reads what comes behind them and no more.

        Raises StoreUnavailable.
        """
        ...

    def read(self, after: int = 0, unopened: Unopened | None = None) -> AsyncIterator[Sequence[Recorded]]:
        """Durable events behind a position, oldest first, in batches, up to the head at the time of asking.

        The event of what may stay unopened is None, mostly: to make it out of bytes is most of what reading costs.
        """
        ...

    async def close(self) -> None:
        """Finish what was accepted, give the lease up."""
        ...


class Sealing(Protocol):
    """Where many people come, who is new has their data sealed before it comes to the log, elsewhere than in our loop."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def seal(self, people: Sequence[Person]) -> None:
        """Give each a seal, if that can be just now: without one the log seals by itself. Never raises."""
        ...


class Logs(Protocol):
    """All logs of one installation, and how far each follower of theirs has come: what adapters are given."""

    async def open_log(self, name: str) -> EventLog:
        """Become the log's owner (its lease's epoch rises). Raises StoreUnavailable while another owner's lease is live."""
        ...

    async def logs(self) -> Sequence[str]: ...

    def read(self, log: str, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        """As EventLog.read, without owning the log: for followers. An archived one is read from its file.

        Raises LogArchived where that isn't here.
        """
        ...

    def accompany(self, log: EventLog, place: Callable[[str, Sequence[Recorded]], Beside | None]) -> None:
        """From now on ask, with the name and the events of what any other log is about to write, what this one is appended by
        the same commit: both are durable, or neither. Where that can't be, as while this one writes by itself, the others
        are written alone. One log can accompany.
        """
        ...

    async def checkpoint(self, name: str, log: str) -> int:
        """How far a follower has come, 0 at first."""
        ...

    async def save_checkpoint(self, name: str, log: str, pos: int) -> None: ...


class EventStore(Logs, Protocol):
    """The logs, and what else is kept beside them."""

    async def snapshot(self, name: str, log: str) -> tuple[int, SavedParts] | None:
        """The newest snapshot: (position, parts by name). Raises DamagedSnapshot, also where a part is taken."""
        ...

    async def save_snapshot(self, name: str, log: str, pos: int, parts: Iterable[tuple[str, bytes]]) -> None:
        """Keep a snapshot, sealed: it may hold personal data as it is. Its parts are made in threads, some while those before
        are written; what making them raises is raised here, and the former snapshot stays. Older ones of this name go."""
        ...

    async def drop_snapshots(self, log: str) -> None:
        """Whatever snapshots a log has: somebody in them was erased."""
        ...

    def still_keys(self, log: str) -> tuple[Blocks, list[str]]:
        """A log's keys as they are now, for a snapshot of it: buckets of those that are durable, and who was erased."""
        ...

    def adopt_keys(self, log: str, buckets: Blocks, erased: Sequence[str]) -> None:
        """A log's keys, as a snapshot kept them; what this process knows of a subject already stays. From any thread: where
        it knows keys of the log it takes a microsecond for each.
        """
        ...

    def open_keys(self, log: str) -> bool:
        """Some of the adopted keys, which stay packed until somebody looks. Whether there were any."""
        ...

    def drop_keys(self, log: str) -> None:
        """A log is closed for good."""
        ...

    async def answer(self, owner: str, key: str) -> KeptAnswer | None:
        """What was kept under an owner's key."""
        ...

    async def keep_answer(self, owner: str, key: str, answer: KeptAnswer, most: int) -> None:
        """Durable when it returns, in place of what was there; of an owner's the newest so many stay."""
        ...

    async def forget_answers(self, before: int) -> None:
        """Those from before a time, epoch ms, whoever they belong to."""
        ...

    async def archived(self) -> Mapping[str, int]:
        """Logs that left the store, each with its last position. Of these whatever is behind 0 may be out of reach."""
        ...

    async def archive(self, log: str) -> Archived:
        """Write a log that nobody appends to any more into a file of its own, durable and read back. Raises OSError."""
        ...

    async def drop(self, archived: Archived) -> None:
        """Let a log go from the store, a little at a time, once its file was checked again. Raises OSError, ValueError."""
        ...

    async def shred(self, subject: str) -> bool:
        """Erase a subject's key: their personal data is unreadable from now on. False if there was none, neither there nor in
        memory, where a snapshot may have brought it."""
        ...

    async def close(self) -> None: ...


class Announcer(Protocol):
    """Who tells clients."""

    def is_announced(self, log: str, pos: int) -> bool:
        """Whether `announced` would return at once."""
        ...

    async def announced(self, log: str, pos: int) -> None:
        """Return when the notifications of a log up to a position have been sent for the first time to whoever is well."""
        ...


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """The one envelope of all notifications."""

    id: str
    """The same whenever it comes again."""
    type: str
    """What happened: says what is in `data`."""
    version: int = 1
    """Of the envelope."""
    time: str
    """When it happened: RFC 3339 in UTC."""
    cursor: str
    """Opaque; orders the whole feed. Empty where it is in none."""
    campaign: str
    """The campaign's ref; empty for what belongs to none."""
    seq: int
    """Counts without gaps per campaign, from 1; 0 for what is in no sequence."""
    data: dict[str, Any]
    """What the type has to say."""


class NotificationType(msgspec.Struct, frozen=True, kw_only=True):
    """A type in the catalogue: `envelope` is a notification of this type, `content` what is in its `data`."""

    name: str
    about: str
    envelope: type[msgspec.Struct]
    content: type[msgspec.Struct]
    example: Notification


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, counted from 1, to deliver `count` notifications to a webhook under one id; `seq` is the first one's.

    `status` is HTTP's, 0 where no answer came.
    """

    notification: str
    campaign: str
    seq: int
    count: int = 1
    attempt: int = 1
    at: int = 0
    status: int = 0
    error: str = ""
    duration_ms: int = 0


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """How far one webhook is with one campaign. `behind` notifications wait; `retry_at` epoch ms or 0."""

    campaign: str
    seq: int
    behind: int
    attempts: int
    retry_at: int
    parked: bool


class WebhookReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far a webhook is: `behind` notifications wait, the first of them for `lag_ms`, since `oldest_at` (epoch ms, 0: none).

    `parked` lanes wait to be resumed; `parked_for` says why all of them do. `attempts` of this process, by what came of
    them: `taken`, `refused`, `unanswered`.
    """

    behind: int
    oldest_at: int
    lag_ms: int
    parked: int
    parked_for: str
    attempts: Mapping[str, int]


class FeedGap(Exception):
    """What comes next left the store. `cursor` is behind it: whoever goes on there has missed that, and nothing else."""

    def __init__(self, what: str, cursor: str) -> None:
        super().__init__(what)
        self.cursor = cursor


class FeedUndone(FeedGap):
    """A restore undid what was told before the cursor. What is told at `cursor` and behind it takes its place."""


class BadCursor(Exception):
    """Not a cursor that this feed gave out."""


class Feed(Announcer, Protocol):
    """All notifications in one order, and the webhooks that follow it."""

    @property
    def catalogue(self) -> Mapping[str, NotificationType]:
        """Every type of notification, by its name."""
        ...

    async def read(
        self, after: str, limit: int, campaign: str = "", types: Sequence[str] = (), wait_ms: int = 0
    ) -> tuple[Sequence[Notification], str]:
        """Notifications behind a cursor ("" is the beginning, "now" the end) and the cursor to go on from.

        Waits up to `wait_ms` for the first one. Raises BadCursor, and FeedGap where what comes next can't be read any more.
        """
        ...

    def is_newest(self, cursor: str) -> bool:
        """Whether nothing lies behind a cursor now."""
        ...

    def listen(
        self, campaign: str, types: Sequence[str], told: Callable[[Sequence[Notification]], None]
    ) -> Callable[[], None]:
        """From now on hand over what is told, in order and as it comes; returns how to end that. `told` never blocks."""
        ...

    @property
    def position(self) -> int:
        """How many notifications there are."""
        ...

    async def cursor_at(self, at: int) -> str:
        """The cursor behind which everything lies that happened at a time (epoch ms) or later."""
        ...

    def lanes(self, webhook: str) -> Sequence[Lane]: ...

    def report(self, webhook: str) -> WebhookReport | None:
        """How far one is; None where it isn't served yet."""
        ...

    def reports(self) -> Mapping[str, WebhookReport]:
        """How far each webhook is, by its id."""
        ...

    def deliveries(self, webhook: str, limit: int, notification: str = "") -> Sequence[Delivery]:
        """The newest attempts (at what was sent under one id, or "" at all), newest first, as far as this process
        remembers them."""
        ...

    async def replay(self, webhook: str, after: str) -> None:
        """Deliver again everything behind a cursor. Raises BadCursor."""
        ...

    async def resume(self, webhook: str) -> None:
        """Let what is parked go on where it stopped, and what failed be tried again."""
        ...

    async def try_out(self, webhook: str, by: str, type_: str = "") -> Delivery | None:
        """Send a ping, or the example of a type, once and beside everything else. None: the webhook isn't served yet."""
        ...

    def new_secrets(self) -> Secrets:
        """A secret and a signing key that nobody had before."""
        ...

    def public_keys(self, put: WebhookPut) -> Sequence[str]:
        """What a receiver verifies `v1a` with, the newest first."""
        ...

    def webhooks_changed(self) -> None:
        """The directory's webhooks are not what they were."""
        ...


class Clock(Protocol):
    def now_ms(self) -> int:
        """Epoch milliseconds."""
        ...


class Zones(Protocol):
    """Where people may be, and what time it is there."""

    def offsets(self, zone: str, number: str, at: int) -> tuple[int, ...]:
        """Minutes ahead of UTC at a time (epoch ms): of the IANA zone, or of every zone that the number may be in.

        Empty where nothing is known.
        """
        ...

    def knows(self, zone: str) -> bool:
        """Whether there is an IANA zone of this name."""
        ...


class Chance(Protocol):
    def new_id(self) -> str:
        """32 lower-case hex digits, never given out before."""
        ...


Sink = Callable[[LegObservation | PbxObservation], None]
MayAct = Callable[[str], bool]
"""Whether this process still owns the campaign of a leg."""


def always(_leg: str) -> bool:
    return True


class Telephony(Protocol):
    """A PBX. Nothing here blocks or raises: results come back as observations through the sink, in order per leg."""

    async def start(self, sink: Sink, may_act: MayAct = always) -> None:
        """Begin to connect and stay connected. Raises only for what no retry can mend (a wrong secret).

        `may_act` is asked for the leg when an effect's turn to be sent has come: what waited too long is not sent.
        """
        ...

    def perform(self, effect: TelephonyEffect) -> None:
        """Act once. While down an originate is answered by OriginateRejected; nothing is ever sent again by itself."""
        ...

    async def stop(self) -> None: ...
