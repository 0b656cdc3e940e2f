"""Which of a contact's numbers is next, by the campaign's strategy."""

from engine.core.campaign import NumberStrategy, Settings
from engine.core.contact import Contact
from engine.core.outcome import Outcome
from engine.core.standing import Standing

NEVER_AGAIN = (Outcome.INVALID, Outcome.UNKNOWN)
"""After these a number isn't dialled by itself: it doesn't exist, or nobody knows what became of the last attempt."""


def candidates(contact: Contact, settings: Settings, standing: Standing, at: int) -> list[int]:
    """Numbers (by index) that the engine may dial by itself, best first.

    In order: those not tried yet, then the others, each as the contact has them. Round robin: the one longest not tried.
    """
    usable = [
        index
        for index, number in enumerate(contact.numbers)
        if contact.last_outcome(index) not in NEVER_AGAIN and not _cooling(number, settings, standing, at)
    ]
    last = {index: _last_tried(contact, index) for index in usable}
    match settings.number_strategy:
        case NumberStrategy.IN_ORDER:
            return sorted(usable, key=lambda index: (last[index] >= 0, index))
        case NumberStrategy.ROUND_ROBIN:
            return sorted(usable, key=lambda index: (last[index], index))


def _last_tried(contact: Contact, index: int) -> int:
    """The place of the newest attempt on a number among all of the contact's; -1 for none."""
    tried = [
        place
        for place, one in enumerate(contact.attempts)
        if one.number == index and one.outcome is not Outcome.AGENT_UNREACHABLE
    ]
    return tried[-1] if tried else -1


def _cooling(number: str, settings: Settings, standing: Standing, at: int) -> bool:
    last = standing.last_attempt(number)
    return bool(last) and at < last + settings.number_cooldown_s * 1_000
