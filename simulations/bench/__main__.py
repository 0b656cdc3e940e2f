"""`make bench`: every figure beside its peer or limit, group by group; a table, a flat file of figures, and a page.

What a group that fails would have told is missing, its error is shown, and the exit status is 1; the others go on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Column, Table

from simulations.bench.aim import AIMS, GROUPS, Aim, Group, beside, wanted
from simulations.bench.figure import FULL, QUICK, Figures, Scale, flat, number, read, save

RESULT = Path("build/bench.json")
PAGE = Path("build/bench.html")
WIDTH = 150
"""Of a table that no terminal shows, in characters."""
SAID_LINES = 12
"""Of what a group that failed said last."""


class Failed(Exception):
    """A group came to no figures. Says why."""


def main(
    *, only: str = "", quick: bool = False, rounds: int = 0, seconds: float = 0.0, folder: Path | None = None
) -> int:
    """Measure. Exits with 1 if a group failed, 2 for a group that there isn't.

    Parameters
    ----------
    only
        Names of groups, with commas; all by default.
    quick
        A smoke run: tiny sizes, one round. The figures say nothing.
    rounds
        How often each thing is measured, beside its peer.
    seconds
        For how long each time.
    folder
        Where bench.json and bench.html go, in place of build.
    """
    console = Console(stderr=True)
    names = [one.strip() for one in only.split(",") if one.strip()] or [one.name for one in GROUPS]
    if unknown := sorted(set(names) - {one.name for one in GROUPS}):
        console.print(f"no such group: {', '.join(unknown)}. There are {', '.join(one.name for one in GROUPS)}")
        return 2
    usual = QUICK if quick else FULL
    scale = Scale(rounds=rounds or usual.rounds, seconds=seconds or usual.seconds, share=usual.share)
    result = folder / RESULT.name if folder else RESULT
    found, faults = _measured([one for one in GROUPS if one.name in names], scale, result, console)
    _draw(result, result.with_name(PAGE.name))
    out = Console()
    if not out.is_terminal:
        out.width = WIDTH
    _show(found, [one for one in AIMS if one.key in found], out)
    if only:
        _show_more(found, out)
    for name, fault in faults.items():
        out.print(f"[red]{name} failed:[/red] ", end="")
        out.print(fault, markup=False, highlight=False)
    out.print(f"{result}, {result.with_name(PAGE.name)}", soft_wrap=True)
    return 1 if faults else 0


def _measured(groups: Sequence[Group], scale: Scale, result: Path, console: Console) -> tuple[Figures, dict[str, str]]:
    """Figures by key and faults by group; what is measured is kept at once."""
    found: Figures = {}
    faults: dict[str, str] = {}
    for place, one in enumerate(groups, 1):
        began = time.monotonic()
        console.print(f"[bold]{place}/{len(groups)} {one.name}[/bold]: {one.what}")
        try:
            figures = _run(one, scale)
        except Failed as fault:
            faults[one.name] = str(fault)
            console.print(f"{one.name}: failed", style="red")
            continue
        found |= figures
        save(result, flat(figures))
        console.print(f"{one.name}: {time.monotonic() - began:,.0f} s", style="dim")
    return found, faults


def _run(group: Group, scale: Scale) -> Figures:
    """Measure one group in a process of its own, whose children end with it. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
        file, said = Path(folder) / "figures.json", Path(folder) / "said"
        with said.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "simulations.bench.group", group.name, str(file)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        deadline = time.monotonic() + group.within_s
        try:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(scale))
            process.stdin.close()
            last = _relayed(process, deadline, group.name)
        finally:
            _end(process)
        if process.returncode != 0 or not file.exists():
            late = f"not done after {group.within_s} s\n" if time.monotonic() >= deadline else ""
            raise Failed(late + "\n".join(last[-SAID_LINES:]))
        return msgspec.json.decode(file.read_bytes(), type=Figures)


def _relayed(process: "subprocess.Popen[bytes]", deadline: float, name: str) -> list[str]:
    """Pass on what the group says of its progress, keep the rest for the case that it fails; returns at its end."""
    assert process.stderr is not None
    descriptor = process.stderr.fileno()
    os.set_blocking(descriptor, False)
    kept: list[str] = []
    tail = b""
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        data = process.stderr.read()
        if data:
            *lines, tail = (tail + data).split(b"\n")
            for line in (one.decode(errors="replace") for one in lines):
                kept.append(line)
                if line.startswith(f"{name}: "):
                    print(line, file=sys.stderr, flush=True)
        elif ended:
            return kept
        else:
            time.sleep(0.1)
    return kept


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The group and whatever it started."""
    with contextlib.suppress(ProcessLookupError):  # it went, and left nobody
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _show(found: Figures, aims: Sequence[Aim], out: Console) -> None:
    table = Table(Column("key", no_wrap=True), "what", "figure", "spread", "beside", "aim", "met?")
    for aim in aims:
        one = found[aim.key]
        table.add_row(
            aim.key,
            aim.what,
            f"{number(one.median)} {aim.unit}",
            one.spread if len(one.rounds) > 1 else "",
            beside(aim, flat(found)),
            wanted(aim),
            "[green]yes[/green]" if aim.is_met(one.median) else "[red]no[/red]",
        )
    if aims:
        out.print(table)


def _show_more(found: Figures, out: Console) -> None:
    """What has no aim: peers, parts, curves. Of a whole run it is on the page."""
    more = Table(Column("more", no_wrap=True), "what", "figure", "spread")
    for key in sorted(set(found) - {one.key for one in AIMS}):
        one = found[key]
        more.add_row(key, one.name, f"{number(one.median)} {one.unit}", one.spread if len(one.rounds) > 1 else "")
    if more.row_count:
        out.print(more)


def _draw(result: Path, page_file: Path) -> None:
    from simulations.bench.page import page  # takes a second to import

    page_file.parent.mkdir(parents=True, exist_ok=True)
    page_file.write_text(page(read(result)), "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
