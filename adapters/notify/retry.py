"""When a failed delivery is tried again."""

import random

from adapters.notify.limits import NotifyLimits


def delay_ms(failures: int, retry_after_ms: int, limits: NotifyLimits, rng: random.Random) -> int:
    """The pause after so many failures in a row, not less than the receiver asked for."""
    planned = limits.retry_delays_ms[min(failures, len(limits.retry_delays_ms)) - 1]
    spread = rng.uniform(1 - limits.retry_jitter, 1 + limits.retry_jitter)
    return max(round(planned * spread), min(retry_after_ms, limits.max_retry_after_ms))
