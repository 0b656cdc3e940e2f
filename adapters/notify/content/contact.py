"""What is told of contacts in numbers, and of what befalls one without an agent."""

from typing import ClassVar

from adapters.notify.content.base import Content, Count, Fact
from engine.core import contact
from engine.core.contact import ContactEvent


class ContactsAdded(Content, frozen=True, kw_only=True):
    """So many contacts are new to the campaign: their refs are read by GET, from the first to the last."""

    TYPE: ClassVar[str] = "contacts.added"

    count: Count
    first: str | None
    last: str | None
    by: str


class ContactsReplaced(Content, frozen=True, kw_only=True):
    """Contacts that were never dialled are as a later file has them."""

    TYPE: ClassVar[str] = "contacts.replaced"

    contacts: list[str]
    by: str


class ContactsAssigned(Content, frozen=True, kw_only=True):
    """A step of dealing contacts to agents."""

    TYPE: ClassVar[str] = "contacts.assigned"

    method: str
    seed: int
    agents: dict[str, Count]
    """How many each agent was given; "" is nobody in particular."""


class ContactsUpcoming(Content, frozen=True, kw_only=True):
    """Who will be delivered next, in order, about two for each agent at work: a CRM may load them ahead."""

    TYPE: ClassVar[str] = "contacts.upcoming"

    contacts: list[str]


class ContactExhausted(Content, frozen=True, kw_only=True):
    """Final without a disposition: as many attempts were made as the campaign allows, or no number exists."""

    TYPE: ClassVar[str] = "contact.exhausted"

    contact: str
    attempts: Count


class ContactErased(Content, frozen=True, kw_only=True):
    """The person behind a contact was erased, here and everywhere: erase your copy too."""

    TYPE: ClassVar[str] = "contact.erased"

    contact: str
    by: str


class ContactCancelled(Content, frozen=True, kw_only=True):
    """A contact is not to be called any more."""

    TYPE: ClassVar[str] = "contact.cancelled"

    contact: str
    reason: str
    by: str


Told = (
    ContactsAdded
    | ContactsReplaced
    | ContactsAssigned
    | ContactsUpcoming
    | ContactExhausted
    | ContactErased
    | ContactCancelled
)


def fact(event: ContactEvent) -> Fact | None:
    data = _data(event)
    return Fact(at=event.at, data=data) if data is not None else None


def _data(event: ContactEvent) -> Told | None:
    match event:
        case contact.ContactsAdded():
            refs = [one.ref for one in event.contacts]
            first, last = (refs[0], refs[-1]) if refs else (None, None)
            return ContactsAdded(count=len(refs), first=first, last=last, by=event.by)
        case contact.ContactsReplaced():
            return ContactsReplaced(contacts=[one.ref for one in event.contacts], by=event.by)
        case contact.ContactsAssigned():
            split = {agent_id: len(refs) for agent_id, refs in event.contacts.items()}
            return ContactsAssigned(method=event.method, seed=event.seed, agents=split)
        case contact.ContactsUpcoming():
            return ContactsUpcoming(contacts=list(event.contacts))
        case contact.ContactExhausted():
            return ContactExhausted(contact=event.contact, attempts=event.attempts)
        case contact.ContactErased():
            return ContactErased(contact=event.contact, by=event.by)
        case contact.ContactCancelled():
            return ContactCancelled(contact=event.contact, reason=event.reason, by=event.by)
        case _:
            return None
