"""`ringfold key`: the keys that sign tokens and check them, and how one follows another. A running service sees each change."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from api import view
from api.token import keyfile
from api.token.keyfile import KeyFile
from config.settings import Tokens
from engine.command.terminal import Config, settings_at
from engine.service import SystemClock

commands = App(name="key", help="Keys that sign tokens, and the order in which one follows another.")


@commands.command(name="list")
def list_keys(*, config: Config = None) -> None:
    """Name the keys, what each is for, and until when it checks tokens."""
    tokens = settings_at(config).tokens
    _told(tokens, keyfile.read)


@commands.command
def add(*, config: Config = None) -> None:
    """Make a key. It checks tokens and is published; it signs when it is promoted."""
    tokens, now = settings_at(config).tokens, SystemClock().now_ms()
    _told(tokens, lambda path: keyfile.edit(path, lambda found: found.with_one(now)))


@commands.command
def promote(kid: str, *, config: Config = None) -> None:
    """Sign with this key from now on. The one before checks tokens for as long as the longest-lived may last."""
    tokens, now = settings_at(config).tokens, SystemClock().now_ms()
    _told(tokens, lambda path: keyfile.edit(path, lambda found: found.promoting(kid, now, tokens.longest_ttl_s)))


@commands.command
def retire(
    kid: str,
    *,
    at_once: Annotated[
        bool, Parameter(help="Also where tokens that it signed haven't ended: they are refused.")
    ] = False,
    config: Config = None,
) -> None:
    """Forget a key that doesn't sign."""
    tokens, now = settings_at(config).tokens, SystemClock().now_ms()
    _told(tokens, lambda path: keyfile.edit(path, lambda found: found.without(kid, now, at_once=at_once)))


def _told(tokens: Tokens, work: Callable[[Path], KeyFile]) -> None:
    """Prints the keys as they are now; what is wrong ends with 2 and the fault in words."""
    path = Path(tokens.key_file)
    try:
        keyfile.make_unless_there(path, SystemClock().now_ms())
        found = work(path)
    except (OSError, ValueError) as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)
    for one in found.keys:
        until = f"  until {view.time(one.not_after)}" if one.not_after else ""
        print(f"{one.kid}  {one.status:<9}  made {view.time(one.made_at)}{until}")
