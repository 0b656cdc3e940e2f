"""Cursors of lists: where a page begins, opaque to clients, and refused where it is none of that list's.

A cursor names a place and no more: what may be seen from there is judged anew with each request. So it is sealed against
mistakes, with a checksum over the list's address and the place, and needs no secret.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from hashlib import blake2b
from heapq import nlargest, nsmallest
from hmac import compare_digest
from typing import TypeVar

from api.problem import Problem

T = TypeVar("T")

VERSION = b"\x01"
CHECK_BYTES = 8
FORM = re.compile(r"[A-Za-z0-9_-]+")


def written(address: str, place: str) -> str:
    """The cursor of a place in the list of this address."""
    value = VERSION + place.encode()
    return _encoded(_check(address, value) + value)


def read(address: str, cursor: str) -> str:
    """The place; "" stays "", the beginning. Raises Problem: 400."""
    if not cursor:
        return ""
    raw = _decoded(cursor)
    check, value = raw[:CHECK_BYTES], raw[CHECK_BYTES:]
    if value[:1] != VERSION or not compare_digest(check, _check(address, value)) or _encoded(raw) != cursor:
        raise bad_cursor()
    return value[1:].decode()


def bad_cursor() -> Problem:
    return Problem(400, "bad-cursor", "this is no cursor that this list gave out", "after")


def page(
    rows: Iterable[T], key: Callable[[T], str], after: str, limit: int, *, newest_first: bool = False
) -> tuple[list[T], str | None]:
    """The next rows by their keys, and the key behind which the page after them begins; None where there is none.

    Rows may come and go between two pages: none is shown twice, and none that was there all the time is left out.
    `newest_first`: the highest keys, which begin with a time, come first; what is new meanwhile is before the first page.
    """
    if newest_first:
        found = nlargest(limit + 1, (one for one in rows if not after or key(one) < after), key=key)
    else:
        found = nsmallest(limit + 1, (one for one in rows if key(one) > after), key=key)
    return found[:limit], key(found[limit - 1]) if len(found) > limit else None


def moment(at: int, name: str) -> str:
    """A key by time (epoch ms), and by name within it."""
    return f"{at:016}/{name}"


def _check(address: str, value: bytes) -> bytes:
    return blake2b(address.encode("utf-8", "surrogateescape") + b"\0" + value, digest_size=CHECK_BYTES).digest()


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(cursor: str) -> bytes:
    if FORM.fullmatch(cursor) is None or len(cursor) % 4 == 1:
        raise bad_cursor()
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
