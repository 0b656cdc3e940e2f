"""Spans of OpenTelemetry: how long each stage of a request, a decision, an action of the PBX and a delivery took.

Without the extra `traces` and an endpoint there is no provider, and each costs about a microsecond. No span holds what
identifies a person or opens a door: ids, kinds and outcomes only, and never the text of an exception.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind, use_span

Tag = str | int | bool | Sequence[str]

_tracer = trace.get_tracer("ringfold")


def here() -> SpanContext | None:
    """Of the span that goes on now; None where nothing is traced."""
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def trace_id_of(span: Span) -> str:
    """As 32 hexadecimal digits; empty where nothing is traced."""
    found = span.get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""


def under(causes: Sequence[SpanContext]) -> tuple[Context, Sequence[Link]]:
    """One cause is the parent; several are linked, since what they led to belongs to none of them alone."""
    if len(causes) == 1:
        return trace.set_span_in_context(NonRecordingSpan(causes[0]), Context()), ()
    return Context(), [Link(one) for one in causes]


def begin(name: str, tags: Mapping[str, Tag], kind: SpanKind = SpanKind.INTERNAL) -> Span:
    """A span below the present one, which its owner ends."""
    return _tracer.start_span(name, kind=kind, attributes=tags)


@contextmanager
def spanned(
    name: str,
    tags: Mapping[str, Tag],
    kind: SpanKind = SpanKind.INTERNAL,
    within: tuple[Context | None, Sequence[Link]] = (None, ()),
) -> Iterator[Span]:
    """A span for as long as the block: below the present one, or `within` what is given."""
    context, links = within
    span = _tracer.start_span(name, context=context, kind=kind, attributes=tags, links=links)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield span


def told_by(headers: Mapping[str, str]) -> tuple[Context, Sequence[Link]]:
    """What a request's `traceparent` says that it belongs to; the beginning of a trace where it says nothing."""
    return extract(headers, Context()), ()


ALONE: tuple[Context, Sequence[Link]] = (Context(), ())
"""Within nothing: work whose task was begun by something else long ago."""

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
    "told_by",
    "trace_id_of",
    "under",
]
