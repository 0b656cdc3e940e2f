"""A contact file of many rows, two numbers each, through a running service: checked in its process, stored in its log.

The service runs here, with a SQLite log that is durable; beside the import a task looks how late its own loop is, which is
how late a call's next step would be.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Self

from adapters.importer.job import Media
from config.settings import Ami, Http, Imports, Settings, Store, Tokens
from engine.core.campaign import Create, Mode
from engine.core.campaign import Settings as CampaignSettings
from engine.service import Service
from simulations.engine_process import free_port

REF = "bench"
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

    @property
    def seconds(self) -> float:
        return self.checked_s + self.stored_s


async def importing(rows: int) -> Imported:
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        return await _run(Path(folder), rows)


async def _run(folder: Path, rows: int) -> Imported:
    file = folder / "people.csv"
    await asyncio.to_thread(_write, file, rows)
    service = Service(
        Settings(
            http=Http(port=free_port()),
            store=Store(url=f"sqlite:///{folder / 'bench.db'}"),
            ami=Ami(port=free_port()),  # nobody is there: nothing is dialled
            tokens=Tokens(key_file=str(folder / "tokens.key")),
            imports=Imports(folder=str(folder / "imports"), max_rows=max(rows, 1)),
        )
    )
    await service.start()
    try:
        now = service.engine.clock.now_ms()
        create = Create(at=now, by="bench", ref=REF, name=REF, mode=Mode.PREVIEW, settings=CampaignSettings())
        await service.engine.create(create)
        importer = service.importer
        request = importer.request(
            campaign=REF,
            by="bench",
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
            await importer.confirm(id_, "bench", accept_errors=False, confirm_removal=False)
            await _until(service, id_, ("done",), None)
            stored_s = time.perf_counter() - started
        held = len(service.engine.campaigns[REF].book.contacts.by_ref)
        assert held == rows, f"{held} contacts of {rows} rows"
        return Imported(rows, checked_s, stored_s, checking.p99, storing.p99, peak.mib, _peak_mib("self"))
    finally:
        await service.stop()


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
