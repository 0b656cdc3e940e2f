"""Rows of a checked file against the campaign as it is: new, known, to be replaced, or wrong after all."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from adapters.importer.dialer import Engine
from adapters.importer.job import Chunk, Row, RowError
from adapters.importer.limits import LOOKED_AT_ROWS
from adapters.importer.record import TagsMode
from engine.core.book import Book
from engine.core.contact import Contact, ContactStatus, NewContact, Priority
from engine.core.importing import ImportMode
from engine.core.personal import Details, Person
from engine.core.used import UsedRefs

REPLACING = (ImportMode.OVERWRITE, ImportMode.FULL_SYNC)
REMOVING = (ImportMode.CLOSE_OPEN, ImportMode.FULL_SYNC)
PRIORITIES = {one.value: one for one in Priority}
REPLACEABLE = (ContactStatus.WAITING, ContactStatus.RETRY)


Placed = tuple[int, Row]
"""A row with its number in the file."""


class Verdict(msgspec.Struct):
    """Of some rows: those that are new, and those that replace a contact (with the tags that it keeps), by ref."""

    new: dict[str, Row] = {}
    replaced: dict[str, Row] = {}
    known: int = 0
    wrong: list[RowError] = []


async def are_new(book_of: Callable[[], Book], engine: Engine, chunk: Chunk) -> bool:
    """Whether nothing of a chunk has met this campaign or another one, as is nearly always so: told without its rows.

    Others get their turn in between, and what they add is met by the commands.
    """
    for start in range(0, len(chunk.refs), LOOKED_AT_ROWS):
        refs, contacts = chunk.refs[start : start + LOOKED_AT_ROWS], book_of().contacts
        if engine.directory.contacts.known(refs) or contacts.by_ref.known(refs):
            return False
        if any(contacts.named(chunk.external_ids[ref]) is not None for ref in refs if ref in chunk.external_ids):
            return False
        await asyncio.sleep(0)
    return True


def judge(
    book: Book,
    used: UsedRefs,
    campaign: str,
    mode: ImportMode,
    tags: TagsMode,
    rows: Sequence[Placed],
) -> Verdict:
    """`used` is the campaign that first used a contact ref."""
    verdict = Verdict()
    for place, row in rows:
        known = book.contacts.by_ref.found(row.ref)
        owner = used.get(row.ref, campaign)
        elsewhere = book.contacts.named(row.external_id) or row.ref
        if owner != campaign:
            verdict.wrong.append(used_elsewhere(place, row, owner))
        elif elsewhere != row.ref and (known is None or mode in REPLACING):
            reason = f"contact {elsewhere} has the external id {row.external_id!r}"
            verdict.wrong.append(RowError(place, "external_id", reason))
        elif known is None:
            verdict.new[row.ref] = row
        elif mode not in REPLACING:
            verdict.known += 1
        else:
            _judge_known(verdict, known, mode, tags, place, row)
    return verdict


def used_elsewhere(place: int, row: Row, campaign: str) -> RowError:
    return RowError(place, "ref", f"campaign {campaign!r} used the contact ref {row.ref} first")


def _judge_known(verdict: Verdict, known: Contact, mode: ImportMode, tags: TagsMode, place: int, row: Row) -> None:
    if tags is TagsMode.ADD:
        row = msgspec.structs.replace(row, tags=tuple(dict.fromkeys((*known.tags, *row.tags))))
    if contact_of(row) == as_new(known):
        verdict.known += 1
    elif not known.attempts and not known.disposition and known.status in REPLACEABLE:
        verdict.replaced[row.ref] = row
    elif mode is ImportMode.FULL_SYNC:
        verdict.known += 1  # who was worked on is in the file: that is all that a full sync asks
    else:
        worked = "was dialled already" if known.attempts else "was disposed of already" if known.disposition else ""
        why = worked or f"is {known.status}"
        verdict.wrong.append(RowError(place, "ref", f"contact {row.ref} {why}: it can't be replaced any more"))


def person_of(row: Row) -> Person:
    return Person(row.ref, Details(numbers=row.numbers, name=row.name, data=row.data))


def contact_of(row: Row, person: Person | None = None) -> NewContact:
    """`person`: of this row, where it was made before."""
    return NewContact(
        row.ref,
        person or person_of(row),
        PRIORITIES[row.priority],
        row.agent,
        row.zone,
        row.tags,
        row.external_id,
        row.consent_until,
    )


def as_new(known: Contact) -> NewContact:
    """A contact of the campaign, as a file would have it."""
    return NewContact(
        ref=known.ref,
        person=known.person,
        priority=known.priority,
        agent=known.agent if known.fixed else "",
        zone=known.zone,
        tags=known.tags,
        external_id=known.external_id,
        consent_until=known.consent_until,
    )
