"""The process that checks one file: `python -m adapters.importer FOLDER`, with JOB and SOURCE in the folder.

It says how far it is, a number a line, and ends when its standard input does: nobody waits for it any more then. Its
memory is bounded from inside, so that a hostile file ends this process and nothing else.
"""

import os
import resource
import sys
import threading
from pathlib import Path

import msgspec

from adapters.importer.check import Check
from adapters.importer.job import Job
from adapters.importer.limits import MAX_WORKERS
from adapters.importer.number import keep_patterns
from adapters.importer.spool import JOB

NICE = 10
"""The one who dials goes first."""


def main(folder: Path) -> int:
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    os.nice(NICE)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = job.max_memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if most < 0 else min(wanted, most), most))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_patterns()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    Check(folder, job, min(cores, MAX_WORKERS) if cores > 1 else 0, _tell).run()
    return 0


def _tell(rows: int) -> None:
    sys.stdout.write(f"{rows}\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    while os.read(0, 1):  # unbuffered: a lock held here would be in the way of the interpreter's own end
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
