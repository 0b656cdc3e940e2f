"""`python -m simulations sequences`: many random orders of commands, each a world of its own in virtual time."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulations.sequence.click import Click, drawn
from simulations.sequence.order import Verdict, judged

USUAL_LENGTH = 35
SEEDS_AT_A_TIME = 20
MOST_SHOWN = 3
SHRINK_WITHIN_S = 60


class Tally(msgspec.Struct):
    """What all of them together have seen."""

    sequences: int = 0
    clicks: int = 0
    refused: int = 0
    notifications: int = 0
    calls: int = 0
    virtual_s: float = 0
    cpu_s: float = 0
    states: dict[str, int] = {}
    """How often each state of a campaign was told."""
    met: dict[str, int] = {}
    """How often each click was answered so."""
    faults: int = 0

    def add(self, verdict: Verdict) -> None:
        self.sequences += 1
        self.clicks += verdict.clicks
        self.refused += sum(count for name, count in verdict.met.items() if not name.endswith(": taken"))
        self.notifications += verdict.notifications
        self.calls += verdict.calls
        self.virtual_s += verdict.virtual_s
        self.cpu_s += verdict.cpu_s
        self.faults += len(verdict.faults)
        self.states = dict(Counter(self.states) + Counter(verdict.states))
        self.met = dict(sorted((Counter(self.met) + Counter(verdict.met)).items()))

    def closing_line(self) -> str:
        states = sum(self.states.values())
        return (
            f"sequences: {self.sequences:,} orders of commands, {self.clicks:,} clicks, {self.refused:,} of them refused, "
            f"{self.calls:,} calls, {self.notifications:,} notifications judged, {states:,} states told, {self.faults:,} faults"
        )


def main(*, count: int = 1_000, first: int = 1, length: int = USUAL_LENGTH, workers: int = os.cpu_count() or 1) -> None:
    """Click in random orders, and judge answers and notifications. Exits 1 where something that must hold didn't.

    Parameters
    ----------
    count
        How many sequences.
    first
        The first one's seed.
    length
        How many clicks each has, beside those that found its two campaigns.
    workers
        How many processes share them.
    """
    console, tally, began_s = Console(stderr=True), Tally(), time.monotonic()
    failed: list[Verdict] = []
    columns = (TextColumn("sequences"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=count)
        for verdict in _verdicts(range(first, first + count), length, workers):
            tally.add(verdict)
            shown.advance(task)
            if verdict.faults:
                failed.append(verdict)
                shown.print(f"seed {verdict.seed}: {verdict.faults[0]}")
    for verdict in failed[:MOST_SHOWN]:
        print(_told(verdict, length))
    print(msgspec.json.format(msgspec.json.encode(tally), indent=2).decode())
    print(
        f"{tally.cpu_s:,.0f} s of CPU, {time.monotonic() - began_s:,.0f} s, {tally.virtual_s / 3_600:,.0f} virtual hours"
    )
    print(tally.closing_line())
    sys.exit(1 if failed else 0)


def judged_all(seeds: Iterable[int], length: int) -> list[Verdict]:
    return [judged(drawn(seed, length), seed) for seed in seeds]


def _verdicts(seeds: Sequence[int], length: int, workers: int) -> Iterator[Verdict]:
    some = [seeds[begin : begin + SEEDS_AT_A_TIME] for begin in range(0, len(seeds), SEEDS_AT_A_TIME)]
    if workers == 1:
        for few in some:
            yield from judged_all(few, length)
        return
    with ProcessPoolExecutor(workers) as pool:
        for verdicts in pool.map(judged_all, some, [length] * len(some)):
            yield from verdicts


def _told(verdict: Verdict, length: int) -> str:
    """The fewest clicks found that still break the same line."""
    clicks, faults = fewer(drawn(verdict.seed, length), verdict)
    lines = [
        f"seed {verdict.seed} fails, and so do these {len(clicks)} clicks of it:",
        *(f"  +{one.pause_ms} ms  {one.ref}: {one.kind} ({one.agent}, {one.roll:.3f})" for one in clicks),
        *(f"  {one}" for one in faults[:5]),
        f"again: python -m simulations sequences --first {verdict.seed} --count 1 --length {length}",
    ]
    return "\n".join(lines)


def fewer(clicks: Sequence[Click], verdict: Verdict) -> tuple[Sequence[Click], list[str]]:
    """Leave out whatever isn't needed to break the same line: halves first, single clicks at last."""
    wanted, faults = {_line(one) for one in verdict.faults}, verdict.faults
    until_s, size = time.monotonic() + SHRINK_WITHIN_S, len(clicks) // 2
    while size and time.monotonic() < until_s:
        begin = 0
        while begin < len(clicks):
            tried = [*clicks[:begin], *clicks[begin + size :]]
            found = judged(tried, verdict.seed).faults
            if wanted & {_line(one) for one in found}:
                clicks, faults = tried, found
            else:
                begin += size
        size //= 2
    return clicks, faults


def _line(fault: str) -> str:
    return fault.partition(":")[0]
