"""A new campaign from what came of earlier ones."""

from hashlib import blake2b
from itertools import islice
from typing import Annotated

import msgspec
from aiohttp import web

from api.campaign import SettingsPatch, allowed
from api.problem import Problem, invalid
from api.route import REF, Call, Ref, Route, reply, roles
from api.scan import every_contact
from api.token import Role
from engine.core.campaign import Create, Mode, Settings, Status, Text, patched
from engine.core.contact import Contact, ContactStatus, NewContact
from engine.core.listing import CHUNK_CONTACTS
from engine.core.message import AddContacts
from engine.core.outcome import Outcome
from engine.core.personal import Person

MAX_REF_CHARS = 100
MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
DONE = (Status.CREATED, Status.STOPPED)


class Selection(msgspec.Struct, forbid_unknown_fields=True):
    """Contacts of which any of these holds. `outcomes` is how the last attempt ended."""

    uncalled: bool = False
    outcomes: list[Outcome] = []
    dispositions: list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]] = []

    def takes(self, contact: Contact) -> bool:
        if contact.status is ContactStatus.CANCELLED or not contact.numbers:
            return False
        if contact.disposition in self.dispositions:
            return True
        last = next(contact.dialled(), None)
        if last is None:
            return self.uncalled and not contact.disposition
        return last.outcome in self.outcomes


class Successor(msgspec.Struct, forbid_unknown_fields=True):
    name: Text
    source: Annotated[list[Ref], msgspec.Meta(min_length=1, max_length=100)]
    select: Selection
    settings: SettingsPatch = {}


class Made(msgspec.Struct, kw_only=True):
    """`added` of the `chosen` contacts weren't there yet."""

    ref: str
    chosen: int
    added: int


async def make(call: Call) -> web.Response:
    """201 with how many contacts were taken. Asked again, it takes those that are not there yet."""
    ref = call.request.match_info["ref"]
    if not REF.fullmatch(ref) or len(ref) > 60:
        raise invalid("ref", "1 to 60 letters, digits and _ . : @ -")
    if call.principal.campaigns and ref not in call.principal.campaigns:
        raise Problem(403, "forbidden", f"campaign {ref!r} is not yours")
    body = await call.body(Successor)
    select = body.select
    if not (select.uncalled or select.outcomes or select.dispositions):
        raise invalid("select", "name what is to be taken: uncalled, outcomes or dispositions")
    if ref in body.source:
        raise invalid("source", "a campaign is not made from itself")
    sources = [call.named(one) for one in dict.fromkeys(body.source)]
    for one in sources:
        if one.book.campaign.status not in DONE:
            source = one.book.campaign
            detail = f"campaign {source.ref!r} is {source.status}: stop it first"
            raise Problem(409, "campaign-not-stopped", detail, f"source[{body.source.index(source.ref)}]")
    settings = patched(Settings(), body.settings)
    allowed(call, settings)
    await call.engine.create(
        Create(at=call.at, by=call.by, ref=ref, name=body.name, mode=Mode.PREVIEW, settings=settings)
    )
    chosen: list[NewContact] = []
    for one in sources:
        chosen += [_again(ref, contact) async for contact in every_contact(one.book) if select.takes(contact)]
    rest, added = iter(chosen), 0
    while chunk := tuple(islice(rest, CHUNK_CONTACTS)):
        new, _ = await call.engine.add_contacts(ref, AddContacts(at=call.at, by=call.by, contacts=chunk))
        added += len(new.new)
    return reply(Made(ref=ref, chosen=len(chosen), added=added), 201)


def _again(ref: str, contact: Contact) -> NewContact:
    """The same person under a ref of the new campaign: refs are used once, and attempts begin anew."""
    name = f"{ref}:{contact.ref}"
    if len(name) > MAX_REF_CHARS:  # cut, but still its own: a digest of the whole stands at the end
        digest = blake2b(name.encode(), digest_size=8).hexdigest()
        name = f"{name[: MAX_REF_CHARS - len(digest) - 1]}:{digest}"
    return NewContact(
        name,
        Person(name, contact.person.details),
        priority=contact.priority,
        agent=contact.agent if contact.fixed else "",
        zone=contact.zone,
        tags=contact.tags,
        external_id=contact.external_id,
        consent_until=contact.consent_until,
    )


ROUTES = [
    Route(
        "POST",
        "/v1/campaigns/{ref}/from-outcomes",
        make,
        MANAGERS,
        "Create a campaign from what came of earlier ones",
        {201: Made},
        Successor,
        problems=("unknown-campaign", "campaign-not-stopped", "campaign-ref-used", "campaign-deleted"),
    )
]
