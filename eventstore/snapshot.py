"""Columns of a snapshot as the stores keep them: zstd, each behind its own checksum."""

from collections.abc import Mapping
from hashlib import blake2b

import zstandard

from engine.ports import DamagedSnapshot

CHECK_BYTES = 8


def pack_parts(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    compressor = zstandard.ZstdCompressor(level=1)
    packed = {name: compressor.compress(data) for name, data in parts.items()}
    return {name: _check(data) + data for name, data in packed.items()}


def unpack_parts(packed: Mapping[str, bytes]) -> dict[str, bytes]:
    """Raises DamagedSnapshot."""
    decompressor = zstandard.ZstdDecompressor()
    parts: dict[str, bytes] = {}
    for name, data in packed.items():
        if data[:CHECK_BYTES] != _check(data[CHECK_BYTES:]):
            raise DamagedSnapshot(name)
        parts[name] = decompressor.decompress(data[CHECK_BYTES:])
    return parts


def _check(data: bytes) -> bytes:
    return blake2b(data, digest_size=CHECK_BYTES).digest()
