"""A file's header, read: which column is what.

Our own names are `ref`, `number1` to `number10` (with `number1_type` to `number10_type`), `name`, `priority`, `tags`,
`agent`, `zone`, `external_id` and `consent_until`. Every other column is kept as additional data under its own header, or
what follows `data.`. A mapping (the file's header → our name) goes before; `-` leaves a column out.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from adapters.importer.limits import MAX_COLUMNS, MAX_FIELDS, MAX_KEY_CHARS, MAX_NUMBERS, SHOWN_CHARS

REF, NAME, PRIORITY, TAGS, AGENT, ZONE = "ref", "name", "priority", "tags", "agent", "zone"
EXTERNAL_ID, CONSENT = "external_id", "consent_until"
SINGLE = (REF, NAME, PRIORITY, TAGS, AGENT, ZONE, EXTERNAL_ID, CONSENT)
NUMBERS = tuple(f"number{place}" for place in range(1, MAX_NUMBERS + 1))
TYPES = tuple(f"{number}_type" for number in NUMBERS)
OURS = frozenset((*SINGLE, *NUMBERS, *TYPES))
DATA = "data."
LEFT_OUT = "-"
KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,64}")
TEMPLATE = (
    *("ref", "number1", "number1_type", "number2", "number2_type", "number3", "number3_type"),
    *("name", "priority", "tags", "agent", "zone", "external_id", "consent_until"),
)


class BadHeader(Exception):
    """Nothing can be read under this header. Says why."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a row things stand. `headers` are the file's own; -1 is nowhere."""

    headers: tuple[str, ...]
    single: dict[str, int]
    numbers: tuple[tuple[int, int], ...]
    """Places of each number and of its type."""
    data: tuple[tuple[str, int], ...]
    required: tuple[int, ...]
    unnamed: tuple[int, ...]
    """Columns without a header: nothing may stand in them."""
    warnings: tuple[str, ...] = ()

    def header(self, place: int) -> str:
        return self.headers[place] if place < len(self.headers) else ""


def target(name: str) -> str:
    """Our name for what a header or a mapping says, in its one form; `data.` and a key for what is none of ours."""
    plain = re.sub(r"[ \-]+", "_", name.strip().lower())
    plain = re.sub(r"^number_(?=[0-9])", "number", plain)
    if plain == "number":
        return NUMBERS[0]
    if plain in OURS or name == LEFT_OUT:
        return plain if plain in OURS else LEFT_OUT
    key = name.strip()
    return DATA + (key[len(DATA) :] if key.lower().startswith(DATA) else key)


def check_targets(columns: Mapping[str, str]) -> None:
    """A mapping that can be saved. Raises BadHeader."""
    if len(columns) > MAX_COLUMNS:
        raise BadHeader(f"a mapping has at most {MAX_COLUMNS} columns")
    meant: dict[str, str] = {}
    for header, ours in columns.items():
        if not header.strip() or not ours.strip():
            raise BadHeader("a header or its column is empty")
        to = target(ours)
        if to.startswith(DATA) and not ours.strip().lower().startswith(DATA):
            raise BadHeader(f"{ours[:SHOWN_CHARS]!r} is no column of ours; further data is data.NAME")
        _check_key(to)
        if to != LEFT_OUT and meant.setdefault(to, header) != header:
            raise BadHeader(f"{meant[to][:SHOWN_CHARS]!r} and {header[:SHOWN_CHARS]!r} both lead to {to}")


def read_header(cells: Sequence[str], columns: Mapping[str, str], required: Sequence[str]) -> Layout:
    """Raises BadHeader."""
    headers = [one.strip() for one in cells]
    while headers and not headers[-1]:
        headers.pop()
    if not headers:
        raise BadHeader("the first row is empty: it has to name the columns")
    if len(headers) > MAX_COLUMNS:
        raise BadHeader(f"there are {len(headers)} columns; a file has at most {MAX_COLUMNS}")
    mapping = {header.strip().casefold(): ours for header, ours in columns.items()}
    places: dict[str, int] = {}
    for place, header in enumerate(headers):
        if not header:
            continue
        to = target(mapping.get(header.casefold(), header))
        if to == LEFT_OUT:
            continue
        _check_key(to)
        if to in places:
            first = headers[places[to]]
            raise BadHeader(
                f"columns {places[to] + 1} ({first[:80]!r}) and {place + 1} ({header[:80]!r}) are both {to}"
            )
        places[to] = place
    return _layout(headers, places, columns, required)


def _layout(headers: list[str], places: dict[str, int], columns: Mapping[str, str], required: Sequence[str]) -> Layout:
    if REF not in places:
        raise BadHeader("there is no column ref")
    numbers = tuple((places[name], places.get(f"{name}_type", -1)) for name in NUMBERS if name in places)
    if not numbers:
        raise BadHeader("there is no column number1")
    orphan = next((name for name in TYPES if name in places and name.removesuffix("_type") not in places), None)
    if orphan is not None:
        raise BadHeader(f"there is a column {orphan}, and none {orphan.removesuffix('_type')}")
    data = tuple((to[len(DATA) :], place) for to, place in places.items() if to.startswith(DATA))
    if len(data) > MAX_FIELDS:
        raise BadHeader(f"there are {len(data)} columns of additional data; a contact has at most {MAX_FIELDS}")
    mapping = {header.strip().casefold(): ours for header, ours in columns.items()}
    wanted = [target(mapping.get(name.casefold(), name)) for name in required]  # by our name, or by the file's
    missing = [name for name in wanted if name not in places]
    if missing:
        raise BadHeader("required, and not in the file: " + ", ".join(name.removeprefix(DATA) for name in missing))
    known = {header.casefold() for header in headers}
    unmet = [header for header in columns if header.strip().casefold() not in known]
    return Layout(
        headers=tuple(headers),
        single={name: places.get(name, -1) for name in SINGLE},
        numbers=numbers,
        data=data,
        required=tuple(sorted({places[name] for name in wanted} | {places[REF]})),
        unnamed=tuple(place for place, header in enumerate(headers) if not header),
        warnings=(("the mapping names columns that the file hasn't: " + ", ".join(sorted(unmet)),) if unmet else ()),
    )


def _check_key(to: str) -> None:
    if to.startswith(DATA) and not KEY.fullmatch(to[len(DATA) :]):
        shown = to[len(DATA) :][:SHOWN_CHARS]
        raise BadHeader(f"{shown!r} can't name additional data: 1 to {MAX_KEY_CHARS} characters on one line")
