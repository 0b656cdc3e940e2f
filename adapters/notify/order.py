"""The order of all notifications, as the feed's log tells it: which range of which campaign's log came when.

Kept as columns of integers (48 bytes a range), for the ranges of years stay in memory. `n` counts notifications over
all campaigns from 1, `seq` per campaign from 1; a range covers a campaign log's positions without a gap to the one before.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from adapters.notify.event import FeedMerged

MAX_JOINED_NOTIFICATIONS = 256
"""Neighbours of one campaign are kept as one range up to here: what a reader in the middle has to skip."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    log: str
    first_pos: int
    last_pos: int
    first_n: int
    first_seq: int
    count: int

    @property
    def last_n(self) -> int:
        return self.first_n + self.count - 1


class LogOrder:
    """One campaign's ranges. `seen` is the log position up to which it is known what is a notification."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen = 0
        self.seq = 0
        self.first_n, self.first_pos, self.last_pos, self.first_seq = array("q"), array("q"), array("q"), array("q")

    @property
    def last_n(self) -> int:
        return self.first_n[-1] + self.seq - self.first_seq[-1] if self.first_n else 0

    @property
    def merged_pos(self) -> int:
        return self.last_pos[-1] if self.last_pos else 0

    def at(self, index: int) -> Range:
        behind = self.first_seq[index + 1] if index + 1 < len(self.first_seq) else self.seq + 1
        return Range(
            log=self.name,
            first_pos=self.first_pos[index],
            last_pos=self.last_pos[index],
            first_n=self.first_n[index],
            first_seq=self.first_seq[index],
            count=behind - self.first_seq[index],
        )

    def after_n(self, n: int) -> Range | None:
        """The first range that has a notification behind feed position `n`."""
        if self.last_n <= n:
            return None
        index = max(bisect_right(self.first_n, n) - 1, 0)
        found = self.at(index)
        return found if found.last_n > n else self.at(index + 1)

    def after_pos(self, pos: int) -> Range | None:
        """The range that holds the first merged position behind `pos`."""
        index = bisect_right(self.last_pos, pos)
        return self.at(index) if index < len(self.last_pos) else None

    def n_of(self, seq: int) -> int:
        index = bisect_right(self.first_seq, seq) - 1
        return self.first_n[index] + seq - self.first_seq[index]

    def seq_before(self, pos: int) -> int:
        """How many notifications surely lie at or before a log position: exact at the end of a range."""
        index = bisect_right(self.last_pos, pos)
        return self.first_seq[index] - 1 if index < len(self.first_seq) else self.seq


class Order:
    def __init__(self) -> None:
        self.position = 0
        self.logs: dict[str, LogOrder] = {}
        self._names: list[LogOrder] = []
        self._index_of: dict[str, int] = {}
        self._first_n, self._log, self._place = array("q"), array("l"), array("l")

    def log(self, name: str) -> LogOrder:
        known = self.logs.get(name)
        if known is None:
            known = self.logs[name] = LogOrder(name)
            self._index_of[name] = len(self._names)
            self._names.append(known)
        return known

    def extend(self, event: FeedMerged) -> None:
        log = self.log(event.log)
        if event.first_pos != log.merged_pos + 1 or event.first_seq != log.seq + 1:
            raise ValueError(f"the feed's log doesn't continue {event.log!r}: {event}")
        newest = len(self._log) - 1
        joins = newest >= 0 and self._names[self._log[newest]] is log
        if joins and log.seq - log.first_seq[-1] + 1 + event.count <= MAX_JOINED_NOTIFICATIONS:
            log.last_pos[-1] = event.last_pos
        else:
            self._first_n.append(self.position + 1)
            self._log.append(self._index_of[event.log])
            self._place.append(len(log.first_n))
            log.first_n.append(self.position + 1)
            log.first_pos.append(event.first_pos)
            log.last_pos.append(event.last_pos)
            log.first_seq.append(event.first_seq)
        log.seq += event.count
        log.seen = max(log.seen, event.last_pos)
        self.position += event.count

    def at_n(self, n: int) -> Range:
        """The range that holds feed position `n`, 1 to `position`."""
        index = bisect_right(self._first_n, n) - 1
        return self._names[self._log[index]].at(self._place[index])

    def logs_after(self, n: int) -> Iterator[LogOrder]:
        """Campaigns that have a notification behind a feed position."""
        return (one for one in self.logs.values() if one.last_n > n)
