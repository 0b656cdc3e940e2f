"""A contact in one agent's hand: a lease with an exact end and a token.

offered ─dial─► dialing ─call ended─► wrapup ─disposition─► gone
   ▲  └─ expires, skipped, released ─► gone    │
   └────── the attempt reached nobody ─────────┘

While offered it ends by itself at `expires_at` (extended by heartbeat). While dialing and in wrap-up it does not: a
contact is never taken from under a live call, and stays with the agent until the disposition.
"""

from enum import StrEnum

import msgspec

from engine.core.personal import Person


class Phase(StrEnum):
    OFFERED = "offered"
    DIALING = "dialing"
    WRAPUP = "wrapup"


IN_HAND, AGENT_GONE = "in_hand", "agent_offline"
"""Reasons for another end of a lease that mean something to the book."""


class Release(StrEnum):
    """Why a contact went back to the queue without a disposition."""

    EXPIRED = "expired"
    SKIPPED = "skipped"
    RELEASED = "released"
    AGENT_OFFLINE = "agent_offline"
    AGENT_PAUSED = "agent_paused"
    CAMPAIGN_STOPPING = "campaign_stopping"
    CANCELLED = "cancelled"


# -- events (on the contact's stream) -------------------------------------------------------------------------------


class ContactReserved(msgspec.Struct, frozen=True, kw_only=True, tag="contact.reserved.v1"):
    at: int
    contact: str
    agent: str
    reservation: str
    token: str
    expires_at: int
    ahead: bool = False
    """To be looked at while the agent is still with another one."""


class ReservationExtended(msgspec.Struct, frozen=True, kw_only=True, tag="contact.reservation_extended.v1"):
    """`reason` is `heartbeat`; `attempt_over`: the call reached nobody and the agent may choose again; `in_hand`: it was
    reserved ahead, and is the agent's present one now; `agent_offline`: it waits a moment for an agent who is gone.
    """

    at: int
    contact: str
    agent: str
    reservation: str
    expires_at: int
    reason: str


class ContactReleased(msgspec.Struct, frozen=True, kw_only=True, tag="contact.released.v1"):
    """`rank` is the contact's place in the queue from now on; `due_at` is when it may be delivered again (0: any time),
    `callback` that it is still the callback it was.
    """

    at: int
    contact: str
    agent: str
    reservation: str
    reason: Release
    note: str
    rank: int
    due_at: int = 0
    callback: bool = False


class ContactDisposed(msgspec.Struct, frozen=True, kw_only=True, tag="contact.disposed.v1"):
    """Not final: it comes back at `due_at`, as a retry or as a callback (of an agent, or "*" for anybody).

    `exhausted`: it would come back, had it not done so as often as the campaign allows. `dnc` is the list that its
    numbers go to, "" for none. `form` is what was noted down, None for nothing. `by` is who closed it, where that wasn't
    the agent who had it in hand; `agent` and `reservation` are empty where nobody had.
    """

    at: int
    contact: str
    agent: str
    reservation: str
    call: str
    disposition: str
    engaged: bool
    final: bool
    due_at: int
    callback: str = ""
    exhausted: bool = False
    dnc: str = ""
    form: Person | None = None
    by: str = ""


class DialRefused(msgspec.Struct, frozen=True, kw_only=True, tag="contact.dial_refused.v1"):
    """A number (by index) was not dialled because of a rule. `version` is that of the list that the rule looked at."""

    at: int
    contact: str
    agent: str
    reservation: str
    number: int
    rule: str
    detail: str
    version: int = 0


class ContactSuppressed(msgspec.Struct, frozen=True, kw_only=True, tag="contact.suppressed.v1"):
    """The numbers of a contact stand on the do-not-call list that its disposition named: nothing of it is left to do."""

    at: int
    contact: str
    list: str


ReservationEvent = (
    ContactReserved | ReservationExtended | ContactReleased | ContactDisposed | ContactSuppressed | DialRefused
)


# -- state ----------------------------------------------------------------------------------------------------------


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    token: str
    contact: str
    agent: str
    at: int
    expires_at: int
    phase: Phase = Phase.OFFERED
    ahead: bool = False
    call: str = ""
    """The live call while dialing, the last one afterwards."""
