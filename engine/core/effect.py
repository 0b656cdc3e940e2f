"""What the core asks to be done, as values. One place runs them; what comes of them returns as observations."""

import msgspec

from engine.core.agent import PhoneOverdue
from engine.core.call import CallOverdue
from engine.core.telephony import TelephonyEffect


class ReservationDue(msgspec.Struct, frozen=True):
    """A timer: the reservation's time is up, unless it was extended meanwhile."""

    at: int
    reservation: str


class DealContacts(msgspec.Struct, frozen=True):
    """At once, but after whatever waits: the next step of splitting contacts over the agents."""

    at: int


class Suppress(msgspec.Struct, frozen=True):
    """Put a contact's numbers on the do-not-call list that its disposition names. Doing so twice is doing it once."""

    contact: str
    list: str
    numbers: tuple[str, ...]


class Suppressed(msgspec.Struct, frozen=True):
    """What `Suppress` asked for is durable."""

    at: int
    contact: str
    list: str


Alarm = ReservationDue | CallOverdue | PhoneOverdue | DealContacts


class SetTimer(msgspec.Struct, frozen=True):
    """Deliver `alarm` (with its `at` set to the time it rings) at `due` epoch ms. A key has one timer: the last set."""

    key: str
    due: int
    alarm: Alarm


class CancelTimer(msgspec.Struct, frozen=True):
    key: str


Effect = TelephonyEffect | SetTimer | CancelTimer | Suppress


def can_wait(effect: Effect) -> bool:
    """Whether it may as well be done a moment later. A timer rings when it is due, whenever it was set, and in vain
    where it should have been taken back; only the next step of dealing is due already.
    """
    if type(effect) is SetTimer:
        return type(effect.alarm) is not DealContacts
    return type(effect) is CancelTimer
