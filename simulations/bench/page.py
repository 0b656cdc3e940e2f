"""The figures as a page with its pictures in it: a browser is all that it takes to look at it. Drawn from bench.json alone."""

import html
import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from simulations.bench.aim import AIMS, CURVES, LEAST, Aim, Curve, beside, wanted
from simulations.bench.figure import number
from simulations.world.report import STYLE

MET, MISSED, NONE = "#1b7f5c", "#c0392b", "#9e9e9e"
GOOD_STYLE = ".good { color: #1b7f5c }"


def page(figures: Mapping[str, float]) -> str:
    """HTML, whole. What was not measured yet is told as such."""
    rows = "".join(_row(aim, figures) for aim in AIMS)
    curves = [(one, points) for one in CURVES if (points := points_of(one, figures))]
    pictures = "".join(f"<h2>{html.escape(one.title)}</h2>{_curve(one, points)}" for one, points in curves)
    shown = {key for aim in AIMS for key in (aim.key, *_range(aim.key))}
    more = "".join(_more(key, figures[key]) for key in sorted(figures) if key not in shown)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmarks</title><style>{STYLE}{GOOD_STYLE}</style>
<h1>Benchmarks</h1><p>Medians of the rounds, on one machine; what each is and how it is had stands in docs/performance.md.</p>
<table><tr><th>key</th><th>what</th><th>figure</th><th>spread</th><th>beside</th><th>aim</th><th>met?</th></tr>{rows}</table>
<h2>Figures against their aims</h2>{_aims(figures)}{pictures}
<h2>More</h2><table>{more}</table></html>
"""


def points_of(curve: Curve, figures: Mapping[str, float]) -> list[tuple[int, float]]:
    """The curve's points in order: figures whose keys are its prefix and a whole number."""
    ends = {key: key.removeprefix(curve.prefix) for key in figures if key.startswith(curve.prefix)}
    return sorted((int(end), figures[key]) for key, end in ends.items() if end.isdecimal())


def _range(key: str) -> tuple[str, str]:
    return f"{key}_low", f"{key}_high"


def _row(aim: Aim, figures: Mapping[str, float]) -> str:
    value = figures.get(aim.key)
    low, high = (figures.get(one) for one in _range(aim.key))
    cells = (
        "" if value is None else f"{number(value)} {aim.unit}",
        "" if low is None or high is None else f"{number(low)} – {number(high)}",
        beside(aim, figures),
        wanted(aim),
    )
    met = "not measured" if value is None else "yes" if aim.is_met(value) else "no"
    shade = {"yes": "good", "no": "bad"}.get(met, "")
    shown = "".join(f'<td class="n">{html.escape(one)}</td>' for one in cells)
    name = f"<th>{html.escape(aim.key)}</th><td>{html.escape(aim.what)}</td>"
    return f'<tr>{name}{shown}<td class="{shade}">{met}</td></tr>'


def _more(key: str, value: float) -> str:
    return f'<tr><th>{html.escape(key)}</th><td class="n">{number(value)}</td></tr>'


def _aims(figures: Mapping[str, float]) -> str:
    """How far each figure is from its aim, as a share of it: right of the line is better than wanted."""
    known = [aim for aim in AIMS if figures.get(aim.key, 0) > 0]
    with mpl.rc_context({"svg.hashsalt": "ringfold", "font.size": 9}):
        picture = Picture(figsize=(10, 1 + 0.3 * len(known)), layout="constrained")
        axes = picture.subplots()
        for place, aim in enumerate(reversed(known)):
            values = [figures[one] for one in (aim.key, *_range(aim.key)) if figures.get(one, 0) > 0]
            shares = [one / aim.aim if aim.sense == LEAST else aim.aim / one for one in values]
            colour = MET if aim.is_met(values[0]) else MISSED
            axes.plot([min(shares), max(shares)], [place, place], color=colour, linewidth=3, alpha=0.4)
            axes.plot([shares[0]], [place], "o", color=colour)
        axes.set_yticks(range(len(known)), [one.key for one in reversed(known)])
        axes.set_xscale("log")
        axes.axvline(1, color="#333333", linewidth=1)
        axes.set_xlabel("times as good as wanted")
        return _drawn(picture)


def _curve(curve: Curve, points: Sequence[tuple[int, float]]) -> str:
    with mpl.rc_context({"svg.hashsalt": "ringfold", "font.size": 9}):
        picture = Picture(figsize=(10, 3), layout="constrained")
        axes: Axes = picture.subplots()
        axes.plot([one for one, _ in points], [one for _, one in points], ".-", color="#5aa9d6")
        if points[-1][0] >= 20 * max(1, points[0][0]):
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(curve.x)
        axes.set_ylabel(curve.y)
        return _drawn(picture)


def _drawn(picture: Picture) -> str:
    drawn = io.StringIO()
    picture.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()[drawn.getvalue().index("<svg") :]
