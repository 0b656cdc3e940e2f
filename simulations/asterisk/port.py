"""Free loopback ports, below the range from which the kernel serves outgoing connections.

So a port stays free while its owner is down for a restart, and the owner finds it again.
"""

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000
ATTEMPTS = 500

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody has, over TCP or UDP; never given twice by this process. Raises OSError."""
    chance = random.SystemRandom()
    for _ in range(ATTEMPTS):
        port = chance.randrange(LOWEST, HIGHEST, 2)  # even, with its odd neighbour: RTP takes pairs
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
