"""Numbers as E.164, or the reason why not: one that can be read in two ways is nobody's number.

With a region, a number without `+` is read as a national one and as one that begins with the region's country code; a
foreign one needs its `+` (or 00). Without a region it can only begin with a country code.
"""

import re
from importlib import import_module
from typing import Any

import phonenumbers

from adapters.importer.limits import SHOWN_CHARS

SHAPE = re.compile(r"\+?[0-9 ().\-/\u00a0]{2,40}")
SEPARATORS = re.compile(r"[ ().\-/\u00a0]")
EXPONENT = re.compile(r"[0-9][.,]?[0-9]*[eE]\+?[0-9]{1,2}")
E164 = phonenumbers.PhoneNumberFormat.E164
MIN_DIGITS, MAX_DIGITS = 4, 20
KEPT_PATTERNS = 50_000
"""The library compiles a pattern for each look; Python keeps 512 of them, and forgetting them costs four fifths."""


class BadNumber(ValueError):
    """Says why."""


def is_region(region: str) -> bool:
    return region in phonenumbers.SUPPORTED_REGIONS


def fast_library() -> Any:
    """The same library in Rust, where it is installed; else None."""
    try:
        return import_module("rphonenumbers")
    except ImportError:
        return None


class Numbers:
    """Reads numbers of one file. `fast` is asked first; whatever it refuses or doubts is asked of phonenumbers."""

    def __init__(self, region: str = "", fast: Any = None) -> None:
        self.region = region
        self.bare = 0
        """Numbers without + that were read without a region."""
        self._code = str(phonenumbers.country_code_for_region(region)) if region else ""
        self._fast = fast

    def read(self, text: str) -> str:
        """The number in E.164. Raises BadNumber."""
        if text.isascii() and text[text[:1] == "+" :].isdigit():
            digits = text
        elif SHAPE.fullmatch(text):
            digits = SEPARATORS.sub("", text)
        else:
            raise BadNumber(_misshapen(text))
        if not MIN_DIGITS <= len(digits.lstrip("+")) <= MAX_DIGITS:
            raise BadNumber(f"{text[:SHOWN_CHARS]!r} has {len(digits.lstrip('+'))} digits")
        if self._fast is not None:
            if digits[0] == "+":  # nearly all: one way to read it
                number = _international(digits, self._fast)
                if number:
                    return number
            quick = self._readings(digits, self._fast)
            if len(quick) == 1:
                return self._taken(digits, quick[0])
        found = self._readings(digits, phonenumbers)
        if len(found) == 1:
            return self._taken(digits, found[0])
        if found:
            raise BadNumber(f"{digits} can be read as {' and as '.join(found)}: write it with + and the country code")
        raise BadNumber(self._invalid(digits))

    def _taken(self, digits: str, number: str) -> str:
        if not self.region and digits[0] != "+":
            self.bare += 1
        return number

    def _readings(self, digits: str, library: Any) -> list[str]:
        """Each valid number that these digits can stand for, once."""
        found: list[str] = []
        for text, region in self._ways(digits):
            if text in found:
                continue  # what was read with the region begins with its country code
            try:
                number = library.parse(text, region)
            except (phonenumbers.NumberParseException, library.NumberParseException):
                continue
            if library.is_valid_number(number):
                one = library.format_number(number, E164)
                if one not in found:
                    found.append(one)
        return found

    def _ways(self, digits: str) -> list[tuple[str, str | None]]:
        if digits[0] == "+":
            return [(digits, None)]
        ways: list[tuple[str, str | None]] = [(digits, self.region)] if self.region else []
        if digits.startswith("00"):
            ways.append((f"+{digits[2:]}", None))
        if digits.startswith(self._code):  # any, where there is no region
            ways.append((f"+{digits}", None))
        return ways

    def _invalid(self, digits: str) -> str:
        if digits[0] == "+":
            return f"{digits} is not a valid number"
        if self.region:
            return f"{digits} is not a valid number of {self.region}; one of another country begins with +"
        return f"{digits} is not a valid number with a country code; for national numbers name the region"


def _international(digits: str, library: Any) -> str:
    """E.164 of a valid number with its country code, else ""."""
    try:
        number = library.parse(digits, None)
    except library.NumberParseException:
        return ""
    return str(library.format_number(number, E164)) if library.is_valid_number(number) else ""


def _misshapen(text: str) -> str:
    shown = text[:SHOWN_CHARS]
    if EXPONENT.fullmatch(text):
        return f"{shown!r} was shortened by a spreadsheet: format the column as text"
    return f"{shown!r} is not a number: digits, with + before the country code"


def keep_patterns() -> None:
    """For a process that does nothing else. Python may rename this: then it is only slower."""
    for name in ("_MAXCACHE", "_MAXCACHE2"):
        if hasattr(re, name):
            setattr(re, name, KEPT_PATTERNS)
