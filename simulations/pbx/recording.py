"""Recordings as MixMonitor makes them: a WAV file from the moment it starts, whose header is right only once it is closed.

What is in it isn't the conversation, for the simulated far ends say nothing: a tone, as long as was talked.
"""

import array
import math
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Final

FOLDER: Final = "ringfold"
RATE_HZ: Final = 8_000
TONE_HZ: Final = 400
AMPLITUDE: Final = 8_000
MAX_RECORDING_S: Final = 60
HEADER_OF_NOTHING: Final = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\x80>\0\0\2\0\x10\0data\0\0\0\0"


class Recordings:
    """Those of one PBX, in `monitor`/ringfold; without a folder none can be made. `now_s` is life's time of a call."""

    def __init__(self, monitor: Path | None, now_s: Callable[[], float]) -> None:
        self._monitor, self._now_s = monitor, now_s
        self._running: dict[str, tuple[Path, float]] = {}

    @property
    def can_be_made(self) -> bool:
        return self._monitor is not None

    def start(self, leg: str, name: str) -> None:
        assert self._monitor is not None
        path = Path(f"{self._monitor}/{FOLDER}/{re.sub(r'[^A-Za-z0-9_/-]', '', name)}.wav")  # by text, as it does it
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(HEADER_OF_NOTHING)
        self._running[leg] = (path, self._now_s())

    def stop(self, leg: str) -> None:
        """The leg is gone: what was heard is written out."""
        path, since_s = self._running.pop(leg, (None, 0.0))
        if path is None:
            return
        count = int(min(MAX_RECORDING_S, self._now_s() - since_s) * RATE_HZ)
        step = 2 * math.pi * TONE_HZ / RATE_HZ
        samples = array.array("h", (int(AMPLITUDE * math.sin(step * place)) for place in range(count)))
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(samples.itemsize)
            file.setframerate(RATE_HZ)
            file.writeframes(samples.tobytes())

    def lose(self) -> None:
        """The PBX died: what was being written stays as it is."""
        self._running.clear()
