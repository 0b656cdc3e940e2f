"""One HTTP request to an address that somebody named: bounded in time and size, following nothing, trusting nothing."""

import asyncio
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from adapters.outward.exchange import REPEATABLE, Reply, Request, exchange, request_of
from adapters.outward.target import TargetRefused, Targets
from engine.core.template import Origin
from engine.ports import Clock

KEEP_ALIVE_S = 60
MAX_DESTINATIONS = 4_096
"""Origins whose description is kept."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`status` 0: none came, and `error` says why."""

    status: int
    error: str = ""
    retry_after_ms: int = 0

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == 410


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `origin`, where given, is the only place that it may go to."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    origin: Origin | None = None
    written: Callable[[], None] | None = None
    """Called once the request is on its way to the socket."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`request_timeout_ms` from the first look-up of the name to the end of the answer's head; a body that doesn't come
    changes nothing of what the head says.
    """

    user_agent: str
    request_timeout_ms: int
    response_bytes: int
    max_requests: int


class Sender:
    """`targets` guards the address that a name leads to, on each connection.

    `resolver` tells which addresses a name has; None is the system's. Nothing it says is believed.
    """

    def __init__(
        self, bounds: Bounds, clock: Clock, targets: Targets, resolver: AbstractResolver | None = None
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._targets = targets
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._destinations: dict[URL, aiohttp.ClientRequest] = {}

    def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._bounds.max_requests,
                keepalive_timeout=KEEP_ALIVE_S,
                socket_factory=self._targets.connect,
                resolver=self._resolver,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, request: Outgoing) -> Answer:
        """Never raises but for cancellation."""
        try:
            url = URL(
                request.url
            )  # as aiohttp understands it: a parser of our own might read the same text differently
            self._admit(url, request.origin)
            return self._answer(await self._exchange(url, request))
        except TimeoutError:
            return Answer(status=0, error=f"no answer within {self._bounds.request_timeout_ms} ms")
        except (TargetRefused, aiohttp.ClientConnectorError) as error:
            refused = error if isinstance(error, TargetRefused) else error.os_error
            return Answer(status=0, error=str(refused) if isinstance(refused, TargetRefused) else "no connection")
        except HttpProcessingError:
            return Answer(status=0, error="the answer is not HTTP")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(status=0, error=type(error).__name__)  # its text may hold the address: a secret, or a person

    async def _exchange(self, url: URL, request: Outgoing) -> Reply:
        assert self._session is not None
        connector = self._session.connector
        assert connector is not None
        to = self._destination(url)
        headers = {"Host": to.headers["Host"], **request.headers, "User-Agent": self._bounds.user_agent}
        asked = request_of(request.method, url.raw_path_qs, headers, request.body)
        sent = Request(asked, request.method in REPEATABLE, request.written)
        within_s = self._bounds.request_timeout_ms / 1_000
        return await exchange(connector, to, sent, within_s, self._bounds.response_bytes)

    def _destination(self, url: URL) -> aiohttp.ClientRequest:
        """Where an address leads, as aiohttp's connections are told; the same for all addresses of one origin."""
        origin = url.origin()
        known = self._destinations.get(origin)
        if known is None:
            if len(self._destinations) >= MAX_DESTINATIONS:
                self._destinations.clear()
            known = aiohttp.ClientRequest("POST", origin, loop=asyncio.get_running_loop())
            self._destinations[origin] = known
        return known

    def _admit(self, url: URL, origin: Origin | None) -> None:
        scheme, host = url.scheme, url.host or ""
        if origin is not None and (scheme, host) != origin:
            raise TargetRefused("the address leads elsewhere than it seems")
        if url.raw_user is not None or url.raw_password is not None:
            raise TargetRefused("the address must not name a user")
        self._targets.admit(scheme, host, url.port or 0)

    def _answer(self, reply: Reply) -> Answer:
        taken = 200 <= reply.status < 300
        pause = reply.headers.get("Retry-After")
        return Answer(
            status=reply.status,
            error="" if taken else f"HTTP {reply.status}",
            retry_after_ms=retry_after_ms(pause, self._clock.now_ms()) if pause else 0,
        )


def retry_after_ms(header: str, now_ms: int) -> int:
    """A Retry-After header, seconds or a date, as a pause; 0 where it says nothing that can be understood."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1_000
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() * 1_000) - now_ms)
    except (TypeError, ValueError, OverflowError):
        return 0
