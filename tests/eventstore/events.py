"""Events for tests of the store: it must not matter to it what they say."""

import msgspec

from engine.core.personal import Details, Person


class Counted(msgspec.Struct, frozen=True, kw_only=True, tag="test.counted.v1"):
    n: int
    at: int = 0


class Met(msgspec.Struct, frozen=True, kw_only=True, tag="test.met.v1"):
    person: Person
    at: int = 0


TestEvent = Counted | Met


def met(subject: str, name: str) -> Met:
    return Met(person=Person(subject, Details(numbers=("123",), name=name)))
