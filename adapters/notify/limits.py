"""Every bound of notifications, in one place."""

import msgspec

S = 1_000
MIN = 60 * S
HOUR = 60 * MIN


class NotifyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the feed and of webhook delivery."""

    recent_notifications: int = 8_192
    """Kept in memory for readers that are close behind; older ones are read from the logs."""
    pending_events: int = 20_000
    """Handed over by the engine and not yet merged; beyond it they are read back from the store."""
    group_ranges: int = 512
    """Ranges of campaign logs that one append to the feed's log may hold."""
    page_notifications: int = 1_000
    """The most that one read gives."""
    scan_notifications: int = 20_000
    """Looked at by one read with filters before it answers with what it has."""
    max_waiters: int = 10_000
    """Reads waiting for news at once; the next one is answered without waiting."""
    sweep_ms: int = 5 * S
    """How often the logs of open campaigns are looked at without having been told of news."""

    request_timeout_ms: int = 15 * S
    max_requests: int = 256
    """Requests under way at once, all webhooks together."""
    max_requests_per_webhook: int = 16
    failures_to_doubt: int = 3
    """After so many in a row a webhook has one request under way at a time, until one is taken."""
    response_bytes: int = 4_096
    """Read of an answer's body; the connection of a longer one is closed."""
    batch_bytes: int = 1024 * 1024
    """Of one request with several notifications."""
    lane_queue: int = 256
    """Notifications held in memory for one lane; what is behind them is read when its turn comes."""
    retry_delays_ms: tuple[int, ...] = (0, S, 2 * S, 5 * S, 15 * S, MIN, 5 * MIN, 15 * MIN, HOUR)
    """Pause after the first, second, … failure in a row; the last one repeats. An agent may be waiting: a fast head."""
    retry_jitter: float = 0.2
    max_retry_after_ms: int = 24 * HOUR
    """The longest pause that a receiver may ask for."""
    throttled_pause_ms: int = 1 * S
    """The shortest one after a 429."""
    give_up_after_ms: int = 72 * HOUR
    """A lane that has failed for so long is parked; nothing is skipped."""
    save_every_deliveries: int = 200
    save_every_ms: int = 1 * S
    remembered_attempts: int = 200
    """Per webhook, for `deliveries`."""
    stop_grace_ms: int = 1 * S
    """How long a stop lets lanes that are well finish."""
