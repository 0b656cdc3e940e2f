"""Cursors: a feed position as clients carry it, opaque, and refused when it isn't one that this feed gave out."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest

from engine.ports import BadCursor

VERSION = b"\x01"
POSITION_BYTES = 6
CHECK_BYTES = 5
FORM = re.compile(r"[A-Za-z0-9_-]{16}")  # 12 bytes: no padding, and no two spellings of one cursor


class Cursors:
    def __init__(self, feed: str) -> None:
        self._key = feed.encode()

    def write(self, n: int) -> str:
        value = VERSION + n.to_bytes(POSITION_BYTES, "big")
        return urlsafe_b64encode(value + self._check(value)).decode()

    def read(self, cursor: str) -> int:
        """The position. Raises BadCursor."""
        if FORM.fullmatch(cursor) is None:
            raise BadCursor(cursor)
        raw = urlsafe_b64decode(cursor)
        value, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
        if value[:1] != VERSION or not compare_digest(check, self._check(value)):
            raise BadCursor(cursor)
        return int.from_bytes(value[1:], "big")

    def _check(self, value: bytes) -> bytes:
        return blake2b(value, key=self._key, digest_size=CHECK_BYTES).digest()
