"""The main job, seen: a preview campaign from a CSV to its last disposition, told by notifications alone.

The engine runs as a process of its own. This side plays everybody else: the PBX (simulated, or a real Asterisk with real
SIP phones), the campaign manager with its webhook receiver, and the agents at their desks.
"""

import asyncio
import base64
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from api.token import Role
from simulations.client import Client
from simulations.desk import Agent, Habits, Switchboard
from simulations.engine_process import EngineProcess
from simulations.people import read_csv, write_csv
from simulations.receiver import Receiver, Table

CAMPAIGN = "spring-renewals"
UPLOAD_ROWS = 500
LIMIT_S = 900


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    contacts: int
    agents: int
    seed: int
    speed: int
    habits: Habits
    settings: dict[str, Any]
    digits: str = ""


class Demo:
    """One run. `table` fills from notifications only."""

    def __init__(self, plan: Plan, engine: EngineProcess, phones: list[str], console: Console) -> None:
        self.plan, self.engine, self.console = plan, engine, console
        self.phones = phones
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.receiver = Receiver(self.secret)
        self.board = Switchboard()
        self.desks: list[Agent] = []
        self.digest_live = ""

    @property
    def table(self) -> Table:
        return self.receiver.tables.setdefault(CAMPAIGN, Table())

    async def run(self) -> bool:
        """The whole job; False if anything doesn't add up."""
        started = time.monotonic()
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await self.receiver.start()
            stack.push_async_callback(self.receiver.stop)
            manager = self.engine.client(session, Role.CAMPAIGN_MANAGER, "manager")
            admin = self.engine.client(session, Role.ADMINISTRATOR, "operator")
            await self._prepare(admin, manager)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(manager), name="feed")
                display = group.create_task(self._show(), name="display")
                for desk in await self._seat(session):
                    group.create_task(desk.work(), name=desk.name)
                await manager.call("PATCH", f"/v1/campaigns/{CAMPAIGN}", {"state": "running"})
                async with asyncio.timeout(LIMIT_S):
                    await self.board.stopped.wait()
                    await self._caught_up(manager)
                for task in (listening, display):
                    task.cancel()
            self.digest_live = (await admin.call("GET", f"/v1/campaigns/{CAMPAIGN}/digest"))["digest"]
        await self.engine.stop()
        return await self._summary(time.monotonic() - started)

    async def _prepare(self, admin: Client, manager: Client) -> None:
        """Everything a campaign manager's software does before it presses start."""
        csv_path = self.engine.folder / "contacts.csv"
        write_csv(csv_path, CAMPAIGN, self.plan.contacts, self.plan.seed, self.plan.digits)
        await admin.call("PUT", "/v1/webhooks/manager", {"url": self.receiver.url, "secret": self.secret})
        body = {"name": "Spring renewals", "mode": "preview", "settings": self.plan.settings}
        await manager.call("PUT", f"/v1/campaigns/{CAMPAIGN}", body)
        rows = read_csv(csv_path)
        for start in range(0, len(rows), UPLOAD_ROWS):
            result = await manager.ndjson(f"/v1/campaigns/{CAMPAIGN}/contacts", rows[start : start + UPLOAD_ROWS])
            if result["rejected"]:
                raise RuntimeError(
                    f"rows refused: {[one for one in result['results'] if one['status'] == 'rejected'][:3]}"
                )
        numbers = sum(len(row["numbers"]) for row in rows)
        self.console.print(f"imported {len(rows)} contacts with {numbers} numbers from {csv_path.name}")
        for phone in self.phones:
            await admin.call("PUT", f"/v1/agents/{phone}", {"name": phone.title(), "phone": phone})
            line = "on_demand" if phone.endswith("0") else "nailed"
            await manager.call("PUT", f"/v1/campaigns/{CAMPAIGN}/agents/{phone}", {"line": line})

    async def _seat(self, session: aiohttp.ClientSession) -> list[Agent]:
        self.desks = [
            Agent(
                phone,
                self.engine.client(session, Role.AGENT, phone),
                self.board,
                self.plan.habits,
                self.plan.seed,
            )
            for phone in self.phones
        ]
        return self.desks

    async def _listen(self, manager: Client) -> None:
        async for event in manager.events(f"after=&campaign={CAMPAIGN}&types=call.ended,campaign.status"):
            self.board.take(event)

    async def _caught_up(self, manager: Client) -> None:
        """The receiver has been told everything that the feed holds."""
        cursor, last_seq = "", 0
        while True:
            page = await manager.call("GET", f"/v1/events?after={cursor}&campaign={CAMPAIGN}&limit=1000")
            if not page["events"]:
                break
            cursor, last_seq = page["cursor"], page["events"][-1]["seq"]
        while self.table.next_seq <= last_seq:
            await asyncio.sleep(0.05)

    # -- what one sees ------------------------------------------------------------------------------------------------

    async def _show(self) -> None:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )
        bar = progress.add_task("contacts done", total=self.plan.contacts)
        reported = 0
        with Live(console=self.console, refresh_per_second=5, transient=True) as live:
            while True:
                progress.update(bar, completed=len(self.table.final))
                live.update(Group(progress, self._now()))
                step = len(self.table.final) * 10 // self.plan.contacts
                if not self.console.is_terminal and step > reported:
                    reported = step
                    self.console.print(
                        f"{step * 10:3} % of contacts done, {len(self.table.ended)} calls, {self.table.state}"
                    )
                await asyncio.sleep(0.2)

    def _now(self) -> Grid:
        grid = Grid.grid(padding=(0, 3))
        states: dict[str, int] = {}
        for state in self.table.agents.values():
            states[state] = states.get(state, 0) + 1
        live = len(self.table.requested) - len(self.table.ended)
        grid.add_row("campaign", self.table.state)
        grid.add_row("calls", f"{len(self.table.ended)} ended, {live} live")
        grid.add_row("agents", "  ".join(f"{count} {state}" for state, count in sorted(states.items())))
        grid.add_row("outcomes", "  ".join(f"{count} {name}" for name, count in self.table.outcomes.most_common()))
        return grid

    async def _summary(self, seconds: float) -> bool:
        table, say = self.table, self.console.print
        positions = sorted({number for number, _ in table.by_number})
        outcomes = Grid("outcome", "attempts", *(f"number {one}" for one in positions), title="attempts")
        for name, count in table.outcomes.most_common():
            outcomes.add_row(name, str(count), *(str(table.by_number[one, name]) for one in positions))
        say(outcomes)
        agents = Grid("agent", "calls", "talk", title="agents", show_lines=False)
        for name in sorted(table.agents, key=lambda one: (len(one), one)):
            agents.add_row(name, str(table.calls_of[name]), f"{table.talk_ms[name] / 1_000:.1f} s")
        say(agents)
        say("dispositions: " + ", ".join(f"{count} {name}" for name, count in table.dispositions.most_common()))
        say("released: " + (", ".join(f"{count} {name}" for name, count in table.releases.most_common()) or "none"))
        say("campaign told: " + " → ".join(table.states))
        code, replayed = await self.engine.command("verify", f"campaign/{CAMPAIGN}")
        same = self.digest_live in replayed and code == 0
        checks = {
            f"{self.receiver.received} notifications, each signed, in order, none missing"
            f" ({self.receiver.repeated} repeated, {self.receiver.out_of_order} out of order,"
            f" {self.receiver.forged} forged)": not (self.receiver.out_of_order or self.receiver.forged),
            f"{len(table.final)} of {self.plan.contacts} contacts final": len(table.final) == self.plan.contacts,
            f"{len(table.requested)} calls requested, {len(table.ended)} ended with one outcome each": (
                table.requested <= table.ended and sum(table.outcomes.values()) == len(table.ended)
            ),
            "every agent logged out": set(table.agents.values()) == {"offline"},
            f"replay of the log equals the live state ({self.digest_live[:12]}…)": same,
        }
        for text, holds in checks.items():
            say(f"[{'green]ok   ' if holds else 'red]FAULT'}[/] {text}", highlight=False)
        good = all(checks.values())
        say(f"{'done' if good else 'FAILED'} in {seconds:.1f} s; the log is in {self.engine.folder}")
        return good


@asynccontextmanager
async def work_folder(keep: Path | None) -> AsyncIterator[Path]:
    if keep is not None:
        shutil.rmtree(keep, ignore_errors=True)
        keep.mkdir(parents=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="ringfold-demo-") as folder:
        yield Path(folder)


async def simulated(contacts: int, agents: int, seed: int, speed: int, folder: Path, console: Console) -> bool:
    """The main job against the simulated PBX, `speed` times faster than life."""
    from simulations.pbx import SimulatedPbx
    from simulations.pbx.script import TYPICAL, Script

    mix = msgspec.structs.replace(TYPICAL, talk_ms_least=10_000, talk_ms_mean=35_000)
    pbx = SimulatedPbx(Script(mix=mix), seed=seed, time_scale=1 / speed)
    port = await pbx.start()
    plan = Plan(
        contacts=contacts,
        agents=agents,
        seed=seed,
        speed=speed,
        habits=Habits(look_s=20 / speed, wrapup_s=30 / speed),
        settings={"reservation_timeout_s": 2, "max_lines": agents},
    )
    ami = {"host": "127.0.0.1", "port": port, "username": pbx.username, "secret": pbx.secret}
    engine = EngineProcess(folder, engine_settings(ami, ["carrier"]))
    try:
        await engine.start()
        phones = [f"agent{number}" for number in range(1, agents + 1)]
        return await Demo(plan, engine, phones, console).run()
    finally:
        await engine.stop()
        await pbx.stop()


def engine_settings(ami: dict[str, Any], trunks: list[str]) -> dict[str, dict[str, Any]]:
    return {
        "ami": {**ami, "max_originates_per_second": 500},
        "dialing": {"trunks": trunks, "max_calls_in_setup": 200},
        "webhooks": {"allow_private_targets": True, "allow_http": True},
        "log": {"level": "info", "json": True},
    }


def main(
    *,
    contacts: int = 0,
    agents: int = 0,
    seed: int = 7,
    speed: int = 150,
    asterisk: bool = False,
    folder: Path | None = Path("var/demo"),
) -> int:
    """Run the main job: `asterisk` takes the real PBX and SIP phones instead of the simulated one."""
    console = Console()

    async def run() -> bool:
        async with work_folder(folder) as where:
            console.print(
                "starting the engine on SQLite with " + ("a real Asterisk" if asterisk else "the simulated PBX")
            )
            if asterisk:
                from simulations.demo_asterisk import real

                return await real(contacts or 20, agents or 3, seed, where, console)
            return await simulated(contacts or 1_000, agents or 20, seed, speed, where, console)

    with suppress(KeyboardInterrupt):
        return 0 if asyncio.run(run()) else 1
    return 130
