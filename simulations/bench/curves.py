"""What an attempt costs the engine's process, in µs of CPU, by the length of the list, by agents, and by calls that go on.

One thing is varied at a time, the others stay as in `BASE`. Nobody listens to notifications here: what they cost is measured
with the attempts themselves.
"""

import asyncio

import msgspec

from simulations.bench.attempts import attempts
from simulations.bench.dialer import Crowd
from simulations.bench.figure import Figures, Rounds, Say, Scale

BASE = Crowd(agents=100, contacts=10_000, talking=0)
VARIED = {"contacts": (1_000, 10_000, 100_000), "agents": (10, 100, 500), "talking": (1, 100, 400)}
NAMES = {"talking": "calls"}


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    base = Crowd(agents=scale.of(BASE.agents, 5), contacts=scale.of(BASE.contacts, 100))
    for what, sizes in VARIED.items():
        for size in dict.fromkeys(scale.of(one, 5) for one in sizes):
            crowd = msgspec.structs.replace(base, **{what: size})
            crowd = msgspec.structs.replace(crowd, contacts=max(crowd.contacts, 2 * (crowd.agents + crowd.talking)))
            ran = asyncio.run(attempts(scale.seconds, crowd, None))
            key = f"attempt_us_by_{NAMES.get(what, what)}_{size}"
            made.add(key, f"an attempt, {NAMES.get(what, what)} {size:,}", "µs", ran.cpu_s / ran.attempts * 1_000_000)
            say(made.last(key))
    return made.figures
