"""Workers of one check: processes that each check runs of rows, so that a long file has all cores.

`python -m adapters.importer.worker` reads the job and the header from its standard input, then runs of rows, and answers
each with what came of it, in frames of a length and MessagePack. It ends when its input does. Limits of memory and the low
priority are those of the process that started it.
"""

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from typing import IO, NamedTuple

import msgspec

from adapters.importer.job import LENGTH, Job
from adapters.importer.number import fast_library, keep_patterns
from adapters.importer.part import Part, PartCheck, Rows
from adapters.importer.text_file import Unreadable

_encoder = msgspec.msgpack.Encoder()
_rows = msgspec.msgpack.Decoder(list[tuple[int, list[str]]])
_part = msgspec.msgpack.Decoder(Part)


class Opening(NamedTuple):
    job: Job
    header: list[str]


class Workers:
    """As many processes, each with one run of rows at a time. Close them, whatever happens."""

    def __init__(self, count: int, job: Job, header: list[str]) -> None:
        command = [sys.executable, "-m", "adapters.importer.worker"]
        self._all = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ourselves
            for _ in range(count)
        ]
        for one in self._all:
            _send(one.stdin, _encoder.encode(Opening(job, header)))

    def checked(self, runs: Iterator[Rows]) -> Iterator[Part]:
        """What came of each run, in order. What ends the reading is raised behind all that was read before."""
        free, busy = deque(self._all), deque[subprocess.Popen[bytes]]()
        fault: Unreadable | None = None
        try:
            for rows in runs:
                if not free:
                    yield _answer(busy[0])
                    free.append(busy.popleft())
                one = free.popleft()
                _send(one.stdin, _encoder.encode(rows))
                busy.append(one)
        except Unreadable as error:
            fault = error
        while busy:
            yield _answer(busy.popleft())
        if fault is not None:
            raise fault

    def close(self) -> None:
        for one in self._all:
            one.kill()
            one.wait()


def _send(stream: IO[bytes] | None, data: bytes) -> None:
    assert stream is not None
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _answer(worker: subprocess.Popen[bytes]) -> Part:
    assert worker.stdout is not None
    data = _read(worker.stdout)
    if data is None:
        raise RuntimeError(f"a worker ended by itself: {worker.wait()}")  # its own last words are on our stderr
    return _part.decode(data)


def main() -> int:
    keep_patterns()
    opening = _read(sys.stdin.buffer)
    if opening is None:
        return 1
    job, header = msgspec.msgpack.decode(opening, type=Opening)
    check = PartCheck(job, header, fast_library())
    while (data := _read(sys.stdin.buffer)) is not None:
        _send(sys.stdout.buffer, _encoder.encode(check.check(_rows.decode(data))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
