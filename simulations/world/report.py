"""A run as a page: the result as a table, agents, calls and contacts as pictures. It needs nothing but a browser to look at."""

import html
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import msgspec
from matplotlib.figure import Figure

from engine.core.agent import AgentStatus
from simulations.world.scenario import Scenario
from simulations.world.shift import DAY_BEGINS_S
from simulations.world.watch import Sample
from simulations.world.world import Result

COLOURS = {
    AgentStatus.BUSY: "#1b7f5c",
    AgentStatus.PREVIEWING: "#5aa9d6",
    AgentStatus.WRAPUP: "#e0b040",
    AgentStatus.AVAILABLE: "#c9d8c5",
    AgentStatus.PAUSED: "#b39ddb",
    AgentStatus.LOGGING_IN: "#9e9e9e",
    AgentStatus.LOGGING_OUT: "#757575",
    AgentStatus.OFFLINE: "#eeeeee",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse }
td, th { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: left }
td.n { text-align: right }
svg { max-width: 100%; height: auto }
.bad { color: #a00 }
"""


def page(scenario: Scenario, result: Result, samples: Sequence[Sample]) -> str:
    """HTML, whole: pictures are inside it."""
    rows = "".join(_row(name, value) for name, value in msgspec.to_builtins(result).items() if name != "violations")
    found = "".join(f'<li class="bad">{html.escape(one)}</li>' for one in result.violations) or "<li>none</li>"
    title = html.escape(f"{scenario.name}, seed {result.seed}")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>
<h1>{title}</h1><h2>What came of it</h2><table>{rows}</table><h2>Violations</h2><ul>{found}</ul>
<h2>Over the day</h2>{_picture(samples)}<h2>Agents' time</h2><table>{_shares(samples)}</table></html>
"""


def _row(name: str, value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{one} {count}" for one, count in value.items())
    shown = f"{value:,}" if isinstance(value, int | float) else html.escape(str(value))
    return f'<tr><th>{html.escape(name.replace("_", " "))}</th><td class="n">{shown}</td></tr>'


def _shares(samples: Sequence[Sample]) -> str:
    spent = Counter[AgentStatus]()
    for one in samples:
        spent.update(one.agents)
    whole = spent.total() or 1
    return "".join(_row(status, f"{count / whole:.1%}") for status, count in spent.most_common())


def _picture(samples: Sequence[Sample]) -> str:
    hours = [(one.at_s + DAY_BEGINS_S) / 3_600 for one in samples]
    with mpl.rc_context({"svg.hashsalt": "ringfold", "font.size": 9}):
        figure = Figure(figsize=(10, 9), layout="constrained")
        agents, calls, contacts = figure.subplots(3, 1, sharex=True)
        statuses = [one for one in COLOURS if any(one in each.agents for each in samples)]
        agents.stackplot(
            hours,
            [[each.agents.get(one, 0) for each in samples] for one in statuses],
            labels=[str(one) for one in statuses],
            colors=[COLOURS[one] for one in statuses],
        )
        agents.set_ylabel("agents")
        agents.legend(loc="upper right", ncols=4)
        calls.plot(hours, [one.live_legs for one in samples], color="#1b7f5c", label="legs live at the PBX")
        calls.plot(hours, _per_minute(samples), color="#5aa9d6", label="dialled per minute")
        calls.set_ylabel("calls")
        calls.legend(loc="upper right")
        contacts.plot(hours, [one.final for one in samples], color="#333", label="contacts final")
        contacts.set_ylabel("contacts")
        contacts.set_xlabel("hour of the day")
        contacts.legend(loc="upper left")
        for at in _struck(samples):
            for one in (agents, calls, contacts):
                one.axvline(at, color="#c0392b", linewidth=0.5, alpha=0.5)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()[drawn.getvalue().index("<svg") :]


def _per_minute(samples: Sequence[Sample]) -> list[float]:
    before = [samples[0], *samples[:-1]] if samples else []
    return [
        60 * (now.calls - was.calls) / max(1.0, now.at_s - was.at_s) for was, now in zip(before, samples, strict=True)
    ]


def _struck(samples: Sequence[Sample]) -> list[float]:
    """When faults struck, to the sample."""
    return [(now.at_s + DAY_BEGINS_S) / 3_600 for was, now in itertools.pairwise(samples) if now.faults > was.faults]
