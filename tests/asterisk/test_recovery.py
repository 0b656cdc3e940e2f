"""SIGKILL of the engine on the real Asterisk with calls in progress; `python -m simulations recovery` is the long one."""

from pathlib import Path

from rich.console import Console

from simulations.asterisk import Installation
from simulations.ordeal.recovery import recovery

CONTACTS = 2_000
CALLS = 4
ROUNDS = 2


async def test_EX_02_killed_with_live_calls_it_dials_on_and_leaves_no_ghost(
    tmp_path: Path, installation: Installation
) -> None:
    """
    Given calls in progress on a real Asterisk and an agent with a contact in hand,
    when the engine is killed and started, again and again,
    then that agent's next call is dialled by the PBX, the others go on, no channel is nobody's and every call ends.
    """
    found = await recovery(tmp_path, CONTACTS, CALLS, ROUNDS, False, 0, Console(quiet=True))
    assert [one.kept for one in found.rounds] == [CALLS] * ROUNDS
    assert all(one.dialled_s > 0 for one in found.rounds)  # after the death, by the PBX's own clock
    assert (found.ghosts, found.stuck) == (0, 0)
    assert found.is_whole
