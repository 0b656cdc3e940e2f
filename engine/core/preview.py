"""Preview dialing: an agent asks for the next contact, looks, dials, talks, disposes."""

from engine.core import delivery, dialing, disposing, listing
from engine.core.book import Book
from engine.core.campaign import Status
from engine.core.claims import Claims
from engine.core.delivery import Decided, in_hand
from engine.core.message import (
    AddContacts,
    CancelContact,
    CancelContacts,
    ClickToCall,
    Dial,
    Dispose,
    DisposeAll,
    EraseContacts,
    Extend,
    Next,
    Release,
    Skip,
)
from engine.core.refusal import absent, against_rule

PreviewCommand = (
    AddContacts
    | CancelContact
    | CancelContacts
    | EraseContacts
    | Next
    | Extend
    | Skip
    | Release
    | Dispose
    | DisposeAll
    | Dial
    | ClickToCall
)


def decide(book: Book, message: PreviewCommand, claims: Claims) -> Decided:
    """Events, effects beyond what they imply, and the reply. Raises Refused."""
    _exists(book)
    match message:
        case AddContacts():
            return listing.add(book, message)
        case CancelContact():
            return listing.cancel(book, message), [], None
        case CancelContacts():
            return listing.cancel_all(book, message)
        case EraseContacts():
            return listing.erase(book, message)
        case Next():
            return delivery.next_contact(book, message)
        case Dial():
            return dialing.dial(book, message, claims)
        case ClickToCall():
            return dialing.click(book, message, claims)
        case Extend():
            held = in_hand(book, message.agent, message.reservation, message.token)
            return delivery.extend(book, held, message.at), [], None
        case Skip():
            held = in_hand(book, message.agent, message.reservation, message.token)
            return delivery.skip(book, held, message), [], None
        case Release():
            return delivery.release(book, message), [], None
        case Dispose():
            return disposing.dispose(book, message), [], None
        case DisposeAll():
            return disposing.dispose_all(book, message)


def _exists(book: Book) -> None:
    if book.campaign.status is Status.ABSENT:
        raise absent("campaign", book.campaign.ref)
    if book.campaign.status is Status.DELETED:
        raise against_rule("campaign-deleted", f"campaign {book.campaign.ref!r} is deleted")
