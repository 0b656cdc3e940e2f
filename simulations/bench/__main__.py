"""`make bench`: the first figures, side by side."""

import asyncio
import tempfile
from pathlib import Path

from rich.console import Console

from simulations.bench.appends import rounds
from simulations.bench.attempts import attempts
from simulations.bench.figure import Series, ratio, save, show
from simulations.bench.importing import importing
from simulations.bench.notifying import notifying
from simulations.bench.preview import preview, show_figures
from simulations.postgres import Postgres

RESULT = Path("build/bench.json")
SUSTAINED_S = 20.0
"""Notifications are measured for so long at least: a queue that only grows would not be seen in less."""


def main(
    *,
    count: int = 3,
    seconds: float = 3.0,
    contacts: int = 50_000,
    agents: int = 1_000,
    leases: int = 1_000,
    rows: int = 100_000,
    events: int = 1_000,
    only_preview: bool = False,
    only_notify: bool = False,
) -> int:
    """Measure appends and attempts, `count` rounds of `seconds` each; notifications of `events` a second; preview dialing
    on a list of `contacts`; and one import of `rows` (0: none)."""
    console = Console()
    if only_notify:
        save(RESULT, _notify(count, seconds, events, console))
        return 0
    figures = {} if only_preview else _rounds(count, seconds, console) | _notify(count, seconds, events, console)
    previewed = preview(contacts, agents, leases)
    show_figures(f"preview: {contacts:,} contacts, {agents:,} agents, {leases:,} live leases", previewed, console)
    imported = _import(rows, console) if rows and not only_preview else {}
    save(RESULT, figures | previewed | imported)
    console.print(f"written to {RESULT}")
    return 0


def _rounds(count: int, seconds: float, console: Console) -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder, Postgres.running() as postgres:
        series: dict[str, Series] = {}
        for number, series in enumerate(
            rounds(postgres.url, postgres.binary("pgbench"), Path(folder), count, seconds), 1
        ):
            console.print(f"appends, round {number} of {count}: " + _line(series))
        show(
            "512 appenders, one durable event each",
            list(series.values()),
            [series["library"], series["pgbench"]],
            console,
        )
        figures |= {
            "log_vs_library": ratio(series["postgres"], series["library"]),
            "log_vs_pgbench": ratio(series["postgres"], series["pgbench"]),
            "log_sqlite_vs_library": ratio(series["sqlite"], series["library"]),
            "log_sqlite_vs_pgbench": ratio(series["sqlite"], series["pgbench"]),
        }
    rate, per_cpu = Series("attempts", "/s", []), Series("attempts per CPU-second of the engine", "/s", [])
    for number in range(1, count + 1):
        each, cpu = asyncio.run(attempts(seconds))
        rate.rounds.append(each)
        per_cpu.rounds.append(cpu)
        console.print(f"attempts, round {number} of {count}: {each:,.0f}/s, {cpu:,.0f} per CPU-second")
    show("complete call attempts against the simulated PBX", [rate, per_cpu], [], console)
    return figures | {"attempts_s": rate.median, "attempts_per_core_s": per_cpu.median}


def _notify(count: int, seconds: float, events_s: int, console: Console) -> dict[str, float]:
    rounds = [asyncio.run(notifying(events_s, max(seconds, SUSTAINED_S))) for _ in range(count)]
    for number, one in enumerate(rounds, 1):
        console.print(
            f"notifications, round {number} of {count}: {one.events:,} events, commit to receiver p50 {one.p50_ms:.1f} ms, "
            f"p99 {one.p99_ms:.1f} ms; a bare client's p50 {one.bare_p50_ms:.1f} ms, p99 {one.bare_p99_ms:.1f} ms; "
            f"CPU {one.cpu_s:.1f} s"
        )
    middle = {
        name: sorted(getattr(one, f"{name}_ms") for one in rounds)[count // 2]
        for name in ("p50", "p99", "bare_p50", "bare_p99")
    }
    return {f"notify_{name}_ms": value for name, value in middle.items()}


def _import(rows: int, console: Console) -> dict[str, float]:
    done = asyncio.run(importing(rows))
    figures = {
        "import_rows": rows,
        "import_checked_rows_s": rows / done.checked_s,
        "import_stored_rows_s": rows / done.stored_s,
        "import_seconds": done.seconds,
        "import_check_lag_p99_ms": done.check_lag_p99_ms,
        "import_store_lag_p99_ms": done.store_lag_p99_ms,
        "import_check_peak_mib": done.check_peak_mib,
        "import_service_peak_mib": done.service_peak_mib,
    }
    for name, value in figures.items():
        console.print(f"{name}: {value:,.1f}")
    return figures


def _line(series: dict[str, Series]) -> str:
    return ", ".join(f"{one.name} {one.rounds[-1]:,.0f} {one.unit}" for one in series.values())


if __name__ == "__main__":
    raise SystemExit(main())
