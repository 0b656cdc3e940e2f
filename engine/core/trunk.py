"""Over which trunk a contact is dialled.

A campaign names its trunks in order of preference. An attempt takes the first of them that has a free line. Where the
carrier, and not the callee, let the contact's last attempt fail, the order begins behind the trunk that failed. Once all of
them are full, another of the service's trunks helps out, if the campaign may use those.
"""

from enum import StrEnum

from engine.core.book import Book
from engine.core.call import Call, Doubt
from engine.core.claims import Claims
from engine.core.contact import Contact
from engine.core.outcome import Outcome, Party
from engine.core.refusal import no_room

CARRIER_FAULTS = (Outcome.CONGESTION, Outcome.UNAVAILABLE)


class Why(StrEnum):
    """Why it was this trunk. Names are storage and public."""

    PREFERRED = "preferred"  # the campaign's first
    AFTER_FAILURE = "after_failure"  # the one before it let the contact's last attempt fail
    OTHERS_FULL = "others_full"  # all before it had no free line
    LENT = "lent"  # not the campaign's own: those are full


def choose(book: Book, contact: Contact, claims: Claims) -> tuple[str, Why]:
    """The trunk for the next attempt, and why that one. Raises Refused where no line is free."""
    settings = book.campaign.settings
    failed = _failed(book, contact)
    ordered = list(settings.trunks)
    behind = ordered.index(failed) + 1 if failed in ordered else 0
    first = Why.AFTER_FAILURE if behind and len(ordered) > 1 else Why.PREFERRED
    ordered = ordered[behind:] + ordered[:behind]
    for place, trunk in enumerate(ordered):
        if claims.has_line(trunk):
            return trunk, Why.OTHERS_FULL if place else first
    if not settings.own_trunks_only:
        lent = next((one for one in claims.trunks if one not in ordered and claims.has_line(one)), None)
        if lent is not None:
            return lent, Why.LENT
    raise no_room("trunk-lines-in-use", f"all lines of {', '.join(ordered)} are in use")


def _failed(book: Book, contact: Contact) -> str:
    """The trunk whose fault the contact's last attempt was; empty where it was nobody's or somebody else's."""
    tried = (book.calls[one.call] for one in reversed(contact.attempts))
    last = next((call for call in tried if call.requested_at), None)
    return last.trunk if last is not None and _at_the_trunk(last) else ""


def _at_the_trunk(call: Call) -> bool:
    """The carrier had no way through, or the PBX no way to the carrier."""
    if call.outcome is Outcome.FAILED:
        return call.doubt is Doubt.ORIGINATE_FAILED
    return call.outcome in CARRIER_FAULTS and call.ended_by is Party.CARRIER
