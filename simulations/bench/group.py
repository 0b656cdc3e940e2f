"""One group of figures in this process: `python -m simulations.bench.group NAME FILE`, a Scale as JSON on stdin.

A process of its own for each group: none inherits another's memory, and one that fails takes nobody's figures with it.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

from simulations.bench.aim import group
from simulations.bench.figure import Figures, Say, Scale

Measure = Callable[[Scale, Say], Figures]


def measure_of(name: str) -> Measure:
    """The function that measures a group. Raises KeyError, ImportError, AttributeError."""
    module, _, function = group(name).place.partition(":")
    found: Measure = getattr(import_module(f"simulations.bench.{module}"), function)
    return found


def main(name: str, file: Path, scale: Scale) -> None:
    def say(line: str) -> None:
        print(f"{name}: {line}", file=sys.stderr, flush=True)

    file.write_bytes(msgspec.json.encode(measure_of(name)(scale, say)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), msgspec.json.decode(sys.stdin.buffer.read(), type=Scale))
