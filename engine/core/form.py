"""A campaign's form: what agents note down of a contact when they close it.

What they note is the person's own. It is checked against the fields as they are at that moment, and kept sealed with the
rest of the person's data: each value as JSON, so that it reads back as what it was whatever becomes of the fields.
"""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, assert_never

import msgspec

from engine.core.personal import Details, Person
from engine.core.refusal import invalid

MAX_FORM_FIELDS = 50
MAX_CHOICES = 200
MAX_ANSWER_CHARS = 1_000
MAX_NUMBER = 10**15
"""A whole number up to this is exact in every client."""
SHOWN = r"^[^\x00-\x1f\x7f]*$(?!\n)"
DATE = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
DAYS_OF_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

Answer = str | int | float | bool


class FieldType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CHOICE = "choice"
    BOOLEAN = "boolean"


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to note down. `choices` are what a `choice` may be; a `date` is written 2026-11-24."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]{1,64}$(?!\n)")]
    label: Annotated[str, msgspec.Meta(max_length=200, pattern=SHOWN)] = ""
    type: FieldType = FieldType.TEXT
    required: bool = False
    choices: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=SHOWN)], ...],
        msgspec.Meta(max_length=MAX_CHOICES),
    ] = ()


def check_fields(fields: tuple[Field, ...]) -> None:
    """Raises Refused naming the field of the settings."""
    if len({one.name for one in fields}) != len(fields):
        raise invalid("settings.form", "a field's name appears twice")
    for index, field in enumerate(fields):
        at = f"settings.form[{index}].choices"
        if bool(field.choices) != (field.type is FieldType.CHOICE):
            raise invalid(at, "a choice has some, and nothing else has any")
        if len(set(field.choices)) != len(field.choices):
            raise invalid(at, "one stands twice")


def check(fields: tuple[Field, ...], given: Mapping[str, Any], missing_allowed: bool) -> dict[str, Answer]:
    """What was noted down, in the order of the fields. Null and blank text are nothing. Raises Refused naming the field."""
    unknown = next((name for name in given if all(one.name != name for one in fields)), None)
    if unknown is not None:
        raise invalid(f"data.{unknown[:64]}", "the campaign's form has no such field")
    answers: dict[str, Answer] = {}
    for field in fields:
        value = given.get(field.name)
        if value is None or (isinstance(value, str) and not value.strip()):
            if field.required and not missing_allowed:
                raise invalid(f"data.{field.name}", "is required by the campaign's form")
            continue
        why_not = _why_not(field, value)
        if why_not:
            raise invalid(f"data.{field.name}", why_not)
        answers[field.name] = value
    return answers


def _why_not(field: Field, value: Any) -> str:
    """What is wrong with a value; empty if nothing is."""
    match field.type:
        case FieldType.TEXT:
            long = isinstance(value, str) and len(value) > MAX_ANSWER_CHARS
            return f"has more than {MAX_ANSWER_CHARS} characters" if long else _unless(isinstance(value, str), "text")
        case FieldType.NUMBER:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = number and math.isfinite(value) and abs(value) <= MAX_NUMBER
            return _unless(fits, f"a number between ±{MAX_NUMBER}")
        case FieldType.DATE:
            return _unless(isinstance(value, str) and _is_date(value), "a date, as 2026-11-24,")
        case FieldType.CHOICE:
            return _unless(value in field.choices, f"one of {', '.join(field.choices)}"[:300])
        case FieldType.BOOLEAN:
            return _unless(isinstance(value, bool), "true or false")
        case _:
            assert_never(field.type)


def _unless(fits: bool, expected: str) -> str:
    return "" if fits else f"{expected} is expected"


def _is_date(text: str) -> bool:
    match = DATE.fullmatch(text)
    if match is None:
        return False
    year, month, day = map(int, match.groups())
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= DAYS_OF_MONTH[month - 1] + leap


# -- kept -------------------------------------------------------------------------------------------------------------


def sealed(subject: str, answers: Mapping[str, Answer]) -> Person | None:
    """What was noted down of a person, as it is stored; None where it was nothing."""
    data = {name: msgspec.json.encode(value).decode() for name, value in answers.items()}
    return Person(subject, Details(numbers=(), data=data)) if data else None


def answers_of(form: Person | None) -> dict[str, Answer]:
    """What was noted down; nothing once the person is erased."""
    details = form.details if form is not None else None
    return {name: msgspec.json.decode(value) for name, value in details.data.items()} if details is not None else {}
