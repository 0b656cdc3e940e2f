"""Cursors: a feed position as clients carry it, opaque, and refused when it isn't one that this feed gave out.

A restore of an older backup begins an era: positions behind it are given out a second time, for other notifications. Each
era signs its cursors with a name of its own, so that nobody goes on at a place that means something else by now.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from itertools import pairwise
from typing import NamedTuple

from engine.ports import BadCursor

VERSION = b"\x01"
POSITION_BYTES = 6
CHECK_BYTES = 5
FORM = re.compile(r"[A-Za-z0-9_-]{16}")  # 12 bytes: no padding, and no two spellings of one cursor
EPOCH_CHARS = 8


class Superseded(Exception):
    """A cursor of what a restore undid. `kept` is the last position that is still what it was."""

    def __init__(self, kept: int) -> None:
        super().__init__(kept)
        self.kept = kept


class Era(NamedTuple):
    """Of positions behind `after`, up to where the next one begins."""

    feed: str
    after: int


class Cursors:
    def __init__(self, feed: str) -> None:
        self._eras = [Era(feed, 0)]

    def renew(self, feed: str, after: int) -> None:
        """A restore: what was told behind a position is told no more."""
        self._eras.append(Era(feed, after))

    def epoch(self, n: int) -> str:
        """What tells a position from those of the same number before a restore; "" where there was none before it."""
        era = self._era(n)
        return era.feed[:EPOCH_CHARS] if era is not self._eras[0] else ""

    def write(self, n: int) -> str:
        value = VERSION + n.to_bytes(POSITION_BYTES, "big")
        return urlsafe_b64encode(value + _check(self._era(n).feed, value)).decode()

    def read(self, cursor: str) -> int:
        """The position. Raises BadCursor, Superseded."""
        if FORM.fullmatch(cursor) is None:
            raise BadCursor(cursor)
        raw = urlsafe_b64decode(cursor)
        value, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
        if value[:1] != VERSION:
            raise BadCursor(cursor)
        n = int.from_bytes(value[1:], "big")
        if compare_digest(check, _check(self._eras[-1].feed, value)):
            return n
        for era, following in pairwise(self._eras):
            if compare_digest(check, _check(era.feed, value)):
                if n > following.after:
                    raise Superseded(following.after)
                return n
        raise BadCursor(cursor)

    def _era(self, n: int) -> Era:
        """The newest that begins before it; the first one has the beginning too."""
        newest = self._eras[-1]
        if newest.after < n:  # nearly always
            return newest
        return next((one for one in reversed(self._eras) if one.after < n), self._eras[0])


def _check(feed: str, value: bytes) -> bytes:
    return blake2b(value, key=feed.encode(), digest_size=CHECK_BYTES).digest()
