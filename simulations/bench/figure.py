"""Figures: a value a round, their medians and spread, ratios of what ran side by side, and the file that they are kept in."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec


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
        return f"{number(min(self.rounds))} – {number(max(self.rounds))}"


Figures = dict[str, Series]
"""By key, as in bench.json."""
Say = Callable[[str], None]
"""Live progress, a line at a time."""


class Scale(msgspec.Struct, frozen=True):
    """How much is measured: rounds, for how long each at least, and the share of the sizes that each group has."""

    rounds: int = 3
    seconds: float = 3.0
    share: float = 1.0

    def of(self, size: int, least: int = 1) -> int:
        return max(least, round(size * self.share))


FULL = Scale()
QUICK = Scale(rounds=1, seconds=0.3, share=0.005)


class Rounds:
    """Collects figures round by round."""

    def __init__(self) -> None:
        self.figures: Figures = {}

    def add(self, key: str, name: str, unit: str, value: float) -> None:
        self.figures.setdefault(key, Series(name, unit, [])).rounds.append(value)

    def ratio(self, key: str, name: str, ours: str, peer: str) -> None:
        """Of the newest values of two figures: a slow minute of the machine slows both."""
        self.add(key, name, "×", self.figures[ours].rounds[-1] / self.figures[peer].rounds[-1])

    def last(self, *keys: str) -> str:
        """The newest values as a line."""
        shown = ((self.figures[key], self.figures[key].rounds[-1]) for key in keys)
        return ", ".join(f"{one.name} {number(value)} {one.unit}".rstrip() for one, value in shown)


def number(value: float) -> str:
    """With as many digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def quantile(values: Sequence[float], share: float) -> float:
    """0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def flat(figures: Figures) -> dict[str, float]:
    """Medians by key; beside those of several rounds the least and the most."""
    found: dict[str, float] = {}
    for key, one in figures.items():
        found[key] = one.median
        if len(one.rounds) > 1:
            found |= {f"{key}_low": min(one.rounds), f"{key}_high": max(one.rounds)}
    return found


def read(path: Path) -> dict[str, float]:
    """What was measured so far; nothing where there is no such file."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    return known


def save(path: Path, figures: Mapping[str, float]) -> None:
    """One flat object of figures, merged over what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**read(path), **figures}, indent=2, sort_keys=True) + "\n")
