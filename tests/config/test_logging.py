"""Logging: given facts with secrets and numbers in them, when they are logged, then neither is in the line."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import structlog
from aiohttp import web

from config.logging import MAX_DEPTH, REDACTED, configure, is_ours, redact

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
    logging.getLogger("aiohttp.server").removeFilter(is_ours)
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


BROKEN = (
    b"GARBAGE\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
)


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_strangers_fill_no_disk_with_tracebacks_of_broken_requests(
    level: Literal["info", "debug"], capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a server that logs as the service does, when what is sent is no HTTP, then it is told in debug alone; our own
    faults are told in any case."""

    async def take(request: web.Request) -> web.Response:
        if request.method == "GET":
            raise RuntimeError("our fault")
        try:
            await request.read()
        except web.RequestPayloadError:
            return web.Response(status=400)
        return web.Response()

    configure(level, json=False)
    app = web.Application()
    app.router.add_route("*", "/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        for broken in BROKEN:
            assert b" 400 " in await asked(port, broken)
        broken_told = capsys.readouterr().err.count("Traceback")
        assert (broken_told > 0) == (level == "debug")
        assert b" 500 " in await asked(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "our fault" in capsys.readouterr().err
    finally:
        await runner.cleanup()


async def asked(port: int, raw: bytes) -> bytes:
    """The first line of the answer."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        line = await reader.readline()
        writer.close()
        return line


SPEAK = """
import logging, os
import structlog
from config.logging import configure
configure("info", json={json})
for _ in range(2_000):
    structlog.get_logger().warning("store away", error="database or disk is full")
    logging.getLogger("aiohttp").warning("so it says")
os.write(1, b"went on")
os._exit(0)
"""


@pytest.mark.parametrize("json", [True, False])
def test_a_log_that_cant_be_written_stops_nobody(json: bool) -> None:
    """Given a disk that is full, the log's own, then whoever says so goes on."""
    with Path("/dev/full").open("wb") as full:
        spoke = subprocess.run(
            [sys.executable, "-c", SPEAK.format(json=json)], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert (spoke.returncode, spoke.stdout) == (0, b"went on")
