"""All calls of a campaign: the live ones as they are, those that ended packed. A campaign may have had a million."""

from collections.abc import Iterable, Iterator, MutableMapping

import msgspec

from engine.core.call import Call, CallStatus
from engine.core.table import Table

_Row = msgspec.defstruct(
    "_Row", [(one.name, one.type) for one in msgspec.structs.fields(Call)], array_like=True, frozen=True
)
_encoder = msgspec.msgpack.Encoder()
_row = msgspec.msgpack.Decoder(_Row)


def pack(call: Call) -> bytes:
    return _encoder.encode(_Row(*msgspec.structs.astuple(call)))


def unpack(packed: bytes) -> Call:
    return Call(**msgspec.structs.asdict(_row.decode(packed)))


class Calls(MutableMapping[str, Call]):
    """By id, in the order in which they were asked for."""

    def __init__(self, table: Table | None = None, open_: Iterable[Call] = ()) -> None:
        self.table = table if table is not None else Table()
        """Of those that have not ended the rows are empty."""
        self.open = {one.id: one for one in open_}

    def __getitem__(self, call: str) -> Call:
        known = self.get(call)
        if known is None:
            raise KeyError(call)
        return known

    def get(self, call: str, default: Call | None = None) -> Call | None:  # type: ignore[override]
        known = self.open.get(call)
        if known is not None:
            return known
        packed = self.table.get(call)
        return unpack(packed) if packed else default

    def __contains__(self, call: object) -> bool:
        return call in self.open or call in self.table

    def __setitem__(self, call: str, state: Call) -> None:
        if state.status is CallStatus.ENDED:
            self.table.put(call, pack(state))
            self.open.pop(call, None)
            return
        if call not in self.open:
            self.table.put(call, b"")
        self.open[call] = state

    def __delitem__(self, call: str) -> None:
        raise TypeError("a call that was is never undone")

    def clear(self) -> None:
        self.table, self.open = Table(), {}

    def __iter__(self) -> Iterator[str]:
        return self.table.names()

    def __len__(self) -> int:
        return len(self.table)

    def page(self, start: int, end: int) -> list[Call]:
        """Those at these places in order, from 0 on."""
        names = (self.table.name(place) for place in range(start, end))
        return [self[name] for name in names]

    def ended(self) -> Iterator[Call]:
        return (unpack(row) for _, row in self.table.items() if row)
