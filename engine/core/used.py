"""Which campaign used a contact's ref first: refs by the million, campaigns by the hundred."""

from collections.abc import Iterable
from itertools import repeat

import msgspec

from engine.core.blocks import Blocks
from engine.core.table import Index

NUMBER_BYTES = 4


class StillRefs(msgspec.Struct, frozen=True):
    """As they were at a moment: campaigns in the order of their numbers, and the buckets of an index of these."""

    campaigns: list[str]
    buckets: Blocks


class UsedRefs:
    """Refs are known by their digests alone: nobody's data is in it."""

    __slots__ = ("_campaigns", "_index", "_numbers")

    def __init__(self, still: StillRefs | None = None) -> None:
        """`still`: as others were; they are this one's from now on."""
        self._campaigns = still.campaigns if still is not None else []
        self._numbers = {campaign: number for number, campaign in enumerate(self._campaigns)}
        self._index = Index(NUMBER_BYTES, still.buckets if still is not None else None)

    def __len__(self) -> int:
        return len(self._index)

    def get(self, ref: str, default: str) -> str:
        number = self._index.number(ref)
        return default if number is None else self._campaigns[number]

    def known(self, refs: Iterable[str]) -> list[str]:
        """Those that some campaign used."""
        return self._index.known(refs)

    def use(self, refs: Iterable[str], campaign: str) -> None:
        """Those that no campaign has used."""
        number = self._numbers.get(campaign)
        if number is None:
            number = self._numbers[campaign] = len(self._campaigns)
            self._campaigns.append(campaign)
        self._index.add_new(zip(refs, repeat(number.to_bytes(NUMBER_BYTES, "little")), strict=False))

    def open_some(self) -> bool:
        """Some that are packed since a start. Whether there were any."""
        return self._index.open_some()

    def still(self) -> StillRefs:
        """As they are now."""
        return StillRefs(self._campaigns.copy(), self._index.still())
