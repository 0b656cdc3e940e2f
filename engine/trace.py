"""Spans of OpenTelemetry: how long each stage of a request, a decision, an action of the PBX and a delivery took.

They are off until somebody switches them on, for even one that goes nowhere costs the library some 15 microseconds, a tenth
of a turn. No span holds what identifies a person or opens a door: ids, kinds and outcomes only, and never the text of an
exception.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind, use_span

Tag = str | int | bool | Sequence[str]

Within = tuple[Context | None, Sequence[Link]]
"""The parent's context, None for the present one, and what is linked."""
ALONE: Within = (Context(), ())
"""Within nothing: work whose task was begun by something else long ago."""

_tracer = trace.get_tracer("ringfold")
_NOTHING = nullcontext(INVALID_SPAN)


class _Switch:
    is_on = False


def switch_on() -> None:
    """From now on, and for the whole process: spans go to whatever provider OpenTelemetry was given."""
    _Switch.is_on = True


def here() -> SpanContext | None:
    """Of the span that goes on now; None where nothing is traced."""
    if not _Switch.is_on:
        return None
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def trace_id_of(span: Span) -> str:
    """As 32 hexadecimal digits; empty where nothing is traced."""
    found = span.get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""


def under(causes: Sequence[SpanContext]) -> Within:
    """One cause is the parent; several are linked, since what they led to belongs to none of them alone."""
    if not causes:
        return ALONE
    if len(causes) == 1:
        return trace.set_span_in_context(NonRecordingSpan(causes[0]), Context()), ()
    return Context(), [Link(one) for one in causes]


def begin(name: str, tags: Mapping[str, Tag], kind: SpanKind = SpanKind.INTERNAL) -> Span:
    """A span below the present one, which its owner ends."""
    if not _Switch.is_on:
        return INVALID_SPAN
    return _tracer.start_span(name, kind=kind, attributes=tags)


def spanned(
    name: str, tags: Mapping[str, Tag], kind: SpanKind = SpanKind.INTERNAL, within: Within = (None, ())
) -> AbstractContextManager[Span]:
    """A span for as long as the block: below the present one, or `within` what is given."""
    return _spanned(name, tags, kind, within) if _Switch.is_on else _NOTHING


@contextmanager
def _spanned(name: str, tags: Mapping[str, Tag], kind: SpanKind, within: Within) -> Iterator[Span]:
    context, links = within
    span = _tracer.start_span(name, context=context, kind=kind, attributes=tags, links=links)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield span


def told_by(headers: Mapping[str, str]) -> Within:
    """What a request's `traceparent` says that it belongs to; the beginning of a trace where it says nothing."""
    return (extract(headers, Context()), ()) if _Switch.is_on else ALONE


__all__ = [
    "ALONE",
    "INVALID_SPAN",
    "Span",
    "SpanContext",
    "SpanKind",
    "Tag",
    "begin",
    "here",
    "spanned",
    "switch_on",
    "told_by",
    "trace_id_of",
    "under",
]
