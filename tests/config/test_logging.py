"""Logging: given facts with secrets and numbers in them, when they are logged, then neither is in the line."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog

from config.logging import MAX_DEPTH, REDACTED, configure, redact

PASETO = "v4.public.eyJzdWIiOiJhZ2VudC03In0xyz_-AbC.eyJraWQiOiJrMSJ9"
NUMBER = "+573105822141"


class Dialled(msgspec.Struct, frozen=True):
    call: str
    number: str


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def redacted(**fields: Any) -> dict[str, Any]:
    return dict(redact(None, "info", dict(fields)))


@pytest.mark.parametrize(
    "key",
    ["secret", "ami_secret", "token", "access_token", "Authorization", "password", "cookie", "signing_key", "number"],
)
def test_a_telling_name_hides_its_value(key: str) -> None:
    assert redacted(**{key: "anything"}) == {key: REDACTED}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"refused {PASETO}", PASETO[10:30]),
        ("header was Bearer abc.def-123", "abc.def"),
        ("postgresql://ringfold:pa55word@host/db", "pa55word"),
        ("signed with whsec_c2VjcmV0LXNlY3JldA==", "c2VjcmV0"),
        (f"dialled {NUMBER}.", "5731058221"),
        ("PJSIP/3105822141@carrier is up", "31058221"),
        ("sip:573105822141", "5731058221"),
        ("summer:573105822141", "5731058221"),
    ],
)
def test_a_pattern_is_hidden_in_any_text(text: str, hidden: str) -> None:
    cleaned = redacted(event=text)["event"]
    assert hidden in text
    assert hidden not in cleaned
    assert REDACTED in cleaned


def test_what_identifies_no_person_stays() -> None:
    fields = {
        "event": "call.ended",
        "call": "0f" * 16,
        "at": 1_790_000_000_000,
        "timestamp": "2026-11-23T03:24:50.123456Z",
        "share": 0.03,
        "ok": True,
        "none": None,
        "campaign": "summer-24",
    }
    assert redacted(**fields) == fields


def test_tables_lists_and_structs_are_looked_into_to_a_bound() -> None:
    deep: Any = NUMBER
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    line = repr(redacted(rows=[{"number": NUMBER, "note": f"call {NUMBER}"}], fact=Dialled("c1", NUMBER), deep=deep))
    assert "5731058221" not in line
    assert "c1" in line


def test_json_lines_hold_fields_and_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    configure("info", json=True)
    structlog.get_logger().info("call.requested", call="c1", number=NUMBER, token=PASETO)
    structlog.get_logger().debug("not shown")
    line = json.loads(capfd.readouterr().err)
    assert line["event"] == "call.requested"
    assert line["level"] == "info"
    assert line["call"] == "c1"
    assert (line["number"], line["token"]) == (REDACTED, REDACTED)


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_and_library_loggers_are_redacted_too(capfd: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure("warning", json=as_json)
    try:
        raise ValueError(f"no route to {NUMBER}")
    except ValueError:
        structlog.get_logger().exception("dial.failed")
        logging.getLogger("aiohttp.server").exception("while dialling %s", NUMBER)
    logging.getLogger("aiohttp.access").info("not shown")
    written = capfd.readouterr().err
    assert "dial.failed" in written
    assert "while dialling" in written
    assert "ValueError" in written
    assert "5731058221" not in written
    assert "not shown" not in written
