"""What a campaign's mailbox takes, beside the campaign's own commands: commands and observations.

`at` is epoch ms, `by` who asked (the token's subject). Ids and tokens that a command may need are chosen by the shell:
the core draws nothing itself.
"""

import msgspec

from engine.core.agent import DefaultState, Line, PhoneOverdue, Wanted
from engine.core.call import CallOverdue
from engine.core.campaign import CampaignCommand
from engine.core.contact import NewContact
from engine.core.effect import ReservationDue
from engine.core.outcome import Party
from engine.core.telephony import LegObservation, LegSeen


class AddContacts(msgspec.Struct, frozen=True, kw_only=True):
    """Idempotent per ref. Reply: the refs that were new."""

    at: int
    by: str
    contacts: tuple[NewContact, ...]


class CancelContact(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    contact: str
    reason: str


class Allocate(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    agent: str
    phone: str
    line: Line
    default_state: DefaultState
    weight: int


class Withdraw(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    agent: str


class AskAgent(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    agent: str
    wanted: Wanted
    reason: str


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """Reply: the Reservation in hand, or a NoContact."""

    at: int
    agent: str
    reservation: str
    token: str


class NoContact(msgspec.Struct, frozen=True, kw_only=True):
    """`reason`: `none_added`, `completed`, `all_held`, or `not_due` with the time the next one is."""

    reason: str
    next_due_at: int | None = None


class Extend(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    agent: str
    reservation: str
    token: str


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    agent: str
    reservation: str
    token: str
    reason: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """By the agent with the token, or by a supervisor without (`token` None)."""

    at: int
    by: str
    agent: str
    reservation: str
    token: str | None
    reason: str


class Dispose(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    agent: str
    reservation: str
    token: str
    disposition: str


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """`number` is one of the contact's, or None for the next by the campaign's order. Reply: the call's id."""

    at: int
    agent: str
    reservation: str
    token: str
    number: str | None
    call: str
    leg: str


class HangUpCall(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    party: Party
    call: str


class Resync(msgspec.Struct, frozen=True, kw_only=True):
    """The connection to the PBX is (back) up: what lives there."""

    at: int
    legs: dict[str, LegSeen]
    restarted: bool


Command = (
    CampaignCommand
    | AddContacts
    | CancelContact
    | Allocate
    | Withdraw
    | AskAgent
    | Next
    | Extend
    | Skip
    | Release
    | Dispose
    | Dial
    | HangUpCall
)
Observation = LegObservation | Resync | ReservationDue | CallOverdue | PhoneOverdue
Message = Command | Observation
