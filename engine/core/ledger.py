"""All calls of a campaign. They may be millions, and nearly all have ended: those are kept packed."""

from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from engine.core.call import Call, CallStatus

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Call).decode


class Ledger(Mapping[str, Call]):
    """Calls by id, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.rows: dict[str, Call | bytes] = {}
        self._seen: Call | None = None
        """The last one that was packed or unpacked: who looks at a call does so several times."""

    def __getitem__(self, name: str) -> Call:
        found = self.found(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def found(self, name: str) -> Call | None:
        """As `get`, which asks by way of an exception."""
        row = self.rows.get(name)
        if not isinstance(row, bytes):
            return row
        seen = self._seen
        if seen is None or seen.id != name:
            seen = self._seen = unpack(name, row)
        return seen

    def put(self, call: Call) -> None:
        """Add a call, or what became of it."""
        if call.status is CallStatus.ENDED:
            self.rows[call.id], self._seen = pack(call), call
        else:
            self.rows[call.id] = call

    def page(self, start: int, end: int) -> list[Call]:
        """Those from one place to before another. They are found from the nearer end, by a walk in C: some milliseconds for a
        million calls."""
        count = len(self.rows)
        if start < count - end:
            return [self[name] for name in islice(self.rows, start, end)]
        names = islice(reversed(self.rows), count - end, count - start)
        return [self[name] for name in reversed(list(names))]

    def clear(self) -> None:
        self.rows.clear()
        self._seen = None


def pack(call: Call) -> bytes:
    """A call in some hundred and fifty bytes, without its id: equal calls give equal bytes."""
    return _encode(msgspec.structs.replace(call, id=""))


def unpack(name: str, packed: bytes) -> Call:
    return msgspec.structs.replace(_decode(packed), id=name)
