"""What a campaign's mailbox takes, beside the campaign's own commands: commands and observations.

`at` is epoch ms, `by` who asked (the token's subject). Ids and tokens that a command may need are chosen by the shell:
the core draws nothing itself.
"""

from typing import Any

import msgspec

from engine.core.agent import DefaultState, Line, PhoneOverdue, Wanted
from engine.core.call import CallOverdue
from engine.core.campaign import CampaignCommand
from engine.core.contact import NewContact
from engine.core.effect import DealContacts, ReservationDue, Suppressed
from engine.core.importing import ImportMode
from engine.core.outcome import Party
from engine.core.telephony import LegObservation, LegSeen


class AddContacts(msgspec.Struct, frozen=True, kw_only=True):
    """Idempotent per ref. `overwrite` replaces known contacts that were never dialled. Reply: Added."""

    at: int
    by: str
    contacts: tuple[NewContact, ...]
    overwrite: bool = False


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """Refs that were new, those that were replaced, and those that weren't with the reason. The others were known."""

    new: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    refused: dict[str, str] = {}


class CancelContacts(msgspec.Struct, frozen=True, kw_only=True):
    """Up to 1,000 contacts. Reply: why not, by ref, for those that can't be cancelled."""

    at: int
    by: str
    contacts: tuple[str, ...]
    reason: str


class EraseContacts(msgspec.Struct, frozen=True, kw_only=True):
    """Forget who up to 1,000 contacts are. Reply: those that have to wait, for they are in a call or its wrap-up."""

    at: int
    by: str
    contacts: tuple[str, ...]


class StartImport(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    import_id: str
    name: str
    mode: ImportMode
    rows: int
    digest: str


class FinishImport(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    import_id: str
    added: int = 0
    known: int = 0
    replaced: int = 0
    rejected: int = 0
    cancelled: int = 0
    lost: bool = False


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
    """Reply: the Reservation in hand, or a NoContact. `ahead`: the one after it, to be looked at meanwhile."""

    at: int
    agent: str
    reservation: str
    token: str
    ahead: bool = False


class NoContact(msgspec.Struct, frozen=True, kw_only=True):
    """`reason`: `none_added`, `completed`, `all_held`, `others` (they are other agents'), or `not_due` with the time when
    the next one is."""

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
    """`callback_at` is when the contact wants to be called back, `personal` by this agent; `data` by the campaign's form."""

    at: int
    agent: str
    reservation: str
    token: str
    disposition: str
    callback_at: int | None = None
    personal: bool = True
    data: dict[str, Any] = {}


class DisposeAll(msgspec.Struct, frozen=True, kw_only=True):
    """Up to 1,000 contacts, closed as `agent`, or by whoever supervises ("").

    Reply: the Refused of each that isn't closed, by ref.
    """

    at: int
    by: str
    agent: str
    contacts: tuple[str, ...]
    disposition: str
    data: dict[str, Any] = {}


Offsets = dict[str, tuple[int, ...]]
"""By number: how far the callee may be from UTC at this moment, in minutes; several where the zone isn't certain."""


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """`number` is one of the contact's, or None for the next by the campaign's strategy.

    Reply: the call's id, or a Refused where a rule forbids it (that is written down).
    """

    at: int
    agent: str
    reservation: str
    token: str
    number: str | None
    call: str
    leg: str
    offsets: Offsets = {}


class ClickToCall(msgspec.Struct, frozen=True, kw_only=True):
    """An external system asks for a call of one agent with one contact: reserve and dial in one.

    `request` is its own id: asked again it is the same call. `number` as in Dial. Reply: as Dial's.
    """

    at: int
    by: str
    request: str
    agent: str
    contact: str
    number: str | None
    reservation: str
    token: str
    call: str
    leg: str
    offsets: Offsets = {}


class HangUpCall(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    party: Party
    call: str


class Resync(msgspec.Struct, frozen=True, kw_only=True):
    """The connection to the PBX is (back) up: what lives there. `heard_until` is when it was lost, 0 where nobody knows."""

    at: int
    legs: dict[str, LegSeen]
    restarted: bool
    heard_until: int = 0


Command = (
    CampaignCommand
    | AddContacts
    | CancelContact
    | CancelContacts
    | EraseContacts
    | StartImport
    | FinishImport
    | Allocate
    | Withdraw
    | AskAgent
    | Next
    | Extend
    | Skip
    | Release
    | Dispose
    | DisposeAll
    | Dial
    | ClickToCall
    | HangUpCall
)
Observation = LegObservation | Resync | ReservationDue | CallOverdue | PhoneOverdue | DealContacts | Suppressed
Message = Command | Observation
