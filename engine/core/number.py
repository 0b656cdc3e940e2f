"""Which of a contact's numbers is next, by the campaign's strategy."""

from engine.core.book import Book, hour_of
from engine.core.campaign import NumberStrategy, Settings
from engine.core.contact import Contact
from engine.core.outcome import Outcome
from engine.core.standing import Standing

NEVER_AGAIN = (Outcome.INVALID, Outcome.UNKNOWN)
"""After these a number isn't dialled by itself: it doesn't exist, or nobody knows what became of the last attempt."""
CONTROL_ONE_IN = 10
"""So many contacts are one that `best` leaves to the order they came in: what it gains can be told from the others."""
PRIOR_ATTEMPTS = 20
"""How many attempts at the campaign's mean answer a place and hour begins with: a few calls prove little."""
CONTROL = "control"


def strategy_for(contact: Contact, settings: Settings) -> str:
    """What chooses this contact's number, as the call's record says."""
    chosen = settings.number_strategy
    if chosen is NumberStrategy.BEST and contact.rank % CONTROL_ONE_IN == 0:
        return CONTROL
    return chosen.value


def candidates(book: Book, contact: Contact, standing: Standing, at: int) -> list[int]:
    """Numbers (by index) that the engine may dial by itself, best first.

    In order: those not tried yet, then the others, each as the contact has them. Round robin: the one longest not tried.
    Best: among those tried least, the one of whose place in the list people answered most at this hour (UTC).
    """
    settings = book.campaign.settings
    usable = [
        index
        for index, number in enumerate(contact.numbers)
        if contact.last_outcome(index) not in NEVER_AGAIN and not _cooling(number, settings, standing, at)
    ]
    last = {index: _last_tried(contact, index) for index in usable}
    match strategy_for(contact, settings):
        case NumberStrategy.ROUND_ROBIN:
            return sorted(usable, key=lambda index: (last[index], index))
        case NumberStrategy.BEST:
            tries = {index: sum(one.number == index for one in contact.dialled()) for index in usable}
            return sorted(usable, key=lambda index: (tries[index], -answer_rate(book, index, at), index))
        case _:
            return sorted(usable, key=lambda index: (last[index] >= 0, index))


def answer_rate(book: Book, place: int, at: int) -> float:
    """How often people answer the number at a place of their list at this hour, as far as this campaign's calls tell."""
    dialled, answered = book.answers.get((place, hour_of(at)), (0, 0))
    all_dialled = sum(one for one, _ in book.answers.values())
    mean = sum(one for _, one in book.answers.values()) / all_dialled if all_dialled else 0.0
    return (answered + PRIOR_ATTEMPTS * mean) / (dialled + PRIOR_ATTEMPTS)


def _last_tried(contact: Contact, index: int) -> int:
    """The place of the newest attempt on a number among all of the contact's; -1 for none."""
    tried = [
        place
        for place, one in enumerate(contact.attempts)
        if one.number == index and one.outcome is not Outcome.AGENT_UNREACHABLE
    ]
    return tried[-1] if tried else -1


def _cooling(number: str, settings: Settings, standing: Standing, at: int) -> bool:
    if not settings.number_cooldown_s:
        return False
    last = standing.last_attempt(number)
    return bool(last) and at < last + settings.number_cooldown_s * 1_000
