"""A check in a process of its own: started, watched, and ended when it takes too long or nobody wants it any more."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import structlog

from adapters.importer.spool import FINDINGS

LAST_WORDS_BYTES = 2_000
HANDED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONTZPATH")
"""What of the environment goes to a process that reads hostile files: no secrets."""
log = structlog.get_logger(__name__)


class CheckFailed(Exception):
    """The file was not checked to its end. Says why."""


async def checked(folder: Path, max_check_s: int, tell: Callable[[int], None]) -> None:
    """Run the check of a folder to its end. Raises CheckFailed; cancelled, it ends the process."""
    (folder / FINDINGS).unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapters.importer", str(folder)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={name: os.environ[name] for name in HANDED_ON if name in os.environ},
    )
    try:
        async with asyncio.timeout(max_check_s):
            _, words, _ = await asyncio.gather(_follow(process, tell), _last_words(process), process.wait())
    except TimeoutError:
        raise CheckFailed(f"checking it took longer than {max_check_s} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    status = await process.wait()
    if status != 0 or not (folder / FINDINGS).exists():
        log.warning("a check ended by itself", status=status, words=words)
        if status < 0 or "MemoryError" in words:
            raise CheckFailed("checking it took too much memory: maybe a cell stands far away from the others")
        raise CheckFailed("it can't be checked; the operator's log has the reason")


async def _follow(process: asyncio.subprocess.Process, tell: Callable[[int], None]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        if line.strip().isdigit():
            tell(int(line))


async def _last_words(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    last = b""
    while block := await process.stderr.read(LAST_WORDS_BYTES):
        last = (last + block)[-LAST_WORDS_BYTES:]
    return last.decode(errors="replace")
