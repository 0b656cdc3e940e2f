"""What one request carries: a notification, or several of one campaign where the receiver asks for that."""

from collections.abc import Sequence

import msgspec

from adapters.notify.entry import Entry
from engine.ports import Notification


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """At most so many at once (0: each alone, and not in a list); the first waits for the others up to `wait_ms`."""

    items: int = 0
    wait_ms: int = 0


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the same whenever the same are sent again."""

    id: str
    body: bytes
    entries: Sequence[Entry]


def encoded(notification: Notification) -> bytes:
    """The one form of the envelope, the same in the feed and in a webhook's body."""
    return msgspec.json.encode(notification)


def packed(entries: Sequence[Entry], notifications: Sequence[Notification], max_bytes: int) -> Parcel:
    """A list of as many of them as fit, at least one, under an id made of the first's and the last's."""
    bodies: list[bytes] = []
    size = 0
    for one in notifications:
        body = encoded(one)
        size += len(body) + 1
        if bodies and size > max_bytes:
            break
        bodies.append(body)
    first, last = notifications[0], notifications[len(bodies) - 1]
    return Parcel(id=f"{first.id}-{last.seq}", body=b"[" + b",".join(bodies) + b"]", entries=entries[: len(bodies)])


def single(entry: Entry, notification: Notification) -> Parcel:
    return Parcel(id=notification.id, body=encoded(notification), entries=[entry])
