"""All calls of a campaign. They may be millions, and nearly all have ended: those are packed, and put away after a while."""

from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from engine.core.blocks import Attic, Blocks
from engine.core.call import Call, CallStatus
from engine.core.table import PAGE_ROWS, Index, Rows

KEPT_PAGES = 64
"""Of the latest calls, as they are: something is still noted down of a call that has just ended."""
PUT_AWAY_PAGES = 16
"""At a time, for each that fills up: some hundreds of microseconds."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Call).decode


class _Id(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row's beginning."""

    id: str


_id = msgspec.msgpack.Decoder(_Id).decode


class StillCalls(msgspec.Struct, frozen=True):
    """A ledger at one moment: pages of rows and buckets of the index, as `table` has them, and the calls that had not ended."""

    rows: Blocks
    index: Blocks
    live: list[Call]


class Ledger(Mapping[str, Call]):
    """Calls by id, in the order in which they were asked for."""

    def __init__(self, still: StillCalls | None = None) -> None:
        """`still`: a ledger that was so; its parts are this one's from now on."""
        self._rows = Rows(still.rows if still is not None else None)
        self._index = Index(blocks=still.index if still is not None else None)
        self._live: dict[str, tuple[int, Call]] = {}
        """Those that haven't ended, with their rows: there only their ids stand yet."""
        self._seen: Call | None = None
        """The last one that was packed or unpacked: who looks at a call does so several times."""
        self.attic: Attic | None = None
        """Where those go that ended a while ago; None: they stay. Set it before calls are put."""
        self._put_away_to = self._rows.first_here
        """Pages before this one were put away, or stand packed since a start, but for those in `_here`."""
        self._here: dict[int, None] = {}
        """Pages to put away, in their order."""
        for call in still.live if still is not None else ():
            self.put(call)

    def __getitem__(self, name: str) -> Call:
        found = self.found(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._live or name in self._index)

    def __iter__(self) -> Iterator[str]:
        return (_id(row).id for _, row in self._rows.read())

    def __len__(self) -> int:
        return len(self._rows)

    def found(self, name: str) -> Call | None:
        """As `get`, which asks by way of an exception."""
        live = self._live.get(name)
        if live is not None:
            return live[1]
        seen = self._seen
        if seen is not None and seen.id == name:
            return seen
        row = self._index.number(name)
        if row is None:
            return None
        if self.attic is not None:
            self._here.update(dict.fromkeys(self._rows.packed_with(row // PAGE_ROWS)))
        self._seen = _decode(self._rows[row])
        return self._seen

    def put(self, call: Call) -> None:
        """Add a call, or what became of it."""
        live = self._live.get(call.id)
        row = live[0] if live is not None else self._index.number(call.id)
        if row is None:
            row = self._rows.append(_encode(_Id(call.id)))
            self._index.add_number(call.id, row)
            if self.attic is not None and self._rows.pages > self._put_away_to + KEPT_PAGES:
                self._put_away(self.attic)
        if call.status is CallStatus.ENDED:
            page = row // PAGE_ROWS
            if self.attic is not None and page < self._put_away_to:  # to write it brings its page back
                self._here.update(dict.fromkeys((page, *self._rows.packed_with(page))))
            self._rows[row], self._seen = _encode(call), call
            self._live.pop(call.id, None)
        else:
            self._live[call.id] = row, call

    def _put_away(self, attic: Attic) -> None:
        """Pages of calls that have all ended, some at a time: who asked for a call waits for it."""
        end = self._rows.pages - KEPT_PAGES
        self._here.update(dict.fromkeys(range(self._put_away_to, end)))
        self._put_away_to = end
        live = {row // PAGE_ROWS for row, _ in self._live.values()}
        for page in list(islice(self._here, PUT_AWAY_PAGES)):
            if page not in live and not self._rows.put_away(page, attic):
                break
            del self._here[page]
            if page in live:
                self._here[page] = None  # behind the others

    def page(self, start: int, end: int) -> list[Call]:
        """Those from one place to before another."""
        rows = (row for _, row in self._rows.read(start, end))
        return [live[1] if (live := self._live.get(_id(row).id)) is not None else _decode(row) for row in rows]

    def open_some(self) -> bool:
        """Some of the index that is packed since a start; rows are left so. Whether there was any."""
        return self._index.open_some()

    def still(self) -> StillCalls:
        """As it is now: quick, for nothing is unpacked."""
        return StillCalls(self._rows.still(), self._index.still(), [call for _, call in self._live.values()])
