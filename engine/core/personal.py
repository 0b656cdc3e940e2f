"""Personal data in events.

`Person` is deliberately no msgspec Struct: the codec meets it as a foreign type, and there seals it under a key that
belongs to its subject alone. Erasing the key erases the person from the log, its replicas and its backups, and leaves
the decisions readable.
"""

from typing import NamedTuple

import msgspec


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """Who a contact is. `numbers` are E.164 or national digits, the main one first; `data` are further named values."""

    numbers: tuple[str, ...]
    name: str = ""
    data: dict[str, str] = {}


class Seal(NamedTuple):
    """Details as they were sealed before they came to the codec, and the new key that they were sealed under."""

    key: bytes
    box: str


class Person:
    """Details of one subject (its contact ref), or None once erased. `seal`: of just these details, where they have one."""

    __slots__ = ("details", "seal", "subject")

    def __init__(self, subject: str, details: Details | None, seal: Seal | None = None) -> None:
        self.subject = subject
        self.details = details
        self.seal = seal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Person) and self.subject == other.subject and self.details == other.details

    def __hash__(self) -> int:
        return hash(self.subject)

    def __repr__(self) -> str:
        return f"Person({self.subject!r})"  # never the details: this reaches logs and tracebacks
