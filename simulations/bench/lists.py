"""Long lists as groups of figures: agents at one, a file of one imported. What is run is in `preview` and `importing`."""

import asyncio

from simulations.bench.figure import Figures, Rounds, Say, Scale
from simulations.bench.importing import importing
from simulations.bench.preview import preview
from simulations.bench.restart import restart

AGENTS, LEASES = 1_000, 1_000
LISTS = {"1m": 1_000_000, "5m": 5_000_000}
ROWS = 1_000_000
EVENTS = 5_000_000


def measure_preview(scale: Scale, say: Say) -> Figures:
    """Once for each list: to make one takes longer than anything that is measured on it. All is measured on the shorter."""
    made = Rounds()
    for size, contacts in LISTS.items():
        count = scale.of(contacts, 1_000)
        say(f"{count:,} contacts")
        found = preview(count, scale.of(AGENTS, 20), scale.of(LEASES, 20), whole=size == "1m")
        made.add(f"next_p99_ms_{size}", f"next contact, {count:,}", "ms", found["preview_next_p99_ms"])
        if size == "1m":
            bytes_each = found["preview_memory_whole_process_B/contact"]
            made.add("bytes_per_contact", "memory of the whole process", "B", bytes_each)
        for name, value in found.items():
            key = name.replace("/contact", "_per_contact").replace("/s", "_s")
            made.add(f"{key}_{size}", f"{count:,} contacts", name.rpartition("_")[2], value)
        say(made.last(f"next_p99_ms_{size}"))
    return made.figures


def measure_import(scale: Scale, say: Say) -> Figures:
    """Once: a million rows take most of a minute, while calls go on. A shorter file is told as a million rows would be."""
    made, rows = Rounds(), scale.of(ROWS, 2_000)
    done = asyncio.run(importing(rows))
    made.add("import_1m_s", "a million rows, checked and stored", "s", done.seconds * ROWS / rows)
    lag_ms = max(done.check_lag_p99_ms, done.store_lag_p99_ms)
    made.add("import_loop_lag_p99_ms", "how late the loop is meanwhile, p99", "ms", lag_ms)
    made.add("import_calls_s", "calls that go on meanwhile", "/s", done.calls_s)
    made.add("import_checked_rows_s", "checked", "rows/s", rows / done.checked_s)
    made.add("import_stored_rows_s", "stored", "rows/s", rows / done.stored_s)
    made.add("import_check_peak_mib", "most memory of the check", "MiB", done.check_peak_mib)
    made.add("import_service_peak_mib", "most memory of the service", "MiB", done.service_peak_mib)
    say(made.last("import_1m_s", "import_loop_lag_p99_ms"))
    return made.figures


def measure_restart(scale: Scale, say: Say) -> Figures:
    """The store is built once, and started on as often as there are rounds."""
    made, contacts = Rounds(), scale.of(LISTS["1m"], 2_000)
    say(f"{contacts:,} contacts, {scale.of(EVENTS, 10_000):,} events")
    for one in restart(contacts, scale.of(EVENTS, 10_000), rounds=scale.rounds):
        made.add("restart_1m_s", "start of the engine → first dial", "s", one.seconds)
        made.add("restart_process_s", "start of the process → first dial", "s", one.dialled_s)
        made.add("restart_cpu_s", "CPU of the process", "s", one.cpu_s)
        made.add("restart_resident_mib", "memory then", "MiB", one.resident_mib)
        say(made.last("restart_1m_s", "restart_process_s", "restart_cpu_s", "restart_resident_mib"))
    return made.figures
