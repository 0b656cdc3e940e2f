"""Notifications as groups of figures. What is run is in `notifying` and `feeding`."""

import asyncio

from simulations.bench.feeding import STEP_S, STEPS, feeding
from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.bench.notifying import notifying

EVENTS_S = 1_000
SUSTAINED_S = 15.0
"""For so long at least: a queue that only grows would not be seen in less."""


def measure_webhooks(scale: Scale, say: Say) -> Figures:
    made, events_s = Rounds(), scale.of(EVENTS_S, 100)
    for _ in range(scale.rounds):
        one = asyncio.run(notifying(events_s, max(scale.seconds, SUSTAINED_S * scale.share)))
        for key, name, value in (
            ("notify_p50_ms", "commit → first POST, p50", one.p50_ms),
            ("notify_p99_ms", "commit → first POST, p99", one.p99_ms),
            ("notify_bare_p50_ms", "a bare client's, p50", one.bare_p50_ms),
            ("notify_bare_p99_ms", "a bare client's, p99", one.bare_p99_ms),
        ):
            made.add(key, name, "ms", value)
        made.add("notify_cpu_us", "CPU an event", "µs", one.cpu_s / max(1, one.events) * 1_000_000)
        say(made.last("notify_p50_ms", "notify_p99_ms", "notify_bare_p99_ms"))
    return made.figures


def measure_feed(scale: Scale, say: Say) -> Figures:
    """More clients step by step until they are served too late: the curve is the figure."""
    steps = tuple(dict.fromkeys(scale.of(one, 5) for one in STEPS))
    found = asyncio.run(feeding(steps, max(scale.seconds, STEP_S * scale.share)))
    made = Rounds()
    made.add("feed_clients", "streams served in time", "", found.clients)
    made.add("feed_bare_clients", "by a server that only writes", "", found.bare_clients)
    for one in found.curve:
        made.add(f"feed_p99_ms_by_clients_{one.clients}", f"{one.clients:,} streams, p99", "ms", one.p99_ms)
        made.add(f"feed_cpu_us_by_clients_{one.clients}", f"{one.clients:,} streams, an event to one", "µs", one.cpu_us)
        made.add("feed_bytes_per_client", "memory of a stream", "B", one.bytes_per_client)
    for one in found.bare_curve:
        made.add(f"feed_bare_p99_ms_by_clients_{one.clients}", f"{one.clients:,} bare streams, p99", "ms", one.p99_ms)
        made.add(f"feed_bare_cpu_us_by_clients_{one.clients}", f"{one.clients:,} bare streams, one", "µs", one.cpu_us)
    say(made.last("feed_clients", "feed_bare_clients"))
    return made.figures
