"""`python -m simulations pbx`: a simulated PBX to develop against, until interrupted."""

import asyncio
import signal
from pathlib import Path

from simulations.pbx.pbx import SimulatedPbx
from simulations.pbx.script import TYPICAL, Script
from simulations.pbx.session import User

REPORT_EVERY_S = 10


def serve(
    *,
    port: int = 5038,
    seed: int = 1,
    time_scale: float = 1.0,
    username: str = "ringfold",
    secret: str = "ringfold",  # noqa: S107 - of a simulation on the loopback
    typical: bool = False,
    segmented: bool = False,
    cel: Path | None = None,
) -> None:
    """Run a simulated PBX on the loopback.

    Parameters
    ----------
    port
        AMI port; 0 takes a free one.
    seed
        The same seed gives the same calls.
    time_scale
        Multiplies every duration: 0.1 makes calls ten times shorter.
    username
        The manager user.
    secret
        Its secret.
    typical
        Far ends answer, refuse and ring out as a typical list does; else the first digit of a number decides.
    segmented
        Send everything in small pieces, cut anywhere.
    cel
        File for the channel event log.
    """
    user = User(name=username, secret=secret)
    pbx = SimulatedPbx(
        Script(mix=TYPICAL if typical else None),
        seed=seed,
        time_scale=time_scale,
        users=[user],
        segmented=segmented,
        cel_path=cel,
    )
    asyncio.run(_serve(pbx, port))


async def _serve(pbx: SimulatedPbx, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(f"simulated PBX: AMI on 127.0.0.1:{await pbx.start(port)}", flush=True)
    said = ""
    while not stopped.is_set():
        try:
            await asyncio.wait_for(stopped.wait(), REPORT_EVERY_S)
        except TimeoutError:
            line = f"{pbx.exchange.dialled} dialled, {len(pbx.live)} channels, at most {pbx.peak_channels}"
            if line != said:
                print(said := line, flush=True)
    await pbx.stop()
