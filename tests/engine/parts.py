"""A snapshot's parts in memory, neither compressed nor sealed."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial

from engine.core.blocks import Opener, SavedParts


class Parts(SavedParts):
    """As written, and which of them were opened."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self.parts, self.opened = parts, list[str]()

    def __getitem__(self, name: str) -> bytes:
        return self.parts[name]

    def opener(self, name: str) -> Opener:
        return partial(self._open, name, self.parts[name])

    def _open(self, name: str, data: bytes) -> bytes:
        self.opened.append(name)
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


async def one_by_one(sealed: Mapping[str, bytes]) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
    """Parts as a segment store takes them."""
    for part in sealed.items():
        yield [part]
