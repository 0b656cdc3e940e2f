"""The feed's own log: in which order the events of all campaigns became notifications. References only, no content."""

import msgspec

FEED_LOG = "feed"
FEED_STREAM = "feed"


class FeedOpened(msgspec.Struct, frozen=True, kw_only=True, tag="feed.opened.v1"):
    """The first event. `feed` tells this installation's cursors from any other's."""

    feed: str


class FeedRestored(msgspec.Struct, frozen=True, kw_only=True, tag="feed.restored.v1"):
    """What stands before this comes from a backup; what was told behind it once is told no more.

    `feed` tells ids and cursors from those that were given out meanwhile.
    """

    feed: str


class FeedMerged(msgspec.Struct, frozen=True, kw_only=True, tag="feed.merged.v1"):
    """What came next: positions `first_pos` to `last_pos` of a campaign's log, `count` notifications from `first_seq` on.

    A feed position is the sum of all counts so far, so it needs no writing down.
    """

    log: str
    first_pos: int
    last_pos: int
    first_seq: int
    count: int


FeedEvent = FeedOpened | FeedRestored | FeedMerged
"""All events of the log `feed`. Their tags are storage: never reuse or rename one."""
