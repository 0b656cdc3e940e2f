"""Who watches a world: samples for the report, and a picture in the terminal while it runs. Watching changes nothing."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from engine.core.agent import AgentStatus
from engine.core.contact import ContactStatus
from simulations.world.shift import DAY_BEGINS_S

if TYPE_CHECKING:
    from simulations.world.world import World

SAMPLES = 480
"""How many are taken of a scenario's hours."""
SHOWN_PER_S = 4


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand at a moment. `final` contacts need no further call; `faults` and `calls` count from the beginning."""

    at_s: float
    agents: dict[AgentStatus, int]
    live_legs: int
    calls: int
    final: int
    faults: int
    is_away: bool
    """The engine is dead, or doesn't own its campaign yet."""


class Watcher:
    """Takes a sample now and then, and goes on until the world ends."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def attend(self, world: "World") -> None:
        every_s = max(1.0, world.scenario.hours * 3_600 / SAMPLES)

        def look() -> None:
            self.see(sample(world), world)
            world.loop.call_later(every_s, look)

        world.loop.call_later(every_s, look)

    def see(self, now: Sample, _world: "World") -> None:
        self.samples.append(now)


class LiveWatcher(Watcher):
    """Shows the last sample in the terminal: `with LiveWatcher() as watcher: run(scenario, seed, watcher)`."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._live = Live(console=console, refresh_per_second=SHOWN_PER_S, transient=True, auto_refresh=False)
        self._began_s, self._shown_s = time.monotonic(), 0.0

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *how: object) -> None:
        self._live.__exit__(*how)  # type: ignore[arg-type]  # as it was given

    def see(self, now: Sample, world: "World") -> None:
        self.samples.append(now)
        passed_s = time.monotonic() - self._began_s
        if passed_s - self._shown_s >= 1 / SHOWN_PER_S:
            self._shown_s = passed_s
            self._live.update(_picture(now, world, passed_s), refresh=True)


def sample(world: "World") -> Sample:
    books = [one.book for one in world.engine.campaigns.values()]
    return Sample(
        at_s=world.loop.time(),
        agents=dict(Counter(one.status for book in books for one in book.agents.values())),
        live_legs=len(world.pbx.live),
        calls=sum(bool(one.number) for one in world.pbx.originates),
        final=sum(book.contacts.counts[ContactStatus.FINAL] for book in books),
        faults=world.storm.counts.total(),
        is_away=not books,
    )


def clock(at_s: float) -> str:
    minutes = int((at_s + DAY_BEGINS_S) // 60)
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def _picture(now: Sample, world: "World", passed_s: float) -> Table:
    whole_s = world.scenario.hours * 3_600
    share = min(1.0, now.at_s / whole_s)
    table = Table.grid(padding=(0, 2))
    bar = "█" * round(30 * share) + "░" * (30 - round(30 * share))
    table.add_row("clock", f"{clock(now.at_s)}  {bar} {share:4.0%}   {now.at_s / passed_s:,.0f} × real time")
    table.add_row("engine", "away" if now.is_away else f"life {world.lives}")
    table.add_row("agents", "  ".join(f"{state} {count}" for state, count in sorted(now.agents.items())))
    table.add_row("calls", f"{now.calls:,} dialled, {now.live_legs} legs live")
    table.add_row("contacts", f"{now.final:,} of {world.scenario.contacts:,} final")
    table.add_row("faults", "  ".join(f"{what} {count}" for what, count in sorted(world.storm.counts.items())))
    return table
