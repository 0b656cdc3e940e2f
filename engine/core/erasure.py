"""Erasing a person: what the directory writes down of it, before anything is forgotten.

The directory's event is the intent. Once it is durable each contact's campaign forgets who they are, and their key goes;
whatever a crash leaves undone is done by the next start. It names contacts by their refs, never by what was erased.
"""

import msgspec

from engine.core.personal import Details, Person
from engine.core.standing import SUPPRESSED, Standing


class PersonErased(msgspec.Struct, frozen=True, kw_only=True, tag="person.erased.v1"):
    """Contacts of one person, by campaign, live or deleted."""

    at: int
    by: str
    contacts: dict[str, tuple[str, ...]]


class NumbersSuppressed(msgspec.Struct, frozen=True, kw_only=True, tag="numbers.suppressed.v1"):
    """Numbers not to be called again, of which nothing is kept but digests.

    The salt is sealed as a person's data is, so that its key stands beside the log and in no copy of it: with the salt one
    could try all the numbers there are.
    """

    at: int
    by: str
    version: int
    salt: Person
    digests: tuple[str, ...]


class ErasePerson(msgspec.Struct, frozen=True, kw_only=True):
    """`digests` of the numbers to suppress, made with `salt`: the installation's, or a new one where there was none."""

    at: int
    by: str
    contacts: dict[str, tuple[str, ...]]
    salt: str = ""
    digests: tuple[str, ...] = ()


def erase(known: dict[str, str], standing: Standing, command: ErasePerson) -> list[PersonErased | NumbersSuppressed]:
    """Said again it is no news; what is new to it is."""
    new = {
        campaign: fresh
        for campaign, refs in command.contacts.items()
        if (fresh := tuple(one for one in refs if one not in known))
    }
    events: list[PersonErased | NumbersSuppressed] = []
    digests = tuple(one for one in command.digests if one not in standing.digests)
    if digests:
        assert standing.salt in ("", command.salt)
        salt = Person(f"dnc/{SUPPRESSED}", Details(numbers=(command.salt,)))
        version = standing.versions.get(SUPPRESSED, 0) + 1
        events.append(NumbersSuppressed(at=command.at, by=command.by, version=version, salt=salt, digests=digests))
    return [*events, PersonErased(at=command.at, by=command.by, contacts=new)] if new else events


def salt_in(event: NumbersSuppressed) -> str:
    return event.salt.details.numbers[0] if event.salt.details is not None else ""
