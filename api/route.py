"""Routes, who may take them, and what every handler is given.

A route without roles can't be written down: what isn't said is forbidden.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

import msgspec
from aiohttp import web

from api import cursor
from api.broadcast import Broadcast
from api.edition import EDITION
from api.problem import Problem, invalid
from api.rate import Rate
from api.ticket import Tickets
from api.token import KeyRing, Principal, Role
from engine.app import Engine
from engine.campaigns import Running
from engine.core.campaign import Status
from engine.core.interaction import Target
from engine.core.retention import Retention
from engine.erasure import Erasures
from engine.ports import Feed

T = TypeVar("T")

REF = re.compile(r"[A-Za-z0-9_.:@-]{1,100}")
AGENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HEX_ID = re.compile(r"[0-9a-f]{32}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LINES = re.compile(r"settings\.(?:script|tabs\[[0-9]+\]\.text)")
"""Fields of several lines."""
SURROGATE = re.compile(r"[\ud800-\udfff]")

LARGE_BODY_BYTES = 64 * 1024
MAX_PAGE_ROWS = 1_000
MAX_CURSOR_CHARS = 700

Ref = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:@-]{1,100}$(?!\n)")]
AgentId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
Reason = Annotated[str, msgspec.Meta(max_length=200)]


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """How much of a list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE_ROWS)] = 100


class Pages(Page, forbid_unknown_fields=True):
    after: Annotated[str, msgspec.Meta(max_length=MAX_CURSOR_CHARS)] = ""
    """`next` of the page before; empty is the beginning."""


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    max_body_bytes: int = 8 * 1024 * 1024
    max_rows_per_request: int = 10_000
    max_wait_s: int = 30
    max_streams: int = 2_000
    heartbeat_s: int = 15
    stalled_stream_s: int = 120
    """How long a stream's client may read nothing before it is cut off."""
    rate: Rate = Rate()
    max_in_flight: int = 0
    """Requests of one token under way at a time; 0 is no limit."""
    max_requests: int = 1_000
    """Requests of all tokens under way at a time, without streams and long polls."""
    origins: frozenset[str] = frozenset()
    """Of pages that may ask; the others' browsers keep the answers from them."""
    max_upload_s: int = 60
    """How long a body may take to come."""


class Crm(Protocol):
    """Where campaigns' addresses may lead, and what CRMs were told."""

    def check(self, targets: Sequence[Target]) -> None:
        """Raises Refused naming the setting that leads where no campaign may."""
        ...

    def of_call(self, call: str) -> Sequence[Mapping[str, Any]]:
        """What a CRM was told of a call by the service. Times in epoch ms, 0 for none."""
        ...


class Imports(Protocol):
    """Who takes files in. Whatever is wrong is a Refused."""

    def request(
        self,
        *,
        campaign: str,
        by: str,
        name: str,
        mode: str,
        media: str,
        encoding: str,
        mapping: str,
        required: tuple[str, ...],
        region: str,
        prefix: bool,
        tags: str,
    ) -> Any: ...

    async def receive(self, request: Any, body: AsyncIterator[bytes]) -> str:
        """The import's id, once the file is here."""
        ...

    async def confirm(self, id_: str, by: str, accept_errors: bool, confirm_removal: bool) -> None: ...

    async def cancel(self, id_: str) -> None: ...

    def campaign_of(self, id_: str) -> str: ...

    def under_way(self) -> str:
        """An import that is being checked or stored; "" for none."""
        ...

    async def forget_person(self, refs: Collection[str], numbers: Collection[str]) -> list[str]:
        """Give up every import whose files hold one of these; returns their ids."""
        ...

    async def show(self, id_: str) -> dict[str, Any]: ...

    def listing(self, visible: Callable[[str], bool]) -> list[dict[str, Any]]: ...

    def errors(self, id_: str) -> Iterator[str]: ...

    def template(self, media: str) -> bytes: ...

    def check_mapping(self, columns: dict[str, str]) -> None: ...

    def knows_region(self, region: str) -> bool: ...

    def reader(self, region: str) -> Callable[[str], str]:
        """Reads a number as E.164, a national one as the region's. It raises ValueError saying why not."""
        ...


class Service(msgspec.Struct):
    """What the surface is made over."""

    engine: Engine
    feed: Feed
    broadcast: Broadcast
    keys: KeyRing
    limits: HttpLimits
    trunks: frozenset[str]
    crm: Crm
    imports: Imports
    erasures: Erasures
    recordings: Path | None = None
    retention: Retention = Retention()
    tickets: Tickets = msgspec.field(default_factory=Tickets)
    stopping: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    """Whoever waits for news ends the answer, so that nobody waits for them."""
    streams: int = 0
    exports: int = 0
    """How many are under way."""


class Call(NamedTuple):
    """One request of a known principal."""

    service: Service
    principal: Principal
    request: web.Request

    @property
    def engine(self) -> Engine:
        return self.service.engine

    @property
    def limits(self) -> HttpLimits:
        return self.service.limits

    @property
    def at(self) -> int:
        return self.engine.clock.now_ms()

    @property
    def by(self) -> str:
        return self.principal.subject

    def part(self, name: str, pattern: re.Pattern[str], absent: str) -> str:
        """A part of the path; one of the wrong form names nothing."""
        value = self.request.match_info[name]
        if not pattern.fullmatch(value):
            raise Problem(404, f"unknown-{absent}", f"there is no {absent} {value[:100]!r}")
        return value

    def ref(self) -> str:
        return self.part("ref", REF, "campaign")

    def may_see(self, ref: str, running: Running | None) -> bool:
        """Whether the principal may know of a campaign, or that there is none of this ref."""
        if self.principal.campaigns and ref not in self.principal.campaigns:
            return False  # a token that names campaigns is for those alone, whatever its role
        match self.principal.role:
            case Role.ADMINISTRATOR | Role.CAMPAIGN_MANAGER | Role.CRM:
                return True
            case Role.SUPERVISOR:
                if self.principal.campaigns:
                    return True
                return running is not None and self.principal.subject in running.book.campaign.settings.supervisors
            case Role.AGENT:
                return running is not None and self.principal.subject in running.book.agents
            case Role.METRICS:
                return False

    def campaign(self) -> tuple[str, Running]:
        """The campaign of the path, if the principal may see it."""
        ref = self.ref()
        return ref, self.named(ref)

    def named(self, ref: str) -> Running:
        """A campaign, if the principal may see it: else not even whether there is one."""
        if not self.may_see(ref, self.engine.campaigns.get(ref)):
            raise Problem(403, "forbidden", f"campaign {ref!r} is not yours")
        running = self.engine.campaign(ref)
        if running.book.campaign.status is Status.ABSENT:  # its creation is under way
            raise Problem(404, "unknown-campaign", f"there is no campaign {ref!r}")
        return running

    def act_for(self, agent: str) -> None:
        """An agent's token is that agent's; one that names agents acts for those alone. Raises Problem."""
        if self.principal.role is Role.AGENT and self.principal.subject != agent:
            raise Problem(403, "forbidden", "an agent's token acts for that agent only", "agent")
        if self.principal.agents and agent not in self.principal.agents:
            raise Problem(403, "forbidden", f"this token doesn't act for agent {agent!r}", "agent")

    async def body(self, type_: type[T]) -> T:
        """The JSON body as a struct; every refusal names the field."""
        return decode(await self.raw(), type_, self.request)

    async def raw(self) -> bytes:
        limits = self.limits
        try:
            async with asyncio.timeout(limits.max_upload_s):
                return await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Problem(413, "body-too-large", f"a body has at most {limits.max_body_bytes} bytes") from None
        except TimeoutError:
            raise Problem(408, "body-too-slow", f"a body comes within {limits.max_upload_s} s") from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Problem(400, "bad-request", f"the body can't be read: {error}") from None

    def query(self, type_: type[T]) -> T:
        """The parameters as a struct. Raises Problem naming one that is wrong, unknown, or given twice."""
        return queried(self.request.query, type_)

    def limit(self) -> int:
        return self.number("limit", default=100, least=1, most=MAX_PAGE_ROWS)

    def after(self) -> str:
        """The place behind which the page begins, as `cursor` was given it; "" is the beginning. Raises Problem."""
        return cursor.read(self.request.path, self.request.query.get("after", ""))

    def place(self) -> int:
        """The same where places are numbers."""
        return int(self.after() or 0)

    def cursor(self, place: str | int | None) -> str | None:
        """`next` of a page of this list; null where it is the last."""
        return None if place is None else cursor.written(self.request.path, str(place))

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.request.query.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise invalid(name, f"must be a whole number from {least} to {most}")
        return int(text)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Media(NamedTuple):
    """A body that is no JSON document of ours: its media types, and how long it may be where that is said."""

    types: tuple[str, ...]
    of: Any = None
    """For NDJSON: the type of a line."""


class Answer(NamedTuple):
    """What comes back with one status."""

    type: Any = None
    """A struct, a `Media`, or None: no body."""
    headers: Mapping[str, str] = {}
    """By name: what it says. Those that every answer may have aren't repeated."""


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The address takes no parameters."""


class Route(NamedTuple):
    """An address, who may use it, and what it takes and gives: the published schema is made from this.

    The handler's docstring is the longer description. Whatever is answered must be declared here: the tests compare.
    """

    method: str
    path: str
    handler: Handler
    roles: frozenset[Role]
    summary: str = ""
    """What it does: a line that begins with a verb."""
    gives: Mapping[int, Any] = {}
    """By status: an `Answer`, or what its type would be."""
    takes: Any = None
    """The JSON body's struct, a `Media`, or several of them."""
    query: type[msgspec.Struct] = NoQuery
    """Its fields are the parameters; others are refused."""
    problems: tuple[str, ...] = ()
    """Codes that it may refuse with, beside those that any route may."""


def queried(given: Mapping[str, str], type_: type[T]) -> T:
    """Parameters of an address as a struct; texts become what its fields are. Raises Problem."""
    values = dict(given.items())
    twice = next((name for name, times in Counter(name for name, _ in given.items()).items() if times > 1), None)
    if twice is not None:
        raise invalid(twice, "is given twice")
    try:
        check_text(values, "", "query")
        return msgspec.convert(values, type_, strict=False)
    except msgspec.ValidationError as error:
        raise _named(error, "query") from None


def decode(raw: bytes, type_: type[T], request: web.Request | None = None) -> T:
    """One JSON document as `type_`. Raises Problem: 400, 415, or 422 naming the field."""
    if request is not None and raw and request.content_type != "application/json":
        raise Problem(415, "unsupported-media-type", f"{request.content_type!r} is not application/json")
    try:
        value = parsed(raw or b"{}")
    except ValueError as error:
        raise Problem(400, "malformed-json", f"the body is not JSON: {error}") from None
    return converted(value, type_)


async def parsed_aside(raw: bytes) -> Any:
    """As `parsed`; a large one in a thread, so that timers and the PBX don't wait for it."""
    return parsed(raw) if len(raw) < LARGE_BODY_BYTES else await asyncio.to_thread(parsed, raw)


def parsed(raw: bytes) -> Any:
    """A JSON document in which each key stands once. Raises ValueError."""
    try:
        text = raw.decode("utf-8-sig")  # given bytes, json would take UTF-16 and UTF-32 too, by guessing
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def converted(value: Any, type_: type[T], whole: str = "body") -> T:
    """A decoded value as `type_`. Raises Problem naming the field, or `whole` when the value itself is wrong."""
    try:
        check_text(value, "", whole)
        return msgspec.convert(value, type_)
    except RecursionError:
        raise invalid(whole, "is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise _named(error, whole) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the key {twice[:100]!r} appears twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def check_text(value: Any, path: str, whole: str) -> None:
    """No control characters anywhere: they have no business in names and numbers, and reach logs and headers."""
    if isinstance(value, str):
        if CONTROL.search(value.replace("\n", "") if LINES.fullmatch(path) else value):
            raise invalid(path or whole, "has a control character")
        if SURROGATE.search(value):
            raise invalid(path or whole, "has half of a surrogate pair")
    elif isinstance(value, dict):
        for key, one in value.items():
            check_text(key, f"{path}.{key!r}" if path else repr(key), whole)
            check_text(one, f"{path}.{key}" if path else key, whole)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            check_text(one, f"{path}[{index}]", whole)


def _named(error: msgspec.ValidationError, whole: str) -> Problem:
    """msgspec says `… - at `$.a.b``; unknown and missing fields stand in the reason."""
    reason, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    named = re.search(r"(?:unknown|required) field `([^`]*)`", reason)
    if named:
        field = f"{field}.{named[1]}".lstrip(".")
    return invalid(field or whole, reason[:1].lower() + reason[1:])


class Accepted(msgspec.Struct, kw_only=True):
    """The command is durable; what becomes of it is told by a notification."""

    command_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None, edition: str = "") -> web.Response:
    """`edition`: of what a client can edit, where the answer tells more than that. Without one, the whole is it."""
    raw = msgspec.json.encode(body)
    found = web.Response(body=raw, status=status, headers=headers, content_type="application/json")
    if edition:
        found[EDITION] = edition
    return found


def taken(call: Call) -> web.Response:
    """202: the command is durable. What becomes of it comes as a notification."""
    return reply(Accepted(command_id=call.engine.chance.new_id()), 202)


EVERYBODY = frozenset(Role) - {Role.METRICS}
"""Who works with campaigns; a monitoring system doesn't."""


def roles(*names: Role) -> frozenset[Role]:
    return frozenset(names)


def all_routes(*tables: Sequence[Route]) -> list[Route]:
    return [route for table in tables for route in table]
