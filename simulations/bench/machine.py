"""What this machine does in the time that the other figures are told in: so that tables of two machines can be compared.

Nothing of ours is in it: a piece of plain Python, a piece of C called from it, a message to oneself by way of the kernel, a
word from one thread to another, and 4 KiB made durable.
"""

import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from simulations.bench.figure import Figures, Rounds, Say, Scale, quantile
from simulations.bench.latency import fsyncs_ms

TURNS = 2_000
DOCUMENT = {"agent": "a1", "numbers": ["+34600000001", "+34910000001"], "at": 1_700_000_000_000, "tags": {"a": "b"}}


class _Held:
    def __init__(self, ref: str, rank: int) -> None:
        self.ref, self.rank = ref, rank


def plain(turns: int) -> None:
    """Objects made, looked up, compared, and let go: what an interpreter spends its time with."""
    held: dict[str, _Held] = {}
    for number in range(turns):
        ref = f"crm:{number % 97}"
        before = held.get(ref)
        rank = number if before is None else before.rank + 1
        held[ref] = _Held(ref, rank)
        sorted((rank, number, 7), key=lambda one: -one)


def documents(turns: int) -> None:
    for _ in range(turns):
        json.loads(json.dumps(DOCUMENT))


def messages(turns: int) -> None:
    there, here = socket.socketpair()
    with there, here:
        for _ in range(turns):
            there.send(b"Action: Ping\r\n\r\n")
            here.recv(64)


def words(turns: int) -> None:
    """There and back again."""
    asked, told = SimpleQueue[int](), SimpleQueue[int]()

    def answer() -> None:
        for _ in range(turns):
            told.put(asked.get())

    thread = threading.Thread(target=answer)
    thread.start()
    for number in range(turns):
        asked.put(number)
        told.get()
    thread.join()


WORK: dict[str, tuple[str, Callable[[int], None]]] = {
    "machine_python_us": ("a piece of plain Python", plain),
    "machine_json_us": ("a small document to JSON and back", documents),
    "machine_message_us": ("a message through the kernel", messages),
    "machine_thread_us": ("a word to another thread and back", words),
}


def _us(work: Callable[[int], None], seconds: float) -> float:
    """A turn of it, the least of several tries: other processes only add."""
    least, end = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        work(TURNS)
        now = time.perf_counter()
        least = min(least, (now - began) / TURNS * 1e6)
        if now >= end:
            return least


def measure(scale: Scale, say: Say) -> Figures:
    made = Rounds()
    for _ in range(scale.rounds):
        for key, (name, work) in WORK.items():
            made.add(key, name, "µs", _us(work, min(0.5, scale.seconds)))
        with tempfile.TemporaryDirectory(prefix="ringfold-bench-") as folder:
            made.add(
                "machine_fsync_ms",
                "4 KiB durable",
                "ms",
                quantile(fsyncs_ms(Path(folder), min(1.0, scale.seconds)), 0.5),
            )
        say(made.last(*WORK, "machine_fsync_ms"))
    return made.figures
