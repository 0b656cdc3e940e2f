"""`ringfold import`: a contact file into a campaign of the running service."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from adapters.importer.command import Failed, Order, run
from engine.command.terminal import Config, address_here, settings_at
from engine.core.importing import ImportMode


def import_file(
    file: Path,
    *,
    campaign: str,
    token: Annotated[str, Parameter(env_var="RINGFOLD_TOKEN", help="As `ringfold token` prints it.")],
    mode: ImportMode = ImportMode.ADD,
    mapping: str = "",
    region: str = "",
    encoding: str = "",
    required: Annotated[str, Parameter(help="Columns in which every row needs a value, separated by commas.")] = "",
    add_prefix: Annotated[bool, Parameter(negative="", help="Put CAMPAIGN: before refs that lack it.")] = False,
    add_tags: Annotated[bool, Parameter(negative="", help="Keep the tags of contacts that are replaced.")] = False,
    accept_errors: Annotated[
        bool, Parameter(negative="", help="Store the right rows although others are wrong.")
    ] = False,
    confirm_removal: Annotated[bool, Parameter(negative="", help="A full sync cancels contacts: say yes.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Check only.")] = False,
    url: Annotated[str, Parameter(help="Of the running service; none: the one of the settings, on this machine.")] = "",
    config: Config = None,
) -> None:
    """Put a contact file into a campaign of the running service. The exit status is 1 where rows are wrong."""
    options = {
        "campaign": campaign,
        "mode": mode.value,
        "mapping": mapping,
        "region": region,
        "encoding": encoding,
        "required": required,
        "prefix": "true" if add_prefix else "",
        "tags": "add" if add_tags else "",
    }
    order = Order(
        file=file,
        url=url or address_here(settings_at(config).http),
        token=token,
        options=options,
        dry_run=dry_run,
        accept_errors=accept_errors,
        confirm_removal=confirm_removal,
    )
    try:
        sys.exit(asyncio.run(run(order, Console())))
    except Failed as failed:
        print(f"ringfold: {failed}", file=sys.stderr)
        sys.exit(1)
