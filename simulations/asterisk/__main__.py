"""`python -m simulations.asterisk install`: have a real Asterisk; `run`: keep one up until interrupted."""

import asyncio
import sys
import tempfile
from pathlib import Path

import cyclopts

from simulations.asterisk.installation import NotInstallable, install
from simulations.asterisk.site import Site

app = cyclopts.App(name="python -m simulations.asterisk", help="A real Asterisk on loopback, for tests and the demo.")


@app.command(name="install")
def install_() -> None:
    """Unpack Asterisk and sipp into the cache (RINGFOLD_CACHE, else ~/.cache/ringfold). Free when it is there."""
    print(f"Asterisk {install().version} in {install().root}")


@app.command
def run(agents: int = 8) -> None:
    """Start Asterisk with its carrier and agents' phones and print how to reach it."""
    with tempfile.TemporaryDirectory(prefix="ringfold-asterisk-") as folder:
        asyncio.run(_run(Path(folder), agents))


async def _run(folder: Path, agents: int) -> None:
    async with Site(folder, agents=agents) as site:
        pbx = site.asterisk
        print(f"Asterisk {pbx.version} in {folder}")
        print(f"AMI 127.0.0.1:{pbx.ami_port} user {pbx.username} secret {pbx.secret}")
        print(f"trunk {pbx.trunk}, phones {' '.join(pbx.phones)}; CEL {pbx.cel_path}")
        print("interrupt to stop", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        app()
    except NotInstallable as reason:
        sys.exit(f"no real Asterisk here: {reason}")
    except KeyboardInterrupt:
        sys.exit(130)
