"""A number as a digest that knows it again and doesn't tell it."""

from hashlib import blake2b

DIGEST_BYTES = 16


def digest_of(salt: str, line: str) -> str:
    """Keyed with the installation's salt: without it nobody can try all the numbers there are."""
    return blake2b(line.encode(), digest_size=DIGEST_BYTES, key=bytes.fromhex(salt)).hexdigest()
