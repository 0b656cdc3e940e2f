"""A contact file of many rows, two numbers each, through a running service: checked in its process, stored in its log.

The service runs here, with a SQLite log that is durable, and calls go on in it on a PBX in another process; beside the import
a task looks how late the service's loop is, which is how late a call's next step would be.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from adapters.importer.job import Media
from config.settings import Imports
from engine.core.campaign import Create, Mode, Settings
from engine.service import Service
from simulations.bench.dialer import Crowd, Dialer, settings_for, simulated_pbx
from simulations.bench.pace import Pace

REF = "people"
CALLS_S = 50
CROWD = Crowd(agents=120)
TIME_SCALE = 1.0
"""Against life: far ends ring 200 ms and talk a second."""
LOOK_EVERY_S = 0.005
BLOCK_BYTES = 256 * 1024


class Imported(NamedTuple):
    """Rows a second of each step; the loop's lag while they ran, p99 in ms; peak memory, in MiB."""

    rows: int
    checked_s: float
    stored_s: float
    check_lag_p99_ms: float
    store_lag_p99_ms: float
    check_peak_mib: float
    service_peak_mib: float
    calls_s: float
    """Attempts that came to their end meanwhile, a second."""

    @property
    def seconds(self) -> float:
        return self.checked_s + self.stored_s


async def importing(rows: int) -> Imported:
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as name:
        folder = Path(name)
        file = folder / "people.csv"
        await asyncio.to_thread(_write, file, rows)
        async with simulated_pbx(TIME_SCALE) as pbx:
            imports = Imports(folder=str(folder / "imports"), max_rows=max(rows, 1))
            service = Service(msgspec.structs.replace(settings_for(folder, pbx, CROWD), imports=imports))
            await service.start()
            try:
                dialer = Dialer(service, CROWD)
                await dialer.begin(pbx)
                async with Pace(dialer, CALLS_S) as pace:
                    done = await _run(service, file, rows, pace)
                await dialer.stop()
                return done
            finally:
                await service.stop()


async def _run(service: Service, file: Path, rows: int, pace: Pace) -> Imported:
    now = service.engine.clock.now_ms()
    await service.engine.create(Create(at=now, by=REF, ref=REF, name=REF, mode=Mode.PREVIEW, settings=Settings()))
    importer = service.importer
    request = importer.request(
        campaign=REF,
        by=REF,
        name=file.name,
        mode="add",
        media=Media.CSV,
        encoding="utf-8",
        mapping="",
        required=(),
        region="CO",
        prefix=False,
        tags="replace",
    )
    async with _Lag() as checking:
        peak = _Peak()
        started = time.perf_counter()
        id_ = await importer.receive(request, _blocks(file))
        await _until(service, id_, ("valid", "invalid"), peak)
        checked_s = time.perf_counter() - started
    async with _Lag() as storing:
        started = time.perf_counter()
        await importer.confirm(id_, REF, accept_errors=False, confirm_removal=False)
        await _until(service, id_, ("done",), None)
        stored_s = time.perf_counter() - started
    held = len(service.engine.campaigns[REF].book.contacts.by_ref)
    assert held == rows, f"{held} contacts of {rows} rows"
    return Imported(
        rows=rows,
        checked_s=checked_s,
        stored_s=stored_s,
        check_lag_p99_ms=checking.p99,
        store_lag_p99_ms=storing.p99,
        check_peak_mib=peak.mib,
        service_peak_mib=_peak_mib("self"),
        calls_s=pace.attempts_s,
    )


async def _until(service: Service, id_: str, states: tuple[str, ...], peak: "_Peak | None") -> None:
    while (shown := await service.importer.show(id_))["state"] not in states:
        if shown["state"] in ("failed", "cancelled", "invalid"):
            raise RuntimeError(f"the import is {shown['state']}: {shown['reason'] or shown['errors'][:3]}")
        if peak is not None:
            peak.look()
        await asyncio.sleep(0.2)


class _Lag:
    """How late this loop is: a sleep's own length is taken off."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look(), name="lag")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LOOK_EVERY_S)
            self.late_ms.append(max(0.0, time.perf_counter() - before - LOOK_EVERY_S) * 1_000)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.late_ms, n=100)[98]


class _Peak:
    """The most memory that a check's process had. The kernel keeps it; it is asked until the process is gone."""

    def __init__(self) -> None:
        self.mib = 0.0

    def look(self) -> None:
        for child in Path("/proc/self/task").glob("*/children"):
            for pid in child.read_text().split():
                try:
                    if b"adapters.importer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        self.mib = max(self.mib, _peak_mib(pid))
                except OSError:
                    continue  # it ended just now


def _peak_mib(process: str) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1_024
    return 0.0


def _write(file: Path, rows: int) -> None:
    chance = random.Random(3)
    with file.open("w", encoding="utf-8") as out:
        out.write("ref,number1,number2,name,priority,zone,plan,city\n")
        for n in range(rows):
            first, second = (chance.randrange(10_0000000, 20_0000000) for _ in range(2))
            out.write(f"{REF}:{n},+573{first},573{second},Person {n},normal,America/Bogota,family,Bogota\n")


async def _blocks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as content:
        while block := await asyncio.to_thread(content.read, BLOCK_BYTES):
            yield block
