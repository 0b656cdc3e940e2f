"""Figures and how they are shown: medians over rounds, their spread, and ratios of what ran side by side."""

import json
import statistics
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table


class Series(msgspec.Struct):
    """One thing measured: a value a round, in `unit`."""

    name: str
    unit: str
    rounds: list[float] = []

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> str:
        return f"{min(self.rounds):,.0f} – {max(self.rounds):,.0f}"


def ratio(ours: Series, peer: Series) -> float:
    """Median of the rounds' own ratios: a slow minute of the machine slows both."""
    return statistics.median(mine / theirs for mine, theirs in zip(ours.rounds, peer.rounds, strict=True))


def show(title: str, series: list[Series], against: list[Series], console: Console) -> None:
    """A table of medians, spreads and ratios to each peer."""
    table = Table("", "median", "spread", *(f"÷ {one.name}" for one in against), title=title)
    for one in series:
        ratios = [f"×{ratio(one, peer):,.2f}" for peer in against]
        table.add_row(one.name, f"{one.median:,.0f} {one.unit}", one.spread, *ratios)
    console.print(table)


def save(path: Path, figures: dict[str, float]) -> None:
    """One flat object of figures, merged over what is there."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**known, **figures}, indent=2, sort_keys=True) + "\n")
