"""A segment's lines in few bytes, under the number of the codec that packed them.

A number is storage: what was packed under one is read by it for ever. Zstd carries a checksum, so that an altered frame is
noticed. A group of a few lines holds little that repeats within it, and its lines are those of every other group: a
dictionary of such lines more than halves it. The dictionary belongs to its number; another one would be another codec.
`python -m simulations dictionary` made it.
"""

from pathlib import Path

import zstandard

from engine.ports import Unreadable

PLAIN, ZSTD, ZSTD_WITH_DICTIONARY = 0, 1, 2
DICTIONARY = Path(__file__).with_name("dictionaries") / "2.zdict"
FEW_BYTES = 8 * 1024
"""Of lines, some forty: what a turn or two of the engine decide. Somebody waits for each of these groups, and most of what one
takes on disk is its row: a quick search packs them a tenth larger in a third of the time."""
SMALL_BYTES = 32 * 1024
"""Of lines. Beyond them a dictionary gains next to nothing, and whoever writes such groups has no time to search for long."""


class DamagedSegment(Unreadable):
    """Stored bytes that are no segment: a frame whose checksum is wrong, a line that is cut, no JSON or no UTF-8."""


class Packing:
    def __init__(self) -> None:
        dictionary = zstandard.ZstdCompressionDict(DICTIONARY.read_bytes())
        # Shorter matches than of 6 bytes are found in random ids, and cost more than they save.
        quick = zstandard.ZstdCompressionParameters(
            strategy=zstandard.STRATEGY_DFAST,
            window_log=15,
            hash_log=13,
            chain_log=12,
            min_match=6,
            write_checksum=True,
            write_dict_id=False,
        )
        thorough = zstandard.ZstdCompressionParameters.from_level(
            8, source_size=SMALL_BYTES, dict_size=len(dictionary), min_match=6, write_checksum=True, write_dict_id=False
        )
        self._large = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self._small = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=thorough)
        self._few = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=quick)
        self._unpack = {
            ZSTD: zstandard.ZstdDecompressor(),
            ZSTD_WITH_DICTIONARY: zstandard.ZstdDecompressor(dict_data=dictionary),
        }

    def pack(self, lines: bytes) -> tuple[int, bytes]:
        if len(lines) <= FEW_BYTES:
            return ZSTD_WITH_DICTIONARY, self._few.compress(lines)
        if len(lines) <= SMALL_BYTES:
            return ZSTD_WITH_DICTIONARY, self._small.compress(lines)
        return ZSTD, self._large.compress(lines)

    def unpack(self, codec: int, data: bytes) -> bytes:
        """Lines again. Raises DamagedSegment, also where the codec is none of ours."""
        if codec == PLAIN:
            return data
        if codec not in self._unpack:
            raise DamagedSegment(f"a segment is packed by the unknown codec {codec}")
        try:
            # Extra data is damage: else a cleared flag hides the checksum.
            lines = self._unpack[codec].decompress(data, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as error:  # an altered header may claim any size
            raise DamagedSegment(f"a packed segment of {len(data)} bytes doesn't unpack: {error}") from error
        if not lines:
            raise DamagedSegment(f"a packed segment of {len(data)} bytes holds nothing")  # none is written empty
        return lines
