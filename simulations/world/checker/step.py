"""What a checker sees, in the order in which it happened. Times are virtual seconds since the world began."""

from typing import Any

import msgspec


class Durable(msgspec.Struct, frozen=True):
    """An event that stands in a log from now on, at a position from 1."""

    log: str
    pos: int
    event: Any
    at_s: float

    @property
    def where(self) -> str:
        return f"{self.log} {self.pos} at {self.at_s:.3f} s"


class Asked(msgspec.Struct, frozen=True):
    """Somebody asked for a call, as the wall clock showed `wall_ms` (epoch)."""

    call: str
    wall_ms: int
    at_s: float

    @property
    def where(self) -> str:
        return f"asked at {self.at_s:.3f} s"


class Promised(msgspec.Struct, frozen=True):
    """An agent who closed a reservation was told that the contact is going to be called back, at `due_at` (epoch ms)."""

    reservation: str
    due_at: int
    at_s: float

    @property
    def where(self) -> str:
        return f"promised at {self.at_s:.3f} s"


class _Seen(msgspec.Struct, frozen=True):
    leg: str
    at_s: float

    @property
    def where(self) -> str:
        return f"the PBX at {self.at_s:.3f} s"


class LegDialled(_Seen, frozen=True):
    """The PBX began to call a contact's number."""

    number: str


class PhoneRung(_Seen, frozen=True):
    """The PBX began to ring an agent's phone."""

    phone: str


class LegAnswered(_Seen, frozen=True):
    pass


class LegGone(_Seen, frozen=True):
    """Hung up, or lost with the PBX."""


class Told(msgspec.Struct, frozen=True):
    """A client took a notification."""

    campaign: str
    seq: int
    id: str
    type: str
    data: dict[str, Any]
    at_s: float

    @property
    def where(self) -> str:
        return f"told at {self.at_s:.3f} s"


class CrmTold(msgspec.Struct, frozen=True):
    """A CRM took what the service told it of a call or a contact."""

    key: str
    call: str
    contact: str
    at_s: float

    @property
    def where(self) -> str:
        return f"told to the CRM at {self.at_s:.3f} s"


Step = Durable | Asked | Promised | LegDialled | PhoneRung | LegAnswered | LegGone | Told | CrmTold
