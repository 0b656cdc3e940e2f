"""Where the streams of a log stand: most of them are done with, and there may be a million of a campaign's contacts and calls.

Those that events came to lately are at hand in a dictionary; the others are in few bytes each.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping

from engine.core.table import Table, kept, read_back

RECENT_STREAMS = 65_536
VERSION_BYTES = 4
STREAMS = "streams"


class Versions:
    def __init__(self, table: Table | None = None) -> None:
        self._recent: OrderedDict[str, int] = OrderedDict()
        self._table = table if table is not None else Table()

    def get(self, stream: str) -> int:
        """A stream's version, 0 where it doesn't exist."""
        known = self._recent.get(stream)
        if known is None:
            known = int.from_bytes(self._table.get(stream) or b"", "little") if len(self._table) else 0
        return known

    def update(self, versions: Mapping[str, int]) -> None:
        self._recent.update(versions)
        if len(self._recent) > RECENT_STREAMS:
            self._put_by(self._recent.popitem(last=False) for _ in range(len(self._recent) - RECENT_STREAMS))

    def _put_by(self, versions: Iterable[tuple[str, int]]) -> None:
        for stream, version in versions:
            self._table.put(stream, version.to_bytes(VERSION_BYTES, "little"))

    def still(self) -> "Versions":
        """As they are now."""
        versions = Versions(self._table.still())
        versions._recent = self._recent.copy()
        return versions

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Parts of a snapshot. From any thread, of what `still` gave."""
        self._put_by(self._recent.items())
        yield from kept(STREAMS, self._table)

    @classmethod
    def read_back(cls, parts: Mapping[str, bytes]) -> "Versions":
        """Raises KeyError where a part is missing."""
        return cls(read_back(STREAMS, parts))
