"""Parts of a snapshot as the stores keep them: zstd, each behind its own checksum."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import zstandard

from engine.ports import DamagedSnapshot

CHECK_BYTES = 8


def pack_parts(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    compressor = zstandard.ZstdCompressor(level=1)
    packed = {name: compressor.compress(data) for name, data in parts.items()}
    return {name: _check(data) + data for name, data in packed.items()}


class Parts(Mapping[str, bytes]):
    """Checked parts, each unpacked when it is asked for: a large snapshot is never in memory whole."""

    def __init__(self, packed: Mapping[str, bytes]) -> None:
        self._packed = packed
        self._decompressor = zstandard.ZstdDecompressor()

    def __getitem__(self, name: str) -> bytes:
        return self._decompressor.decompress(memoryview(self._packed[name])[CHECK_BYTES:])

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def unpack_parts(packed: Mapping[str, bytes]) -> Parts:
    """Raises DamagedSnapshot."""
    for name, data in packed.items():
        if data[:CHECK_BYTES] != _check(data[CHECK_BYTES:]):
            raise DamagedSnapshot(name)
    return Parts(packed)


def _check(data: bytes) -> bytes:
    return blake2b(data, digest_size=CHECK_BYTES).digest()
