"""A person's rights: to know everything that is kept of them, and to be erased from it.

Who is meant stands in the body, never in the address: addresses are written down on the way.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import msgspec
import structlog
from aiohttp import web

from api import view
from api.campaign import number_of
from api.problem import Problem, invalid
from api.route import Call, Ref, Route, reply, roles
from api.token import Role
from engine import explain
from engine.campaigns import log_of
from engine.core.contact import ContactsAdded, ContactsReplaced
from engine.core.form import answers_of
from engine.core.reservation import ContactDisposed
from engine.core.standing import line_of
from engine.erasure import Known, Who
from engine.ports import Recorded

OFFICERS = roles(Role.ADMINISTRATOR)
log = structlog.get_logger(__name__)


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """One of the three."""

    contact: Ref | None = None
    number: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    external_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None


class Erasure(Named, forbid_unknown_fields=True):
    """`suppress` keeps a digest of each number, so that it isn't called again; `after_call` waits where 409 would answer."""

    suppress: bool = False
    after_call: bool = False


def _who(call: Call, body: Named) -> Who:
    if call.principal.campaigns:
        raise Problem(403, "forbidden", "a person is in any campaign: this is not for a token that names some")
    if sum(one is not None for one in (body.contact, body.number, body.external_id)) != 1:
        raise invalid("contact", "name one: contact, number or external_id")
    number = number_of(body.number, "number") if body.number is not None else ""
    return Who(contact=body.contact or "", number=number, external_id=body.external_id or "")


class ErasedContact(msgspec.Struct, kw_only=True):
    campaign: str
    contact: str


class ErasedRecording(msgspec.Struct, kw_only=True):
    recording: str
    deleted: bool


class Erased(msgspec.Struct, kw_only=True):
    """`waiting`: contacts in a call, erased when it ends. `imports`: given up, as their files named the person."""

    erased: list[ErasedContact]
    waiting: Sequence[str]
    suppressed: int
    recordings: list[ErasedRecording]
    imports: list[str]


class StoredContact(msgspec.Struct, kw_only=True):
    campaign: str
    deleted: bool
    """Whether the campaign is."""
    contact: dict[str, Any]
    """As the contact is shown; of a deleted campaign as much as is left."""
    stored: list[dict[str, Any]]
    """Whatever was ever stored of the person, with its time."""
    history: list[dict[str, Any]]
    """Every event about the contact, with its position in the log."""


class ListedOn(msgspec.Struct, kw_only=True):
    list: str
    version: int
    until: view.Time | None


class StoredNumber(msgspec.Struct, kw_only=True):
    number: str
    lists: list[ListedOn]


class PersonExport(msgspec.Struct, kw_only=True):
    contacts: list[StoredContact]
    numbers: list[StoredNumber]
    recordings: list[str]


async def erase(call: Call) -> web.Response:
    """200 once nothing is left of who they are; 202 while a call has to end first."""
    body = await call.body(Erasure)
    who = _who(call, body)
    busy = call.service.imports.under_way()
    if busy:
        raise Problem(409, "import-under-way", f"import {busy} may bring the person back: wait until it is over")
    done = await call.service.erasures.erase(who, call.by, body.suppress, body.after_call)
    numbers = {line_of(number) for one in done.contacts for number in one.numbers}
    if who.number:
        numbers.add(line_of(who.number))
    imports = await call.service.imports.forget_person({one.ref for one in done.contacts}, numbers)
    told = Erased(
        erased=[
            ErasedContact(campaign=one.campaign, contact=one.ref)
            for one in done.contacts
            if one.ref not in done.waiting
        ],
        waiting=done.waiting,
        suppressed=done.suppressed,
        recordings=[ErasedRecording(recording=name, deleted=gone) for name, gone in done.recordings.items()],
        imports=imports,
    )
    return reply(told, 202 if done.waiting else 200)


async def export(call: Call) -> web.Response:
    """All that is kept of a person, in one document: their data, and every event about them with its position."""
    who = _who(call, await call.body(Named))
    found = await call.service.erasures.find(who)
    log.info("person exported", by=call.by, contacts=len(found))
    lines = {number for one in found for number in one.numbers} | ({who.number} if who.number else set())
    standing = call.engine.claims.standing
    campaigns = list(call.engine.campaigns)
    return reply(
        PersonExport(
            contacts=[await _shown(call, one) for one in found],
            numbers=[
                StoredNumber(
                    number=number,
                    lists=[
                        ListedOn(**{**one, "until": view.time(one["until"])})
                        for one in explain.lists_with(standing, number, campaigns)
                    ],
                )
                for number in sorted(lines)
            ],
            recordings=[name for one in found for name in one.recordings],
        )
    )


async def _shown(call: Call, one: Known) -> StoredContact:
    running = call.engine.campaigns.get(one.campaign)
    noted: list[dict[str, Any]] = []
    history = await explain.history(_noting(call.engine.store.read(log_of(one.campaign)), one.ref, noted), one.ref)
    kept: dict[str, Any] = {}
    if one.contact is not None and running is not None:
        kept = msgspec.to_builtins(view.contact(one.contact, running.book))
        kept["form"] = answers_of(one.contact.form)
    elif one.added is not None:
        new, details = one.added, one.added.person.details
        kept = {
            "ref": new.ref,
            "name": details.name if details else None,
            "data": details.data if details else None,
            "numbers": [{"number": number} for number in one.numbers],
            "zone": new.zone or None,
            "tags": new.tags,
            "external_id": new.external_id or None,
            "consent_until": view.time(new.consent_until),
        }
    events = [
        {key: view.time(value) if key == "at" or key.endswith("_at") else value for key, value in event.items()}
        for event in history
    ]
    return StoredContact(campaign=one.campaign, deleted=running is None, contact=kept, stored=noted, history=events)


async def _noting(
    read: AsyncIterator[Sequence[Recorded]], ref: str, noted: list[dict[str, Any]]
) -> AsyncIterator[Sequence[Recorded]]:
    """Pass events on, and note whatever was ever stored under the person's own key."""
    async for batch in read:
        for event in (one.event for one in batch):
            if isinstance(event, ContactsAdded | ContactsReplaced):
                noted += [
                    {"at": view.time(event.at), **msgspec.to_builtins(new.person.details or {})}
                    for new in event.contacts
                    if new.ref == ref
                ]
            elif isinstance(event, ContactDisposed) and event.contact == ref and event.form is not None:
                noted.append({"at": view.time(event.at), "form": answers_of(event.form)})
        yield batch


ROUTES = [
    Route(
        "POST",
        "/v1/persons/erase",
        erase,
        OFFICERS,
        "Erase a person",
        {200: Erased, 202: Erased},
        Erasure,
        problems=("unknown-person", "unknown-contact", "contact-in-call", "import-under-way"),
    ),
    Route(
        "POST",
        "/v1/persons/export",
        export,
        OFFICERS,
        "Export all that is kept of a person",
        {200: PersonExport},
        Named,
        problems=("unknown-person", "unknown-contact"),
    ),
]
