"""A day beside its reruns: as it was, run again as it was, and run again with other settings."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import mean
from typing import Any, NamedTuple

from rich.table import Table

from engine.limits import Limits
from simulations.whatif.day import Day
from simulations.whatif.fate import learn as learn_fates
from simulations.whatif.figure import FIGURES, Figure, Figures, figures_of
from simulations.whatif.habit import learn as learn_habits
from simulations.whatif.rerun import Changes, Ran, rerun

DIGITS = {"": 0, "%": 1, "h": 2, "s": 0}
"""How exactly figures are shown, by their unit."""


class Several(NamedTuple):
    """Reruns with the same settings, one for each seed."""

    figures: list[Figures]
    refusals: Counter[str]
    drawn: Counter[str]

    def values(self, figure: Figure) -> list[float]:
        return [one.values[figure] for one in self.figures]


class Comparison(NamedTuple):
    """`real` is the day as the log has it. `control` says how faithful a rerun is, `changed` less it what settings do."""

    day: Day
    changes: Changes
    seeds: Sequence[int]
    real: Figures
    control: Several
    changed: Several

    def difference(self, figure: Figure) -> list[float]:
        """Seed by seed: chance plays the same part in both, as far as they have anything in common."""
        both = zip(self.changed.values(figure), self.control.values(figure), strict=True)
        return [changed - control for changed, control in both]


def compare(
    day: Day, changes: Changes, limits: Limits, seeds: Sequence[int], progress: Callable[[], None]
) -> Comparison:
    """`progress` is called after each of two reruns a seed."""
    habits, fates = learn_habits(day), learn_fates(day)

    def several(settings: Changes) -> Several:
        found = Several([], Counter(), Counter())
        for seed in seeds:
            _add(found, day, rerun(day, habits, fates, settings, limits, seed))
            progress()
        return found

    real = figures_of(day, day.events)
    return Comparison(day, changes, seeds, real, several(Changes({})), several(changes))


def _add(to: Several, day: Day, ran: Ran) -> None:
    to.figures.append(figures_of(day, ran.events))
    to.refusals.update(ran.refusals)
    to.drawn.update(ran.drawn)


# -- how it is told -------------------------------------------------------------------------------------------------


def as_json(made: Comparison) -> dict[str, Any]:
    """Figures in their units: for each the day's, and of the reruns the mean, the least and the most."""
    return {
        "campaign": made.day.campaign,
        "day": date_of(made.day),
        "begins": made.day.begins,
        "ends": made.day.ends,
        "settings": made.changes.settings,
        "seeds": list(made.seeds),
        "calls_up_at_first": made.day.live_at_first,
        "figures": [
            {
                "name": one.name,
                "unit": one.unit,
                "day": round(made.real.values[one], 3),
                "control": _spread(made.control.values(one)),
                "changed": _spread(made.changed.values(one)),
                "difference": _spread(made.difference(one)),
            }
            for one in FIGURES
        ],
        "hours": {
            "day": made.real.hours._asdict(),
            "control": mean_hours(made.control),
            "changed": mean_hours(made.changed),
        },
        "drawn": {"control": made.control.drawn, "changed": made.changed.drawn},
        "refused": {"control": made.control.refusals, "changed": made.changed.refusals},
    }


def mean_hours(several: Several) -> dict[str, list[float]]:
    by_name = {
        name: [getattr(one.hours, name) for one in several.figures] for name in ("calls", "connected", "waiting")
    }
    return {name: [round(mean(hour), 3) for hour in zip(*runs, strict=True)] for name, runs in by_name.items()}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {name: round(of(values), 3) for name, of in (("mean", mean), ("least", min), ("most", max))}


def as_table(made: Comparison) -> Table:
    runs = "1 seed" if len(made.seeds) == 1 else f"{len(made.seeds)} seeds"
    table = Table(title=f"{made.day.campaign}, {date_of(made.day)}, {runs}", title_justify="left")
    table.add_column("", no_wrap=True)
    for column in ("that day", "run again", "changed", "difference"):
        table.add_column(column, justify="right")
    for one in FIGURES:
        reruns = (made.control.values(one), made.changed.values(one))
        cells = (shown(made.real.values[one], one), *(_between(values, one) for values in reruns))
        table.add_row(f"{one.name} {one.unit}".strip(), *cells, _between(made.difference(one), one, "+"))
    return table


def date_of(day: Day) -> str:
    return datetime.fromtimestamp(day.begins / 1_000, day.zone).date().isoformat()


def shown(value: float, figure: Figure, sign: str = "") -> str:
    digits = DIGITS[figure.unit]
    return f"{value + 0.0:{sign},.{digits}f}" if round(value, digits) else "0"


def _between(values: Sequence[float], figure: Figure, sign: str = "") -> str:
    """The mean, and where the seeds differ how far."""
    told = shown(mean(values), figure, sign)
    least, most = shown(min(values), figure, sign), shown(max(values), figure, sign)
    return told if least == most else f"{told} ({least} to {most})"
