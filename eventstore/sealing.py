"""Sealing ahead: personal data of many people sealed by a process of its own, before it comes to the log.

`python -m eventstore.sealing` reads people from its standard input and answers each list of them with as many seals, in frames
of a length and MessagePack. It ends when its input does; a Ctrl-C is for the service alone, which may still need it. Keys are
made there, and never written down but by the log. Nobody depends on it: what isn't sealed when it is encoded is sealed then.
"""

import asyncio
import contextlib
import os
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import msgspec
import structlog

from engine.core.personal import Details, Person, Seal
from eventstore.codec import sealed
from eventstore.keys import new_key

LENGTH = struct.Struct("<I")
NICE = 10
"""The one who dials goes first."""
READ_BYTES = 1024 * 1024
SEAL_WITHIN_S = 10
"""One list of people, with the process's own start before the first: it may be stopped, or starved."""
HANDED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What of the environment goes to it: no secrets."""

log = structlog.get_logger(__name__)
_encoder = msgspec.msgpack.Encoder()
_people = msgspec.msgpack.Decoder(list[tuple[str, Details]])
_seals = msgspec.msgpack.Decoder(list[Seal])


class Sealing:
    """Implements engine.ports.Sealing: use it as a context, for as long as many people come."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._is_free = False
        """Nothing is on its way: what was asked before is answered."""

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "eventstore.sealing")
        environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=environment, limit=READ_BYTES, start_new_session=True
            )
            self._is_free = True
        except OSError as error:
            log.warning("nothing is sealed ahead", error=str(error))
        return self

    async def __aexit__(self, *_: object) -> None:
        process, self._process, self._is_free = self._process, None, False
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it went by itself
            process.kill()
        await process.wait()

    async def seal(self, people: Sequence[Person]) -> None:
        process = self._process
        if process is None or not self._is_free or not people:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._is_free = False  # and stays so where this is cancelled: the answer would be taken for the next one's
        try:
            asked = _encoder.encode([(one.subject, one.details) for one in people])
            async with asyncio.timeout(SEAL_WITHIN_S):
                process.stdin.writelines((LENGTH.pack(len(asked)), asked))
                await process.stdin.drain()
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                answer = await process.stdout.readexactly(length)
            seals = _seals.decode(answer)
        except (OSError, EOFError, ValueError) as error:
            log.warning("nothing is sealed ahead any more", error=repr(error))
            return
        self._is_free = True
        for one, seal in zip(people, seals, strict=True):
            one.seal = seal


def main() -> int:
    _give_way()
    while (asked := _read(sys.stdin.buffer)) is not None:
        keyed = ((subject, details, new_key()) for subject, details in _people.decode(asked))
        answer = _encoder.encode([(key, sealed(subject, details, key)) for subject, details, key in keyed])
        sys.stdout.buffer.write(LENGTH.pack(len(answer)) + answer)
        sys.stdout.buffer.flush()
    return 0


def _give_way() -> None:
    os.nice(NICE)
    # Linux may share the cores out by session first, and niceness counts within one only: the session has its own.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE), "ascii")


def _read(stream: IO[bytes]) -> bytes | None:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


if __name__ == "__main__":
    raise SystemExit(main())
