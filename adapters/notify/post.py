"""How one receiver is reached: signed, with a share of the requests that may be under way, each attempt remembered."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from adapters.notify.limits import NotifyLimits
from adapters.notify.pace import Pace
from adapters.notify.signing import UnusableSecret, signed_headers, signers_of
from adapters.outward.sender import Answer, Outgoing, Sender
from engine.core.webhook import WebhookPut
from engine.ports import Clock, Delivery
from engine.trace import ALONE, SpanKind, Tag, spanned

Slots = asyncio.Semaphore
"""Requests that may be under way at once, to all receivers together."""


class Post:
    """`attempts` are the newest ones, `counts` all of this process by outcome; `taken_at` the last success, by the pace."""

    def __init__(
        self, put: WebhookPut, sender: Sender, slots: Slots, limits: NotifyLimits, clock: Clock, pace: Pace
    ) -> None:
        self.put = put
        self.attempts: deque[Delivery] = deque(maxlen=limits.remembered_attempts)
        self.counts: Counter[str] = Counter()
        self.taken_at = -1
        self._sender, self._slots, self._limits, self._clock, self._pace = sender, slots, limits, clock, pace
        self._own_slots = asyncio.Semaphore(limits.max_requests_per_webhook)
        self._one_by_one = asyncio.Lock()
        self._failures = 0

    async def send(self, delivery: Delivery, body: bytes, written: Callable[[], None] | None = None) -> Answer:
        """One attempt. Never raises but for cancellation."""
        # Who has failed for a while is asked by one request at a time: requests that nobody answers would else take the
        # place of those that somebody waits for.
        is_doubted = self._failures >= self._limits.failures_to_doubt
        async with self._one_by_one if is_doubted else contextlib.nullcontext(), self._own_slots, self._slots:
            at, began = self._clock.now_ms(), asyncio.get_running_loop().time()
            with spanned("deliver", self._tags(delivery), SpanKind.CLIENT, ALONE) as span:
                answer = await self._request(delivery.notification, at, body, written)
                span.set_attribute("http.response.status_code", answer.status)
            took_ms = round((asyncio.get_running_loop().time() - began) * 1_000)
        self._failures = 0 if answer.taken else self._failures + 1
        self.taken_at = self._pace.elapsed_ms() if answer.taken else self.taken_at
        self.counts["taken" if answer.taken else "refused" if answer.status else "unanswered"] += 1
        self.attempts.append(
            msgspec.structs.replace(delivery, at=at, status=answer.status, error=answer.error, duration_ms=took_ms)
        )
        return answer

    def _tags(self, delivery: Delivery) -> dict[str, Tag]:
        return {
            "ringfold.webhook": self.put.id,
            "ringfold.notification": delivery.notification,
            "ringfold.attempt": delivery.attempt,
        }

    async def _request(self, id_: str, at: int, body: bytes, written: Callable[[], None] | None) -> Answer:
        try:
            headers = signed_headers(signers_of(self.put, at), id_, at // 1_000, body)
        except UnusableSecret as error:
            return Answer(status=0, error=str(error))
        return await self._sender.send(
            Outgoing(
                method="POST",
                url=self.put.url,
                headers={"Content-Type": "application/json", **headers},
                body=body,
                written=written,
            )
        )
