"""A row of a file, checked: a contact, or everything that is wrong with it."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from adapters.importer.column import AGENT, CONSENT, EXTERNAL_ID, NAME, PRIORITY, REF, TAGS, ZONE, Layout
from adapters.importer.job import ROUNDED, Row, RowError
from adapters.importer.limits import MAX_CELL_CHARS, MAX_NAME_CHARS, MAX_TAGS, MAX_VALUE_CHARS, SHOWN_CHARS
from adapters.importer.number import BadNumber, Numbers
from adapters.zones import is_zone
from engine.core.contact import Priority

REF_FORM = re.compile(r"[A-Za-z0-9_.:@-]{1,100}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
BREAKS = re.compile(r"[\t\r\n\u2028\u2029]+")
TYPE = re.compile(r"[a-z][a-z_]{0,31}")
PRIORITIES = frozenset(Priority)
MAX_EXTERNAL_ID_CHARS = 100


class Tally:
    """What isn't an error and still worth a word: how often it was seen, and where first."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, int]] = {}

    def note(self, what: str, row: int, times: int = 1) -> None:
        count, first = self.seen.get(what, (0, row))
        self.seen[what] = (count + times, first)

    def lines(self) -> list[str]:
        return [
            f"{what}: {count} row{'s' if count > 1 else ''}, the first is {first}"
            for what, (count, first) in self.seen.items()
        ]


class RowCheck:
    """Checks the rows of one file, each by itself: whether two have the same ref is for who sees them all."""

    def __init__(
        self,
        layout: Layout,
        numbers: Numbers,
        *,
        campaign: str,
        prefix: bool,
        tags: frozenset[str],
        agents: frozenset[str],
    ) -> None:
        self.tally = Tally()
        self.agents: set[str] = set()
        self.refs: list[tuple[str, int]] = []
        """Every legible ref with its row, also of rows that are wrong otherwise."""
        self.externals: list[tuple[str, int]] = []
        """Every external id with its row."""
        self._layout, self._numbers = layout, numbers
        self._prefix, self._add_prefix = f"{campaign}:", prefix
        self._known_tags, self._known_agents = tags, agents
        self._width = len(layout.headers)
        self._errors: list[RowError] = []
        self._row = 0

    def check(self, row: int, cells: Sequence[str]) -> tuple[Row | None, list[RowError]]:
        """`cells` as they stand; missing ones at the end are empty."""
        self._row, self._errors = row, []
        values = self._values(cells)
        place = self._layout.single
        ref = self._ref(values[place[REF]])
        numbers, types = self._read_numbers(values)
        contact = Row(
            ref,
            numbers,
            self._plain(values, place[NAME], MAX_NAME_CHARS),
            self._data(values, types),
            self._priority(values, place[PRIORITY]),
            self._agent(values, place[AGENT]),
            zone := self._zone(values, place[ZONE]),
            self._tags(values, place[TAGS]),
            self._external(values, place[EXTERNAL_ID]),
            self._consent(values, place[CONSENT], zone),
        )
        return (None if self._errors else contact), self._errors

    def _wrong(self, place: int, reason: str, column: str = "") -> None:
        self._errors.append(RowError(self._row, column or self._layout.header(place), reason))

    def _values(self, cells: Sequence[str]) -> list[str]:
        """Exactly one value a column, without blanks around it."""
        values = [one.strip() for one in cells]
        if len(values) > self._width:
            if any(values[self._width :]):
                self._wrong(self._width, f"there are {len(values)} cells under {self._width} headers")
            del values[self._width :]
        elif len(values) < self._width:
            values += [""] * (self._width - len(values))
        for place in self._layout.unnamed:
            if values[place]:
                self._wrong(place, f"column {place + 1} has a value and no header")
        for place in self._layout.required:
            if not values[place]:
                self._wrong(place, "a value is required")
        whole = "".join(values)
        if not whole.isprintable():
            self._check_control(values)
        if len(whole) > MAX_VALUE_CHARS:
            for place, value in enumerate(values):
                if len(value) > MAX_CELL_CHARS:
                    self._wrong(place, f"has more than {MAX_CELL_CHARS} characters")
                    values[place] = ""
        return values

    def _check_control(self, values: list[str]) -> None:
        """Several lines of data become one: names and data reach headers and logs. Other control characters are none."""
        data = {place for _, place in self._layout.data}
        for place, value in enumerate(values):
            kept = BREAKS.sub(" ", value) if place in data else value
            if kept != value:
                self.tally.note("line breaks and tabs in additional data became blanks", self._row)
                values[place] = kept
            if value == ROUNDED:
                self._wrong(place, "a spreadsheet has rounded this number: format the column as text")
                values[place] = ""
            elif CONTROL.search(kept):
                self._wrong(place, "has a control character or a line break")
                values[place] = ""

    def _ref(self, ref: str) -> str:
        place = self._layout.single[REF]
        if not ref:
            return ""  # said already: it is always required
        if not ref.startswith(self._prefix):
            if self._add_prefix:
                ref = self._prefix + ref
            else:
                self.tally.note(f"refs without the prefix {self._prefix!r}", self._row)
        if not REF_FORM.fullmatch(ref):
            self._wrong(place, f"{ref[:SHOWN_CHARS]!r} is no ref: 1 to 100 letters, digits and _ . : @ -")
            return ""
        self.refs.append((ref, self._row))
        return ref

    def _read_numbers(self, values: list[str]) -> tuple[tuple[str, ...], list[str]]:
        """The numbers, and their types in the same places."""
        found: dict[str, str] = {}
        wrong = False
        for place, type_place in self._layout.numbers:
            text, kind = values[place], values[type_place].lower() if type_place >= 0 else ""
            if kind and not TYPE.fullmatch(kind):
                self._wrong(type_place, f"{kind[:SHOWN_CHARS]!r} is no type: a word such as mobile, home or work")
            if not text:
                if kind:
                    self._wrong(type_place, "is the type of a number that is empty")
                continue
            try:
                number = self._numbers.read(text)
            except BadNumber as error:
                self._wrong(place, str(error))
                wrong = True
                continue
            if number in found:
                self.tally.note("the same number twice in a row: kept once", self._row)
            found.setdefault(number, kind)
        if not found and not wrong:
            self._wrong(self._layout.numbers[0][0], "at least one number is needed")
        return tuple(found), list(found.values())

    def _plain(self, values: list[str], place: int, most: int) -> str:
        if place < 0:
            return ""
        value = values[place]
        if len(value) > most:
            self._wrong(place, f"has {len(value)} characters; at most {most} are kept")
        return value

    def _data(self, values: list[str], types: list[str]) -> dict[str, str]:
        data = {}
        for key, place in self._layout.data:
            value = values[place]
            if value:
                data[key] = value
                if len(value) > MAX_VALUE_CHARS:
                    self._wrong(place, f"has {len(value)} characters; at most {MAX_VALUE_CHARS} are kept")
        for index, kind in enumerate(types, 1):
            if kind:
                data[f"number{index}_type"] = kind
        return data

    def _priority(self, values: list[str], place: int) -> str:
        value = values[place].lower() if place >= 0 else ""
        if value and value not in PRIORITIES:
            self._wrong(place, f"{value[:SHOWN_CHARS]!r} is none of low, normal, high")
        return value or Priority.LOW.value

    def _agent(self, values: list[str], place: int) -> str:
        value = values[place] if place >= 0 else ""
        if value:
            if value in self._known_agents:
                self.agents.add(value)
            else:
                self._wrong(place, f"there is no agent {value[:SHOWN_CHARS]!r}")
        return value

    def _zone(self, values: list[str], place: int) -> str:
        value = values[place] if place >= 0 else ""
        if value and not is_zone(value):
            self._wrong(place, f"{value[:SHOWN_CHARS]!r} is no time zone such as America/Bogota")
            return ""
        return value

    def _tags(self, values: list[str], place: int) -> tuple[str, ...]:
        if place < 0 or not values[place]:
            return ()
        tags = tuple(dict.fromkeys(tag for one in values[place].split(",") if (tag := one.strip())))
        unknown = [tag for tag in tags if tag not in self._known_tags]
        if unknown:
            self._wrong(place, f"there is no tag {_listed(unknown)}")
        elif len(tags) > MAX_TAGS:
            self._wrong(place, f"there are {len(tags)} tags; a contact has at most {MAX_TAGS}")
        return tags

    def _external(self, values: list[str], place: int) -> str:
        value = self._plain(values, place, MAX_EXTERNAL_ID_CHARS)
        if value:
            self.externals.append((value, self._row))
        return value

    def _consent(self, values: list[str], place: int, zone: str) -> int:
        """Epoch ms. A bare date counts to its end, in the contact's zone where it is given, else in UTC."""
        value = values[place] if place >= 0 else ""
        if not value:
            return 0
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
                day = date.fromisoformat(value) + timedelta(days=1)
                until = datetime.combine(day, time(), ZoneInfo(zone) if zone else UTC)
            else:
                until = datetime.fromisoformat(value)
            if until.tzinfo is None:
                raise ValueError("no zone")
            return int(until.timestamp() * 1_000)
        except (ValueError, OverflowError):
            self._wrong(place, f"{value[:SHOWN_CHARS]!r} is neither a date (2027-01-31) nor a time with its zone")
            return 0


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:SHOWN_CHARS]) for name in list(names)[:5])
