"""The whole service in the test's own loop, over real sockets: SQLite, an AMI connection, HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from api.token import Role
from config.settings import Ami, Dialing, Http, Imports, Retention, Settings, Store, Tokens, Webhooks
from config.settings import Engine as EngineSettings
from engine.service import Service
from simulations.client import Client
from simulations.engine_process import free_port
from tests.api.judge import judged_session

PATIENCE_S = 15
"""How long a test waits for what should come at once, on a machine that is busy with other things."""


class World:
    """One running service, seen from outside."""

    def __init__(self, service: Service, session: aiohttp.ClientSession) -> None:
        self.service = service
        self.session = session
        self.base = f"http://127.0.0.1:{service.port}"
        self.admin = self.client(Role.ADMINISTRATOR, "admin")
        self.manager = self.client(Role.CAMPAIGN_MANAGER, "manager")

    def client(self, role: Role, subject: str, campaigns: tuple[str, ...] = ()) -> Client:
        return Client(self.session, self.base, self.service.keys.mint(role, subject, ttl_s=600, campaigns=campaigns))

    def agent(self, name: str) -> Client:
        return self.client(Role.AGENT, name)

    async def campaign(
        self,
        ref: str,
        contacts: list[list[str]],
        agents: tuple[str, ...] = ("agent1",),
        line: str = "nailed",
        **settings: Any,
    ) -> None:
        """Create a campaign with contacts `{ref}:1`, … (their numbers given) and agents whose phones bear their names."""
        await self.manager.call("PUT", f"/v1/campaigns/{ref}", {"name": ref.title(), "settings": settings})
        rows = [{"ref": f"{ref}:{place}", "numbers": numbers} for place, numbers in enumerate(contacts, 1)]
        if rows:
            await self.manager.call("POST", f"/v1/campaigns/{ref}/contacts", rows)
        for name in agents:
            await self.admin.call("PUT", f"/v1/agents/{name}", {"name": name, "phone": name})
            await self.manager.call("PUT", f"/v1/campaigns/{ref}/agents/{name}", {"line": line})

    async def ask(self, ref: str, state: str, force: bool = False) -> Any:
        body: dict[str, Any] = {"state": state, **({"force": True} if force else {})}
        return await self.manager.call("PATCH", f"/v1/campaigns/{ref}", body)

    async def run(self, ref: str) -> None:
        await self.ask(ref, "running")
        await self.told(ref, "campaign.status", state="running")

    async def notifications(self, ref: str) -> list[dict[str, Any]]:
        """Everything the feed holds about a campaign, in order."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.manager.call("GET", f"/v1/events?after={cursor}&campaign={ref}&limit=500")
            if not page["events"]:
                return found
            found += page["events"]
            cursor = page["cursor"]

    async def told(
        self, ref: str, kind: str, times: int = 1, patience_s: float = PATIENCE_S, **data: Any
    ) -> dict[str, Any]:
        """The notification (its data at least this), once it has come so many times."""

        def fits(one: dict[str, Any]) -> bool:
            return one["type"] == kind and all(one["data"].get(key) == value for key, value in data.items())

        seen: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    seen = await self.notifications(ref)
                    found = [one for one in seen if fits(one)]
                    if len(found) >= times:
                        return found[times - 1]
                    await asyncio.sleep(0.02)
        except TimeoutError:
            story = [(one["type"], one["data"]) for one in seen]
            raise AssertionError(f"never told of {kind} {data}; told: {story}") from None

    async def ready(self) -> None:
        """Waits until the service is: after an outage one log may come back a moment after another."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with self.session.get(f"{self.base}/readyz") as answered:
                    if answered.status == 200:
                        return
                await asyncio.sleep(0.05)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.01)


def settings_for(folder: Path, ami: Ami, **overrides: Any) -> Settings:
    """Settings of a service on the loopback with its files in `folder`."""
    settings = Settings(
        http=Http(port=free_port()),
        store=Store(url=f"sqlite:///{folder / 'ringfold.db'}"),
        ami=ami,
        dialing=Dialing(trunks=("carrier",)),
        engine=EngineSettings(drain_timeout_s=5),
        tokens=Tokens(key_file=str(folder / "tokens.key")),
        imports=Imports(folder=str(folder / "imports")),
        retention=Retention(archive_folder=str(folder / "archive")),
        webhooks=Webhooks(allow_private_targets=True, allow_http=True),
    )
    return msgspec.structs.replace(settings, **overrides)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[World]:
    """The service, up and connected to its PBX."""
    service = Service(settings)
    await service.start()
    try:
        async with judged_session() as session:
            world = World(service, session)
            await world.until(lambda: service.engine.claims.pbx_up)
            yield world
    finally:
        await service.stop()
