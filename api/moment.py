"""Times as clients write them: with a distance to UTC, or as the clock on a contact's wall."""

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from api.problem import invalid
from engine.core.contact import Contact
from engine.ports import Zones

FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII)
"""RFC 3339, the distance to UTC left out at will."""
MINUTE_MS = 60_000


def epoch_ms(text: str, field: str) -> int:
    """An RFC 3339 time with its distance to UTC."""
    when = _parsed(text, field)
    if when.tzinfo is None:
        raise invalid(field, "a time has its distance to UTC: 2026-11-24T15:00:00-05:00")
    return _ms(when, field)


def at_the_contacts(text: str, contact: Contact, zones: Zones | None, field: str) -> int:
    """A time; without a distance to UTC it is what the contact's clock will show."""
    when = _parsed(text, field)
    if when.tzinfo is not None:
        return _ms(when, field)
    if contact.zone:
        return _ms(when.replace(tzinfo=ZoneInfo(contact.zone)), field)
    rough = _ms(when.replace(tzinfo=UTC), field)
    found = [_offsets(zones, number, rough) for number in contact.numbers] if zones is not None else []
    offsets = set().union(*found)
    if len(offsets) != 1 or not all(found):
        raise invalid(field, "the contact's time zone isn't certain: say the time with its distance to UTC")
    return _ms(when.replace(tzinfo=timezone(timedelta(minutes=offsets.pop()))), field)


def _offsets(zones: Zones, number: str, rough: int) -> set[int]:
    """How far from UTC the callee may be when their clock shows a time; asked again with that, as clocks are put forward."""
    near = zones.offsets("", number, rough)
    return {exact for one in near for exact in zones.offsets("", number, rough - one * MINUTE_MS)}


def _parsed(text: str, field: str) -> datetime:
    try:
        if FORM.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except ValueError:
        pass
    raise invalid(field, f"{text[:40]!r} is no time: 2026-11-24T15:00:00-05:00")


def _ms(when: datetime, field: str) -> int:
    """Epoch ms. Nothing that a client names lies before 1970, and 0 says "never" elsewhere."""
    try:
        at = int(when.timestamp() * 1_000)
    except (OverflowError, ValueError):
        at = 0
    if at <= 0:
        raise invalid(field, "lies too far in the past")
    return at
