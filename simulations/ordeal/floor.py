"""A call centre of real parts on loopback: Asterisk with its carrier and phones, the engine as a process, its store."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from api.token import Role
from simulations.asterisk import Installation, Site
from simulations.client import Client, Problem
from simulations.disk import Disk, NotMountable
from simulations.engine_process import EngineProcess
from simulations.ordeal.keeper import Keeper
from simulations.ordeal.line import Line
from simulations.postgres import Postgres

CAMPAIGN = "ordeal"
ROWS_PER_UPLOAD = 5_000
ORIGINATES_PER_S = 200
CALLS_IN_SETUP = 200
PRESENT_WITHIN_S = 60
LOOK_EVERY_S = 0.05
DISK_MB = 192
"""Room for a PostgreSQL and what a run of an hour writes."""


class Floor:
    """Use as `async with`; the engine is started by whoever uses it. Its processes end with it.

    The store is SQLite in `folder`, or a PostgreSQL of its own; `through_lines` puts a Line before the PBX and one before
    PostgreSQL, `on_disk` the store on a small disk of its own, with the engine's log where that is SQLite.
    Raises NotInstallable, NotInstalled, NotBooted, NotListening.
    """

    engine: EngineProcess
    keeper: Keeper
    pbx_line: Line
    store_line: Line

    def __init__(
        self,
        folder: Path,
        *,
        agents: int,
        installation: Installation,
        with_postgres: bool = False,
        through_lines: bool = False,
        on_disk: bool = False,
        in_setup: int = CALLS_IN_SETUP,
    ) -> None:
        self.folder = folder
        self.agents = tuple(f"agent{number}" for number in range(1, agents + 1))
        self.site = Site(folder / "site", agents=agents, installation=installation)
        self.postgres: Postgres | None = None
        self.disk: Disk | None = None
        self.diskless = ""
        """Why there is no small disk."""
        self._in_setup = in_setup
        self._with_postgres, self._through_lines, self._on_disk = with_postgres, through_lines, on_disk
        self._stack = AsyncExitStack()

    @property
    def admin(self) -> Client:
        return self.engine.client(self.session, Role.ADMINISTRATOR, "operator")

    def agent(self, name: str) -> Client:
        return self.engine.client(self.session, Role.AGENT, name)

    def process(self, name: str, settings: dict[str, dict[str, Any]]) -> EngineProcess:
        """An engine of this floor's, in a folder of its own."""
        return EngineProcess(self.folder / name, settings)

    def settings(self) -> dict[str, dict[str, Any]]:
        pbx = self.site.asterisk
        store: dict[str, dict[str, Any]] = {}
        if self.postgres:
            port = self.store_line.port if self._through_lines else self.postgres.port
            store["store"] = {"url": f"postgresql://postgres@127.0.0.1:{port}/postgres"}
        ami = {
            "host": "127.0.0.1",
            "port": self.pbx_line.port if self._through_lines else pbx.ami_port,
            "username": pbx.username,
            "secret": pbx.secret,
            "cel_path": str(pbx.cel_path),
            "max_originates_per_second": ORIGINATES_PER_S,
        }
        return {
            **store,
            "ami": ami,
            "dialing": {"trunks": [pbx.trunk], "max_calls_in_setup": self._in_setup},
            "webhooks": {"allow_private_targets": True, "allow_http": True},
        }

    async def found(self, contacts: list[dict[str, Any]], settings: dict[str, Any]) -> None:
        """A campaign with its contacts, and all agents allocated to it. The engine must be up."""
        await self.admin.call("PUT", f"/v1/campaigns/{CAMPAIGN}", {"name": "Ordeal", "settings": settings})
        for start in range(0, len(contacts), ROWS_PER_UPLOAD):
            rows = contacts[start : start + ROWS_PER_UPLOAD]
            answer = await self.admin.ndjson(f"/v1/campaigns/{CAMPAIGN}/contacts", rows)
            if answer["rejected"]:
                raise RuntimeError(f"{answer['rejected']} contacts were refused")
        for name in self.agents:
            await self.admin.call("PUT", f"/v1/agents/{name}", {"name": name, "phone": name})
            await self.admin.call("PUT", f"/v1/campaigns/{CAMPAIGN}/agents/{name}", {"line": "nailed"})

    async def ask(self, state: str) -> None:
        await self.admin.call("PATCH", f"/v1/campaigns/{CAMPAIGN}", {"state": state})

    async def present(self) -> None:
        """Wait until every agent's phone is up. Raises TimeoutError."""
        async with asyncio.timeout(PRESENT_WITHIN_S):
            for name in self.agents:
                while (await self.admin.call("GET", f"/v1/agents/{name}"))["state"] != "available":
                    await asyncio.sleep(LOOK_EVERY_S)

    async def stopped(self, within_s: float) -> bool:
        """Ask the campaign to stop; whether it does in that time."""
        await self.ask("stopped")
        try:
            async with asyncio.timeout(within_s):
                while (await self.admin.call("GET", f"/v1/campaigns/{CAMPAIGN}"))["state"] != "stopped":
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            return False
        return True

    def _mount(self, stack: AsyncExitStack) -> None:
        """What the store writes, where the engine's folder would be; PostgreSQL's user gets into no folder of ours."""
        if not self._on_disk:
            return
        at = self.folder / "engine"
        if self._with_postgres:
            at = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringfold-store-")))
            at.chmod(0o755)
            at /= "disk"
        try:
            self.disk = stack.enter_context(Disk.mounted(at, DISK_MB, keep=not self._with_postgres))
        except NotMountable as reason:
            self.diskless = str(reason)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.site)
            self._mount(stack)
            if self._with_postgres:
                self.postgres = stack.enter_context(Postgres.running(self.disk.at if self.disk else None))
            if self._through_lines:
                self.pbx_line = await stack.enter_async_context(Line(self.site.asterisk.ami_port))
                store_port = self.postgres.port if self.postgres else 0
                self.store_line = await stack.enter_async_context(Line(store_port))
            self.session = await stack.enter_async_context(aiohttp.ClientSession())
            self.engine = self.process("engine", self.settings())
            self.keeper = Keeper(self.engine)
            stack.push_async_callback(self.engine.kill)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def reserved(client: Client, agent: str) -> dict[str, Any] | None:
    """The contact that the agent is given, or has in hand already; None where there is none for them."""
    answer = await client.call("POST", f"/v1/agents/{agent}/next", {})
    held: dict[str, Any] | None = answer and answer["reservation"]
    return held


async def act(client: Client, held: dict[str, Any], what: str, **body: Any) -> Any:
    return await client.call("POST", f"/v1/reservations/{held['id']}/{what}", {"token": held["token"], **body})


__all__ = ["CAMPAIGN", "Floor", "Problem", "act", "reserved"]
