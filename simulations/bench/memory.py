"""Memory over an hour of a thousand agents, compressed: 36,000 attempts as fast as they go, with what they notify.

After a warm-up of a third nothing should grow: the list is worked off again and again, calls end, notifications are delivered.
What grows all the same is shown by attempt and by such an hour, for the process as the kernel sees it and for Python's own
blocks.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from simulations.bench.attempts import BATCH_ITEMS, TIME_SCALE, listening, put_webhook
from simulations.bench.dialer import Crowd, Dialer, simulated_pbx
from simulations.bench.figure import Figures, Rounds, Say, Scale

HOUR_ATTEMPTS = 36_000
AGENTS, CONTACTS = 100, 10_000
AGAIN_S = 10
"""Some thousand others are called before a contact is called again, as in life: what was packed is unpacked."""
LONGEST_S = 150
STRETCHES = 10
WARM_UP = 1 / 3


class Sample(NamedTuple):
    attempts: int
    mib: float
    blocks: int


async def _hour(scale: Scale, say: Say) -> tuple[list[Sample], float]:
    """A sample at the beginning and after each stretch; attempts a second."""
    goal, samples = scale.of(HOUR_ATTEMPTS, 200), list[Sample]()
    crowd = Crowd(agents=scale.of(AGENTS, 10), contacts=scale.of(CONTACTS, 100), again_s=round(AGAIN_S * scale.share))
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        async with (
            simulated_pbx(TIME_SCALE) as pbx,
            listening() as url,
            Dialer.running(Path(folder), pbx, crowd) as dialer,
        ):
            await put_webhook(dialer, url, BATCH_ITEMS)
            began, attempts = time.monotonic(), 0
            samples.append(_sample(0))

            async def agent(name: str) -> None:
                nonlocal attempts
                while attempts < goal and time.monotonic() - began < LONGEST_S:
                    await dialer.attempt(name)
                    attempts += 1
                    if attempts % (goal // STRETCHES) == 0:
                        samples.append(_sample(attempts))
                        say(f"{attempts:,} of {goal:,} attempts, {samples[-1].mib:,.0f} MiB")

            await asyncio.gather(*(agent(name) for name in dialer.names))
            return samples, attempts / (time.monotonic() - began)


def _sample(attempts: int) -> Sample:
    gc.collect()
    return Sample(attempts, resident_mib(), sys.getallocatedblocks())


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1_024


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    samples, rate_s = asyncio.run(_hour(scale, say))
    warm = samples[int(len(samples) * WARM_UP) :]
    counts = [one.attempts for one in warm]
    growth_mib = statistics.linear_regression(counts, [one.mib for one in warm]).slope
    growth_blocks = statistics.linear_regression(counts, [one.blocks for one in warm]).slope
    made.add("memory_attempts_s", "attempts meanwhile", "/s", rate_s)
    made.add("memory_start_mib", "before the first attempt", "MiB", samples[0].mib)
    made.add("memory_end_mib", "at the end", "MiB", samples[-1].mib)
    made.add("memory_growth_bytes_per_attempt", "after the warm-up", "B", growth_mib * 1_024 * 1_024)
    made.add("memory_growth_mib_an_hour", "after the warm-up, 36,000 attempts", "MiB", growth_mib * HOUR_ATTEMPTS)
    made.add("memory_growth_blocks_per_attempt", "Python's own blocks", "", growth_blocks)
    for one in samples[1:]:
        percent = round(100 * one.attempts / scale.of(HOUR_ATTEMPTS, 200))
        made.add(f"memory_mib_at_{percent}", f"at {percent} % of the hour", "MiB", one.mib)
    return made.figures
