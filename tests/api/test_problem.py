"""The catalogue of problems is whole, and the page for people is made from it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from api.problem import CATALOGUE, Problem, catalogue_page, quoted

ROOT = Path(__file__).parents[2]
CODE_AT = {"Problem": 1, "Refused": 1, "against_rule": 0, "stale": 0, "no_room": 0}
"""Which argument of a call is a code."""
WHAT_AT = {"absent": (("engine/", "adapters/"), 0), "part": (("api/",), 2)}
"""Which argument of a call, and where, is the word after `unknown-`."""


def calls_in(*folders: str) -> Iterator[tuple[str, ast.Call, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node, name


def literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def raised() -> Iterator[tuple[str, str]]:
    """Every code that a refusal is written down with, and where. A code must be readable here: written as a literal."""
    for place, node, name in calls_in("api", "engine", "adapters"):
        if name in CODE_AT and len(node.args) > CODE_AT[name]:
            code = literal(node.args[CODE_AT[name]])
            if code is not None:
                yield place, code
        else:
            folder, argument = WHAT_AT.get(name, (("-",), 0))
            what = literal(node.args[argument]) if place.startswith(folder) else None
            if what is not None:
                yield place, f"unknown-{what}"


def test_every_code_that_is_raised_is_in_the_catalogue() -> None:
    found = list(raised())
    assert len(found) > 60
    assert [(place, code) for place, code in found if code not in CATALOGUE] == []


def test_a_code_that_is_raised_nowhere_is_not_in_the_catalogue() -> None:
    assert set(CATALOGUE) - {code for _, code in raised()} - {"invalid-request"} == set()


def test_codes_that_are_no_literals_are_few_and_known() -> None:
    """What this file can't read must be one of the places that pass a code on."""
    passing_on = {"api/problem.py", "engine/core/refusal.py", "api/route.py"}
    for place, node, name in calls_in("api", "engine"):
        if name in CODE_AT and len(node.args) > CODE_AT[name] and literal(node.args[CODE_AT[name]]) is None:
            assert place.rpartition(":")[0] in passing_on, place


def test_the_status_that_is_raised_is_the_catalogues() -> None:
    for place, node, name in calls_in("api"):
        code = literal(node.args[1]) if name == "Problem" and len(node.args) > 1 else None
        if code is not None and isinstance(node.args[0], ast.Constant):
            assert node.args[0].value == CATALOGUE[code].status, place


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "problems.md").read_text("utf-8")
    assert page == catalogue_page(), "write it anew: python -m api.problem > docs/problems.md"


def test_a_problem_carries_a_retry_after_when_it_says_try_again() -> None:
    assert Problem(503, "pbx-down", "x").response("0").headers["Retry-After"] == "1"
    assert Problem(503, "draining", "x", headers={"Retry-After": "5"}).response("0").headers["Retry-After"] == "5"
    assert "Retry-After" not in Problem(409, "no-attempt", "x").response("0").headers


def test_what_is_quoted_is_short_and_utf_8() -> None:
    assert quoted("a\ud800b") == "a?b"
    assert len(quoted("x" * 10_000)) < 1_000
    Problem(422, "invalid-request", "\udfff", "\ud800").response("0")
