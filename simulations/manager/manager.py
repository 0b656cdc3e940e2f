"""The campaign manager at work: its clicks are commands, its table is what notifications say."""

import asyncio
from collections.abc import Callable
from typing import Any

from simulations.client import Client, Problem, Restored
from simulations.manager.judge import Judge
from simulations.manager.overview import Row

PATIENCE_S = 60.0


class CampaignManager:
    """`follow` runs beside the clicks for as long as the manager does; every click returns before anything has changed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.judge = Judge()
        self._told = asyncio.Condition()

    @property
    def rows(self) -> dict[str, Row]:
        return self.judge.overview.rows

    async def follow(self) -> None:
        """The feed from where the table ends, across restarts of the service; after a restore from the beginning."""
        while True:
            try:
                async for told in self._client.follow("", after=self.judge.overview.cursor):
                    self.judge.take(told)
                    async with self._told:
                        self._told.notify_all()
            except Restored:
                self.judge = Judge(self.judge.faults)

    # -- clicks -------------------------------------------------------------------------------------------------------

    async def create(self, ref: str, name: str, settings: dict[str, Any] | None = None) -> None:
        """Raises Problem. The ref is the manager's own, never used before: its database key, for one."""
        body: dict[str, Any] = {"name": name, "mode": "preview"}
        await self._client.call("PUT", f"/v1/campaigns/{ref}", body | ({"settings": settings} if settings else {}))

    async def start(self, ref: str) -> str:
        """Always clickable. The refusal's code, "" where the command was taken: what comes of it is told."""
        return await self._click("PATCH", ref, {"state": "running"})

    async def stop(self, ref: str) -> str:
        """As `start`."""
        return await self._click("PATCH", ref, {"state": "stopped"})

    async def delete(self, ref: str) -> str:
        """Of a campaign that is created or stopped."""
        return await self._click("DELETE", ref, None)

    async def remove(self, ref: str) -> None:
        """The recipe: stop; wait for the notification that says stopped; delete; wait for the one that says deleted.

        Raises Problem, and TimeoutError where calls live longer than the patience.
        """
        await self.until(ref, lambda row: bool(row.state))
        if self.rows[ref].state not in ("created", "stopped", "deleted"):
            await self.stop(ref)
            await self.until(ref, lambda row: row.state == "stopped")
        while self.rows[ref].state != "deleted":
            await self._delete_what_is_stopped(ref)

    async def _delete_what_is_stopped(self, ref: str) -> None:
        """What was told may be older than the last click: a campaign that was just started is stopped once more."""
        known = self.rows[ref].seq
        try:
            await self._client.call("DELETE", f"/v1/campaigns/{ref}")
        except Problem as problem:
            if problem.code != "campaign-not-stopped":
                raise
            await self.stop(ref)
            await self.until(ref, lambda row: row.state == "stopped" and row.seq > known)
            return
        await self.until(ref, lambda row: row.state == "deleted")

    async def _click(self, method: str, ref: str, body: dict[str, Any] | None) -> str:
        try:
            await self._client.call(method, f"/v1/campaigns/{ref}", body)
        except Problem as problem:
            return problem.code
        return ""

    # -- what is told -------------------------------------------------------------------------------------------------

    async def until(self, ref: str, holds: Callable[[Row], bool]) -> Row:
        """The row, once notifications have made it so."""
        async with asyncio.timeout(PATIENCE_S), self._told:
            await self._told.wait_for(lambda: ref in self.rows and holds(self.rows[ref]))
            return self.rows[ref]

    async def differences(self) -> list[str]:
        """After its own data was lost, or from time to time: where the dialer's list is not what the table says.

        What is under way may differ for a moment.
        """
        listed = await self._listed()
        mine = {ref: (row.state, row.name) for ref, row in self.rows.items() if row.state != "deleted"}
        refs = sorted(listed.keys() | mine.keys())
        return [f"{ref}: {listed.get(ref)}, not {mine.get(ref)}" for ref in refs if listed.get(ref) != mine.get(ref)]

    async def _listed(self) -> dict[str, tuple[str, str]]:
        listed: dict[str, tuple[str, str]] = {}
        after: str | None = ""
        while after is not None:
            page = await self._client.call("GET", f"/v1/campaigns?after={after}")
            listed |= {one["ref"]: (one["state"], one["name"]) for one in page["campaigns"]}
            after = page["next"]
        return listed
