"""Channel event log: what the PBX writes down by itself, whether anybody listens or not.

One CSV row an event, in the columns of the shipped cel_custom.conf: uniqueid, event, time, extra, channel.
"""

from pathlib import Path
from typing import TextIO

import msgspec


class Cel:
    """Writes to `path`, each row at once, as a reader may come at any time; to nowhere when there is none."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", buffering=1, newline="\n")

    def write(self, uid: str, event: str, at_s: float, channel: str, **extra: str | int) -> None:
        if self._file is None:
            return
        text = msgspec.json.encode(extra).decode().replace('"', '""') if extra else ""
        self._file.write(f'"{uid}","{event}","{at_s:.6f}","{text}","{channel}"\n')

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
