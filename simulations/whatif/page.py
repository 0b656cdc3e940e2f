"""A comparison as a page with its pictures in it: a browser is all that it takes to look at it."""

import html
import io
from collections.abc import Sequence

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from simulations.whatif.comparison import Comparison, date_of, mean_hours, shown
from simulations.whatif.figure import FIGURES
from simulations.world.report import STYLE

LINES = (("that day", "#333333", "-"), ("run again", "#5aa9d6", "--"), ("changed", "#c0392b", "-"))
ROWS = (("calls", "calls an hour"), ("connected", "connected an hour"), ("waiting", "agents waiting"))


def page(made: Comparison) -> str:
    """HTML, whole."""
    rows = "".join(_row(made, place) for place in range(len(FIGURES)))
    changed = "".join(
        f"<li><code>{html.escape(name)} = {html.escape(msgspec.json.encode(value).decode())}</code></li>"
        for name, value in made.changes.settings.items()
    )
    title = html.escape(f"What if: {made.day.campaign}, {date_of(made.day)}")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>
<h1>{title}</h1><ul>{changed}</ul><p>Means of {len(made.seeds)} seeds; "run again" has the settings that the day had.</p>
<table><tr><th></th><th>that day</th><th>run again</th><th>changed</th><th>difference</th></tr>{rows}</table>
{_picture(made)}</html>
"""


def _row(made: Comparison, place: int) -> str:
    one = FIGURES[place]
    control, changed, difference = (
        sum(values) / len(values)
        for values in (made.control.values(one), made.changed.values(one), made.difference(one))
    )
    cells = (
        shown(made.real.values[one], one),
        shown(control, one),
        shown(changed, one),
        shown(difference, one, "+"),
    )
    name = html.escape(f"{one.name} {one.unit}".strip())
    return f"<tr><th>{name}</th>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"


def _picture(made: Comparison) -> str:
    control, changed = mean_hours(made.control), mean_hours(made.changed)
    busy = [hour for hour, count in enumerate(_anything(made, control, changed)) if count]
    first, last = (busy[0], busy[-1]) if busy else (0, 0)
    with mpl.rc_context({"svg.hashsalt": "ringfold", "font.size": 9}):
        picture = Picture(figsize=(10, 8), layout="constrained")
        for axes, (name, label) in zip(picture.subplots(len(ROWS), 1, sharex=True), ROWS, strict=True):
            of_day: Sequence[float] = getattr(made.real.hours, name)
            _draw(axes, (of_day, control[name], changed[name]), first, last)
            axes.set_ylabel(label)
        axes.set_xlabel("hour of the day")
        drawn = io.StringIO()
        picture.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()[drawn.getvalue().index("<svg") :]


def _anything(made: Comparison, *runs: dict[str, list[float]]) -> list[float]:
    of_day = made.real.hours._asdict()
    return [sum(one[name][hour] for one in (of_day, *runs) for name, _ in ROWS) for hour in range(len(of_day["calls"]))]


def _draw(axes: Axes, series: Sequence[Sequence[float]], first: int, last: int) -> None:
    hours = range(first, last + 1)
    for values, (label, colour, style) in zip(series, LINES, strict=True):
        axes.plot(hours, values[first : last + 1], style, color=colour, label=label, marker=".")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
