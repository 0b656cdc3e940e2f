"""Times as clients write them: with a distance to UTC, or as the clock on a contact's wall."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from api.problem import invalid
from engine.core.contact import Contact
from engine.ports import Zones


def epoch_ms(text: str, field: str) -> int:
    """An RFC 3339 time with its distance to UTC."""
    when = _parsed(text, field)
    if when.tzinfo is None:
        raise invalid(field, "a time has its distance to UTC: 2026-11-24T15:00:00-05:00")
    return _ms(when)


def at_the_contacts(text: str, contact: Contact, zones: Zones | None, field: str) -> int:
    """A time; without a distance to UTC it is what the contact's clock will show."""
    when = _parsed(text, field)
    if when.tzinfo is not None:
        return _ms(when)
    if contact.zone:
        return _ms(when.replace(tzinfo=ZoneInfo(contact.zone)))
    at = _ms(when.replace(tzinfo=UTC))
    offsets = {one for number in contact.numbers for one in (zones.offsets("", number, at) if zones else ())}
    if len(offsets) != 1:
        raise invalid(field, "the contact's time zone isn't certain: say the time with its distance to UTC")
    return _ms(when.replace(tzinfo=timezone(timedelta(minutes=offsets.pop()))))


def _parsed(text: str, field: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise invalid(field, f"{text[:40]!r} is no time: 2026-11-24T15:00:00-05:00") from None


def _ms(when: datetime) -> int:
    try:
        return int(when.timestamp() * 1_000)
    except (OverflowError, ValueError):
        return 0
