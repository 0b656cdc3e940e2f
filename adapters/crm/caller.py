"""One HTTP request to a CRM: to a host that is allowed, bounded in time and size, following nothing."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp

from adapters.crm.limits import CrmLimits
from adapters.notify.retry import retry_after_ms
from adapters.notify.sender import Answer
from adapters.notify.target import TargetRefused, Targets
from engine.core.interaction import Request
from engine.core.template import Origin
from engine.ports import Clock

USER_AGENT = "Ringfold-CRM/1"


class Caller:
    """`targets` guards the address that a name leads to, on each connection."""

    def __init__(self, limits: CrmLimits, clock: Clock, targets: Targets) -> None:
        self._limits = limits
        self._clock = clock
        self._targets = targets
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        traced = aiohttp.TraceConfig()
        traced.on_request_start.append(self._admit)
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

    async def send(self, request: Request, origin: Origin, headers: Mapping[str, str]) -> Answer:
        """Never raises but for cancellation. `origin` is where it was allowed to go."""
        assert self._session is not None
        own = {"User-Agent": USER_AGENT}
        if request.content_type:
            own["Content-Type"] = request.content_type
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body or None,
                headers={**headers, **own},
                skip_auto_headers=["Content-Type"],
                allow_redirects=False,
                trace_request_ctx=origin,
            ) as response:
                answer = self._answer(response)
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
            return Answer(status=0, error=type(error).__name__)  # its text may hold the address, and with it a person

    async def _admit(self, _session: Any, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        # The address as aiohttp has understood it: it must be the one that was allowed.
        origin: Origin = context.trace_request_ctx
        if (params.url.scheme, params.url.host) != origin:
            raise TargetRefused("the address leads elsewhere than it seems")
        self._targets.admit(origin.scheme, origin.host)

    def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        taken = 200 <= response.status < 300
        return Answer(
            status=response.status,
            error="" if taken else f"HTTP {response.status}",
            retry_after_ms=retry_after_ms(response.headers.get("Retry-After", ""), self._clock.now_ms()),
        )
