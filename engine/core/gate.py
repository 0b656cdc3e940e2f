"""The last look before a number is dialled. It fails closed: what can't be told forbids.

Every rule that a campaign sets is looked at in this order; the first that forbids is the answer. A callee whose time zone
isn't certain is called only when every zone they may be in allows it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from engine.core.book import Book
from engine.core.campaign import Day, Settings, Window
from engine.core.contact import Contact
from engine.core.recent import DAY_MS
from engine.core.standing import Standing, line_of

MINUTE_MS = 60_000
DAYS = tuple(Day)
BY_CLOCK = ("window", "holiday")
"""Rules that end by themselves as time goes on."""
DAYS_AHEAD = 15
"""How far is looked for the next opening: holidays may close more than a week."""
THURSDAY = 3
"""The weekday on which epoch time begins."""


class Forbidden(NamedTuple):
    rule: str
    detail: str
    version: int = 0


def forbidden(
    book: Book, contact: Contact, number: str, offsets: Sequence[int], standing: Standing, at: int
) -> Forbidden | None:
    """Why a number may not be dialled now, or None. `offsets` are the callee's possible distances to UTC, minutes."""
    settings = book.campaign.settings
    listed = standing.listed(number, book.campaign.ref, at)
    if listed is not None:
        return Forbidden("dnc", f"the number is on the do-not-call list {listed[0]!r}", listed[1])
    if contact.consent_until and at >= contact.consent_until:
        return Forbidden("consent", "the contact's consent has expired")
    if settings.consent_required and not contact.consent_until:
        return Forbidden("consent", "the campaign requires consent, and none is known")
    return _by_clock(settings, offsets, at) or _by_count(settings, contact, number, standing, at)


def _by_clock(settings: Settings, offsets: Sequence[int], at: int) -> Forbidden | None:
    if not (settings.windows or settings.holidays):
        return None
    if not offsets:
        return Forbidden("zone", "the contact's time zone is not known, and the campaign calls by the callee's clock")
    for offset in offsets:
        local = at + offset * MINUTE_MS
        day = local // DAY_MS
        if settings.holidays and date_of(day) in settings.holidays:
            return Forbidden("holiday", f"it is {date_of(day)} where the callee is, a holiday")
        weekday, minute = DAYS[(day + THURSDAY) % 7], local % DAY_MS // MINUTE_MS
        if settings.windows and not any(_open(window, weekday, minute) for window in settings.windows):
            clock = f"{minute // 60:02}:{minute % 60:02}"
            return Forbidden("window", f"it is {weekday} {clock} where the callee is, outside the calling windows")
    return None


def opens_at(settings: Settings, offsets: Sequence[int], at: int) -> int:
    """When windows and holidays next allow a call (epoch ms), by the clocks as they stand now; 0 where that isn't soon.

    They open at a window's beginning, or at midnight behind a holiday, of one of the zones.
    """
    starts = {minutes(one.start) for one in settings.windows} or {0}
    moments = {
        day * DAY_MS + (start - offset) * MINUTE_MS
        for offset in offsets
        for day in range((at + offset * MINUTE_MS) // DAY_MS, (at + offset * MINUTE_MS) // DAY_MS + DAYS_AHEAD)
        for start in starts
    }
    return next((one for one in sorted(moments) if one > at and _by_clock(settings, offsets, one) is None), 0)


def _open(window: Window, weekday: Day, minute: int) -> bool:
    return weekday in window.days and minutes(window.start) <= minute < minutes(window.end)


def _by_count(settings: Settings, contact: Contact, number: str, standing: Standing, at: int) -> Forbidden | None:
    """Nothing is counted that the campaign doesn't limit."""
    if most := settings.attempts_per_contact:
        dialled = sum(1 for _ in contact.dialled())
        if dialled >= most:
            return Forbidden("attempts-contact", f"{dialled} attempts on the contact, the campaign's most")
    if most := settings.attempts_per_number:
        index = contact.numbers.index(number)
        tried = sum(one.number == index for one in contact.dialled())
        if tried >= most:
            return Forbidden("attempts-number", f"{tried} attempts on the number, the campaign's most")
    if most := settings.number_attempts_per_day:
        today = standing.attempts(number, at - DAY_MS)
        if today >= most:
            return Forbidden("cap-number", f"{today} attempts on the number in 24 hours over all campaigns")
    if most := settings.person_attempts_per_day:
        person = sum(standing.attempts(one, at - DAY_MS) for one in {line_of(one) for one in contact.numbers})
        if person >= most:
            return Forbidden("cap-person", f"{person} attempts on the person in 24 hours over all campaigns")
    return None


def minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def date_of(day: int) -> str:
    """The date of a day since 1970-01-01, proleptic Gregorian (civil-from-days)."""
    shifted = day + 719_468
    era, of_era = divmod(shifted, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return f"{year + era * 400 + (month <= 2):04}-{month:02}-{day_of_month:02}"
