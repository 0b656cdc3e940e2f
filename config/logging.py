"""Logging: one line per fact, JSON for machines or plain for people, with tokens and phone numbers taken out.

Logs leave the installation more easily than the event log does, so what identifies a person or opens a door never gets
in: by the field's name, and by pattern in every text.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Mapping
from typing import IO, Any, BinaryIO, Literal, TextIO, cast

import msgspec
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "***"
SECRET_KEY = re.compile(r"secret|token|password|authorization|cookie|signature|(^|_)key$", re.IGNORECASE)
PERSONAL_KEY = re.compile(r"^(number|numbers|phone_number|caller_id|callee|person|details)$", re.IGNORECASE)
TOKEN = re.compile(r"\bv[1-4]\.(?:local|public)\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?|\bwhs(?:ec|k)_[A-Za-z0-9+/=_-]+")
BEARER = re.compile(r"\b(bearer)\s+[^\s\"',]+", re.IGNORECASE)
PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
PHONE_NUMBER = re.compile(r"(?<![0-9A-Za-z])(?:\+[0-9]{6,20}|[0-9]{8,20})(?![0-9A-Za-z])")
MAX_DEPTH = 4
"""How deep a value's tables and lists are looked into; what lies deeper is not logged at all."""


class Lossy:
    """A stream that loses what can't be written: the file's disk is full, or nobody reads the pipe any more. Whoever wanted
    to say something goes on; the standard library's handlers do so by themselves.
    """

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, data: str | bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(data)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(level: Literal["debug", "info", "warning", "error"], json: bool) -> None:
    """Set structlog up for this process, and route the standard library's loggers (aiohttp's, asyncpg's) into it."""
    render: Processor = (
        _to_json
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks become text before redaction: their last lines quote the very values that must not get out.
    closing: list[Processor] = [structlog.processors.format_exc_info, redact, render]
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, *closing],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=(
            structlog.BytesLoggerFactory(cast(BinaryIO, Lossy(sys.stderr.buffer)))
            if json
            else structlog.PrintLoggerFactory(cast(TextIO, Lossy(sys.stderr)))
        ),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                _as_text(render),
            ],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)
    logging.getLogger("aiohttp.server").addFilter(is_ours)


def is_ours(record: logging.LogRecord) -> bool:
    """Not what a client sent that is no HTTP, or not packed as it says. It is answered 400, and anybody can send it, without
    a token and as often as they like: a traceback of each would let strangers fill the disk."""
    error = record.exc_info[1] if record.exc_info else None
    theirs = isinstance(error, HttpProcessingError | RequestPayloadError)
    return not theirs or logging.getLogger().isEnabledFor(logging.DEBUG)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets, tokens and phone numbers out of every field."""
    return {key: _clean(key, value, MAX_DEPTH) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:
    if SECRET_KEY.search(key) or PERSONAL_KEY.match(key):
        return REDACTED
    match value:
        case str():
            return _clean_text(value)
        case bool() | int() | float() | None:
            return value
        case _ if depth == 0:
            return REDACTED
        case Mapping():
            return {str(name): _clean(str(name), inner, depth - 1) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean("", inner, depth - 1) for inner in value]
        case msgspec.Struct():
            return _clean(key, {name: getattr(value, name) for name in value.__struct_fields__}, depth)
        case _:
            return _clean_text(str(value))


def _clean_text(text: str) -> str:
    text = TOKEN.sub(REDACTED, text)
    text = BEARER.sub(rf"\1 {REDACTED}", text)
    text = PASSWORD_IN_URL.sub(rf"\1:{REDACTED}@", text)
    return PHONE_NUMBER.sub(lambda found: REDACTED + found[0][-2:], text)


_encoder = msgspec.json.Encoder()


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return _encoder.encode(event)


def _as_text(render: Processor) -> Processor:
    """The standard library's handlers write text, the JSON renderer makes bytes."""

    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        line = render(logger, method, event)
        return line.decode() if isinstance(line, bytes) else str(line)

    return rendered
