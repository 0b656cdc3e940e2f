"""Given a number as people write it, when a file is read, then it is E.164 or nobody's."""

import random
import sys
from typing import Any

import phonenumbers
import pytest

from adapters.importer.number import BadNumber, Numbers, fast_library, is_region

FAST = fast_library()
LIBRARIES = [pytest.param(None, id="phonenumbers")] + (
    [pytest.param(FAST, id="rphonenumbers")] if FAST is not None else []
)


@pytest.fixture(params=LIBRARIES)
def fast(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("region", "text", "number"),
    [
        ("CO", "+573105822141", "+573105822141"),
        ("CO", "573105822141", "+573105822141"),
        ("CO", "3105822141", "+573105822141"),
        ("CO", "+57 (310) 582-2141", "+573105822141"),
        ("CO", "00573105822141", "+573105822141"),
        ("CO", "+49 30 123456", "+4930123456"),
        ("US", "011 57 310 582 2141", "+573105822141"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("", "+573105822141", "+573105822141"),
        ("", "573105822141", "+573105822141"),
    ],
)
def test_SG_06_with_and_without_plus_a_number_becomes_E164(region: str, text: str, number: str, fast: Any) -> None:
    assert Numbers(region, fast).read(text) == number


@pytest.mark.parametrize(
    ("region", "text", "readings"),
    [
        ("DE", "4963170669", ["+494963170669", "+4963170669"]),  # 04963 170669, or 0631 70669 with its country code
        ("IT", "390297453", ["+39390297453", "+390297453"]),
        ("AT", "435952066", ["+43435952066", "+435952066"]),
    ],
)
def test_SG_06_two_readings_are_an_error_that_names_both(
    region: str, text: str, readings: list[str], fast: Any
) -> None:
    with pytest.raises(BadNumber) as error:
        Numbers(region, fast).read(text)
    assert all(one in str(error.value) for one in readings)
    assert [Numbers(region, fast).read(one) for one in readings] == readings  # with its + each is clear


@pytest.mark.parametrize(
    ("region", "text", "reason"),
    [
        ("CO", "4930123456", "begins with +"),  # Berlin's, and not guessed to be
        ("CO", "+571", "has 3 digits"),
        ("CO", "+57310582214100", "not a valid number"),
        ("", "3105822141", "name the region"),
        ("CO", "5.73106E+11", "shortened by a spreadsheet"),
        ("CO", "5,73106E+11", "shortened by a spreadsheet"),
        ("CO", "310 582 2141 ext. 5", "is not a number"),
        ("CO", "1-800-FLOWERS", "is not a number"),
        ("CO", "++573105822141", "is not a number"),
        ("CO", "573105822141+", "is not a number"),
        ("CO", "\uff13\uff11\uff10\uff15\uff18\uff12\uff12\uff11\uff14\uff11", "is not a number"),
        ("CO", "\u0663\u0661\u0660\u0665\u0668\u0662\u0662\u0661\u0664\u0661", "is not a number"),
        ("CO", "+", "is not a number"),
        ("CO", "0" * 30, "has 30 digits"),
        ("CO", "9" * 10_000, "has 10000 digits"),
        ("CO", "9 " * 10_000, "is not a number"),
        ("CO", "310;582", "is not a number"),
    ],
)
def test_what_is_no_number_is_refused_with_the_reason(region: str, text: str, reason: str, fast: Any) -> None:
    with pytest.raises(BadNumber) as error:
        Numbers(region, fast).read(text)
    assert reason in str(error.value)
    assert len(str(error.value)) < 300


def test_numbers_that_are_read_without_a_region_are_counted() -> None:
    numbers = Numbers()
    numbers.read("573105822141")
    numbers.read("+573105822141")
    assert numbers.bare == 1


def test_regions_are_those_of_the_library() -> None:
    assert is_region("CO")
    assert not is_region("co")
    assert not is_region("XX")


def samples() -> list[tuple[str, str]]:
    """Numbers of every region: real ones, cut, longer, with and without +, and noise."""
    chance = random.Random(11)
    found: list[tuple[str, str]] = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        code = str(phonenumbers.country_code_for_region(region))
        for kind in (0, 1, 3, 6):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            national = str(example.national_number)
            changed = "".join(chance.choice("0123456789") if chance.random() < 0.3 else digit for digit in national)
            for digits in (national, national[:-1], national + "1", changed):
                found += [
                    (region, f"+{code}{digits}"),
                    (region, code + digits),
                    (region, digits),
                    (region, "0" + digits),
                ]
        found += [(region, code + "".join(chance.choices("0123456789", k=chance.randint(4, 12)))) for _ in range(20)]
    return found


def test_SG_06_the_fast_library_reads_as_phonenumbers_does() -> None:
    """Numbers of every region, together with phonenumbers, which is asked where the fast one refuses or doubts.

    One in five thousand may differ: the two have the same metadata of different months.
    """
    if FAST is None:
        sys.stderr.write("rphonenumbers is not installed (the extra `fast`): nothing to compare\n")
        pytest.skip("rphonenumbers is not installed (the extra `fast`)")
    differ = []
    numbers = samples()
    for region, text in numbers:
        slow, quick = outcome(Numbers(region), text), outcome(Numbers(region, FAST), text)
        if slow != quick:
            differ.append((region, text, slow, quick))
    assert len(numbers) > 10_000
    assert len(differ) <= len(numbers) // 5_000, differ[:20]


def outcome(numbers: Numbers, text: str) -> str:
    try:
        return numbers.read(text)
    except BadNumber as error:
        return f"refused: {error}"
