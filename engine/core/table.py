"""Tables and rows for what comes by the million and is seldom looked at: a few bytes more than what they hold.

Nothing of a million entries is an object of its own: they lie side by side in blocks, some dozens in each, which are searched,
copied, written down and read back as they are. To look one up takes a microsecond or two, and a dictionary a tenth of it;
but a dictionary takes a hundred bytes an entry, and a second to fill with a million.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2s

import msgspec

from engine.core.blocks import Attic, Blocks

DIGEST_BYTES, HASH_BYTES = 10, 4
"""Among ten million keys two have the same digest with a probability of one in twenty thousand million."""
REMEMBERED_DIGESTS = 4_096
FILL = 16
"""Entries of a bucket, on the average."""
PAGE_ROWS = 32

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


@lru_cache(REMEMBERED_DIGESTS)
def digest(key: str) -> tuple[bytes, int]:
    """What stands for a key, and its first bytes as a number. Not a secret: who has it and guesses the key is told so."""
    name = blake2s(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
    return name, int.from_bytes(name[:HASH_BYTES], "little")


class Table:  # noqa: PLW1641 - it has no hash, as nothing that changes has
    """Values of a fixed number of bytes by key; a key may have several, which stay in their order.

    Linear hashing: a bucket is split in two as often as `FILL` entries have come, so that no moment is longer than another.
    """

    __slots__ = ("_blocks", "_mask", "_size", "buckets", "count")

    def __init__(self, width: int, blocks: Blocks | None = None) -> None:
        """`blocks`: the buckets of a table of the same width as they were; they are this one's from now on."""
        self._size = DIGEST_BYTES + width
        self._blocks = blocks or Blocks.of([b""])
        self.buckets = self._blocks.here
        self.count = self._blocks.size // self._size
        self._mask = (1 << (len(self.buckets) - 1).bit_length()) - 1

    def __len__(self) -> int:
        return self.count

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __eq__(self, other: object) -> bool:
        """Whether they have the same entries, in whatever order."""
        return isinstance(other, Table) and sorted(self) == sorted(other)

    def __iter__(self) -> Iterator[bytes]:
        """Digests, each with its value behind it."""
        size = self._size
        for bucket in self._blocks:
            yield from (bucket[start : start + size] for start in range(0, len(bucket), size))

    def get(self, key: str) -> bytes | None:
        """The first value."""
        name, number = digest(key)
        bucket = self._bucket(self._at(number))
        start = bucket.find(name)
        if start > 0 and start % self._size:
            start = self._find(bucket, name, start)
        return bucket[start + DIGEST_BYTES : start + self._size] if start >= 0 else None

    def has(self, name: bytes, number: int) -> bool:
        """Whether there is something of a key, of which that is the `digest`: where many tables are asked for the same."""
        return self.count > 0 and name in self._bucket(self._at(number))

    def known(self, keys: Iterable[str]) -> list[str]:
        """Those that have a value: many at once, so nothing is called that could be done here."""
        if not self.count:
            return []
        buckets, size, mask = self.buckets, self._size, self._mask
        last, found = len(buckets), list[str]()
        for key in keys:
            name, number = digest(key)
            at = number & mask
            if at >= last:
                at = number & (mask >> 1)
            bucket = buckets[at]
            if bucket is None:
                bucket = self._blocks.open(at)
            start = bucket.find(name)
            if start >= 0 and (start % size == 0 or self._find(bucket, name, start) >= 0):
                found.append(key)
        return found

    def all(self, key: str) -> list[bytes]:
        name, number = digest(key)
        bucket, found = self._bucket(self._at(number)), []
        start = self._find(bucket, name)
        while start >= 0:
            found.append(bucket[start + DIGEST_BYTES : start + self._size])
            start = self._find(bucket, name, start + self._size)
        return found

    def add(self, key: str, value: bytes) -> None:
        """One more."""
        name, number = digest(key)
        self._add(number, name + value)

    def add_new(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Values for those keys that have none: as `known`, many at once."""
        buckets, size = self.buckets, self._size
        for key, value in entries:
            name, number = digest(key)
            at = number & self._mask
            if at >= len(buckets):
                at = number & (self._mask >> 1)
            bucket = buckets[at]
            if bucket is None:
                bucket = self._blocks.open(at)
            start = bucket.find(name)
            if start >= 0 and (start % size == 0 or self._find(bucket, name, start) >= 0):
                continue
            buckets[at] = bucket + name + value
            self.count += 1
            if self.count > FILL * len(buckets):
                self._split()

    def put(self, key: str, value: bytes) -> None:
        """Instead of the first one, if there is any."""
        name, number = digest(key)
        at = self._at(number)
        bucket = self._bucket(at)
        start = self._find(bucket, name)
        if start < 0:
            self._add(number, name + value)
        else:
            self.buckets[at] = b"".join((bucket[: start + DIGEST_BYTES], value, bucket[start + self._size :]))

    def drop(self, key: str, value: bytes = b"") -> bool:
        """The first one, or the first that has this value. Whether there was one."""
        name, number = digest(key)
        at = self._at(number)
        bucket = self._bucket(at)
        start = self._find(bucket, name + value)
        if start < 0:
            return False
        self.buckets[at] = bucket[:start] + bucket[start + self._size :]
        self.count -= 1
        return True

    def adopt(self, other: "Table") -> None:
        """Of another one what has a key that this one doesn't have."""
        for entry in other:
            number = int.from_bytes(entry[:HASH_BYTES], "little")
            if self._find(self._bucket(self._at(number)), entry[:DIGEST_BYTES]) < 0:
                self._add(number, entry)

    def open_some(self) -> bool:
        """Some buckets that were packed. Whether there were any."""
        return self._blocks.open_some()

    def still(self) -> Blocks:
        """The buckets as they are now."""
        return self._blocks.still()

    def _bucket(self, at: int) -> bytes:
        bucket = self.buckets[at]
        return self._blocks.open(at) if bucket is None else bucket

    def _at(self, number: int) -> int:
        at = number & self._mask
        return at if at < len(self.buckets) else number & (self._mask >> 1)

    def _add(self, number: int, entry: bytes) -> None:
        at = self._at(number)
        self.buckets[at] = self._bucket(at) + entry
        self.count += 1
        if self.count > FILL * len(self.buckets):
            self._split()

    def _find(self, bucket: bytes, name: bytes, start: int = 0) -> int:
        start = bucket.find(name, start)
        while start >= 0 and start % self._size:  # what two entries that lie side by side have in common with it
            start = bucket.find(name, start + 1)
        return start

    def _split(self) -> None:
        """The bucket whose turn it is: half of its entries have one bit more than the others."""
        if len(self.buckets) > self._mask:
            self._mask = 2 * self._mask + 1
        old, bit, size = len(self.buckets) & (self._mask >> 1), (self._mask + 1) >> 1, self._size
        bucket = self._bucket(old)
        parted: tuple[list[bytes], list[bytes]] = [], []
        for start in range(0, len(bucket), size):
            entry = bucket[start : start + size]
            parted[bool(int.from_bytes(entry[:HASH_BYTES], "little") & bit)].append(entry)
        self.buckets[old] = b"".join(parted[0])
        self.buckets.append(b"".join(parted[1]))


class Index(Table):
    """Numbers by key: of rows, of versions, of moments."""

    __slots__ = ("_width",)

    def __init__(self, width: int = 4, blocks: Blocks | None = None) -> None:
        super().__init__(width, blocks)
        self._width = width

    def number(self, key: str) -> int | None:
        """The first one."""
        found = self.get(key)
        return None if found is None else int.from_bytes(found, "little")

    def numbers(self, key: str) -> list[int]:
        return [int.from_bytes(one, "little") for one in self.all(key)]

    def add_number(self, key: str, number: int) -> None:
        self.add(key, number.to_bytes(self._width, "little"))

    def put_number(self, key: str, number: int) -> None:
        self.put(key, number.to_bytes(self._width, "little"))

    def drop_number(self, key: str, number: int) -> bool:
        return self.drop(key, number.to_bytes(self._width, "little"))


class Rows:
    """Rows by number, in the order in which they came."""

    __slots__ = ("_blocks", "_last", "_pages")

    def __init__(self, blocks: Blocks | None = None) -> None:
        """`blocks`: pages, as those of others were; they are these rows' from now on."""
        self._blocks = blocks or Blocks()
        self._pages = self._blocks.here
        """Full ones, and perhaps the last."""
        self._last: list[bytes] = []
        if self._pages and len(rows := _decode(self._page(len(self._pages) - 1))) < PAGE_ROWS:
            self._last = rows
            del self._pages[-1]

    def __len__(self) -> int:
        return len(self._pages) * PAGE_ROWS + len(self._last)

    def __getitem__(self, number: int) -> bytes:
        page, place = divmod(number, PAGE_ROWS)
        return _decode(self._page(page))[place] if page < len(self._pages) else self._last[place]

    def __setitem__(self, number: int, row: bytes) -> None:
        page, place = divmod(number, PAGE_ROWS)
        if page < len(self._pages):
            rows = _decode(self._page(page))
            rows[place] = row
            self._pages[page] = _packed(rows)
        else:
            self._last[place] = row

    def append(self, row: bytes) -> int:
        """The number that it gets."""
        number = len(self)
        self._last.append(row)
        if len(self._last) == PAGE_ROWS:
            self._pages.append(_packed(self._last))
            self._last = []
        return number

    def read(self, start: int = 0, end: int | None = None, mark: bytes = b"") -> Iterator[tuple[int, bytes]]:
        """Rows from one number to before another, with their numbers; `mark`: of pages that don't hold it none."""
        end = len(self) if end is None else min(end, len(self))
        for page in range(start // PAGE_ROWS, -(-end // PAGE_ROWS)):
            packed = self._blocks.peek(page) if page < len(self._pages) else b""
            if mark and packed and mark not in packed:
                continue
            rows: Sequence[bytes] = _decode(packed) if packed else self._last
            first = page * PAGE_ROWS
            for place in range(max(0, start - first), min(len(rows), end - first)):
                yield first + place, rows[place]

    @property
    def pages(self) -> int:
        """How many are full, of `PAGE_ROWS` rows each."""
        return len(self._pages)

    @property
    def first_here(self) -> int:
        """The first full page that is here."""
        return next((page for page, block in enumerate(self._pages) if block is not None), len(self._pages))

    def put_away(self, page: int, attic: Attic) -> bool:
        """A full page that is seldom looked at from now on. False where there was no room."""
        return self._blocks.put_away(page, attic)

    def packed_with(self, page: int) -> range:
        """The pages that will be here from now on once somebody looks at one, since it stands packed with others."""
        return self._blocks.packed_with(page) if page < len(self._pages) else range(0)

    def still(self) -> Blocks:
        """The pages as they are now."""
        still = self._blocks.still()
        if self._last:
            still.here.append(_packed(self._last))
        return still

    def _page(self, page: int) -> bytes:
        packed = self._pages[page]
        return self._blocks.open(page) if packed is None else packed


def _packed(rows: list[bytes]) -> bytes:
    """In a piece of memory of its own size: an encoder's was larger, and nobody else fits in what it leaves behind."""
    return bytes(bytearray(_encode(rows)))
