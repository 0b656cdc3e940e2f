"""`python -m simulations what-if spring --set reservation_timeout_s=30`: a real day with other settings, compared."""

import asyncio
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from config.settings import InvalidSettings, Settings, load
from engine.core.book import Book
from engine.core.campaign import Settings as CampaignSettings
from engine.core.campaign import SettingsChanged, patched
from engine.core.refusal import Refused
from engine.limits import Limits
from engine.ports import StoreUnavailable, Unreadable
from engine.service import SystemClock, open_log_store
from simulations.whatif.comparison import Comparison, as_json, as_table, compare
from simulations.whatif.day import Day, NoSuchDay, read_day
from simulations.whatif.rerun import Changes

SQLITE = "sqlite:///"
MAX_SEEDS = 100
FILE_WIDTH_CHARS = 160
"""Of a table that nobody looks at in a terminal."""


def main(
    campaign: str,
    *,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    settings: Path | None = None,
    day: str = "",
    zone: str = "UTC",
    seeds: int = 5,
    json: Annotated[bool, Parameter(negative="")] = False,
    report: Path | None = None,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
) -> None:
    """Run a campaign's day again with other settings, from its log, and compare. The service may run meanwhile.

    It runs as often as there are seeds with the settings that the day had, which shows how faithful a rerun is, and as often
    with the changed ones. Nothing is dialled and nothing written. Exits with 1 where there is no such day, 2 where what was
    asked is wrong.

    Parameters
    ----------
    campaign
        Its ref.
    set_
        A setting of the campaign, KEY=VALUE, the value as in TOML: may be given several times.
    settings
        A TOML file of such settings.
    day
        Such as 2026-05-04; none: the last one on which it dialled.
    zone
        Whose midnight a day begins at, such as America/Bogota.
    seeds
        How often each is run; what the day can't tell is drawn anew each time.
    json
        Print JSON instead of a table.
    report
        An HTML file to write, with pictures.
    config
        The service's settings file (TOML).
    """
    if not 1 <= seeds <= MAX_SEEDS:
        _refuse(f"--seeds {seeds}: from 1 to {MAX_SEEDS}", 2)
    changes = _changes(set_, settings)
    asked, midnight = _date(day), _zone(zone)
    served = _served(config)
    try:
        found = asyncio.run(_read(served, campaign, asked, midnight))
    except (NoSuchDay, StoreUnavailable, Unreadable) as error:
        _refuse(str(error))
    _check(changes, found)
    made = _made(found, changes, _limits(served), range(1, seeds + 1))
    if report:
        from simulations.whatif.page import page  # takes a second to import

        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(page(made), "utf-8")
    if json:
        print(msgspec.json.format(msgspec.json.encode(as_json(made)), indent=2).decode())
    else:
        _print(made)


def _refuse(what: str, status: int = 1) -> NoReturn:
    print(f"what-if: {what}", file=sys.stderr)
    sys.exit(status)


# -- what was asked -------------------------------------------------------------------------------------------------


def _changes(words: tuple[str, ...], file: Path | None) -> Changes:
    found: dict[str, Any] = {}
    if file is not None:
        try:
            found |= tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            _refuse(f"--settings {file}: {error}", 2)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            _refuse(f"--set {word!r} is no KEY=VALUE", 2)
        found[key.strip()] = _value(text.strip())
    if not found:
        _refuse("name a setting to change: --set KEY=VALUE, or --settings FILE", 2)
    return _known(found)


def _value(text: str) -> Any:
    """As in TOML; what isn't, is text: `proportional` needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _known(found: dict[str, Any]) -> Changes:
    """Each alone must be right for a campaign that has nothing else set: what is wrong is named by its key."""
    for key, value in found.items():
        if key not in CampaignSettings.__struct_fields__:
            _refuse(f"{key}: a campaign has no such setting; docs/preview.md names all", 2)
        try:
            patched(CampaignSettings(), {key: value})
        except Refused as refused:
            if not refused.field.startswith(f"settings.{key}"):
                continue  # wrong beside the defaults only: the day's own settings decide
            _refuse(f"{refused.field.removeprefix('settings.')}: {refused.detail}", 2)
    return Changes(found)


def _check(changes: Changes, day: Day) -> None:
    """All together beside the settings that the campaign had, whenever on that day."""
    book = Book()
    for one in (*day.before, *day.events):
        book.apply(one)
        if isinstance(one, SettingsChanged) or one is day.events[0]:
            _fits(changes, book.campaign.settings)
    if day.before:
        _fits(changes, day.book.campaign.settings)


def _fits(changes: Changes, settings: CampaignSettings) -> None:
    try:
        patched(settings, changes.settings)
    except Refused as refused:
        _refuse(f"{refused.field.removeprefix('settings.')}: {refused.detail}", 2)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        _refuse(f"--day {text!r} is no day such as 2026-05-04", 2)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _refuse(f"--zone {text!r} is no zone such as America/Bogota", 2)


def _served(config: Path | None) -> Settings:
    try:
        return load(config)
    except InvalidSettings as error:
        _refuse(str(error), 2)


# -- what is done ---------------------------------------------------------------------------------------------------


async def _read(served: Settings, campaign: str, day: date | None, zone: ZoneInfo) -> Day:
    url = served.store.url
    if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
        raise NoSuchDay(f"there is no store at {url.removeprefix(SQLITE)}")
    store = await open_log_store(served)
    try:
        return await read_day(store, campaign, day, zone, SystemClock().now_ms())
    finally:
        await store.close()


def _limits(served: Settings) -> Limits:
    dialing = served.dialing
    return Limits(
        max_calls_in_setup=dialing.max_calls_in_setup,
        trunk_lines={one: dialing.trunk_lines.get(one, 0) for one in dialing.trunks},
    )


def _made(day: Day, changes: Changes, limits: Limits, seeds: range) -> Comparison:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("running the day again", total=2 * len(seeds))
        return compare(day, changes, limits, seeds, lambda: shown.advance(task))


def _print(made: Comparison) -> None:
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH_CHARS)
    console.print(as_table(made))
    if made.day.live_at_first:
        console.print(f"{made.day.live_at_first} calls were up when the day began: in a rerun they end at once")
    for name, several in (("run again", made.control), ("changed", made.changed)):
        drawn = ", ".join(f"{count:,} {what}" for what, count in several.drawn.items() if count)
        refused = ", ".join(f"{what} {count:,}" for what, count in several.refusals.most_common(5))
        console.print(f"{name}: drawn {drawn or 'nothing'}" + (f"; refused: {refused}" if refused else ""))
