"""One HTTP request to one receiver: bounded in time and size, following nothing, trusting nothing around it."""

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec

from adapters.notify.limits import NotifyLimits
from adapters.notify.retry import retry_after_ms
from adapters.notify.target import TargetRefused, Targets
from engine.ports import Clock

USER_AGENT = "Ringfold-Webhooks/1"


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


class Sender:
    def __init__(self, limits: NotifyLimits, clock: Clock, targets: Targets) -> None:
        self._limits = limits
        self._clock = clock
        self._targets = targets
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        traced = aiohttp.TraceConfig()
        traced.on_request_start.append(self._admit)
        traced.on_request_chunk_sent.append(_written)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._limits.max_requests, keepalive_timeout=60, socket_factory=self._targets.connect
            ),
            timeout=aiohttp.ClientTimeout(total=self._limits.request_timeout_ms / 1_000),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[traced],
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, written: Callable[[], None]) -> Answer:
        """Never raises but for cancellation. `written` is called once the request is on its way to the socket."""
        assert self._session is not None
        own = {"content-type": "application/json", "user-agent": USER_AGENT}
        try:
            async with self._session.post(
                url, data=body, headers={**own, **headers}, allow_redirects=False, trace_request_ctx=written
            ) as response:
                answer = self._answer(response)
                # Read, so that the connection can be used again; nothing in it is of interest.
                await response.content.read(self._limits.response_bytes)
                if not response.content.at_eof():
                    response.close()
                return answer
        except asyncio.TimeoutError:  # noqa: UP041  # aiohttp's own time-outs are of this name
            return Answer(status=0, error=f"no answer within {self._limits.request_timeout_ms} ms")
        except (TargetRefused, aiohttp.ClientConnectorError) as error:
            refused = error if isinstance(error, TargetRefused) else error.os_error
            return Answer(status=0, error=str(refused) if isinstance(refused, TargetRefused) else "no connection")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(status=0, error=type(error).__name__)  # its text may hold the address, and with it a secret

    async def _admit(self, _session: Any, _context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        # The address as aiohttp has understood it: a parser of our own might read the same text differently.
        self._targets.admit(params.url.scheme, params.url.host or "")

    def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        taken = 200 <= response.status < 300
        return Answer(
            status=response.status,
            error="" if taken else f"HTTP {response.status}",
            retry_after_ms=retry_after_ms(response.headers.get("Retry-After", ""), self._clock.now_ms()),
        )


async def _written(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    # aiohttp hands the bytes to the socket in the same turn of the loop, right after this.
    context.trace_request_ctx()
