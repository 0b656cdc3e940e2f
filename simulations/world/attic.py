"""An attic of a world, whose disk is memory."""


class MemoryAttic:
    """Implements engine.core.blocks.Attic. `room`: how many blocks, at most."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room, self.blocks, self.refused = room, list[bytes](), 0

    def put(self, block: bytes) -> int | None:
        if len(self.blocks) >= self.room:
            self.refused += 1
            return None
        self.blocks.append(block)
        return len(self.blocks) - 1

    def get(self, place: int) -> bytes:
        return self.blocks[place]
