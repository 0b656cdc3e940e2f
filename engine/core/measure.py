"""What the parts count and time of themselves, for whoever operates them. Numbers only: nothing here decides anything."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EVENTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0)


class Spread:
    """How measured values are spread: a count for each bound, of values up to it, and one for those beyond all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Measures:
    """One for a process. Times in seconds."""

    def __init__(self) -> None:
        self.decided = Spread()
        """From a command's arrival to its answer, durable."""
        self.commands: Counter[tuple[str, str]] = Counter()
        """By kind, and `taken` or the refusal's code."""
        self.loop_lag = Spread()
        self.flushes = Spread()
        self.group_events = Spread(EVENTS)
        self.written_bytes = 0
        self.actions = Spread()
        """From an AMI action sent to its answer."""
        self.unanswered = 0
        self.pbx_events: Counter[str] = Counter()
        self.pbx_connections = 0
        self.requests: defaultdict[tuple[str, str], Spread] = defaultdict(Spread)
        """By method and route."""
        self.answers: Counter[tuple[str, str, int]] = Counter()
        """By method, route and status."""
        self.refused_tokens: Counter[str] = Counter()
        """By reason."""
        self.refusals: Counter[tuple[str, str, str]] = Counter()
        """What the audit tells of, by role ("" for a stranger), route and problem's code."""
        self.events: Counter[str] = Counter()
        """Committed, by type."""
        self.calls_ended: Counter[str] = Counter()
        """By outcome."""
