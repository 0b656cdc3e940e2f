"""The main job on a real Asterisk: SIP phones for the agents, a SIP carrier for the contacts, nothing simulated but people."""

from pathlib import Path

from rich.console import Console

from simulations.asterisk import Site, install
from simulations.demo import Demo, Plan, engine_settings
from simulations.desk import Habits
from simulations.engine_process import EngineProcess

FIRST_DIGITS = "626745"
"""What the carrier makes of the numbers: mostly short talks; busy, rejected, congestion, invalid between them."""


async def real(contacts: int, agents: int, seed: int, folder: Path, console: Console) -> bool:
    """One run against an Asterisk of our own on free loopback ports. Raises NotInstallable where none can be had."""
    site = Site(folder / "site", agents=agents, installation=install(say=console.print))
    plan = Plan(
        contacts=contacts,
        agents=agents,
        seed=seed,
        speed=1,
        habits=Habits(look_s=0.3, wrapup_s=0.2, lapse=0),
        settings={"reservation_timeout_s": 30, "ring_timeout_s": 15},
        digits=FIRST_DIGITS,
    )
    async with site:
        pbx = site.asterisk
        console.print(f"Asterisk {pbx.version} runs on loopback, its phones and carrier answer")
        ami = {
            "host": "127.0.0.1",
            "port": pbx.ami_port,
            "username": pbx.username,
            "secret": pbx.secret,
            "cel_path": str(pbx.cel_path),
        }
        engine = EngineProcess(folder, engine_settings(ami, [pbx.trunk]))
        try:
            await engine.start()
            return await Demo(plan, engine, [f"agent{n}" for n in range(1, agents + 1)], console).run()
        finally:
            await engine.stop()
