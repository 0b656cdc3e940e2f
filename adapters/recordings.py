"""The folder of recordings, where this process may write: those of the erased are deleted."""

import re
from pathlib import Path

import structlog

NAME = re.compile(r"[A-Za-z0-9_-]{1,100}/[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{32}\.wav")
log = structlog.get_logger(__name__)


class Recordings:
    """`folder` None: nobody told where they are."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def remove(self, name: str) -> bool:
        """Delete a recording, as the call's record names it; whether it is gone by now. Blocks."""
        if self._folder is None or not NAME.fullmatch(name):
            return False
        root = self._folder.resolve()
        path = root / name
        if not path.parent.resolve().is_relative_to(root):  # a link that leads out of the folder leads nowhere
            return False
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.error("a recording can't be deleted", recording=name, error=error.strerror)
            return False
        return not path.exists()
