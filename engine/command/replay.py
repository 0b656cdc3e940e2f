"""`ringfold replay`: a campaign as it stood at any position of its log, and whether its log says the same every time."""

import asyncio
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from config.settings import Settings
from engine.campaigns import log_of
from engine.command.machine import is_there
from engine.command.terminal import Config, settings_at
from engine.core.book import Head
from engine.core.call import Call
from engine.core.personal import Person
from engine.replay import Replay, Stretch, replay_twice
from engine.service import open_log_store
from eventstore import Store

SECRET, REDACTED = "<secret>", "<redacted>"
ROWS_PER_BLOCK = 200

CampaignRef = Annotated[str, Parameter(help="Its ref.")]


def replay_log(
    campaign: CampaignRef,
    *,
    to: Annotated[int | None, Parameter(help="The position to stop at; none: the log's end.")] = None,
    at: Annotated[str, Parameter(help="Stop before what happened later: a time such as 2026-05-04T12:00:00Z.")] = "",
    json: Annotated[bool, Parameter(negative="", help="Print the whole state.")] = False,
    personal: Annotated[bool, Parameter(negative="", help="With people's names, numbers and data.")] = False,
    config: Config = None,
) -> None:
    """Rerun a campaign's log up to a position or a time, twice, and say how the campaign stood then.

    Both runs must come to the same state, byte for byte, and the service's snapshot, where it was passed, must equal that.
    The exit status is 1 where they don't, or the log can't be rerun that far. The service may run meanwhile; nothing is
    written.
    """
    if to is not None and at:
        _refuse("give --to or --at, not both", 2)
    if personal and not json:
        _refuse("--personal goes with --json: the summary names nobody", 2)
    stretch = Stretch(to=to) if to is not None else Stretch(at=_time(at)) if at else Stretch()
    settings = settings_at(config)

    async def run() -> int:
        store = await _opened(settings)
        try:
            made = await _replayed(store, campaign, stretch)
            end = await store.position(log_of(campaign))
        finally:
            await store.close()
        for block in (
            whole(made, campaign, end, personal) if json else [f"{one}\n" for one in _told(made, campaign, end)]
        ):
            sys.stdout.write(block)
        sys.stdout.flush()
        return 1 if made.faults else 0

    try:
        sys.exit(asyncio.run(run()))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(what: str, status: int = 1) -> NoReturn:
    print(f"ringfold: {what}", file=sys.stderr)
    sys.exit(status)


def _time(text: str) -> int:
    """Epoch ms, to the end of the millisecond."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        _refuse(f"--at {text!r} is no time such as 2026-05-04T12:00:00Z", 2)
    if read.tzinfo is None:
        _refuse(f"--at {text!r} doesn't say where: end it with Z, or an offset such as -05:00", 2)
    return int(read.timestamp() * 1_000)


async def _opened(settings: Settings) -> Store:
    """Only one that is there: opening makes a SQLite file, and that is the service's to do."""
    file = settings.store.file
    if file is not None and not is_there(file):
        _refuse(f"there is no store at {file}")
    return await open_log_store(settings)


async def _replayed(store: Store, campaign: str, stretch: Stretch) -> Replay:
    """Exits with 1 where the log doesn't reach so far."""
    name = log_of(campaign)
    end = await store.position(name)
    if not end:
        _refuse(f"there is no campaign {campaign!r}")
    if stretch.to < 1 or end < stretch.to < math.inf:
        _refuse(f"the log of {campaign!r} has positions 1 to {end}, not {stretch.to}")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(f"{name}, twice", total=2 * min(end, stretch.to))
        made = await replay_twice(store, name, stretch, lambda events: shown.update(task, completed=events))
    if not made.run.pos:
        _refuse(f"at that time there was no campaign {campaign!r} yet")
    return made


# -- what is printed ------------------------------------------------------------------------------------------------


def _told(made: Replay, campaign: str, end: int) -> Iterator[str]:
    run, book = made.run, made.run.book
    told = book.campaign
    yield f"campaign   {campaign}, {told.status.value}" + (f" ({told.stop_reason})" if told.stop_reason else "")
    yield f"position   {run.pos} of {end}, {_shown(run.at)}"
    yield f"contacts   {_counted(len(book.contacts), book.contacts.counts)}"
    yield f"agents     {_counted(len(book.agents), Counter(one.status for one in book.agents.values()))}"
    ends = Counter(one.outcome for one in book.calls.values() if one.outcome is not None)
    yield f"calls      {_counted(len(book.calls), {'live': len(book.live), **ends})}"
    yield f"in hand    {_counted(len(book.reservations), Counter(one.phase for one in book.reservations.values()))}"
    yield f"state      {made.digest}" + ("" if made.faults else ", twice the same")
    yield f"snapshot   {_compared(made)}"
    for one in made.faults:
        yield f"  FAULT {one}"


def _compared(made: Replay) -> str:
    snapshot = made.snapshot
    if snapshot is None:
        return "none is kept"
    if snapshot.fault:
        return "can't be read"
    if snapshot.pos > made.run.pos:
        return f"at position {snapshot.pos}, which is later"
    return f"at position {snapshot.pos}, {'the same' if snapshot.digest == made.run.on_the_way else 'another state'}"


def _counted(whole: int, by_kind: Mapping[Any, int]) -> str:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in by_kind.items() if count)
    return f"{whole:,}" + (f": {kinds}" if kinds else "")


def _shown(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def whole(made: Replay, campaign: str, end: int, personal: bool) -> Iterator[str]:
    """One JSON object, some contacts at a time: there may be a million."""
    run, snapshot = made.run, made.snapshot
    head = {
        "campaign": campaign,
        "position": run.pos,
        "end": end,
        "at": _shown(run.at),
        "digest": made.digest,
        "snapshot": snapshot and {"position": snapshot.pos, "digest": snapshot.digest, "reached": bool(run.on_the_way)},
        "faults": made.faults,
        "state": {
            **_plain(_shareable(run.book.snapshot().head, personal), personal),
            "calls": [_call(one, personal) for one in run.book.calls.values()],
        },
    }
    yield msgspec.json.encode(head).decode().removesuffix("}") + ',"contacts":['
    separator = ""
    for page in run.book.contacts.by_ref.walk(ROWS_PER_BLOCK):
        yield separator + ",".join(msgspec.json.encode(_plain(one, personal)).decode() for one in page)
        separator = ","
    yield "]}\n"


def _shareable(head: Head, personal: bool) -> Head:
    """A reservation's token opens it, so nobody is shown one; what may hold a person's number only who asked for it."""
    changed = msgspec.structs.replace
    head = changed(head, reservations=[changed(one, token=SECRET) for one in head.reservations])
    if personal:
        return head
    return changed(
        head,
        agents=[changed(one, phone_name=REDACTED, channel=one.channel and REDACTED) for one in head.agents],
    )


def _call(call: Call, personal: bool) -> Any:
    shown = call if personal else msgspec.structs.replace(call, channel=call.channel and REDACTED)
    return _plain(msgspec.structs.asdict(shown), personal)


def _plain(value: Any, personal: bool) -> Any:
    return msgspec.to_builtins(value, enc_hook=_person if personal else _subject)


def _subject(value: Any) -> Any:
    assert isinstance(value, Person)
    return {"subject": value.subject}


def _person(value: Any) -> Any:
    assert isinstance(value, Person)
    return {"subject": value.subject, "details": msgspec.to_builtins(value.details)}
