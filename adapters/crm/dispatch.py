"""Interactions that are due, made: some at a time, each until it is taken or too old, every attempt written down.

No order is promised between them. Each attempt uses the campaign's settings as they are then: mending a wrong address
heals what waits for it, and choosing another trigger drops it.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

import structlog

from adapters.crm.due import Due, due_of, wanted_by
from adapters.crm.event import CRM_STREAM, CrmEvent, InteractionTried, Result
from adapters.crm.ledger import Ledger
from adapters.crm.limits import CrmLimits
from adapters.crm.permit import Permit
from adapters.notify.crew import Crew
from adapters.notify.pace import elapsed_ms
from adapters.notify.pulse import Pulse
from adapters.outward.sender import Answer, Outgoing, Sender
from engine.core.book import Book
from engine.core.campaign import CampaignDeleted, SettingsChanged
from engine.core.interaction import ExternalUrl, request_of
from engine.core.screen import values_of
from engine.core.template import check_url
from engine.ports import ANY, Append, Clock, EventLog, Recorded, StoreUnavailable
from engine.trace import ALONE, SpanKind, Tag, spanned

STORE_RETRY_MIN_MS, STORE_RETRY_MAX_MS = 20, 1_000

log = structlog.get_logger(__name__)


class Waiting:
    """One campaign's unsettled interactions: all by position, those not under way by when they are due, by `elapsed_ms`."""

    def __init__(self) -> None:
        self.by_pos: dict[int, Due] = {}
        self.queue: list[tuple[int, int]] = []
        self.under_way = 0

    def put(self, due: Due, at: int) -> None:
        self.by_pos[due.pos] = due
        heappush(self.queue, (at, due.pos))

    def hasten(self, at: int) -> None:
        self.queue = [(min(due_at, at), pos) for due_at, pos in self.queue]
        heapify(self.queue)


class Dispatch:
    def __init__(
        self,
        crm_log: EventLog,
        ledger: Ledger,
        sender: Sender,
        permit: Permit,
        book_of: Callable[[str], Book | None],
        agent_name: Callable[[str], str],
        limits: CrmLimits,
        clock: Clock,
        rng: random.Random,
        crew: Crew,
    ) -> None:
        self.waiting: dict[str, Waiting] = {}
        self._log, self._ledger, self._sender, self._permit = crm_log, ledger, sender, permit
        self._book_of, self._agent_name = book_of, agent_name
        self._limits, self._clock, self._rng, self._crew = limits, clock, rng, crew
        self._changed = asyncio.Event()
        self._room = Pulse()
        self._count = self._under_way = 0

    @property
    def under_way(self) -> int:
        return self._under_way

    def done_pos(self, campaign: str, seen: int) -> int:
        """The position up to which nothing of a campaign is unsettled, given how far its log was seen."""
        waiting = self.waiting.get(campaign)
        return min(waiting.by_pos) - 1 if waiting is not None else seen

    # -- what the log tells -------------------------------------------------------------------------------------------

    async def take(self, campaign: str, events: Sequence[Recorded]) -> None:
        for one in events:
            match one.event:
                case CampaignDeleted():
                    self._forget(campaign)
                case SettingsChanged() if campaign in self.waiting:
                    self.waiting[campaign].hasten(elapsed_ms())
                    self._changed.set()
                case _:
                    due = due_of(campaign, one)
                    if due is not None:
                        await self._take(due)

    async def _take(self, due: Due) -> None:
        newest = self._ledger.newest(due.campaign, due.pos)
        if newest is not None and newest.is_settled:
            return
        if newest is None:
            book = self._book_of(due.campaign)
            if book is None or wanted_by(book.campaign.settings, due.trigger) is None:
                return
        while self._count >= self._limits.max_waiting:
            log.warning("crm: too many interactions wait, the logs are read no further", waiting=self._count)
            await self._room.wait()
        self._count += 1
        self.waiting.setdefault(due.campaign, Waiting()).put(due, self._due(newest.retry_at) if newest else 0)
        self._changed.set()

    def _forget(self, campaign: str) -> None:
        self._ledger.forget(campaign)
        gone = self.waiting.pop(campaign, None)
        if gone is not None:
            self._count -= len(gone.by_pos)
            self._room.beat()

    # -- what is due --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            self._changed.clear()
            next_at = self._begin()
            patience_s = None if next_at is None else max(0, next_at - elapsed_ms()) / 1_000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._changed.wait()

    def _begin(self) -> int | None:
        """Begin what is due and has room, the campaigns by turns; returns when the next one is due."""
        now = elapsed_ms()
        while self._under_way < self._limits.max_requests:
            campaign = next((ref for ref, one in self.waiting.items() if self._has_turn(one, now)), None)
            if campaign is None:
                break
            waiting = self.waiting[campaign] = self.waiting.pop(campaign)  # to the end: the others come before it
            _, pos = heappop(waiting.queue)
            waiting.under_way += 1
            self._under_way += 1
            self._crew.spawn(self._make(waiting, waiting.by_pos[pos]), f"crm {campaign}:{pos}")
        later = (one.queue[0][0] for one in self.waiting.values() if one.queue and one.queue[0][0] > now)
        return min(later, default=None)

    def _due(self, retry_at: int) -> int:
        """The clock on the wall may have been put back since, or may be while it waits: no wait gets longer by that."""
        longest_ms = max(self._limits.retry_max_ms, self._limits.max_retry_after_ms)
        return elapsed_ms() + min(max(0, retry_at - self._clock.now_ms()), longest_ms)

    def _has_turn(self, waiting: Waiting, now: int) -> bool:
        has_room = waiting.under_way < self._limits.max_requests_per_campaign
        return has_room and bool(waiting.queue) and waiting.queue[0][0] <= now

    async def _make(self, waiting: Waiting, due: Due) -> None:
        try:
            tried = await self._attempt(due)
            await self._write(tried)
            if self.waiting.get(due.campaign) is waiting:
                self._ledger.apply(tried)
        finally:
            waiting.under_way -= 1
            self._under_way -= 1
            self._changed.set()
        if self.waiting.get(due.campaign) is not waiting:
            return  # the campaign was deleted meanwhile
        if tried.is_settled:
            del waiting.by_pos[due.pos]
            self._count -= 1
            self._room.beat()
            if not waiting.by_pos:
                del self.waiting[due.campaign]
        else:
            waiting.put(due, self._due(tried.retry_at))

    # -- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self, due: Due) -> InteractionTried:
        newest = self._ledger.newest(due.campaign, due.pos)
        attempts = newest.attempts if newest is not None else 0
        book = self._book_of(due.campaign)
        external = wanted_by(book.campaign.settings, due.trigger) if book is not None else None
        if book is None or external is None:
            why = "the campaign's settings have no use for it any more"
            return self._tried(due, attempts, Result.DROPPED, Answer(status=0, error=why), self._clock.now_ms())
        deadline = due.at + self._limits.give_up_after_ms
        now = self._clock.now_ms()
        if now >= deadline:
            last = Answer(status=newest.status, error=newest.error) if newest else Answer(status=0, error="too old")
            return self._tried(due, attempts, Result.PARKED, last, now)
        attempts += 1
        tags: dict[str, Tag] = {
            "ringfold.campaign": due.campaign,
            "ringfold.call": due.call,
            "ringfold.attempt": attempts,
        }
        with spanned("interaction", tags, SpanKind.CLIENT, ALONE) as span:
            answer = await self._call(external, due, book)
            span.set_attribute("http.response.status_code", answer.status)
        now = self._clock.now_ms()
        if answer.taken:
            return self._tried(due, attempts, Result.DELIVERED, answer, now)
        retry_at = min(now + self._pause_ms(attempts, answer), deadline)
        log.warning("crm: not taken", campaign=due.campaign, call=due.call, attempts=attempts, error=answer.error)
        return self._tried(due, attempts, Result.FAILED, answer, now, retry_at)

    async def _call(self, external: ExternalUrl, due: Due, book: Book) -> Answer:
        origin = check_url(external.url, "url")
        refused = self._permit.refusal(origin)
        if refused:
            return Answer(status=0, error=refused)
        headers = {**external.headers, "Idempotency-Key": f'"{due.campaign}:{due.pos}"'}
        if external.credential:
            credential = self._permit.credential(external.credential, origin)
            if credential is None:
                return Answer(status=0, error=f"there is no credential {external.credential!r} for this host")
            same = credential.header.lower()
            headers = {name: value for name, value in headers.items() if name.lower() != same}
            headers[credential.header] = credential.value
        values = values_of(book, due.contact, due.agent, self._agent_name(due.agent), due.call, due.disposition)
        request = request_of(external, values)
        typed = {"Content-Type": request.content_type} if request.content_type else {}
        return await self._sender.send(
            Outgoing(
                method=request.method,
                url=request.url,
                headers={**headers, **typed},
                body=request.body,
                origin=origin,
            )
        )

    def _pause_ms(self, attempts: int, answer: Answer) -> int:
        limits = self._limits
        planned = min(limits.retry_first_ms << min(attempts - 1, 32), limits.retry_max_ms)
        spread = self._rng.uniform(1 - limits.retry_jitter, 1 + limits.retry_jitter)
        return max(round(planned * spread), min(answer.retry_after_ms, limits.max_retry_after_ms))

    def _tried(
        self, due: Due, attempts: int, result: Result, answer: Answer, at: int, retry_at: int = 0
    ) -> InteractionTried:
        if result is Result.PARKED:
            log.error("crm: given up", campaign=due.campaign, call=due.call, attempts=attempts, error=answer.error)
        return InteractionTried(
            at=at,
            campaign=due.campaign,
            pos=due.pos,
            call=due.call,
            trigger=due.trigger,
            attempts=attempts,
            result=result,
            status=answer.status,
            error=answer.error,
            retry_at=retry_at,
        )

    async def _write(self, tried: CrmEvent) -> None:
        """Raises Fenced when another process has become the log's owner."""
        delay_ms = STORE_RETRY_MIN_MS
        while True:
            try:
                await self._log.append([Append(CRM_STREAM, ANY, [tried])])
                return
            except StoreUnavailable as error:
                log.warning("crm: the store is unavailable", error=str(error), retry_in_ms=delay_ms)
                await asyncio.sleep(delay_ms / 1_000)
                delay_ms = min(2 * delay_ms, STORE_RETRY_MAX_MS)
