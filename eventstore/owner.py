"""A name for who owns logs, by which another process on the same machine can prove that its bearer is dead.

It has the machine's boot, the process's namespace, its number there and the moment it began: two processes never have all of
these in common, whatever containers and hosts they run in. Nobody else's word is taken: a connection that went, or a lock
that came free with it, would tell the same of an owner who is only cut off, and who may act on its lease still.
"""

import os
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
APART = "/"
PARTS = 6
"""Host, boot, namespace, number, beginning, chance."""


class _Seen(NamedTuple):
    state: str
    began: str
    """Clock ticks after the boot."""


def this_process() -> str:
    """A new name at each call. Where the kernel doesn't tell enough it is a random one, of which nothing can be proved."""
    chance, place, seen = secrets.token_hex(8), _place(), _see(os.getpid())
    return APART.join((place, str(os.getpid()), seen.began, chance)) if place and seen else chance


def is_dead(owner: str) -> bool:
    """True is proof: no thread of that process runs any more, or ever will. False says nothing."""
    *place, pid, began, _ = owner.split(APART) if owner.count(APART) == PARTS - 1 else ("", "", "", "")
    if APART.join(place) != _place() or not (pid.isascii() and pid.isdigit() and int(pid)):
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # it is there, and another user's
    seen = _see(int(pid))
    if seen is None:
        return False
    return seen.began != began or (seen.state in "ZX" and _threads(int(pid)) == 1)


def _place() -> str:
    """Where process numbers mean what they mean here; "" where that isn't told."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
    return APART.join((socket.gethostname(), boot, namespace))


def _see(pid: int) -> _Seen | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return _Seen(fields[0], fields[19])
    except (OSError, IndexError):
        return None


def _threads(pid: int) -> int:
    try:
        return len(list((PROC / str(pid) / "task").iterdir()))
    except OSError:
        return 0
