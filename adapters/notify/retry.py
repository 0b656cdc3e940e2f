"""When a failed delivery is tried again."""

import random
from email.utils import parsedate_to_datetime

from adapters.notify.limits import NotifyLimits


def delay_ms(failures: int, retry_after_ms: int, limits: NotifyLimits, rng: random.Random) -> int:
    """The pause after so many failures in a row, not less than the receiver asked for."""
    planned = limits.retry_delays_ms[min(failures, len(limits.retry_delays_ms)) - 1]
    spread = rng.uniform(1 - limits.retry_jitter, 1 + limits.retry_jitter)
    return max(round(planned * spread), min(retry_after_ms, limits.max_retry_after_ms))


def retry_after_ms(header: str, now_ms: int) -> int:
    """A Retry-After header, seconds or a date, as a pause; 0 where it says nothing that can be understood."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1_000
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() * 1_000) - now_ms)
    except (TypeError, ValueError, OverflowError):
        return 0
