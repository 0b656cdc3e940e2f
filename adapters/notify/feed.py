"""Reading the feed: from memory where possible, else from the campaigns' logs through the merged order."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from adapters.notify.cursor import Superseded
from adapters.notify.entry import Entry, Recent
from adapters.notify.limits import NotifyLimits
from adapters.notify.merger import CAMPAIGN_PREFIX, Merger, campaign_of, closing, notification_id, told_of
from adapters.notify.notification import AgentName, Fact, completed, rfc3339
from adapters.notify.order import Range
from engine.core.book import Book
from engine.ports import BadCursor, FeedGap, FeedUndone, LogArchived, Logs, Notification, StoreUnavailable

log = structlog.get_logger(__name__)

BEGINNING, NOW = "", "now"
MERGED_WITHIN_MS = 60_000
"""What was written at one moment stands in the feed no farther apart than this."""


class Waiter:
    """One read that waits for what it asked for, and is woken by nothing else."""

    __slots__ = ("campaign", "news", "types")

    def __init__(self, campaign: str, types: frozenset[str]) -> None:
        self.campaign = campaign
        self.types = types
        self.news: asyncio.Future[None] = asyncio.get_running_loop().create_future()


Told = Callable[[Sequence[Notification]], None]
"""With nothing: what came can't be handed over, and nothing more will be. Whoever listened reads it, or tries."""


class FeedReader:
    def __init__(
        self,
        store: Logs,
        merger: Merger,
        book_of: Callable[[str], Book | None],
        limits: NotifyLimits,
        agent_name: AgentName,
    ) -> None:
        self.order = merger.order
        self._merger = merger
        self._store = store
        self._book_of = book_of
        self._agent_name = agent_name
        self._limits = limits
        self._recent = Recent(limits.recent_notifications)
        self._waiters: set[Waiter] = set()
        self._listening: defaultdict[str, dict[object, tuple[frozenset[str], Told]]] = defaultdict(dict)
        """By campaign ("" for all): of which types each is told, and how."""
        merger.listeners.append(self._merged)

    def begin(self) -> None:
        """The order was read back: what is merged from now on is kept in memory."""
        self._recent.begin(self.order.position)

    def render(self, entry: Entry) -> Notification:
        """The notification. Read again it is the same, but for what was erased meanwhile, and for what a desktop is to open."""
        return Notification(
            id=notification_id(entry.campaign, entry.seq, self._merger.cursors.epoch(entry.n)),
            type=entry.fact.type,
            time=rfc3339(entry.fact.at),
            cursor=self._merger.cursors.write(entry.n),
            campaign=entry.campaign,
            seq=entry.seq,
            data=completed(entry.fact, self._book_of(entry.log) if entry.campaign else None, self._agent_name),
        )

    def position_of(self, cursor: str) -> int:
        """Raises BadCursor; FeedUndone where a restore undid what the cursor stands behind."""
        if cursor == BEGINNING:
            return 0
        if cursor == NOW:
            return self.order.position
        try:
            n = self._merger.cursors.read(cursor)
        except Superseded as undone:
            what = "the service was restored from a backup: what was told behind this cursor is so no more"
            raise FeedUndone(what, self._merger.cursors.write(undone.kept)) from None
        if n > self.order.position:
            raise BadCursor(cursor)
        return n

    async def read(
        self, after: str, limit: int, campaign: str, types: Sequence[str], wait_ms: int
    ) -> tuple[list[Notification], str]:
        n, wanted = self.position_of(after), frozenset(types)
        limit = max(1, min(limit, self._limits.page_notifications))
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_ms / 1_000
        while True:
            found, n = await self._scan(n, limit, campaign, wanted)
            if found or (n == self.order.position and not await self._news(campaign, wanted, until - loop.time())):
                return [self.render(one) for one in found], self._merger.cursors.write(n)
            if n < self.order.position and loop.time() >= until:
                return [], self._merger.cursors.write(n)

    def listen(self, campaign: str, types: Sequence[str], told: Told) -> Callable[[], None]:
        """Hand over what is merged from now on; returns how to end that."""
        listening, key = self._listening[campaign], object()
        listening[key] = frozenset(types), told

        def end() -> None:
            listening.pop(key, None)
            if not listening and self._listening.get(campaign) is listening:
                del self._listening[campaign]

        return end

    async def entries(
        self, name: str, after_pos: int, after_seq: int | None, limit: int
    ) -> tuple[list[Entry], int, int]:
        """A campaign's notifications behind a log position, and (position, seq) that were reached by reading them.

        `after_seq` counts the notifications up to `after_pos`, None if that isn't known: then it is found out.
        """
        known = self.order.log(name)
        seen, merged, last_seq = known.seen, known.merged_pos, known.seq
        within = known.after_pos(after_pos)
        if within is None:
            return [], seen, last_seq
        if after_seq is not None and known.n_of(after_seq + 1) >= self._recent.first:
            found = self._recent.of_log(name, known.n_of(after_seq + 1), limit)
            return (found, found[-1].pos, found[-1].seq) if len(found) == limit else (found, seen, last_seq)
        if after_seq is None:
            start, seq = within.first_pos - 1, within.first_seq - 1
        else:
            start, seq = after_pos, after_seq
        found = []
        async with closing(self._store.read(name, start)) as batches:
            async for batch in batches:
                for one in batch:
                    if one.pos > merged:
                        return found, seen, last_seq
                    fact = told_of(name, one.event)
                    if fact is None:
                        continue
                    seq += 1
                    if one.pos > after_pos:
                        found.append(self._entry(name, known.n_of(seq), seq, one.pos, fact))
                    if len(found) == limit:
                        return found, one.pos, seq
        return found, seen, last_seq

    async def pos_before(self, name: str, n: int) -> int:
        """The position in a campaign's log behind which exactly the notifications after feed position `n` lie."""
        known = self.order.log(name)
        within = known.after_n(n)
        if within is None:
            return known.seen
        if within.first_n > n:
            return within.first_pos - 1
        try:
            entries = await self._range(within, within.first_n - 1, n)
        except LogArchived:  # some of it is told again, should it ever come back
            return within.first_pos - 1
        return entries[-1].pos

    async def cursor_at(self, at: int) -> str:
        """The cursor behind which everything lies that happened at a time (epoch ms) or later, and perhaps a little more.

        Campaigns' clocks are one, but what they wrote is merged a moment later: hence the margin.
        """
        low, high = 0, self.order.position
        while low < high:
            middle = (low + high) // 2
            if await self._happened(middle + 1) < at - MERGED_WITHIN_MS:
                low = middle + 1
            else:
                high = middle
        return self._merger.cursors.write(low)

    async def _happened(self, n: int) -> int:
        """When the notification at a feed position happened; long ago where it left the store."""
        try:
            page = (
                self._recent.page(n - 1, n)
                if n >= self._recent.first
                else await self._range(self.order.at_n(n), n - 1, n)
            )
        except LogArchived:
            return 0
        return page[0].fact.at

    async def _scan(self, n: int, limit: int, campaign: str, types: frozenset[str]) -> tuple[list[Entry], int]:
        """Entries behind `n` that fit, and the feed position up to which was looked."""
        found: list[Entry] = []
        head, looked = self.order.position, 0
        while n < head and looked < self._limits.scan_notifications:
            try:
                page = await self._page(n, head, campaign)
            except LogArchived as error:
                if found:  # what lies before the gap first
                    return found, n
                raise self._gap(n, campaign) from error
            if not page:
                return found, head  # nothing more of this campaign
            for entry in page:
                n, looked = entry.n, looked + 1
                if entry.fits(campaign, types):
                    found.append(entry)
                    if len(found) == limit:
                        return found, n
        return found, n

    def _gap(self, n: int, campaign: str) -> FeedGap:
        known = self.order.logs.get(CAMPAIGN_PREFIX + campaign) if campaign else None
        within = known.after_n(n) if known is not None else self.order.at_n(n + 1)
        assert within is not None
        missing = within.last_n - max(n, within.first_n - 1)
        what = f"{missing} notifications of {campaign_of(within.log)!r} left the store with its archived log"
        return FeedGap(what, self._merger.cursors.write(within.last_n))

    async def _page(self, n: int, head: int, campaign: str) -> list[Entry]:
        """Some entries behind `n` up to `head`, without gaps as far as `campaign` ("" for all) is concerned."""
        if n + 1 >= self._recent.first:
            return self._recent.page(n, min(head, n + self._limits.page_notifications))
        if not campaign:
            return await self._range(self.order.at_n(n + 1), n, head)
        known = self.order.logs.get(CAMPAIGN_PREFIX + campaign)
        within = known.after_n(n) if known is not None else None
        return await self._range(within, n, head) if within is not None else []

    async def _range(self, within: Range, n: int, head: int) -> list[Entry]:
        found, _, _ = await self.entries(within.log, within.first_pos - 1, within.first_seq - 1, within.count)
        if len(found) < within.count:  # the log is shorter than its order says: to go on would be to skip
            raise StoreUnavailable(f"{within.log!r} doesn't hold what the feed refers to")
        return [one for one in found if n < one.n <= head]

    async def _news(self, campaign: str, types: frozenset[str], patience_s: float) -> bool:
        """Wait for a notification that fits. False when time runs out, or too many wait already."""
        if patience_s <= 0 or len(self._waiters) >= self._limits.max_waiters:
            return False
        waiter = Waiter(campaign, types)
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(patience_s):
                await waiter.news
            return True
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)

    def _merged(self, _name: str, _first: int, _last: int, entries: Sequence[Entry]) -> None:
        if entries and self._listening:
            self._hand_over(entries)
        for entry in entries:
            self._recent.put(entry)
            for waiter in list(self._waiters):
                if entry.fits(waiter.campaign, waiter.types):
                    self._waiters.discard(waiter)
                    if not waiter.news.done():
                        waiter.news.set_result(None)

    def _hand_over(self, entries: Sequence[Entry]) -> None:
        """To whoever listens, each notification rendered once. What fails here is a stream's trouble, and not the feed's."""
        rendered: dict[int, Notification] = {}
        for campaign in {"", entries[0].campaign}:
            listening = self._listening.get(campaign, {})
            for key, (types, told) in list(listening.items()):
                try:
                    fitting = [one for one in entries if one.fits(campaign, types)]
                    rendered |= {one.n: self.render(one) for one in fitting if one.n not in rendered}
                    if fitting:
                        told([rendered[one.n] for one in fitting])
                except Exception:
                    log.exception("feed: news could not be handed over", campaign=campaign, n=entries[0].n)
                    listening.pop(key, None)
                    told(())

    def _entry(self, name: str, n: int, seq: int, pos: int, fact: Fact) -> Entry:
        return Entry(n=n, log=name, campaign=campaign_of(name), seq=seq, pos=pos, fact=fact)
