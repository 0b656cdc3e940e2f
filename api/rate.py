"""How much one token may ask: a bucket each, so that none starves the others.

A bucket holds `burst` requests and fills at `per_s`. The headers are those of draft-ietf-httpapi-ratelimit-headers: the quota
of a whole bucket, what is left of it, and when it is full again.
"""

import contextlib
import math
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from api.problem import RETRY_AFTER_S, Problem

MAX_BUCKETS = 10_000
"""Tokens remembered at a time; whoever asked least recently is forgotten, and begins with a full bucket."""
POLICY = "token"


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """`per_s` 0 is no limit."""

    per_s: int = 0
    burst: int = 1


class Standing(NamedTuple):
    """After a request: whether it may pass, how many more may follow at once, and the wait until the next one may."""

    passes: bool
    remaining: int
    full_in_s: int
    retry_after_s: int

    def headers(self, rate: Rate) -> dict[str, str]:
        window = math.ceil(rate.burst / rate.per_s)
        return {
            "RateLimit-Policy": f'"{POLICY}";q={rate.burst};w={window}',
            "RateLimit": f'"{POLICY}";r={self.remaining};t={self.full_in_s}',
        }


class Flights:
    """Requests of each token that are under way: slow ones hold memory and places in queues for as long as they last."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._up: Counter[str] = Counter()

    @contextlib.contextmanager
    def of(self, token: str) -> Iterator[None]:
        """Raises Problem: 429."""
        if self.most and self._up[token] >= self.most:
            detail = f"this token has {self.most} requests under way, streams and long polls among them"
            raise Problem(429, "too-many-in-flight", detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        self._up[token] += 1
        try:
            yield
        finally:
            self._up[token] -= 1
            if not self._up[token]:
                del self._up[token]


class Throng:
    """Requests of all tokens that are under way. Beyond a bound more of them would get no more done, only all wait longer."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.under_way = 0

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Raises Problem: 503, before anything was looked at, so that a refusal costs little."""
        if self.under_way >= self.most:
            raise Problem(503, "overloaded", f"{self.most} requests are under way")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1


class Buckets:
    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, token: str, now_ms: int) -> Standing | None:
        """One request of a token; None where there is no limit."""
        rate = self.rate
        if not rate.per_s:
            return None
        left, at = self._left.pop(token, (float(rate.burst), now_ms))
        left = min(rate.burst, left + max(0, now_ms - at) * rate.per_s / 1_000)
        passes = left >= 1
        left -= passes
        self._left[token] = (left, now_ms)
        if len(self._left) > MAX_BUCKETS:
            self._left.popitem(last=False)
        return Standing(
            passes=passes,
            remaining=int(left),
            full_in_s=math.ceil((rate.burst - left) / rate.per_s),
            retry_after_s=max(1, math.ceil((1 - left) / rate.per_s)),
        )
