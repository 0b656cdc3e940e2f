"""`python -m simulations manager`: the reference campaign manager's table, live."""

import asyncio
from collections import Counter
from typing import Annotated

import aiohttp
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live
from rich.table import Table

from simulations.client import Client
from simulations.manager.manager import CampaignManager

REFRESH_S = 0.5
MAX_FAULTS_SHOWN = 10


def watch(
    *,
    token: Annotated[str, Parameter(env_var="RINGFOLD_TOKEN", help="A campaign manager's or administrator's.")],
    url: str = "http://127.0.0.1:8080",
) -> None:
    """Show every campaign as notifications tell of it, from the first one on, and what of them broke a promise."""
    try:
        asyncio.run(_watch(url, token))
    except KeyboardInterrupt:
        return


async def _watch(url: str, token: str) -> None:
    async with aiohttp.ClientSession() as session:
        manager = CampaignManager(Client(session, url, token))
        with Live(console=Console(), refresh_per_second=4) as live:
            async with asyncio.TaskGroup() as group:
                group.create_task(manager.follow(), name="following")
                while True:
                    live.update(table_of(manager))
                    await asyncio.sleep(REFRESH_S)


def table_of(manager: CampaignManager) -> Table:
    columns = ("campaign", "name", "state", "since", "contacts", "agents", "calls", "ended")
    shown = Table(*columns, title=f"{manager.judge.news} notifications", caption=_caption(manager))
    for row in manager.rows.values():
        if row.state != "deleted":
            agents = ", ".join(f"{count} {state}" for state, count in Counter(row.agents.values()).items())
            counted = (str(row.contacts), agents, str(len(row.calls)), str(row.ended))
            shown.add_row(row.ref, row.name, row.state, row.since, *counted)
    return shown


def _caption(manager: CampaignManager) -> str:
    faults = manager.judge.faults
    return "\n".join(faults[-MAX_FAULTS_SHOWN:]) if faults else "no promise broken"
