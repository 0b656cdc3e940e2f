"""Numbers as nobody should write them, at both doors: what comes out can be dialled as it is, or nothing does."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importer.number import BadNumber, Numbers, fast_library
from api.campaign import number_of
from api.problem import Problem
from engine.core.refusal import Refused
from tests.hostile.effort import effort

DIALLED = re.compile(r"\+?[0-9]{2,20}")
E164 = re.compile(r"\+[1-9][0-9]{1,14}")
GOOD = "+573105822141"
NOT_ONE = {
    "an extension of RFC 3966": f"{GOOD};ext=5",
    "a context of RFC 3966": "3105822141;phone-context=+57",
    "a tel URI": f"tel:{GOOD}",
    "a sip URI": f"sip:{GOOD}@carrier",
    "an extension in words": f"{GOOD} ext. 5",
    "an extension with x": f"{GOOD}x5",
    "an extension with a hash": f"{GOOD}#5",
    "letters of the keypad": "+57CALLNOW22",
    "a pause": f"{GOOD}p5",
    "a wait": f"{GOOD},,5",
    "a star code": "*72573105822141",
    "two numbers": f"{GOOD}/{GOOD}",
    "two numbers on lines": f"{GOOD}\n{GOOD}",
    "a line end behind": f"{GOOD}\n",
    "a NUL behind": f"{GOOD}\0",
    "a plus in the middle": "57+3105822141",
    "two pluses": f"+{GOOD}",
    "a plus and nothing": "+",
    "nothing": "",
    "only what divides": "().-/ ",
    "a wide plus": "\uff0b573105822141",
    "a superscript plus": "\u207a573105822141",
    "Arabic digits": "\u0665\u0667\u0663\u0661\u0660\u0665\u0668\u0662\u0662\u0661\u0664\u0661",
    "Devanagari digits": "+\u096b\u096d\u0969\u0967\u0966\u096b\u096e\u0968\u0968\u0967\u096a\u0967",
    "wide digits": "+\uff15\uff17\uff13\uff11\uff10\uff15\uff18\uff12\uff12\uff11\uff14\uff11",
    "mathematical digits": "+\U0001d7d3\U0001d7d53105822141",
    "a superscript digit": "+57310582214\u00b9",
    "a circled digit": "+57310582214\u2460",
    "a digit on a key": "+573105822141\ufe0f\u20e3",
    "a fraction": "+57310582214\u00bd",
    "written from the right": f"\u202e{GOOD}\u202c",
    "a mark of direction": f"\u200f{GOOD}",
    "a mark of direction inside": "+57\u200e3105822141",
    "nothing wide": "+57\u200b3105822141",
    "a joiner": "+57\u200d3105822141",
    "a soft hyphen": "+57\u00ad3105822141",
    "a mark of byte order": f"\ufeff{GOOD}",
    "a tab": "+57\t3105822141",
    "a line separator": "+57\u20283105822141",
    "an accent": "+5731058221\u03014",
    "half a pair": "+57\ud8003105822141",
    "an exponent": "5.73105822141E+11",
    "hex": "0x573105822141",
    "without end": "+" + "9" * 100_000,
    "zeros without end": "0" * 100_000,
    "an expression": "${EXTEN}",
    "a second channel": f"{GOOD}&PJSIP/x",
    "a path": f"PJSIP/{GOOD}",
    "a format": "%s{0.__class__}",
    "a query": "1' or '1'='1",
}
DIVIDED = ("+57 310 582 2141", "+57-310-582-2141", "+57 (310) 582.2141", "+57/310/5822141")
ALPHABET = st.text(st.sampled_from("0123456789+ ().-/*#;,xe\u00a0\u200e\u202e\u0661\uff11\n\0"), max_size=45) | st.text(
    max_size=45
)


def importing(region: str, fast: Any) -> Callable[[str], str]:
    return Numbers(region, fast).read


DOORS: dict[str, Callable[[str], str]] = {
    "the API": lambda text: number_of(text, "number"),
    "a file": importing("", None),
    "a file with a region": importing("CO", None),
    "a file, read fast": importing("CO", fast_library()),
}


def tried(door: str, text: str) -> str:
    """The number, or "" where it is refused by name and shortly."""
    try:
        return DOORS[door](text)
    except (BadNumber, Refused, Problem) as refused:
        reason = str(refused)
    assert 0 < len(reason) < 400, "a reason is shown to people"
    return ""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", NOT_ONE)
def test_SG_06_what_is_no_number_is_nobodys(door: str, what: str) -> None:
    assert tried(door, NOT_ONE[what]) == ""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("text", DIVIDED)
def test_SG_06_what_divides_a_number_for_people_is_left_out(door: str, text: str) -> None:
    assert tried(door, text) == GOOD


@given(text=ALPHABET, door=st.sampled_from(list(DOORS)))
@effort(300)
def test_SG_06_whatever_is_taken_can_be_dialled_and_is_taken_again_as_it_is(text: str, door: str) -> None:
    number = tried(door, text)
    if number:
        assert (DIALLED if door == "the API" else E164).fullmatch(number), (text, number)
        assert tried(door, number) == number
