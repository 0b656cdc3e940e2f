"""What every command does at the terminal: read the settings, print, and end quietly."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from config.settings import Http, InvalidSettings, Settings, load

Config = Annotated[Path | None, Parameter(name=["--config", "-c"], help="Settings file (TOML); none: defaults.")]


def settings_at(config: Path | None) -> Settings:
    """Exits with 2 and the fault in words where they are wrong."""
    try:
        return load(config)
    except InvalidSettings as error:
        print(f"ringfold: {error}", file=sys.stderr)
        sys.exit(2)


def address_here(http: Http) -> str:
    """Where the service is asked on its own machine; one that listens everywhere is asked at the loopback."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104 - not listened on
    return f"http://[{host}]:{http.port}" if ":" in host else f"http://{host}:{http.port}"


def print_until_closed(work: Coroutine[Any, Any, None]) -> None:
    """Run a printing command; a reader that closes the pipe (`| head`) ends it quietly."""
    try:
        asyncio.run(work)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
