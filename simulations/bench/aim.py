"""What is measured: every figure with its aim and what it stands beside; the groups that measure them; the curves."""

from collections.abc import Mapping
from typing import NamedTuple

from simulations.bench.figure import number

LEAST, MOST = "≥", "≤"


class Aim(NamedTuple):
    """A figure of the table. `peers` are figures of the same run that it stands beside."""

    key: str
    group: str
    what: str
    unit: str
    sense: str
    aim: float
    then: float | None = None
    peers: tuple[str, ...] = ()

    def is_met(self, value: float) -> bool:
        return value >= self.aim if self.sense == LEAST else value <= self.aim


class Group(NamedTuple):
    """Figures that are measured together, in a process of their own. `place` is module:function."""

    name: str
    what: str
    place: str
    within_s: int = 240
    """Longer it may not take: then it counts as failed."""


class Curve(NamedTuple):
    """Figures whose keys are `prefix` and a number: how `y` grows with `x`."""

    prefix: str
    title: str
    x: str
    y: str


GROUPS = (
    Group("machine", "what all other figures hang on", "machine:measure"),
    Group("log", "512 appenders, one durable event each, PostgreSQL", "appends:measure"),
    Group("ticks", "ticks of 1,000 events, PostgreSQL", "ticks:measure"),
    Group("replay", "a log read back into state, PostgreSQL", "replaying:measure"),
    Group("size", "bytes on disk, PostgreSQL", "size:measure"),
    Group("attempts", "whole attempts against the simulated PBX", "attempts:measure"),
    Group("latency", "at 200 attempts/s against the simulated PBX", "latency:measure"),
    Group("asterisk", "whole calls on a real Asterisk", "asterisk:measure", 360),
    Group("preview", "a thousand agents at a long list", "lists:measure_preview", 1_800),
    Group("restart", "from boot to the first dial", "lists:measure_restart", 1_200),
    Group("expiry", "reservations that lapse", "expiry:measure"),
    Group("import", "a file of contacts while calls go on", "lists:measure_import", 900),
    Group("notify", "webhooks", "notices:measure_webhooks", 360),
    Group("feed", "event streams", "notices:measure_feed", 360),
    Group("world", "the simulator's own speed", "world:measure", 360),
    Group("memory", "an hour of a thousand agents, compressed", "memory:measure", 360),
    Group("pressure", "twice the sustainable load over HTTP", "pressure:measure"),
    Group("curves", "cost by contacts, agents and calls", "curves:measure", 360),
)

AIMS = (
    Aim("log_vs_library", "log", "log ÷ eventsourcing's recorder", "×", LEAST, 185, 300, ("log_library_events_s",)),
    Aim("log_vs_pgbench", "log", "log ÷ pgbench's 64 × 1 row", "×", LEAST, 7, 15, ("log_pgbench_rows_s",)),
    Aim("tick_vs_library", "ticks", "ticks ÷ eventsourcing's batches", "×", LEAST, 20, 60, ("tick_library_events_s",)),
    Aim("tick_vs_pgbench", "ticks", "ticks ÷ pgbench's 1,000-row INSERT", "×", LEAST, 2, 4, ("tick_pgbench_rows_s",)),
    Aim("replay_vs_library", "replay", "replay ÷ eventsourcing's", "×", LEAST, 12, 30, ("replay_library_events_s",)),
    Aim("restart_1m_s", "restart", "boot to first dial, 1M contacts, 5M events", "s", MOST, 1, 0.1),
    Aim(
        "asterisk_ratio",
        "asterisk",
        "calls on Asterisk ÷ a bare loop's",
        "×",
        LEAST,
        0.95,
        None,
        ("asterisk_bare_calls_s",),
    ),
    Aim(
        "attempts_per_core_s",
        "attempts",
        "attempts per CPU-second, told",
        "/s",
        LEAST,
        1_000,
        None,
        ("attempts_per_core_s_untold",),
    ),
    Aim(
        "due_to_originate_p99_ms",
        "latency",
        "dial due → Originate out",
        "ms",
        MOST,
        50,
        None,
        ("due_to_originate_bare_p99_ms",),
    ),
    Aim(
        "answer_to_bridge_p99_ms",
        "latency",
        "answer in → bridge out",
        "ms",
        MOST,
        10,
        None,
        ("answer_to_bridge_bare_p99_ms",),
    ),
    Aim("next_p99_ms_1m", "preview", "next contact, 1M contacts", "ms", MOST, 5),
    Aim("next_p99_ms_5m", "preview", "next contact, 5M contacts", "ms", MOST, 5),
    Aim("bytes_per_contact", "preview", "memory", "B", MOST, 200),
    Aim("expiry_p99_ms", "expiry", "error of expiry, 10,000 live", "ms", MOST, 100, None, ("expiry_bare_p99_ms",)),
    Aim("import_1m_s", "import", "import of 1M rows", "s", MOST, 60),
    Aim("import_loop_lag_p99_ms", "import", "loop lag meanwhile", "ms", MOST, 20),
    Aim("notify_p99_ms", "notify", "commit → first POST", "ms", MOST, 200, None, ("notify_bare_p99_ms",)),
    Aim("feed_clients", "feed", "streams at 10 events/s each", "", LEAST, 1_000, None, ("feed_bare_clients",)),
    Aim("bytes_per_event", "size", "on disk, groups of 100", "B", MOST, 37, 30, ("bytes_per_event_library",)),
    Aim("sim_speedup", "world", "virtual ÷ real time", "×", LEAST, 3_000),
)

CURVES = (
    Curve("attempt_us_by_contacts_", "An attempt by the length of the list", "contacts", "µs of CPU an attempt"),
    Curve("attempt_us_by_agents_", "An attempt by agents", "agents", "µs of CPU an attempt"),
    Curve(
        "attempt_us_by_calls_", "An attempt by calls that go on beside it", "calls in progress", "µs of CPU an attempt"
    ),
    Curve("feed_p99_ms_by_clients_", "A stream's lateness by how many there are", "streams", "p99, ms"),
    Curve("feed_cpu_us_by_clients_", "An event to one stream", "streams", "µs of CPU"),
    Curve("memory_mib_at_", "Memory over a compressed hour", "% of the hour", "MiB"),
)


def group(name: str) -> Group:
    """Raises KeyError."""
    return {one.name: one for one in GROUPS}[name]


def wanted(aim: Aim) -> str:
    return f"{aim.sense} {number(aim.aim)}" + (f", then {number(aim.then)}" if aim.then is not None else "")


def beside(aim: Aim, figures: Mapping[str, float]) -> str:
    """The figures that it stands beside, as many as were measured."""
    return ", ".join(number(figures[one]) for one in aim.peers if one in figures)
