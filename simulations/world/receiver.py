"""The far end of what the service tells others: what came, whatever its troubles. No bytes leave the process."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Any, Generic, TypeVar

import msgspec

from adapters.outward.sender import Answer, Bounds, Outgoing, Sender
from adapters.outward.target import ANYWHERE
from engine.core.webhook import WebhookPut
from engine.ports import Clock, Notification

USUAL_S = (0.001, 0.02)
"""How long it takes for an answer."""
RETRY_AFTER_MS = 5_000
BOUNDS = Bounds(user_agent="world", request_timeout_ms=15_000, response_bytes=4_096, max_requests=256)
BATCH_WAIT_MS = 1_000
"""How long the first of several may wait for the others."""
WEBHOOK = "manager"


def webhook(batch: int) -> WebhookPut:
    """Where notifications go, at most so many at once; 0: each in a request of its own."""
    return WebhookPut(
        at=1,
        id=WEBHOOK,
        url="https://manager.example/",
        types=(),
        campaigns=(),
        since=0,
        by="m",
        secret="whsec_" + "A" * 32,
        batch_items=batch,
        batch_wait_ms=BATCH_WAIT_MS if batch else 0,
    )


T = TypeVar("T")
Read = Callable[[Outgoing], list[tuple[str, T]]]


class Trouble(StrEnum):
    AWAY = "away"
    """No connection."""
    STALLED = "stalled"
    """It takes what comes and never answers."""
    FAILING = "failing"
    THROTTLING = "throttling"
    FORGETTING = "forgetting"
    """It takes what comes, and the answer is lost."""


ANSWERS = {
    Trouble.FAILING: Answer(status=500, error="HTTP 500"),
    Trouble.THROTTLING: Answer(status=429, error="HTTP 429", retry_after_ms=RETRY_AFTER_MS),
}


class Receiver(Generic[T]):
    """`read` tells what a request brings, each with its id. `told` is called for all that it takes, in their order; the same
    come again after a lost answer.
    """

    def __init__(self, read: Read[T], told: Callable[[T], None], now_s: Callable[[], float], chance: Random) -> None:
        self.new = self.again = self.failed = 0
        """What came, and came again; requests that failed."""
        self._seen: set[str] = set()
        self._read, self._told, self._now_s, self._chance = read, told, now_s, chance
        self._trouble, self._until_s, self._back_s = Trouble.AWAY, 0.0, 0.0

    def trouble(self, kind: Trouble, for_s: float) -> None:
        self._trouble, self._until_s = kind, self._now_s() + for_s

    def go(self, for_s: float) -> None:
        """Away, whatever other troubles begin and end meanwhile."""
        self._back_s = self._now_s() + for_s

    def spare(self) -> None:
        self._until_s = self._back_s = 0

    def _take(self, id_: str, one: T) -> None:
        if id_ in self._seen:
            self.again += 1
        else:
            self._seen.add(id_)
            self.new += 1
        self._told(one)

    def _present(self) -> Trouble | None:
        now_s = self._now_s()
        if now_s < self._back_s:
            return Trouble.AWAY
        return self._trouble if now_s < self._until_s else None

    async def take(self, request: Outgoing) -> Answer:
        trouble = self._present()
        await asyncio.sleep(self._chance.uniform(*USUAL_S))
        if trouble in (None, Trouble.FORGETTING, Trouble.STALLED):
            for id_, one in self._read(request):
                self._take(id_, one)
            await asyncio.sleep(self._chance.uniform(*USUAL_S))
        if trouble is None:
            return Answer(status=204)
        self.failed += 1
        if trouble is Trouble.STALLED:
            await asyncio.sleep(BOUNDS.request_timeout_ms / 1_000)
        return ANSWERS.get(trouble, Answer(status=0, error="no answer"))


def notifications(request: Outgoing) -> list[tuple[str, Notification]]:
    if request.body.startswith(b"["):
        return [(one.id, one) for one in msgspec.json.decode(request.body, type=list[Notification])]
    one = msgspec.json.decode(request.body, type=Notification)
    return [(one.id, one)]


class Courier(Sender):
    """What is sent with: straight into the receiver's hands."""

    def __init__(self, receiver: Receiver[Any], clock: Clock) -> None:
        super().__init__(BOUNDS, clock, ANYWHERE)
        self._receiver = receiver

    def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def send(self, request: Outgoing) -> Answer:
        if request.written is not None:
            request.written()
        return await self._receiver.take(request)
