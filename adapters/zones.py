"""Where a contact may be, and what time it is there: zones of numbers as phonenumbers knows them, clocks from zoneinfo."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone

UNKNOWN = "Etc/Unknown"
KEPT_ZONES, KEPT_NUMBERS = 1_024, 65_536


class PhoneZones:
    """The zones that a number may be in: all of its country's for a mobile one. A contact's own zone goes before."""

    def offsets(self, zone: str, number: str, at: int) -> tuple[int, ...]:
        """Minutes ahead of UTC at a time, each once, ascending. Empty where nothing is known."""
        names = (zone,) if zone else _zones_of(number)
        clocks = [_clock(name) for name in names]
        if not clocks or None in clocks:
            return ()
        when = datetime.fromtimestamp(at / 1_000, UTC)
        ahead = (when.astimezone(clock).utcoffset() for clock in clocks if clock is not None)
        return tuple(sorted({int(one.total_seconds() // 60) for one in ahead if one is not None}))

    def knows(self, zone: str) -> bool:
        return is_zone(zone)


def is_zone(name: str) -> bool:
    """Whether there is an IANA zone of this name."""
    return _clock(name) is not None


@lru_cache(KEPT_ZONES)
def _clock(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(KEPT_NUMBERS)
def _zones_of(number: str) -> tuple[str, ...]:
    if not number.startswith("+"):
        return ()  # national digits say nothing of the country
    try:
        names = timezone.time_zones_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return ()
    return tuple(name for name in names if name != UNKNOWN)
