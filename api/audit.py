"""Who was refused: a line for each request that was answered 401, 403 or 429, and a sum where there are too many.

A token is never written down, nor anything that was sent in its place.
"""

import asyncio
from collections import Counter

import structlog
from aiohttp import web

from api.problem import Problem
from api.token import Principal

LINES_PER_S = 5
"""Of one source."""
ALL_LINES_PER_S = 50
"""Of all sources together: whoever has many addresses fills no disk either."""
SUMMED_AFTER_S = 1
MAX_SOURCES = 1_000
"""Told apart in one sum; the rest counts as one."""
OTHERS = "others"
MAX_PATH_CHARS = 200
log = structlog.get_logger("audit")


class Refusals:
    """Lines of one second are counted by source: a known subject, or the address that a stranger asked from.

    What comes beyond the bounds is told by one line a second later, with how many there were and from how many sources.
    """

    def __init__(self) -> None:
        self._second = 0.0
        self._told: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._summing: asyncio.TimerHandle | None = None

    def note(
        self,
        request: web.Request,
        principal: Principal | None,
        route: str,
        problem: Problem,
        reason: str,
        trace_id: str,
    ) -> None:
        """`reason` says what the client isn't told."""
        peer = request.remote or ""
        source = f"{principal.role}:{principal.subject}" if principal else peer
        if not self._may_tell(source):
            return
        who = {"role": principal.role, "subject": principal.subject, "jti": principal.jti} if principal else {}
        log.warning(
            "refused",
            audit=True,
            status=problem.status,
            code=problem.code,
            reason=reason,
            method=request.method,
            route=route,
            path=request.path[:MAX_PATH_CHARS],
            peer=peer,
            trace_id=trace_id,
            **who,
        )

    def _may_tell(self, source: str) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() - self._second >= 1:
            self._second = loop.time()
            self._told.clear()
        if self._told[source] < LINES_PER_S and self._told.total() < ALL_LINES_PER_S:
            self._told[source] += 1
            return True
        if source in self._untold or len(self._untold) < MAX_SOURCES:
            self._untold[source] += 1
        else:
            self._untold[OTHERS] += 1
        if self._summing is None:
            self._summing = loop.call_later(SUMMED_AFTER_S, self._sum_up)
        return False

    def _sum_up(self) -> None:
        self._summing = None
        busiest = self._untold.most_common(1)[0][0]
        log.warning(
            "refused, many more", audit=True, count=self._untold.total(), sources=len(self._untold), busiest=busiest
        )
        self._untold.clear()

    async def close(self, _: web.Application) -> None:
        """What wasn't told yet is told now."""
        if self._summing is not None:
            self._summing.cancel()
            self._sum_up()
